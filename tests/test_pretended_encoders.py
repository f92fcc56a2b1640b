"""Encoders on a card that is pretended (`pretended`): the CPU's vectors, and what waits."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pretended import pretended_cuda
from torch import nn

from encoders import encoder_class, encoder_classes, minilm
from encoders.base import PartsEncoder, PixelsEncoder
from encoders.clip import CLIP
from encoders.networks.vit import VisionTransformer
from encoders.vit import ViT


def images(size: int) -> list[np.ndarray]:
    """Of three items, as prepared."""
    return list(np.random.default_rng(0).integers(255, size=(3, 1, 3, size, size), dtype=np.uint8))


def clips(frames: int) -> list[np.ndarray]:
    """Of two items, one and two clips of few pixels."""
    pixels = np.random.default_rng(0).integers(255, size=(3, frames, 3, 32, 32), dtype=np.uint8)
    return [pixels[:1], pixels[1:]]


def sounds() -> list[np.ndarray]:
    """Of two items, one and two examples."""
    drawn = np.random.default_rng(0).normal(size=(3, 1, 96, 64)).astype(np.float32)
    return [drawn[:1], drawn[1:]]


PREPARED: dict[str, Any] = {
    "minilm": lambda: ["a red car", "Two friends cross the desert, and one returns. " * 9],
    "clip": lambda: images(224),
    "vit": lambda: images(224),
    "vggish": sounds,
    "vggish_pca": sounds,
    "r2plus1d": lambda: clips(16),
    "r2plus1d_34": lambda: clips(32),
}


@pytest.fixture(autouse=True)
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers of one layer."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    def clip() -> nn.Module:
        return CLIPVisionModelWithProjection(CLIPVisionConfig(num_hidden_layers=1))

    monkeypatch.setattr(ViT, "build", staticmethod(lambda: VisionTransformer(layers=1)))
    monkeypatch.setattr(CLIP, "build", staticmethod(clip))


def test_all_are_here() -> None:
    assert list(PREPARED) == list(encoder_classes())


@pytest.mark.parametrize("name", PREPARED)
def test_an_encoder_gives_what_it_gives_on_the_cpu(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a chunk's copy to the card overlaps with the network's work on the one before."""
    cls, prepared = encoder_class(name), PREPARED[name]()
    if issubclass(cls, PartsEncoder):
        monkeypatch.setattr(cls, "chunk", {"cpu": 8, "cuda": 2})
    else:
        monkeypatch.setitem(minilm.CHUNK, "cuda", 60)
    expected = cls("bundled").encode(prepared)
    with pretended_cuda() as waits:
        encoder = cls("bundled", "cuda")
        waits.clear()
        encoder.encode(prepared)  # what is made once is there afterwards
        first = dict(waits)
        waits.clear()
        made = encoder.encode(prepared)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    where = [(operation, line.partition(":")[0]) for operation, line in waits.elements()]
    at_the_end = "minilm" if name == "minilm" else "base"
    assert where == [("copy to the CPU", f"encoders/{at_the_end}.py")]
    constants = 2 if issubclass(cls, PixelsEncoder) else 0
    assert sum(first.values()) == len(where) + constants


@pytest.fixture
def tf32() -> Iterator[tuple[Any, Any]]:
    """Where torch says whether TF32 stands in for float32: allowed, and put back afterwards."""
    places = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = True
    yield places
    for place, allowed in zip(places, before, strict=True):
        place.allow_tf32 = allowed


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fp32_is_not_tf32(
    precision: str, tf32: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ViT, "build", staticmethod(lambda: nn.Linear(2, 2)))
    ViT("bundled", precision=precision)
    assert [place.allow_tf32 for place in tf32] == [precision != "fp32"] * 2
