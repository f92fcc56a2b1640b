"""The real decoders and preprocessing before networks of no cost. Worker processes import them."""

import time

import torch
from torch import nn

from encoders.r2plus1d import R2Plus1D
from encoders.vggish import VGGish
from encoders.vit import ViT


class Mean(nn.Module):
    """The mean of each part, `width` times."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, parts):
        return parts.float().flatten(1).mean(1, keepdim=True).expand(-1, self.width)


class TinyViT(ViT):
    width = 2

    @classmethod
    def build(cls):
        return nn.Identity()

    def forward(self, parts):
        return torch.stack([parts[:, c].float().mean((1, 2)) for c in (0, 2)], 1)


class TinyVGGish(VGGish):
    width = 2

    @classmethod
    def build(cls):
        return Mean(cls.width)


class TinyR2Plus1D(R2Plus1D):
    width = 2

    @classmethod
    def build(cls):
        return Mean(cls.width)


TINY = {"image": TinyViT, "audio": TinyVGGish, "video": TinyR2Plus1D}


class Trap(TinyViT):
    """Decodes as it is told by the file's name."""

    @classmethod
    def prepare(cls, source):
        match source.stem:
            case "hangs":
                time.sleep(600)
            case "crashes":
                import ctypes

                ctypes.string_at(0)
            case "swells":
                bytearray(40 << 30)
            case "raises":
                raise RuntimeError("of no known kind")
        return super().prepare(source)
