"""R(2+1)D-34 on clips of 32 frames, trained on IG-65M, then Kinetics: video → 512.

https://arxiv.org/abs/1905.00561; the weights are github.com/moabitcoin/ig65m-pytorch's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoders.download import UrlFile
from encoders.r2plus1d import R2Plus1D
from encoders.weights import he_initialise

if TYPE_CHECKING:
    from torch import nn


class R2Plus1D34(R2Plus1D):
    """The 34-layer network that the paper's video features were made with."""

    name = "r2plus1d_34"
    model_id = "R(2+1)D-34, 32 frames, IG-65M and Kinetics"
    frames = 32
    preprocessing = R2Plus1D.preprocessing.replace("of 16 frames", f"of {frames} frames")
    license = "MIT"
    published = UrlFile(  # the name carries the first digits of the hash
        "https://github.com/moabitcoin/ig65m-pytorch/releases/download/v1.0.0/"
        "r2plus1d_34_clip32_ft_kinetics_from_ig65m-ade133f1.pth",
        "ade133f1",
    )
    chunk = {"cpu": 1, "cuda": 16}

    @classmethod
    def build(cls) -> nn.Module:
        import torch
        from torchvision.models.video.resnet import (
            BasicBlock,
            Conv2Plus1D,
            R2Plus1dStem,
            VideoResNet,
        )

        model = VideoResNet(BasicBlock, [Conv2Plus1D] * 4, [3, 4, 6, 3], R2Plus1dStem)
        model.fc = torch.nn.Identity()
        # The original, in Caffe2, has other widths between the halves of these convolutions
        # (torchvision's issue 1265), and another epsilon.
        for stage, width, middle in ((2, 128, 288), (3, 256, 576), (4, 512, 1152)):
            block = getattr(model, f"layer{stage}")[0]
            block.conv2[0] = Conv2Plus1D(width, width, middle)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.eps = 1e-3
            elif isinstance(module, BasicBlock):  # or a random network's signal grows with depth
                torch.nn.init.constant_(module.conv2[1].weight, 0.5)
        return he_initialise(model).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
