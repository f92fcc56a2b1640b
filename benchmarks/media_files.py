"""Media as people have them, made for tests and for `benchmarks/fuzz.py`."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


def tone(seconds: float, rate: int, channels: int = 1, hertz: float = 440.0) -> np.ndarray:
    """(s, channels) float32: a sine of amplitude 0.5, the same in all channels."""
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, 1).astype(np.float32)


def write_audio(path: Path, samples: np.ndarray, rate: int, codec: str) -> Path:
    """(s, channels) float32 in [-1, 1], encoded."""
    layout = LAYOUTS[samples.shape[1]]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        context = stream.codec_context
        resampler = av.AudioResampler(
            format=context.format.name, layout=layout, rate=rate,
            frame_size=context.frame_size or 1024,
        )  # fmt: skip
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for source in (frame, None):
            for part in resampler.resample(source):
                container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def _frame(level: int, size: tuple[int, int], pts: int, base: Fraction) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.full((*size, 3), level, np.uint8), format="rgb24")
    frame.pts, frame.time_base = pts, base
    return frame


def write_greys(
    path: Path,
    levels: Sequence[int],
    *,
    codec: str = "libx264",
    size: tuple[int, int] = (64, 96),
    milliseconds: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    cover: bool = False,
) -> Path:
    """A frame a grey level, of (height, width); 25 a second, or shown at `milliseconds`.

    `cover` puts a white picture before it, as a video stream of its own.
    """
    base = Fraction(1, 1000) if milliseconds else Fraction(1, 25)
    times = milliseconds or range(len(levels))
    with av.open(str(path), "w") as container:
        if cover:
            picture = container.add_stream("mjpeg")
            picture.width, picture.height, picture.pix_fmt = 48, 48, "yuvj420p"
            picture.disposition = Disposition.attached_pic
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = size
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        stream.gop_size, stream.bit_rate = 250, 2_000_000
        stream.codec_context.time_base = base
        if cover:
            for packet in picture.encode(_frame(250, (48, 48), 0, base)):
                packet.pts = packet.dts = 0
                container.mux(packet)
        for level, time in zip(levels, times, strict=True):
            container.mux(stream.encode(_frame(level, size, time, base)))
        container.mux(stream.encode(None))
    return path


def cut(source: Path, target: Path, first: int, last: int) -> Path:
    """As `ffmpeg -ss … -t … -c copy` of `write_greys`' frames [first, last): it hides the others,
    back to the key frame."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for packet in old.demux(stream):
            if packet.dts is None or packet.pts * packet.time_base >= Fraction(last, 25):
                continue
            shift = int(Fraction(first, 25) / packet.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
            new.mux(packet)
    return target
