"""Tables of a study's numbers: system by system, depth by depth, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from model.metrics import KS, METRICS, SELECTION, Measure
from pipeline.experiments.results import Row
from pipeline.reporting.estimates import estimate
from pipeline.reporting.scores import BASELINE, Scores
from pipeline.reporting.table import SELECTED_BY, Column, Table, at_depth

ACCURACY = tuple(name for name, metric in METRICS.items() if metric.accuracy)
"""The metrics by which systems are compared: the highest value is the best."""

CURVES: tuple[Column, ...] = ("train_loss", "validation_loss", SELECTION, "alpha")
SELECTED = "selected depths"


def measures(*metrics: str) -> tuple[Measure, ...]:
    """Each metric at every cut-off."""
    return tuple(Measure(metric, k) for metric in metrics for k in KS)


def layers_table(scores: Scores) -> Table:
    """Every metric of every system at every depth, over the seeds."""
    shown = measures(*METRICS)
    return Table(
        "layers",
        f"{scores.split.capitalize()} metrics of each system by depth, mean over seeds",
        ("system", "layers", *shown),
        tuple(
            (system, layers, *(scores.estimate(system, layers, measure) for measure in shown))
            for system, depths in scores.depths.items()
            for layers in depths
        ),
        compared=measures(*ACCURACY),
        intervals=False,
    )


def comparison_table(scores: Scores, selected: dict[str, int | None], metric: str) -> Table:
    """One metric of each system at its selected depth, over the seeds."""
    shown = measures(metric)
    return Table(
        f"comparison-{metric}",
        f"{scores.split.capitalize()} {METRICS[metric].title} at each system's selected depth, "
        "mean over seeds ± half-width of the 95 % interval",
        ("system", "layers", *shown),
        tuple(
            (system, layers, *(scores.estimate(system, layers, measure) for measure in shown))
            for system, layers in selected.items()
        ),
        compared=shown,
    )


def gains_table(scores: Scores, selected: dict[str, int | None]) -> Table | None:
    """NDCG@10 less that of `none`, paired by seed: at the selected depths, and at equal depths.

    A gain is None where a system was not studied at that depth. There is no table where nothing
    can be compared: `none` or every other system was not studied.
    """
    if BASELINE not in selected:
        return None
    depths = [k for k in scores.depths[BASELINE] if k is not None]
    best = {system: scores.gain(system, k, selected[BASELINE]) for system, k in selected.items()}
    table = Table(
        "gains",
        f"{scores.split.capitalize()} {SELECTED_BY} less that of {BASELINE}, paired by seed, "
        "mean ± half-width of the 95 % interval",
        ("system", SELECTED, *map(at_depth, depths)),
        tuple(
            (system, gain, *(scores.gain(system, layers, layers) for layers in depths))
            for system, gain in best.items()
            if system != BASELINE and gain is not None
        ),
        signed=True,
    )
    return _unless_empty(table)


def alpha_table(models: Iterable[Row]) -> Table | None:
    """Learned weight of the collaborative embedding by depth; None where no system has one."""
    learned: dict[tuple[str, int | None], list[float]] = {}
    for model in models:
        if model.get("alpha") is not None:
            learned.setdefault((model["system"], model["layers"]), []).append(model["alpha"])
    return _unless_empty(
        Table(
            "alpha",
            "Weight α of the collaborative embedding after training (1 − α is the content's), "
            "mean over seeds ± half-width of the 95 % interval",
            ("system", "layers", "alpha"),
            tuple((*key, estimate(values)) for key, values in learned.items()),
        )
    )


def curves_table(history: Iterable[Row], by: str, name: str, caption: str) -> Table | None:
    """Means over seeds, epoch by epoch, of each value of the column `by`.

    A curve ends where its first seed stopped: a mean over fewer seeds would jump.
    """
    lines: dict[Any, dict[int, list[Row]]] = {}
    lengths: dict[Any, dict[int | None, int]] = {}
    for row in history:
        lines.setdefault(row[by], {}).setdefault(row["epoch"], []).append(row)
        of_seeds = lengths.setdefault(row[by], {})
        of_seeds[row["seed"]] = max(row["epoch"], of_seeds.get(row["seed"], 0))
    rows = tuple(
        (value, epoch, *(_mean(epochs.get(epoch, ()), str(column)) for column in CURVES))
        for value, epochs in lines.items()
        for epoch in range(1, min(lengths[value].values()) + 1)
    )
    return _unless_empty(Table(name, caption, (by, "epoch", *CURVES), rows))


def drawable(curves: Table | None, column: Column) -> Table | None:
    """The curves that have at least two values of `column`: one alone is no line."""
    if curves is None:
        return None
    by = curves.columns[0]
    return _unless_empty(
        curves.where(
            by,
            *(
                value
                for value in dict.fromkeys(curves[by])
                if sum(y is not None for y in curves.where(by, value)[column]) > 1
            ),
        )
    )


def trained_table(results: Sequence[Row]) -> Table:
    """Every metric of the model that `train` made, by split."""
    values = {(row["split"], row["metric"], row["k"]): row["value"] for row in results}
    return Table(
        "trained",
        "Metrics of the trained model",
        ("split", "metric", *(f"@{k}" for k in KS)),
        tuple(
            (split, metric.title, *(values.get((split, metric.name, k)) for k in KS))
            for split in dict.fromkeys(row["split"] for row in results)
            for metric in METRICS.values()
        ),
    )


def _mean(rows: Iterable[Row], column: str) -> float | None:
    values = [row[column] for row in rows if row.get(column) is not None]
    return fmean(values) if values else None


def _unless_empty(table: Table) -> Table | None:
    return table if table.rows else None
