"""The report's tables as values: estimates, what is bold, what a cell shows, what is selected."""

from math import sqrt
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from model.metrics import KS, METRICS, SELECTION, Measure, Metric
from pipeline.evidence.significance import Comparison, Interval
from pipeline.reporting.comparisons import (
    alpha_table,
    comparison_table,
    controls_table,
    convergence_table,
    curves_table,
    drawable,
    gains_table,
    layers_table,
    selection_table,
    trained_table,
)
from pipeline.reporting.contrasts import (
    Contrast,
    Evidence,
    ablations_table,
    contrasts_table,
    verdict_of,
)
from pipeline.reporting.descriptions import dataset_table, modalities_table, parameters_table
from pipeline.reporting.estimates import Estimate, estimate
from pipeline.reporting.inputs import Inputs
from pipeline.reporting.scores import Scores, Setting
from pipeline.reporting.table import Table, title

MEASURES = tuple(Measure(metric, k) for metric in METRICS for k in KS)
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
        {"system": system, "control": None, "layers": layers, "seed": seed}
        | {"split": split, "metric": metric, "k": k, "value": number}
        for (split, (metric, k)), number in values.items()
    ]


def scores(*cells: list[Row]) -> Scores:
    return Scores(row for rows in cells for row in rows)


class Users:
    """Stands for `Judgements`: ten users with a mean of the study, apart by what is given.

    Args:
        found: the study.
        apart: system → the users' distances from their mean.
    """

    def __init__(self, found: Scores, apart: dict[str, list[float]] | None = None) -> None:
        self.found, self.apart = found, apart or {}

    def values(self, setting: Setting, measure: Measure = SELECTION) -> np.ndarray:
        mean = self.found.estimate(setting.system, setting.layers, measure, control=setting.control)
        assert mean is not None
        return mean.mean + np.array(self.apart.get(setting.system, [0.0] * 10))


def evidence(found: Scores, *limited: Row, **apart: list[float]) -> Evidence:
    return Evidence(found, Users(found, apart), limited)  # type: ignore[arg-type]


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
    signed = Table("t", "", ("a", "b"), (), signed=frozenset({"a"}), decimals=1)
    assert signed.text(Estimate(0.12, 0.34), column="a") == "+0.1 ± 0.3"
    assert signed.text(-0.12, column="a") == "−0.1" and signed.text(3, column="a") == "3"
    assert signed.text(0.12, column="b") == "0.1"
    assert signed.cells((0.12, 0.12)) == ["+0.1", "0.1"]
    uneven = Interval(0.1, -0.05, 0.2)
    assert table.text(uneven) == "0.1000 [−0.0500, 0.2000]"
    assert table.text(uneven, interval=False) == "0.1000"
    assert signed.text(uneven, column="a") == "+0.1 [−0.1, +0.2]"
    # A metric may say that it needs fewer.
    assert table.text(12.345, column=Measure("popularity", 10)) == "12.3"
    # No p-value is zero.
    assert [table.text(v, column="p, Holm") for v in (0.0, 0.00009, 0.0001, 0.25, None)] == [
        "< 0.0001", "< 0.0001", "0.0001", "0.2500", "–",
    ]  # fmt: skip
    assert table.text(0.00001, column="d_z") == "0.0000"
    assert table.text(0.12345, column=SELECTION) == "0.1235"
    assert Table("t", "", ("a",), (), intervals=False).text(Estimate(0.1, 0.02)) == "0.1000"


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
        ("", 1), ("", 1), *((metric.title, 4) for metric in METRICS.values()),
    ]  # fmt: skip
    assert wide.headings[:4] == ["system", "layers", "@5", "@10"]
    assert table(Measure("ndcg", 5), Measure("recall", 5)).groups == [("NDCG", 1), ("recall", 1)]
    narrow = table("system", *(Measure("ndcg", k) for k in (5, 10)))
    assert narrow.groups == []  # the caption names a single metric
    assert narrow.headings == narrow.labels == ["system", "NDCG@5", "NDCG@10"]
    assert wide.labels[:4] == ["system", "layers", "Precision@5", "Precision@10"]
    assert narrow.to_arrow().column_names == ["system", "ndcg@5", "ndcg@10"]  # a file's are keys
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
    rows = (("a", Interval(0.1, -0.2, 0.3)), ("b", None))
    assert Table("t", "", ("v", "x"), rows).to_arrow().to_pydict() == {
        "v": ["a", "b"], "x": [0.1, None], "x low": [-0.2, None], "x high": [0.3, None],
    }  # fmt: skip
    rows = (("a", None), ("b", Estimate(0.0, 0.0)))
    found = Table("t", "", ("v", "x"), rows).to_arrow()
    assert found.to_pydict() == {"v": ["a", "b"], "x": [None, 0.0], "x ±": [None, 0.0]}


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
    assert scores(*results).selected() == {"none": 1, "alpha": 1}  # the smallest of a tie
    assert scores(*results[::-1]).selected() == {"none": 1, "alpha": 1}


def test_without_validation_the_first_depth_is_taken() -> None:
    depths = (("none", 3), ("none", 2), ("none", 1), ("vbpr", 1), ("vbpr", 3), ("ease", None))
    found = scores(*(cell(system, layers, 1, 0.5, splits=("test",)) for system, layers in depths))
    assert found.selected() == {"none": 3, "vbpr": 1, "ease": None}


def test_controls_are_kept_apart() -> None:
    placebo = [row | {"control": "placebo"} for row in cell("frozen", 2, 1, 0.2)]
    found = scores(cell("frozen", 2, 1, 0.5), placebo)
    assert found.depths == {"frozen": [2]} and found.controls == {"frozen": ["placebo"]}
    assert found.by_seed("frozen", 2) == {1: 0.5}
    assert found.by_seed("frozen", 2, control="placebo") == {1: 0.2}
    setting = Setting("frozen", 2)
    assert found.paired(setting, setting.under("placebo")) == Estimate(pytest.approx(0.3), None)
    assert found.paired(setting, setting.under("no_content")) is None


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
    assert not table.bold and not table.intervals
    assert table.caption.startswith("Test metrics")
    for metric in ("precision", "recall", "map"):
        table = comparison_table(evidence(results), metric)
        assert table.name == f"comparison-{metric}"
        assert table.columns == ("system", "layers", *(Measure(metric, k) for k in KS))
        assert [row[:2] for row in table.rows] == [("none", 0), ("alpha", 0)]  # they tie
        assert table.intervals
    assert table.to_arrow().column_names[2:5] == ["map@5", "map@5 ±", "map@10"]


def test_bold_are_the_best_and_those_that_users_do_not_tell_from_it() -> None:
    means = {"a": 0.2, "b": 0.3, "c": 0.1, "d": 0.3001}
    found = scores(*(cell(system, 0, 1, value) for system, value in means.items()))
    # Users differ from one another more than `b` from `d`, less than these from all others.
    noise = [0.02, -0.02] * 5
    table = comparison_table(evidence(found, b=noise), "ndcg")
    assert table.bold == {(row, column) for row in (1, 3) for column in (2, 3, 4, 5)}
    # Without noise, every user tells `d` from `b`.
    assert {row for row, _ in comparison_table(evidence(found), "ndcg").bold} == {3}
    # One system alone is compared with nothing; coverage is no contest.
    alone = scores(cell("a", 0, 1, 0.2))
    assert not comparison_table(evidence(alone), "ndcg").bold
    assert not comparison_table(evidence(found), "coverage").bold


def test_selection_shows_validation_by_depth() -> None:
    found = scores(
        cell("none", 0, 1, 0.5, selects=0.1), cell("none", 3, 1, 0.4, selects=0.2),
        cell("ease", None, None, 0.5, selects=0.3),
    )  # fmt: skip
    table = selection_table(evidence(found))
    assert table is not None and table.columns == ("system", "no depth", "K = 0", "K = 3")
    assert table.rows == (
        ("none", None, Estimate(0.1, None), Estimate(0.2, None)),
        ("ease", Estimate(0.3, None), None, None),
    )
    assert table.bold == {(0, 3), (1, 1)}
    assert selection_table(evidence(scores(cell("none", 0, 1, 0.5, splits=("test",))))) is None


def test_controls_that_nobody_has_are_no_column() -> None:
    rows = [
        [row | {"control": control} for row in cell(system, 2, 1, value)]
        for system, control, value in (
            ("frozen", None, 0.5), ("frozen", "only_text", 0.3), ("frozen", "placebo", 0.2),
            ("none", None, 0.1), ("alpha", None, 0.4), ("alpha", "unit_length", 0.6),
        )
    ]  # fmt: skip
    table = controls_table(evidence(scores(*rows)))
    assert table is not None
    assert table.columns == ("system", "layers", "itself", "placebo", "unit length")
    assert [[table.text(value) for value in row] for row in table.rows] == [
        ["frozen", "2", "0.5000", "0.2000", "–"],
        ["alpha", "2", "0.4000", "–", "0.6000"],
    ]
    assert controls_table(evidence(scores(cell("none", 0, 1, 0.5)))) is None
    assert controls_table(evidence(scores(*rows[:2]))) is None  # an ablation is no control


def test_ablations_are_less_the_system_itself_each_family_a_systems_own() -> None:
    level = {None: 0.5, "placebo": 0.1, "only_text": 0.3, "aggregate_mean": 0.5}
    level |= {"aggregate_sum": 0.6, "without_gate": 0.5}
    rows = [
        [row | {"control": control} for row in cell(system, 2, seed, value + 0.001 * seed)]
        for system in ("frozen", "alpha")
        for control, value in level.items()
        for seed in (1, 2)
        if system == "frozen" or control in (None, "only_text", "placebo")
    ]
    limited = fit("alpha", 2, 1, control="only_text", limited=True)
    found = evidence(scores(*rows, cell("none", 2, 1, 0.1)), limited)
    table = ablations_table(found, "mean")  # which the systems have anyway
    assert table is not None and table.columns == (
        "system", "layers", "changed", "NDCG@10", "difference (users)", "difference (seeds)",
        "p, Holm", "verdict",
    )  # fmt: skip
    assert [(*row[:3], row[-1]) for row in table.rows] == [
        ("frozen", 2, "only text", "lower"),
        ("frozen", 2, "aggregate sum", "higher"),
        ("frozen", 2, "without gate", "undecided"),
        ("alpha", 2, "only text", "limited"),
    ]
    assert table["NDCG@10"] == pytest.approx([0.3015, 0.6015, 0.5015, 0.3015])
    assert [d.mean for d in table["difference (users)"]] == pytest.approx([-0.2, 0.1, 0, -0.2])
    assert [d.mean for d in table["difference (seeds)"]] == pytest.approx([-0.2, 0.1, 0, -0.2])
    # Of 2^10 signs, two put ten equal differences as far from zero.
    p = 2 / 2**10
    assert table["p, Holm"] == pytest.approx([3 * p, 3 * p, 1, p])
    assert [row[2] for row in ablations_table(found, "sum").rows][:2] == [
        "only text", "aggregate mean",
    ]  # fmt: skip
    assert ablations_table(evidence(scores(cell("none", 2, 1, 0.1))), "mean") is None


def test_a_metric_more_needs_no_edit_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "auc", Metric("auc", "AUC", True, abs))
    row = cell("none", 0, 1, 0.75)[0] | {"split": "test", "metric": "auc", "k": 5, "value": 0.75}
    results = [*cell("none", 0, 1, 0.5), row]
    table = layers_table(Scores(results))
    assert table[Measure("auc", 5)] == [Estimate(0.75, None)]
    assert table.groups[-1] == ("AUC", 4)
    assert ("test", "AUC", 0.75, None, None, None) in trained_table(results).rows


def test_gains_pair_the_seeds() -> None:
    base = {1: 0.1, 2: 0.5, 3: 0.9}
    differences = {1: 0.01, 2: 0.02, 3: 0.06}
    results = [cell("none", 0, seed, base[seed]) for seed in (1, 2, 3)]
    # Another order of seeds, and a seed that the baseline lacks.
    results += [cell("alpha", 0, seed, base[seed] + differences[seed]) for seed in (3, 1, 2)]
    results += [cell("alpha", 0, 4, 99.0)]
    table = gains_table(evidence(scores(*results)))
    assert table is not None and table.columns == ("system", "K = 0")
    sample = np.array(list(differences.values()))
    interval = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    (gain,) = table["K = 0"]
    assert gain.mean == pytest.approx(0.03)
    assert (gain.low, gain.high) == pytest.approx((interval.low, interval.high))
    assert table.signed == {"K = 0"}
    for system in ("none", "alpha"):
        alone = scores(*(rows for rows in results if rows[0]["system"] == system))
        assert gains_table(evidence(alone)) is None


def test_gains_of_systems_without_depth_or_seed() -> None:
    base = {0: (0.1, 0.2, 0.6), 2: (0.2, 0.3, 0.4)}
    results = [cell("none", k, seed, v) for k, of in base.items() for seed, v in enumerate(of)]
    results += [cell("ease", None, None, 0.5)]
    results += [cell("vbpr", None, seed, v) for seed, v in enumerate((0.3, 0.3, 0.9))]
    results += [cell("alpha", 2, seed, 0.7) for seed in range(3)]
    found = scores(*results)
    assert found.depths == {"none": [0, 2], "ease": [None], "vbpr": [None], "alpha": [2]}
    base = Setting("none", 0)
    # 0.4, 0.3, -0.1: mean 0.2, standard deviation sqrt(0.07), t quantile 4.302653.
    ease = found.paired(Setting("ease", None), base)
    assert ease is not None and ease.mean == pytest.approx(0.2)
    assert ease.half == pytest.approx(4.302653 * sqrt(0.07) / sqrt(3), rel=1e-6)
    # 0.2, 0.1, 0.3: mean 0.2, standard deviation 0.1.
    vbpr = found.paired(Setting("vbpr", None), base)
    assert vbpr is not None and vbpr.mean == pytest.approx(0.2)
    assert vbpr.half == pytest.approx(4.302653 * 0.1 / sqrt(3), rel=1e-6)
    table = gains_table(evidence(found))
    assert table is not None and table.columns == ("system", "K = 0", "K = 2")
    assert table["system"] == ["alpha"]  # no depth of the others equals one of `none`
    assert table["K = 0"] == [None] and table["K = 2"][0].mean == pytest.approx(0.4)
    file = table.to_arrow().to_pydict()
    assert file["K = 0"] == [None] and file["K = 2 ±"] == [pytest.approx(4.302653 * 0.1 / sqrt(3))]


def test_two_systems_without_seeds_have_a_gain_without_interval() -> None:
    none, ease = Setting("none", 0), Setting("ease", None)
    found = scores(cell("none", 0, None, 0.2), cell("ease", None, None, 0.5))
    assert found.paired(ease, none) == Estimate(pytest.approx(0.3), None)
    # The other way round: every seed less the one value.
    found = scores(cell("none", 0, None, 0.2), cell("alpha", 0, 1, 0.3), cell("alpha", 0, 2, 0.5))
    table = gains_table(evidence(found))
    assert table is not None and table["K = 0"][0].mean == pytest.approx(0.2)
    assert table["K = 0"][0].half == pytest.approx(12.7062 * 0.1, rel=1e-5)


def test_tables_of_systems_without_depth() -> None:
    found = scores(cell("none", 0, 1, 0.2), cell("none", 0, 2, 0.4), cell("ease", None, None, 0.5))
    for table in (layers_table(found), comparison_table(evidence(found), "ndcg")):
        assert [row[:2] for row in table.rows] == [("none", 0), ("ease", None)]
        assert table[SELECTION][1] == Estimate(0.5, None)
        assert table.to_arrow()["layers"].to_pylist() == [0, None]


def test_gains_are_of_validation_where_there_is_no_test() -> None:
    found = scores(
        cell("none", 0, 1, 0.0, selects=0.2, splits=("validation",)),
        cell("alpha", 0, 1, 0.0, selects=0.8, splits=("validation",)),
    )
    table = gains_table(evidence(found))
    assert table is not None and table.caption.startswith("Validation")
    assert table["K = 0"][0].mean == pytest.approx(0.6) and table["K = 0"][0].half is None


def test_alpha_by_system_and_depth() -> None:
    models: list[Row] = [{"system": "none", "control": None, "layers": 0, "seed": 1}]
    models += [
        # 0 is a value too.
        {
            "system": system,
            "control": None,
            "layers": layers,
            "seed": seed,
            "alpha": 0.1 * layers + 0.01 * (seed - 1),
        }
        for system in ("alpha", "normalized")
        for layers in (0, 2)
        for seed in (1, 2)
    ]
    models += [models[0] | {"system": "equal", "alpha": None}]
    models += [models[1] | {"control": "placebo", "alpha": 0.9}]
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
    assert table.rows == tuple(
        (split, metric.title, *range(100 * i + 4 * j, 100 * i + 4 * j + 4))
        for i, split in enumerate(("validation", "test"))
        for j, metric in enumerate(METRICS.values())
    )
    assert table.rows[2] == ("validation", "NDCG", 8, 9, 10, 11)


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
        "systems": {"vbpr": {"layers": 1}, "early": {"dropout": 0.1}},
    }  # fmt: skip
    assert parameters_table(parameters, ["none", "early"]).rows == (
        ("layers", "2"),
        ("train.missing", "skip"),
        ("train.early.dropout", "0.1"),
        ("train.weights", "[]"),
        ("study.seeds", "3 1"),
        ("reject", "true"),
        ("keep", "false"),
        ("min", "null"),
        ("systems.early.dropout", "0.1"),  # of the systems, those that ran
    )


def fit(system: str, layers: int | None, seed: int, **more: Any) -> Row:
    key = {"system": system, "control": None, "layers": layers, "seed": seed}
    return key | {"best_epoch": 3, "epochs": 5, "limited": False} | more


def test_when_fits_were_at_their_best() -> None:
    found = scores(
        cell("none", 0, 1, 0.5), cell("none", 2, 1, 0.4), cell("ease", None, 1, 0.5),
        cell("frozen", 2, 1, 0.5), [r | {"control": "placebo"} for r in cell("frozen", 2, 1, 0.1)],
    )  # fmt: skip
    models = [
        fit("none", 0, 1), fit("none", 0, 2, best_epoch=8, epochs=9, limited=True),
        fit("none", 2, 1, best_epoch=99, epochs=99), fit("ease", None, 1, best_epoch=1, epochs=1),
        fit("frozen", 2, 1), fit("frozen", 2, 1, control="placebo", best_epoch=4),
    ]  # fmt: skip
    table = convergence_table(evidence(found), made_with(models))
    assert table is not None and table.rows == (
        ("none", "", 0, 5.5, 8, 9, 1),
        ("frozen", "", 2, 3, 3, 5, 0),
        ("frozen", "placebo", 2, 4, 4, 5, 0),
    )
    # Where nothing stops fits early, each ends at its last epoch: that says nothing.
    endless = convergence_table(evidence(found), made_with(models, early_stopping=False))
    assert endless is not None and endless["at the limit"] == [None] * 3
    assert endless["best epoch, latest"] == table["best epoch, latest"]
    one = evidence(scores(cell("ease", None, 1, 0.5)))
    assert convergence_table(one, made_with(models)) is None


def made_with(models: list[Row], early_stopping: bool = True) -> Inputs:
    """What the table of convergence reads of a report's inputs."""
    made: Any = SimpleNamespace(study=SimpleNamespace(models=models), early_stopping=early_stopping)
    return made


@pytest.mark.parametrize(
    ("protocol", "validation", "stops"),
    [("validated", 5, True), ("validated", 0, False), ("published", 5, False), ("refit", 5, True)],
)
def test_fits_stop_early_on_validation_alone(protocol: str, validation: int, stops: bool) -> None:
    assert under(protocol, validation).early_stopping is stops


@pytest.mark.parametrize(
    ("protocol", "validation", "refitted"),
    [("refit", 5, True), ("refit", 0, False), ("validated", 5, False), ("published", 5, False)],
)
def test_there_is_a_refit_where_it_is_asked_for_and_there_is_more_to_fit(
    protocol: str, validation: int, refitted: bool
) -> None:
    assert under(protocol, validation).refitted is refitted


def under(protocol: str, validation: int) -> Inputs:
    """What a report's inputs say of a protocol and of a number of validation interactions."""
    made = object.__new__(Inputs)
    summary = {"interactions": {"train": 9, "validation": validation}}
    vars(made).update(params=SimpleNamespace(protocol=protocol), summary=summary)
    return made


@pytest.mark.parametrize(("system", "encoded", "reads"), [
    ("frozen", 3, True), ("frozen", 0, False), ("none", 3, False),
])  # fmt: skip
def test_nobody_reads_content_that_no_item_has(system: str, encoded: int, reads: bool) -> None:
    known = {"frozen": SimpleNamespace(content=True), "none": SimpleNamespace(content=False)}
    made: Any = SimpleNamespace(
        params=SimpleNamespace(systems=known),
        embeddings={"text": {"count": str(encoded)}, "audio": {"count": "0"}},
    )
    assert Inputs.reads_content(made, system) is reads


def contrast(
    difference: float, adjusted: float, seeds: Estimate | None, limited: bool = False
) -> Contrast:
    users = Comparison(9, difference, difference, difference, 0, 0, adjusted, None, 1, 0)
    setting = Setting("frozen", 2)
    return Contrast(setting, Setting("none", 2), 0.5, 0.5, users, seeds, limited, 0.1)


@pytest.mark.parametrize(
    ("difference", "adjusted", "seeds", "verdict"),
    [
        (0.1, 0.049, Estimate(0.1, 0.09), "higher"),
        (-0.1, 0.049, Estimate(-0.1, 0.09), "lower"),
        (0.1, 0.05, Estimate(0.1, 0.09), "undecided"),  # users do not tell
        (0.1, 0.001, Estimate(0.1, 0.11), "undecided"),  # seeds do not
        (-0.1, 0.001, Estimate(-0.1, 0.11), "undecided"),
        (0.1, 0.001, Estimate(0.1, 0.1), "undecided"),  # an interval that touches zero
        (0.1, 0.001, Estimate(0.1, None), "higher"),  # one seed
        (-0.1, 0.001, None, "lower"),  # seeds that cannot be paired
    ],
)
def test_a_verdict_takes_users_and_seeds(
    difference: float, adjusted: float, seeds: Estimate | None, verdict: str
) -> None:
    one = contrast(difference, adjusted, seeds)
    assert one.verdict == verdict_of(one.users, seeds) == verdict
    assert contrast(difference, adjusted, seeds, limited=True).verdict == "limited"


def test_either_sides_fit_at_its_limit_limits_a_contrast() -> None:
    found = scores(
        *(cell(system, 0, 1, value) for system, value in (("none", 0.1), ("alpha", 0.5)))
    )
    for models, verdict in (
        ([], "higher"),
        ([fit("none", 0, 1, limited=True)], "limited"),
        ([fit("alpha", 0, 2, limited=True)], "limited"),
        ([fit("alpha", 1, 1, limited=True)], "higher"),  # another depth
        ([fit("alpha", 0, 1, limited=True, control="placebo")], "higher"),
    ):
        (one,) = evidence(found, *models).against("none")
        assert (one.setting.system, one.verdict) == ("alpha", verdict)
    assert evidence(found).against("vbpr") == [] and evidence(found).under("placebo") == []


def test_a_contrast_says_what_its_family_would_find() -> None:
    noise = {s: [float(x) for x in np.random.default_rng(n).normal(size=10) / 100]
             for n, s in enumerate(("alpha", "early", "frozen"))}  # fmt: skip
    found = scores(*(cell(system, 0, 1, 0.5) for system in ("none", *noise)))
    contrasts = evidence(found, **noise).against("none")
    for one in contrasts:
        deviation = np.std(noise[one.setting.system], ddof=1)
        quantiles = stats.t.ppf(1 - 0.05 / 3 / 2, 9) + stats.t.ppf(0.8, 9)  # of three, by Holm
        assert one.detectable == pytest.approx(quantiles * deviation / sqrt(10))
    table = contrasts_table("against-none", "c", "none", contrasts)
    assert table is not None and table.columns == (
        "system", "verdict", "layers", "NDCG@10", "none", "difference (users)",
        "difference (seeds)", "p, Holm", "p, sign flips", "p, t", "d_z", "users who gain",
        "users who lose",
    )  # fmt: skip
    assert contrasts_table("against-none", "c", "none", []) is None


def gaps_of(
    first: dict[int, float], last: dict[int, float], noise: float = 0.0
) -> tuple[tuple[float, float], str, float]:
    """Of `alpha` and `early` above `none` at K = 0 and K = 2: the gaps of each seed.

    Args:
        first, last: seed → the mean gap; one system is as far above it as the other below.
        noise: users' distances from the mean gap at K = 0.
    """
    cells = []
    for k, gap in ((0, first), (2, last)):
        for seed, value in gap.items():
            base = 0.1 * seed + 0.2 * k
            cells += [cell("none", k, seed, base), cell("alpha", k, seed, base + value - 0.05)]
            cells += [cell("early", k, seed, base + value + 0.05)]
    found = scores(*cells)

    class Apart(Users):
        def values(self, setting: Setting, measure: Measure = SELECTION) -> np.ndarray:
            apart = np.array([noise, -noise] * 5) if setting.layers == 0 else 0
            return super().values(setting, measure) + apart * (setting.system != "none")

    return Evidence(found, Apart(found), []).gaps(["alpha", "early"], (0, 2))  # type: ignore[arg-type]


def test_gaps_are_means_over_systems_at_both_depths() -> None:
    means, verdict, p = gaps_of({1: 0.3, 2: 0.32, 3: 0.34}, {1: 0.1, 2: 0.11, 3: 0.12})
    assert means == pytest.approx((0.32, 0.11))
    # Seeds are paired: 0.20, 0.21, 0.22; all ten users agree.
    assert verdict == "higher" and p == pytest.approx(2 / 2**10)
    means, verdict, _ = gaps_of({1: -0.1, 2: -0.1}, {1: 0.1, 2: 0.1})
    assert means == pytest.approx((-0.1, 0.1)) and verdict == "lower"


def test_users_and_seeds_both_tell_which_gap_is_larger() -> None:
    clear, equal = {1: 0.3, 2: 0.31, 3: 0.32}, dict.fromkeys((1, 2, 3), 0.1)
    assert gaps_of(clear, equal)[1] == "higher"
    assert gaps_of({1: 0.9, 2: 0.05, 3: 0.05}, equal)[1] == "undecided"  # a seed's doing
    means, verdict, p = gaps_of(clear, equal, noise=2.0)  # users'
    assert (verdict, means) == ("undecided", pytest.approx((0.31, 0.1))) and p > 0.05
    assert gaps_of({1: 0.3}, {1: 0.1})[1] == "higher"  # one seed has no interval
