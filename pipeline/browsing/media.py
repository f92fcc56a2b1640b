"""Items' files: found through the manifests, never by a path that a request names."""

from __future__ import annotations

import shutil
import threading
from collections import OrderedDict
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from encoders import modalities, takes_text
from encoders.media import MediaError
from pipeline.common import paths
from pipeline.common.files import atomic_path
from pipeline.common.places import Place
from pipeline.encoding.decoding import locate, opened
from pipeline.encoding.manifest import Item
from pipeline.encoding.workers import Pool
from pipeline.reporting.thumbnails import SECONDS, Thumbnail, thumbnail

# What is shown in place. All else, SVG and HTML among it, is handed out as a file to be saved.
TYPES = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".gif": "image/gif",
    ".webp": "image/webp", ".bmp": "image/bmp", ".avif": "image/avif",
    ".mp3": "audio/mpeg", ".wav": "audio/wav", ".flac": "audio/flac", ".m4a": "audio/mp4",
    ".aac": "audio/aac", ".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg",
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg",
    ".mov": "video/quicktime", ".mkv": "video/x-matroska", ".avi": "video/x-msvideo",
}  # fmt: skip
OTHER = "application/octet-stream"
PICTURES = 2_000  # thumbnails that are kept, of about 3 kB


class Manifest:
    """The rows of a modality's manifest by the items' rows in the catalogue."""

    def __init__(self, path: Path, item_ids: pa.ChunkedArray) -> None:
        table = pq.read_table(path)
        found = pc.index_in(item_ids, value_set=table["item_id"].combine_chunks())
        self.rows: NDArray[np.int32] = pc.fill_null(found, -1).to_numpy()
        self.ids, self.sources, self.digests = (
            table[name] for name in ("item_id", "source", "sha256")
        )
        self.ready_made = b"features" in (table.schema.metadata or {})

    def of(self, item: int) -> Item | None:
        """None for an item that does not have the modality."""
        row = int(self.rows[item]) if item < len(self.rows) else -1
        if row < 0:
            return None
        columns = (self.ids, self.sources, self.digests)
        return Item(*(column[row].as_py() for column in columns))


class Media:
    """What items hold. A context: on leaving it the processes that decode end.

    Args:
        dataset: where the raw catalogue lies.
        item_ids: in the order of the items' rows.
    """

    def __init__(self, dataset: Place, item_ids: pa.ChunkedArray) -> None:
        self.dataset, self.item_ids = dataset, item_ids
        self._pictures: OrderedDict[int, Thumbnail | None] = OrderedDict()
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._copies = TemporaryDirectory()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._copies.cleanup()
        if self._pool is not None:
            self._pool.__exit__()

    @cached_property
    def manifests(self) -> dict[str, Manifest]:
        """Those of raw content, by modality."""
        there = {name: paths.manifest_path(name) for name in modalities()}
        read = {n: Manifest(p, self.item_ids) for n, p in there.items() if p.is_file()}
        return {name: manifest for name, manifest in read.items() if not manifest.ready_made}

    @cached_property
    def pictured(self) -> bool:
        """Whether the catalogue has pictures at all."""
        images = self.manifests.get("image")
        return images is not None and bool((images.rows >= 0).any())

    def texts(self, item: int) -> dict[str, str]:
        """Modality → an item's text."""
        return {name: one.source for name, one in self._held(item).items() if takes_text(name)}

    def files(self, item: int) -> dict[str, str]:
        """Modality → the type of an item's file, `OTHER` for one that is not to be shown."""
        held = self._held(item).items()
        return {name: type_of(one.source) for name, one in held if not takes_text(name)}

    def path(self, item: int, modality: str) -> Path:
        """Where an item's file is. MediaError if it has none, or none inside the dataset."""
        one = self._held(item).get(modality)
        if one is None or takes_text(modality):
            raise MediaError(f"the item has no file of {modality!r}")
        path = self._here(one)
        if not path.is_file():  # nor a pipe, which would be waited for
            raise MediaError(f"the file of {modality!r} is not there any more")
        return path

    def _here(self, one: Item) -> Path:
        """An item's file: one that lies elsewhere is fetched, and kept until the end."""
        file = locate(self.dataset, one.source)
        if isinstance(file, Path):
            return file
        copy = Path(self._copies.name) / f"{one.sha256}{file.suffix}"
        if not copy.exists():
            with opened(self.dataset, one.source) as path, atomic_path(copy) as temporary:
                shutil.copyfile(path, temporary)
        return copy

    def has_picture(self, item: int) -> bool:
        """Whether its thumbnail may be asked for."""
        images = self.manifests.get("image")
        one = images and images.of(item)
        return bool(one and one.sha256)

    def picture(self, item: int) -> Thumbnail | None:
        """An item's image, small: decoded by a worker process; None if it cannot be."""
        with self._lock:
            if item in self._pictures:
                self._pictures.move_to_end(item)
                return self._pictures[item]
            if self._pool is None:
                self._pool = Pool(partial(thumbnail, self.dataset), SECONDS)
        one = self.manifests["image"].of(item) if "image" in self.manifests else None
        try:
            made = self._pool.submit(one).result() if one else None
        except MediaError:
            made = None
        with self._lock:
            self._pictures[item] = made
            if len(self._pictures) > PICTURES:
                self._pictures.popitem(last=False)
        return made

    def _held(self, item: int) -> dict[str, Item]:
        found = {name: manifest.of(item) for name, manifest in self.manifests.items()}
        return {name: one for name, one in found.items() if one and one.sha256}


def type_of(name: str) -> str:
    """The media type of a file by its name: one of `TYPES`, or `OTHER`."""
    return TYPES.get(Path(name).suffix.lower(), OTHER)
