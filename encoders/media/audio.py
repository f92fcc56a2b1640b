"""Audio files → samples."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoders.media import MediaError, decoding, open_av

if TYPE_CHECKING:
    from torch import Tensor


def read_audio(path: Path, rate: int, seconds: float) -> Tensor:
    """(s,) float32 in [-1, 1] at `rate` Hz: the mean of a file's own channels.

    At most the first `seconds`. FFmpeg's own downmix would scale stereo by √2.
    """
    import av
    import torch
    from torchaudio.functional import resample

    with decoding("audio", path), open_av(path) as container:
        if not container.streams.audio:
            raise MediaError("no audio in the file")
        converter = av.AudioResampler(format="fltp")  # sample format alone
        pieces: list[NDArray[np.float32]] = []
        native = left = 0
        for frame in container.decode(audio=0):
            if not native:
                native = frame.sample_rate
                left = math.ceil(seconds * native)
            pieces += [part.to_ndarray().mean(0) for part in converter.resample(frame)]
            left -= frame.samples
            if left <= 0:
                break
        pieces += [part.to_ndarray().mean(0) for part in converter.resample(None)]
        samples = np.concatenate([np.empty(0, np.float32), *pieces])
        if not len(samples):
            raise MediaError("no audio samples in the file")
        samples = samples[: math.ceil(seconds * native)]
        resampled: Tensor = resample(torch.from_numpy(samples), native, rate)
        return resampled
