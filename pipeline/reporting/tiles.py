"""Items as pages show them: title, picture, and what else there is of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from encoders import modalities
from pipeline.catalogue.titles import TITLES, clipped, title_of
from pipeline.common import paths
from pipeline.common.places import Place
from pipeline.common.tables import columns_of, read_batches
from pipeline.encoding.manifest import Item, items_of
from pipeline.reporting.thumbnails import Thumbnail, thumbnails

SHORT = 60  # of one in a cell of Markdown


@dataclass(frozen=True)
class Tile:
    """An item as it is shown.

    Attributes:
        title: in one line, of at most `LENGTH` characters.
        picture: the name of its picture, safe as an id in HTML; empty if it has none.
        modalities: those it has beside text and image.
    """

    item_id: str
    title: str
    picture: str
    modalities: tuple[str, ...]

    @property
    def markdown(self) -> str:
        """The title, clipped, as text in a cell of Markdown."""
        return escaped(clipped(self.title, SHORT))


def tiles_of(
    rows: Sequence[int], dataset: Place
) -> tuple[dict[int, Tile], dict[str, Thumbnail], int]:
    """Some items as tiles.

    Args:
        rows: their codes.
        dataset: where the raw catalogue lies.

    Returns:
        Code → tile, the pictures by their names in the tiles, and how many could not be read.
    """
    named = [name for name in TITLES if name in columns_of(paths.ITEMS)]
    described = rows_at(paths.ITEMS, rows, ["item_id", *named])
    ids = [values["item_id"] for values in described.values()]
    content = {modality: _content(modality, ids) for modality in modalities()}
    found = thumbnails(dataset, content.get("image", {}).values())
    names = {item_id: f"picture-{number}" for number, item_id in enumerate(found, 1)}
    tiles = {}
    for row, values in described.items():
        item_id = values["item_id"]
        text = content.get("text", {}).get(item_id)
        named_so = [values[name] for name in named]
        tiles[row] = Tile(
            item_id,
            title_of(item_id, named_so, text.source if text else None),
            names.get(item_id, ""),
            tuple(m for m in content if m not in ("text", "image") and item_id in content[m]),
        )
    lost = len(content.get("image", {})) - len(found)
    return tiles, {names[item_id]: picture for item_id, picture in found.items()}, lost


def rows_at(path: Path, rows: Sequence[int], columns: list[str]) -> dict[int, dict[str, Any]]:
    """Row number → the values of its columns, for some rows of a file."""
    found: dict[int, dict[str, Any]] = {}
    start = 0
    for batch in read_batches(path, columns):
        inside = [row for row in rows if start <= row < start + len(batch)]
        values = batch.take(pa.array([row - start for row in inside], pa.int64())).to_pylist()
        found |= zip(inside, values, strict=True)
        start += len(batch)
    return found


def rows_where(path: Path, wanted: pc.Expression, columns: list[str] | None = None) -> pa.Table:
    """The rows of a file that match, read some at a time: scanners would read far ahead."""
    file = pq.ParquetFile(path)
    batches = file.iter_batches(columns=columns)
    return pa.concat_tables(
        [
            file.schema_arrow.empty_table().select(columns or file.schema_arrow.names),
            *(pa.Table.from_batches([batch]).filter(wanted) for batch in batches),
        ]
    )


def escaped(text: str) -> str:
    """A line of text as Markdown that shows it as it stands, in a table's cell too."""
    return re.sub(r"([\\`*_\[\]<>|~$&#])", r"\\\1", text)


def _content(modality: str, ids: list[str]) -> dict[str, Item]:
    """item_id → the manifest's row, of those of some items that have the modality."""
    wanted = pc.field("item_id").isin(ids)
    items, metadata = items_of(rows_where(paths.manifest_path(modality), wanted))
    if "features" in metadata and modality in ("text", "image"):
        return {}  # vectors alone: there is nothing to read or to see
    return {item.item_id: item for item in items}
