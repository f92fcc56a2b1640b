"""Audio files → samples."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders.media import MediaError, decoding, remark
from encoders.media.ffmpeg import decoded, open_av, remark_damage

if TYPE_CHECKING:
    from torch import Tensor

STATING = ("flac", "wav", "w64", "aiff", "caf", "mov", "ogg")  # others guess by their bit rate
KERNEL = 1_000_000  # coefficients that torchaudio's resampling may need


def read_audio(path: Path, rate: int, seconds: float) -> Tensor:
    """(s,) float32 in [-1, 1] at `rate` Hz: the mean of a file's own channels.

    At most the first `seconds`. FFmpeg's own downmix would scale stereo by √2. Rate and channels
    may change within a file, as where two were joined. Damaged packets are left out, with a remark.
    """
    import torch

    with decoding("audio", path), open_av(path) as container:
        if not container.streams.audio:
            raise MediaError("no audio in the file")
        damage: list[Exception] = []
        heard, parts = 0.0, []
        with contextlib.closing(decoded(container, container.streams.audio[0], damage)) as frames:
            for native, run in groupby(_mono(frames), lambda piece: piece[0]):
                samples = _first(math.ceil((seconds - heard) * native), run)
                parts.append(resampled(samples, native, rate))
                heard += len(samples) / native
                if heard >= seconds:
                    break
        if not heard:
            raise damage[0] if damage else MediaError("no audio samples in the file")
        said = _stated(container)
        if damage:
            remark_damage(f"{heard:.1f} s were heard", damage)
        elif heard < min(said, seconds) - max(0.1, 0.01 * said):
            remark(f"damaged: {heard:.1f} of {said:.1f} s were heard")
        return torch.cat(parts)


def _stated(container: Any) -> float:
    """How many seconds a file says that it has; 0 if it does not say."""
    stream = container.streams.audio[0]
    stated = container.format.name.split(",")[0] in STATING and stream.duration
    return float(stream.duration * stream.time_base) if stated else 0.0


def _mono(frames: Iterable[Any]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Each frame's rate in Hz, and the mean of its channels."""
    import av

    known = None
    for frame in frames:
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if kind != known:
            # The sample format alone. Not the planar one: PyAV dies of more than eight planes.
            known, converter = kind, av.AudioResampler(format="flt")
        for part in converter.resample(frame):
            samples = part.to_ndarray().reshape(-1, part.layout.nb_channels)
            with np.errstate(over="ignore", invalid="ignore"):  # samples that are no numbers
                mono = np.ascontiguousarray(samples.T).mean(0)
            yield frame.sample_rate, mono


def _first(count: int, pieces: Iterable[tuple[int, NDArray[np.float32]]]) -> NDArray[np.float32]:
    """At most `count` samples, of no more pieces than that takes."""
    chosen, left = [], count
    for _, samples in pieces:
        chosen.append(samples)
        left -= len(samples)
        if left <= 0:
            break
    return np.concatenate(chosen)[:count]


def resampled(samples: NDArray[np.float32], native: int, rate: int) -> Tensor:
    """(s,) at `native` Hz → (ceil(s · rate / native),) at `rate` Hz.

    By torchaudio where the rates have a common divisor that keeps its kernel small, as all usual
    ones have. The kernel of 44,101 Hz would take 4 GiB: there libswresample interpolates between
    the phases of a small one (signal to noise above 90 dB).
    """
    import torch
    from torchaudio.functional import resample

    divisor = math.gcd(native, rate)
    if (native // divisor) * (rate // divisor) <= KERNEL:
        result: Tensor = resample(torch.from_numpy(samples), native, rate)
        return result
    import av

    frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
    frame.sample_rate = native
    converter = av.AudioResampler(format="flt", layout="mono", rate=rate)
    parts = [part.to_ndarray()[0] for end in (frame, None) for part in converter.resample(end)]
    return torch.from_numpy(np.concatenate(parts)[: math.ceil(len(samples) * rate / native)])
