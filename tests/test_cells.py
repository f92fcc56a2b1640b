"""Fitted models by content: what a cell depends on, and that nothing is fitted twice."""

import importlib
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from small import EMBEDDING_SYSTEMS, ITEMS, PLAIN, USERS, small_experiment, splits, write_workspace

from model.config import SystemOptions, flatten
from model.experiment import build, evaluate_splits, system_class
from model.metrics import SELECTION
from model.system import Run
from model.systems import SYSTEMS, module_of, options_class
from pipeline import study, train
from pipeline.catalogue.embeddings import read_embeddings, write_embeddings
from pipeline.catalogue.workspace import Workspace
from pipeline.common import params as stage_params
from pipeline.common import paths
from pipeline.common.files import InputError
from pipeline.common.fingerprint import closure
from pipeline.experiments import cells, checkpoint
from pipeline.experiments import experiment as experiments
from pipeline.experiments.cells import cell_of, fit_path
from pipeline.experiments.experiment import Experiment, grid_of

ROOT = Path(__file__).parents[1]


def experiment(system: str = "frozen", seed: int = 0, **changes: Any) -> Experiment:
    """A fast one; `changes` as in `small.config_of`."""
    return small_experiment(system, seed=seed, **{"epochs": 3, "patience": 3} | changes)


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
    real = cells.fit_cell

    def counted(experiment: Experiment, *rest: Any) -> None:
        done.append(experiment.label)
        real(experiment, *rest)

    monkeypatch.setattr(cells, "fit_cell", counted)
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
    for system in SYSTEMS:
        first = cell_of(experiment(system), Workspace())
        again = cell_of(experiment(system), Workspace())
        assert again == first
        e, dataset = first.experiment, first.experiment.dataset(Workspace())
        model = build(system_class(system), dataset.catalogue, e.config, e.seed)
        told = model.fit(dataset, Run(e.seed or 0))
        assert first.history == told.history and first.best_epoch == told.best_epoch
        everyone = torch.arange(USERS)
        kept = first.model(Workspace())
        assert torch.equal(kept.scorer()(everyone), model.scorer()(everyone))
        for mine, other in zip(kept.embeddings() or (), model.embeddings() or (), strict=True):
            assert torch.equal(mine, other)
        evaluations = evaluate_splits(dataset, model.scorer())
        assert first.splits == list(evaluations) == ["validation", "test"]
        for split, evaluation in evaluations.items():
            for measure, value in evaluation.values().items():
                assert first.value(split, measure) == value
            judged = first.judged(split)
            assert judged.users.tolist() == evaluation.judged.tolist()
            assert judged.lists.tolist() == evaluation.lists.tolist()
            for measure, column in zip(first.measures, judged.values.T, strict=True):
                assert column.tolist() == evaluation.users[measure].tolist()
        diagnosed = {"alpha": {"alpha"}, "blend": told.chosen.keys()}
        assert first.diagnostics.keys() == diagnosed.get(system, set())
        assert (first.experiment.layers is None) == ("layers" not in options_class(system).reads)
    assert len(fits) == len(SYSTEMS)


def independent_ndcg(scores: np.ndarray, split: str, masked: list[str]) -> float:
    """NDCG@10 of scores (U, I) by loops from the Parquet files."""

    def edges(name: str) -> set[tuple[int, int]]:
        table = pq.read_table(paths.split_path(name))
        return set(zip(table["user"].to_pylist(), table["item"].to_pylist(), strict=True))

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
    users, items = (t.double().numpy() for t in cell.model(Workspace()).embeddings() or ())
    scores = users @ items.T
    for split, masked in {"validation": ["train"], "test": ["train", "validation"]}.items():
        expected = independent_ndcg(scores, split, masked)
        assert cell.value(split, SELECTION) == pytest.approx(expected, abs=1e-9)
    unmasked = independent_ndcg(scores, "test", ["train"])
    # Or this shows nothing.
    assert unmasked != pytest.approx(cell.value("test", SELECTION), abs=1e-3)


# Another value of every parameter that an experiment can have.
OTHER: dict[str, Any] = {
    "layers": 1, "aggregate": "max", "propagation": "published", "projection": "learned",
    "protocol": "published", "seed": 1,
    "train.dimension": 4, "train.epochs": 4, "train.batch_size": 40, "train.learning_rate": 0.01,
    "train.regularization": 0.3, "train.loss": "softmax", "train.temperature": 0.7,
    "train.negatives": 2, "train.reject_positives": False, "train.patience": 2,
    "train.cold_items": "new", "train.id_dropout": 0.4,
    "train.missing": "mean", "train.layer_weights": (0.5, 0.2, 0.3), "train.user_exponent": 0.3,
    "train.item_exponent": 0.4, "train.content.single_branch": True,
    "train.content.autoencoder": 0.5, "train.content.contrast": 0.5,
    "train.content.temperature": 0.7,
}  # fmt: skip
OTHER_OPTIONS: dict[str, Any] = {
    "dropout": 0.4, "contrast": 0.9, "temperature": 0.9, "output_layer": False,
    "learning_rate": 0.03, "regularization": 0.7, "bias_regularization": 0.8,
    "content_regularization": 0.4, "layers": 1, "decay": 0.1, "neighbors": 2,
    "feature_dimension": 3, "frozen_weight": 0.2, "rebuild": "epoch", "content_weight": 2.0,
    "user_exponent": 0.4, "item_exponent": 0.3, "iterations": 2, "unobserved_weight": 0.7,
    "frequency_exponent": 0.5, "similarity": "bm25", "shrinkage": 1.0, "k1": 0.2, "b": 0.1,
    "parts": ("ease", "ials"), "factors": 3, "whiten": False, "negatives": 2,
}  # fmt: skip
# What is read only where another parameter has another value than in these tests.
DORMANT = {"train.temperature", "train.content.temperature"}
# A fixed projection has nothing that a loss between modalities could move.
FIXED = {
    (system, "train.content.contrast")
    for system in ("alpha", "contrastive", "equal", "frozen", "normalized")
}
OWN_DORMANT = {("itemknn", "k1"), ("itemknn", "b"), ("ease", "whiten")}


# One whose parts stay, whatever validation says.
BASE: dict[str, dict[str, Any]] = {"blend": {"parts": ("ials",)}}


def changed(system: str, key: str) -> Experiment:
    """`system` with another value of one shared parameter, whether it reads it or not."""
    name, value = key.removeprefix("train."), OTHER[key]
    if key.startswith("train.content."):
        content = replace(PLAIN.content, **{name.removeprefix("content."): value})
        return experiment(system, options=BASE.get(system), content=content)
    return experiment(system, options=BASE.get(system), **{name: value})


def with_option(system: str, name: str) -> Experiment:
    return experiment(system, options=BASE.get(system, {}) | {name: OTHER_OPTIONS[name]})


def test_the_table_of_other_values_is_whole() -> None:
    top = {"aggregate", "layers", "projection", "propagation", "protocol", "seed"}
    assert flatten(PLAIN, "train.").keys() | top == OTHER.keys()
    assert {name for system in SYSTEMS for name in own(system)} == OTHER_OPTIONS.keys()


def own(system: str) -> list[str]:
    return [field.name for field in fields(options_class(system))]


FIT = {"protocol", "seed", "train.batch_size", "train.cold_items", "train.dimension",
       "train.epochs", "train.loss", "train.negatives", "train.patience", "train.reject_positives",
       "train.temperature"}  # fmt: skip
GRAPH = FIT | {"layers", "propagation", "train.item_exponent", "train.layer_weights",
               "train.learning_rate", "train.regularization", "train.user_exponent"}  # fmt: skip
PROJECTED = GRAPH | {"train.missing"} | {key for key in OTHER if key.startswith("train.content.")}
LATE = PROJECTED | {"aggregate", "projection", "train.id_dropout"}
READ = {
    "none": GRAPH, "frozen": LATE, "alpha": LATE, "unfrozen": LATE, "normalized": LATE,
    "equal": LATE - {"aggregate"}, "early": PROJECTED | {"aggregate"},
    "mmlgcn": GRAPH | {"train.missing"}, "vbpr": FIT | {"train.missing"},
    "mmgcn": FIT | {"train.missing"}, "lattice": FIT | {"train.missing"},
    "ials": {"protocol", "seed", "train.dimension", "train.patience"},
    "blend": {"protocol", "seed", "train.patience"}, "random": {"seed"}, "contentknn": set(),
    "ease": set(), "itemknn": set(), "popularity": set(),
    "contrastive": LATE - {
        "propagation", "train.item_exponent", "train.layer_weights", "train.learning_rate",
        "train.loss", "train.negatives", "train.temperature", "train.user_exponent",
    },
}  # fmt: skip
CONTENT = {"frozen", "alpha", "unfrozen", "normalized", "equal", "early", "mmlgcn", "vbpr",
           "mmgcn", "lattice", "blend", "contentknn", "contrastive"}  # fmt: skip


def test_what_each_system_reads() -> None:
    assert {name: options_class(name).reads for name in SYSTEMS} == READ
    assert {name for name in SYSTEMS if options_class(name)().content} == CONTENT
    assert options_class("ease")(content_weight=0.1).content  # type: ignore[call-arg]
    blend = options_class("blend")
    assert not blend(parts=("ials", "itemknn", "none")).content  # type: ignore[call-arg]
    assert blend(parts=("ials", "frozen")).content  # type: ignore[call-arg]
    # What gradients fit reads in a blend what it reads alone.
    own = READ["blend"]
    for parts in (("ials", "frozen"), ("ease", "lattice"), ("contrastive", "lattice", "none")):
        expected = own.union(*(READ[name] for name in parts if name not in ("ials", "ease")))
        assert blend(parts=parts).reads == expected  # type: ignore[call-arg]


@pytest.mark.parametrize("system", SYSTEMS)
def test_options_read_from_the_source_are_the_modules(system: str) -> None:
    """They are taken from the file without importing it; here is what Python makes of it."""
    module = importlib.import_module(module_of(system))
    declared, real = options_class(system), module.Options
    assert issubclass(real, SystemOptions) and (declared.reads, declared.unread) == (
        real.reads, real.unread,
    )  # fmt: skip
    assert declared().content == real().content

    def described(cls: type[Any]) -> list[tuple[str, Any]]:
        return [(field.name, field.default) for field in fields(cls)]

    assert described(declared) == described(real)
    rules = [get_type_hints(cls, include_extras=True) for cls in (declared, real)]
    assert rules[0] == rules[1] and {f.name for f in fields(real)} <= rules[0].keys()


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_is_read_and_nothing_else_is_in_the_fingerprint(here: Path, system: str) -> None:
    base = experiment(system, options=BASE.get(system))
    print_ = base.fingerprint(Workspace())
    for key in OTHER:
        if key == "seed":
            now = experiment(system, seed=1, options=BASE.get(system)).fingerprint(Workspace())
        else:
            now = changed(system, key).fingerprint(Workspace())
        assert (now != print_) == (key in READ[system] - DORMANT), key
    for name in own(system):
        now = with_option(system, name).fingerprint(Workspace())
        assert (now != print_) == ((system, name) not in OWN_DORMANT), name


@pytest.mark.parametrize(
    ("system", "base", "unread"),
    [
        ("none", {"protocol": "published"}, {"reject_positives": False, "patience": 1}),
        ("none", {"propagation": "published"},
         {"layer_weights": (1.0, 2.0, 3.0), "user_exponent": 0.2, "item_exponent": 0.1}),
        ("frozen", {"layers": 0}, {"user_exponent": 0.2, "item_exponent": 0.1}),
        ("vbpr", {"loss": "bpr"}, {"temperature": 0.9}),
        ("itemknn", {"options": {"similarity": "bm25"}},
         {"options": {"similarity": "bm25", "shrinkage": 9.0}}),
        ("early", {"options": {"contrast": 0.0}},
         {"options": {"contrast": 0.0, "temperature": 0.9}}),
        ("ease", {"options": {"content_weight": 0.0}},
         {"options": {"content_weight": 0.0, "whiten": False}}),
        ("blend", {"options": {"parts": ("ease",)}},
         {"options": {"parts": ("ease",), "factors": 9}}),
    ],
)  # fmt: skip
def test_what_a_value_silences_is_not_in_the_fingerprint(
    here: Path, system: str, base: dict[str, Any], unread: dict[str, Any]
) -> None:
    first = experiment(system, **base)
    for name, value in unread.items():
        other = experiment(system, **base | {name: value})
        assert other.fingerprint(Workspace()) == first.fingerprint(Workspace()), name
    assert cell_of(first, Workspace()).fresh
    assert not cell_of(experiment(system, **base | unread), Workspace()).fresh


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_is_declared_changes_the_result(here: Path, system: str) -> None:
    """A parameter that a system declares to read is read."""
    base = cell_of(experiment(system, options=BASE.get(system)), Workspace())
    others = {key: changed(system, key) for key in READ[system] - DORMANT - {"seed"}}
    if "seed" in READ[system]:
        others["seed"] = experiment(system, seed=1, options=BASE.get(system))
    others |= {n: with_option(system, n) for n in own(system) if (system, n) not in OWN_DORMANT}
    for key, other in others.items():
        cell = cell_of(other, Workspace())
        assert cell.path != base.path
        # Patience counts only in longer fits, and no item is cold here.
        if key not in ("train.patience", "train.cold_items") and (system, key) not in FIXED:
            assert cell.path.read_bytes() != base.path.read_bytes(), key
            assert scores(cell) != scores(base) or cell.history != base.history, key


CONTRAST = {"projection": "learned", "content": replace(PLAIN.content, contrast=0.5)}


@pytest.mark.parametrize(
    ("system", "base", "other"),
    [
        *((s, {"loss": "softmax"}, {"temperature": 0.7})
          for s in EMBEDDING_SYSTEMS if "train.loss" in READ[s]),
        *((s, {"projection": "learned"}, CONTRAST) for s, _ in sorted(FIXED)),
        *(
            (s, CONTRAST, {"content": replace(CONTRAST["content"], temperature=0.7)})
            for s in EMBEDDING_SYSTEMS if "train.content.temperature" in READ[s]
        ),
        *(
            ("itemknn", {"options": {"similarity": "bm25", "neighbors": 4}},
             {"options": {"similarity": "bm25", "neighbors": 4} | own})
            for own in ({"k1": 0.2}, {"b": 0.1})
        ),
        ("ease", {"options": {"content_weight": 2.0}},
         {"options": {"content_weight": 2.0, "whiten": False}}),
        *((s, {"epochs": 60, "patience": 60}, {"patience": 1})
          for s in (*EMBEDDING_SYSTEMS, "ials")),
    ],
)  # fmt: skip
def test_what_is_dormant_counts_once_awake(
    here: Path, system: str, base: dict[str, Any], other: dict[str, Any]
) -> None:
    first = cell_of(experiment(system, **base), Workspace())
    second = cell_of(experiment(system, **base | other), Workspace())
    assert first.path != second.path
    assert scores(first) != scores(second) or first.history != second.history


def scores(cell: Any) -> list[float]:
    return cell.model(Workspace()).scorer()(torch.arange(USERS)).flatten().tolist()  # type: ignore[no-any-return]


def test_a_system_is_given_what_it_declares_and_no_more() -> None:
    config = experiment("vbpr").config
    for read in (lambda: config.layers, lambda: config.train.learning_rate,
                 lambda: config.train.content.contrast):  # fmt: skip
        with pytest.raises(AttributeError, match="declare to read"):
            read()
    assert experiment("vbpr", layers=3) == replace(experiment("vbpr"))


def test_a_study_has_no_copies(here: Path) -> None:
    params = stage_params.load(ROOT / "params.yaml")
    study = replace(params.study, layers=[0, 2], seeds=[1, 2, 3])
    params = replace(params, study=study)
    assert grid_of(params, "frozen") == [(k, s) for k in (0, 2) for s in (1, 2, 3)]
    assert grid_of(params, "vbpr") == [(None, 1), (None, 2), (None, 3)]
    assert grid_of(params, "ease") == [(None, None)]
    assert grid_of(params, "blend") == [(None, 1), (None, 2), (None, 3)]
    graphs = options_class("blend")(parts=("ease", "frozen"))  # type: ignore[call-arg]
    params = replace(params, systems=params.systems | {"blend": graphs})
    assert grid_of(params, "blend") == grid_of(params, "frozen")


@pytest.mark.parametrize("system", SYSTEMS)
def test_an_experiment_has_a_depth_and_a_seed_if_they_are_read(here: Path, system: str) -> None:
    """By params.yaml: of what is not read, every value makes the same cell."""
    params = replace(stage_params.load(ROOT / "params.yaml"), device="cpu")
    workspace, read = Workspace(), options_class(system).reads
    made = [Experiment.of(params, system, k, s) for k in range(4) for s in (5, 6)]
    depths = {k if "layers" in read else None for k in range(4)}
    seeds = {s if "seed" in read else None for s in (5, 6)}
    assert {(e.layers, e.seed) for e in made} == {(k, s) for k in depths for s in seeds}
    different = len(depths) * len(seeds)
    assert len({e.fingerprint(workspace) for e in made}) == different
    assert len({e.label for e in made}) == different
    assert len({str(e.config.record()) for e in made}) == len(depths)
    last = made[-1].label
    assert last == system + " K=3" * ("layers" in read) + " seed 6" * ("seed" in read)
    given = [Experiment.of(params, system, *cell) for cell in grid_of(params, system)]
    assert [(e.layers, e.seed) for e in given] == grid_of(params, system)


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
    on_cards = []
    for name in ("a card", "another"):
        card = {"cuda": name, "cpu": ""}
        monkeypatch.setattr(experiments, "card", card.__getitem__)
        on_cards.append(replace(experiment(), device="cuda").fingerprint(workspace))
    # A fit under way is kept by this too: what one device began no other goes on with.
    assert len({fit_path(print_) for print_ in (first, *on_cards)}) == 3
    for name, other in {
        "version": lambda name: "9.9",
        "code_sha256": lambda *modules, apart_from: "other",
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(experiments, name, other)
            assert experiment().fingerprint(workspace) != first, name
    assert experiment().fingerprint(workspace) == first


# What a blend may be made of.
PARTS = ("ease", "ials", "itemknn", "contentknn", "none", "frozen", "alpha", "unfrozen",
         "normalized", "equal", "contrastive", "lattice")  # fmt: skip


def test_a_systems_code_is_its_own() -> None:
    """What one system alone runs is in no other's fingerprint; what fits them all is in each."""
    of = {
        s: closure([module_of(s), "model.experiment"]) - {*experiments.DECLARATIONS}
        for s in SYSTEMS
    }
    for system, modules in of.items():
        parts = PARTS if system == "blend" else ()
        own = {module_of(name) for name in (system, *parts)}
        assert {m for m in modules if m.startswith("model.systems")} == own
        assert {"model.metrics", "model.system"} <= modules
        fitting = {"model.embedding", "model.fitting", "model.objective", "model.sampling"}
        if system in EMBEDDING_SYSTEMS or system == "blend":
            assert {*fitting, "model.sparse"} <= modules
        else:
            assert not fitting & modules
    assert "model.fusion" in of["frozen"] and "model.fusion" not in of["none"] | of["vbpr"]


def test_a_fit_that_diverges_says_what_to_try_and_keeps_nothing(here: Path) -> None:
    for system in ("none", "frozen"):
        with pytest.raises(InputError) as error:
            cell_of(experiment(system, learning_rate=1e20), Workspace())
        assert re.search(rf"{system} K=2 seed 0 diverged: epoch \d", str(error.value))
        assert "lower train.learning_rate (1e+20)" in str(error.value)
    text = paths.embeddings_path("text")
    ids, _ = read_embeddings(text)
    huge = np.random.default_rng(0).normal(size=(len(ids), 400)).astype(np.float32)
    huge[3:9] = 3e38
    write_embeddings(text, ids, lambda p: huge[p], 400, {})
    wide = {"lattice": {"feature_dimension": 64}}
    for system in ("vbpr", "lattice"):
        with pytest.raises(InputError) as error:
            cell_of(experiment(system, options=wide.get(system)), Workspace())
        assert f"lower systems.{system}.learning_rate" in str(error.value)
        assert "text 3e+38" in str(error.value)
    with pytest.raises(InputError) as error:
        cell_of(experiment("ials", options={"frequency_exponent": 80.0}), Workspace())
    assert re.search(r"ials seed 0 diverged: epoch \d+: users: no longer finite", str(error.value))
    assert "systems.ials has: unobserved_weight (" in str(error.value)
    assert "frequency_exponent (80)" in str(error.value)
    with pytest.raises(InputError, match=r"cannot be inverted .*; raise systems\.ease\.regular"):
        cell_of(experiment("ease", options={"content_weight": 1e30}), Workspace())
    assert not [p for p in here.glob(".cache/**/*") if p.is_file()]
    # Where vectors are normalised first, any finite length will do.
    assert (cell_of(experiment("frozen"), Workspace()).value("test", SELECTION) or 0) > 0


@pytest.mark.parametrize("key", ["dimension", "negatives"])
@pytest.mark.parametrize("system", ["none", "vbpr"])
def test_what_memory_cannot_hold_is_said_before_it_is_taken(
    here: Path, key: str, system: str
) -> None:
    with pytest.raises(InputError, match=rf"train\.{key}: 1,000,000,000 .* GB are free"):
        cell_of(experiment(system, **{key: 10**9}), Workspace())


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
    """`train`, then the study of each system, in this process."""
    for stage in (train, study):
        monkeypatch.setattr(stage, "load", lambda: params)
    train.main()
    for system in params.study.systems:
        monkeypatch.setattr(sys, "argv", ["study", system])
        study.main()


def test_train_and_studies_fit_nothing_twice(
    here: Path, fits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stage_params.load(ROOT / "params.yaml")
    small = replace(
        whole, device="cpu", fusion="frozen", layers=1, seed=4,
        train=replace(whole.train, dimension=4, epochs=2),
        study=replace(
            whole.study, systems=["none", "frozen"], layers=[0, 1], seeds=[3, 4],
            controls=("no_content",), processes=1,
        ),
    )  # fmt: skip
    run_stages(small, monkeypatch)
    # Train's own is one of the study's, and without content frozen is none.
    assert len(fits) == len(set(fits)) == 8
    fits.clear()
    run_stages(small, monkeypatch)
    assert not fits
    more = replace(small, study=replace(small.study, seeds=[3, 4, 5]))
    run_stages(more, monkeypatch)
    assert sorted(fits) == [
        "frozen K=0 seed 5", "frozen K=1 seed 5", "none K=0 seed 5", "none K=1 seed 5",
    ]  # fmt: skip
    fits.clear()
    run_stages(replace(more, aggregate="max"), monkeypatch)
    assert len(fits) == 6 and all(label.startswith("frozen") for label in fits)
    fits.clear()
    options = replace(more.systems["lattice"], neighbors=3)
    run_stages(replace(more, systems=more.systems | {"lattice": options}), monkeypatch)
    assert not fits


def test_a_model_without_layers_is_saved(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its final users are its embeddings of users, the same tensor."""
    whole = stage_params.load(ROOT / "params.yaml")
    small = replace(
        whole, device="cpu", fusion="frozen", layers=0,
        train=replace(whole.train, dimension=4, epochs=2),
    )  # fmt: skip
    monkeypatch.setattr(train, "load", lambda: small)
    train.main()
    saved = load_file(paths.MODEL)
    assert torch.equal(saved["users"], saved["user_embedding"])


@pytest.mark.parametrize("system", ["alpha", "ease"])
def test_nothing_to_fit_imports_no_torch(here: Path, system: str) -> None:
    whole = stage_params.load(ROOT / "params.yaml")
    small = replace(whole, device="cpu", train=replace(whole.train, dimension=4, epochs=2))
    cell_of(Experiment.of(small, system, 2, 19), Workspace())
    code = (
        "import sys\n"
        "from dataclasses import replace\n"
        "from pipeline.common import params\n"
        "from pipeline.experiments.cells import cell_of\n"
        "from pipeline.experiments.experiment import Experiment\n"
        "from pipeline.catalogue.workspace import Workspace\n"
        f"whole = params.load(params.Path({str(ROOT / 'params.yaml')!r}))\n"
        "train = replace(whole.train, dimension=4, epochs=2)\n"
        "small = replace(whole, device='cpu', train=train)\n"
        f"cell = cell_of(Experiment.of(small, {system!r}, 2, 19), Workspace())\n"
        "print(cell.results[0]['value'], cell.fresh, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("False False\n"), done.stderr
