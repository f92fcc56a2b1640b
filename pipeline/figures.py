"""The report's figures, drawn from its tables as SVG: small panels that a page can lay out.

Equal tables give equal bytes. Text stays text; `INK` and `PAPER` are the only neutral colours, so
that a page can replace them by its own.
"""

import io
from collections.abc import Sequence
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model.systems import SYSTEMS
from pipeline.tables import TITLES, Estimate, Table

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


@styled
def bars(table: Table, column: str) -> str:
    """One bar a variant with its interval."""
    figure, axes = _panel(*_measure(table, column))
    for x, (variant, value) in enumerate(zip(table["variant"], table[column], strict=True)):
        axes.bar(x, value.mean, 0.7, color=_colour(variant), yerr=value.half, ecolor=INK)
    _categories(axes, table["variant"])
    return _svg(figure)


@styled
def bars_by_model(tables: Sequence[Table], columns: Sequence[str]) -> str:
    """One group a variant, one bar a metric: `columns[i]` of `tables[i]`."""
    figure, axes = _panel("", "mean over seeds")
    variants, width = tables[0]["variant"], 0.8 / len(tables)
    for i, (table, column) in enumerate(zip(tables, columns, strict=True)):
        axes.bar(
            [x + (i - (len(tables) - 1) / 2) * width for x in range(len(variants))],
            [value.mean for value in table[column]],
            width,
            yerr=None if table[column][0].half is None else [v.half for v in table[column]],
            color=PALETTE[1 + i],
            ecolor=INK,
            error_kw={"capsize": 2},
            label=_title(column),
        )
    _categories(axes, variants)
    _legend(figure, len(tables))
    return _svg(figure)


@styled
def depths(table: Table, column: str) -> str:
    """One line a variant over the number of layers, with intervals."""
    figure, axes = _panel(*_measure(table, column))
    axes.set_xlabel("propagation layers K")
    variants = list(dict.fromkeys(table["variant"]))
    for i, variant in enumerate(variants):
        part = table.where("variant", variant)
        shift = 0.04 * (i - (len(variants) - 1) / 2)  # intervals side by side
        axes.errorbar(
            [layers + shift for layers in part["layers"]],
            [value.mean for value in part[column]],
            yerr=None if part[column][0].half is None else [v.half for v in part[column]],
            color=_colour(variant),
            marker=_of(variant, MARKERS),
            markersize=4.5,
            elinewidth=0.9,
            label=variant,
        )
    axes.set_xticks(sorted(set(table["layers"])))
    _legend(figure, len(variants))
    return _svg(figure)


@styled
def differences(table: Table, column: str) -> str:
    """Each variant's difference to the baseline as a point with its interval; zero is marked."""
    figure, axes = _panel("", "")
    axes.set_xlabel("difference of NDCG@10 to none")
    variants = table["variant"]
    for y, (variant, value) in enumerate(zip(variants, table[column], strict=True)):
        axes.errorbar(
            value.mean, y, xerr=value.half, color=_colour(variant),
            marker=_of(variant, MARKERS), markersize=7, elinewidth=2, capsize=4,
        )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(range(len(variants)), variants)
    axes.set_ylim(len(variants) - 0.5, -0.5)
    axes.grid(False, axis="y")
    return _svg(figure)


@styled
def curves(table: Table, column: str, title: str) -> str:
    """One line over the epochs for each value of the table's first column."""
    by = table.columns[0]
    figure, axes = _panel(title, "")
    axes.set_xlabel("epoch")
    values = [v for v in dict.fromkeys(table[by]) if table.where(by, v)[column][0] is not None]
    for i, value in enumerate(values):
        part = table.where(by, value)
        named = value in SYSTEMS
        axes.plot(
            part["epoch"],
            part[column],
            color=_colour(value) if named else PALETTE[(1 + i) % len(PALETTE)],
            linestyle=_of(value, LINES) if named else LINES[i % len(LINES)],
            label=value if named else f"K = {value}",
        )
    _legend(figure, len(values))
    return _svg(figure)


@styled
def history(table: Table, columns: Sequence[str], title: str) -> str:
    """One line a column over the epochs of a single model."""
    figure, axes = _panel(title, "")
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


def _panel(title: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.2, 3.1), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
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


def _measure(table: Table, column: str) -> tuple[str, str]:
    """A panel's title and its y label."""
    return _title(column), "mean over seeds" if isinstance(table[column][0], Estimate) else ""


def _title(column: str) -> str:
    metric, _, k = column.partition("@")
    return f"{TITLES[metric].capitalize() if metric != 'ndcg' else 'NDCG'}@{k}"


def _colour(variant: str) -> str:
    return str(_of(variant, PALETTE))


def _of(variant: str, choices: Sequence[Any]) -> Any:
    """The same choice for a variant in every figure."""
    return choices[list(SYSTEMS).index(variant) % len(choices)]
