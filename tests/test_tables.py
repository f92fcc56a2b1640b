"""The report's tables as values: estimates, what is bold, what a cell shows, what is selected."""

from math import sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats

from model.metrics import KS, METRICS, SELECTION, Measure, Metric
from pipeline.reporting.comparisons import (
    alpha_table,
    comparison_table,
    curves_table,
    drawable,
    gains_table,
    layers_table,
    trained_table,
)
from pipeline.reporting.descriptions import dataset_table, modalities_table, parameters_table
from pipeline.reporting.estimates import Estimate, estimate
from pipeline.reporting.scores import Scores
from pipeline.reporting.table import Table, title

ACCURACY = tuple(Measure(m, k) for m in ("precision", "recall", "ndcg") for k in KS)
MEASURES = ACCURACY + tuple(Measure(m, k) for m in ("coverage", "novelty") for k in KS)
Row = dict[str, Any]


def cell(
    system: str,
    layers: int | None,
    seed: int | None,
    value: float,
    *,
    selects: float | None = None,
    splits: tuple[str, ...] = ("validation", "test"),
) -> list[Row]:
    """A model whose every metric is `value`, less one on validation.

    `selects`, where given, is its validation NDCG@10.
    """
    values = {
        (split, measure): value - (split == "validation")
        for split in splits
        for measure in MEASURES
    }
    if selects is not None:
        values["validation", SELECTION] = selects
    return [
        {"system": system, "layers": layers, "seed": seed}
        | {"split": split, "metric": metric, "k": k, "value": number}
        for (split, (metric, k)), number in values.items()
    ]


def scores(*cells: list[Row]) -> Scores:
    return Scores(row for rows in cells for row in rows)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_an_estimate_is_a_mean_and_its_t_interval(n: int) -> None:
    sample = np.random.default_rng(n).normal(size=n)
    found = estimate(list(sample))
    low, high = stats.t.interval(0.95, n - 1, sample.mean(), stats.sem(sample))
    assert found.mean == pytest.approx(sample.mean())
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.half == pytest.approx((high - low) / 2)


def test_estimates_of_one_and_of_equal_values() -> None:
    assert estimate([0.3]) == Estimate(0.3, None)
    assert (estimate([0.3]).low, estimate([0.3]).high) == (0.3, 0.3)
    assert estimate([0.25, 0.25]) == Estimate(0.25, 0.0)
    # By hand: the t quantile 0.975 of one degree of freedom is 12.7062.
    assert estimate([0.0, 1.0]).half == pytest.approx(12.7062 * sqrt(0.5) / sqrt(2), rel=1e-5)


def test_cells_as_the_page_shows_them() -> None:
    table = Table("t", "", ("a",), ())
    shown = [table.text(v) for v in (None, True, False, 1234567, -0.5, 0.00005, "a,b", 0)]
    assert shown == ["–", "yes", "no", "1,234,567", "−0.5000", "0.0001", "a,b", "0"]
    assert table.text(Estimate(0.1, 0.02)) == "0.1000 ± 0.0200"
    assert table.text(Estimate(0.1, 0.02), interval=False) == "0.1000"
    assert table.text(Estimate(0.1, None)) == "0.1000"
    assert table.text(Estimate(-0.1, 0.0)) == "−0.1000 ± 0.0000"
    signed = Table("t", "", ("a",), (), signed=True, decimals=1)
    assert signed.text(Estimate(0.12, 0.34)) == "+0.1 ± 0.3" and signed.text(-0.12) == "−0.1"
    assert signed.text(3) == "3"
    assert Table("t", "", ("a",), (), intervals=False).text(Estimate(0.1, 0.02)) == "0.1000"


def test_the_highest_values_are_bold() -> None:
    rows = (("a", 0.2, 5.0), ("b", 0.3, 6.0), ("c", -0.9, 7.0), ("d", 0.30001, 1.0))
    assert Table("t", "", ("v", "x", "y"), rows, compared=("x",)).bold == {(1, 1), (3, 1)}
    assert Table("t", "", ("v", "x", "y"), rows, compared=("x", "y")).bold == {
        (1, 1), (3, 1), (2, 2),
    }  # fmt: skip
    assert Table("t", "", ("v", "x", "y"), rows).bold == set()
    assert Table("t", "", ("v", "x", "y"), rows[:1], compared=("x",)).bold == set()
    wide = (("a", Estimate(0.2, 0.9)), ("b", Estimate(0.3, 0.1)), ("c", Estimate(0.3, None)))
    assert Table("t", "", ("v", "x"), wide, compared=("x",)).bold == {(1, 1), (2, 1)}


def test_columns_rows_and_parts_of_a_table() -> None:
    table = Table("t", "", ("v", "k", "x"), (("a", 0, 1.0), ("b", 0, 2.0), ("a", 2, 3.0)))
    assert table["x"] == [1.0, 2.0, 3.0]
    assert table.where("v", "a").rows == (("a", 0, 1.0), ("a", 2, 3.0))
    assert table.where("k", 0)["v"] == ["a", "b"]
    without = table.without("k")
    assert without.columns == ("v", "x")
    assert without.rows == (("a", 1.0), ("b", 2.0), ("a", 3.0))
    assert table.left == [True, False, False]
    assert Table("t", "", ("v",), (("a",), (1,))).left == [False]  # one number: a column of them


def test_neighbouring_columns_of_one_metric_are_grouped() -> None:
    def table(*columns: str | Measure) -> Table:
        return Table("t", "", columns, ())

    wide = table("system", "layers", *MEASURES)
    assert wide.groups == [
        ("", 1), ("", 1), ("precision", 4), ("recall", 4), ("NDCG", 4), ("coverage", 4),
        ("novelty", 4),
    ]  # fmt: skip
    assert wide.headings[:4] == ["system", "layers", "@5", "@10"]
    assert table(Measure("ndcg", 5), Measure("recall", 5)).groups == [("NDCG", 1), ("recall", 1)]
    narrow = table("system", *(Measure("ndcg", k) for k in (5, 10)))
    assert narrow.groups == []  # the caption names a single metric
    assert narrow.headings == ["system", "ndcg@5", "ndcg@10"]
    # A text is no measure, whatever it looks like.
    assert table("ndcg@5", "recall@5", "a@b@c").groups == []
    assert table("ndcg@5", Measure("ndcg", 5), Measure("recall", 5)).headings == [
        "ndcg@5", "@5", "@5",
    ]  # fmt: skip


def test_measures_have_a_title() -> None:
    assert [title(Measure(m, 10)) for m in ("ndcg", "precision", "coverage")] == [
        "NDCG@10", "Precision@10", "Coverage@10",
    ]  # fmt: skip


def test_a_file_holds_means_and_half_widths_in_full() -> None:
    rows = (("a", Estimate(0.123456789, 0.5), None), ("b", Estimate(0.2, None), 3.0))
    found = Table("t", "", ("v", "x", "y"), rows).to_arrow()
    assert found.to_pydict() == {
        "v": ["a", "b"], "x": [0.123456789, 0.2], "x ±": [0.5, None], "y": [None, 3.0],
    }  # fmt: skip
    rows = (("a", None), ("b", Estimate(0.0, 0.0)))
    found = Table("t", "", ("v", "x"), rows).to_arrow()
    assert found.to_pydict() == {"v": ["a", "b"], "x": [None, 0.0], "x ±": [None, 0.0]}


def test_nothing_is_bold_where_there_is_nothing() -> None:
    rows = (("a", None, None), ("b", Estimate(0.3, 0.1), None), ("c", Estimate(0.2, None), 1.0))
    table = Table("t", "", ("v", "x", "y"), rows, compared=("x", "y"))
    assert table.bold == {(1, 1)}  # one value alone is compared with nothing


def test_test_is_compared_where_there_is_one() -> None:
    both = scores(cell("none", 0, 1, 0.5))
    assert both.split == "test" and both.validated
    one = scores(cell("none", 0, 1, 0.5, splits=("validation",)))
    assert one.split == "validation" and one.validated
    assert not scores(cell("none", 0, 1, 0.5, splits=("test",))).validated


def test_depths_are_selected_by_mean_validation_ndcg() -> None:
    def rows(system: str, layers: int, *values: float) -> list[list[Row]]:
        """Test, and the other validation metrics, prefer what validation NDCG@10 does not."""
        return [
            cell(system, layers, seed, 5 - value, selects=value)
            for seed, value in enumerate(values)
        ]

    results = [
        # The mean decides, not the first seed, nor the best or the worst.
        *rows("none", 3, 0.4, 0.0, 0.0), *rows("none", 1, 0.1, 0.3, 0.2),
        *rows("none", 0, 0.12, 0.13, 0.14),
        *rows("alpha", 3, 0.25, 0.25, 0.25), *rows("alpha", 0, 0.1, 0.1, 0.1),
        *rows("alpha", 2, 0.25, 0.25, 0.25), *rows("alpha", 1, 0.25, 0.25, 0.25),
    ]  # fmt: skip
    assert scores(*results).select(0) == {"none": 1, "alpha": 1}  # the smallest of a tie
    assert scores(*results[::-1]).select(0) == {"none": 1, "alpha": 1}


def test_without_validation_the_default_depth_is_taken() -> None:
    depths = (("none", 3), ("none", 2), ("none", 1), ("vbpr", 3), ("vbpr", 1), ("ease", None))
    found = scores(*(cell(system, layers, 1, 0.5, splits=("test",)) for system, layers in depths))
    assert found.select(2) == {"none": 2, "vbpr": 1, "ease": None}
    assert found.select(0) == {"none": 1, "vbpr": 1, "ease": None}


def test_columns_and_order_of_the_metric_tables() -> None:
    results = scores(
        *(
            cell(system, layers, seed, 0.1)
            for system in ("none", "alpha")
            for layers in (2, 0)
            for seed in (1, 2)
        )
    )
    table = layers_table(results)
    assert table.columns == ("system", "layers", *MEASURES)
    assert [row[:2] for row in table.rows] == [("none", 2), ("none", 0), ("alpha", 2), ("alpha", 0)]
    assert table.compared == ACCURACY and not table.intervals
    assert table.caption.startswith("Test metrics")
    for metric in ("precision", "recall", "ndcg"):
        table = comparison_table(results, {"alpha": 2, "none": 0}, metric)
        assert table.name == f"comparison-{metric}"
        assert table.columns == ("system", "layers", *(Measure(metric, k) for k in KS))
        assert [row[:2] for row in table.rows] == [("alpha", 2), ("none", 0)]
        assert table.compared == table.columns[2:] and table.intervals
    assert table.to_arrow().column_names[2:5] == ["ndcg@5", "ndcg@5 ±", "ndcg@10"]


def test_a_metric_more_needs_no_edit_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "mrr", Metric("mrr", "MRR", True, abs))
    row = {"system": "none", "layers": 0, "seed": 1, "split": "test", "metric": "mrr", "k": 5}
    results = [*cell("none", 0, 1, 0.5), row | {"value": 0.75}]
    table = layers_table(Scores(results))
    assert table[Measure("mrr", 5)] == [Estimate(0.75, None)]
    assert table.groups[-1] == ("MRR", 4)
    assert ("test", "MRR", 0.75, None, None, None) in trained_table(results).rows


def test_gains_pair_the_seeds() -> None:
    base = {1: 0.1, 2: 0.5, 3: 0.9}
    differences = {1: 0.01, 2: 0.02, 3: 0.06}
    results = [cell("none", 0, seed, base[seed]) for seed in (1, 2, 3)]
    # Another order of seeds, and a seed that the baseline lacks.
    results += [cell("alpha", 0, seed, base[seed] + differences[seed]) for seed in (3, 1, 2)]
    results += [cell("alpha", 0, 4, 99.0)]
    table = gains_table(scores(*results), {"none": 0, "alpha": 0})
    assert table is not None and table.columns == ("system", "selected depths", "K = 0")
    sample = np.array(list(differences.values()))
    interval = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    for column in table.columns[1:]:
        (gain,) = table[column]
        assert gain.mean == pytest.approx(0.03)
        assert (gain.low, gain.high) == pytest.approx((interval.low, interval.high))
    assert table.signed and gains_table(scores(*results), {"alpha": 0}) is None
    assert gains_table(scores(*results), {"none": 0}) is None


def test_gains_of_systems_without_depth_or_seed() -> None:
    base = {0: (0.1, 0.2, 0.6), 2: (0.2, 0.3, 0.4)}
    results = [cell("none", k, seed, v) for k, of in base.items() for seed, v in enumerate(of)]
    results += [cell("ease", None, None, 0.5)]
    results += [cell("vbpr", None, seed, v) for seed, v in enumerate((0.3, 0.3, 0.9))]
    results += [cell("alpha", 2, seed, 0.7) for seed in range(3)]
    found = scores(*results)
    assert found.depths == {"none": [0, 2], "ease": [None], "vbpr": [None], "alpha": [2]}
    selected = found.select(0)
    assert selected == {"none": 0, "ease": None, "vbpr": None, "alpha": 2}  # 0.3 each: the smaller
    table = gains_table(found, selected)
    assert table is not None and table.columns == ("system", "selected depths", "K = 0", "K = 2")
    ease, vbpr, alpha = table.rows
    # 0.4, 0.3, -0.1: mean 0.2, standard deviation sqrt(0.07), t quantile 4.302653.
    assert ease[1].mean == pytest.approx(0.2)
    assert ease[1].half == pytest.approx(4.302653 * sqrt(0.07) / sqrt(3), rel=1e-6)
    # 0.2, 0.1, 0.3: mean 0.2, standard deviation 0.1.
    assert vbpr[1].mean == pytest.approx(0.2)
    assert vbpr[1].half == pytest.approx(4.302653 * 0.1 / sqrt(3), rel=1e-6)
    assert ease[2:] == vbpr[2:] == (None, None)
    assert alpha[2] is None and alpha[3].mean == pytest.approx(0.4)
    assert [table.text(value) for value in ease[2:]] == ["–", "–"]
    file = table.to_arrow().to_pydict()
    assert file["K = 2"][:2] == file["K = 2 ±"][:2] == [None, None]


def test_two_systems_without_seeds_have_a_gain_without_interval() -> None:
    found = scores(cell("none", 0, None, 0.2), cell("ease", None, None, 0.5))
    table = gains_table(found, found.select(0))
    assert table is not None and table["selected depths"][0].half is None
    assert table["selected depths"][0].mean == pytest.approx(0.3)
    # The other way round: every seed less the one value.
    found = scores(cell("none", 0, None, 0.2), cell("alpha", 0, 1, 0.3), cell("alpha", 0, 2, 0.5))
    table = gains_table(found, found.select(0))
    assert table is not None and table["K = 0"][0].mean == pytest.approx(0.2)
    assert table["K = 0"][0].half == pytest.approx(12.7062 * 0.1, rel=1e-5)


def test_tables_of_systems_without_depth() -> None:
    found = scores(cell("none", 0, 1, 0.2), cell("none", 0, 2, 0.4), cell("ease", None, None, 0.5))
    for table in (layers_table(found), comparison_table(found, found.select(0), "ndcg")):
        assert [row[:2] for row in table.rows] == [("none", 0), ("ease", None)]
        assert table[SELECTION][1] == Estimate(0.5, None)
        assert table.to_arrow()["layers"].to_pylist() == [0, None]


def test_gains_are_of_validation_where_there_is_no_test() -> None:
    found = scores(
        cell("none", 0, 1, 0.0, selects=0.2, splits=("validation",)),
        cell("alpha", 0, 1, 0.0, selects=0.8, splits=("validation",)),
    )
    table = gains_table(found, {"none": 0, "alpha": 0})
    assert table is not None and table.caption.startswith("Validation")
    assert table["K = 0"][0].mean == pytest.approx(0.6) and table["K = 0"][0].half is None


def test_alpha_by_system_and_depth() -> None:
    models: list[Row] = [{"system": "none", "layers": 0, "seed": 1}]
    models += [
        # 0 is a value too.
        {
            "system": system,
            "layers": layers,
            "seed": seed,
            "alpha": 0.1 * layers + 0.01 * (seed - 1),
        }
        for system in ("alpha", "normalized")
        for layers in (0, 2)
        for seed in (1, 2)
    ]
    models += [{"system": "equal", "layers": 0, "seed": 1, "alpha": None}]
    table = alpha_table(models)
    assert table is not None and table.columns == ("system", "layers", "alpha")
    assert [row[:2] for row in table.rows] == [
        ("alpha", 0), ("alpha", 2), ("normalized", 0), ("normalized", 2),
    ]  # fmt: skip
    assert [value.mean for value in table["alpha"]] == pytest.approx([0.005, 0.205] * 2)
    half = 12.7062 * 0.005  # t of one degree of freedom, times the standard error
    assert [value.half for value in table["alpha"]] == pytest.approx([half] * 4, rel=1e-5)
    assert alpha_table(models[:1]) is None


def test_curves_end_with_the_first_seed_that_stops() -> None:
    history = [
        {"layers": layers, "seed": seed, "epoch": epoch, "train_loss": epoch + 10 * seed + layers}
        | {"validation_loss": None if seed == 2 else 7 * epoch}
        for layers, lengths in ((2, {1: 4, 2: 3}), (0, {1: 2, 2: 5, 3: 6}))
        for seed, last in lengths.items()
        for epoch in range(1, last + 1)
    ]
    table = curves_table(history, "layers", "n", "c")
    assert table is not None and (table.name, table.caption) == ("n", "c")
    assert table.columns == (
        "layers", "epoch", "train_loss", "validation_loss", SELECTION, "alpha",
    )  # fmt: skip
    assert table.rows == (
        (2, 1, 18, 7, None, None), (2, 2, 19, 14, None, None), (2, 3, 20, 21, None, None),
        (0, 1, 21, 7, None, None), (0, 2, 22, 14, None, None),
    )  # fmt: skip
    assert curves_table([], "layers", "n", "c") is None


def test_only_curves_of_two_values_are_drawn() -> None:
    lines = {"none": 3, "alpha": 1, "vbpr": 2}  # epochs
    history: list[Row] = [
        {"system": system, "seed": 1, "epoch": epoch, "ndcg@10": 0.1}
        | ({"train_loss": 0.5} if system == "none" else {})
        for system, last in lines.items()
        for epoch in range(1, last + 1)
    ]
    table = curves_table(history, "system", "n", "c")
    drawn = drawable(table, SELECTION)
    assert drawn is not None and drawn["system"] == ["none"] * 3 + ["vbpr"] * 2
    drawn = drawable(table, "train_loss")
    assert drawn is not None and set(drawn["system"]) == {"none"}
    assert drawable(table, "alpha") is None and drawable(None, "alpha") is None


def test_zero_counts_in_a_mean() -> None:
    history = [
        {"layers": 0, "seed": seed, "epoch": 1, "train_loss": value, "alpha": value}
        for seed, value in ((1, 0.0), (2, 1.0))
    ]
    table = curves_table(history, "layers", "n", "c")
    assert table is not None and table["train_loss"] == [0.5] and table["alpha"] == [0.5]


def test_the_trained_models_metrics_by_split_and_metric() -> None:
    results = [
        {"split": split, "metric": measure.metric, "k": measure.k, "value": 100 * i + j}
        for i, split in enumerate(("validation", "test"))
        for j, measure in enumerate(MEASURES)
    ]
    table = trained_table(results)
    assert table.columns == ("split", "metric", "@5", "@10", "@20", "@50")
    assert table.rows == (
        ("validation", "precision", 0, 1, 2, 3),
        ("validation", "recall", 4, 5, 6, 7),
        ("validation", "NDCG", 8, 9, 10, 11),
        ("validation", "coverage", 12, 13, 14, 15),
        ("validation", "novelty", 16, 17, 18, 19),
        ("test", "precision", 100, 101, 102, 103),
        ("test", "recall", 104, 105, 106, 107),
        ("test", "NDCG", 108, 109, 110, 111),
        ("test", "coverage", 112, 113, 114, 115),
        ("test", "novelty", 116, 117, 118, 119),
    )


def test_the_catalogue_in_numbers() -> None:
    summary = {
        "users": 7, "items": 10, "interactions": {"train": 30, "validation": 5, "test": 8},
        "sparsity": 0.4, "cold_items": 1, "cold_users": 2,
    }  # fmt: skip
    assert dataset_table(summary).rows == (
        ("users", 7),
        ("items", 10),
        ("train interactions", 30),
        ("validation interactions", 5),
        ("test interactions", 8),
        ("sparsity", 0.4),
        ("cold items (no training interaction)", 1),
        ("cold users (no training interaction)", 2),
    )


def test_what_became_of_every_modality() -> None:
    summary = {"items": 40, "modalities": {"text": {"items": 30}, "audio": {"items": 0}}}
    embeddings = {
        "text": {"count": "28", "model": "minilm", "width": "384", "license": "MIT",
                 "weights": "bundled", "weights_sha256": "0123456789abcdef"},
        "audio": {"count": "0", "model": "vggish", "width": "128", "license": "BSD"},
    }  # fmt: skip
    failures = [{"modality": modality} for modality in ["audio"] * 5 + ["text"] * 2]
    table = modalities_table(summary, embeddings, failures)
    assert table.columns == (
        "modality", "items", "encoded", "% of catalogue", "failures", "encoder", "width",
        "weights", "licence",
    )  # fmt: skip
    absent = "not loaded: no item has this modality"
    assert table.rows == (
        ("text", 30, 28, 70.0, 2, "minilm", 384, "bundled; sha256 0123456789ab…", "MIT"),
        ("audio", 0, 0, 0.0, 5, "vggish", 128, absent, "BSD"),
    )
    assert table.text(table["% of catalogue"][0]) == "70.0"
    embeddings["audio"] |= {"weights": "random initialisation (seed 0)", "weights_sha256": "f" * 64}
    weights = modalities_table(summary, embeddings, failures)["weights"][1]
    assert weights == "random initialisation (seed 0), not pretrained; sha256 ffffffffffff…"


def test_a_row_for_every_parameter() -> None:
    parameters = {
        "layers": 2, "train": {"missing": "skip", "early": {"dropout": 0.1}, "weights": []},
        "study": {"seeds": [3, 1]}, "reject": True, "keep": False, "min": None,
    }  # fmt: skip
    assert parameters_table(parameters).rows == (
        ("layers", "2"),
        ("train.missing", "skip"),
        ("train.early.dropout", "0.1"),
        ("train.weights", ""),
        ("study.seeds", "3 1"),
        ("reject", "true"),
        ("keep", "false"),
        ("min", "null"),
    )
