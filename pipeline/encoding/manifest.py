"""The items of one modality, and the batches in which they are encoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq


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
    table = pq.read_table(path).sort_by("item_id")
    items = [Item(row["item_id"], row["source"], row["sha256"]) for row in table.to_pylist()]
    return items, {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}


def batches_of(items: list[Item], by_length: bool, batch_size: int) -> list[list[Item]]:
    """The same batches whatever is cached already, so that a resumed run gives the same bytes.

    Args:
        by_length: whether the sources are texts: those of like length then share a batch, with
            little padding.
    """
    if by_length:
        items = sorted(items, key=lambda item: (len(item.source), item.item_id))
    return [items[i : i + batch_size] for i in range(0, len(items), batch_size)]


def missing_of(batches: list[list[Item]], cached: set[str]) -> list[list[Item]]:
    """What of each batch is to be encoded: each content once, and none that is cached."""
    seen = set(cached)
    result = []
    for batch in batches:
        fresh = []
        for item in batch:
            if item.sha256 not in seen:
                fresh.append(item)
            if item.sha256:
                seen.add(item.sha256)
        if fresh:
            result.append(fresh)
    return result
