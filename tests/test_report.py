"""The report from written stage outputs: pages, figures, folders, and smaller studies."""

import csv
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats
from studies import REPOSITORY, WEIGHTS, Model, model, selected, without

from model.metrics import SELECTION
from pipeline.common import paths
from pipeline.common.params import load
from pipeline.reporting import data_sections, figures

SYSTEMS, LAYERS, SEEDS = ["none", "frozen", "alpha"], [0, 2], [1, 2, 3]
PAPER = ("precision", "recall", "ndcg")
KS = (5, 10, 20, 50)
Make = Callable[..., Path]


def models(
    systems: list[str] = SYSTEMS, layers: list[int] = LAYERS, seeds: list[int] = SEEDS
) -> list[Model]:
    """A study; what has content, with a placebo."""
    found = [model(s, k, seed) for s in systems for k in layers for seed in seeds]
    return [
        *found,
        *(
            model(s, selected(found, s), seed, "placebo")
            for s in systems
            if s != "none"
            for seed in seeds
        ),
    ]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def names(folder: Path, kind: str) -> set[str]:
    """Of the files of a folder, without their endings."""
    return {path.stem for path in (folder / kind).iterdir()}


def number(value: str, sign: str = "") -> str:
    """A file's number as a page has it."""
    return f"{float(value):{sign}.4f}".replace("-", "−")


@pytest.mark.usefixtures("undrawn")
def test_tables_and_figures_of_a_whole_study(make: Make) -> None:
    folder = make(models())
    assert names(folder, "tables") == {
        "against-none", "against-placebo", "against-preferred", "alpha", "alpha-curves",
        "beyond-accuracy", "comparison-precision", "comparison-recall", "comparison-ndcg",
        "comparison-hit_rate", "comparison-mrr", "comparison-map", "controls", "convergence",
        "curves", "dataset", "environment", "failures", "gain-by-history", "gains", "gallery",
        "layers", "map-audio", "map-image", "map-text", "map-trained-model", "modalities",
        "new-items", "new-users",
        "parameters", "remarks", "selection", "slices-items", "slices-users", "trained",
    }  # fmt: skip
    drawn = {p.stem: p.read_text()[5:-6] for p in (folder / "figures").iterdir()}
    diagrams = {name for name in drawn if name.startswith("diagram-")}
    assert diagrams == {f"diagram-{n}" for n in ("architecture", "lightgcn", "frozen", "alpha")}
    comparisons = "+".join(f"comparison-{metric}" for metric in PAPER)
    best = read(folder / "tables/gallery.csv")[0]["system"]
    told = {name: text for name, text in drawn.items() if name not in diagrams}
    assert told == {
        "gains": "differences: against-none; difference (users); NDCG@10 less none; "
        "told=alpha+frozen",
        "gains-placebo": "differences: against-placebo; difference (users); "
        "NDCG@10 less own placebo; told=frozen",
        "gain-by-history": f"differences: gain-by-history; {best} less none; "
        f"NDCG@10: {best} less none; falling=False",
        **{f"bars-{m}": f"bars: comparison-{m}; {m}@10; frozen+alpha" for m in PAPER},
        "bars-by-system": f"bars_by_system: {comparisons}; precision@10+recall@10+ndcg@10",
        "depth": "depths: layers; ndcg@10",
        "curves-losses": "losses: curves; train_loss+validation_loss; Loss (BPR)",
        "curves-ndcg-10": "curves: curves; ndcg@10; Validation NDCG@10",
        "curves-alpha": "curves: alpha-curves; alpha; α",
        "trained-losses": "history: history; train_loss+validation_loss; Loss (BPR)",
        "trained-ndcg": "history: history; ndcg@10; Validation NDCG@10",
        **{
            f"map-{name.replace(' ', '-')}": f"drawing: map-{name.replace(' ', '-')}; {name}; "
            "drama+sea"
            for name in ("text", "image", "audio", "trained model")
        },
    }


def led(best: str, content: str) -> list[Model]:
    """A study that validation prefers `best` of, and `content` of what has content."""
    level = dict.fromkeys(SYSTEMS, 0.3) | {content: 0.4, best: 0.5}
    return [model(s, 2, seed, validation=level[s]) for s in SYSTEMS for seed in SEEDS]


@pytest.mark.usefixtures("undrawn")
def test_the_best_with_content_has_a_table_where_another_is_preferred(make: Make) -> None:
    folder = make(led("none", "alpha"))
    rows = {name: read(folder / f"tables/against-{name}.csv") for name in ("preferred", "content")}
    assert [r["system"] for r in rows["content"]] == ["none", "frozen"]
    assert all("alpha" in r and "none" not in r for r in rows["content"])
    assert [r["system"] for r in rows["preferred"]] == ["frozen", "alpha"]
    (gain,) = [r for r in rows["preferred"] if r["system"] == "alpha"]
    (less,) = [r for r in rows["content"] if r["system"] == "none"]
    column = "difference (users)"
    assert float(gain[column]) == pytest.approx(-float(less[column]))
    assert "alpha less none" in read(folder / "tables/gain-by-history.csv")[0]
    text = (folder / "report.md").read_text()
    assert "less that of alpha, the best with content on validation**" in text
    assert "less that of none, which validation prefers**" in text
    assert text.count("more table") and re.search(r"tables: .*preferred, against-content", text)


@pytest.mark.usefixtures("undrawn")
def test_the_best_with_content_has_no_table_twice(make: Make) -> None:
    folder = make(led("frozen", "alpha"))
    assert "against-content" not in names(folder, "tables")
    assert "against-preferred" in names(folder, "tables")
    assert "frozen less none" in read(folder / "tables/gain-by-history.csv")[0]


@pytest.mark.usefixtures("undrawn")
def test_who_gains_is_not_said_where_no_content_is_preferred(make: Make) -> None:
    cut = [replace(m, limited=m.system != "none") for m in led("none", "alpha")]
    folder = make(cut)
    assert not {"gain-by-history", "against-content"} & names(folder, "tables")
    assert not {"gain-by-history"} & names(folder, "figures")
    assert "slices-users" in names(folder, "tables")


@pytest.mark.usefixtures("undrawn")
def test_ablations_have_a_table_and_are_no_controls(make: Make) -> None:
    found = led("frozen", "alpha")
    changed = ("placebo", "only_text", "aggregate_sum", "aggregate_mean")
    found += [model("frozen", 2, seed, control) for control in changed for seed in SEEDS]
    folder = make(found)
    aggregate = load(REPOSITORY / "params.yaml").aggregate
    rows = read(folder / "tables/ablations.csv")
    assert [(r["system"], r["changed"]) for r in rows] == [
        ("frozen", c.replace("_", " ")) for c in changed[1:] if c != f"aggregate_{aggregate}"
    ]
    (control,) = read(folder / "tables/controls.csv")
    assert {"itself", "placebo"} <= {*control} and "only text" not in control
    itself = np.mean([m.mean() for m in found if (m.system, m.control) == ("frozen", None)])
    for row in rows:
        name = row["changed"].replace(" ", "_")
        mine = np.mean([m.mean() for m in found if m.control == name])
        assert float(row["NDCG@10"]) == pytest.approx(mine)
        assert float(row["difference (users)"]) == pytest.approx(mine - itself)
        assert float(row["difference (seeds)"]) == pytest.approx(mine - itself)


@pytest.mark.usefixtures("undrawn")
def test_fits_that_nothing_stops_are_not_said_to_have_converged(make: Make) -> None:
    folder = make(without([m for m in models() if m.control is None], "validation"))
    assert {r["at the limit"] for r in read(folder / "tables/convergence.csv")} == {""}
    assert "**Convergence is not known:**" in (folder / "report.md").read_text()
    folder = make(models())
    assert {r["at the limit"] for r in read(folder / "tables/convergence.csv")} == {"0"}
    assert "Convergence is not known" not in (folder / "report.md").read_text()


@pytest.mark.usefixtures("undrawn")
def test_figures_are_told_in_words(make: Make) -> None:
    trained = tuple(
        {"epoch": n, "train_loss": 1 / n, "validation_loss": 0.7, "ndcg@10": value}
        for n, value in enumerate((0.1, 0.35, 0.35, 0.2), 1)  # the best one comes twice
    )
    folder = make(models(), trained=model("frozen", 2, 1, history=trained))
    tables = {p.stem: read(p) for p in (folder / "tables").iterdir()}
    found = re.findall(r"!\[([^\]]+(?:\[[^\]]*\][^\]]*)*)\]\(figures/([^)]+)\.svg\)",
                       (folder / "report.md").read_text())  # fmt: skip
    alt = {name: text for text, name in found}
    for metric in PAPER:
        column = f"{metric}@10"
        told = ", ".join(
            f"{r['system']} {number(r[column])} ± {number(r[f'{column} ±'])}"
            for r in tables[f"comparison-{metric}"]
        )
        assert alt[f"bars-{metric}"] == f"{column}: {told}"
        assert alt[f"bars-{metric}"] in alt["bars-by-system"]
    for name, table in (("gains", "against-none"), ("gains-placebo", "against-placebo")):
        column = "difference (users)"
        told = ", ".join(
            f"{r['system']} {number(r[column], '+')} [{number(r[f'{column} low'], '+')}, "
            f"{number(r[f'{column} high'], '+')}]"
            for r in tables[table]
        )
        assert alt[name] == f"{column}: {told}"
    assert alt["depth"] == "Line chart of NDCG@10. " + "; ".join(
        f"{r['system']} at K = {r['layers']} {number(r['ndcg@10'])}" for r in tables["layers"]
    )
    for name, column in (("losses", "train_loss"), ("ndcg-10", "ndcg@10")):
        ends = {r["system"]: number(r[column]) for r in tables["curves"]}  # the last one stays
        told = ", ".join(f"{system} {end}" for system, end in ends.items())
        assert alt[f"curves-{name}"] == f"Line chart. At the end: {told}"
    ends = {r["layers"]: number(r["alpha"]) for r in tables["alpha-curves"]}
    told = ", ".join(f"K = {layers} {end}" for layers, end in ends.items())
    assert alt["curves-alpha"] == f"Line chart of α. At the end: {told}"
    assert alt["trained-losses"] == (
        "Line chart. After 4 epochs: train loss 0.2500, validation loss 0.7000"
    )
    assert alt["trained-ndcg"] == "Line chart. Highest value 0.3500 at epoch 2 of 4"
    assert alt["map-text"] == "Scatter plot of 60 items"
    assert {*alt} == names(folder, "figures") and all(alt.values())


@pytest.mark.usefixtures("undrawn")
def test_remaining_tables_repeat_their_inputs(make: Make) -> None:
    found = models()
    trained = found[0]
    folder = make(found, trained=trained) / "tables"
    dataset = {r["property"]: float(r["value"]) for r in read(folder / "dataset.csv")}
    assert dataset["users"] == 48 and dataset["sparsity"] == 0.4
    assert dataset["train interactions"] == 272
    rows = {(r["split"], r["metric"]): r for r in read(folder / "trained.csv")}
    assert [metric for split, metric in rows if split == "test"] == [
        "precision", "recall", "NDCG", "hit rate", "MRR", "MAP", "coverage", "novelty",
        "Gini index", "popularity",
    ]  # fmt: skip
    for split in ("validation", "test"):
        assert float(rows[split, "NDCG"]["@10"]) == pytest.approx(trained.mean(split=split))
    parameters = {r["parameter"]: r["value"] for r in read(folder / "parameters.csv")}
    assert parameters["fusion"] == "frozen" and parameters["study.seeds"] == "1 2 3"
    assert not any(name.startswith("systems.vbpr") for name in parameters)  # it did not run
    modalities = {r["modality"]: r for r in read(folder / "modalities.csv")}
    assert float(modalities["image"]["% of catalogue"]) == pytest.approx(100 * 20 / 60)
    assert modalities["image"]["items"] == "21" and modalities["image"]["failures"] == "1"
    assert {m: row["failures"] for m, row in modalities.items() if m != "image"} == dict.fromkeys(
        ("text", "audio", "video"), "0"
    )
    assert "not pretrained" in modalities["image"]["weights"]
    assert "not pretrained" not in modalities["text"]["weights"]
    assert read(folder / "failures.csv") == [
        {"modality": "image", "item_id": "i09", "source": "images/<b>|.png",
         "reason": "not an image"}
    ]  # fmt: skip
    assert read(folder / "remarks.csv") == [
        {"modality": "image", "item_id": "i01", "source": "a.jpg", "remark": "its end is missing"}
    ]
    assert {r["what"] for r in read(folder / "environment.csv")} >= {"python", "torch", "numpy"}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("size", [(5660, 4877), (5659, 4878)])
def test_other_catalogues_have_no_published_numbers(size: tuple[int, int], make: Make) -> None:
    folder = make(models(), users=size[0], items=size[1])
    assert "published" not in names(folder, "tables")
    assert "Published" not in (folder / "report.md").read_text()


@pytest.mark.usefixtures("undrawn")
def test_published_numbers_are_of_test(make: Make) -> None:
    folder = make(without(models(), "test"), users=6036, items=3081)
    assert "published" not in names(folder, "tables")
    folder = make(models(), users=6036, items=3081)
    assert "MovieLens1M as published and as measured here" in (folder / "report.md").read_text()


@pytest.mark.usefixtures("undrawn")
def test_caveats_follow_the_inputs(make: Make) -> None:
    text = (make(models()) / "report.md").read_text()
    assert "The encoders of image, audio have random weights" in text
    assert "The catalogue is synthetic" in text and "It is synthetic: real media" in text
    assert "Split: leave one out, by time. Ratings: at least 4: 43 of 90 rows count. " in text
    assert "Users and items have at least 3 interactions each." in text
    assert "Damaged, and decoded as far as that goes: 1 of image (tables/remarks.csv)." in text
    assert "A synthetic catalogue: 48 users, 60 items, 428 interactions (data/raw/sample)." in text
    pretrained = dict.fromkeys(WEIGHTS, "pretrained")
    folder = make(models(), weights=pretrained, synthetic=False, dataset="mine", users=1234)
    text = (folder / "report.md").read_text()
    assert "random weights" not in text and "not pretrained" not in text
    assert "synthetic" not in text and "Dataset `mine`." in text
    assert "\nCatalogue: 1,234 users, 60 items, 428 interactions (mine)." in text


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("images", [0, 19, 20])
def test_failures_are_counted_and_the_first_20_are_shown(images: int, make: Make) -> None:
    failures = [("image", f"i{n}", "no.png", "gone") for n in range(images)]
    folder = make(models(), failures=[*failures, ("audio", "x", "no.wav", "gone")])
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
def test_ids_of_failures_stay_texts(make: Make) -> None:
    failures = [("image", name, "1", "2") for name in ("007", "1e5", "true", "2024-01-01")]
    rows = read(make(models(), failures=failures) / "tables/failures.csv")
    assert [row["item_id"] for row in rows] == ["007", "1e5", "true", "2024-01-01"]


@pytest.mark.usefixtures("undrawn")
def test_many_failures_of_two_lines_each_are_read(make: Make) -> None:
    reason = "first line,\n" + "second line, " * 10
    failures = [("image", f"i{n}", "no.png", reason) for n in range(12_000)]
    listed = read(make(models(), failures=failures) / "tables/failures.csv")  # several blocks
    assert len(listed) == 12_000 and all(row["reason"] == reason for row in listed)


@pytest.mark.usefixtures("undrawn")
def test_no_failure_is_told_too(make: Make) -> None:
    folder = make(models(), failures=[])
    text = (folder / "report.md").read_text()
    assert "Every item that has a modality was encoded." in text
    assert "could not be encoded" not in text and not read(folder / "tables/failures.csv")


@pytest.mark.usefixtures("undrawn")
def test_values_cannot_break_a_page(make: Make) -> None:
    source, reason = r"a\b|c<i>", "two\nlines & more"
    folder = make(models(), failures=[("image", "i9", source, reason)], dataset="data/<b>&")
    assert read(folder / "tables/failures.csv")[0]["source"] == source
    assert r"| image | i9 | a\\b\|c<i> | two lines & more |" in (folder / "report.md").read_text()
    text = (folder / "index.html").read_text()
    page = Page(text)
    assert {source, reason} <= set(page.cells)
    assert "<b>" not in text and "<i>" not in text
    assert "<code>data/&lt;b&gt;&amp;</code>" in text and "`" not in text.split("<main>")[1]


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
        if tag == "svg" and found.get("aria-hidden") != "true":
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


@pytest.mark.usefixtures("undrawn")
def test_a_page_has_every_part_in_order(make: Make) -> None:
    found = models()
    text = (make(found, trained=found[6]) / "report.md").read_text()
    sections = {
        part.splitlines()[0]: re.findall(r"^\*\*(.+)\*\*$", part, re.M)
        for part in text.split("\n## ")[1:]
    }
    starts = {
        "Findings": [
            "Test NDCG@10 of each system less that of none",
            "Test NDCG@10 of each system less its own with",
            "Test NDCG@10 of each system less that of",
        ],
        "Systems compared": [
            *(f"Test {metric} at each system's" for metric in ("precision", "recall", "NDCG")),
            "Test lists of 10 besides accuracy",
            *(f"Test {metric} at each system's" for metric in ("hit rate", "MRR", "MAP")),
        ],
        "Where a gain comes from": ["Test NDCG@10 of each system at its depth"],
        "Who gains": ["Test NDCG@10 of", "Test NDCG@10 of users by", "Share of the test"],
        "Recommendations": [],
        "Depth": [
            "Validation NDCG@10 by depth",
            "Test NDCG@10 less that of none at equal depth",
            *(f"{system}: metrics by depth" for system in SYSTEMS),
        ],
        "Training": ["Weight α", "The epoch that validation chose"],
        "New items and new users": ["10% of the items, held out", "Test NDCG@10 of 3 users (10%)"],
        "The trained model": ["Metrics of the trained model"],
        "What vectors hold": [],
        "How the systems work": [],
        "Data": ["The catalogue", "Items with each modality", "Items that could not"],
        "Parameters and environment": ["The environment", "The parameters of this run"],
    }
    assert list(sections) == list(starts)
    for title, captions in sections.items():
        if title != "Recommendations":
            assert len(captions) == len(starts[title]), title
            assert all(c.startswith(s) for c, s in zip(captions, starts[title], strict=True)), title
    for system in SYSTEMS:
        depth = selected(found, system)
        assert f"{system}: metrics by depth; validation selected K = {depth} (bold)" in text
    assert "`fusion: frozen`, K = 2, seed 19" in text and "; 3 seeds." in text


def test_the_page_stands_alone_and_shows_the_tables(make: Make) -> None:
    folder = make(models())
    text = (folder / "index.html").read_text()
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    files = {f"tables/{p.name}" for p in (folder / "tables").iterdir()}
    assert all(link[1:] in page.ids for link in page.links if link.startswith("#"))
    linked = [link for link in page.links if not link.startswith(("#", "data:"))]
    assert set(linked) <= files and {"tables/gains.csv", "tables/modalities.csv"} <= set(linked)
    assert not re.search(r"<th[^>]*>\s*</th>", text)
    assert not re.search(r"@import|url\((?!#)|<script", text)
    assert names(folder, "figures") and all(page.images)
    assert len(page.images) >= len(names(folder, "figures"))
    for row in read(folder / "tables/layers.csv"):
        assert all(number(row[f"{m}@{k}"]) in page.cells for m in PAPER for k in KS)
    assert "<b>" not in text and "images/<b>|.png" in page.cells  # escaped
    assert "synthetic" in text and "not pretrained" in text
    for metric in PAPER:
        rows = read(folder / f"tables/comparison-{metric}.csv")
        shown = [f"{number(r[f'{metric}@5'])} ± {number(r[f'{metric}@5 ±'])}" for r in rows]
        assert set(shown) <= set(page.cells)
    # Metrics stand above their columns where there are several; else columns have both.
    groups = re.findall(r'colspan="4" class="group">(\w+)<', text)
    assert groups == ["precision", "recall", "NDCG"] * len(SYSTEMS)
    assert {"findings", "systems-compared", "the-trained-model"} <= set(page.ids)


@pytest.mark.usefixtures("undrawn")
def test_the_markdown_shows_the_tables_and_existing_figures(make: Make) -> None:
    folder = make(models())
    text = (folder / "report.md").read_text()
    assert set(re.findall(r"\]\(figures/([^)]+)\.svg\)", text)) == names(folder, "figures")
    linked = set(re.findall(r"\]\(tables/([^)]+)\.csv\)", text))
    assert linked <= names(folder, "tables") and {"against-none", "selection"} <= linked
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        lines = [re.split(r"(?<!\\)\|", line) for line in block.splitlines()]
        assert len(lines) > 2 and len({len(line) for line in lines}) == 1
    heading = "| system | layers | NDCG@5 | NDCG@10 | NDCG@20 | NDCG@50 |\n| --- |" + " ---: |" * 5
    assert heading in text
    for row in read(folder / "tables/comparison-ndcg.csv"):
        assert f"{number(row['ndcg@10'])} ± {number(row['ndcg@10 ±'])}" in text
    assert "not pretrained" in text and "synthetic" in text


def test_reruns_are_identical_and_leave_nothing_stale(make: Make) -> None:
    folder = make(models())
    first = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert {p.name for p in first} >= {"index.html", "report.md", "model-card.md"}
    assert not any(str(folder.parent) in p.read_bytes().decode() for p in first)
    (folder / "figures/old.svg").write_text("old")
    (folder / "tables/old.csv").write_text("old")
    make(models())
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == first
    shutil.rmtree(folder.parent / "data/study")
    make(models(["none", "frozen"]))
    assert "alpha" not in names(folder, "tables")
    assert "curves-alpha" not in names(folder, "figures")


@pytest.mark.usefixtures("undrawn")
def test_what_lies_on_disk_besides_the_study_is_not_reported(make: Make) -> None:
    folder = make(models())
    make(models(["none", "frozen"]))  # `alpha` is still there
    assert (folder.parent / "data/study/alpha/results.csv").exists()
    assert "`alpha`" not in (folder / "report.md").read_text()


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(models(["none"]), id="only none"),
        pytest.param(models(["frozen", "alpha"]), id="without none"),
        pytest.param(models(seeds=[1]), id="one seed"),
        pytest.param(models(layers=[0]), id="one depth"),
        pytest.param([model("ease", None, None)], id="one closed form"),
    ],
)
def test_smaller_studies_have_a_report(found: list[Model], make: Make) -> None:
    folder = make(found)
    text = (folder / "report.md").read_text()
    systems = {m.system for m in found}
    assert ("against-none" in names(folder, "tables")) == ({"none"} < systems)
    assert ("gain-by-history" in names(folder, "tables")) == ({"none"} < systems)
    if len({m.seed for m in found}) == 1:
        assert read(folder / "tables/layers.csv")[0]["ndcg@10 ±"] == ""
        assert " ± " not in text.replace("mean ± half", "").replace("seeds ± half", "")
    assert "nan" not in text and "None" not in text
    assert "`fusion: frozen`, K = 2, seed 19" in text  # what was trained is no part of the study


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("seeds", "told"), [([1], "; 1 seed."), ([1, 2], "; 2 seeds.")])
def test_seeds_are_counted(seeds: list[int], told: str, make: Make) -> None:
    assert told in (make(models(seeds=seeds)) / "report.md").read_text()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("missing", ["validation", "test"])
def test_a_catalogue_without_a_split_has_a_report(missing: str, make: Make) -> None:
    found = models()
    if missing == "validation":  # controls are then studied at the first depth, and 2 is first
        found = [m for m in found if m.control is None]
        found.sort(key=lambda m: (SYSTEMS.index(m.system), -(m.layers or 0)))
    folder = make(without(found, missing))
    text = (folder / "report.md").read_text()
    other = "Test" if missing == "validation" else "Validation"
    assert f"**{other} NDCG at each system's selected depth" in text
    depths = {row["layers"] for row in read(folder / "tables/comparison-ndcg.csv")}
    assert missing == "test" or depths == {"2"}
    assert ("without a validation split, nothing is selected" in text) == (missing != "test")
    assert ("validation selected" in text) == (missing == "test")
    assert ("selection" in names(folder, "tables")) == (missing == "test")
    liked = f"liked in {other.lower()}."
    assert liked in text and "nan" not in text


@pytest.mark.usefixtures("undrawn")
def test_a_catalogue_that_evaluates_nothing_has_a_report(make: Make) -> None:
    folder = make(without(models(), "validation", "test"))
    text = (folder / "report.md").read_text()
    assert "neither test nor validation interactions: nothing was evaluated" in text
    assert "## The trained model" in text and "## Data" in text
    assert "## Systems compared" not in text and "validation selected" not in text
    left = names(folder, "tables")
    assert not [name for name in left if name.startswith(("comparison", "against", "slices"))]
    card = (folder / "model-card.md").read_text()
    assert "| split |" not in card and "nothing was evaluated" in card


def flat(seeds: list[int | None]) -> list[Model]:
    """A study in which `frozen` is a system without depth, of one model or one a seed."""
    found = [m for m in models() if m.system != "frozen"]
    return [*found, *(model("frozen", None, seed) for seed in seeds)]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("seeds", [[None], SEEDS])
def test_a_system_without_depth_has_no_depths(
    seeds: list[int | None], make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(
        figures, "depths", lambda table, column: drawn.extend(table["system"]) or "<svg></svg>"
    )
    folder = make(flat(seeds))
    text = (folder / "report.md").read_text()
    assert set(drawn) == {"none", "alpha"}
    assert "frozen: metrics by depth" not in text and "none: metrics by depth" in text
    (folded,) = re.findall(r"more tables: (.*layers-none.*)</summary>", text)
    assert len({*folded.split(", ")}) == len(folded.split(", "))
    assert "| frozen | – |" in text and "None" not in text and "nan" not in text
    (table,) = re.findall(r"\*\*Metrics of systems without depth\*\*\n\n((?:\|.*\n)+)", text)
    assert len(table.splitlines()) == 3 and table.splitlines()[2].startswith("| frozen | ")
    (row,) = [r for r in read(folder / "tables/layers.csv") if r["system"] == "frozen"]
    assert row["layers"] == "" and (row["ndcg@10 ±"] == "") == (seeds == [None])
    assert {r["system"] for r in read(folder / "tables/gains.csv")} == {"alpha"}
    (gain,) = [r for r in read(folder / "tables/against-none.csv") if r["system"] == "frozen"]
    assert gain["layers"] == "" and gain["difference (seeds) ±"]
    alone = "A system that reads no seed has one value, without an interval."
    assert (alone in text) == (seeds == [None]) and "Systems without depth show –." in text


def test_systems_without_depth_and_seed_alone_have_a_report(make: Make) -> None:
    """As if the whole study were closed forms, and the trained model one of them."""
    folder = make([model(system, None, None) for system in ("none", "frozen", "ease")])
    text = (folder / "report.md").read_text()
    assert "\n## Depth" in text and "metrics by depth" not in text
    assert "\n## Training" not in text and "## The trained model" in text
    kept = {n for n in names(folder, "figures") if not n.startswith(("map-", "diagram-"))}
    assert kept == {
        "gains", "bars-precision", "bars-recall", "bars-ndcg", "bars-by-system", "gain-by-history",
    }  # fmt: skip
    assert "None" not in text and "nan" not in text


@pytest.mark.usefixtures("undrawn")
def test_a_history_without_losses_draws_none(make: Make) -> None:
    history = tuple({"epoch": epoch, "ndcg@10": epoch / 10} for epoch in (1, 2))
    found = models()
    two, one = (replace(found[0], history=history[:n]) for n in (2, 1))
    drawn = names(make(found, trained=two), "figures")
    assert "trained-ndcg" in drawn and "trained-losses" not in drawn
    assert not {"trained-ndcg", "trained-losses"} & names(make(found, trained=one), "figures")


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
    assert data_sections.trained_in_words(params) == told


@pytest.mark.usefixtures("undrawn")
def test_newcomers_have_their_figures_and_a_line_each(make: Make) -> None:
    folder = make(models())
    items = {row["system"]: row for row in read(folder / "tables/new-items.csv")}
    # Over those who have a value: three of four users.
    assert float(items["frozen"]["AUC"]) == pytest.approx(0.75)
    assert float(items["frozen"]["NDCG@10"]) == pytest.approx(0.6)
    assert float(items["frozen"]["new in the first 10"]) == pytest.approx(0.2)
    assert items["popularity"]["AUC low"] == items["popularity"]["AUC high"] == "0.5"
    users = {row["system"]: row for row in read(folder / "tables/new-users.csv")}
    assert float(users["frozen"]["difference"]) == pytest.approx(-0.1)
    assert float(users["frozen"]["shared of the first 10"]) == pytest.approx(0.6)
    assert float(users["popularity"]["difference"]) == 0
    text = (folder / "report.md").read_text()
    low = number(items["frozen"]["AUC low"])
    assert f"New items: `frozen` has the highest AUC, 0.7500 [{low}, 1.0000]" in text
    assert "loses against a fit on everybody with `frozen`; the lists share 60% at least" in text


@pytest.mark.usefixtures("undrawn")
def test_without_newcomers_there_is_no_section(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import studies

    written = studies._newcomers

    def emptied() -> None:
        written()
        for path in (paths.NEW_ITEMS, paths.NEW_USERS):
            pq.write_table(pq.read_table(path).slice(0, 0), path)

    monkeypatch.setattr(studies, "_newcomers", emptied)
    folder = make(models())
    assert "New items" not in (folder / "report.md").read_text()
    assert not {"new-items", "new-users"} & names(folder, "tables")


@pytest.mark.usefixtures("undrawn")
def test_a_refit_has_a_table_of_its_own_and_changes_no_other(make: Make) -> None:
    def found(folder: Path) -> dict[str, bytes]:
        return {path.stem: path.read_bytes() for path in (folder / "tables").iterdir()}

    folder = make(models())
    strict, findings = found(folder), section(folder, "Findings")
    again = [refitted(m) for m in models()]
    shutil.rmtree(folder)
    folder = make(again, protocol="refit")
    both = found(folder)
    assert both.keys() - strict.keys() == {"refit"}
    assert {name for name in strict if strict[name] != both[name]} == {"trained", "parameters"}
    assert section(folder, "Findings") == findings
    evidence = read(folder / "tables/selection.csv")
    rows = read(folder / "tables/refit.csv")
    assert [row["system"] for row in rows] == [row["system"] for row in evidence] == SYSTEMS
    for row in rows:
        mine = [m for m in again if (m.system, str(m.layers)) == (row["system"], row["layers"])]
        of_seeds = [m for m in mine if m.control is None]
        before, after = (
            np.mean([m.values[split][SELECTION] for m in of_seeds], axis=0)
            for split in ("test", "refit")
        )
        assert float(row["test NDCG@10"]) == pytest.approx(before.mean())
        assert float(row["refit NDCG@10"]) == pytest.approx(after.mean())
        column = "difference (users)"
        less = after - before
        assert float(row[column]) == pytest.approx(less.mean())
        interval = stats.bootstrap(
            (less,), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(1)
        ).confidence_interval
        ends = float(row[f"{column} low"]), float(row[f"{column} high"])
        width = interval.high - interval.low
        assert ends == pytest.approx((interval.low, interval.high), abs=0.08 * width)
    for page in ("report.md", "index.html"):
        text = (folder / page).read_text()
        assert "no finding and no other comparison rests on it" in text
        assert "the split refit is test, of this model" in text
    # Numbers that another protocol left are not shown.
    shutil.rmtree(folder)
    folder = make(again)
    assert "refit" not in names(folder, "tables")
    assert "refit" not in section(folder, "Systems compared")


def refitted(m: Model) -> Model:
    """The same, fitted once more."""
    more = model(m.system, m.layers, m.seed, m.control, splits=["refit"])
    return replace(m, values={**m.values, **more.values}, lists={**m.lists, **more.lists})


def section(folder: Path, title: str) -> str:
    """What stands under a heading of report.md."""
    return (folder / "report.md").read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
