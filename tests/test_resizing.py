"""What torchvision gives, to the number, without torchvision."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as first
from torchvision.transforms.v2 import functional as second

from encoders.media.resizing import centre, pixels_of, resized, shorter_side

SIZES = [(500, 400), (37, 61), (1, 9), (224, 224), (223, 226), (1080, 1920), (128, 171)]


@pytest.mark.parametrize("capability", ["AVX512", "AVX2", "DEFAULT"])
@pytest.mark.parametrize("size", SIZES)
def test_a_picture_is_resized_as_by_torchvision(
    size: tuple[int, int], capability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    drawn = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = Image.fromarray(drawn)
    pixels = pixels_of(image)
    assert torch.equal(pixels, second.pil_to_tensor(image))
    expected = second.resize(pixels, [224, 224], InterpolationMode.BILINEAR, antialias=True)
    assert torch.equal(resized(pixels, [224, 224], "bilinear"), expected)
    expected = second.resize(pixels, [224], InterpolationMode.BICUBIC, antialias=True)
    made = resized(pixels, shorter_side(pixels, 224), "bicubic")
    assert torch.equal(made, expected)
    assert torch.equal(centre(made, 224), second.center_crop(expected, [224]))
    expected = first.resize(pixels, [128, 171], InterpolationMode.BILINEAR, antialias=False)
    made = resized(pixels, [128, 171], "bilinear", antialias=False)
    assert torch.equal(made, expected)
    assert torch.equal(centre(made, 112), first.center_crop(expected, [112]))
