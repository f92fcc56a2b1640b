"""The report's figures, drawn from its tables as SVG: small panels that a page can lay out.

Equal tables give equal bytes. Text stays text; `INK` and `PAPER` are the only neutral colours, so
that a page can replace them by its own.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import nan
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model.metrics import Measure
from model.systems import SYSTEMS
from pipeline.reporting.estimates import Estimate
from pipeline.reporting.scores import BASELINE
from pipeline.reporting.table import SELECTED_BY, Column, Table, at_depth, title

INK, PAPER = "#1f2328", "#fefefe"
# Okabe and Ito's palette, distinguishable without colour vision, in an order of good contrast.
PALETTE = ("#8a8f98", "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#b3a100")
MARKERS = "osD^vPX*"
LINES = ("-", "--", "-.", ":")
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "report",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.18,
    "grid.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "errorbar.capsize": 3,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    **{f"{k}.color": INK for k in ("text", "xtick", "ytick")},
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
}
styled = matplotlib.rc_context(STYLE)


@dataclass(frozen=True)
class Style:
    """What tells one of up to 32 lines or points from the others, without colour vision too."""

    colour: str
    marker: str
    line: str

    @classmethod
    def at(cls, position: int) -> Style:
        """Each colour comes again after eight positions, with another marker and line."""
        shifted = position + position // len(PALETTE)
        return cls(
            PALETTE[position % len(PALETTE)],
            MARKERS[shifted % len(MARKERS)],
            LINES[shifted % len(LINES)],
        )


def style_of(system: str) -> Style:
    """The same style for a system in every figure, by its place in the registry."""
    return Style.at(SYSTEMS.index(system))


@styled
def bars(table: Table, column: Measure) -> str:
    """One bar a system with its interval."""
    figure, axes = _panel(title(column), "mean over seeds")
    for x, (system, value) in enumerate(zip(table["system"], table[column], strict=True)):
        axes.bar(x, value.mean, 0.7, color=style_of(system).colour, yerr=value.half, ecolor=INK)
    _categories(axes, table["system"])
    return _svg(figure)


@styled
def bars_by_system(tables: Sequence[Table], columns: Sequence[Measure]) -> str:
    """One group a system, one bar a metric: `columns[i]` of `tables[i]`."""
    figure, axes = _panel("", "mean over seeds")
    systems, width = tables[0]["system"], 0.8 / len(tables)
    for i, (table, column) in enumerate(zip(tables, columns, strict=True)):
        axes.bar(
            [x + (i - (len(tables) - 1) / 2) * width for x in range(len(systems))],
            [value.mean for value in table[column]],
            width,
            yerr=_halves(table[column]),
            color=PALETTE[(1 + i) % len(PALETTE)],
            ecolor=INK,
            error_kw={"capsize": 2},
            label=title(column),
        )
    _categories(axes, systems)
    _legend(figure, len(tables))
    return _svg(figure)


@styled
def depths(table: Table, column: Measure) -> str:
    """One line a system over the number of layers, with intervals."""
    figure, axes = _panel(title(column), "mean over seeds")
    axes.set_xlabel("propagation layers K")
    systems = list(dict.fromkeys(table["system"]))
    for i, system in enumerate(systems):
        part, style = table.where("system", system), style_of(system)
        shift = 0.04 * (i - (len(systems) - 1) / 2)  # intervals side by side
        axes.errorbar(
            [layers + shift for layers in part["layers"]],
            [value.mean for value in part[column]],
            yerr=_halves(part[column]),
            color=style.colour,
            marker=style.marker,
            markersize=4.5,
            elinewidth=0.9,
            label=system,
        )
    axes.set_xticks(sorted(set(table["layers"])))
    _legend(figure, len(systems))
    return _svg(figure)


@styled
def differences(table: Table, column: Column) -> str:
    """Each system's difference to the baseline as a point with its interval; zero is marked."""
    figure, axes = _panel("", "")
    axes.set_xlabel(f"difference of {SELECTED_BY} to {BASELINE}")
    systems = table["system"]
    for y, (system, value) in enumerate(zip(systems, table[column], strict=True)):
        style = style_of(system)
        axes.errorbar(
            value.mean, y, xerr=value.half, color=style.colour,
            marker=style.marker, markersize=7, elinewidth=2, capsize=4,
        )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(range(len(systems)), systems)
    axes.set_ylim(len(systems) - 0.5, -0.5)
    axes.grid(False, axis="y")
    return _svg(figure)


@styled
def curves(table: Table, column: Column, name: str) -> str:
    """One line over the epochs for each system, or each depth: the table's first column."""
    by = table.columns[0]
    figure, axes = _panel(name, "")
    axes.set_xlabel("epoch")
    values = list(dict.fromkeys(table[by]))
    for i, value in enumerate(values):
        part = table.where(by, value)
        style = style_of(value) if by == "system" else Style.at(1 + i)
        axes.plot(
            part["epoch"],
            part[column],
            color=style.colour,
            linestyle=style.line,
            label=value if by == "system" else at_depth(value),
        )
    _legend(figure, len(values))
    return _svg(figure)


@styled
def history(table: Table, columns: Sequence[str], name: str) -> str:
    """One line a column over the epochs of a single model."""
    figure, axes = _panel(name, "")
    axes.set_xlabel("epoch")
    for i, column in enumerate(columns):
        axes.plot(
            table["epoch"], table[column], LINES[i], color=PALETTE[1 + i],
            label=column.replace("_", " "),
        )  # fmt: skip
    if len(columns) > 1:
        _legend(figure, len(columns))
    return _svg(figure)


def inline(svg: str, name: str, description: str) -> str:
    """`svg` as part of a page: the page's colours, its own ids, a text for who cannot see it."""
    svg = svg[svg.index("<svg") :]
    for reference in (' id="', "url(#", 'href="#'):
        svg = svg.replace(reference, f"{reference}{name}-")
    svg = svg.replace(INK, "currentColor").replace(PAPER, "none")
    described = f'<svg role="img" aria-label="{escape(description)}"'
    return svg.replace("<svg", described, 1)


def _panel(name: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.2, 3.1), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(name)
    axes.set_ylabel(y_label)
    return figure, axes


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def _legend(figure: Figure, entries: int) -> None:
    rows = -(-entries // 4)
    figure.legend(loc="outside lower center", ncols=-(-entries // rows), fontsize=8.5)


def _categories(axes: Axes, names: Sequence[str]) -> None:
    crowded = len(names) > 5
    axes.set_xticks(
        range(len(names)), names, rotation=30 if crowded else 0, ha="right" if crowded else "center"
    )
    axes.grid(False, axis="x")


def _halves(values: Sequence[Estimate]) -> list[float] | None:
    """Half-widths as error bars; where there is none, nothing is drawn."""
    if all(value.half is None for value in values):
        return None
    return [nan if value.half is None else value.half for value in values]
