"""CLIP ViT-B/32: image → 512, in the space that CLIP shares between images and captions.

https://arxiv.org/abs/2103.00020, https://huggingface.co/openai/clip-vit-base-patch32
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoders.base import PixelsEncoder
from encoders.download import HubFile
from encoders.media.image import read_image
from encoders.media.resizing import centre, pixels_of, resized, shorter_side
from encoders.weights import Layout

if TYPE_CHECKING:
    from torch import Tensor, nn

SIZE = 224


class CLIP(PixelsEncoder):
    """The image tower with its projection."""

    name = "clip"
    modality = "image"
    width = 512
    model_id = "CLIP ViT-B/32, image tower"
    preprocessing = (
        f"2: RGB (EXIF orientation, alpha over white), shorter side {SIZE} bicubic antialiased, "
        f"centre {SIZE}x{SIZE}, CLIP's mean and deviation; projected"
    )
    license = "MIT"
    libraries = ("pillow", "torch", "transformers")
    published = HubFile(
        "openai/clip-vit-base-patch32",
        "pytorch_model.bin",
        "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
        "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
    )
    layout = Layout(
        unused=(
            "text_model.",
            "text_projection.",
            "logit_scale",
            "vision_model.embeddings.position_ids",
        )
    )
    mean = (0.48145466, 0.4578275, 0.40821073)
    deviation = (0.26862954, 0.26130258, 0.27577711)
    chunk = {"cpu": 8, "cuda": 256}

    @classmethod
    def build(cls) -> nn.Module:
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        return CLIPVisionModelWithProjection(CLIPVisionConfig())  # the defaults are ViT-B/32

    @classmethod
    def prepare(cls, source: str | Path) -> NDArray[np.uint8]:
        """(1, 3, 224, 224) uint8."""
        image = pixels_of(read_image(Path(source)))
        image = resized(image, shorter_side(image, SIZE), "bicubic")
        prepared: NDArray[np.uint8] = centre(image, SIZE)[None].numpy()
        return prepared

    def forward(self, parts: Tensor) -> Tensor:
        vectors: Tensor = self.model(self.normalised(parts)).image_embeds
        return vectors
