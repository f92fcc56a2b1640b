"""The report's tables as values: estimates, what is bold, what a cell shows, what is selected."""

from math import sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pipeline.tables import (
    Estimate,
    Table,
    alpha_table,
    comparison_table,
    curves_table,
    dataset_table,
    estimate,
    evaluated_split,
    gains_table,
    layers_table,
    modalities_table,
    parameters_table,
    select_layers,
    trained_table,
)

KS = (5, 10, 20, 50)
METRICS = [f"{m}@{k}" for m in ("precision", "recall", "ndcg") for k in KS]


def cell(variant: str, layers: int, seed: int, value: float, **other: Any) -> dict[str, Any]:
    """A result whose every metric is `value`, less one on validation, unless `other` says so."""
    row = {"variant": variant, "layers": layers, "seed": seed, "alpha": None}
    row |= {f"test_{m}": value for m in METRICS} | {f"validation_{m}": value - 1 for m in METRICS}
    return row | other


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
    def groups(*columns: str) -> list[tuple[str, int]]:
        return Table("t", "", columns, ()).groups

    assert groups("variant", "layers", *METRICS) == [
        ("", 1), ("", 1), ("precision", 4), ("recall", 4), ("NDCG", 4),
    ]  # fmt: skip
    assert groups("ndcg@5", "recall@5") == [("NDCG", 1), ("recall", 1)]
    assert groups("variant", "ndcg@5", "ndcg@10") == []  # the caption names a single metric


def test_a_file_holds_means_and_half_widths_in_full() -> None:
    rows = (("a", Estimate(0.123456789, 0.5), None), ("b", Estimate(0.2, None), 3.0))
    found = Table("t", "", ("v", "x", "y"), rows).to_arrow()
    assert found.to_pydict() == {
        "v": ["a", "b"], "x": [0.123456789, 0.2], "x ±": [0.5, None], "y": [None, 3.0],
    }  # fmt: skip
    rows = (("a", None), ("b", Estimate(0.0, 0.0)))
    found = Table("t", "", ("v", "x"), rows).to_arrow()
    assert found.to_pydict() == {"v": ["a", "b"], "x": [None, 0.0], "x ±": [None, 0.0]}


def test_test_is_compared_where_there_is_one() -> None:
    row = cell("none", 0, 1, 0.5)
    assert evaluated_split([row]) == "test"
    assert evaluated_split([{k: v for k, v in row.items() if "test" not in k}]) == "validation"


def test_depths_are_selected_by_mean_validation_ndcg() -> None:
    def rows(variant: str, layers: int, *values: float) -> list[dict[str, Any]]:
        """Test, and the other validation metrics, prefer what validation NDCG@10 does not."""
        return [
            cell(variant, layers, seed, 5 - value, **{"validation_ndcg@10": value})
            for seed, value in enumerate(values)
        ]

    results = [
        # The mean decides, not the first seed, nor the best or the worst.
        *rows("none", 3, 0.4, 0.0, 0.0), *rows("none", 1, 0.1, 0.3, 0.2),
        *rows("none", 0, 0.12, 0.13, 0.14),
        *rows("alpha", 3, 0.25, 0.25, 0.25), *rows("alpha", 0, 0.1, 0.1, 0.1),
        *rows("alpha", 2, 0.25, 0.25, 0.25), *rows("alpha", 1, 0.25, 0.25, 0.25),
    ]  # fmt: skip
    assert select_layers(results, 0) == {"none": 1, "alpha": 1}  # the smallest of a tie
    assert select_layers(results[::-1], 0) == {"none": 1, "alpha": 1}


def test_without_validation_the_default_depth_is_taken() -> None:
    results = [
        {k: v for k, v in cell(variant, layers, 1, 0.5).items() if "validation" not in k}
        for variant, layers in (("none", 3), ("none", 2), ("none", 1), ("vbpr", 3), ("vbpr", 1))
    ]
    assert select_layers(results, 2) == {"none": 2, "vbpr": 1}
    assert select_layers(results, 0) == {"none": 1, "vbpr": 1}


def test_columns_and_order_of_the_metric_tables() -> None:
    results = [
        cell(variant, layers, seed, 0.1)
        for variant in ("none", "alpha")
        for layers in (2, 0)
        for seed in (1, 2)
    ]
    table = layers_table(results)
    assert table.columns == ("variant", "layers", *METRICS)
    assert [row[:2] for row in table.rows] == [("none", 2), ("none", 0), ("alpha", 2), ("alpha", 0)]
    assert table.compared == tuple(METRICS) and not table.intervals
    assert table.caption.startswith("Test metrics")
    for metric in ("precision", "recall", "ndcg"):
        table = comparison_table(results, {"alpha": 2, "none": 0}, metric)
        assert table.name == f"comparison-{metric}"
        assert table.columns == ("variant", "layers", *(f"{metric}@{k}" for k in KS))
        assert [row[:2] for row in table.rows] == [("alpha", 2), ("none", 0)]
        assert table.compared == table.columns[2:] and table.intervals


def test_gains_pair_the_seeds() -> None:
    base = {1: 0.1, 2: 0.5, 3: 0.9}
    differences = {1: 0.01, 2: 0.02, 3: 0.06}
    results = [cell("none", 0, seed, base[seed]) for seed in (1, 2, 3)]
    # Another order of seeds, and a seed that the baseline lacks.
    results += [cell("alpha", 0, seed, base[seed] + differences[seed]) for seed in (3, 1, 2)]
    results += [cell("alpha", 0, 4, 99.0)]
    table = gains_table(results, {"none": 0, "alpha": 0})
    assert table is not None and table.columns == ("variant", "selected depths", "K = 0")
    sample = np.array(list(differences.values()))
    interval = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    for column in table.columns[1:]:
        (gain,) = table[column]
        assert gain.mean == pytest.approx(0.03)
        assert (gain.low, gain.high) == pytest.approx((interval.low, interval.high))
    assert table.signed and gains_table(results, {"alpha": 0}) is None
    assert gains_table(results, {"none": 0}) is None


def test_gains_are_of_validation_where_there_is_no_test() -> None:
    results = [cell("none", 0, 1, 0.1), cell("alpha", 0, 1, 0.4)]
    for row in results:
        row["validation_ndcg@10"] *= 2
    results = [{k: v for k, v in row.items() if "test" not in k} for row in results]
    table = gains_table(results, {"none": 0, "alpha": 0})
    assert table is not None and table.caption.startswith("Validation")
    assert table["K = 0"][0].mean == pytest.approx(0.6) and table["K = 0"][0].half is None


def test_alpha_by_variant_and_depth() -> None:
    results = [cell("none", 0, 1, 0.1)]
    results += [
        cell(variant, layers, seed, 0.1, alpha=0.1 * layers + 0.01 * (seed - 1))  # 0 is a value too
        for variant in ("alpha", "normalized")
        for layers in (0, 2)
        for seed in (1, 2)
    ]
    table = alpha_table(results)
    assert table is not None and table.columns == ("variant", "layers", "alpha")
    assert [row[:2] for row in table.rows] == [
        ("alpha", 0), ("alpha", 2), ("normalized", 0), ("normalized", 2),
    ]  # fmt: skip
    assert [value.mean for value in table["alpha"]] == pytest.approx([0.005, 0.205] * 2)
    half = 12.7062 * 0.005  # t of one degree of freedom, times the standard error
    assert [value.half for value in table["alpha"]] == pytest.approx([half] * 4, rel=1e-5)
    assert alpha_table(results[:1]) is None


def test_curves_end_with_the_first_seed_that_stops() -> None:
    history = [
        {"layers": layers, "seed": seed, "epoch": epoch, "train_loss": epoch + 10 * seed + layers}
        | {"validation_loss": None if seed == 2 else 7 * epoch, "ndcg@10": None}
        for layers, lengths in ((2, {1: 4, 2: 3}), (0, {1: 2, 2: 5, 3: 6}))
        for seed, last in lengths.items()
        for epoch in range(1, last + 1)
    ]
    table = curves_table(history, "layers", "n", "c")
    assert table is not None and (table.name, table.caption) == ("n", "c")
    assert table.columns == (
        "layers", "epoch", "train_loss", "validation_loss", "ndcg@10", "alpha",
    )  # fmt: skip
    assert table.rows == (
        (2, 1, 18, 7, None, None), (2, 2, 19, 14, None, None), (2, 3, 20, 21, None, None),
        (0, 1, 21, 7, None, None), (0, 2, 22, 14, None, None),
    )  # fmt: skip
    assert curves_table([], "layers", "n", "c") is None


def test_zero_counts_in_a_mean() -> None:
    history = [
        {"layers": 0, "seed": seed, "epoch": 1, "train_loss": value, "alpha": value}
        for seed, value in ((1, 0.0), (2, 1.0))
    ]
    table = curves_table(history, "layers", "n", "c")
    assert table is not None and table["train_loss"] == [0.5] and table["alpha"] == [0.5]


def test_the_trained_models_metrics_by_split_and_metric() -> None:
    metrics = {
        split: {m: 100 * i + j for j, m in enumerate(METRICS)}
        for i, split in enumerate(("validation", "test"))
    }
    table = trained_table(metrics)
    assert table.columns == ("split", "metric", "@5", "@10", "@20", "@50")
    assert table.rows == (
        ("validation", "precision", 0, 1, 2, 3),
        ("validation", "recall", 4, 5, 6, 7),
        ("validation", "NDCG", 8, 9, 10, 11),
        ("test", "precision", 100, 101, 102, 103),
        ("test", "recall", 104, 105, 106, 107),
        ("test", "NDCG", 108, 109, 110, 111),
    )


def test_the_catalogue_in_numbers() -> None:
    summary = {
        "users": 7, "items": 10, "interactions": {"train": 30, "validation": 5, "test": 8},
        "sparsity": 0.4, "cold_items": 1,
    }  # fmt: skip
    assert dataset_table(summary).rows == (
        ("users", 7),
        ("items", 10),
        ("train interactions", 30),
        ("validation interactions", 5),
        ("test interactions", 8),
        ("sparsity", 0.4),
        ("cold items (no training interaction)", 1),
    )


def test_what_became_of_every_modality() -> None:
    summary = {"items": 40, "modalities": {"text": {"items": 30}, "audio": {"items": 0}}}
    embeddings = {
        "text": {"count": "28", "model": "minilm", "width": "384", "license": "MIT",
                 "weights": "bundled", "weights_sha256": "0123456789abcdef"},
        "audio": {"count": "0", "model": "vggish", "width": "128", "license": "BSD"},
    }  # fmt: skip
    table = modalities_table(summary, embeddings, {"text": 2, "audio": 5})
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
    weights = modalities_table(summary, embeddings, {"text": 2, "audio": 5})["weights"][1]
    assert weights == "random initialisation (seed 0), not pretrained; sha256 ffffffffffff…"


def test_a_row_for_every_parameter() -> None:
    parameters = {
        "layers": 2, "train": {"missing": "skip", "early": {"dropout": 0.1}, "weights": []},
        "study": {"seeds": [3, 1]}, "reject": True, "keep": False,
    }  # fmt: skip
    assert parameters_table(parameters).rows == (
        ("layers", "2"),
        ("train.missing", "skip"),
        ("train.early.dropout", "0.1"),
        ("train.weights", ""),
        ("study.seeds", "3 1"),
        ("reject", "true"),
        ("keep", "false"),
    )
