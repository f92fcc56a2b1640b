"""`data/embeddings/<modality>.parquet`: the schema, written and read in one place."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from encoders import modalities
from pipeline.common import paths
from pipeline.common.files import InputError, atomic_path

if TYPE_CHECKING:
    from torch import Tensor

ROW_GROUP = 65_536


@dataclass(frozen=True)
class Target:
    """The files of a modality: its embeddings, the items that have none and why, and remarks."""

    embeddings: Path
    failures: Path

    @property
    def remarks(self) -> Path:
        """What there is to say of items that have a vector although their files are damaged."""
        return self.embeddings.with_suffix(".remarks.csv")

    @classmethod
    def encoded(cls, modality: str) -> Target:
        """Those that the stage `encode` writes, for a modality with an encoder."""
        return cls(paths.embeddings_path(modality), paths.failures_path(modality))

    @classmethod
    def ready_made(cls, modality: str) -> Target:
        """Those that `prepare` writes, for a modality that is nothing but ready-made features."""
        folder = paths.FEATURES
        return cls(folder / f"{modality}.parquet", folder / f"{modality}.failures.csv")


def all_embeddings(
    source: Callable[[Path], Path | pa.BufferReader] = lambda path: path,
) -> dict[str, Target]:
    """Modality → its files: first those with an encoder, then the ready-made ones by name.

    Args:
        source: of the list of the latter.
    """
    listed = source(paths.FEATURES_LIST)
    if isinstance(listed, Path):
        ready_made = json.loads(listed.read_text()) if listed.exists() else []
    else:
        ready_made = json.loads(listed.read().decode())
    return {modality: Target.encoded(modality) for modality in modalities()} | {
        modality: Target.ready_made(modality) for modality in ready_made
    }


def schema(width: int, metadata: dict[str, str]) -> pa.Schema:
    """item_id: string, embedding: float32[width]; nothing is ever null."""
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False), width)
    return pa.schema(
        [
            pa.field("item_id", pa.string(), nullable=False),
            pa.field("embedding", vector, nullable=False),
        ],
        metadata,
    )


def metadata_of(schema: pa.Schema) -> dict[str, str]:
    """What a file's schema says of where its rows come from."""
    return {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}


def write_embeddings(
    path: Path,
    ids: Sequence[str],
    vectors_of: Callable[[slice], NDArray[np.float32]],
    width: int,
    metadata: dict[str, str],
) -> None:
    """Write one row for each id, atomically; equal content gives equal bytes.

    Vectors are asked for one row group at a time, so that they need not all fit into memory.

    Args:
        path: the file to write or replace.
        ids: n item ids in ascending order. ValueError if they are not.
        vectors_of: takes a slice of the ids and returns their (k, width) vectors.
        width: numbers in a vector.
        metadata: what the file's schema says about where the vectors come from.
    """
    if any(a >= b for a, b in pairwise(ids)):
        raise ValueError("item ids must ascend, each once")
    target = schema(width, metadata)
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(
            temporary, target, compression="zstd", use_dictionary=False,
            use_byte_stream_split=["embedding.list.element"],
        ) as writer,
    ):  # fmt: skip
        for start in range(0, len(ids), ROW_GROUP):
            part = slice(start, min(start + ROW_GROUP, len(ids)))
            flat = np.ascontiguousarray(vectors_of(part), np.float32)
            if flat.shape != (part.stop - part.start, width):
                raise ValueError(f"{part.stop - part.start} ids of width {width}: {flat.shape}")
            embedding = pa.FixedSizeListArray.from_arrays(
                pa.array(flat.reshape(-1)), type=target.field("embedding").type
            )
            chosen = pa.array(ids[part], pa.string())
            writer.write_table(pa.Table.from_arrays([chosen, embedding], schema=target))


def read_embeddings(
    path: Path, source: Path | pa.BufferReader | None = None
) -> tuple[list[str], Tensor]:
    """Read ids and their (n, d) float32 vectors. InputError if the file's columns are others.

    Args:
        path: the file, or its name where the bytes come from `source`.
    """
    # Here, since a stage that finds everything in the caches should not wait for this import.
    import torch
    from torch.utils.dlpack import from_dlpack

    table = pq.read_table(path if source is None else source)
    try:
        width = table.schema.field("embedding").type.list_size
        if not table.schema.equals(schema(width, {})):
            raise KeyError
    except (KeyError, AttributeError):
        raise InputError(
            f"{path}: the columns must be item_id: string and embedding: fixed_size_list<float32>, "
            f"without nulls; they are {', '.join(str(field) for field in table.schema)}"
        ) from None
    flat = [from_dlpack(chunk.flatten()) for chunk in table["embedding"].chunks]
    vectors = torch.cat([torch.empty(0), *flat]).reshape(-1, width)
    return table["item_id"].to_pylist(), vectors
