"""Raw media → float32 (n, d): one module an encoder; no ids, no project paths.

Importing this package costs next to nothing; an encoder's libraries are imported with it.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from encoders.base import Encoder

MODALITIES = ("text", "image", "audio", "video")


@dataclass(frozen=True)
class Entry:
    """What is known about an encoder without importing it; its module has the encoder's name."""

    modality: str
    class_name: str


ENCODERS = {
    "minilm": Entry("text", "MiniLM"),
    "vit": Entry("image", "ViT"),
    "vggish": Entry("audio", "VGGish"),
    "r2plus1d": Entry("video", "R2Plus1D"),
}


def encoder_class(name: str) -> type[Encoder]:
    """The class behind a name of `ENCODERS`. ValueError lists the valid names."""
    if name not in ENCODERS:
        raise ValueError(f"encoder {name!r} is not valid; valid: {', '.join(ENCODERS)}")
    module = importlib.import_module(f"encoders.{name}")
    cls: type[Encoder] = getattr(module, ENCODERS[name].class_name)
    return cls


def load_encoder(name: str, weights: str, device: torch.device) -> Encoder:
    """Build an encoder, ready to encode. WeightsError if `weights` cannot be used."""
    return encoder_class(name)(weights, device)
