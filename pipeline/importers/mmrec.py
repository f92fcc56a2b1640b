"""MMRec's format → the raw layout. M³L-10M and M³L-20M come so, too.

    python -m pipeline.importers.mmrec <source> <dataset> [<modality>=<path in source> ...]

    *.inter                     tab-separated: userID, itemID, and optionally rating, timestamp and
                                x_label (0 training, 1 validation, 2 test)
    <modality>_feat.npy         a row an itemID; also <modality>/<encoder>.npy
    i_id_mapping.csv            optional, tab-separated: itemID and the item's own id
    u_id_mapping.csv            the same of userID

Where a modality has several files, as in M³L, the command line chooses: `text=text/minilm.npy`. An
item lacks a modality if `missed_<modality>_itemIDs.csv` lists its itemID, a line each (for images
also `missed_img_itemIDs.csv`, as MMRec's preprocessing calls it), or if its row is zeros alone.
"""

import contextlib
import logging
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.common.files import InputError
from pipeline.common.paths import SPLITS
from pipeline.importers.features import choose, load
from pipeline.importers.raw_layout import RawCatalogue, items_table, run_importer
from pipeline.importers.tables import read_interactions, read_texts, refuse_empty, row_at

log = logging.getLogger("mmrec")

COLUMNS = {
    "userID": "user_id",
    "itemID": "item_id",
    "rating": "rating",
    "timestamp": "timestamp",
    "x_label": "split",
}


def read(source: Path, chosen: Mapping[str, str]) -> RawCatalogue:
    """Read a folder.

    Raises:
        InputError: an itemID is no row of the features, a label is unknown, or a file is broken.
    """
    inter = sorted(source.glob("*.inter"))
    if len(inter) != 1:
        names = ", ".join(path.name for path in inter) or "none"
        raise InputError(f"{source}: {names} ending in .inter; exactly one is needed")
    table = read_interactions(inter[0], "\t", COLUMNS)
    if not len(table):
        raise InputError(f"{inter[0]}: no rows")
    if "split" in table.column_names:
        table = table.set_column(
            table.column_names.index("split"), "split", split_of(inter[0], table["split"])
        )
    users = codes(inter[0], "userID", table["user_id"])
    items = codes(inter[0], "itemID", table["item_id"])
    found = [(path.name.removesuffix("_feat.npy"), path) for path in source.glob("*_feat.npy")]
    found += [(path.parent.name, path) for path in source.glob("*/*.npy")]
    matrices = {
        modality: load(path, (2,)) for modality, path in choose(source, found, chosen).items()
    }
    item_ids = read_ids(source / "i_id_mapping.csv", "itemID")
    user_ids = read_ids(source / "u_id_mapping.csv", "userID")
    sizes = {name: len(matrix) for name, matrix in matrices.items()}
    if item_ids is not None:
        sizes["i_id_mapping.csv"] = len(item_ids)
    used = int(items.max()) + 1
    size = max(sizes.values(), default=used)
    if size < used or min(sizes.values(), default=size) < size:
        counts = ", ".join(f"{name} has {n} rows" for name, n in sizes.items())
        raise InputError(f"{source}: {counts}; all need the same, and {used} or more for itemID")
    if user_ids is not None and len(user_ids) <= users.max():
        raise InputError(
            f"{source}: u_id_mapping.csv has {len(user_ids)} rows; {users.max() + 1} are needed"
        )
    return RawCatalogue(
        items_table(named(item_ids, np.arange(size)).to_pylist()),
        table.set_column(0, "user_id", named(user_ids, users)).set_column(
            1, "item_id", named(item_ids, items)
        ),
        {name: missing_as_nan(source, name, matrix) for name, matrix in matrices.items()},
    )


def split_of(path: Path, labels: pa.ChunkedArray) -> pa.ChunkedArray:
    """x_label → the split's name."""
    places = pc.index_in(labels, value_set=pa.array(["0", "1", "2"]))
    if places.null_count:
        row = pc.index(pc.is_null(places), True).as_py()
        where = row_at(path, row, header=True)
        raise InputError(
            f"{path}: {where}: x_label {labels[row].as_py()!r} is not valid; "
            "valid: 0, 1 and 2, for training, validation and test"
        )
    return pc.take(pa.array(SPLITS), places)


def codes(path: Path, name: str, column: pa.ChunkedArray) -> np.ndarray:
    """Texts → (E,) int64 row numbers."""
    with contextlib.suppress(pa.ArrowInvalid):
        result = column.cast(pa.int64()).to_numpy()
        if result.min() >= 0:
            return result
    row = pc.index(pc.match_substring_regex(column, "^[0-9]{1,18}$"), False).as_py()
    where = row_at(path, row, header=True)
    raise InputError(
        f"{path}: {where}: {name} {column[row].as_py()!r} is no row number; valid: 0, 1, 2 ..."
    )


def read_ids(path: Path, column: str) -> pa.Array | None:
    """Own ids in the order of the codes that `column` holds; None if there is no such file."""
    if not path.is_file():
        return None
    table = read_texts(path, "\t")
    others = [name for name in table.column_names if name != column]
    if column not in table.column_names or len(others) != 1:
        raise InputError(
            f"{path}: the columns are {', '.join(table.column_names)}; "
            f"{column} and one of own ids are needed, tab-separated"
        )
    for name in table.column_names:
        refuse_empty(path, name, table[name], partial(row_at, path, header=True))
    order = codes(path, column, table[column])
    own = table[others[0]].combine_chunks()
    if not np.array_equal(np.sort(order), np.arange(len(order))) or (
        pc.count_distinct(own).as_py() < len(own)
    ):
        raise InputError(f"{path}: {column} must count from 0, and each id stand once")
    return own.take(pa.array(np.argsort(order)))


def named(ids: pa.Array | None, rows: np.ndarray) -> pa.Array:
    """The own ids of rows, or the row numbers themselves."""
    numbers = pa.array(rows)
    if ids is None:
        return numbers.cast(pa.string())
    return ids.take(numbers)


def missing_as_nan(source: Path, name: str, matrix: np.ndarray) -> np.ndarray:
    """float32, with NaN in the rows of items that lack the modality."""
    result = matrix.astype(np.float32)
    empty: NDArray[np.bool_] = (result == 0).all(axis=1)
    for alias in (name, "img") if name == "image" else (name,):
        path = source / f"missed_{alias}_itemIDs.csv"
        if path.is_file():
            empty[read_missed(path, len(result))] = True
    result[empty] = np.nan
    if empty.any():
        log.info("%s: %d of %d items lack it", name, empty.sum(), len(empty))
    return result


def read_missed(path: Path, size: int) -> list[int]:
    """The itemIDs that a file lists, each below `size`."""
    missed = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        if not re.fullmatch("[0-9]{1,9}", line) or int(line) >= size:
            raise InputError(f"{path}: line {number}: {line!r} is no itemID from 0 to {size - 1}")
        missed.append(int(line))
    return missed


if __name__ == "__main__":
    run_importer(read, chooses=True)
