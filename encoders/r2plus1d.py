"""R(2+1)D-18: video → 512, the mean over clips of 16 consecutive frames.

https://arxiv.org/abs/1711.11248
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.video import R2Plus1D_18_Weights, r2plus1d_18

from encoders.base import PartsEncoder
from encoders.download import UrlFile
from encoders.media import read_video
from encoders.weights import Layout, he_initialise

FRAMES = 16  # of a clip
SECONDS = 30.0  # only the first are looked at
CLIPS = 1  # at most; the published recipe takes 5, at five times the cost

# (t, 3, h, w) uint8 → (3, t, 112, 112) float32. The declaration only: no weights are fetched.
PRESET = R2Plus1D_18_Weights.KINETICS400_V1.transforms()


def clips(frames: Tensor) -> Tensor:
    """(t, ...), t ≥ 1 → (n, 16, ...): whole clips; the last frame repeats where t < 16."""
    short = FRAMES - len(frames)
    if short > 0:
        frames = torch.cat([frames, frames[-1:].expand(short, *frames.shape[1:])])
    n = len(frames) // FRAMES
    return frames[: n * FRAMES].reshape(n, FRAMES, *frames.shape[1:])


class R2Plus1D(PartsEncoder):
    """torchvision's r2plus1d_18 up to the pooled features."""

    name = "r2plus1d"
    modality = "video"
    width = 512
    model_id = "R(2+1)D-18"
    preprocessing = (
        f"1: first {SECONDS:g} s, at most {CLIPS} contiguous clips of {FRAMES} frames from the "
        "start (the last frame repeats in a shorter video), 128x171 bilinear, centre 112x112, "
        "Kinetics mean and deviation, mean over clips"
    )
    license = "BSD-3-Clause"
    libraries = ("av", "decord", "torch", "torchvision")
    published = UrlFile(
        R2Plus1D_18_Weights.KINETICS400_V1.url,
        "91a641e6c2ab531d1aca5f4321b4d802ec5c3babc15df855cdb6e39c6a1107c8",
    )
    layout = Layout(unused=("fc.",))
    chunk = 4

    @classmethod
    def build(cls) -> nn.Module:
        model = r2plus1d_18(weights=None)
        model.fc = nn.Identity()
        return he_initialise(model)

    @classmethod
    def prepare(cls, source: str | Path) -> Tensor:
        """(n, 3, 16, 112, 112) float32, 1 ≤ n ≤ `CLIPS`."""
        # Each frame is reduced as it comes: 16 frames of 4K would be 400 MB.
        frames = read_video(
            Path(source), CLIPS * FRAMES, SECONDS, lambda frame: PRESET(frame[None])[:, 0]
        )
        return clips(frames).transpose(1, 2)
