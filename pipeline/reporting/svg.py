"""How figures and diagrams look as SVG, and how a page takes them up.

Text stays text; `INK` and `PAPER` are the only neutral colours, so that a page can replace them by
its own.
"""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any

import matplotlib
from matplotlib.figure import Figure

INK, PAPER = "#1f2328", "#fefefe"
# Each at 3.5 : 1 or more on the page's light and dark cards.
PALETTE = ("#2f7fc1", "#d0640c", "#23895d", "#b9578c", "#8a70cf", "#96790f", "#178f9e", "#7d858f")
MARKERS = "osD^vPX*"
LINES = ("-", "--", "-.", ":")
NARROW, WIDE = 336, 704
"""Widths in CSS pixels: of a column on every page, and of a whole row."""
PX = 72 / 96  # a CSS pixel in points
TEXT = 12.5  # px
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "report",
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans", "Verdana"],
    "font.size": TEXT * PX,
    **{f"{k}.labelsize": TEXT * PX for k in ("axes", "xtick", "ytick")},
    "axes.titlesize": TEXT * PX,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.18,
    "grid.color": INK,
    "legend.frameon": False,
    "legend.fontsize": TEXT * PX,
    "lines.linewidth": 1.6,
    "errorbar.capsize": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    **{f"{k}.color": INK for k in ("text", "xtick", "ytick")},
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "figure.constrained_layout.w_pad": 0.03,
    "figure.constrained_layout.h_pad": 0.03,
}
styled = matplotlib.rc_context(STYLE)


def inline(svg: str, name: str, description: str) -> str:
    """`svg` as part of a page: the page's colours, its own ids, a text for who cannot see it.

    The page learns its natural width as `--natural`: below it, text were too small.
    """
    svg = svg[svg.index("<svg") :]
    for reference in (' id="', "url(#", 'href="#'):
        svg = svg.replace(reference, f"{reference}{name}-")
    svg = svg.replace(INK, "currentColor").replace(PAPER, "none")
    described = f'<svg role="img" aria-label="{escape(description)}"'
    if width := width_of(svg):
        described += f' style="--natural: {width}px"'
    return svg.replace("<svg", described, 1)


def width_of(svg: str) -> int | None:
    """A drawing's width in CSS pixels; None if it does not say."""
    found = re.search(r'<svg[^>]*? width="([\d.]+)(pt)?"', svg)
    return found and round(float(found[1]) / (PX if found[2] else 1))


def canvas(width: float, height: float) -> Figure:
    """An empty figure, in CSS pixels."""
    return Figure(figsize=(width / 96, height / 96), layout="constrained")


def svg_of(figure: Figure) -> str:
    """The drawing as text, in hundredths of a point."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub(
        r'\b(?:d|x|y|transform)="[^"]*"',
        lambda attribute: re.sub(r"(\.\d\d)\d+", r"\1", attribute[0]),
        file.getvalue(),
    )
