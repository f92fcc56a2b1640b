"""The prepared catalogue, its embeddings and the trained model → PyTorch Geometric.

    python -m pipeline.exporters.pyg <folder>

writes `<folder>/<name>/`, by the name of the catalogue:

    <name>.pt                       `hetero_data`'s graph as a dictionary of tensors, the form in
                                    which PyG's own datasets keep theirs:
                                    HeteroData.from_dict(torch.load(path, weights_only=True))
    items.parquet, users.parquet    item_id and user_id of every node, in the order of the nodes

A pickled HeteroData holds PyG's storages, which torch.load does not take for safe.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import safe_open
from torch import Tensor
from torch_geometric.data import HeteroData

from pipeline.catalogue.embeddings import all_embeddings
from pipeline.common import paths
from pipeline.common.files import InputError, write_parquet
from pipeline.exporters.prepared import Prepared, read_prepared, run_exporter

EDGES = ("user", "interacts", "item")
REVERSE = ("item", "rev_interacts", "user")  # as ToUndirected and RandomLinkSplit name it
SAME = ("dataset", "split", "ratings", "k_core")  # what a model and its catalogue both say


def hetero_data() -> HeteroData:
    """The workspace's catalogue as a graph; run from the repository's root.

    Messages pass along training interactions only. So these are the only `edge_index`, and what is
    held out stands beside them as `edge_label_index`, as in PyG's AmazonBook and RandomLinkSplit:
    edge types of their own would enter `metadata()`, and with it the convolutions of `to_hetero`.
    With U users, I items and E edges, rows in the order of `data/prepared/{users,items}.parquet`:

        user, item                              num_nodes
        (user, interacts, item)                 edge_index (2, E) int64, training;
                                                validation_edge_label_index, test_edge_label_index
        (item, rev_interacts, user)             edge_index, the same reversed
        item                                    x_<modality> (I, d) float32, zeros where the item
                                                lacks it; has_<modality> (I,) bool
        user, item                              embedding (U, D) and (I, D), of the trained model if
                                                there is one whose scores are their inner product
        provenance                              JSON: `catalogue`, prepare's summary; `embeddings`,
                                                each modality's metadata; `recommender`, the trained
                                                model's system and parameters, or null

    Raises:
        InputError: a stage has not run yet, or the trained model is of another catalogue.
    """
    return as_graph(read_prepared())


def as_graph(prepared: Prepared) -> HeteroData:
    """`hetero_data` of what was read; the features share its memory."""
    data = HeteroData()
    data["user"].num_nodes = len(prepared.user_ids)
    data["item"].num_nodes = len(prepared.item_ids)
    edges = torch.from_numpy(np.stack([prepared.users, prepared.items]))
    train, validation, test = (
        edges[:, torch.from_numpy(prepared.labels == label)] for label in range(len(paths.SPLITS))
    )
    data[EDGES].edge_index = train
    data[EDGES].validation_edge_label_index = validation
    data[EDGES].test_edge_label_index = test
    data[REVERSE].edge_index = train.flip(0).contiguous()
    for name, embedding in prepared.embeddings.items():
        data["item"][f"x_{name}"] = torch.from_numpy(embedding.vectors)
        data["item"][f"has_{name}"] = torch.from_numpy(embedding.present)
    summary = json.loads(paths.SUMMARY.read_text())
    recommender, tables = read_trained(summary)
    for node, table in tables.items():
        if len(table) != data[node].num_nodes:
            raise stale(f"{len(table)} {node}s", f"{data[node].num_nodes}")
        data[node].embedding = table
    embeddings = {name: metadata_of(name) for name in prepared.embeddings}
    data.provenance = json.dumps(
        {"catalogue": summary, "embeddings": embeddings, "recommender": recommender}
    )
    return data


def read_trained(summary: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """What the trained model says of itself, None without one; node type → its embeddings.

    Raises:
        InputError: its catalogue is not that of the summary.
    """
    if not paths.MODEL.exists():
        return None, {}
    with safe_open(paths.MODEL, framework="pt") as file:
        described = json.loads(file.metadata()["recommender"])
        for name in SAME:
            if described[name] != summary[name]:
                raise stale(f"{name} {described[name]!r}", repr(summary[name]))
        found = {"users", "items"} <= set(file.keys())
        tables = {"user": "users", "item": "items"} if found else {}
        return described, {node: file.get_tensor(name) for node, name in tables.items()}


def stale(model: str, catalogue: str) -> InputError:
    """What to say of a model of another catalogue."""
    return InputError(
        f"{paths.MODEL}: is of a catalogue with {model}, {paths.PREPARED} has {catalogue}; "
        "run `dvc repro` from the repository's root"
    )


def metadata_of(modality: str) -> dict[str, str]:
    """What the file of the embeddings says of where they come from."""
    metadata = pq.read_schema(all_embeddings()[modality].embeddings).metadata or {}
    return {name.decode(): value.decode() for name, value in metadata.items()}


def write(prepared: Prepared, folder: Path) -> None:
    """Fill an empty folder."""
    torch.save(as_graph(prepared).to_dict(), folder / f"{prepared.name}.pt")
    write_parquet(folder / "items.parquet", pa.table({"item_id": prepared.item_ids}))
    write_parquet(folder / "users.parquet", pa.table({"user_id": prepared.user_ids}))


if __name__ == "__main__":
    run_exporter(write, text=False)
