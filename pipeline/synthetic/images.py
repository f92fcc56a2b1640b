"""The images of the sample: its topics' motifs before a backdrop in their colours."""

from math import cos, sin

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from pipeline.synthetic.items import Item
from pipeline.synthetic.motifs import Colour
from pipeline.synthetic.topics import Topic


def draw_palette(topic: Topic, rng: np.random.Generator) -> list[Colour]:
    """The topic's five colours, a little lighter or darker and a little off in hue."""
    tint = rng.normal(1, 0.06) * rng.normal(1, 0.04, 3)
    colours = np.array([ImageColor.getrgb(code)[:3] for code in topic.palette.split()])
    return [(int(r), int(g), int(b)) for r, g, b in np.clip(colours * tint, 0, 255)]


def draw_backdrop(
    size: tuple[int, int], colours: list[Colour], rng: np.random.Generator
) -> Image.Image:
    """A gradient from the first colour to the second in a random direction.

    `size` is (width, height) in pixels.
    """
    angle = rng.uniform(0.2, 1.3)
    x, y = np.linspace(0, 1, size[0])[None, :, None], np.linspace(0, 1, size[1])[:, None, None]
    mix = (x * cos(angle) + y * sin(angle)) / (cos(angle) + sin(angle))
    first, last = np.array(colours[0]), np.array(colours[1])
    return Image.fromarray((first + (last - first) * mix).astype(np.uint8))


def draw_image(item: Item, rng: np.random.Generator) -> Image.Image:
    """Draw a scene of 160-256 pixels a side: one large motif on top of several small ones.

    If the item has a second topic, two of the small motifs and their colours are that one's.
    """
    width, height = (int(side) for side in rng.integers(160, 257, 2))
    colours = draw_palette(item.topic, rng)
    # Twice as large as needed: halving it at the end makes the edges smooth.
    image = draw_backdrop((2 * width, 2 * height), colours, rng)
    draw, side = ImageDraw.Draw(image), min(width, height)
    small = [(item.topic, colours)] * int(rng.integers(2, 6))
    if item.second:
        small += [(item.second, draw_palette(item.second, rng))] * 2
    for topic, palette in small:
        x, y = rng.uniform(0, 2 * width), rng.uniform(0, 2 * height)
        topic.motif(draw, x, y, side * rng.uniform(0.12, 0.28), palette)
    x, y = 2 * width * rng.uniform(0.38, 0.62), 2 * height * rng.uniform(0.38, 0.62)
    item.topic.motif(draw, x, y, side * rng.uniform(0.45, 0.7), colours)
    return image.reduce(2)
