"""The catalogue as PyG's HeteroData: known answers, the file, and PyG's models trained on it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open
from small import ITEMS, USERS, write_catalogue, write_workspace
from test_exporters import as_prepared, run
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import LightGCN, SAGEConv, to_hetero

from model.interactions import Interactions
from pipeline import train
from pipeline.catalogue.workspace import Workspace
from pipeline.common import params as stage_params
from pipeline.common import paths
from pipeline.common.files import InputError
from pipeline.experiments.cells import cell_of
from pipeline.experiments.experiment import Experiment
from pipeline.exporters.pyg import EDGES, REVERSE, hetero_data

ROOT = Path(__file__).parents[1]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_workspace(tmp_path)
    as_prepared()
    return tmp_path


@pytest.fixture
def trained(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Experiment]:
    """Run the stage `train` for a system, on the CPU."""

    def run_train(system: str) -> Experiment:
        whole = stage_params.load(ROOT / "params.yaml")
        small = replace(whole.train, dimension=8, epochs=3, batch_size=50)
        params = replace(whole, train=small, device="cpu", fusion=system, layers=2)
        monkeypatch.setattr(train, "load", lambda: params)
        train.main()
        return Experiment.of(params, system, params.layers, params.seed)

    return run_train


def edges(name: str) -> list[tuple[int, int]]:
    """What the file of a split says, in order."""
    return sorted(
        (row["user"], row["item"]) for row in pq.read_table(paths.split_path(name)).to_pylist()
    )


def pairs(index: Tensor) -> list[tuple[int, int]]:
    assert index.dtype == torch.int64
    return sorted(map(tuple, index.T.tolist()))


def same(one: HeteroData, other: HeteroData) -> bool:
    """Every store, attribute and bit."""
    stores = [data.to_dict() for data in (one, other)]
    return _plain(stores[0]) == _plain(stores[1])


def _plain(value: object) -> object:
    if isinstance(value, Tensor):
        return str(value.dtype), value.tolist()
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def test_edges_by_split(workspace: Path) -> None:
    data = hetero_data()
    data.validate(raise_on_error=True)
    assert (data["user"].num_nodes, data["item"].num_nodes) == (USERS, ITEMS)
    assert pairs(data[EDGES].edge_index) == edges("train")
    assert pairs(data[EDGES].validation_edge_label_index) == edges("validation")
    assert pairs(data[EDGES].test_edge_label_index) == edges("test")
    assert pairs(data[REVERSE].edge_index.flip(0)) == edges("train")
    # What held-out edges must not do is pass messages.
    assert data.metadata() == (["user", "item"], [EDGES, REVERSE])
    assert set(data.edge_index_dict) == {EDGES, REVERSE}
    assert len(edges("train")) * 2 == data.to_homogeneous().num_edges


def test_features_and_masks(workspace: Path) -> None:
    data = hetero_data()
    ids = pq.read_table(paths.ITEMS)["item_id"].to_pylist()
    for modality in ("text", "image", "audio"):
        table = pq.read_table(paths.embeddings_path(modality)).to_pydict()
        rows = dict(zip(table["item_id"], table["embedding"], strict=True))
        assert data["item"][f"x_{modality}"].dtype == torch.float32
        assert data["item"][f"x_{modality}"].tolist() == [rows.get(i, [0.0] * 6) for i in ids]
        assert data["item"][f"has_{modality}"].tolist() == [i in rows for i in ids]
    assert not data["item"].has_audio.all() and "x_video" not in data["item"]


def test_provenance(workspace: Path, trained: Callable[[str], Experiment]) -> None:
    assert json.loads(hetero_data().provenance) == {
        "catalogue": json.loads(paths.SUMMARY.read_text()),
        "embeddings": {
            "text": {"model": "text", "count": "30"},
            "image": {"model": "image", "count": "27"},
            "audio": {"model": "audio", "count": "21"},
        },
        "recommender": None,
    }
    trained("popularity")
    with safe_open(paths.MODEL, "np") as file:
        described = json.loads(file.metadata()["recommender"])
    assert json.loads(hetero_data().provenance)["recommender"] == described
    assert described["system"] == "popularity"
    assert "embedding" not in hetero_data()["user"]  # its score is no inner product


@pytest.mark.parametrize("system", ["frozen", "ials"])
def test_embeddings_give_the_models_scores(
    system: str, workspace: Path, trained: Callable[[str], Experiment]
) -> None:
    experiment = trained(system)
    here = Workspace()
    score = cell_of(experiment, here).model(here).scorer()
    data = hetero_data()
    found = data["user"].embedding @ data["item"].embedding.T
    assert found.shape == (USERS, ITEMS) and found.std() > 0
    torch.testing.assert_close(found, score(torch.arange(USERS)))


def test_the_file(
    workspace: Path, trained: Callable[[str], Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Back to the same graph without arbitrary pickles; ids that text formats refuse included."""
    trained("ials")
    strange = 'a\t"b"\n'
    users = [strange, *pq.read_table(paths.USERS)["user_id"].to_pylist()[1:]]
    pq.write_table(pa.table({"user_id": users}), paths.USERS)
    run(monkeypatch, "exporters.pyg", "out")
    folder = workspace / "out/small"
    assert sorted(p.name for p in folder.iterdir()) == [
        "items.parquet",
        "small.pt",
        "users.parquet",
    ]
    read = HeteroData.from_dict(torch.load(folder / "small.pt", weights_only=True))
    assert same(read, hetero_data())
    assert pq.read_table(folder / "users.parquet")["user_id"].to_pylist() == users
    ids = pq.read_table(paths.ITEMS)["item_id"]
    assert pq.read_table(folder / "items.parquet")["item_id"].equals(ids)


def test_a_model_of_another_catalogue_is_refused(
    workspace: Path, trained: Callable[[str], Experiment]
) -> None:
    trained("ials")
    table = pq.read_table(paths.split_path("validation"))
    pq.write_table(table.slice(1), paths.split_path("validation"))
    with pytest.raises(InputError, match="was trained on another validation than there is now"):
        hetero_data()


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HeteroData:
    """60 users and 60 items, even users like even items; text says nearly which half an item is.

    Eight interactions a user: six to train on, one in validation, one in test.
    """
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    chosen = np.stack([rng.permutation(30)[:8] * 2 + user % 2 for user in range(60)])
    parts = {"train": slice(6), "validation": slice(6, 7), "test": slice(7, 8)}
    splits = {}
    for name, part in parts.items():
        items = torch.from_numpy(chosen[:, part])
        user = torch.arange(60).repeat_interleave(items.shape[1])
        splits[name] = Interactions.of(user, items.flatten(), 60, 60)
    text = rng.normal(size=(60, 6)).astype(np.float32)
    text[:, 0] += np.arange(60) % 2 * 2 - 1
    none = {modality: text[:0] for modality in ("image", "audio", "video")}
    write_catalogue(tmp_path, splits, {"text": text, **none})
    as_prepared()
    return hetero_data()


def test_lightgcn_of_pyg_learns(planted: HeteroData) -> None:
    torch.manual_seed(0)
    graph = planted.to_homogeneous(node_attrs=[], edge_attrs=[])
    model = LightGCN(graph.num_nodes, embedding_dim=16, num_layers=2)
    users, items = planted[EDGES].edge_index

    def loss() -> Tensor:
        found = model.get_embedding(graph.edge_index)
        return bpr(found[:60], found[60:], users, items)

    falls(model, loss)
    found = model.get_embedding(graph.edge_index)
    assert auc(planted, found[:60] @ found[60:].T) > 0.65  # chance is 0.5


def test_graphsage_of_pyg_learns(planted: HeteroData) -> None:
    """On the features, by `to_hetero`: users start from nothing but a table."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = SAGEConv((-1, -1), 16), SAGEConv((-1, -1), 16)

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            return self.second(self.first(x, edge_index).relu(), edge_index)

    torch.manual_seed(0)
    table = nn.Embedding(60, 16)
    network = to_hetero(Network(), planted.metadata())
    users, items = planted[EDGES].edge_index

    def embeddings() -> tuple[Tensor, Tensor]:
        x = {"user": table.weight, "item": planted["item"].x_text}
        found = network(x, planted.edge_index_dict)
        return found["user"], found["item"]

    embeddings()  # lets PyG size its lazy weights
    falls(nn.ModuleList([table, network]), lambda: bpr(*embeddings(), users, items))
    found = embeddings()
    assert auc(planted, found[0] @ found[1].T) > 0.65  # chance is 0.5


def bpr(of_users: Tensor, of_items: Tensor, users: Tensor, items: Tensor) -> Tensor:
    """Of every edge, with one uniform negative."""
    others = torch.randint(len(of_items), items.shape)
    margins = (of_users[users] * (of_items[items] - of_items[others])).sum(1)
    return -nn.functional.logsigmoid(margins).mean()


def falls(model: nn.Module, loss: Callable[[], Tensor], epochs: int = 40) -> None:
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    for _ in range(epochs):
        optimiser.zero_grad()
        value = loss()
        value.backward()
        optimiser.step()
        losses.append(value.item())
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def auc(data: HeteroData, scores: Tensor) -> float:
    """Mean over test edges: the share of the items its user never had that rank below its item."""
    seen = torch.zeros_like(scores, dtype=torch.bool)
    for name in ("edge_index", "validation_edge_label_index", "test_edge_label_index"):
        seen[tuple(data[EDGES][name])] = True
    users, items = data[EDGES].test_edge_label_index
    below = (scores[users] < scores[users, items][:, None]) & ~seen[users]
    return float((below.sum(1) / (~seen[users]).sum(1)).mean())
