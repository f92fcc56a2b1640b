"""Pictures resized to the very numbers that torchvision gives, by the kernel that it calls.

Importing torchvision takes longer than importing torch, whose compiler it brings along: worker
processes would wait for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


def pixels_of(image: Image) -> Tensor:
    """An RGB image → (3, h, w) uint8."""
    import torch

    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def resized(pixels: Tensor, size: Sequence[int], mode: str, *, antialias: bool = True) -> Tensor:
    """(c, h, w) uint8 → (c, *size) uint8.

    As `resize` of torchvision's transforms.v2; without antialiasing, as that of its transforms.

    Args:
        mode: bilinear or bicubic.
    """
    import torch
    from torch.nn import functional as F

    if list(pixels.shape[1:]) == list(size):
        return pixels
    fast = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    whole = antialias and (mode == "bicubic" or fast)  # in whole numbers throughout
    given = pixels[None] if whole else pixels[None].float()
    made = F.interpolate(given, list(size), mode=mode, align_corners=False, antialias=antialias)[0]
    return made if whole else made.clamp(0, 255).round().to(torch.uint8)


def shorter_side(pixels: Tensor, side: int) -> list[int]:
    """The height and width at which the shorter side is `side`, the longer one cut to a whole."""
    height, width = pixels.shape[1:]
    if height <= width:
        return [side, int(side * width / height)]
    return [int(side * height / width), side]


def centre(pixels: Tensor, side: int) -> Tensor:
    """The middle `side` × `side` of (c, h, w), which is at least as large."""
    height, width = pixels.shape[1:]
    top, left = round((height - side) / 2), round((width - side) / 2)
    return pixels[:, top : top + side, left : left + side]
