"""Manifests: for each modality, which items have it and where their content is."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from encoders import takes_text
from pipeline.catalogue.names import visible
from pipeline.catalogue.raw import Items
from pipeline.catalogue.ready_made import feature_rows, find_features
from pipeline.common.files import atomic_path, contained, sha256_of

NAMES = ("item_id", "source", "sha256")


@dataclass
class Counts:
    """How many items have a modality, how many of their files are not there, and one of those."""

    items: int = 0
    absent: int = 0
    example: str = ""


def write_manifest(path: Path, dataset: Path, items: Items, modality: str) -> Counts:
    """List the items that have `modality`, sorted by item_id.

    The file has the columns item_id, source and sha256. Source is the text itself, or the file's
    path relative to the dataset; sha256 is that of the text or of the file's bytes, so that a file
    that changes changes the manifest. It is empty where there is no readable file; the encoder then
    records the item as failed. A text in which nothing is to be seen is none.

    Ready-made features come before raw media: source is then the row in their file, which the
    schema's metadata names, and sha256 is empty.

    Args:
        path: the file to write.
        dataset: the raw catalogue's folder.
        items: those that are listed, of all in its table.
        modality: its name.
    """
    metadata: dict[str, str] = {}
    if features := find_features(dataset, modality):
        metadata = {
            "features": str(features.relative_to(dataset)),
            "features_sha256": sha256_of(features),
        }
        ids, rows = feature_rows(features, items)
        sources = pc.cast(pa.array(rows), pa.string())
        parts = iter([(ids, sources, pa.array([""] * len(ids), pa.string()))])
    elif modality in items.columns:
        parts = _raw(dataset, items, modality)
    else:
        parts = iter(())
    schema = pa.schema([(name, pa.string()) for name in NAMES], metadata)
    counts = Counts()
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for ids, sources, digests in parts:
            counts.items += len(ids)
            gone = pc.equal(digests, "") if not features else pa.array([], pa.bool_())
            if pc.any(gone).as_py():
                counts.absent += pc.sum(gone).as_py()
                counts.example = counts.example or sources.filter(gone)[0].as_py()
            writer.write_table(pa.Table.from_arrays([ids, sources, digests], schema=schema))
    return counts


def _raw(
    dataset: Path, items: Items, modality: str
) -> Iterator[tuple[pa.Array, pa.Array, pa.Array]]:
    """(ids, sources, digests) of the items whose cell says something."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for ids, rows in items.batches([modality]):
            column = rows[modality].combine_chunks()
            if isinstance(column, pa.ChunkedArray):
                column = pa.concat_arrays(column.chunks)
            has = visible(column)
            sources = column.filter(has)
            listed = sources.to_pylist()
            if takes_text(modality):
                digests = [hashlib.sha256(text.encode()).hexdigest() for text in listed]
            else:
                digests = list(threads.map(partial(media_sha256, dataset), listed))
            yield ids.filter(has), sources, pa.array(digests, pa.string())


def media_sha256(dataset: Path, source: str) -> str:
    """Hash a regular, readable file inside the dataset folder; empty for anything else."""
    try:
        path = contained(dataset, source)
        return sha256_of(path) if stat.S_ISREG(path.stat().st_mode) else ""
    except (OSError, ValueError):
        return ""
