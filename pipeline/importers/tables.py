"""Delimited text, read through Arrow: ids stay the texts that they are, numbers are checked.

Errors name the file and the row. A header is row 1.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from pipeline.common.files import InputError
from pipeline.common.tables import read_table, row_name

NUMBERS = ("rating", "timestamp")


def read_texts(path: Path, delimiter: str, *, names: Sequence[str] = ()) -> pa.Table:
    """Read all columns as texts; empty cells are nulls, and `"` is a character like any other.

    Args:
        names: of a file without a header, which may have fewer columns at its end.

    Raises:
        InputError: the file has no rows, repeats a column's name, has a row of another length, or
            is not UTF-8.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        first = next(csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE), [])
    columns = list(names[: len(first)]) if names else first
    if len(set(columns)) < len(columns):
        raise InputError(f"{path}: a column's name stands twice in {', '.join(columns)}")

    def read(threads: bool) -> pa.Table:
        return pyarrow.csv.read_csv(
            path,
            pyarrow.csv.ReadOptions(
                use_threads=threads, column_names=columns, skip_rows=0 if names else 1
            ),
            pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char=False),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )

    try:
        return read(threads=True)
    except pa.ArrowInvalid:
        try:  # One thread knows the row.
            return read(threads=False)
        except pa.ArrowInvalid as error:
            valid = ", ".join(n for n in names or columns if n.strip()) or "cells"
            raise InputError(f"{path}: {error}; rows of {valid} are needed") from error


def read_interactions(
    path: Path,
    delimiter: str,
    columns: Mapping[str, str],
    *,
    names: Sequence[str] = (),
    quoted: bool = False,
) -> pa.Table:
    """Read user_id and item_id as texts, rating as float64, timestamp as int64 where it is whole.

    Args:
        columns: a name in the file → ours. Those that are absent or empty are left out, but for
            ids.
        names: as in `read_texts`.
        quoted: whether `"` encloses cells, as in a catalogue's own tables.

    Raises:
        InputError: an id is missing, a number is none, or the file is not readable.
    """
    table = read_table(path, {}, ()) if quoted else read_texts(path, delimiter, names=names)
    name_of = partial(row_name, path) if quoted else partial(row_at, path, header=not names)
    result = {ours: table[name] for name, ours in columns.items() if name in table.column_names}
    for name, ours in columns.items():
        if ours in ("user_id", "item_id"):
            if ours not in result:
                raise InputError(
                    f"{path}: no column {name}; it has {', '.join(table.column_names)}"
                )
            refuse_empty(path, name, result[ours], name_of)
        elif ours in NUMBERS and ours in result:
            result[ours] = numbers(path, name, result[ours], name_of)
    if "timestamp" in result:
        result["timestamp"] = whole(result["timestamp"])
    kept = {n: c for n, c in result.items() if n.endswith("_id") or c.null_count < len(c)}
    return pa.table(kept)


def row_at(path: Path, index: int, *, header: bool) -> str:
    """How an owner finds the row of an index, where rows are lines: Arrow counts no blank ones."""
    with path.open("rb") as file:
        written = (number for number, line in enumerate(file, 1) if line.strip(b"\r\n"))
        return f"row {next(islice(written, index + header, None))}"


def refuse_empty(
    path: Path, name: str, column: pa.ChunkedArray, name_of: Callable[[int], str]
) -> None:
    """Raise InputError that names the first row where `column` is empty, by its index."""
    if column.null_count:
        where = name_of(pc.index(pc.is_null(column), True).as_py())
        raise InputError(f"{path}: {where}: {name} is empty; an id is needed")


def refuse_repeated(path: Path, ids: Sequence[str], name_of: Callable[[int], str]) -> None:
    """Raise InputError that names the row of the first item that stands twice, by its index."""
    seen = set()
    for index, item in enumerate(ids):
        if item in seen:
            raise InputError(
                f"{path}: {name_of(index)}: item {item!r} stands twice; one row an item"
            )
        seen.add(item)


def numbers(
    path: Path, name: str, column: pa.ChunkedArray, name_of: Callable[[int], str]
) -> pa.ChunkedArray:
    """Texts → float64. InputError names the row of the first that is no number, by its index."""
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:
        for index, value in enumerate(column):
            try:
                value.cast(pa.float64())
            except pa.ArrowInvalid:
                raise InputError(
                    f"{path}: {name_of(index)}: {name} {value.as_py()!r} is no number"
                ) from None
        raise


def whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whole numbers → int64; others stay as they are."""
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        return column
