"""The two tables of a raw catalogue, read in batches and checked.

What is wrong in them is said in terms of the user's file: its name, the row as a spreadsheet
counts it (the header is row 1), and what would be valid.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from encoders import modalities
from pipeline.catalogue.columns import ids_of, ratings_of, splits_of, times_of, whole
from pipeline.catalogue.names import near_misses
from pipeline.catalogue.problems import Problems
from pipeline.common.files import InputError
from pipeline.common.tables import (
    ROWS,
    cast,
    columns_of,
    find_table,
    read_batches,
    refuse_missing,
    row_name,
)

INTERACTION_COLUMNS = ("user_id", "item_id", "timestamp", "rating", "split")


@dataclass(frozen=True)
class Items:
    """The table of items, sorted by id; its rows lie on the disk until they are asked for.

    Attributes:
        path: the table.
        ids: (I,) strings, ascending, each once.
        rows: (I,) where each of them stands in the file; the first row is 0.
        known: all ids of the file, of which `ids` may be a part.
        table: the rows in the file's order, mapped into memory.
    """

    path: Path
    ids: pa.Array
    rows: NDArray[np.int64]
    known: pa.Array
    table: pa.Table

    @property
    def columns(self) -> list[str]:
        """The names of the table's columns."""
        return list(self.table.column_names)

    def keep(self, chosen: NDArray[np.bool_]) -> Items:
        """Only those items; `chosen` is a mask of `ids`."""
        return replace(self, ids=self.ids.filter(pa.array(chosen)), rows=self.rows[chosen])

    def batches(
        self, columns: Sequence[str]
    ) -> Iterator[tuple[pa.Array, NDArray[np.int64], pa.Table]]:
        """(ids, their `rows`, what stands there in `columns`), by id, as many as fit easily."""
        part = self.table.select(list(columns))
        lengths = [len(batch) for batch in part.to_batches()]
        for start in range(0, len(self.ids), ROWS):
            rows = self.rows[start : start + ROWS]
            yield self.ids[start : start + ROWS], rows, _take(part, lengths, rows)


@contextmanager
def read_items(dataset: Path, problems: Problems, spool: Path) -> Iterator[Items]:
    """The items of a catalogue, spooled to the folder `spool` as long as the block runs.

    InputError if there is no table of them that can be read.
    """
    path = find_table(dataset, "items")
    names = columns_of(path)
    _suspect(path, names, ("item_id", *modalities()), problems)
    refuse_missing(path, names, ("item_id",))
    texts = {"item_id", *modalities()} & {*names}  # these are texts, whatever the file says
    with _spooled(_as_texts(path, texts), spool) as table:
        if not len(table):
            raise InputError(f"{path}: no rows")
        raw = table["item_id"].combine_chunks()
        ids = ids_of(path, "item_id", [raw], problems)
        values = ids.dictionary.take(ids.indices)
        order = np.asarray(pc.sort_indices(values)).astype(np.int64)  # nulls last
        ordered = values.take(pa.array(order))
        same = np.asarray(pc.fill_null(pc.equal(ordered[1:], ordered[:-1]), False))
        if same.any():
            first = int(np.argmax(same))
            where = " and ".join(row_name(path, row) for row in sorted(order[first : first + 2]))
            problems.add(
                f"{path}: {where}: item_id {ordered[first].as_py()!r} stands in several rows; one "
                f"row an item ({int(same.sum())} rows too many)"
            )
        once = np.asarray(pc.is_valid(ordered))
        once[1:] &= ~same
        unique = ordered.filter(pa.array(once))
        yield Items(path, unique, order[once], unique, table)


@dataclass(frozen=True)
class Interactions:
    """The table of interactions as codes: E rows in the file's order.

    Attributes:
        path: the table.
        user_ids: (U,) strings, ascending.
        users: (E,) int32, places in `user_ids`.
        items: (E,) int32, places in the items' ids; -1 for one that is not among them.
        times: (E,) numbers that sort as time does, None without timestamps; NaN or the smallest
            whole number where there is none.
        timed: whether every row has a timestamp.
        ratings: (E,) float64, NaN where there is none; None without ratings.
        split: (E,) int8 indices into `SPLITS`; None without a split column.
    """

    path: Path
    user_ids: pa.Array
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    times: NDArray[np.int64 | np.uint64] | NDArray[np.float64] | None
    timed: bool
    ratings: NDArray[np.float64] | None
    split: NDArray[np.int8] | None


def read_interactions(dataset: Path, items: Items | None, problems: Problems) -> Interactions:
    """The interactions of a catalogue; without `items`, theirs are not looked up.

    InputError if there is no table that can be read.
    """
    path = find_table(dataset, "interactions")
    names = columns_of(path)
    _suspect(path, names, INTERACTION_COLUMNS, problems)
    refuse_missing(path, names, ("user_id", "item_id"))
    chosen = [name for name in INTERACTION_COLUMNS if name in names]
    gathered: dict[str, list[pa.Array]] = {name: [] for name in chosen}
    for batch in read_batches(path, chosen):
        for name in chosen:
            column = batch.column(name)
            # Ids and labels repeat: a batch keeps each once.
            if name in ("user_id", "item_id", "split") and not pa.types.is_nested(column.type):
                column = column.dictionary_encode()
            gathered[name].append(column)
    if not sum(map(len, gathered["user_id"])):
        raise InputError(f"{path}: no rows")
    for name in ("timestamp", "rating", "split"):  # nobody has one: as if it were not there
        if all(piece.null_count == len(piece) for piece in gathered.get(name, [])):
            gathered.pop(name, None)
    users = ids_of(path, "user_id", gathered.pop("user_id"), problems)
    listed = ids_of(path, "item_id", gathered.pop("item_id"), problems)
    known = listed.dictionary if items is None else items.ids
    places = pc.fill_null(pc.index_in(listed.dictionary, value_set=known), -1)
    codes = _lookup(places, listed.indices)
    unknown = (codes < 0) & np.asarray(listed.indices.is_valid())
    if items is not None and unknown.any():
        row = int(np.argmax(unknown))
        problems.add(
            f"{path}: {row_name(path, row)}: item_id {listed[row].as_py()!r} is not among the "
            f"items of {items.path.name}; {int(unknown.sum())} rows name unknown items"
        )
    order = np.asarray(pc.sort_indices(users.dictionary))
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    times, timed = None, False
    if "timestamp" in gathered:
        times, timed = times_of(path, pa.chunked_array(gathered["timestamp"]), problems)
    return Interactions(
        path,
        users.dictionary.take(pa.array(order)),
        _lookup(pa.array(rank), users.indices),
        codes,
        times,
        timed,
        ratings_of(path, pa.chunked_array(gathered["rating"]), problems)
        if "rating" in gathered
        else None,
        splits_of(path, pa.chunked_array(gathered["split"]), problems)
        if "split" in gathered
        else None,
    )


def _suspect(path: Path, names: list[str], known: Sequence[str], problems: Problems) -> None:
    for given, meant in near_misses(names, known).items():
        problems.add(
            f"{path}: column {given!r}: did you mean {meant}? Rename it, to that or to what is "
            f"farther from it; known columns: {', '.join(known)}"
        )


def _as_texts(path: Path, texts: set[str]) -> Iterator[pa.RecordBatch]:
    for batch in read_batches(path):
        arrays = []
        for name, array in zip(batch.schema.names, batch.columns, strict=True):
            if name == "item_id":  # as interactions name it
                array = whole(array)
            if name in texts and array.type != pa.string():
                array = cast(path, name, pa.chunked_array([array]), pa.string()).combine_chunks()
            arrays.append(array)
        yield pa.RecordBatch.from_arrays(arrays, batch.schema.names)


@contextmanager
def _spooled(batches: Iterator[pa.RecordBatch], folder: Path) -> Iterator[pa.Table]:
    """The batches as a table on the disk: what is not looked at takes no memory."""
    first = next(batches, None)
    if first is None:
        yield pa.table({"item_id": pa.array([], pa.string())})
        return
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".items.", dir=folder)
    os.close(handle)
    try:
        with pa.OSFile(name, "wb") as sink, pa.ipc.new_stream(sink, first.schema) as writer:
            writer.write(first)
            for batch in batches:
                writer.write(batch)
        source = pa.memory_map(name)
    finally:
        os.unlink(name)  # it goes with the last look at it, even if this process is killed
    with source:
        yield pa.ipc.open_stream(source).read_all()


def _take(table: pa.Table, lengths: list[int], rows: NDArray[np.int64]) -> pa.Table:
    """Rows in the order given. Each batch is asked once: Arrow would join them all first."""
    starts = np.cumsum([0, *lengths])
    of = np.searchsorted(starts, rows, side="right") - 1
    parts, places = [], []
    for index, batch in enumerate(table.to_batches()):
        if (mine := of == index).any():
            parts.append(pa.Table.from_batches([batch.take(pa.array(rows[mine] - starts[index]))]))
            places.append(np.flatnonzero(mine))
    back = np.argsort(np.concatenate(places))
    return pa.concat_tables(parts).take(pa.array(back)).combine_chunks()


def _lookup(values: pa.Array, indices: pa.Array) -> NDArray[np.int32]:
    """values[indices]; -1 where an index is null."""
    return np.asarray(pc.fill_null(values.take(indices), -1)).astype(np.int32)
