"""R(2+1)D-18: video → 512, the mean over clips of 16 consecutive frames.

https://arxiv.org/abs/1711.11248
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from encoders.base import PixelsEncoder
from encoders.download import UrlFile
from encoders.media.resizing import centre, resized
from encoders.media.video import read_video
from encoders.weights import Layout, he_initialise

if TYPE_CHECKING:
    from torch import Tensor, nn

SECONDS = 30.0  # only the first are looked at
CLIPS = 5  # at most, one after the other, as the published features were made
RESIZED, CROP = (128, 171), 112  # pixels: height and width, then the centre's side


def reduced(frame: Tensor) -> Tensor:
    """(3, h, w) uint8 → (3, 112, 112) uint8."""
    return centre(resized(frame, RESIZED, "bilinear", antialias=False), CROP)


def clips(frames: NDArray[np.uint8], length: int) -> NDArray[np.uint8]:
    """(t, ...), t ≥ 1 → (n, length, ...): whole clips; the last frame repeats where t < length."""
    short = length - len(frames)
    if short > 0:
        frames = np.concatenate([frames, frames[-1:].repeat(short, 0)])
    n = len(frames) // length
    return frames[: n * length].reshape(n, length, *frames.shape[1:])


class R2Plus1D(PixelsEncoder):
    """torchvision's r2plus1d_18 up to the pooled features."""

    name = "r2plus1d"
    modality = "video"
    width = 512
    model_id = "R(2+1)D-18"
    frames: ClassVar[int] = 16  # of a clip
    preprocessing = (
        f"3: first {SECONDS:g} s, at most {CLIPS} contiguous clips of {frames} frames from the "
        "start (the last frame repeats in a shorter video), 128x171 bilinear, centre 112x112, "
        "Kinetics mean and deviation, mean over clips"
    )
    license = "BSD-3-Clause"
    libraries = ("av", "decord", "torch", "torchvision")
    published = UrlFile(
        "https://download.pytorch.org/models/r2plus1d_18-91a641e6.pth",
        "91a641e6c2ab531d1aca5f4321b4d802ec5c3babc15df855cdb6e39c6a1107c8",
    )
    layout = Layout(unused=("fc.",))
    mean = (0.43216, 0.394666, 0.37645)  # of Kinetics
    deviation = (0.22803, 0.22145, 0.216989)
    chunk = {"cpu": 2, "cuda": 32}
    usual_parts = CLIPS

    @classmethod
    def build(cls) -> nn.Module:
        import torch
        from torchvision.models.video import r2plus1d_18

        model = r2plus1d_18(weights=None)
        model.fc = torch.nn.Identity()
        # Channels last: 1.4 times as fast on a CPU.
        return he_initialise(model).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    @classmethod
    def prepare(cls, source: str | Path) -> NDArray[np.uint8]:
        """(n, frames, 3, 112, 112) uint8, 1 ≤ n ≤ `CLIPS`."""
        # Each frame is reduced as it comes: 80 frames of 4K would be 2 GB.
        video = read_video(Path(source), CLIPS * cls.frames, SECONDS, reduced)
        return clips(video.numpy(), cls.frames)

    def forward(self, parts: Tensor) -> Tensor:
        import torch

        pixels = (
            self.normalised(parts).transpose(1, 2).contiguous(memory_format=torch.channels_last_3d)
        )
        vectors: Tensor = self.model(pixels)  # from (n, 3, frames, 112, 112)
        return vectors
