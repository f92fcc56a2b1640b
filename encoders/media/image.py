"""Image files → RGB."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoders.media import MediaError, decoding, reason_of, remark
from encoders.media.mending import ended_jpeg, lean_png

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION = 0x0112  # EXIF's tag


def read_image(path: Path) -> Image.Image:
    """The (first) image of a file in mode RGB: upright, 16 bits scaled to 8, alpha over white.

    Refuses what Pillow takes for a decompression bomb. What is wrong beside the pixels, such as
    EXIF, a text, or the end of a JPEG, costs a remark and no pixel.
    """
    from PIL import Image, UnidentifiedImageError

    with decoding("an image", path):
        try:
            return _rgb(path)
        except Image.DecompressionBombError:
            raise MediaError(
                f"too large: more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
            ) from None
        except (MediaError, MemoryError):
            raise
        except Exception as error:
            data = path.read_bytes()
            if jpeg := ended_jpeg(data):
                image = _rgb(BytesIO(jpeg))
                remark("the end of the JPEG is missing, none of its pixels are")
                return image
            if png := lean_png(data):
                image = _rgb(BytesIO(png))
                remark(f"read without what the PNG says beside its pixels ({reason_of(error)})")
                return image
            if isinstance(error, UnidentifiedImageError):
                raise MediaError("not an image of a known format") from None
            raise


def _rgb(file: Path | BytesIO) -> Image.Image:
    from PIL import Image

    with warnings.catch_warnings(record=True) as warned:  # also where a file is merely opened
        warnings.simplefilter("always")
        with Image.open(file) as image:
            image.load()
            try:
                exif = image.getexif()
                orientation = exif.get(ORIENTATION)
                # Some garbage Pillow warns of, other garbage it takes for no EXIF.
                broken = any("EXIF" in str(w.message) for w in warned)
                broken = broken or bool(image.info.get("exif")) and not exif
            except Exception:
                orientation, broken = None, True
            if broken and orientation is None:
                remark("its EXIF cannot be read: taken as upright")
            return to_rgb(upright(image, orientation))


def upright(image: Image.Image, orientation: object) -> Image.Image:
    """The image as EXIF's `orientation` says that it is to be held.

    `ImageOps.exif_transpose` would also write the EXIF anew, and fail where it is broken.
    """
    from PIL import Image

    turns = (
        Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270,
        Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90,
    )  # fmt: skip
    if isinstance(orientation, int) and 2 <= orientation <= 8:
        return image.transpose(turns[orientation - 2])
    return image


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
