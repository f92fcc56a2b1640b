"""The report's figures, drawn from its tables as SVG: panels that a page can lay out.

Equal tables give equal bytes. No figure relies on colour: names stand beside what they name, and
where many lines would cross, each has a panel of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from math import ceil, nan
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from model.metrics import Measure
from pipeline.reporting.estimates import Estimate
from pipeline.reporting.svg import (
    INK,
    LINES,
    NARROW,
    PALETTE,
    PAPER,
    PX,
    TEXT,
    WIDE,
    canvas,
    styled,
    svg_of,
)  # fmt: skip
from pipeline.reporting.table import Column, Table, at_depth, title

LONGEST = 14  # letters in a line of a panel's title
CONTEXT_POINTS = 40  # of a line that only stands behind others


@styled
def bars(table: Table, column: Measure, content: Collection[str] | None = None) -> str:
    """One bar a system with its interval and value, the highest first.

    Args:
        content: the systems whose bars are filled, because they read content; None fills all.
    """
    figure, axes = _rows(table, column)
    for y, (system, value) in enumerate(_named(table, column, True)):
        filled = content is None or system in content
        axes.barh(
            y, value.mean, 0.66, xerr=value.half, ecolor=INK, linewidth=1.2,
            color=PALETTE[0] if filled else "none", edgecolor=PALETTE[0],
            error_kw={"elinewidth": 1},
        )  # fmt: skip
    label = f"{title(column)}, mean over seeds"
    if content is not None:
        label += "\nfilled: with content, hollow: without"
    figure.supxlabel(label, fontsize=TEXT * PX)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(left=0)
    return svg_of(figure)


@styled
def differences(
    table: Table,
    column: Column,
    label: str,
    *,
    told: Collection[str] | None = None,
    falling: bool = True,
) -> str:
    """Each row's difference as a point with its interval; zero is marked.

    Args:
        label: what the differences are of.
        told: the rows whose points are filled; None fills those whose interval excludes 0.
        falling: whether the highest comes first; else the table's order is kept.
    """
    figure, axes = _rows(table, column, falling)
    for y, (name, value) in enumerate(_named(table, column, falling)):
        clear = value.half is not None and (value.low > 0 or value.high < 0)
        if told is not None:
            clear = name in told
        reach = [[value.mean - value.low], [value.high - value.mean]]
        axes.errorbar(
            value.mean, y, xerr=None if value.half is None else reach, color=PALETTE[0],
            marker="o", markersize=6, markerfacecolor=PALETTE[0] if clear else PAPER,
            elinewidth=1.8, capsize=3,
        )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1)
    filled = "the interval excludes 0" if told is None else "told apart (see the verdicts)"
    figure.supxlabel(f"{label}\nfilled: {filled}", fontsize=TEXT * PX)
    return svg_of(figure)


@styled
def bars_by_system(tables: Sequence[Table], columns: Sequence[Measure]) -> str:
    """A panel a system, in it one bar a metric with its interval: `columns[i]` of `tables[i]`."""
    systems, metrics = tables[0]["system"], [title(column) for column in columns]
    figure, panels = _panels(len(systems), 40 + 19 * len(metrics))
    values = [table[column] for table, column in zip(tables, columns, strict=True)]
    highest = max(value.high for of_metric in values for value in of_metric)
    for x, (axes, system) in enumerate(zip(panels, systems, strict=True)):
        for y, (table, of_metric) in enumerate(zip(tables, values, strict=True)):
            value = of_metric[x]
            axes.barh(
                y, value.mean, 0.7, xerr=value.half, ecolor=INK, linewidth=0,
                color=PALETTE[y % len(PALETTE)], error_kw={"elinewidth": 1},
            )  # fmt: skip
            shown = table.text(value, column=columns[y], interval=False)
            axes.text(value.high + 0.04 * highest, y, shown, va="center")
        _name(axes, system)
        axes.set_yticks(range(len(metrics)), metrics)
        axes.set_ylim(len(metrics) - 0.5, -0.5)
        axes.set_xlim(0, 1.6 * highest or 1)  # with room for the longest bar's value
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
    figure.supxlabel("mean over seeds", fontsize=TEXT * PX)
    return svg_of(figure)


@styled
def depths(table: Table, column: Column) -> str:
    """A panel a system over the number of layers, with intervals; the other systems behind it."""
    figure, panels = _panels(len(set(table["system"])), 118)
    for axes, (_, part) in zip(panels, _lines(table, panels, "layers", column), strict=True):
        axes.errorbar(
            part["layers"], [value.mean for value in part[column]], yerr=_halves(part[column]),
            color=PALETTE[0], marker="o", markersize=4, elinewidth=1.2,
        )  # fmt: skip
        axes.set_xticks(sorted(set(table["layers"])))
    figure.supxlabel("propagation layers K", fontsize=TEXT * PX)
    figure.supylabel(_called(column), fontsize=TEXT * PX)
    return svg_of(figure)


@styled
def curves(table: Table, column: Column, name: str) -> str:
    """A panel over the epochs for each system, or each depth: the table's first column.

    The others stand behind it.
    """
    count = len(set(table[table.columns[0]]))
    figure, panels = _panels(count, 100 if count > 4 else 140, NARROW if count <= 2 else None)
    for axes, (_, part) in zip(panels, _lines(table, panels, "epoch", column), strict=True):
        axes.plot(part["epoch"], [_mean(value) for value in part[column]], color=PALETTE[0])
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    figure.supxlabel("epoch", fontsize=TEXT * PX)
    figure.supylabel(name, fontsize=TEXT * PX)
    return svg_of(figure)


@styled
def losses(table: Table, columns: Sequence[str], name: str) -> str:
    """A panel a system over the epochs, one line a column; each panel has a scale of its own."""
    systems = list(dict.fromkeys(table["system"]))
    figure, panels = _panels(len(systems), 100, alike=False)
    for axes, system in zip(panels, systems, strict=True):
        part = table.where("system", system)
        for i, column in enumerate(columns):
            label = column.replace("_", " ") if system == systems[0] else None
            line = [value for value in part[column] if value is not None]
            axes.plot(part["epoch"][: len(line)], line, LINES[i], color=PALETTE[i], label=label)
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(3))
        _name(axes, system)
    figure.supxlabel("epoch", fontsize=TEXT * PX)
    figure.supylabel(name, fontsize=TEXT * PX)
    figure.legend(loc="outside upper center", ncols=len(columns))
    return svg_of(figure)


@styled
def history(table: Table, columns: Sequence[str], name: str) -> str:
    """One line a column over the epochs of a single model."""
    figure = canvas(NARROW, 240)
    axes = figure.add_subplot()
    axes.set_title(name)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for i, column in enumerate(columns):
        axes.plot(
            table["epoch"], table[column], LINES[i], color=PALETTE[i],
            label=column.replace("_", " "),
        )  # fmt: skip
    if len(columns) > 1:
        figure.legend(loc="outside lower center", ncols=len(columns))
    return svg_of(figure)


def _rows(table: Table, column: Column, falling: bool = True) -> tuple[Figure, Axes]:
    """A row a name: the name to the left, its value to the right."""
    rows = _named(table, column, falling)
    figure = canvas(NARROW, 66 + 21 * len(rows))
    axes = figure.add_subplot()
    axes.set_yticks(range(len(rows)), [str(name) for name, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    for y, (_, value) in enumerate(rows):
        shown = table.text(value, column=column, interval=False)
        axes.text(1.02, y, shown, transform=axes.get_yaxis_transform(), va="center")
    return figure, axes


def _named(table: Table, column: Column, falling: bool) -> list[tuple[str, Estimate]]:
    """(first column, value), the highest first if `falling`; equal ones keep the table's order."""
    pairs = list(zip(table[table.columns[0]], table[column], strict=True))
    return sorted(pairs, key=lambda pair: -pair[1].mean) if falling else pairs


def _panels(
    count: int, height: float, width: float | None = None, *, alike: bool = True
) -> tuple[Figure, list[Axes]]:
    """Equal panels, `height` px a row; many take a row of the page. `alike` ones share scales."""
    width = width or (NARROW if count <= 2 else WIDE)
    columns = min(count, 2 if width == NARROW else 4)
    rows = ceil(count / columns)
    figure = canvas(width, 30 + rows * height)
    grid = figure.subplots(rows, columns, sharex=alike, sharey=alike, squeeze=False)
    panels = list(grid.flat)
    for i, axes in enumerate(panels):
        axes.xaxis.set_major_locator(MaxNLocator(3))
        if i >= count:
            axes.remove()
        elif i + columns >= count:  # nothing stands below it
            axes.tick_params(labelbottom=True)
    return figure, panels[:count]


def _lines(
    table: Table, panels: Sequence[Axes], x: str, y: Column
) -> Iterator[tuple[Hashable, Table]]:
    """The rows of each value of the first column, whose panel holds all others thinly so far."""
    by = table.columns[0]
    parts = {value: table.where(by, value) for value in dict.fromkeys(table[by])}
    points = {value: list(zip(part[x], map(_mean, part[y]), strict=True))
              for value, part in parts.items()}  # fmt: skip
    for axes, (value, part) in zip(panels, parts.items(), strict=True):
        others = [_thinned(line) for other, line in points.items() if other != value]
        axes.add_collection(LineCollection(others, colors=INK, alpha=0.28, linewidths=0.7))
        _name(axes, value if isinstance(value, str) else at_depth(value))
        yield value, part


def _name(axes: Axes, name: str) -> None:
    """A panel's title; a longer one would reach into the next."""
    axes.set_title("\n".join(wrap(name, LONGEST)), weight="bold")


def _thinned(line: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """At most `CONTEXT_POINTS` of a line's points, and its end."""
    step = ceil(len(line) / CONTEXT_POINTS)
    return line[::step] + line[-1:]


def _mean(value: Any) -> float:
    """What is drawn of a cell; nothing of an empty one."""
    if value is None:
        return nan
    return float(value.mean if isinstance(value, Estimate) else value)


def _called(column: Column) -> str:
    return title(column) if isinstance(column, Measure) else column


def _halves(values: Sequence[Estimate]) -> list[float] | None:
    """Half-widths as error bars; where there is none, nothing is drawn."""
    if all(value.half is None for value in values):
        return None
    return [nan if value.half is None else value.half for value in values]
