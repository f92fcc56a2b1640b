"""A table of the report: what it holds, and how a page and a file show it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from model.metrics import METRICS, SELECTION, Measure
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


@dataclass(frozen=True)
class Table:
    """Rows of values under named columns, as they go to a page and to a CSV file.

    Attributes:
        name: the stem of its file.
        caption: one sentence for the reader.
        columns: their names; measures are grouped by metric on the page.
        rows: one value a column: text, number, `Estimate`, or None.
        compared: the columns whose highest value is set in bold.
        decimals: how many a number has on the page; files hold them in full.
        signed: whether the page shows a plus sign.
        intervals: whether the page shows the half-widths too.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    compared: tuple[Column, ...] = ()
    decimals: int = 4
    signed: bool = False
    intervals: bool = True

    def __getitem__(self, column: Column) -> list[Any]:
        """The values of one column, from top to bottom."""
        index = self.columns.index(column)
        return [row[index] for row in self.rows]

    def where(self, column: Column, *values: Any) -> Table:
        """The rows in which `column` holds one of `values`."""
        index = self.columns.index(column)
        return replace(self, rows=tuple(row for row in self.rows if row[index] in values))

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
    def headings(self) -> list[str]:
        """What stands above each column, below its group."""
        grouped = bool(self.groups)
        return [
            f"@{column.k}" if grouped and isinstance(column, Measure) else str(column)
            for column in self.columns
        ]

    @property
    def bold(self) -> set[tuple[int, int]]:
        """(row, column) of the highest values of the compared columns, all that look equal."""
        cells = set()
        for column in self.compared:
            values = [value for value in self[column] if value is not None]
            if len(values) > 1:
                best = self.text(max(values, key=_number), interval=False)
                index = self.columns.index(column)
                shown = [self.text(value, interval=False) for value in self[column]]
                cells |= {(row, index) for row, text in enumerate(shown) if text == best}
        return cells

    def text(self, value: Any, *, interval: bool = True) -> str:
        """`value` as the page shows it."""
        match value:
            case None:
                return "–"
            case bool():
                return "yes" if value else "no"
            case int():
                return f"{value:,}"
            case float():
                sign = "+" if self.signed else ""
                return f"{value:{sign}.{self.decimals}f}".replace("-", "−")
            case Estimate():
                shown = self.text(value.mean)
                if interval and self.intervals and value.half is not None:
                    shown += f" ± {value.half:.{self.decimals}f}"
                return shown
            case _:
                return str(value)

    def to_arrow(self) -> pa.Table:
        """The columns; an estimate makes two, its mean and its half-width."""
        arrays: dict[str, list[Any]] = {}
        for column in self.columns:
            values = self[column]
            if any(isinstance(value, Estimate) for value in values):
                arrays[f"{column}"] = [value and value.mean for value in values]
                arrays[f"{column} ±"] = [value and value.half for value in values]
            else:
                arrays[f"{column}"] = values
        return pa.table({n: pa.array(v, from_pandas=False) for n, v in arrays.items()})


def _number(value: Any) -> float:
    return float(value.mean if isinstance(value, Estimate) else value)
