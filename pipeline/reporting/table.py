"""A table of the report: what it holds, and how a page and a file show it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from model.metrics import METRICS, SELECTION, Measure
from pipeline.evidence.significance import Interval
from pipeline.reporting.estimates import Estimate

Column = str | Measure


def title(measure: Measure) -> str:
    """A measure as people call it, such as NDCG@10."""
    name = METRICS[measure.metric].title
    return f"{name[:1].upper()}{name[1:]}@{measure.k}"


SELECTED_BY = title(SELECTION)


def at_depth(layers: int | None) -> str:
    """A depth as people call it; a system without one has nothing to be called."""
    return "" if layers is None else f"K = {layers}"


LEAST = 0.0001  # that a p-value is shown as


@dataclass(frozen=True)
class Table:
    """Rows of values under named columns, as they go to a page and to a CSV file.

    Attributes:
        name: the stem of its file.
        caption: one sentence for the reader.
        columns: their names; measures are grouped by metric on the page.
        rows: one value a column: text, number, `Estimate`, or None.
        bold: (row, column) of the cells that are set in bold; the caption says why.
        decimals: how many a number has on the page, where its metric says nothing else; files hold
            all of them.
        signed: the columns that show a plus sign on the page.
        intervals: whether the page shows the half-widths too.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()
    decimals: int = 4
    signed: frozenset[Column] = frozenset()
    intervals: bool = True

    def __getitem__(self, column: Column) -> list[Any]:
        """The values of one column, from top to bottom."""
        index = self.columns.index(column)
        return [row[index] for row in self.rows]

    def where(self, column: Column, *values: Any) -> Table:
        """The rows in which `column` holds one of `values`."""
        index = self.columns.index(column)
        return replace(self, rows=tuple(row for row in self.rows if row[index] in values))

    def only(self, *columns: Column) -> Table:
        """Those columns alone, in that order."""
        at = [self.columns.index(column) for column in columns]
        rows = tuple(tuple(row[i] for i in at) for row in self.rows)
        return replace(self, columns=columns, rows=rows)

    def without(self, column: Column) -> Table:
        """All columns but one."""
        index = self.columns.index(column)
        return replace(
            self,
            columns=self.columns[:index] + self.columns[index + 1 :],
            rows=tuple(row[:index] + row[index + 1 :] for row in self.rows),
        )

    @property
    def left(self) -> list[bool]:
        """Which columns hold text, and so align left."""
        return [all(isinstance(v, str) for v in self[column]) for column in self.columns]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Neighbouring measures by metric: (its title, how many); other columns stand apart.

        A single metric makes no group, since the caption names it.
        """
        groups: list[tuple[str, int]] = []
        for column in self.columns:
            metric = METRICS[column.metric].title if isinstance(column, Measure) else ""
            if metric and groups and groups[-1][0] == metric:
                groups[-1] = (metric, groups[-1][1] + 1)
            else:
                groups.append((metric, 1))
        return groups if sum(metric != "" for metric, _ in groups) > 1 else []

    @property
    def labels(self) -> list[str]:
        """What each column is called where nothing stands above it."""
        return [title(c) if isinstance(c, Measure) else c for c in self.columns]

    @property
    def headings(self) -> list[str]:
        """What stands above each column, below its group."""
        grouped = bool(self.groups)
        return [
            (f"@{column.k}" if grouped else title(column))
            if isinstance(column, Measure)
            else column
            for column in self.columns
        ]

    def text(self, value: Any, *, column: Column = "", interval: bool = True) -> str:
        """`value` of a column as the page shows it."""
        decimals = self.decimals
        if isinstance(column, Measure):
            decimals = METRICS[column.metric].decimals
        elif column.startswith("p, ") and value is not None and value < LEAST:
            return f"< {LEAST}"

        def number(x: float) -> str:
            sign = "+" if column in self.signed else ""
            return f"{x:{sign}.{decimals}f}".replace("-", "−")

        match value:
            case None:
                return "–"
            case bool():
                return "yes" if value else "no"
            case int():
                return f"{value:,}"
            case float():
                return number(value)
            case Estimate():
                shown = number(value.mean)
                if interval and self.intervals and value.half is not None:
                    shown += f" ± {value.half:.{decimals}f}"
                return shown
            case Interval():
                shown = number(value.mean)
                if interval and self.intervals:
                    shown += f" [{number(value.low)}, {number(value.high)}]"
                return shown
            case _:
                return str(value)

    def cells(self, row: tuple[Any, ...], *, interval: bool = True) -> list[str]:
        """A row as the page shows it."""
        pairs = zip(row, self.columns, strict=True)
        return [self.text(value, column=column, interval=interval) for value, column in pairs]

    def to_arrow(self) -> pa.Table:
        """The columns; an estimate makes two, its mean and its half-width, an interval three."""
        arrays: dict[str, list[Any]] = {}
        for column in self.columns:
            values = self[column]
            if any(isinstance(value, Interval) for value in values):
                arrays[f"{column}"] = [value and value.mean for value in values]
                arrays[f"{column} low"] = [value and value.low for value in values]
                arrays[f"{column} high"] = [value and value.high for value in values]
            elif any(isinstance(value, Estimate) for value in values):
                arrays[f"{column}"] = [value and value.mean for value in values]
                arrays[f"{column} ±"] = [value and value.half for value in values]
            else:
                arrays[f"{column}"] = values
        return pa.table({n: pa.array(v, from_pandas=False) for n, v in arrays.items()})
