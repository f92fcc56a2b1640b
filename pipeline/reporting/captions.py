"""Every figure of the report with its caption and, for who cannot see it, its values in words."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from model.metrics import SELECTION, Measure
from pipeline.experiments.results import Row
from pipeline.reporting import figures
from pipeline.reporting.comparisons import drawable
from pipeline.reporting.contrasts import DIFFERENCE
from pipeline.reporting.sections import Figure
from pipeline.reporting.table import SELECTED_BY, Column, Table, at_depth, title


def of_contrasts(name: str, table: Table | None, what: str) -> Iterator[Figure]:
    """Differences with their intervals over users."""
    if table:
        verdicts = zip(table["system"], table["verdict"], strict=True)
        told = {system for system, verdict in verdicts if verdict in ("higher", "lower")}
        yield Figure(
            name,
            f"{what}, with 95 % intervals over users",
            _values(table, DIFFERENCE),
            figures.differences(table, DIFFERENCE, what, told=told),
        )


def of_sparsity(table: Table | None) -> Iterator[Figure]:
    """A gain over the lengths of histories."""
    if table:
        column = table.columns[2]
        yield Figure(
            "gain-by-history",
            f"{SELECTED_BY}, {column}, by training interactions, with 95 % intervals over users",
            _values(table, column),
            figures.differences(table, column, f"{SELECTED_BY}: {column}", falling=False),
        )


def of_comparisons(comparisons: dict[str, Table], content: Collection[str]) -> Iterator[Figure]:
    """One figure a metric, system by system; then all of them in one. Without tables, none.

    Args:
        content: the systems that read content.
    """
    if not comparisons:
        return
    columns = [Measure(metric, SELECTION.k) for metric in comparisons]
    tables = list(comparisons.values())
    for table, column in reversed(list(zip(tables, columns, strict=True))):
        yield Figure(
            f"bars-{column.metric}",
            f"{title(column)} by system, with 95 % intervals over seeds; filled: with content",
            _values(table, column),
            figures.bars(table, column, content),
        )
    yield Figure(
        "bars-by-system",
        f"Metrics at {SELECTION.k}, system by system, with 95 % intervals over seeds",
        "; ".join(_values(*each) for each in zip(tables, columns, strict=True)),
        figures.bars_by_system(tables, columns),
    )


def of_depths(layers: Table) -> Iterator[Figure]:
    """The measure that selects, over the depths of every system that has some."""
    deep = layers.where("layers", *(k for k in layers["layers"] if k is not None))
    if deep.rows:
        columns = (deep["system"], deep["layers"], deep[SELECTION])
        shown = "; ".join(
            f"{system} at {at_depth(layers)} {deep.text(value, column=SELECTION)}"
            for system, layers, value in zip(*columns, strict=True)
        )
        yield Figure(
            "depth",
            f"{SELECTED_BY} by number of propagation layers, with 95 % intervals",
            f"Line chart of {SELECTED_BY}. {shown}",
            figures.depths(deep, SELECTION),
        )


def of_training(curves: Table | None, alpha_curves: Table | None, loss: str) -> Iterator[Figure]:
    """Losses and validation by epoch, system by system; α, depth by depth."""
    lost = [c for c in ("train_loss", "validation_loss") if drawable(curves, c)]
    if lost and (table := drawable(curves, lost[0])):
        yield Figure(
            "curves-losses",
            f"Losses ({loss}) by epoch",
            f"Line chart. {_ends(table, lost[0])}",
            figures.losses(table, lost, f"Loss ({loss})"),
        )
    if table := drawable(curves, SELECTION):
        yield Figure(
            "curves-ndcg-10",
            f"Validation {SELECTED_BY} by epoch",
            f"Line chart. {_ends(table, SELECTION)}",
            figures.curves(table, SELECTION, f"Validation {SELECTED_BY}"),
        )
    if table := drawable(alpha_curves, "alpha"):
        yield Figure(
            "curves-alpha",
            "Weight α of the collaborative embedding by epoch",
            f"Line chart of α. {_ends(table, 'alpha')}",
            figures.curves(table, "alpha", "α"),
        )


def of_trained(history: list[Row], loss: str) -> Iterator[Figure]:
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
            figures.history(table, losses, f"Loss ({loss})"),
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
    values = zip(table[table.columns[0]], table[column], strict=True)
    shown = (f"{name} {table.text(value, column=column)}" for name, value in values)
    return f"{column}: " + ", ".join(shown)


def _ends(table: Table, column: Column) -> str:
    """Where each curve ends."""
    by = table.columns[0]
    last = {value: table.where(by, value)[column][-1] for value in dict.fromkeys(table[by])}
    return "At the end: " + ", ".join(
        f"{at_depth(value) if by == 'layers' else value} {end:.4f}" for value, end in last.items()
    )
