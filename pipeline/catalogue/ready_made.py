"""The numbers of ready-made features: `<dataset>/features/<modality>.parquet|npy`.

A Parquet file has the columns `item_id` and `embedding`, which holds lists of numbers of one
length; items may be absent. A NumPy file has the shape (items, d), with a row for each row of
`items.*` in its order, as MMRec keeps its features.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.common.files import DAMAGED, InputError, unreadable


def read_features(path: Path) -> NDArray[np.floating]:
    """Read (rows, d) numbers of any float or integer type; absent rows are NaN."""
    if path.suffix == ".parquet":
        return _matrix(path, read_feature_table(path)["embedding"])
    array = open_array(path)
    if array.ndim != 2 or not array.shape[1] or array.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: {array.dtype} of shape {array.shape}; numbers of shape (items, d) are needed"
        )
    return array


def open_array(path: Path) -> NDArray[Any]:
    """Map a NumPy file of one array. InputError if it is none."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # on garbage, NumPy raises almost anything
        raise InputError(f"{path}: not readable as a NumPy array of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path}: an archive (.npz) of several arrays; save one with numpy.save")
    return array


def provenance(path: Path, name: str, sha256: str) -> dict[str, str]:
    """Where ready-made features come from: what their own metadata says, and which file it was.

    Args:
        path: the file.
        name: what to call it, relative to the dataset.
        sha256: of its bytes.
    """
    own: Mapping[bytes, bytes] = {}
    if path.suffix == ".parquet":
        own = pq.read_schema(path).metadata or {}
    kept = {
        k.decode(errors="replace"): v.decode(errors="replace")
        for k, v in own.items()
        if k not in (b"pandas", b"ARROW:schema")
    }
    kept.pop("fingerprint", None)  # it names vectors in the cache; these are not from there
    missing = {"encoder": "ready-made", "model": "ready-made", "license": "unknown"}
    return missing | kept | {"weights": f"ready-made features: {name}", "features_sha256": sha256}


def read_feature_table(path: Path) -> pa.Table:
    """Read a Parquet file with item_id and embedding. InputError if it is none."""
    try:
        table = pq.read_table(path)
        table.validate(full=True)
    except DAMAGED as error:
        raise unreadable(path, error) from error
    if not {"item_id", "embedding"} <= set(table.column_names):
        raise InputError(
            f"{path}: the columns are {', '.join(table.column_names)}; "
            "item_id and embedding are needed"
        )
    return table


def _matrix(path: Path, column: pa.ChunkedArray) -> NDArray[np.floating]:
    """Turn a column of lists into (rows, d) float32; null rows become NaN."""
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
            or pa.types.is_large_list(kind)):  # fmt: skip
        raise InputError(f"{path}: embedding is {kind}; a list of numbers is needed")
    lengths = pc.unique(pc.list_value_length(column)).drop_null().to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise InputError(f"{path}: embeddings of lengths {sorted(lengths)}; one length is needed")
    try:
        flat = pc.list_flatten(column).cast(pa.float32(), safe=False).to_numpy()
    except pa.ArrowException as error:
        raise InputError(f"{path}: embedding is {kind}; a list of numbers is needed") from error
    present = np.asarray(pc.is_valid(column))
    matrix = np.full((len(column), lengths[0]), np.nan, np.float32)
    matrix[present] = flat.reshape(-1, lengths[0])
    return matrix
