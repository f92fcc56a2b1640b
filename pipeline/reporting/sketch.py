"""What diagrams are drawn from: boxes, arrows and texts, as SVG a column of a page wide.

`INK` and `PAPER` are the only neutral colours, so that a page can replace them by its own.
"""

from __future__ import annotations

from html import escape

from pipeline.reporting.svg import INK, NARROW, PALETTE, PAPER, TEXT

FRAMES = {
    "trained": f'fill="{PALETTE[0]}" fill-opacity="0.16" stroke="{PALETTE[0]}" stroke-width="2.4"',
    "fixed": f'fill="none" stroke="{INK}" stroke-width="1.3" stroke-dasharray="4 3"',
    "step": f'fill="none" stroke="{INK}" stroke-width="0.8"',
}
MIDDLE = NARROW / 2
LINE = 18  # px from line to line


class Sketch:
    """Boxes, arrows and texts on `NARROW` pixels' width."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.height = 0.0

    def text(
        self, x: float, y: float, text: str, anchor: str = "middle", bold: bool = False
    ) -> None:
        """A line of text around the height y."""
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y + 4.5:g}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'
        )
        self.height = max(self.height, y + 12)

    def box(
        self, x: float, y: float, width: float, kind: str, *lines: str, many: bool = False
    ) -> float:
        """A box around the abscissa x with its top at y; returns its bottom. `many`: a pile."""
        height, left = 12 + LINE * len(lines), x - width / 2
        for shift in (6, 3) if many else ():  # only what sticks out of a pile is seen
            corner = f"H{left + width + shift:g}V{y + height - shift:g}"
            self.parts.append(
                f'<path d="M{left + shift:g} {y - shift:g}{corner}" fill="none" stroke="{INK}" '
                'stroke-width="0.6"/>'
            )
        self.parts.append(
            f'<rect x="{left:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5" '
            f"{FRAMES[kind]}/>"
        )
        for i, line in enumerate(lines):
            self.text(x, y + 6 + LINE * (i + 0.5), line)
        self.height = max(self.height, y + height + 4)
        return y + height

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """A line through the points that ends in a head."""
        (x0, y0), (x, y) = points[-2:]
        length = max(abs(x - x0), abs(y - y0))
        dx, dy = (x - x0) / length, (y - y0) / length  # along an axis
        line = "L".join(f"{a:g} {b:g}" for a, b in (*points[:-1], (x - 4 * dx, y - 4 * dy)))
        head = [(x, y), (x - 7 * dx - 4 * dy, y - 7 * dy + 4 * dx),
                (x - 7 * dx + 4 * dy, y - 7 * dy - 4 * dx)]  # fmt: skip
        corners = " ".join(f"{a:g},{b:g}" for a, b in head)
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self.parts.append(f'<path d="M{line}" fill="none" stroke="{INK}"{dash}/>')
        self.parts.append(f'<polygon points="{corners}" fill="{INK}"/>')

    def key(self) -> None:
        """What the frames mean, below all else."""
        y = self.height + 6
        for x, kind in ((10, "trained"), (112, "fixed"), (200, "step")):
            frame = FRAMES[kind]
            self.parts.append(f'<rect x="{x}" y="{y}" width="22" height="14" rx="3" {frame}/>')
            self.text(x + 30, y + 7, "computed" if kind == "step" else kind, "start")

    def svg(self) -> str:
        """The drawing as text."""
        height = round(self.height + 4)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{NARROW}" height="{height}" '
            f'viewBox="0 0 {NARROW} {height}" font-family="\'DejaVu Sans\', sans-serif" '
            f'font-size="{TEXT}px" fill="{INK}">'
            f'<rect width="{NARROW}" height="{height}" fill="{PAPER}"/>'
            f"{''.join(self.parts)}</svg>\n"
        )
