"""Ready-made features: `<dataset>/features/<modality>.parquet|npy` in place of raw media.

A name that no encoder has makes a modality of its own.

A Parquet file has the columns `item_id` and `embedding`, which holds lists of numbers of one
length; items may be absent. A NumPy file has the shape (items, d), with a row for each row of
`items.*` in its order, as MMRec keeps its features.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from encoders import modalities
from pipeline.common.files import InputError

SUFFIXES = (".parquet", ".npy")


def find_features(dataset: Path, modality: str) -> Path | None:
    """The modality's file of ready-made features, if there is one. InputError if there are two."""
    folder = dataset / "features"
    found = [p for s in SUFFIXES if (p := folder / f"{modality}{s}").is_file()]
    if len(found) > 1:
        raise InputError(f"{folder}: {', '.join(p.name for p in found)}: only one may be there")
    return found[0] if found else None


def modalities_without_encoder(dataset: Path) -> list[str]:
    """The names in `features/` that no encoder has, such as genres, tags or a graph's nodes."""
    found = {p.stem for p in (dataset / "features").glob("*") if p.suffix in SUFFIXES}
    return sorted(found - {*modalities()})


def feature_rows(path: Path, item_ids: list[str]) -> list[tuple[str, int]]:
    """Find (item_id, row in the file) of every item that the file has.

    Args:
        path: the file of ready-made features.
        item_ids: all items, in the order of `items.*`.

    Raises:
        InputError: the file's shape or columns are wrong, or it names an unknown or repeated item.
    """
    if path.suffix == ".npy":
        rows = len(read_features(path))
        if rows != len(item_ids):
            raise InputError(
                f"{path}: {rows} rows for {len(item_ids)} items; a row an item is needed"
            )
        return list(zip(item_ids, range(rows), strict=True))
    table = _read_parquet(path)
    ids = table["item_id"].cast(pa.string()).to_pylist()
    known, seen = set(item_ids), set()
    for row, item_id in enumerate(ids):
        if item_id not in known or item_id in seen:
            what = "stands twice" if item_id in seen else "is not among the items"
            raise InputError(f"{path}: row {row}: item_id {item_id!r} {what}")
        seen.add(item_id)
    present = pc.is_valid(table["embedding"]).to_pylist()
    return [
        (item_id, row)
        for row, (item_id, there) in enumerate(zip(ids, present, strict=True))
        if there
    ]


def read_features(path: Path) -> NDArray[np.floating]:
    """Read (rows, d) numbers of any float or integer type; absent rows are NaN."""
    if path.suffix == ".parquet":
        return _matrix(path, _read_parquet(path)["embedding"])
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: not readable as a NumPy array of numbers: {error}") from error
    if array.ndim != 2 or not array.shape[1] or array.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: {array.dtype} of shape {array.shape}; numbers of shape (items, d) are needed"
        )
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
    kept = {k.decode(): v.decode() for k, v in own.items() if k not in (b"pandas", b"ARROW:schema")}
    kept.pop("fingerprint", None)  # it names vectors in the cache; these are not from there
    missing = {"encoder": "ready-made", "model": "ready-made", "license": "unknown"}
    return missing | kept | {"weights": f"ready-made features: {name}", "features_sha256": sha256}


def _read_parquet(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not readable as Parquet: {error}") from error
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
