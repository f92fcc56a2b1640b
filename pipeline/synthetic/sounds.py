"""The sounds of the sample: random melodies in the timbres of its topics."""

from math import pi

import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic.items import Item
from pipeline.synthetic.topics import Timbre

PENTATONIC = (0, 2, 4, 7, 9, 12)  # semitones: random notes that still sound agreeable


def draw_sound(item: Item, rate: int, layout: str, rng: np.random.Generator) -> NDArray[np.int16]:
    """Draw 1.2-2.5 seconds of random melody in the timbres of the item's topics.

    Args:
        item: whose sound it is; a second topic is mixed in by its share.
        rate: samples a second.
        layout: "mono" or "stereo".
        rng: where all randomness comes from.

    Returns:
        (samples, channels).
    """
    samples = int(rate * rng.uniform(1.2, 2.5))
    mono = _melody(item.topic.timbre, samples, rate, rng)
    if item.second:
        other = _melody(item.second.timbre, samples, rate, rng)
        mono = (1 - item.share) * mono + item.share * other
    channels = [mono]
    if layout == "stereo":
        # The right channel is a little quieter and 10 ms late.
        channels.append(rng.uniform(0.6, 1) * np.roll(mono, int(0.01 * rate)))
    loudness = rng.uniform(0.4, 0.9) * 32767
    return (np.stack(channels, axis=1) * loudness).astype(np.int16)


def _melody(
    timbre: Timbre, samples: int, rate: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Random notes of one timbre and some hiss: (samples,), with a peak of 1."""
    wave = np.zeros(samples)
    root = rng.uniform(*timbre.pitch)
    step = int(timbre.note * rng.uniform(0.85, 1.15) * rate)
    for start in range(0, samples, step):
        time = np.arange(min(2 * step, samples - start)) / rate  # a note rings into the next
        pitch = root * 2 ** (rng.choice(PENTATONIC) / 12)
        tone = np.zeros_like(time)
        for k, amplitude in enumerate(timbre.harmonics, start=1):
            if k * pitch < rate / 2:  # higher partials would alias
                tone += amplitude * np.sin(2 * pi * k * pitch * time)
        fade = np.minimum(1, (2 * step / rate - time) / 0.01)  # 10 ms against clicks
        envelope = np.minimum(1, time / timbre.attack) * np.exp(-timbre.decay * time) * fade
        wave[start : start + time.size] += tone * envelope
    wave /= np.abs(wave).max()
    wave += timbre.hiss * rng.normal(0, 0.3, samples)
    return wave / np.abs(wave).max()
