"""A manifest: the items that have a modality, as `prepare` lists them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.catalogue.embeddings import metadata_of


@dataclass(frozen=True)
class Item:
    """One row of a manifest.

    `source` is a text, a path relative to the dataset, or a row of ready-made features; `sha256`
    that of the content, empty where `prepare` found no readable file.
    """

    item_id: str
    source: str
    sha256: str


def read_manifest(path: Path) -> tuple[list[Item], dict[str, str]]:
    """The items that have the modality, sorted by id; and the schema's metadata."""
    return items_of(pq.read_table(path))


def items_of(manifest: pa.Table) -> tuple[list[Item], dict[str, str]]:
    """As `read_manifest`, of a table."""
    table = manifest.sort_by("item_id")
    items = [Item(row["item_id"], row["source"], row["sha256"]) for row in table.to_pylist()]
    return items, metadata_of(table.schema)
