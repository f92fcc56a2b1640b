"""The motifs that images and videos show: a shape for each topic.

Every function draws its shape around the centre (x, y) with a radius of about r pixels, in the
five colours c of a topic's palette: the backdrop's two, which serve as accents here, and then
three of the shape's own, its main colour first.
"""

from collections.abc import Callable
from math import cos, pi, sin

from PIL import ImageDraw

Colour = tuple[int, int, int]
Motif = Callable[[ImageDraw.ImageDraw, float, float, float, list[Colour]], None]


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, colour: Colour) -> None:
    draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def record(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, c: list[Colour]) -> None:
    """A vinyl record with grooves."""
    for i, share in enumerate((1.0, 0.86, 0.82, 0.68, 0.64, 0.5)):
        _disc(draw, x, y, r * share, c[2] if i % 2 == 0 else c[1])
    _disc(draw, x, y, r * 0.36, c[3])
    _disc(draw, x, y, r * 0.07, c[2])


def fish(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, c: list[Colour]) -> None:
    """A fish that swims to the right."""
    tail = [(x - 0.5 * r, y), (x - r, y - 0.5 * r), (x - r, y + 0.5 * r)]
    draw.polygon(tail, fill=c[3])
    draw.ellipse((x - 0.7 * r, y - 0.45 * r, x + r, y + 0.45 * r), fill=c[2])
    draw.polygon([(x, y), (x - 0.3 * r, y + 0.3 * r), (x + 0.3 * r, y + 0.1 * r)], fill=c[3])
    _disc(draw, x + 0.62 * r, y - 0.1 * r, 0.09 * r, c[0])


def planet(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, c: list[Colour]) -> None:
    """A planet with its ring."""
    _disc(draw, x, y, 0.65 * r, c[2])
    _disc(draw, x - 0.2 * r, y - 0.2 * r, 0.2 * r, c[3])
    ring = (x - r, y - 0.28 * r, x + r, y + 0.28 * r)
    draw.arc(ring, -25, 205, fill=c[3], width=max(2, round(0.1 * r)))


def pot(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, c: list[Colour]) -> None:
    """A cooking pot with steam above it."""
    draw.rounded_rectangle((x - r, y, x + r, y + 0.2 * r), 0.1 * r, fill=c[3])
    body = (x - 0.75 * r, y - 0.15 * r, x + 0.75 * r, y + 0.8 * r)
    draw.rounded_rectangle(body, 0.25 * r, fill=c[2])
    draw.rounded_rectangle((x - 0.85 * r, y - 0.3 * r, x + 0.85 * r, y - 0.1 * r), 3, fill=c[3])
    for dx in (-0.35, 0.0, 0.35):
        steam = (x + (dx - 0.1) * r, y - 0.95 * r, x + (dx + 0.1) * r, y - 0.45 * r)
        draw.arc(steam, 90, 270, fill=c[3], width=max(2, round(0.07 * r)))


def ball(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, c: list[Colour]) -> None:
    """A football."""
    _disc(draw, x, y, r, c[3])
    _disc(draw, x, y, 0.94 * r, c[2])
    draw.regular_polygon((x, y, 0.36 * r), 5, fill=c[3])
    for k in range(5):
        ux, uy = sin(2 * pi * k / 5), -cos(2 * pi * k / 5)
        seam = [(x + s * r * ux, y + s * r * uy) for s in (0.3, 0.75)]
        draw.line(seam, fill=c[3], width=max(2, round(0.05 * r)))
        _disc(draw, x + 0.75 * r * ux, y + 0.75 * r * uy, 0.15 * r, c[3])


def flower(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, c: list[Colour]) -> None:
    """A flower with its stem and one leaf."""
    draw.line([(x, y), (x + 0.1 * r, y + 1.5 * r)], fill=c[4], width=max(2, round(0.12 * r)))
    draw.ellipse((x + 0.1 * r, y + 0.95 * r, x + 0.7 * r, y + 1.2 * r), fill=c[4])
    for k in range(7):
        angle = 2 * pi * k / 7
        _disc(draw, x + 0.6 * r * cos(angle), y + 0.6 * r * sin(angle), 0.33 * r, c[2])
    _disc(draw, x, y, 0.34 * r, c[3])


def robot(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, c: list[Colour]) -> None:
    """A robot's head with an aerial."""
    draw.line([(x, y - 0.95 * r), (x, y)], fill=c[2], width=max(2, round(0.1 * r)))
    _disc(draw, x, y - 0.9 * r, 0.14 * r, c[3])
    draw.rectangle((x - r, y - 0.15 * r, x + r, y + 0.3 * r), fill=c[3])
    head = (x - 0.8 * r, y - 0.6 * r, x + 0.8 * r, y + 0.75 * r)
    draw.rounded_rectangle(head, 0.2 * r, fill=c[2])
    for side in (-0.35, 0.35):
        _disc(draw, x + side * r, y - 0.1 * r, 0.2 * r, c[3])
        _disc(draw, x + side * r, y - 0.1 * r, 0.09 * r, c[0])
    draw.rectangle((x - 0.4 * r, y + 0.35 * r, x + 0.4 * r, y + 0.5 * r), fill=c[0])


def lens(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, c: list[Colour]) -> None:
    """A magnifying glass with a keyhole under it."""
    handle = [(x + 0.2 * r, y + 0.2 * r), (x + 0.95 * r, y + 0.95 * r)]
    draw.line(handle, fill=c[4], width=max(3, round(0.2 * r)))
    _disc(draw, x - 0.2 * r, y - 0.2 * r, 0.7 * r, c[2])
    _disc(draw, x - 0.2 * r, y - 0.2 * r, 0.56 * r, c[3])
    _disc(draw, x - 0.2 * r, y - 0.3 * r, 0.16 * r, c[0])  # a keyhole under the glass
    foot = y + 0.15 * r
    draw.polygon([(x - 0.2 * r, y - 0.35 * r), (x - 0.4 * r, foot), (x, foot)], fill=c[0])
