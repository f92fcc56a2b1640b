"""Every figure of the report with its caption and, for who cannot see it, its values in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from model.metrics import SELECTION, Measure
from pipeline.experiments.results import Row
from pipeline.reporting import figures
from pipeline.reporting.comparisons import SELECTED, drawable
from pipeline.reporting.scores import BASELINE
from pipeline.reporting.table import SELECTED_BY, Column, Table, at_depth, title


@dataclass(frozen=True)
class Figure:
    """One drawing: `caption` says what is drawn, `alt` what it shows."""

    name: str
    caption: str
    alt: str
    svg: str


def of_gains(gains: Table | None) -> Iterator[Figure]:
    """The gain of every system at the selected depths."""
    if gains:
        yield Figure(
            "gains",
            f"{SELECTED_BY} less that of {BASELINE} at the selected depths, with 95 % intervals",
            _values(gains, SELECTED),
            figures.differences(gains, SELECTED),
        )


def of_comparisons(comparisons: dict[str, Table]) -> Iterator[Figure]:
    """One figure a metric, system by system; then all of them in one. Without tables, none."""
    if not comparisons:
        return
    columns = [Measure(metric, SELECTION.k) for metric in comparisons]
    tables = list(comparisons.values())
    for table, column in reversed(list(zip(tables, columns, strict=True))):
        yield Figure(
            f"bars-{column.metric}",
            f"{title(column)} by system, with 95 % intervals",
            _values(table, column),
            figures.bars(table, column),
        )
    yield Figure(
        "bars-by-system",
        f"The metrics of accuracy at {SELECTION.k}, system by system, with 95 % intervals",
        "; ".join(_values(*each) for each in zip(tables, columns, strict=True)),
        figures.bars_by_system(tables, columns),
    )


def of_depths(layers: Table) -> Iterator[Figure]:
    """The measure that selects, over the depths of every system that has some."""
    deep = layers.where("layers", *(k for k in layers["layers"] if k is not None))
    if deep.rows:
        columns = (deep["system"], deep["layers"], deep[SELECTION])
        shown = "; ".join(
            f"{system} at {at_depth(layers)} {deep.text(value)}"
            for system, layers, value in zip(*columns, strict=True)
        )
        yield Figure(
            "depth",
            f"{SELECTED_BY} by number of propagation layers, with 95 % intervals",
            f"Line chart of {SELECTED_BY}. {shown}",
            figures.depths(deep, SELECTION),
        )


def of_training(curves: Table | None, alpha_curves: Table | None) -> Iterator[Figure]:
    """Losses and validation by epoch, system by system; α, depth by depth."""
    shown: dict[Column, str] = {
        "train_loss": "Training loss (BPR)",
        "validation_loss": "Validation loss (BPR)",
        SELECTION: f"Validation {SELECTED_BY}",
    }
    for column, name in shown.items():
        if table := drawable(curves, column):
            yield Figure(
                f"curves-{_slug(str(column))}",
                f"{name} by epoch",
                f"Line chart. {_ends(table, column)}",
                figures.curves(table, column, name),
            )
    if table := drawable(alpha_curves, "alpha"):
        yield Figure(
            "curves-alpha",
            "Weight α of the collaborative embedding by epoch",
            f"Line chart of α. {_ends(table, 'alpha')}",
            figures.curves(table, "alpha", "α"),
        )


def of_trained(history: list[Row]) -> Iterator[Figure]:
    """The trained model by epoch; a single epoch is no line."""
    if len(history) < 2:
        return
    table = Table("history", "", tuple(history[0]), tuple(tuple(row.values()) for row in history))
    losses = [column for column in ("train_loss", "validation_loss") if column in table.columns]
    if losses:
        yield Figure(
            "trained-losses",
            "The trained model: losses by epoch",
            f"Line chart. After {len(history)} epochs: "
            + ", ".join(f"{c.replace('_', ' ')} {table[c][-1]:.4f}" for c in losses),
            figures.history(table, losses, "Loss (BPR)"),
        )
    ndcg = str(SELECTION)
    if ndcg in table.columns:
        best = max(table[ndcg])
        yield Figure(
            "trained-ndcg",
            f"The trained model: validation {SELECTED_BY} by epoch",
            f"Line chart. Highest value {best:.4f} at epoch {1 + table[ndcg].index(best)} "
            f"of {len(history)}",
            figures.history(table, [ndcg], f"Validation {SELECTED_BY}"),
        )


def _values(table: Table, column: Column) -> str:
    """A chart's values in words."""
    values = zip(table["system"], table[column], strict=True)
    return f"{column}: " + ", ".join(f"{system} {table.text(value)}" for system, value in values)


def _ends(table: Table, column: Column) -> str:
    """Where each curve ends."""
    by = table.columns[0]
    last = {value: table.where(by, value)[column][-1] for value in dict.fromkeys(table[by])}
    return "At the end: " + ", ".join(
        f"{at_depth(value) if by == 'layers' else value} {end:.4f}" for value, end in last.items()
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())
