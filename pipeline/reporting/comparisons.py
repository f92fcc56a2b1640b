"""Tables of a study's numbers: system by system, depth by depth, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from model.controls import CONTROLS
from model.metrics import METRICS, SELECTION, Measure
from pipeline.experiments.results import Row
from pipeline.reporting.contrasts import Evidence
from pipeline.reporting.estimates import estimate
from pipeline.reporting.inputs import Inputs
from pipeline.reporting.scores import BASELINE, Scores, Setting
from pipeline.reporting.table import SELECTED_BY, Column, Table, at_depth

ACCURACY = tuple(name for name, metric in METRICS.items() if metric.accuracy)
"""The metrics by which systems are compared: the highest value is the best."""

BEYOND = tuple(name for name, metric in METRICS.items() if not metric.accuracy)
"""What lists are besides accurate; more is not always better."""

PAPER = ("precision", "recall", "ndcg")
"""Those of the paper's tables."""

CURVES: tuple[Column, ...] = ("train_loss", "validation_loss", SELECTION, "alpha")


def measures(scores: Scores, *metrics: str) -> tuple[Measure, ...]:
    """Each metric at every cut-off."""
    return tuple(Measure(metric, k) for metric in metrics for k in scores.ks)


def layers_table(scores: Scores) -> Table:
    """Every metric of every system at every depth, over the seeds."""
    shown = measures(scores, *METRICS)
    return Table(
        "layers",
        f"{scores.split.capitalize()} metrics of each system by depth, mean over seeds",
        ("system", "layers", *shown),
        tuple(
            (system, layers, *(scores.estimate(system, layers, measure) for measure in shown))
            for system, depths in scores.depths.items()
            for layers in depths
        ),
        intervals=False,
    )


def comparison_table(evidence: Evidence, metric: str) -> Table:
    """One metric of each system at its selected depth, over the seeds.

    Bold: of an accuracy, the highest mean of a column and all that users do not tell from it.
    """
    scores = evidence.scores
    shown = measures(scores, metric)
    bold = set()
    if METRICS[metric].accuracy:
        for at, measure in enumerate(shown, 2):
            best = evidence.best(measure)
            bold |= {(row, at) for row, s in enumerate(evidence.selected) if s in best}
    return Table(
        f"comparison-{metric}",
        f"{scores.split.capitalize()} {METRICS[metric].title} at each system's selected depth, "
        "mean over seeds ± half-width of the 95 % interval over seeds",
        ("system", "layers", *shown),
        tuple(
            (s.system, s.layers, *(scores.estimate(s.system, s.layers, m) for m in shown))
            for s in evidence.selected.values()
        ),
        bold=frozenset(bold),
    )


def beyond_table(evidence: Evidence) -> Table:
    """What the lists of each system are besides accurate."""
    shown = tuple(Measure(metric, SELECTION.k) for metric in BEYOND)
    scores = evidence.scores
    return Table(
        "beyond-accuracy",
        f"{scores.split.capitalize()} lists of {SELECTION.k} besides accuracy, mean over seeds. "
        "Coverage: share of the catalogue that somebody is shown; novelty: bits; Gini index: 0 "
        "shows all items alike; popularity: training interactions of what is shown",
        ("system", "layers", *shown),
        tuple(
            (s.system, s.layers, *(scores.estimate(s.system, s.layers, m) for m in shown))
            for s in evidence.selected.values()
        ),
        intervals=False,
    )


def selection_table(evidence: Evidence) -> Table | None:
    """Validation NDCG@10 by depth; bold is the depth that it selects."""
    scores = evidence.scores
    if not scores.validated:
        return None
    depths = sorted({k for of in scores.depths.values() for k in of if k is not None})
    columns: tuple[int | None, ...] = (None, *depths)
    rows, bold = [], set()
    for row, (system, setting) in enumerate(evidence.selected.items()):
        found = [scores.estimate(system, layers, split="validation") for layers in columns]
        rows.append((system, *found))
        bold.add((row, 1 + columns.index(setting.layers)))
    return Table(
        "selection",
        f"Validation {SELECTED_BY} by depth, mean over seeds ± half-width of the 95 % interval. "
        "Bold: the depth that is compared",
        ("system", "no depth", *map(at_depth, depths)),
        tuple(rows),
        bold=frozenset(bold),
    )


def controls_table(evidence: Evidence) -> Table | None:
    """Every system with content as it is, and under each of its controls."""
    scores = evidence.scores
    names = [c for c in CONTROLS if any(c in of for of in scores.controls.values())]

    def cell(setting: Setting, control: str | None) -> Any:
        return scores.estimate(setting.system, setting.layers, control=control)

    return _unless_empty(
        Table(
            "controls",
            f"{scores.split.capitalize()} {SELECTED_BY} of each system at its depth, as it "
            "is and with one thing changed, mean over seeds ± half-width of the 95 % interval",
            ("system", "layers", "itself", *(name.replace("_", " ") for name in names)),
            tuple(
                (s.system, s.layers, cell(s, None), *(cell(s, name) for name in names))
                for s in evidence.selected.values()
                if any(name in scores.controls.get(s.system, ()) for name in names)
            ),
        )
    )


def gains_table(evidence: Evidence) -> Table | None:
    """NDCG@10 less that of `none` at equal depths, paired by seed."""
    scores = evidence.scores
    if BASELINE not in evidence.selected:
        return None
    depths = [k for k in scores.depths[BASELINE] if k is not None]
    columns = tuple(map(at_depth, depths))
    return _unless_empty(
        Table(
            "gains",
            f"{scores.split.capitalize()} {SELECTED_BY} less that of {BASELINE} at equal depth, "
            "paired by seed, mean ± half-width of the 95 % interval over seeds",
            ("system", *columns),
            tuple(
                (system, *(scores.paired(Setting(system, k), Setting(BASELINE, k)) for k in depths))
                for system, setting in evidence.selected.items()
                if system != BASELINE and setting.layers is not None
            ),
            signed=frozenset(columns),
        )
    )


def convergence_table(evidence: Evidence, inputs: Inputs) -> Table | None:
    """When the fits at the selected depths were at their best, and whether they were cut off."""
    rows = []
    for system, setting in evidence.selected.items():
        for control in (None, *evidence.scores.controls.get(system, ())):
            key = (system, setting.layers, control)
            found = [
                m for m in inputs.study.models if (m["system"], m["layers"], m["control"]) == key
            ]
            if max(m["epochs"] for m in found) > 1:
                best = [m["best_epoch"] for m in found]
                rows.append(
                    (
                        system, control or "", setting.layers, fmean(best), max(best),
                        max(m["epochs"] for m in found),
                        sum(m["limited"] for m in found) if inputs.early_stopping else None,
                    )
                )  # fmt: skip
    return _unless_empty(
        Table(
            "convergence",
            "The epoch that validation chose, over seeds, and how many fits ended at the limit of "
            "epochs while they may still have improved: no finding rests on those; – where nothing "
            "stops fits early",
            (
                "system", "control", "layers", "best epoch, mean", "best epoch, latest",
                "epochs, most", "at the limit",
            ),
            tuple(rows),
            decimals=1,
        )
    )  # fmt: skip


def alpha_table(models: Iterable[Row]) -> Table | None:
    """Learned weight of the collaborative embedding by depth; None where no system has one."""
    learned: dict[tuple[str, int | None], list[float]] = {}
    for model in models:
        if model.get("alpha") is not None and model["control"] is None:
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
    ks = sorted({row["k"] for row in results})
    return Table(
        "trained",
        "Metrics of the trained model",
        ("split", "metric", *(f"@{k}" for k in ks)),
        tuple(
            (split, metric.title, *(values.get((split, metric.name, k)) for k in ks))
            for split in dict.fromkeys(row["split"] for row in results)
            for metric in METRICS.values()
        ),
    )


def _mean(rows: Iterable[Row], column: str) -> float | None:
    values = [row[column] for row in rows if row.get(column) is not None]
    return fmean(values) if values else None


def _unless_empty(table: Table) -> Table | None:
    return table if table.rows else None
