"""Items' images as small pictures that a page embeds."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

from encoders.media import MediaError
from encoders.media.image import read_image
from pipeline.common.places import Place
from pipeline.encoding.decoding import has_content, opened
from pipeline.encoding.manifest import Item
from pipeline.encoding.workers import Pool

if TYPE_CHECKING:
    from PIL import Image

SIDE = 112  # pixels of a thumbnail's longer side, at most
QUALITY = 70  # of JPEG: 2 to 4 kB a picture
SECONDS = 30.0  # that decoding one image may take


@dataclass(frozen=True)
class Thumbnail:
    """A picture as JPEG, with its size in pixels."""

    jpeg: bytes
    width: int
    height: int

    @property
    def uri(self) -> str:
        """The picture as the address of itself, for a page that stands alone."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.jpeg).decode()}"


def thumbnails(
    dataset: Place, items: Iterable[Item], seconds: float = SECONDS
) -> dict[str, Thumbnail]:
    """The pictures of those items that have one, by item_id, in the items' order.

    Images are decoded as the encoders' are, in processes of their own: one that is missing, has
    changed since `prepare` hashed it, lies outside the dataset, or cannot be decoded in time costs
    its item the picture and nothing else.

    Args:
        dataset: where the raw catalogue lies.
        items: rows of the images' manifest.
        seconds: that decoding one of them may take.
    """
    items = list(items)
    if not items:
        return {}
    found = {}
    with Pool(partial(thumbnail, dataset), seconds) as pool:
        futures = [pool.submit(item) for item in items]
        for item, future in zip(items, futures, strict=True):
            try:
                found[item.item_id] = future.result()
            except MediaError:  # `encode` says which and why
                continue
    return found


def thumbnail(dataset: Place, item: Item) -> Thumbnail:
    """The picture of one item, in this process. MediaError if its file gives none."""
    with opened(dataset, item.source) as path:
        if not has_content(path, item.sha256):
            raise MediaError("not the file that was prepared")
        return scaled(read_image(path))


def scaled(image: Image.Image) -> Thumbnail:
    """An RGB image, scaled down to fit; a smaller one stays as it is. Equal pixels, equal bytes."""
    from PIL import Image

    image = Image.frombytes("RGB", image.size, image.tobytes())  # without profile, EXIF, comments
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    file = BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return Thumbnail(file.getvalue(), *image.size)
