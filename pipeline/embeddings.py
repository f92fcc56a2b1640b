"""`data/embeddings/<modality>.parquet`: the schema, written and read in one place."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from pipeline.files import InputError, atomic_path

ROW_GROUP = 65_536


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


def write_embeddings(
    path: Path, ids: list[str], vectors: NDArray[np.float32], metadata: dict[str, str]
) -> None:
    """Write (n, d) `vectors` sorted by id, atomically; equal content gives equal bytes."""
    if len(ids) != len(vectors) or len(set(ids)) != len(ids):
        raise ValueError(f"{len(ids)} ids ({len(set(ids))} distinct) for {len(vectors)} vectors")
    width = vectors.shape[1]
    order = sorted(range(len(ids)), key=ids.__getitem__)
    target = schema(width, metadata)
    flat = np.ascontiguousarray(vectors[order], np.float32).reshape(-1)
    embedding = pa.FixedSizeListArray.from_arrays(
        pa.array(flat), type=target.field("embedding").type
    )
    table = pa.Table.from_arrays(
        [pa.array([ids[i] for i in order], pa.string()), embedding], schema=target
    )
    with atomic_path(path) as temporary:
        pq.write_table(
            table, temporary, compression="zstd", row_group_size=ROW_GROUP, use_dictionary=False,
            use_byte_stream_split=["embedding.list.element"],
        )  # fmt: skip


def read_embeddings(path: Path) -> tuple[list[str], Tensor]:
    """Ids and their (n, d) float32 vectors. InputError if the file's columns are others."""
    table = pq.read_table(path)
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
