"""ViT-B/16: image → 768, the last layer's class token.

https://huggingface.co/google/vit-base-patch16-224-in21k
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoders.base import PixelsEncoder
from encoders.download import HubFile
from encoders.media.image import read_image
from encoders.media.resizing import pixels_of, resized
from encoders.weights import Layout

if TYPE_CHECKING:
    from torch import Tensor, nn

SIZE = 224


class ViT(PixelsEncoder):
    """ViT-B/16 at 224 pixels, without the pooler."""

    name = "vit"
    modality = "image"
    width = 768
    model_id = "ViT-B/16, 224 pixels"
    preprocessing = (
        f"2: RGB (EXIF orientation, alpha over white), {SIZE}x{SIZE} bilinear antialiased, "
        "scaled to [-1, 1]; class token of the last layer"
    )
    license = "Apache-2.0"
    libraries = ("pillow", "torch")
    published = HubFile(  # the commit pins the file
        "google/vit-base-patch16-224-in21k",
        "model.safetensors",
        "b4569560a39a0f1af58e3ddaf17facf20ab919b0",
    )
    # As transformers 5 renames these of the published files.
    layout = Layout(
        renames=(
            (r"^(vit\.)?encoder\.layer\.", "layers."),
            (r"\.attention\.attention\.query\.", ".attention.q_proj."),
            (r"\.attention\.attention\.key\.", ".attention.k_proj."),
            (r"\.attention\.attention\.value\.", ".attention.v_proj."),
            (r"\.attention\.output\.dense\.", ".attention.o_proj."),
            (r"\.intermediate\.dense\.", ".mlp.fc1."),
            (r"\.output\.dense\.", ".mlp.fc2."),
            (r"^vit\.", ""),
        ),
        unused=("pooler.", "vit.pooler.", "classifier."),
    )
    mean = deviation = (0.5, 0.5, 0.5)
    chunk = {"cpu": 4, "cuda": 128}

    @classmethod
    def build(cls) -> nn.Module:
        from encoders.networks.vit import random_vit

        return random_vit()

    @classmethod
    def prepare(cls, source: str | Path) -> NDArray[np.uint8]:
        """(1, 3, 224, 224) uint8."""
        image = resized(pixels_of(read_image(Path(source))), [SIZE, SIZE], "bilinear")
        prepared: NDArray[np.uint8] = image[None].numpy()
        return prepared

    def forward(self, parts: Tensor) -> Tensor:
        states: Tensor = self.model(self.normalised(parts))  # (n, 197, 768)
        return states[:, 0]
