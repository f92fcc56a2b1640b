"""Image files → RGB."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoders.media import MediaError, decoding

if TYPE_CHECKING:
    from PIL import Image


def read_image(path: Path) -> Image.Image:
    """The (first) image of a file in mode RGB: upright, 16 bits scaled to 8, alpha over white.

    Refuses what Pillow takes for a decompression bomb.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    with decoding("an image", path):
        try:
            with Image.open(path) as image:
                return to_rgb(ImageOps.exif_transpose(image))
        except Image.DecompressionBombError:
            raise MediaError(
                f"too large: more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
            ) from None
        except UnidentifiedImageError:
            raise MediaError("not an image of a known format") from None


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode → RGB. MediaError for floating-point pixels, whose range is unknown."""
    from PIL import Image

    if image.mode == "F":
        raise MediaError("floating-point pixels; save the image with 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):  # Pillow's convert would clip at 255
        pixels = np.asarray(image).astype(np.float64).clip(0, 65_535) / 257
        image = Image.fromarray(pixels.round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
