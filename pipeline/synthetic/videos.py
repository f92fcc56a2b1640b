"""The videos of the sample: motifs that move as their topics do."""

import numpy as np
from PIL import Image, ImageDraw

from pipeline.synthetic.images import draw_backdrop, draw_palette
from pipeline.synthetic.items import Item


def draw_video(item: Item, rate: int, rng: np.random.Generator) -> list[Image.Image]:
    """Draw 1.2 seconds of frames, 112-176 pixels wide, in which two motifs move.

    Both belong to the main topic, or one to the second topic if the item has one. `rate` is in
    frames a second.
    """
    # Even sides, since the video's colours have half its resolution.
    width, height = (2 * int(half) for half in rng.integers((56, 48), (89, 73)))
    colours = draw_palette(item.topic, rng)
    # Frames are drawn twice as large as needed and halved, which makes the edges smooth.
    backdrop = draw_backdrop((2 * width, 2 * height), colours, rng)
    cast = [(item.topic, colours, 0.5), (item.topic, colours, 0.25)]
    if item.second:
        cast[1] = (item.second, draw_palette(item.second, rng), 0.3)
    speed, phase = rng.uniform(0.8, 1.2, len(cast)), rng.uniform(0, 1, len(cast))
    shift = rng.uniform(-0.15, 0.15, (len(cast), 2))
    frames = []
    for time in np.arange(round(1.2 * rate)) / (1.2 * rate):
        frame = backdrop.copy()
        draw = ImageDraw.Draw(frame)
        for k, (topic, palette, radius) in reversed(list(enumerate(cast))):  # the star on top
            x, y, scale = topic.motion(speed[k] * time + phase[k])
            centre = 2 * width * (x + shift[k, 0]), 2 * height * (y + shift[k, 1])
            topic.motif(draw, *centre, height * radius * scale, palette)
        frames.append(frame.reduce(2))
    return frames
