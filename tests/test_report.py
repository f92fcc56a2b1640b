"""The report from written stage outputs: tables recomputed, pages read, edge cases."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from scipy import stats

from pipeline import report
from pipeline.embeddings import write_embeddings

REPOSITORY = Path(__file__).parents[1]
VARIANTS, LAYERS, SEEDS = ["none", "frozen", "alpha"], [0, 2], [1, 2, 3]
METRICS = [f"{m}@{k}" for m in ("precision", "recall", "ndcg") for k in (5, 10, 20, 50)]
Cell = dict[str, Any]


def cells(seed: int = 0) -> list[Cell]:
    """Results of a study with random metrics."""
    rng = np.random.default_rng(seed)
    return [
        {"variant": variant, "layers": layers, "seed": s, "best_epoch": 3}
        | {"alpha": float(rng.random()) if variant == "alpha" else None}
        | {f"{split}_{m}": float(rng.random()) for split in ("validation", "test") for m in METRICS}
        for variant in VARIANTS
        for layers in LAYERS
        for s in SEEDS
    ]


def epochs(cell: Cell) -> list[Cell]:
    """A history that depends on the cell; its length on the seed."""
    key = {k: cell[k] for k in ("variant", "layers", "seed")}
    return [
        key
        | {"epoch": epoch, "train_loss": 1 / (epoch + cell["seed"]), "validation_loss": 0.7}
        | {"ndcg@10": 0.01 * epoch, "alpha": cell["alpha"] and cell["alpha"] * epoch}
        for epoch in range(1, 4 + cell["seed"])
    ]


def write_rows(path: Path, rows: list[Cell]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_workspace(folder: Path, results: list[Cell], drop: str = "nothing") -> None:
    """What the earlier stages leave; columns that start with `drop` are left out."""

    def kept(row: Cell) -> Cell:
        return {k: v for k, v in row.items() if not k.startswith(drop)}

    yaml = YAML()
    params = yaml.load(REPOSITORY / "params.yaml")
    variants = list(dict.fromkeys(cell["variant"] for cell in results))
    params["study"] = {
        "variants": variants,
        "layers": sorted({cell["layers"] for cell in results}),
        "seeds": sorted({cell["seed"] for cell in results}),
    }
    yaml.dump(params, folder / "params.yaml")
    for variant in variants:
        mine = [cell for cell in results if cell["variant"] == variant]
        write_rows(folder / f"data/study/{variant}/results.csv", [kept(cell) for cell in mine])
        rows = [kept(epoch) for cell in mine for epoch in epochs(cell)]
        write_rows(folder / f"data/study/{variant}/history.csv", rows)
    (folder / "data/embeddings").mkdir(parents=True, exist_ok=True)
    for modality, count in {"text": 10, "image": 4, "audio": 3, "video": 0}.items():
        metadata = {
            "model": f"net for {modality}", "width": "2", "license": "MIT", "count": str(count),
            "weights": "bundled" if modality == "text" else "random initialisation (seed 0)",
            "weights_sha256": "ab" * 32,
        }  # fmt: skip
        path = folder / f"data/embeddings/{modality}"
        ids, vectors = [f"i{n}" for n in range(count)], np.ones((count, 2), np.float32)
        write_embeddings(
            path.with_suffix(".parquet"), ids, lambda part, v=vectors: v[part], 2, metadata
        )
        failed = "i9,images/<b>|.png,not an image\n" if modality == "image" else ""
        path.with_suffix(".failures.csv").write_text(f"item_id,source,reason\n{failed}")
    summary = {
        "dataset": "data/raw/sample", "synthetic": True, "users": 7, "items": 10,
        "interactions": {"train": 30, "validation": 5, "test": 8}, "sparsity": 0.4,
        "cold_items": 1,
        "modalities": {m: {"items": n} for m, n in zip(
            ("text", "image", "audio", "video"), (10, 5, 3, 0), strict=True)},
    }  # fmt: skip
    (folder / "data/prepared").mkdir(parents=True, exist_ok=True)
    (folder / "data/prepared/summary.json").write_text(json.dumps(summary))
    metrics = {split: dict.fromkeys(METRICS, 0.25) for split in ("validation", "test")}
    (folder / "reports").mkdir(exist_ok=True)
    (folder / "reports/metrics.json").write_text(json.dumps(kept(metrics)))
    write_rows(folder / "reports/history.csv", [kept(row) for row in epochs(results[0])])


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a workspace and its report; returns the folder `reports/`."""
    monkeypatch.chdir(tmp_path)

    def made(results: list[Cell], drop: str = "nothing") -> Path:
        write_workspace(tmp_path, results, drop)
        report.main()
        return tmp_path / "reports"

    return made


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def values(results: list[Cell], column: str, **key: Any) -> np.ndarray:
    chosen = [c for c in results if all(c[k] == v for k, v in key.items())]
    return np.array([c[column] for c in sorted(chosen, key=lambda c: c["seed"])])


def half_width(sample: np.ndarray) -> float:
    interval = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    return float(interval.high - interval.low) / 2


def best_depth(results: list[Cell], variant: str) -> int:
    """By validation NDCG@10."""
    means = [values(results, "validation_ndcg@10", variant=variant, layers=k) for k in LAYERS]
    return LAYERS[int(np.argmax([m.mean() for m in means]))]


def test_every_table_of_metrics_is_what_the_cells_say(make: Callable[..., Path]) -> None:
    results = cells()
    tables = make(results) / "tables"
    layers = read(tables / "layers.csv")
    assert [(r["variant"], int(r["layers"])) for r in layers] == [
        (v, k) for v in VARIANTS for k in LAYERS
    ]
    for row in layers:
        for metric in METRICS:
            sample = values(
                results, f"test_{metric}", variant=row["variant"], layers=int(row["layers"])
            )
            assert float(row[metric]) == pytest.approx(sample.mean())
            assert float(row[f"{metric} ±"]) == pytest.approx(half_width(sample))
    for metric in ("precision", "recall", "ndcg"):
        rows = read(tables / f"comparison-{metric}.csv")
        assert [r["variant"] for r in rows] == VARIANTS
        for row in rows:
            variant, depth = row["variant"], best_depth(results, row["variant"])
            assert int(row["layers"]) == depth
            for k in (5, 10, 20, 50):
                sample = values(results, f"test_{metric}@{k}", variant=variant, layers=depth)
                assert float(row[f"{metric}@{k}"]) == pytest.approx(sample.mean())
                assert float(row[f"{metric}@{k} ±"]) == pytest.approx(half_width(sample))


def test_gains_and_alpha_are_what_the_cells_say(make: Callable[..., Path]) -> None:
    results = cells(1)
    tables = make(results) / "tables"
    rows = read(tables / "gains.csv")
    assert [r["variant"] for r in rows] == ["frozen", "alpha"]
    for row in rows:
        depths = {"selected depths": [best_depth(results, v) for v in (row["variant"], "none")]}
        depths |= {f"K = {k}": [k, k] for k in LAYERS}
        for column, (mine, base) in depths.items():
            difference = values(
                results, "test_ndcg@10", variant=row["variant"], layers=mine
            ) - values(results, "test_ndcg@10", variant="none", layers=base)
            assert float(row[column]) == pytest.approx(difference.mean())
            assert float(row[f"{column} ±"]) == pytest.approx(half_width(difference))
    rows = read(tables / "alpha.csv")
    assert [(r["variant"], r["layers"]) for r in rows] == [("alpha", "0"), ("alpha", "2")]
    for row in rows:
        sample = values(results, "alpha", variant="alpha", layers=int(row["layers"]))
        assert float(row["alpha"]) == pytest.approx(sample.mean())


def test_curves_are_means_over_all_seeds(make: Callable[..., Path]) -> None:
    results = cells()
    rows = read(make(results) / "tables/curves.csv")
    assert [int(r["epoch"]) for r in rows if r["variant"] == "none"] == [1, 2, 3, 4]  # seed 1 stops
    for row in rows:
        expected = np.mean([1 / (int(row["epoch"]) + seed) for seed in SEEDS])
        assert float(row["train_loss"]) == pytest.approx(expected)
    for row in read(make(results) / "tables/alpha-curves.csv"):
        sample = values(results, "alpha", variant="alpha", layers=int(row["layers"]))
        assert float(row["alpha"]) == pytest.approx(sample.mean() * int(row["epoch"]))


def test_remaining_tables_repeat_their_inputs(make: Callable[..., Path]) -> None:
    folder = make(cells()) / "tables"
    dataset = {r["property"]: float(r["value"]) for r in read(folder / "dataset.csv")}
    assert dataset["users"] == 7 and dataset["sparsity"] == 0.4
    assert dataset["train interactions"] == 30
    trained = read(folder / "trained.csv")
    assert len(trained) == 6 and all(float(r["@50"]) == 0.25 for r in trained)
    parameters = {r["parameter"]: r["value"] for r in read(folder / "parameters.csv")}
    assert parameters["fusion"] == "frozen" and parameters["study.seeds"] == "1 2 3"
    modalities = {r["modality"]: r for r in read(folder / "modalities.csv")}
    assert float(modalities["image"]["% of catalogue"]) == 40
    assert modalities["image"]["items"] == "5" and modalities["image"]["failures"] == "1"
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


def test_the_page_stands_alone_and_shows_the_tables(make: Callable[..., Path]) -> None:
    results = cells()
    folder = make(results)
    text = (folder / "index.html").read_text()
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert not re.search(r"@import|url\((?!#)|<script", text)
    assert len(page.images) == len(list((folder / "figures").iterdir())) and all(page.images)
    for row in read(folder / "tables/layers.csv"):
        assert all(f"{float(row[metric]):.4f}" in page.cells for metric in METRICS)
    assert "<b>" not in text and "images/<b>|.png" in page.cells  # escaped
    assert "synthetic" in text and "not pretrained" in text
    best = max(float(r["ndcg@10"]) for r in read(folder / "tables/comparison-ndcg.csv"))
    assert f"{best:.4f}" in page.bold


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
    make([c for c in cells() if c["variant"] != "alpha"])
    assert not (folder / "tables/alpha.csv").exists()
    assert not (folder / "figures/curves-alpha.svg").exists()


def planted(gain: float, noise: float) -> list[Cell]:
    """Cells in which `frozen` exceeds `none` by `gain`, and K = 2 is best on validation only."""
    rng = np.random.default_rng(0)
    results = cells()
    for cell in results:
        cell["validation_ndcg@10"] = 0.1 + 0.01 * cell["layers"] + 0.1 * (cell["variant"] != "none")
        cell["test_ndcg@10"] = 0.3 - 0.01 * cell["layers"] + noise * rng.normal()
        cell["test_ndcg@10"] += gain * (cell["variant"] == "frozen")
    return [cell for cell in results if cell["variant"] != "alpha"]


def test_findings_follow_the_interval(make: Callable[..., Path]) -> None:
    helps = (make(planted(0.05, 0.001)) / "report.md").read_text()
    assert "content helps here" in helps and "wholly above `none`: `frozen` (+0.0" in helps
    hurts = (make(planted(-0.05, 0.001)) / "report.md").read_text()
    assert "content hurts here" in hurts and "wholly below" in hurts
    neither = (make(planted(0.0, 0.01)) / "report.md").read_text()
    assert "the interval includes zero" in neither and "wholly" not in neither


def test_depth_is_selected_by_validation_though_test_prefers_another(
    make: Callable[..., Path],
) -> None:
    rows = read(make(planted(0.0, 0.0)) / "tables/comparison-ndcg.csv")
    assert [row["layers"] for row in rows] == ["2", "2"]


def test_all_that_look_best_are_bold(make: Callable[..., Path]) -> None:
    results = planted(0.0, 0.0)
    for cell in results:
        cell["test_ndcg@10"] = 0.3 + (1e-6 if cell["variant"] == "frozen" else 0)
    text = (make(results) / "report.md").read_text()
    table = text.split("**Test NDCG at each")[1].split("\n\n")[1]
    assert table.count("**0.3000 ± 0.0000**") == 2


@pytest.mark.parametrize(
    "results",
    [
        pytest.param([c for c in cells() if c["variant"] == "none"], id="only none"),
        pytest.param([c for c in cells() if c["variant"] != "none"], id="without none"),
        pytest.param([c for c in cells() if c["seed"] == 1], id="one seed"),
        pytest.param([c for c in cells() if c["layers"] == 2], id="one depth"),
    ],
)
def test_smaller_studies_have_a_report(results: list[Cell], make: Callable[..., Path]) -> None:
    folder = make(results)
    text = (folder / "report.md").read_text()
    kinds = {c["variant"] for c in results}
    assert ("nothing to compare" in text) == ("none" not in kinds or len(kinds) == 1)
    if len({c["seed"] for c in results}) == 1:
        assert "one seed gives no interval" in text
        assert read(folder / "tables/layers.csv")[0]["ndcg@10 ±"] == ""
    assert "nan" not in text


@pytest.mark.parametrize("missing", ["validation", "test"])
def test_a_catalogue_without_a_split_has_a_report(missing: str, make: Callable[..., Path]) -> None:
    folder = make(cells(), drop=missing)
    text = (folder / "report.md").read_text()
    other = "Test" if missing == "validation" else "Validation"
    assert f"**{other} NDCG at each variant's selected depth" in text
    depths = {row["layers"] for row in read(folder / "tables/comparison-ndcg.csv")}
    assert missing == "test" or depths == {"2"}  # nothing selects: `layers` of params.yaml
