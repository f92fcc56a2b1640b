"""The report from written stage outputs: tables recomputed, pages read, edge cases."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from scipy import stats

from model.systems import options_class
from pipeline import report
from pipeline.catalogue.embeddings import write_embeddings
from pipeline.common.params import load
from pipeline.reporting import figures, sections

REPOSITORY = Path(__file__).parents[1]
SYSTEMS, LAYERS, SEEDS = ["none", "frozen", "alpha"], [0, 2], [1, 2, 3]
ACCURACY = [f"{m}@{k}" for m in ("precision", "recall", "ndcg") for k in (5, 10, 20, 50)]
METRICS = ACCURACY + [f"{m}@{k}" for m in ("coverage", "novelty") for k in (5, 10, 20, 50)]
Cell = dict[str, Any]


def cells(seed: int = 0) -> list[Cell]:
    """Results of a study with random metrics."""
    rng = np.random.default_rng(seed)
    return [
        {"system": system, "layers": layers, "seed": s, "best_epoch": 3}
        | {"alpha": float(rng.random()) if system == "alpha" else None}
        | {f"{split}_{m}": float(rng.random()) for split in ("validation", "test") for m in METRICS}
        for system in SYSTEMS
        for layers in LAYERS
        for s in SEEDS
    ]


def key_of(row: Cell) -> Cell:
    return {k: row[k] for k in ("system", "layers", "seed")}


def epochs(cell: Cell) -> list[Cell]:
    """A history that depends on the cell, its length on the seed alone; a system without depth
    has a single epoch and no losses."""
    key = key_of(cell)
    if cell["layers"] is None:
        return [key | {"epoch": 1, "ndcg@10": 0.5}]
    return [
        key
        | {"epoch": epoch, "train_loss": 1 / (epoch + cell["seed"]) + cell["layers"]}
        | {"validation_loss": 0.7 + epoch * cell["validation_ndcg@10"]}
        | {"ndcg@10": 0.01 * epoch * cell["seed"], "alpha": cell["alpha"] and cell["alpha"] * epoch}
        for epoch in range(1, 4 + cell["seed"])
    ]


def numbers(cell: Cell) -> list[Cell]:
    """A row a metric, as the files hold them."""
    key = key_of(cell)
    names = [
        (split, *m.split("@")) for split in ("validation", "test") for m in METRICS
        if f"{split}_{m}" in cell
    ]  # fmt: skip
    return [
        key | {"split": split, "metric": metric, "k": k, "value": cell[f"{split}_{metric}@{k}"]}
        for split, metric, k in names
    ]


NUMBER = ("system", "layers", "seed", "split", "metric", "k", "value")


def write_rows(path: Path, rows: list[Cell]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0] if rows else NUMBER)
        writer.writeheader()
        writer.writerows(rows)


FAILURES = [("image", "i9", "images/<b>|.png", "not an image")]
WEIGHTS = {"text": "bundled", "image": "random initialisation (seed 0)"}
WEIGHTS |= {"audio": "random initialisation (seed 1)", "video": "pretrained"}


def write_workspace(
    folder: Path,
    results: list[Cell],
    drop: str = "nothing",
    *,
    failures: list[tuple[str, str, str, str]] = FAILURES,
    weights: dict[str, str] = WEIGHTS,
    trained: list[Cell] | None = None,
    **summary: Any,
) -> None:
    """What the earlier stages leave; columns that start with a word of `drop` are left out."""

    def kept(row: Cell) -> Cell:
        return {
            k: v for k, v in row.items() if not k.startswith(tuple(drop.split())) and v is not None
        }

    yaml = YAML()
    params = yaml.load(REPOSITORY / "params.yaml")
    systems = list(dict.fromkeys(cell["system"] for cell in results))
    params["study"] = {
        "systems": systems,
        "layers": sorted({cell["layers"] for cell in results} - {None}) or LAYERS,
        "seeds": sorted({cell["seed"] for cell in results} - {None}) or SEEDS,
    }
    yaml.dump(params, folder / "params.yaml")
    for system in systems:
        mine = [cell for cell in results if cell["system"] == system]
        study = folder / f"data/study/{system}"
        keys = ("system", "layers", "seed", "best_epoch", "alpha")
        write_rows(study / "models.csv", [{k: cell[k] for k in keys} for cell in mine])
        write_rows(study / "results.csv", [n for c in mine for n in numbers(kept(c) | key_of(c))])
        write_rows(study / "history.csv", [kept(e) | key_of(e) for c in mine for e in epochs(c)])
    (folder / "data/embeddings").mkdir(parents=True, exist_ok=True)
    for modality, count in {"text": 10, "image": 4, "audio": 3, "video": 0}.items():
        metadata = {
            "model": f"net for {modality}", "width": "2", "license": "MIT", "count": str(count),
            "weights": weights[modality], "weights_sha256": "ab" * 32,
        }  # fmt: skip
        path = folder / f"data/embeddings/{modality}"
        ids, vectors = [f"i{n}" for n in range(count)], np.ones((count, 2), np.float32)
        write_embeddings(
            path.with_suffix(".parquet"), ids, lambda part, v=vectors: v[part], 2, metadata
        )
        with path.with_suffix(".failures.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("item_id", "source", "reason"))
            writer.writerows(failed[1:] for failed in failures if failed[0] == modality)
        remarks = [("i1", "a.jpg", "its end is missing")] * (modality == "image")
        rows = [("item_id", "source", "remark"), *remarks]
        path.with_suffix(".remarks.csv").write_text("".join(f"{','.join(r)}\n" for r in rows))
    summary = {
        "dataset": "data/raw/sample", "synthetic": True, "users": 7, "items": 10,
        "interactions": {"train": 30, "validation": 5, "test": 8}, "sparsity": 0.4,
        "cold_items": 1, "cold_users": 0, "k_core": 3,
        "split": "leave one out, by time", "ratings": "at least 4: 43 of 90 rows count",
        "modalities": {m: {"items": n} for m, n in zip(
            ("text", "image", "audio", "video"), (10, 5, 3, 0), strict=True)},
    } | summary  # fmt: skip
    (folder / "data/prepared").mkdir(parents=True, exist_ok=True)
    (folder / "data/prepared/summary.json").write_text(json.dumps(summary))
    trained_metrics = {
        f"{split}_{m}": (i + j / 100)
        for i, split in enumerate(("validation", "test"))
        for j, m in enumerate(METRICS)
    }
    rows = [
        {k: number[k] for k in ("split", "metric", "k", "value")}
        for number in numbers(kept(trained_metrics) | key_of(results[0]))
    ]
    write_rows(folder / "data/models/results.csv", rows)
    trained = epochs(results[0]) if trained is None else trained
    for row, ndcg in zip(trained, (0.1, 0.35, 0.35, 0.2), strict=False):  # the best one comes twice
        row["ndcg@10"] = ndcg
    write_rows(folder / "reports/history.csv", [kept(row) for row in trained])


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a workspace and its report; returns the folder `reports/`."""
    monkeypatch.chdir(tmp_path)

    def made(results: list[Cell], drop: str = "nothing", **inputs: Any) -> Path:
        write_workspace(tmp_path, results, drop, **inputs)
        report.main()
        return tmp_path / "reports"

    return made


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures that only say what they would draw: their kind, tables, columns and title."""

    def words(argument: Any) -> str:
        many = argument if isinstance(argument, list) else [argument]
        return "+".join(str(getattr(one, "name", one)) for one in many)

    for kind in ("bars", "bars_by_system", "depths", "differences", "curves", "history"):

        def stub(*arguments: Any, kind: str = kind) -> str:
            return f"<svg>{kind}: {'; '.join(map(words, arguments))}</svg>"

        monkeypatch.setattr(figures, kind, stub)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def values(results: list[Cell], column: str, **key: Any) -> np.ndarray:
    chosen = [c for c in results if all(c[k] == v for k, v in key.items())]
    return np.array([c[column] for c in sorted(chosen, key=lambda c: c["seed"])])


def half_width(sample: np.ndarray) -> float:
    interval = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    return float(interval.high - interval.low) / 2


def best_depth(results: list[Cell], system: str) -> int:
    """By validation NDCG@10."""
    means = [values(results, "validation_ndcg@10", system=system, layers=k) for k in LAYERS]
    return LAYERS[int(np.argmax([m.mean() for m in means]))]


@pytest.mark.usefixtures("undrawn")
def test_every_table_of_metrics_is_what_the_cells_say(make: Callable[..., Path]) -> None:
    results = cells()
    tables = make(results) / "tables"
    layers = read(tables / "layers.csv")
    assert [(r["system"], int(r["layers"])) for r in layers] == [
        (v, k) for v in SYSTEMS for k in LAYERS
    ]
    for row in layers:
        for metric in METRICS:
            sample = values(
                results, f"test_{metric}", system=row["system"], layers=int(row["layers"])
            )
            assert float(row[metric]) == pytest.approx(sample.mean())
            assert float(row[f"{metric} ±"]) == pytest.approx(half_width(sample))
    for metric in ("precision", "recall", "ndcg"):
        rows = read(tables / f"comparison-{metric}.csv")
        assert [r["system"] for r in rows] == SYSTEMS
        for row in rows:
            system, depth = row["system"], best_depth(results, row["system"])
            assert int(row["layers"]) == depth
            for k in (5, 10, 20, 50):
                sample = values(results, f"test_{metric}@{k}", system=system, layers=depth)
                assert float(row[f"{metric}@{k}"]) == pytest.approx(sample.mean())
                assert float(row[f"{metric}@{k} ±"]) == pytest.approx(half_width(sample))


@pytest.mark.usefixtures("undrawn")
def test_gains_and_alpha_are_what_the_cells_say(make: Callable[..., Path]) -> None:
    results = cells(1)
    tables = make(results) / "tables"
    rows = read(tables / "gains.csv")
    assert [r["system"] for r in rows] == ["frozen", "alpha"]
    for row in rows:
        depths = {"selected depths": [best_depth(results, v) for v in (row["system"], "none")]}
        depths |= {f"K = {k}": [k, k] for k in LAYERS}
        for column, (mine, base) in depths.items():
            difference = values(
                results, "test_ndcg@10", system=row["system"], layers=mine
            ) - values(results, "test_ndcg@10", system="none", layers=base)
            assert float(row[column]) == pytest.approx(difference.mean())
            assert float(row[f"{column} ±"]) == pytest.approx(half_width(difference))
    rows = read(tables / "alpha.csv")
    assert [(r["system"], r["layers"]) for r in rows] == [("alpha", "0"), ("alpha", "2")]
    for row in rows:
        sample = values(results, "alpha", system="alpha", layers=int(row["layers"]))
        assert float(row["alpha"]) == pytest.approx(sample.mean())
        assert float(row["alpha ±"]) == pytest.approx(half_width(sample))


@pytest.mark.usefixtures("undrawn")
def test_curves_are_means_over_all_seeds(make: Callable[..., Path]) -> None:
    results = cells()
    tables = make(results) / "tables"
    history = [row for cell in results for row in epochs(cell)]
    rows = read(tables / "curves.csv")
    assert list(rows[0]) == [
        "system", "epoch", "train_loss", "validation_loss", "ndcg@10", "alpha",
    ]  # fmt: skip
    assert [(r["system"], int(r["epoch"])) for r in rows] == [
        (v, epoch) for v in SYSTEMS for epoch in (1, 2, 3, 4)  # seed 1 stops
    ]  # fmt: skip
    for row in rows:
        system = row["system"]
        key = {"system": system, "layers": best_depth(results, system)}
        for column in ("train_loss", "validation_loss", "ndcg@10"):
            sample = values(history, column, epoch=int(row["epoch"]), **key)
            assert len(sample) == len(SEEDS)
            assert float(row[column]) == pytest.approx(sample.mean())
    rows = read(tables / "alpha-curves.csv")
    assert [(r["layers"], r["epoch"]) for r in rows] == [(k, e) for k in "02" for e in "1234"]
    for row in rows:
        sample = values(results, "alpha", system="alpha", layers=int(row["layers"]))
        assert float(row["alpha"]) == pytest.approx(sample.mean() * int(row["epoch"]))


@pytest.mark.usefixtures("undrawn")
def test_remaining_tables_repeat_their_inputs(make: Callable[..., Path]) -> None:
    folder = make(cells()) / "tables"
    assert {p.name for p in folder.iterdir()} == {
        f"{name}.csv"
        for name in (
            "dataset", "modalities", "failures", "remarks", "comparison-precision",
            "comparison-recall",
            "comparison-ndcg", "layers", "gains", "curves", "alpha", "alpha-curves", "trained",
            "parameters",
        )
    }  # fmt: skip
    dataset = {r["property"]: float(r["value"]) for r in read(folder / "dataset.csv")}
    assert dataset["users"] == 7 and dataset["sparsity"] == 0.4
    assert dataset["train interactions"] == 30
    trained = read(folder / "trained.csv")
    assert [float(r["@50"]) for r in trained] == [
        0.03, 0.07, 0.11, 0.15, 0.19, 1.03, 1.07, 1.11, 1.15, 1.19,
    ]  # fmt: skip
    assert [r["metric"] for r in trained[:5]] == [
        "precision", "recall", "NDCG", "coverage", "novelty",
    ]  # fmt: skip
    parameters = {r["parameter"]: r["value"] for r in read(folder / "parameters.csv")}
    assert parameters["fusion"] == "frozen" and parameters["study.seeds"] == "1 2 3"
    modalities = {r["modality"]: r for r in read(folder / "modalities.csv")}
    assert float(modalities["image"]["% of catalogue"]) == 40
    assert modalities["image"]["items"] == "5" and modalities["image"]["failures"] == "1"
    assert {m: row["failures"] for m, row in modalities.items() if m != "image"} == dict.fromkeys(
        ("text", "audio", "video"), "0"
    )
    assert "not pretrained" in modalities["image"]["weights"]
    assert "not pretrained" not in modalities["text"]["weights"]
    assert read(folder / "failures.csv") == [
        {"modality": "image", "item_id": "i9", "source": "images/<b>|.png",
         "reason": "not an image"}
    ]  # fmt: skip


class Page(HTMLParser):
    """Ids, links, tables and images of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[str | None] = []
        self.cells: list[str] = []
        self.bold: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.ids += [v for k, v in attributes if k == "id" and v]
        self.links += [v for k, v in attributes if k in ("src", "href", "xlink:href") and v]
        if tag == "svg":
            self.images.append(found.get("aria-label"))
        if tag in ("td", "th"):
            self.cells.append("")
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self._open):
            self.cells[-1] += data
            if self._open[-1] == "strong":
                self.bold.append(data)


NDCG = dict[str, dict[int, list[float]]]


def constructed(validation: NDCG, test: NDCG, alpha: NDCG | None = None) -> list[Cell]:
    """Cells with the given NDCG@10 (and α) by system and depth, a value a seed."""
    return [
        dict.fromkeys((f"{split}_{m}" for split in ("validation", "test") for m in METRICS), 0.5)
        | {"system": system, "layers": layers, "seed": seed, "best_epoch": 3}
        | {"alpha": alpha[system][layers][i] if alpha and system in alpha else None}
        | {"validation_ndcg@10": value, "test_ndcg@10": test[system][layers][i]}
        for system, by_depth in validation.items()
        for layers, of_seeds in by_depth.items()
        for i, (seed, value) in enumerate(zip(SEEDS, of_seeds, strict=True))
    ]


# Three values with mean 0 and standard deviation 0.01: their half-width is 0.01 t / sqrt(3) with
# t = 4.3027, the 0.975 quantile of 2 degrees of freedom.
SPREAD, HALF = [-0.01, 0.0, 0.01], 0.024841
BASE = [0.2, 0.3, 0.4]  # differs more by seed than by system: only pairs show a difference


def plus(gain: float, base: list[float] = BASE) -> list[float]:
    """`base` and a gain whose interval is gain ± HALF."""
    return [b + gain + s for b, s in zip(base, SPREAD, strict=True)]


def findings(folder: Path) -> list[str]:
    section = (folder / "report.md").read_text().split("## Findings\n")[1].split("\n\n**")[0]
    return [line.removeprefix("- ") for line in section.splitlines() if line]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        (plus(HALF + 0.0001, [0, 0, 0]), "content helps here: the interval lies above zero"),
        (plus(HALF - 0.0001, [0, 0, 0]), "content makes no difference"),  # though the mean is > 0
        (plus(0.0, [0, 0, 0]), "content makes no difference"),
        ([0.0, 0.0, 0.0], "content makes no difference"),  # an interval that is a point
        (plus(-HALF + 0.0001, [0, 0, 0]), "content makes no difference"),
        (plus(-HALF - 0.0001, [0, 0, 0]), "content hurts here: the interval lies below zero"),
    ],
)
def test_findings_follow_the_interval(
    differences: list[float], verdict: str, make: Callable[..., Path]
) -> None:
    base = [0.25, 0.5, 0.75]
    mine = [b + d for b, d in zip(base, differences, strict=True)]
    validation = {"none": {1: [0.1] * 3}, "frozen": {1: [0.1] * 3}}
    first, *others, _ = findings(make(constructed(validation, {"none": {1: base},
                                                               "frozen": {1: mine}})))  # fmt: skip
    assert verdict in first
    assert ("includes zero" in first) == ("no difference" in verdict)
    side = {"helps": "above", "hurts": "below"}.get(verdict.split()[1])
    assert not any("At equal depth" in sentence for sentence in others)  # there is one depth
    wholly = [sentence for sentence in others if "wholly" in sentence]
    assert len(wholly) == (side is not None) and all(f"wholly {side}" in w for w in wholly)


VALIDATION: NDCG = {
    "none": {0: [0.2] * 3, 2: [0.1] * 3},
    # Higher than alpha in the mean over depths, and with the first seed.
    "frozen": {0: [0.30] * 3, 2: [0.31] * 3},
    "alpha": {0: [0.1] * 3, 2: [0.2, 0.33, 0.43]},
    "unfrozen": {0: [0.05, 0.05, 0.65], 2: [0.24] * 3},  # higher with one seed
}
TEST: NDCG = {
    "none": {0: BASE, 2: [0.5, 0.6, 0.7]},
    "frozen": {0: [0.6, 0.7, 0.8], 2: plus(0.1)},  # higher than alpha on test
    "alpha": {0: [0.9, 0.9, 0.9], 2: plus(0.03)},
    "unfrozen": {0: plus(-0.05), 2: plus(0.2)},
}


@pytest.mark.usefixtures("undrawn")
def test_the_preferred_system_is_chosen_by_validation(make: Callable[..., Path]) -> None:
    found = findings(make(constructed(VALIDATION, TEST)))
    assert found[:4] == [
        "Of the systems with content, validation prefers `alpha` (K = 2). Its test NDCG@10 is "
        "0.3300, that of `none` (K = 0) 0.3000: a difference of +0.0300, 95 % interval [+0.0052, "
        "+0.0548], so content helps here: the interval lies above zero.",
        "Intervals that lie wholly above `none`: `frozen` (+0.1000, 95 % interval [+0.0752, "
        "+0.1248]), `alpha` (+0.0300, 95 % interval [+0.0052, +0.0548]).",
        "Intervals that lie wholly below `none`: `unfrozen` (−0.0500, 95 % interval [−0.0748, "
        "−0.0252]).",
        "An interval covers the seeds (initialisation, negatives, projections), not the choice of "
        "users or of this split, and is not corrected for the number of systems.",
    ]
    # At K = 0: (0.4 + 0.6 - 0.05) / 3; at K = 2: (-0.2 - 0.27 - 0.1) / 3.
    assert found[4] == (
        "At equal depth the systems with content gain +0.3167 on average at K = 0 and −0.1900 at "
        "K = 2: propagation takes over part of what content gives."
    )


@pytest.mark.usefixtures("undrawn")
def test_propagation_may_add_to_content(make: Callable[..., Path]) -> None:
    test = {"none": {0: BASE, 2: BASE, 3: BASE},
            "frozen": {0: plus(-0.02), 2: plus(-0.5), 3: plus(0.05)}}  # fmt: skip
    validation = {system: dict.fromkeys(by_depth, BASE) for system, by_depth in test.items()}
    text = "\n".join(findings(make(constructed(validation, test))))
    assert "gain −0.0200 on average at K = 0 and +0.0500 at K = 3: propagation adds to" in text


@pytest.mark.usefixtures("undrawn")
def test_the_balance_is_told_at_the_selected_depth(make: Callable[..., Path]) -> None:
    validation = {"none": {0: [0.1] * 3, 2: [0.2] * 3}, "alpha": {0: [0.1] * 3, 2: [0.2] * 3}}
    alpha = {"alpha": {0: [0.9] * 3, 2: plus(0.624, [0, 0, 0])}}
    found = findings(make(constructed(validation, validation, alpha)))
    assert [sentence for sentence in found if "α" in sentence] == [
        "`alpha` (K = 2) ends at α = 0.6240 ± 0.0248: 62 % of the weight on the collaborative "
        "embedding."
    ]


@pytest.mark.usefixtures("undrawn")
def test_caveats_follow_the_inputs(make: Callable[..., Path]) -> None:
    text = (make(cells()) / "report.md").read_text()
    assert "The encoders of image, audio have random weights" in text
    assert "The catalogue is synthetic" in text and "It is synthetic: real media" in text
    assert "Split: leave one out, by time. Ratings: at least 4: 43 of 90 rows count. " in text
    assert "Users and items have at least 3 interactions each." in text
    assert "Damaged, and decoded as far as that goes: 1 of image (tables/remarks.csv)." in text
    assert "A synthetic catalogue: 7 users, 10 items, 43 interactions (data/raw/sample)." in text
    pretrained = dict.fromkeys(WEIGHTS, "pretrained")
    folder = make(cells(), weights=pretrained, synthetic=False, dataset="mine", users=1234)
    text = (folder / "report.md").read_text()
    assert "random weights" not in text and "not pretrained" not in text
    assert "synthetic" not in text and "Dataset `mine`." in text
    assert "\nCatalogue: 1,234 users, 10 items, 43 interactions (mine)." in text


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("images", [0, 19, 20])
def test_failures_are_counted_and_the_first_20_are_shown(
    images: int, make: Callable[..., Path]
) -> None:
    failures = [("image", f"i{n}", "no.png", "gone") for n in range(images)]
    folder = make(cells(), failures=[*failures, ("audio", "x", "no.wav", "gone")])
    text = (folder / "report.md").read_text()
    listed = read(folder / "tables/failures.csv")
    assert [row["item_id"] for row in listed] == [*(f"i{n}" for n in range(images)), "x"]
    counts = {r["modality"]: r["failures"] for r in read(folder / "tables/modalities.csv")}
    assert counts == {"text": "0", "image": str(images), "audio": "1", "video": "0"}
    shown = re.findall(r"^\| (?:image|audio) \| (\w+) \| no\.", text, re.M)
    assert shown == [row["item_id"] for row in listed][:20]
    assert ("**Items that could not be encoded**" in text) == (images < 20)
    assert ("**The first 20 of 21 items that could not be encoded" in text) == (images == 20)
    assert "Every item that has a modality was encoded." not in text


@pytest.mark.usefixtures("undrawn")
def test_ids_of_failures_stay_texts(make: Callable[..., Path]) -> None:
    failures = [("image", name, "1", "2") for name in ("007", "1e5", "true", "2024-01-01")]
    rows = read(make(cells(), failures=failures) / "tables/failures.csv")
    assert [row["item_id"] for row in rows] == ["007", "1e5", "true", "2024-01-01"]


@pytest.mark.usefixtures("undrawn")
def test_many_failures_of_two_lines_each_are_read(make: Callable[..., Path]) -> None:
    reason = "first line,\n" + "second line, " * 10
    failures = [("image", f"i{n}", "no.png", reason) for n in range(12_000)]
    listed = read(make(cells(), failures=failures) / "tables/failures.csv")  # several blocks
    assert len(listed) == 12_000 and all(row["reason"] == reason for row in listed)


@pytest.mark.usefixtures("undrawn")
def test_no_failure_is_told_too(make: Callable[..., Path]) -> None:
    folder = make(cells(), failures=[])
    text = (folder / "report.md").read_text()
    assert "Every item that has a modality was encoded." in text
    assert "could not be encoded" not in text and not read(folder / "tables/failures.csv")


@pytest.mark.usefixtures("undrawn")
def test_values_cannot_break_a_page(make: Callable[..., Path]) -> None:
    source, reason = r"a\b|c<i>", "two\nlines & more"
    folder = make(cells(), failures=[("image", "i9", source, reason)], dataset="data/<b>&")
    assert read(folder / "tables/failures.csv")[0]["source"] == source
    assert r"| image | i9 | a\\b\|c<i> | two lines & more |" in (folder / "report.md").read_text()
    text = (folder / "index.html").read_text()
    page = Page(text)
    assert {source, reason} <= set(page.cells)
    assert "<b>" not in text and "<i>" not in text
    assert "<code>data/&lt;b&gt;&amp;</code>" in text and "`" not in text.split("<main>")[1]


@pytest.mark.usefixtures("undrawn")
def test_a_page_has_every_part_in_order(make: Callable[..., Path]) -> None:
    text = (make(cells()) / "report.md").read_text()
    sections = {
        part.splitlines()[0]: re.findall(r"^\*\*(.+)\*\*$", part, re.M)
        for part in text.split("\n## ")[1:]
    }
    starts = {
        "Findings": ["Test NDCG@10 less that of none"],
        "Systems compared": [
            f"Test {metric} at each system's" for metric in ("precision", "recall", "NDCG")
        ],
        "Depth": [f"{system}: metrics by depth" for system in SYSTEMS],
        "Training": ["Weight α"],
        "The trained model": ["Metrics of the trained model"],
        "Data": ["The catalogue", "Items with each modality", "Items that could not"],
        "Parameters": ["The parameters of this run"],
    }
    assert list(sections) == list(starts)
    for title, captions in sections.items():
        assert len(captions) == len(starts[title]), title
        assert all(c.startswith(s) for c, s in zip(captions, starts[title], strict=True))
    for system in SYSTEMS:
        depth = best_depth(cells(), system)
        assert f"{system}: metrics by depth; validation selected K = {depth}" in text
    assert "`fusion: frozen`, K = 2, seed 19" in text and "; 3 seeds." in text


@pytest.mark.usefixtures("undrawn")
def test_every_figure_draws_the_table_and_column_of_its_name(make: Callable[..., Path]) -> None:
    drawn = {p.stem: p.read_text()[5:-6] for p in (make(cells()) / "figures").iterdir()}
    assert drawn == {
        "gains": "differences: gains; selected depths",
        "bars-precision": "bars: comparison-precision; precision@10",
        "bars-recall": "bars: comparison-recall; recall@10",
        "bars-ndcg": "bars: comparison-ndcg; ndcg@10",
        "bars-by-system": "bars_by_system: comparison-precision+comparison-recall+comparison-ndcg; "
        "precision@10+recall@10+ndcg@10",
        "depth": "depths: layers; ndcg@10",
        "curves-train-loss": "curves: curves; train_loss; Training loss (BPR)",
        "curves-validation-loss": "curves: curves; validation_loss; Validation loss (BPR)",
        "curves-ndcg-10": "curves: curves; ndcg@10; Validation NDCG@10",
        "curves-alpha": "curves: alpha-curves; alpha; α",
        "trained-losses": "history: history; train_loss+validation_loss; Loss (BPR)",
        "trained-ndcg": "history: history; ndcg@10; Validation NDCG@10",
    }


@pytest.mark.usefixtures("undrawn")
def test_figures_are_told_in_words(make: Callable[..., Path]) -> None:
    folder = make(cells())
    tables = {p.stem: read(p) for p in (folder / "tables").iterdir()}
    found = re.findall(r"!\[([^\]]+)\]\(figures/([^)]+)\.svg\)", (folder / "report.md").read_text())
    alt = {name: text for text, name in found}

    def number(value: str, sign: str = "") -> str:
        return f"{float(value):{sign}.4f}".replace("-", "−")

    def interval(row: dict[str, str], column: str, sign: str = "") -> str:
        return f"{row['system']} {number(row[column], sign)} ± {number(row[f'{column} ±'])}"

    for metric in ("precision", "recall", "ndcg"):
        told = ", ".join(interval(r, f"{metric}@10") for r in tables[f"comparison-{metric}"])
        assert alt[f"bars-{metric}"] == f"{metric}@10: {told}"
        assert alt[f"bars-{metric}"] in alt["bars-by-system"]
    told = ", ".join(interval(r, "selected depths", "+") for r in tables["gains"])
    assert alt["gains"] == f"selected depths: {told}"
    assert alt["depth"] == "Line chart of NDCG@10. " + "; ".join(
        f"{r['system']} at K = {r['layers']} {number(r['ndcg@10'])}" for r in tables["layers"]
    )
    for name, column in (("train-loss", "train_loss"), ("ndcg-10", "ndcg@10")):
        ends = {r["system"]: number(r[column]) for r in tables["curves"]}  # the last one stays
        told = ", ".join(f"{system} {end}" for system, end in ends.items())
        assert alt[f"curves-{name}"] == f"Line chart. At the end: {told}"
    ends = {r["layers"]: number(r["alpha"]) for r in tables["alpha-curves"]}
    told = ", ".join(f"K = {layers} {end}" for layers, end in ends.items())
    assert alt["curves-alpha"] == f"Line chart of α. At the end: {told}"
    last = epochs(cells()[0])[-1]
    assert alt["trained-losses"] == (
        f"Line chart. After 4 epochs: train loss {last['train_loss']:.4f}, "
        f"validation loss {last['validation_loss']:.4f}"
    )
    assert alt["trained-ndcg"] == "Line chart. Highest value 0.3500 at epoch 2 of 4"


def planted() -> list[Cell]:
    """Cells of `none` and `frozen` in which K = 2 is best on validation, K = 0 on test."""
    validation = {v: {k: [0.1 + 0.01 * k] * 3 for k in LAYERS} for v in ("none", "frozen")}
    test = {v: {k: [0.3 - 0.01 * k] * 3 for k in LAYERS} for v in validation}
    return constructed(validation, test)


@pytest.mark.usefixtures("undrawn")
def test_depth_is_selected_by_validation_though_test_prefers_another(
    make: Callable[..., Path],
) -> None:
    rows = read(make(planted()) / "tables/comparison-ndcg.csv")
    assert [row["layers"] for row in rows] == ["2", "2"]


@pytest.mark.usefixtures("undrawn")
def test_all_that_look_best_are_bold(make: Callable[..., Path]) -> None:
    results = planted()
    for cell in results:
        cell["test_ndcg@10"] = 0.3 + (1e-6 if cell["system"] == "frozen" else 0)
    text = (make(results) / "report.md").read_text()
    table = text.split("**Test NDCG at each")[1].split("\n\n")[1]
    assert table.count("**0.3000 ± 0.0000**") == 2


def test_the_page_stands_alone_and_shows_the_tables(make: Callable[..., Path]) -> None:
    results = cells()
    folder = make(results)
    text = (folder / "index.html").read_text()
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    files = {f"tables/{p.name}" for p in (folder / "tables").iterdir()}
    assert all(link[1:] in page.ids for link in page.links if link.startswith("#"))
    linked = [link for link in page.links if not link.startswith("#")]
    assert set(linked) <= files and {"tables/gains.csv", "tables/modalities.csv"} <= set(linked)
    assert not re.search(r"<th[^>]*>\s*</th>", text)
    assert not re.search(r"@import|url\((?!#)|<script", text)
    assert len(page.images) == len(list((folder / "figures").iterdir())) and all(page.images)
    for row in read(folder / "tables/layers.csv"):
        assert all(f"{float(row[metric]):.4f}" in page.cells for metric in METRICS)
    assert "<b>" not in text and "images/<b>|.png" in page.cells  # escaped
    assert "synthetic" in text and "not pretrained" in text
    parts = [read(folder / f"tables/comparison-{m}.csv") for m in ("precision", "recall", "ndcg")]
    for metric, rows in zip(("precision", "recall", "ndcg"), parts, strict=True):
        shown = [f"{float(r[f'{metric}@5']):.4f} ± {float(r[f'{metric}@5 ±']):.4f}" for r in rows]
        assert set(shown) <= set(page.cells)
    # Metrics stand above their columns where there are several; else columns have both.
    groups = re.findall(r'colspan="4" class="group">(\w+)<', text)
    assert groups == ["precision", "recall", "NDCG", "coverage", "novelty"] * len(SYSTEMS)
    assert page.cells.count("precision@5") == 1 and page.cells.count("@5") == 5 * len(SYSTEMS) + 1
    assert {"findings", "systems-compared", "the-trained-model"} <= set(page.ids)
    layers = read(folder / "tables/layers.csv")
    parts += [[row for row in layers if row["system"] == system] for system in SYSTEMS]
    best = [
        f"{max(float(row[column]) for row in part):.4f}"
        for part in parts
        for column in part[0].keys() & set(ACCURACY)
    ]
    assert sorted(page.bold) == sorted(best)  # the highest where that is best, and nothing else


def test_the_markdown_shows_the_tables_and_existing_figures(make: Callable[..., Path]) -> None:
    folder = make(cells())
    text = (folder / "report.md").read_text()
    figures = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", text)
    assert {path for _, path in figures} == {
        f"figures/{p.name}" for p in (folder / "figures").iterdir()
    }
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        lines = [re.split(r"(?<!\\)\|", line) for line in block.splitlines()]
        assert len(lines) > 2 and len({len(line) for line in lines}) == 1
    assert (
        "| system | layers | ndcg@5 | ndcg@10 | ndcg@20 | ndcg@50 |\n| --- |" + " ---: |" * 5
        in text
    )
    for row in read(folder / "tables/comparison-ndcg.csv"):
        assert f"{float(row['ndcg@10']):.4f} ± {float(row['ndcg@10 ±']):.4f}" in text
    assert "not pretrained" in text and "synthetic" in text


def test_reruns_are_identical_and_leave_nothing_stale(make: Callable[..., Path]) -> None:
    folder = make(cells())
    first = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    (folder / "figures/old.svg").write_text("old")
    (folder / "tables/old.csv").write_text("old")
    make(cells())
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == first
    shutil.rmtree(folder.parent / "data/study")
    make([c for c in cells() if c["system"] != "alpha"])
    assert not (folder / "tables/alpha.csv").exists()
    assert not (folder / "figures/curves-alpha.svg").exists()


@pytest.mark.parametrize(
    "results",
    [
        pytest.param([c for c in cells() if c["system"] == "none"], id="only none"),
        pytest.param([c for c in cells() if c["system"] != "none"], id="without none"),
        pytest.param([c for c in cells() if c["seed"] == 1], id="one seed"),
        pytest.param([c for c in cells() if c["layers"] == 0], id="one depth"),
    ],
)
def test_smaller_studies_have_a_report(results: list[Cell], make: Callable[..., Path]) -> None:
    folder = make(results)
    text = (folder / "report.md").read_text()
    kinds = {c["system"] for c in results}
    assert ("nothing to compare" in text) == ("none" not in kinds or len(kinds) == 1)
    if len({c["seed"] for c in results}) == 1:
        assert "one seed gives no interval" in text
        assert read(folder / "tables/layers.csv")[0]["ndcg@10 ±"] == ""
    assert "nan" not in text
    assert "`fusion: frozen`, K = 2, seed 19" in text  # what was trained is no part of the study


@pytest.mark.parametrize("missing", ["validation", "test"])
def test_a_catalogue_without_a_split_has_a_report(missing: str, make: Callable[..., Path]) -> None:
    folder = make(cells(), drop=missing)
    text = (folder / "report.md").read_text()
    other = "Test" if missing == "validation" else "Validation"
    assert f"**{other} NDCG at each system's selected depth" in text
    depths = {row["layers"] for row in read(folder / "tables/comparison-ndcg.csv")}
    assert missing == "test" or depths == {"2"}  # nothing selects: `layers` of params.yaml
    assert ("without a validation split, nothing is selected" in text) == (missing != "test")
    assert ("validation selected" in text) == (missing == "test")


@pytest.mark.usefixtures("undrawn")
def test_a_catalogue_that_evaluates_nothing_has_a_report(make: Callable[..., Path]) -> None:
    folder = make(cells(), drop="validation test")
    text = (folder / "report.md").read_text()
    assert "neither test nor validation interactions: nothing was evaluated" in text
    assert "## The trained model" in text and "## Data" in text
    assert "## Systems compared" not in text and "validation selected" not in text
    assert not list((folder / "tables").glob("comparison-*"))


def flat(results: list[Cell], seeds: list[int | None]) -> list[Cell]:
    """The cells of `frozen` as of a system without depth: one, or one a seed."""
    first = {c["seed"]: c for c in reversed(results) if c["system"] == "frozen"}
    mine = [first[seed or SEEDS[0]] | {"layers": None, "seed": seed} for seed in seeds]
    return [*(c for c in results if c["system"] != "frozen"), *mine]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("seeds", [[None], SEEDS])
def test_a_system_without_depth_has_no_depths(
    seeds: list[int | None], make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(
        figures, "depths", lambda table, column: drawn.extend(table["system"]) or "<svg></svg>"
    )
    results = flat(cells(), seeds)
    folder = make(results)
    text = (folder / "report.md").read_text()
    assert set(drawn) == {"none", "alpha"}
    assert "frozen: metrics by depth" not in text and "none: metrics by depth" in text
    assert "| frozen | – |" in text and "None" not in text and "nan" not in text
    (table,) = re.findall(r"\*\*Metrics of systems without depth\*\*\n\n((?:\|.*\n)+)", text)
    assert len(table.splitlines()) == 3 and table.splitlines()[2].startswith("| frozen | ")
    (row,) = [r for r in read(folder / "tables/layers.csv") if r["system"] == "frozen"]
    assert row["layers"] == "" and (row["ndcg@10 ±"] == "") == (seeds == [None])
    (gain,) = [r for r in read(folder / "tables/gains.csv") if r["system"] == "frozen"]
    assert gain["K = 0"] == gain["K = 2"] == "" and gain["selected depths ±"]
    mine = values(results, "test_ndcg@10", system="frozen") if seeds != [None] else next(
        c["test_ndcg@10"] for c in results if c["system"] == "frozen"
    )  # fmt: skip
    depth = best_depth(results, "none")
    differences = mine - values(results, "test_ndcg@10", system="none", layers=depth)
    assert float(gain["selected depths"]) == pytest.approx(differences.mean())
    assert float(gain["selected depths ±"]) == pytest.approx(half_width(differences))
    alone = "A system that reads no seed has one value, without an interval."
    assert (alone in text) == (seeds == [None]) and "Systems without depth show –." in text


def test_systems_without_depth_and_seed_alone_have_a_report(make: Callable[..., Path]) -> None:
    """As if the whole study were closed forms, and the trained model one of them."""
    results = [
        cell | {"layers": None, "seed": None, "alpha": None}
        for cell in cells()
        if (cell["layers"], cell["seed"]) == (0, 1)
    ]
    folder = make(results, trained=[{"epoch": 1, "ndcg@10": 0.5}])
    text = (folder / "report.md").read_text()
    assert "\n## Depth" in text and "metrics by depth" not in text
    assert "\n## Training" not in text and "## The trained model" in text
    assert {p.stem for p in (folder / "figures").iterdir()} == {
        "gains", "bars-precision", "bars-recall", "bars-ndcg", "bars-by-system",
    }  # fmt: skip
    assert "None" not in text and "nan" not in text
    assert "one seed gives no interval" in text


def test_a_history_without_losses_draws_none(make: Callable[..., Path]) -> None:
    trained = [{"epoch": epoch, "ndcg@10": epoch / 10} for epoch in (1, 2)]
    names = {p.stem for p in (make(cells(), trained=trained) / "figures").iterdir()}
    assert "trained-ndcg" in names and "trained-losses" not in names
    names = {p.stem for p in (make(cells(), trained=trained[:1]) / "figures").iterdir()}
    assert not {"trained-ndcg", "trained-losses"} & names


@pytest.mark.usefixtures("undrawn")
def test_only_systems_that_read_content_say_whether_it_helps(make: Callable[..., Path]) -> None:
    """`equal` stands for a system without content here: it gains most, and says nothing of it."""
    validation = {s: {0: [v] * 3, 2: [v] * 3} for s, v in
                  (("none", 0.1), ("frozen", 0.2), ("equal", 0.9))}  # fmt: skip
    test = {"none": {0: BASE, 2: BASE}, "frozen": {0: plus(0.1), 2: plus(0.1)},
            "equal": {0: plus(0.5), 2: plus(0.9)}}  # fmt: skip
    found = findings(make(constructed(validation, test)))
    assert "validation prefers `equal`" in found[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options_class("equal"), "content", False)
        found = findings(make(constructed(validation, test)))
    assert "validation prefers `frozen`" in found[0]
    assert "above `none`: `frozen`" in found[1] and "`equal`" in found[1]
    assert "gain +0.1000 on average at K = 0 and +0.1000 at K = 2" in "\n".join(found)


@pytest.mark.parametrize(
    ("fusion", "told"),
    [
        ("none", "`fusion: none`, K = 2, seed 19"),
        ("vbpr", "`fusion: vbpr`, seed 19"),
        ("ease", "`fusion: ease`"),
    ],
)
def test_the_trained_model_is_told_by_what_it_reads(fusion: str, told: str) -> None:
    params = replace(load(REPOSITORY / "params.yaml"), fusion=fusion)
    assert sections.trained_in_words(params) == told
