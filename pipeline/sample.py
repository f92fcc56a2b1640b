"""Stage `sample`: write the bundled catalogue, synthetic but made of real media files.

Eight hidden topics shape everything: the words of an item, the colours and motif of its image,
the timbre of its audio, the motion of its video, and who likes it. An item follows one topic and
sometimes a second; a user likes one or two. So content helps to predict taste without deciding it.
"""

import csv
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import cos, floor, pi, sin
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw
from tqdm import tqdm

from pipeline import params
from pipeline.files import InputError, atomic_folder, run

log = logging.getLogger("sample")

FOLDER = Path("data/raw/sample")
MEDIA_SHARES = {"image": 0.16, "audio": 0.15, "video": 0.12}
SUFFIXES = {"image": ("jpg", "png"), "audio": ("wav", "flac", "mp3"), "video": ("mp4",)}
AUDIO_CODECS = {".wav": "pcm_s16le", ".flac": "flac", ".mp3": "libmp3lame"}
AUDIO_FORMS = ((16000, "mono"), (22050, "stereo"), (44100, "mono"), (22050, "mono"))
BITEXACT = {"fflags": "+bitexact"}  # no library versions or dates in the containers
# In frames this small x264's mbtree reads uninitialised memory: the bytes would vary between runs.
X264 = {"crf": "26", "x264-params": "mbtree=0"}
PENTATONIC = (0, 2, 4, 7, 9, 12)  # semitones: random notes that still sound agreeable
FIRST_TIMESTAMP = 1_704_067_200  # 2024-01-01 00:00 UTC

Colour = tuple[int, int, int]
Motif = Callable[[ImageDraw.ImageDraw, float, float, float, list[Colour]], None]
Motion = Callable[[float], tuple[float, float, float]]


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, colour: Colour) -> None:
    draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def _record(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, c: list[Colour]) -> None:
    for i, share in enumerate((1.0, 0.86, 0.82, 0.68, 0.64, 0.5)):
        _disc(draw, x, y, r * share, c[2] if i % 2 == 0 else c[1])
    _disc(draw, x, y, r * 0.36, c[3])
    _disc(draw, x, y, r * 0.07, c[2])


def _fish(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, c: list[Colour]) -> None:
    tail = [(x - 0.5 * r, y), (x - r, y - 0.5 * r), (x - r, y + 0.5 * r)]
    draw.polygon(tail, fill=c[3])
    draw.ellipse((x - 0.7 * r, y - 0.45 * r, x + r, y + 0.45 * r), fill=c[2])
    draw.polygon([(x, y), (x - 0.3 * r, y + 0.3 * r), (x + 0.3 * r, y + 0.1 * r)], fill=c[3])
    _disc(draw, x + 0.62 * r, y - 0.1 * r, 0.09 * r, c[0])


def _planet(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, c: list[Colour]) -> None:
    _disc(draw, x, y, 0.65 * r, c[2])
    _disc(draw, x - 0.2 * r, y - 0.2 * r, 0.2 * r, c[3])
    ring = (x - r, y - 0.28 * r, x + r, y + 0.28 * r)
    draw.arc(ring, -25, 205, fill=c[3], width=max(2, round(0.1 * r)))


def _pot(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, c: list[Colour]) -> None:
    draw.rounded_rectangle((x - r, y, x + r, y + 0.2 * r), 0.1 * r, fill=c[3])
    body = (x - 0.75 * r, y - 0.15 * r, x + 0.75 * r, y + 0.8 * r)
    draw.rounded_rectangle(body, 0.25 * r, fill=c[2])
    draw.rounded_rectangle((x - 0.85 * r, y - 0.3 * r, x + 0.85 * r, y - 0.1 * r), 3, fill=c[3])
    for dx in (-0.35, 0.0, 0.35):
        steam = (x + (dx - 0.1) * r, y - 0.95 * r, x + (dx + 0.1) * r, y - 0.45 * r)
        draw.arc(steam, 90, 270, fill=c[3], width=max(2, round(0.07 * r)))


def _ball(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, c: list[Colour]) -> None:
    _disc(draw, x, y, r, c[3])
    _disc(draw, x, y, 0.94 * r, c[2])
    draw.regular_polygon((x, y, 0.36 * r), 5, fill=c[3])
    for k in range(5):
        ux, uy = sin(2 * pi * k / 5), -cos(2 * pi * k / 5)
        seam = [(x + s * r * ux, y + s * r * uy) for s in (0.3, 0.75)]
        draw.line(seam, fill=c[3], width=max(2, round(0.05 * r)))
        _disc(draw, x + 0.75 * r * ux, y + 0.75 * r * uy, 0.15 * r, c[3])


def _flower(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, c: list[Colour]) -> None:
    draw.line([(x, y), (x + 0.1 * r, y + 1.5 * r)], fill=c[4], width=max(2, round(0.12 * r)))
    draw.ellipse((x + 0.1 * r, y + 0.95 * r, x + 0.7 * r, y + 1.2 * r), fill=c[4])
    for k in range(7):
        angle = 2 * pi * k / 7
        _disc(draw, x + 0.6 * r * cos(angle), y + 0.6 * r * sin(angle), 0.33 * r, c[2])
    _disc(draw, x, y, 0.34 * r, c[3])


def _robot(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, c: list[Colour]) -> None:
    draw.line([(x, y - 0.95 * r), (x, y)], fill=c[2], width=max(2, round(0.1 * r)))
    _disc(draw, x, y - 0.9 * r, 0.14 * r, c[3])
    draw.rectangle((x - r, y - 0.15 * r, x + r, y + 0.3 * r), fill=c[3])
    head = (x - 0.8 * r, y - 0.6 * r, x + 0.8 * r, y + 0.75 * r)
    draw.rounded_rectangle(head, 0.2 * r, fill=c[2])
    for side in (-0.35, 0.35):
        _disc(draw, x + side * r, y - 0.1 * r, 0.2 * r, c[3])
        _disc(draw, x + side * r, y - 0.1 * r, 0.09 * r, c[0])
    draw.rectangle((x - 0.4 * r, y + 0.35 * r, x + 0.4 * r, y + 0.5 * r), fill=c[0])


def _lens(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, c: list[Colour]) -> None:
    handle = [(x + 0.2 * r, y + 0.2 * r), (x + 0.95 * r, y + 0.95 * r)]
    draw.line(handle, fill=c[4], width=max(3, round(0.2 * r)))
    _disc(draw, x - 0.2 * r, y - 0.2 * r, 0.7 * r, c[2])
    _disc(draw, x - 0.2 * r, y - 0.2 * r, 0.56 * r, c[3])
    _disc(draw, x - 0.2 * r, y - 0.3 * r, 0.16 * r, c[0])  # a keyhole under the glass
    foot = y + 0.15 * r
    draw.polygon([(x - 0.2 * r, y - 0.35 * r), (x - 0.4 * r, foot), (x, foot)], fill=c[0])


@dataclass(frozen=True)
class Timbre:
    """How a topic sounds."""

    pitch: tuple[float, float]  # range of the root note, Hz
    harmonics: tuple[float, ...]  # amplitude of each partial, the fundamental first
    note: float  # seconds from one note to the next
    attack: float  # seconds
    decay: float  # 1 / seconds
    hiss: float  # amplitude of the noise, 1 is as loud as a note


@dataclass(frozen=True)
class Topic:
    """One hidden topic: what its items say, look like, sound like and how they move."""

    name: str
    label: str
    adjectives: str
    nouns: str
    tails: str
    leads: str  # what may follow a title; {x} and {y} stand for two of the details
    details: str
    palette: str  # two of the backdrop, then three of the motif
    motif: Motif
    timbre: Timbre
    motion: Motion  # time 0-1 -> centre (x, y) as shares of the frame, scale


def _topic_table() -> tuple[Topic, ...]:
    return (
        Topic(
            "jazz", "jazz",
            "Midnight|Smoky|Velvet|Restless|Blue|Uptown|Golden|Lazy",
            "Saxophone|Quartet|Trumpet|Bassline|Ballad|Jam Session|Piano Trio|Swing",
            "in Harlem|at the Corner Club|after Hours|on Vinyl",
            "is a late set for {x} and {y}|captures {x} trading phrases with {y}|"
            "is a live recording built around {x}|opens with {x} and closes on {y}",
            "a muted trumpet|brushed drums|a walking bass|a tenor saxophone|an unhurried piano|"
            "scat singing|a swinging rhythm section|smooth improvised solos",
            "#2b1330 #7a2f3d #1b1020 #e8a33d #f3d9a4", _record,
            Timbre((220, 440), (1, 0.6, 0.5, 0.3, 0.2, 0.1), 0.22, 0.02, 3, 0.01),
            lambda t: (0.5 + 0.3 * sin(2 * pi * t), 0.6 - 0.15 * abs(cos(2 * pi * t)), 1),
        ),
        Topic(
            "ocean", "ocean life",
            "Deep|Coral|Drifting|Silver|Tidal|Turquoise|Salty|Silent",
            "Reef|Current|Lagoon|Voyage|Whale Song|Harbour|Dive|Shoreline",
            "off Tasmania|below the Surface|at High Tide|of the South Pacific",
            "follows {x} through cold and clear water|is a quiet dive among {x} and {y}|"
            "sails out to meet {x}|is a portrait of the sea, from {x} to {y}",
            "humpback whales|swaying kelp|coral gardens|shoals of silver fish|rolling waves|"
            "sea turtles|tide pools|glowing jellyfish",
            "#0b4f6c #5fc9d8 #f7b267 #f4845f #e0fbfc", _fish,
            Timbre((60, 110), (1, 0.2), 1.2, 0.5, 0.8, 0.25),
            lambda t: (t % 1, 0.5 + 0.12 * sin(4 * pi * t), 1),
        ),
        Topic(
            "space", "space travel",
            "Distant|Orbital|Lunar|Stellar|Infinite|Cosmic|Frozen|Red",
            "Orbit|Nebula|Horizon|Launch|Telescope|Moonrise|Probe|Galaxy",
            "beyond Saturn|at Zero Gravity|of the Outer Planets|over Mars",
            "is a slow flight past {x}|looks back at {x} from very far away|"
            "charts a course between {x} and {y}|explains {x} to curious stargazers",
            "the rings of Saturn|a comet's tail|spiral galaxies|the far side of the Moon|"
            "a lonely space station|newborn stars|the dust of Mars|astronauts in orbit",
            "#0a0a2a #372a6b #b8a1e3 #ffd6a5 #ffffff", _planet,
            Timbre((300, 600), (1, 0, 0.1), 1.0, 0.4, 0.5, 0.02),
            lambda t: (0.5, 0.5, 0.4 + 0.9 * (t % 1)),
        ),
        Topic(
            "cooking", "cooking",
            "Rustic|Spicy|Simmering|Sunday|Crispy|Homemade|Buttery|Smoked",
            "Kitchen|Stew|Supper|Flatbread|Risotto|Pantry|Tart|Noodle Bowl",
            "from Naples|with Lemon|by the Fireside|for Two",
            "is a weekend recipe with {x} and {y}|starts with {x} and finishes with {y}|"
            "is a warm plate that owes everything to {x}|teaches the patience that {x} deserves",
            "slow-roasted tomatoes|fresh basil|a simmering broth|toasted cumin|crusty bread|"
            "caramelised onions|handmade pasta|browned butter",
            "#f6d8ae #e07a5f #9b2226 #fff3e0 #3d405b", _pot,
            Timbre((500, 900), (1, 0, 0, 0.5), 0.1, 0.002, 25, 0.1),
            lambda t: (0.5 + 0.05 * sin(6 * pi * t), 1 - t % 1, 1),
        ),
        Topic(
            "football", "football",
            "Last-Minute|Winning|Fearless|Underdog|Rainy|Golden-Goal|Sunlit|Roaring",
            "Derby|Penalty|Kickoff|Striker|Comeback|Cup Final|Goalkeeper|Season",
            "at Wembley|in Extra Time|under Floodlights|away from Home",
            "relives {x} and {y} from the touchline|is a match story about {x}|"
            "builds from {x} to {y}|follows a small team that lives for {x}",
            "a curling free kick|a packed stadium|a saved penalty|tireless midfielders|"
            "a last-minute header|the roar of the crowd|a daring counter-attack|muddy boots",
            "#1b7a3d #6cc24a #ffffff #1d2b1f #f4d35e", _ball,
            Timbre((90, 180), (1, 0.7, 0.5, 0.5, 0.4), 0.35, 0.005, 12, 0.15),
            lambda t: (2 * t % 1, 0.85 - 0.65 * abs(sin(3 * pi * t)), 0.8),
        ),
        Topic(
            "gardening", "gardening",
            "Wild|Blooming|Secret|Morning|Climbing|Sheltered|Cottage|Evergreen",
            "Garden|Meadow|Greenhouse|Rose Bed|Orchard|Herb Patch|Seedling|Hedge",
            "in Early Spring|behind the Wall|for Small Balconies|after the Rain",
            "is a season's diary of {x} and {y}|shows how to raise {x} from seed|"
            "wanders past {x} towards {y}|makes room for {x} in the smallest of plots",
            "climbing roses|rich compost|lavender borders|heirloom seeds|pruned apple trees|"
            "foxgloves and ferns|sun-warmed herbs|bees in the clover",
            "#d8f3dc #95d5b2 #e56b9f #ffca3a #2d6a4f", _flower,
            Timbre((900, 1600), (1, 0.1), 0.16, 0.01, 8, 0.03),
            lambda t: (0.5, 0.7 - 0.3 * (t % 1), 0.3 + 0.8 * (t % 1)),
        ),
        Topic(
            "robots", "robotics",
            "Curious|Clockwork|Electric|Tireless|Tiny|Self-Taught|Chrome|Friendly",
            "Robot|Android|Workshop|Automaton|Circuit|Machine|Drone|Prototype",
            "from Osaka|on the Assembly Line|with a Plan|in the Basement Lab",
            "introduces a builder of {x} and {y}|takes apart {x} to see what makes it tick|"
            "is a hands-on story of {x} and a soldering iron|learns to walk with help from {x}",
            "servo motors|balancing sensors|a steady gripper|neural controllers|blinking diodes|"
            "gears and pulleys|a mechanical arm|tangled wires",
            "#ced4da #8d99ae #3a506b #5bc0eb #fde74c", _robot,
            Timbre((110, 220), (1, 0, 0.33, 0, 0.2, 0, 0.14), 0.12, 0.001, 2, 0),
            lambda t: (floor(6 * t) / 6 % 1, 0.5 + 0.12 * (floor(6 * t) % 2), 1),
        ),
        Topic(
            "mystery", "mystery",
            "Vanished|Crooked|Foggy|Forgotten|Locked|Whispering|Second|Hollow",
            "Witness|Manor|Letter|Detective|Alibi|Key|Inheritance|Lighthouse",
            "of Blackwood|at Midnight|on Platform Nine|without a Name",
            "turns on {x} and {y}|begins with {x} and a very cold trail|"
            "is a puzzle of {x} in a house full of suspects|hides the truth behind {x}",
            "a missing heirloom|a forged signature|footprints in the fog|an unreliable witness|"
            "a locked study|a coded diary|a stranger on the night train|a stopped clock",
            "#22223b #4a4e69 #c9ada7 #f2e9e4 #9a8c98", _lens,
            Timbre((130, 260), (1, 0.4, 0, 0.2), 0.6, 0.15, 1.5, 0.05),
            lambda t: (0.5 + 0.28 * cos(2 * pi * t), 0.5 + 0.25 * sin(2 * pi * t), 1),
        ),
    )  # fmt: skip


TOPICS = _topic_table()
SENTENCES = (
    "Expect {x} and {y}.",
    "It takes its time with {x}, then turns to {y}.",
    "Anyone who loves {label} will enjoy {x}.",
    "Between {x} and {y}, there is hardly a dull minute.",
    "The best moments belong to {x}.",
)
ASIDES = (
    "There is a touch of {label} too: {x}.",
    "A detour into {label} brings in {x}.",
    "Along the way it borrows {x} from the world of {label}.",
)


@dataclass(frozen=True)
class Item:
    """One item before its media are drawn: a main topic and a second one with a smaller weight."""

    item_id: str
    topic: Topic
    second: Topic | None
    share: float  # of the second topic, 0 when there is none
    title: str
    text: str


def _titles(topic: Topic, rng: np.random.Generator) -> list[str]:
    """All titles of a topic in random order; short and long ones alternate, then the long rest."""
    short = [f"{a} {n}" for a in topic.adjectives.split("|") for n in topic.nouns.split("|")]
    long = [f"{title} {tail}" for title in short for tail in topic.tails.split("|")]
    rng.shuffle(short)
    rng.shuffle(long)
    return [title for pair in zip(short, long, strict=False) for title in pair] + long[len(short) :]


def _write_text(title: str, topic: Topic, second: Topic | None, rng: np.random.Generator) -> str:
    """One to three sentences that start with the title."""
    x, y, z, w = rng.choice(topic.details.split("|"), 4, replace=False)
    sentences = [f"{title} {rng.choice(topic.leads.split('|'))}.".format(x=x, y=y)]
    if rng.random() < 0.7:
        sentences.append(str(rng.choice(SENTENCES)).format(x=z, y=w, label=topic.label))
    if second:
        aside = str(rng.choice(ASIDES))
        sentences.append(aside.format(x=rng.choice(second.details.split("|")), label=second.label))
    return " ".join(sentences)


def _draw_items(count: int, rng: np.random.Generator) -> list[Item]:
    titles = {topic.name: iter(_titles(topic, rng)) for topic in TOPICS}
    result = []
    for number, main in enumerate(rng.permutation(np.arange(count) % len(TOPICS)), start=1):
        topic, second, share = TOPICS[main], None, 0.0
        if rng.random() < 0.4:
            second = TOPICS[(main + rng.integers(1, len(TOPICS))) % len(TOPICS)]
            share = rng.uniform(0.2, 0.45)
        title = next(titles[topic.name])
        text = _write_text(title, topic, second, rng)
        result.append(Item(f"item-{number:04d}", topic, second, share, title, text))
    return result


def _palette(topic: Topic, rng: np.random.Generator) -> list[Colour]:
    """The topic's five colours, a little lighter or darker and a little off in hue."""
    tint = rng.normal(1, 0.06) * rng.normal(1, 0.04, 3)
    colours = np.array([ImageColor.getrgb(code)[:3] for code in topic.palette.split()])
    return [(int(r), int(g), int(b)) for r, g, b in np.clip(colours * tint, 0, 255)]


def _backdrop(
    size: tuple[int, int], colours: list[Colour], rng: np.random.Generator
) -> Image.Image:
    """A gradient between the first two colours, in a random direction, of size (width, height)."""
    angle = rng.uniform(0.2, 1.3)
    x, y = np.linspace(0, 1, size[0])[None, :, None], np.linspace(0, 1, size[1])[:, None, None]
    mix = (x * cos(angle) + y * sin(angle)) / (cos(angle) + sin(angle))
    first, last = np.array(colours[0]), np.array(colours[1])
    return Image.fromarray((first + (last - first) * mix).astype(np.uint8))


def _draw_image(item: Item, rng: np.random.Generator) -> Image.Image:
    """A scene of 160-256 px a side: one large motif among small ones, some of the second topic."""
    width, height = (int(side) for side in rng.integers(160, 257, 2))
    colours = _palette(item.topic, rng)
    image = _backdrop((2 * width, 2 * height), colours, rng)  # halved below: smooth edges
    draw, side = ImageDraw.Draw(image), min(width, height)
    small = [(item.topic, colours)] * int(rng.integers(2, 6))
    if item.second:
        small += [(item.second, _palette(item.second, rng))] * 2
    for topic, palette in small:
        x, y = rng.uniform(0, 2 * width), rng.uniform(0, 2 * height)
        topic.motif(draw, x, y, side * rng.uniform(0.12, 0.28), palette)
    x, y = 2 * width * rng.uniform(0.38, 0.62), 2 * height * rng.uniform(0.38, 0.62)
    item.topic.motif(draw, x, y, side * rng.uniform(0.45, 0.7), colours)
    return image.reduce(2)


def _melody(
    timbre: Timbre, samples: int, rate: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Random notes of one timbre with hiss: (samples,), peak 1."""
    wave = np.zeros(samples)
    root = rng.uniform(*timbre.pitch)
    step = int(timbre.note * rng.uniform(0.85, 1.15) * rate)
    for start in range(0, samples, step):
        time = np.arange(min(2 * step, samples - start)) / rate  # a note rings into the next
        pitch = root * 2 ** (rng.choice(PENTATONIC) / 12)
        tone = np.zeros_like(time)
        for k, amplitude in enumerate(timbre.harmonics, start=1):
            if k * pitch < rate / 2:
                tone += amplitude * np.sin(2 * pi * k * pitch * time)
        fade = np.minimum(1, (2 * step / rate - time) / 0.01)  # 10 ms against clicks
        envelope = np.minimum(1, time / timbre.attack) * np.exp(-timbre.decay * time) * fade
        wave[start : start + time.size] += tone * envelope
    wave /= np.abs(wave).max()
    wave += timbre.hiss * rng.normal(0, 0.3, samples)
    return wave / np.abs(wave).max()


def _draw_audio(item: Item, rate: int, layout: str, rng: np.random.Generator) -> NDArray[np.int16]:
    """1.2-2.5 seconds of sound: (samples, channels)."""
    samples = int(rate * rng.uniform(1.2, 2.5))
    mono = _melody(item.topic.timbre, samples, rate, rng)
    if item.second:
        mono = (1 - item.share) * mono + item.share * _melody(
            item.second.timbre, samples, rate, rng
        )
    channels = [mono]
    if layout == "stereo":
        channels.append(rng.uniform(0.6, 1) * np.roll(mono, int(0.01 * rate)))
    loudness = rng.uniform(0.4, 0.9) * 32767
    return (np.stack(channels, axis=1) * loudness).astype(np.int16)


def _draw_video(item: Item, rate: int, rng: np.random.Generator) -> list[Image.Image]:
    """1.2 seconds of frames, 112-176 px wide, in which the motifs move as their topics do."""
    width, height = (2 * int(half) for half in rng.integers((56, 48), (89, 73)))
    colours = _palette(item.topic, rng)
    backdrop = _backdrop((2 * width, 2 * height), colours, rng)
    cast = [(item.topic, colours, 0.5), (item.topic, colours, 0.25)]
    if item.second:
        cast[1] = (item.second, _palette(item.second, rng), 0.3)
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


def _save_audio(path: Path, samples: NDArray[np.int16], rate: int, layout: str) -> None:
    with av.open(str(path), "w", options=BITEXACT) as container:
        stream = container.add_stream(AUDIO_CODECS[path.suffix], rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = layout
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _save_video(path: Path, frames: list[Image.Image], rate: int) -> None:
    with av.open(str(path), "w", options=BITEXACT) as container:
        stream = container.add_stream("libx264", rate=rate, options=X264)
        assert isinstance(stream, av.VideoStream)
        stream.codec_context.thread_count = 1  # the bytes may depend on the number of threads
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())


def _save_media(path: Path, modality: str, item: Item, turn: int, rng: np.random.Generator) -> None:
    if modality == "image":
        _draw_image(item, rng).save(path)
    elif modality == "audio":
        rate, layout = AUDIO_FORMS[turn % len(AUDIO_FORMS)]
        _save_audio(path, _draw_audio(item, rate, layout, rng), rate, layout)
    else:
        rate = (15, 20, 25)[turn % 3]
        _save_video(path, _draw_video(item, rate, rng), rate)


def _draw_interactions(
    items: list[Item], users: int, mean: float, rng: np.random.Generator
) -> Iterable[tuple[str, str, int]]:
    """Yield (user_id, item_id, timestamp): probability ~ affinity x popularity x noise."""
    index = {topic.name: k for k, topic in enumerate(TOPICS)}
    mixture = np.zeros((len(items), len(TOPICS)))
    for row, item in zip(mixture, items, strict=True):
        row[index[item.topic.name]] = 1 - item.share
        if item.second:
            row[index[item.second.name]] = item.share
    popularity = rng.permutation(np.arange(1, len(items) + 1) ** -0.25)
    for number in range(1, users + 1):
        likes = rng.choice(len(TOPICS), rng.integers(1, 3), replace=False)
        taste = np.full(len(TOPICS), 0.02)  # now and then anyone tries anything
        taste[likes] += rng.dirichlet(np.full(likes.size, 3.0))
        weight = (mixture @ taste) * popularity * rng.lognormal(0, 0.3, len(items))
        count = min(len(items), max(4, rng.poisson(mean)))
        chosen = rng.choice(len(items), count, replace=False, p=weight / weight.sum())
        gaps = 1 + rng.exponential(5 * 86400, count).astype(np.int64)
        for row, time in zip(chosen, FIRST_TIMESTAMP + np.cumsum(gaps), strict=True):
            yield f"user-{number:04d}", items[row].item_id, int(time)


def _write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_sample(
    folder: Path, *, seed: int, users: int, items: int, interactions_per_user: int
) -> None:
    """Write a catalogue in the raw layout to an empty `folder`; equal seeds give equal bytes.

    About 16 % of the items have an image, 15 % audio and 12 % video, drawn independently; all
    have text. Every user has at least four interactions (fewer only where there are fewer items)
    and about `interactions_per_user` on average. Raises InputError if there are more items than
    distinct titles, and FileExistsError if `folder` already holds media.
    """
    capacity = len(TOPICS) * min(len(_titles(topic, np.random.default_rng(0))) for topic in TOPICS)
    if items > capacity:
        raise InputError(f"sample.items: {items} is more than the {capacity} distinct titles")
    # Independent streams: a change to the drawings does not change who likes what.
    streams = np.random.SeedSequence(seed).spawn(3)
    words, media, taste = (np.random.Generator(np.random.PCG64(stream)) for stream in streams)
    catalogue = _draw_items(items, words)

    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[tuple[str, str], str] = {}
    jobs = []
    for modality, share in MEDIA_SHARES.items():
        (folder / _subfolder(modality)).mkdir()
        for turn, row in enumerate(sorted(media.permutation(items)[: round(share * items)])):
            jobs.append((modality, turn, catalogue[row]))
    for modality, turn, item in tqdm(jobs, desc="sample", unit="file", disable=None):
        suffix = SUFFIXES[modality][turn % len(SUFFIXES[modality])]
        path = f"{_subfolder(modality)}/{item.item_id}.{suffix}"
        _save_media(folder / path, modality, item, turn, media)
        paths[item.item_id, modality] = path

    _write_csv(
        folder / "items.csv",
        ("item_id", "title", "text", *MEDIA_SHARES, "topic"),
        (
            (i.item_id, i.title, i.text)
            + tuple(paths.get((i.item_id, modality), "") for modality in MEDIA_SHARES)
            + (i.topic.name,)
            for i in catalogue
        ),
    )
    _write_csv(
        folder / "interactions.csv",
        ("user_id", "item_id", "timestamp"),
        _draw_interactions(catalogue, users, interactions_per_user, taste),
    )


def _subfolder(modality: str) -> str:
    return "images" if modality == "image" else modality


def _summary(folder: Path) -> str:
    def rows(name: str) -> list[dict[str, str]]:
        with (folder / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    items, interactions = rows("items.csv"), rows("interactions.csv")
    image, audio, video = (sum(bool(row[m]) for row in items) for m in MEDIA_SHARES)
    users = len({row["user_id"] for row in interactions})
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    return (
        f"{len(items):,} items ({image} images, {audio} audio, {video} videos), "
        f"{users:,} users, {len(interactions):,} interactions, {size:.1f} MB"
    )


def main() -> None:
    """Write the sample that `params.yaml` describes, replacing an older one only when complete."""
    sample = params.load().sample
    with atomic_folder(FOLDER) as folder:
        write_sample(
            folder,
            seed=sample.seed,
            users=sample.users,
            items=sample.items,
            interactions_per_user=sample.interactions_per_user,
        )
    log.info("%s -> %s", _summary(FOLDER), FOLDER)


if __name__ == "__main__":
    run(main)
