"""Manifests: for each modality, which items have it and where their content is."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from encoders import takes_text
from pipeline.catalogue.feature_files import feature_rows, find_features, not_finite
from pipeline.catalogue.names import visible
from pipeline.catalogue.raw import Items
from pipeline.common.files import InputError, atomic_path, inside, sha256_of
from pipeline.common.places import Place, reaching, sha256_at
from pipeline.common.progress import Progress
from pipeline.common.tables import row_name

NAMES = ("item_id", "source", "sha256")


log = logging.getLogger("prepare")

EXAMPLES = 10  # of files that cannot be read
READERS = 32  # files of an address that are read at a time: it is their answers that take long


@dataclass
class Counts:
    """How many items have a modality; for how many that is of no use, and why, for the first."""

    items: int = 0
    useless: int = 0  # files that cannot be read, or ready-made rows that are not finite
    examples: list[str] = field(default_factory=list)


def write_manifest(path: Path, dataset: Place, tables: Path, items: Items, modality: str) -> Counts:
    """List the items that have `modality`, sorted by item_id.

    The file has the columns item_id, source and sha256. Source is the text itself, or the file's
    path relative to the dataset; sha256 is that of the text or of the file's bytes, so that a file
    that changes changes the manifest. It is empty where there is no readable file; the encoder then
    records the item as failed. A text in which nothing is to be seen is none.

    Ready-made features come before raw media: source is then the row in their file, which the
    schema's metadata names, and sha256 is empty.

    Args:
        path: the file to write.
        dataset: where the raw catalogue lies, and its media.
        tables: the folder with its tables and features.
        items: those that are listed, of all in its table.
        modality: its name.
    """
    metadata: dict[str, str] = {}
    counts = Counts()
    if features := find_features(tables, modality):
        metadata = {
            "features": str(features.relative_to(tables)),
            "features_sha256": sha256_of(features),
        }
        ids, rows = feature_rows(features, items)
        sources = pc.cast(pa.array(rows), pa.string())
        counts.useless = not_finite(features, rows)
        parts = iter([(ids, sources, pa.array([""] * len(ids), pa.string()))])
    elif modality in items.columns:
        parts = _raw(dataset, items, modality, counts)
    else:
        parts = iter(())
    schema = pa.schema([(name, pa.string()) for name in NAMES], metadata)
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for part in parts:
            counts.items += len(part[0])
            writer.write_table(pa.Table.from_arrays(part, schema=schema))
    return counts


def _raw(
    dataset: Place, items: Items, modality: str, counts: Counts
) -> Iterator[tuple[pa.Array, pa.Array, pa.Array]]:
    """(ids, sources, digests) of the items whose cell says something."""
    with (
        ThreadPoolExecutor(os.cpu_count() if isinstance(dataset, Path) else READERS) as threads,
        Progress(len(items.ids), f"{modality}, read", "items", log) as progress,
    ):
        for ids, rows, table in items.batches([modality]):
            column = pa.concat_arrays(table[modality].chunks)
            has = visible(column)
            sources = column.filter(has)
            listed = sources.to_pylist()
            if takes_text(modality):
                digests = [hashlib.sha256(text.encode()).hexdigest() for text in listed]
            else:
                digests = list(threads.map(partial(media_sha256, dataset), listed))
                rows = rows[np.asarray(has)]
                _count_useless(dataset, items.path, modality, counts, rows, listed, digests)
            yield ids.filter(has), sources, pa.array(digests, pa.string())
            progress.update(len(ids))


def _count_useless(
    dataset: Place, table: Path, modality: str, counts: Counts,
    rows: NDArray[np.int64], sources: list[str], digests: list[str],
) -> None:  # fmt: skip
    for row, source, digest in zip(rows, sources, digests, strict=True):
        if not digest:
            counts.useless += 1
            if len(counts.examples) < EXAMPLES:
                where = f"{table}: {row_name(table, int(row))}"
                counts.examples.append(f"{where}: {modality} {source!r}: {_why(dataset, source)}")


def _why(dataset: Place, source: str) -> str:
    """Why a file cannot be read, and what may help."""
    try:
        path = dataset / inside(source)
        with reaching(path):
            mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            return "a folder, not a file" if stat.S_ISDIR(mode) else "not a regular file"
        with path.open("rb"):
            return "not readable"
    except FileNotFoundError:
        if "://" in source:
            return "an address; download it, and give the file's path"
        if "\\" in source:
            return "no such file; write folders with /"
        alike = [p.name for p in path.parent.glob("*") if p.name.lower() == path.name.lower()]
        return "no such file" + (f"; did you mean {alike[0]!r}?" if alike else "")
    except ValueError as error:
        return str(error)
    except OSError as error:
        return (error.strerror or str(error)).lower()


def media_sha256(dataset: Place, source: str) -> str:
    """Hash a regular, readable file inside the dataset folder; empty for anything else.

    InputError if a file that lies elsewhere cannot be reached, which is no fault of its own.
    """
    try:
        path = dataset / inside(source)
    except ValueError:
        return ""
    if isinstance(path, Path):
        try:
            return sha256_of(path) if stat.S_ISREG(path.stat().st_mode) else ""
        except OSError:
            return ""
    try:
        return sha256_at(path)
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        return ""
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
