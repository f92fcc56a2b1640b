"""Ready-made features: `<dataset>/features/<modality>.parquet|npy` in place of raw media.

A name that no encoder has makes a modality of its own.

A Parquet file has the columns `item_id` and `embedding`, which holds lists of numbers of one
length; items may be absent. A NumPy file has the shape (items, d), with a row for each row of
`items.*` in its order, as MMRec keeps its features.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from encoders import modalities
from pipeline.catalogue.columns import ids_of
from pipeline.catalogue.names import near_misses
from pipeline.catalogue.problems import Problems
from pipeline.common.files import InputError
from pipeline.common.tables import row_name, unreadable

if TYPE_CHECKING:
    from pipeline.catalogue.raw import Items

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
    return sorted(set(_names(dataset)) - {*modalities()})


def suspect_features(dataset: Path, problems: Problems) -> None:
    """Say which names in `features/` are probably meant to be others, or are of no known kind."""
    folder = dataset / "features"
    for given, meant in near_misses(_names(dataset), modalities()).items():
        problems.add(
            f"{folder}: {given}: did you mean {meant}? Rename the file, to that or to what is "
            f"farther from it; modalities with an encoder: {', '.join(modalities())}"
        )
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.name not in (*_files(dataset), ".gitignore"):
                problems.add(f"{path}: features are {' or '.join(SUFFIXES)} files")


def _files(dataset: Path) -> list[str]:
    paths = sorted((dataset / "features").glob("*"))
    return [path.name for path in paths if path.suffix in SUFFIXES and path.is_file()]


def _names(dataset: Path) -> list[str]:
    return [Path(name).stem for name in _files(dataset)]


def feature_rows(path: Path, items: Items) -> tuple[pa.Array, NDArray[np.int64]]:
    """(ids, rows in the file) of every item that the file has, in the order of ids.

    Args:
        path: the file of ready-made features.
        items: those that are wanted, of all in their table.

    Raises:
        InputError: the file's shape or columns are wrong, or it names an unknown or repeated item.
    """
    if path.suffix == ".npy":
        rows, wanted = len(read_features(path)), len(items.table)
        if rows != wanted:
            raise InputError(f"{path}: {rows} rows for {wanted} items; a row an item is needed")
        return items.ids, items.rows
    table = _read_parquet(path)
    problems = Problems()
    found = ids_of(path, "item_id", table["item_id"].chunks, problems)
    problems.refuse()
    ids = found.dictionary.take(found.indices)
    listed = pc.is_in(ids, value_set=items.known)
    if not pc.all(listed).as_py():
        row = pc.index(listed, False).as_py()
        raise InputError(
            f"{path}: {row_name(path, row)}: item_id {ids[row].as_py()!r} is not among the items"
        )
    if len(found.dictionary) < len(ids):
        order = np.argsort(np.asarray(found.indices), kind="stable")
        codes = np.asarray(found.indices)[order]
        row = int(order[1:][codes[1:] == codes[:-1]].min())
        raise InputError(
            f"{path}: {row_name(path, row)}: item_id {ids[row].as_py()!r} stands twice"
        )
    places = pc.index_in(items.ids, value_set=ids)
    present = pc.is_valid(table["embedding"]).combine_chunks()
    has = pc.fill_null(present.take(places), False)
    return items.ids.filter(has), np.asarray(places.filter(has)).astype(np.int64)


def read_features(path: Path) -> NDArray[np.floating]:
    """Read (rows, d) numbers of any float or integer type; absent rows are NaN."""
    if path.suffix == ".parquet":
        return _matrix(path, _read_parquet(path)["embedding"])
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: not readable as a NumPy array of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path}: an archive (.npz) of several arrays; save one with numpy.save")
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
    kept = {
        k.decode(errors="replace"): v.decode(errors="replace")
        for k, v in own.items()
        if k not in (b"pandas", b"ARROW:schema")
    }
    kept.pop("fingerprint", None)  # it names vectors in the cache; these are not from there
    missing = {"encoder": "ready-made", "model": "ready-made", "license": "unknown"}
    return missing | kept | {"weights": f"ready-made features: {name}", "features_sha256": sha256}


def _read_parquet(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
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
