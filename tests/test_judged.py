"""What a study keeps of every user: values recomputed from the lists, lists from the models."""

import csv
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small import ITEMS, USERS, write_workspace

from model.metrics import METRICS
from model.systems import options_class
from pipeline import study, train
from pipeline.catalogue.workspace import Workspace
from pipeline.common import params as stage_params
from pipeline.common import paths
from pipeline.experiments import cells
from pipeline.experiments.cells import cell_of
from pipeline.experiments.experiment import Experiment
from pipeline.experiments.results import Study
from pipeline.experiments.selection import selected_depth

ROOT = Path(__file__).parents[1]
Key = tuple[str | None, int | None, int | None]
Row = dict[str, Any]
SPLITS = ("validation", "test")
SEEN = {"validation": ("train",), "test": ("train", "validation")}
CONTROLS = ("placebo", "no_content", "unit_length")
COUNTS = {"frozen": 4 + 2 * 3, "ease": 1, "popularity": 1, "vbpr": 2 + 2 * 2}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_workspace(tmp_path)
    # One user has more to be found than the longest cut-off.
    seen = edges(*paths.SPLITS)[3]
    more = [item for item in range(ITEMS) if item not in seen][:11]
    test = pq.read_table(paths.split_path("test"))
    added = pa.table({"user": [3] * len(more), "item": more}, test.schema)
    pq.write_table(pa.concat_tables([test, added]), paths.split_path("test"))
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


def params(**of_study: Any) -> stage_params.Params:
    whole = stage_params.load(ROOT / "params.yaml")
    given = {"layers": [0, 2], "seeds": [3, 4], "controls": CONTROLS, "processes": 1} | of_study
    return replace(
        whole, device="cpu", fusion="frozen", layers=1,
        train=replace(whole.train, dimension=4, epochs=3), study=replace(whole.study, **given),
    )  # fmt: skip


@pytest.fixture
def studied(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def run(system: str, **of_study: Any) -> None:
        monkeypatch.setattr(study, "load", lambda: params(**of_study))
        monkeypatch.setattr(sys, "argv", ["study", system])
        study.main()

    return run


def rows(system: str, name: str) -> list[Row]:
    found: list[Row] = pq.read_table(paths.STUDY / system / f"{name}.parquet").to_pylist()
    return found


def edges(*names: str) -> list[set[int]]:
    """Of every user, the items of some splits."""
    found: list[set[int]] = [set() for _ in range(USERS)]
    for name in names:
        for row in pq.read_table(paths.split_path(name)).to_pylist():
            found[row["user"]].add(row["item"])
    return found


def key(row: Row) -> Key:
    return row["control"], row["layers"], row["seed"]


def models(system: str) -> list[Key]:
    return [key(row) for row in Study.read(paths.STUDY / system).models]


def recomputed(ranked: list[int], relevant: set[int], k: int) -> dict[str, float]:
    """All accuracy metrics of one list, by their definitions."""
    hits = np.array([item in relevant for item in ranked[:k]] + [False] * (k - len(ranked)))
    ranks = np.arange(1, k + 1)
    ideal = (1 / np.log2(ranks[: len(relevant)] + 1)).sum()
    first = np.flatnonzero(hits)
    average = sum(hits[:rank].mean() for rank in ranks[hits])
    return {
        "precision": hits.sum() / k,
        "recall": hits.sum() / len(relevant),
        "ndcg": (hits / np.log2(ranks + 1)).sum() / ideal,
        "hit_rate": float(hits.any()),
        "mrr": 1 / (first[0] + 1) if len(first) else 0.0,
        "map": average / len(relevant),
    }


@pytest.mark.parametrize("system", COUNTS)
def test_a_row_a_model_split_and_judged_user(
    here: Path, studied: Callable[..., None], system: str
) -> None:
    studied(system)
    keyed = [
        ("system", pa.string()), ("control", pa.string()), ("layers", pa.int64()),
        ("seed", pa.int64()), ("split", pa.string()), ("user", pa.int32()),
    ]  # fmt: skip
    measured = [name for name, metric in METRICS.items() if metric.accuracy]
    folder = paths.STUDY / system
    assert pq.read_schema(folder / "users.parquet") == pa.schema(
        [*keyed, ("relevant", pa.int32())]
        + [(f"{name}@{k}", pa.float64()) for k in (5, 10) for name in measured]
    )
    lists = pq.read_schema(folder / "lists.parquet")
    assert lists.names == [*dict(keyed), "items"]
    assert lists.field("items").type.value_type == pa.int32()
    judged = {split: [u for u, items in enumerate(edges(split)) if items] for split in SPLITS}
    assert len(models(system)) == COUNTS[system]
    expected = [
        (*model, split, user)
        for model in models(system)
        for split in SPLITS
        for user in judged[split]
    ]
    for name in ("users", "lists"):
        found = rows(system, name)
        assert {row["system"] for row in found} == {system}
        assert [(*key(row), row["split"], row["user"]) for row in found] == expected


@pytest.mark.parametrize("system", COUNTS)
def test_values_follow_from_the_lists(
    here: Path, studied: Callable[..., None], system: str
) -> None:
    studied(system)
    relevant = {split: edges(split) for split in SPLITS}
    means: dict[Any, list[float]] = {}
    for row, shown in zip(rows(system, "users"), rows(system, "lists"), strict=True):
        mine = relevant[row["split"]][row["user"]]
        assert row["relevant"] == len(mine) > 0
        for k in (5, 10):
            for metric, value in recomputed(shown["items"], mine, k).items():
                assert row[f"{metric}@{k}"] == pytest.approx(value, abs=1e-12), metric
                place = (*key(row), row["split"], metric, k)
                means.setdefault(place, []).append(row[f"{metric}@{k}"])
    results = {
        (*key(row), row["split"], row["metric"], row["k"]): row["value"]
        for row in Study.read(paths.STUDY / system).results
        if METRICS[row["metric"]].accuracy
    }
    assert results.keys() == means.keys()
    for place, values in means.items():
        assert results[place] == pytest.approx(np.mean(values), abs=1e-12), place


@pytest.mark.parametrize("system", COUNTS)
def test_lists_are_the_models_best_of_what_was_not_seen(
    here: Path, studied: Callable[..., None], system: str
) -> None:
    studied(system)
    workspace, given = Workspace(), params()
    seen = {split: edges(*names) for split, names in SEEN.items()}
    scores = {}
    for control, layers, seed in models(system):
        model = cell_of(Experiment.of(given, system, layers, seed, control), workspace)
        assert not model.fresh
        scores[control, layers, seed] = model.model(workspace).scorer()(torch.arange(USERS)).numpy()
    for row in rows(system, "lists"):
        items, mine = row["items"], scores[key(row)][row["user"]]
        allowed = [i for i in range(ITEMS) if i not in seen[row["split"]][row["user"]]]
        # All that may be shown: there are fewer than the longest list takes.
        assert sorted(items) == allowed
        assert (np.diff(mine[items]) <= 0).all()


def test_controls_are_at_the_selected_depth_alone(here: Path, studied: Callable[..., None]) -> None:
    studied("frozen")
    results = Study.read(paths.STUDY / "frozen").results
    means = {
        depth: np.mean([
            row["value"] for row in results
            if row["split"] == "validation" and (row["metric"], row["k"]) == ("ndcg", 10)
            and row["control"] is None and row["layers"] == depth
        ])
        for depth in (0, 2)
    }  # fmt: skip
    assert means[0] != means[2]
    best = max(means, key=lambda depth: means[depth])
    assert models("frozen") == [
        *((None, depth, seed) for depth in (0, 2) for seed in (3, 4)),
        *((control, best, seed) for control in CONTROLS for seed in (3, 4)),
    ]
    for name in ("users", "lists"):
        assert {r["layers"] for r in rows("frozen", name) if r["control"]} == {best}


def test_without_content_a_system_keeps_its_name(here: Path, studied: Callable[..., None]) -> None:
    """Under no_content it is the cell of another, and that one's users."""
    studied("frozen")
    studied("none")
    bare = [r for r in rows("frozen", "users") if r["control"] == "no_content"]
    [depth] = {row["layers"] for row in bare}
    others = [r for r in rows("none", "users") if r["layers"] == depth]
    same = {"system": None, "control": None}
    assert bare and [r | same for r in bare] == [r | same for r in others]


NAMES = ("models.csv", "results.csv", "history.csv", "users.parquet", "lists.parquet")


@pytest.mark.parametrize("system", ["frozen", "ease"])
def test_a_rerun_writes_the_same_bytes(
    here: Path, studied: Callable[..., None], fits: list[str], system: str
) -> None:
    folder = paths.STUDY / system

    def contents() -> dict[str, bytes]:
        assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
        return {name: (folder / name).read_bytes() for name in NAMES}

    studied(system)
    first, times = contents(), paths.times_path(system).read_bytes()
    cells_ = {p.name: p.read_bytes() for p in Path(".cache/cells").glob("*.safetensors")}
    fits.clear()
    shutil.rmtree(folder)
    studied(system)
    assert contents() == first and not fits
    assert paths.times_path(system).read_bytes() == times
    shutil.rmtree(".cache")  # fitted once more
    studied(system)
    assert contents() == first and fits
    again = {p.name: p.read_bytes() for p in Path(".cache/cells").glob("*.safetensors")}
    assert again == cells_


def test_what_fitting_took_stands_apart(here: Path, studied: Callable[..., None]) -> None:
    for system in ("frozen", "ease"):
        studied(system)
        with paths.times_path(system).open() as file:
            found = list(csv.DictReader(file))
        assert list(found[0]) == [
            "system", "control", "layers", "seed", "seconds", "megabytes", "epochs", "device",
        ]  # fmt: skip
        stated = Study.read(paths.STUDY / system).models
        assert [(r["control"], r["layers"], r["seed"], r["epochs"]) for r in found] == [
            tuple("" if v is None else str(v) for v in (*key(row), row["epochs"]))
            for row in stated
        ]  # fmt: skip
        for row in found:
            assert row["system"] == system and row["device"] == "cpu"
            assert float(row["seconds"]) >= 0 and float(row["megabytes"]) >= 0


def test_more_seeds_and_controls_fit_what_is_new(
    here: Path, studied: Callable[..., None], fits: list[str]
) -> None:
    studied("frozen", controls=("placebo",))
    assert len(fits) == len(set(fits)) == 4 + 2
    [depth] = {layers for control, layers, _ in models("frozen") if control}
    first = rows("frozen", "users")
    fits.clear()
    studied("frozen", controls=("placebo", "unit_length"))
    assert fits == [f"frozen unit_length K={depth} seed {seed}" for seed in (3, 4)]
    kept = [r for r in rows("frozen", "users") if r["control"] != "unit_length"]
    assert kept == first
    fits.clear()
    studied("frozen", controls=("placebo", "unit_length"), ablations=("modalities", "aggregates"))
    assert len(fits) == 2 * (3 + 3 + 6)  # the mean is what params.yaml says, and there
    assert len(models("frozen")) == 4 + 2 * (2 + 3 + 3 + 7)
    fits.clear()
    studied("frozen", seeds=[3, 4, 5], controls=())
    assert fits == ["frozen K=0 seed 5", "frozen K=2 seed 5"]
    fits.clear()
    studied("frozen", controls=())
    assert not fits and len(models("frozen")) == 4


def test_a_trained_model_has_its_users_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "load", params)
    train.main()
    users, lists = (pq.read_table(p) for p in (paths.TRAINED_USERS, paths.TRAINED_LISTS))
    judged = [(s, u) for s in SPLITS for u, items in enumerate(edges(s)) if items]
    for table in (users, lists):
        found = zip(table["split"].to_pylist(), table["user"].to_pylist(), strict=True)
        assert list(found) == judged
        assert set(table["system"].to_pylist()) == {"frozen"}
    assert users["seed"].unique().to_pylist() == [params().seed]


def empty(*splits: str) -> None:
    for split in splits:
        path = paths.split_path(split)
        pq.write_table(pq.read_table(path).slice(0, 0), path)


def test_without_a_validation_split_the_first_depth_is_compared(
    here: Path, studied: Callable[..., None]
) -> None:
    empty("validation")
    studied("frozen", layers=[2, 0])
    assert {layers for control, layers, _ in models("frozen") if control} == {2}
    assert {row["split"] for row in rows("frozen", "users")} == {"test"}


def test_where_nothing_is_to_be_found_nobody_is_judged(
    here: Path, studied: Callable[..., None]
) -> None:
    empty("validation", "test")
    studied("frozen", layers=[1], seeds=[3])
    assert len(models("frozen")) == 1 + 3
    assert rows("frozen", "users") == rows("frozen", "lists") == []
    assert pq.read_schema(paths.STUDY / "frozen/users.parquet").names[-1] == "relevant"


@pytest.mark.parametrize(
    ("values", "depth"),
    [
        ({0: [0.1], 1: [0.3], 2: [0.2]}, 1),
        ({0: [0.2, 0.2], 3: [0.1, 0.35]}, 3),  # by the mean, not the best or the worst seed
        ({0: [0.2, 0.2], 3: [0.0, 0.35]}, 0),
        ({2: [0.3], 0: [0.3], 1: [0.3]}, 0),  # the smallest of those that tie
        ({3: [0.3], 0: [0.1], 1: [0.3]}, 1),
        ({0: [0.0], 1: [0.0]}, 0),
        ({2: [], 0: [], 1: []}, 2),  # no validation: the first
        ({None: []}, None),
        ({None: [0.4, 0.5]}, None),
    ],
)
def test_validation_selects_a_depth(
    values: dict[int | None, list[float]], depth: int | None
) -> None:
    assert selected_depth(values) == depth


@pytest.mark.usefixtures("here")
def test_a_control_has_the_depth_and_the_seed_of_what_it_controls(
    studied: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if, without content, the system is one that reads neither."""
    monkeypatch.setattr(options_class("frozen"), "without_content", "popularity")
    studied("frozen", controls=("no_content",))
    found = [key for key in models("frozen") if key[0] == "no_content"]
    assert {depth for _, depth, _ in found} < {0, 2} and [s for *_, s in found] == [3, 4]
    assert {key(row) for row in rows("frozen", "users")} == {*models("frozen")}
    one, two = ([row["ndcg@10"] for row in rows("frozen", "users") if key(row) == k] for k in found)
    assert one == two and any(one)
