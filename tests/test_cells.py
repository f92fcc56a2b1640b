"""Fitted models by content: what a cell depends on, and that nothing is fitted twice."""

import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small import ITEMS, SMALL, USERS, splits, write_workspace

from model.config import FITTING, Content, Lattice, Systems, Train
from model.experiment import evaluate_splits, fitter_of
from model.variants import VARIANTS, variant_class
from pipeline import cells, checkpoint, paths, study, train
from pipeline import params as stage_params
from pipeline.catalogue.embeddings import read_embeddings, write_embeddings
from pipeline.cells import Experiment, cell_of
from pipeline.files import InputError
from pipeline.workspace import Workspace

ROOT = Path(__file__).parents[1]
FAST = replace(SMALL, train=replace(SMALL.train, epochs=3, patience=3))


def experiment(system: str = "frozen", seed: int = 0, **changes: Any) -> Experiment:
    """Of `FAST`; `changes` go to Config or Train."""
    top = {k: v for k, v in changes.items() if hasattr(FAST, k)}
    below = {k: v for k, v in changes.items() if k not in top}
    config = replace(FAST, train=replace(FAST.train, **below), **top)
    return Experiment(system, config.layers, config.for_system(system), seed, "cpu")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prepared workspace, and the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_workspace(tmp_path)
    return tmp_path


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Labels of the cells that are fitted."""
    done: list[str] = []
    real = cells._fit

    def counted(experiment: Experiment, *rest: Any) -> None:
        done.append(experiment.label)
        real(experiment, *rest)

    monkeypatch.setattr(cells, "_fit", counted)
    return done


def test_the_dataset_is_what_the_files_say(here: Path) -> None:
    dataset, given = Workspace().dataset, splits()
    parts = {"train": dataset.catalogue.train, "validation": dataset.validation,
             "test": dataset.test}  # fmt: skip
    for name, part in parts.items():
        assert torch.equal(part.users, given[name].users)
        assert torch.equal(part.items, given[name].items)
        assert (part.n_users, part.n_items) == (USERS, ITEMS)
    modalities = {m.name: m for m in dataset.catalogue.modalities}
    assert list(modalities) == ["text", "image", "audio"]  # nobody has a video
    for name, first in (("text", 0), ("image", 3), ("audio", 9)):
        _, vectors = read_embeddings(paths.embeddings_path(name))
        assert modalities[name].present.nonzero()[:, 0].tolist() == list(range(first, ITEMS))
        assert torch.equal(modalities[name].vectors[first:], vectors)
        assert not modalities[name].vectors[:first].any()


def test_a_cell_is_fitted_once_and_comes_back_whole(here: Path, fits: list[str]) -> None:
    for system in VARIANTS:
        first = cell_of(experiment(system), Workspace())
        again = cell_of(experiment(system), Workspace())
        assert again == first
        e, dataset = first.experiment, first.experiment.dataset(Workspace())
        fitted = fitter_of(
            variant_class(system), dataset, e.config, e.seed, torch.device("cpu")
        ).run()
        assert first.history == fitted.history and first.best_epoch == fitted.best_epoch
        with torch.inference_mode():
            users, items = first.model(Workspace())()
        assert torch.equal(users, fitted.users) and torch.equal(items, fitted.items)
        assert first.metrics == evaluate_splits(dataset, users, items)
        assert (first.alpha is not None) == (system == "alpha")
    assert len(fits) == len(VARIANTS)


def independent_ndcg(users: Any, items: Any, split: str, masked: list[str]) -> float:
    """NDCG@10 by loops in float64 from the Parquet files."""

    def edges(name: str) -> set[tuple[int, int]]:
        table = pq.read_table(paths.split_path(name))
        return set(zip(table["user"].to_pylist(), table["item"].to_pylist(), strict=True))

    scores = users.double().numpy() @ items.double().numpy().T
    seen, relevant = set().union(*map(edges, masked)), edges(split)
    values = []
    for user in range(USERS):
        mine = {i for u, i in relevant if u == user}
        if mine:
            ranked = [i for i in np.argsort(-scores[user]) if (user, i) not in seen][:10]
            gain = sum(1 / np.log2(r + 2) for r, i in enumerate(ranked) if i in mine)
            values.append(gain / sum(1 / np.log2(r + 2) for r in range(min(10, len(mine)))))
    return float(np.mean(values))


def test_nobody_is_recommended_what_an_earlier_split_has(here: Path) -> None:
    cell = cell_of(experiment("none"), Workspace())
    with torch.inference_mode():
        users, items = cell.model(Workspace())()
    for split, masked in {"validation": ["train"], "test": ["train", "validation"]}.items():
        expected = independent_ndcg(users, items, split, masked)
        assert cell.metrics[split]["ndcg@10"] == pytest.approx(expected, abs=1e-9)
    unmasked = independent_ndcg(users, items, "test", ["train"])
    assert unmasked != pytest.approx(
        cell.metrics["test"]["ndcg@10"], abs=1e-3
    )  # or this shows nothing


# Another value of every parameter that an experiment can have.
OTHER: dict[str, Any] = {
    "layers": 1, "aggregate": "max", "propagation": "published", "projection": "learned",
    "protocol": "published",
    "train.dimension": 4, "train.epochs": 4, "train.batch_size": 40, "train.learning_rate": 0.01,
    "train.regularization": 0.3, "train.loss": "softmax", "train.temperature": 0.7,
    "train.negatives": 2, "train.reject_positives": False, "train.patience": 2,
    "train.missing": "mean", "train.layer_weights": (0.5, 0.2, 0.3), "train.user_exponent": 0.3,
    "train.item_exponent": 0.4, "train.content": Content(single_branch=True),
}  # fmt: skip
OTHER_OPTIONS: dict[str, Any] = {
    "dropout": 0.4, "contrast": 0.9, "temperature": 0.9, "output_layer": False,
    "learning_rate": 0.03, "regularization": 0.7, "bias_regularization": 0.8,
    "content_regularization": 0.4, "layers": 1, "decay": 0.1, "neighbors": 2,
    "feature_dimension": 3, "frozen_weight": 0.2, "rebuild": "epoch",
}  # fmt: skip


def changed(system: str, key: str) -> Experiment:
    """`system` with another value of one parameter, given to it whether it reads it or not."""
    group, _, name = key.rpartition(".")
    if group == "train":
        config = replace(FAST, train=replace(FAST.train, **{name: OTHER[key]}))
    elif group:
        owner = group.removeprefix("systems.")
        options = replace(getattr(FAST.systems, owner), **{name: OTHER_OPTIONS[name]})
        config = replace(FAST, systems=replace(FAST.systems, **{owner: options}))
    else:
        config = replace(FAST, **{name: OTHER[key]})
    return Experiment(system, FAST.layers, config.for_system(system), 0, "cpu")


def test_the_table_of_other_values_is_whole() -> None:
    named = {f"train.{f.name}" for f in fields(Train)} | {
        f.name for f in fields(FAST) if f.name not in ("train", "systems")
    }
    assert named == OTHER.keys()


OWN = [
    (system.name, f"systems.{system.name}.{option.name}")
    for system in fields(Systems)
    for option in fields(getattr(SMALL.systems, system.name))
]
# Parameters that do nothing unless another one has another value.
DORMANT = {"train.temperature", "systems.lattice.decay"}


GRAPH = {"layers", "propagation", "train.dimension", "train.item_exponent", "train.layer_weights",
         "train.learning_rate", "train.regularization", "train.user_exponent"}  # fmt: skip
LATE = GRAPH | {"aggregate", "projection", "train.content", "train.missing"}
ITS_OWN = {"train.dimension", "train.missing"}
READ = {
    "none": GRAPH, "frozen": LATE, "alpha": LATE, "unfrozen": LATE, "normalized": LATE,
    "equal": LATE - {"aggregate"}, "early": LATE - {"projection"},
    "mmlgcn": GRAPH | {"train.missing"}, "vbpr": ITS_OWN, "mmgcn": ITS_OWN, "lattice": ITS_OWN,
}  # fmt: skip


def test_what_each_system_reads() -> None:
    assert {name: getattr(SMALL.systems, name).shared for name in VARIANTS} == READ
    content = {name: getattr(SMALL.systems, name).content for name in VARIANTS}
    assert content == dict.fromkeys(VARIANTS, True) | {"none": False}


@pytest.mark.parametrize("system", VARIANTS)
def test_what_is_declared_and_nothing_else_is_in_the_fingerprint(here: Path, system: str) -> None:
    print_ = experiment(system).fingerprint(Workspace())
    shared = getattr(SMALL.systems, system).shared | FITTING
    for key in OTHER:
        assert (changed(system, key).fingerprint(Workspace()) != print_) == (key in shared), key
    for owner, key in OWN:
        assert (changed(system, key).fingerprint(Workspace()) != print_) == (owner == system), key


@pytest.mark.parametrize("system", VARIANTS)
def test_what_is_declared_changes_the_result(here: Path, system: str) -> None:
    """A parameter that a system declares to read is read."""
    base = cell_of(experiment(system), Workspace())
    keys = [k for k in OTHER if k in getattr(SMALL.systems, system).shared | FITTING]
    for key in [*keys, *(key for owner, key in OWN if owner == system)]:
        if key in DORMANT:
            continue
        cell = cell_of(changed(system, key), Workspace())
        assert cell.path != base.path
        if key == "train.patience":
            continue  # only of longer fits
        assert [r["train_loss"] for r in cell.history] != [
            r["train_loss"] for r in base.history
        ] or (cell.metrics != base.metrics), key


def rewrite(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path)


def test_the_data_count_by_content(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prints() -> dict[str, str]:
        return {s: experiment(s).fingerprint(Workspace()) for s in ("none", "frozen", "vbpr")}

    first = prints()
    # The same content in another file: other metadata, row groups, compression, further columns.
    for name in ("train", "validation", "test"):
        table = pq.read_table(paths.split_path(name))
        pq.write_table(table, paths.split_path(name), row_group_size=7, compression="gzip")
    table = pq.read_table(paths.ITEMS)
    rewrite(paths.ITEMS, table.set_column(1, "title", pa.array(["x"] * ITEMS)))
    text = paths.embeddings_path("text")
    ids, vectors = read_embeddings(text)
    write_embeddings(text, ids, lambda p: vectors.numpy()[p], 6, {"library:torch": "9"})
    assert prints() == first

    def with_vectors(kept: list[str], values: np.ndarray) -> None:
        write_embeddings(text, kept, lambda p: values[p], values.shape[1], {})

    shifted = vectors.numpy().copy()
    shifted[7, 2] += 1e-6
    for kept, values in ((ids, shifted), (ids[:-1], vectors.numpy()[:-1])):  # presence counts too
        with_vectors(kept, values)
        now = prints()
        assert now["none"] == first["none"]
        assert now["frozen"] != first["frozen"] and now["vbpr"] != first["vbpr"]
    with_vectors(ids, vectors.numpy())
    assert prints() == first

    image = paths.embeddings_path("image")
    others, pictures = read_embeddings(image)
    before = image.read_bytes()
    moved = ["i00", *others[1:]]  # the same vectors, one of them another item's
    write_embeddings(image, moved, lambda p: pictures.numpy()[p], 6, {})
    assert prints()["frozen"] != first["frozen"]
    image.write_bytes(before)
    assert prints() == first

    for name in ("train", "validation", "test"):
        table = pq.read_table(paths.split_path(name))
        rewrite(paths.split_path(name), table.slice(1))
        now = prints()
        assert all(now[s] != first[s] for s in first), name
        rewrite(paths.split_path(name), table)
    users = pq.read_table(paths.USERS)
    rewrite(paths.USERS, pa.table({"user_id": [*users["user_id"].to_pylist(), "more"]}))
    assert all(now != first[s] for s, now in prints().items())


def test_seed_code_library_and_device_count(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace()
    first = experiment().fingerprint(workspace)
    assert experiment(seed=1).fingerprint(workspace) != first
    monkeypatch.setattr(cells, "card", lambda device: "a card" if device == "cuda" else "")
    assert replace(experiment(), device="cuda").fingerprint(workspace) != first
    for name, other in {
        "version": lambda name: "9.9",
        "code_sha256": lambda *modules, apart_from: "other",
        "KS": (1, 2),
        "METRICS": ("ndcg",),
        "SELECTION": "ndcg@5",
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(cells, name, other)
            assert experiment().fingerprint(workspace) != first, name
    assert experiment().fingerprint(workspace) == first


def test_a_systems_code_is_its_own() -> None:
    """What one system alone runs is in no other's fingerprint; what fits them all is in each."""
    from model.variants import module_of
    from pipeline.fingerprint import closure

    of = {s: closure([module_of(s), "model.experiment"]) - {"model.config"} for s in VARIANTS}
    for system, modules in of.items():
        assert {m for m in modules if m.startswith("model.variants")} == {module_of(system)}
        assert {"model.fitting", "model.metrics", "model.sampling", "model.sparse"} <= modules
    assert "model.fusion" in of["frozen"] and "model.fusion" not in of["none"] | of["vbpr"]


def test_a_fit_that_diverges_says_what_to_try_and_keeps_nothing(here: Path) -> None:
    for system in ("none", "frozen"):
        with pytest.raises(InputError) as error:
            cell_of(experiment(system, learning_rate=1e20), Workspace())
        assert re.search(rf"{system} K=2 0 diverged: epoch \d", str(error.value))
        assert "lower train.learning_rate (1e+20)" in str(error.value)
    text = paths.embeddings_path("text")
    ids, _ = read_embeddings(text)
    huge = np.random.default_rng(0).normal(size=(len(ids), 400)).astype(np.float32)
    huge[3:9] = 3e38
    write_embeddings(text, ids, lambda p: huge[p], 400, {})
    wide = replace(FAST.systems, lattice=Lattice(feature_dimension=64))
    for system in ("vbpr", "lattice"):
        with pytest.raises(InputError) as error:
            cell_of(experiment(system, systems=wide), Workspace())
        assert f"lower systems.{system}.learning_rate" in str(error.value)
        assert "text 3e+38" in str(error.value)
    assert not [p for p in here.glob(".cache/**/*") if p.is_file()]
    # Where vectors are normalised first, any finite length will do.
    assert cell_of(experiment("frozen"), Workspace()).metrics["test"]["ndcg@10"] > 0


def test_a_cut_off_fit_is_taken_up_and_its_state_removed(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    whole = cell_of(experiment("early"), Workspace())
    expected = whole.path.read_bytes()
    whole.path.unlink()
    real = checkpoint.Checkpoint.save

    def cut(self: checkpoint.Checkpoint, state: Any) -> None:
        real(self, state)
        if len(state.history) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Checkpoint, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        cell_of(experiment("early"), Workspace())
    [left] = (here / ".cache/fits").iterdir()
    saved: list[int] = []
    monkeypatch.setattr(
        checkpoint.Checkpoint, "save", lambda self, state: saved.append(len(state.history))
    )
    again = cell_of(experiment("early"), Workspace())
    assert not saved  # the third epoch was the last, and the only one that was left
    assert again.path.read_bytes() == expected and not left.exists()


def run_stages(params: stage_params.Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """`train`, then the study of each variant, in this process."""
    for stage in (train, study):
        monkeypatch.setattr(stage, "load", lambda: params)
    train.main()
    for variant in params.study.variants:
        monkeypatch.setattr(sys, "argv", ["study", variant])
        study.main()


def test_train_and_studies_fit_nothing_twice(
    here: Path, fits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stage_params.load(ROOT / "params.yaml")
    small = replace(
        whole, device="cpu", fusion="frozen", layers=1, seed=4,
        train=replace(whole.train, dimension=4, epochs=2),
        study=replace(whole.study, variants=["none", "frozen"], layers=[0, 1], seeds=[3, 4]),
    )  # fmt: skip
    run_stages(small, monkeypatch)
    assert len(fits) == len(set(fits)) == 8  # train's own is one of the study's
    fits.clear()
    run_stages(small, monkeypatch)
    assert not fits
    more = replace(small, study=replace(small.study, seeds=[3, 4, 5]))
    run_stages(more, monkeypatch)
    assert sorted(fits) == ["frozen K=0 5", "frozen K=1 5", "none K=0 5", "none K=1 5"]
    fits.clear()
    run_stages(replace(more, aggregate="max"), monkeypatch)
    assert len(fits) == 6 and all(label.startswith("frozen") for label in fits)
    fits.clear()
    options = replace(more.systems.lattice, neighbors=3)
    run_stages(replace(more, systems=replace(more.systems, lattice=options)), monkeypatch)
    assert not fits


def test_nothing_to_fit_imports_no_torch(here: Path) -> None:
    cell_of(experiment("alpha"), Workspace())
    code = (
        "import sys; sys.path.insert(0, 'TESTS')\n"
        "from model.config import Config, Lattice, Mmgcn, Systems, Train\n"
        "from pipeline.cells import Experiment, cell_of\n"
        "from pipeline.workspace import Workspace\n"
        "config = Config(2, Train(dimension=8, epochs=3, batch_size=50, patience=3,"
        " learning_rate=0.02))\n"
        "print(cell_of(Experiment('alpha', 2, config.for_system('alpha'), 0, 'cpu'), Workspace())"
        ".metrics['test']['ndcg@10'], 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("False\n"), done.stderr
