"""Tables that users bring: CSV, TSV and Parquet, read in batches, wrong rows named.

A CSV or TSV cell is a text; a quoted cell may hold delimiters, line ends and doubled quotation
marks (RFC 4180). Whatever does not follow these rules is refused: a mark that is never closed would
otherwise swallow the rows below it.
"""

from __future__ import annotations

import codecs
import csv
import stat
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from pipeline.common.files import DAMAGED, TABLE_SUFFIXES, InputError, unreadable

UNNAMED = "\0"  # begins no name that an owner gives
ROWS = 65_536  # of a batch
BOM = codecs.BOM_UTF8
BLOCK = 1 << 22  # bytes that Arrow splits at once


def find_table(folder: Path, stem: str) -> Path:
    """The one file `<folder>/<stem>.csv|tsv|parquet`; InputError if there is none or several."""
    names = ", ".join(f"{stem}{s}" for s in TABLE_SUFFIXES)
    try:
        there = stat.S_ISDIR(folder.stat().st_mode)
    except FileNotFoundError:
        there = False
    except OSError as error:  # too long a name, links in a loop, no permission
        raise InputError(f"{folder}: {(error.strerror or str(error)).lower()}") from error
    if not there:
        raise InputError(f"{folder}: no such folder; a catalogue is one, with {names}")
    found = [folder / f"{stem}{s}" for s in TABLE_SUFFIXES if (folder / f"{stem}{s}").is_file()]
    if not found:
        alike = sorted(p.name for p in folder.iterdir() if p.stem.lower().startswith(stem[:4]))
        seen = f" (there is {', '.join(alike)})" if alike else ""
        raise InputError(f"{folder}: no table of {stem}; one of {names} is needed{seen}")
    if len(found) > 1:
        raise InputError(f"{folder}: {', '.join(f.name for f in found)}: only one may be there")
    return found[0]


def columns_of(path: Path) -> list[str]:
    """The names of a table's columns. InputError if there are none, or one stands twice."""
    if path.suffix == ".parquet":
        with _parquet(path) as file:
            names = list(file.schema_arrow.names)
    else:
        names = next(_records(path), (0, 0, []))[2]
    # Spreadsheets leave columns without a name behind, pandas its index: nobody can ask for them.
    names = [name if name.strip() else f"{UNNAMED}{place}" for place, name in enumerate(names)]
    if all(name.startswith(UNNAMED) for name in names):
        raise InputError(f"{path}: no header; the first row names the columns")
    if len(set(names)) < len(names):
        raise InputError(f"{path}: a column name stands twice in {', '.join(names)}")
    return names


def read_batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a CSV, TSV or Parquet table in order, some at a time.

    Args:
        path: the table.
        columns: which to read, all by default.

    Yields:
        Batches with these columns: of CSV and TSV strings, in which an empty cell is null; of
        Parquet whatever the file says, texts of every kind and categories as strings.

    Raises:
        InputError: it names the file, and the row where there is one.
    """
    names = columns_of(path)
    named = [name for name in names if not name.startswith(UNNAMED)]
    chosen = named if columns is None else list(columns)
    if path.suffix == ".parquet":
        with _parquet(path) as file:
            try:
                for batch in file.iter_batches(ROWS, columns=chosen):
                    batch.validate(full=True)  # damaged pages hold texts that are none
                    yield _plain(batch)
            except DAMAGED as error:
                raise unreadable(path, error) from error
        return
    taken = 0
    start = _unquoted_from(path)
    if start is not None:  # rows are lines then, and Arrow splits them ten times as fast
        try:
            for batch in _split_by_arrow(path, start, names, chosen):
                yield batch
                taken += len(batch)
            return
        except pa.ArrowInvalid:
            pass  # below, it is said in terms of the file, or read after all
    yield from _split_by_csv(path, names, chosen, skip=taken)


def read_table(path: Path, types: dict[str, pa.DataType], required: tuple[str, ...]) -> pa.Table:
    """Read a whole table.

    Columns named in `types` get that type; the others are as `read_batches` gives them. Raises
    InputError naming the file and the column or row.
    """
    names = [name for name in columns_of(path) if not name.startswith(UNNAMED)]
    refuse_missing(path, names, required)
    batches = list(read_batches(path))
    schema = batches[0].schema if batches else pa.schema([(name, pa.string()) for name in names])
    table = pa.Table.from_batches(batches, schema)
    for index, name in enumerate(names):
        if name in types:
            table = table.set_column(index, name, cast(path, name, table[name], types[name]))
    return table


def refuse_missing(path: Path, names: Sequence[str], required: Sequence[str]) -> None:
    """InputError if a column of `required` is not among `names`."""
    if missing := [name for name in required if name not in names]:
        hint = ""
        if len(names) == 1 and (other := next((d for d in ";\t|," if d in names[0]), "")):
            wanted = "tabs" if path.suffix == ".tsv" else "commas"
            hint = f"; it seems to be separated by {other!r}, a {path.suffix} is by {wanted}"
        raise InputError(f"{path}: no column {', '.join(missing)}; it has {', '.join(names)}{hint}")


def cast(path: Path, name: str, column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column as another type. InputError names the first row that cannot be."""
    try:
        return column.cast(kind)
    except (pa.ArrowException, NotImplementedError) as error:
        for index, value in enumerate(column):
            try:
                value.cast(kind)
            except (pa.ArrowException, NotImplementedError):
                where = row_name(path, index)
                shown = repr(value.as_py())[:80]
                raise InputError(
                    f"{path}: {where}: {name} {shown} is not {_called(kind)}"
                ) from error
        raise InputError(f"{path}: {name} is {column.type}, not {kind}") from error


def _called(kind: pa.DataType) -> str:
    """A type as people call it."""
    names = {pa.float64(): "a number", pa.int64(): "a whole number", pa.string(): "a text"}
    return names.get(kind, str(kind))


def row_name(path: Path, index: int) -> str:
    """How an owner finds the row of that index, the first being 0.

    As spreadsheets count: the header is row 1, and blank rows count. An editor counts lines, which
    are others where cells have several.
    """
    if path.suffix == ".parquet":
        return f"row {index} (the first is 0)"
    number, line, _ = next(islice(_records(path), 1 + index, None))
    return f"row {number}" if number == line else f"row {number} (line {line})"


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except DAMAGED as error:
        raise unreadable(path, error) from error


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Categories decoded, since every batch has its own; long texts and views as strings."""
    arrays = []
    for array in batch.columns:
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
            array = array.cast(pa.string())
        elif pa.types.is_binary_view(array.type):
            array = array.cast(pa.binary())
        elif isinstance(array.type, pa.BaseExtensionType):  # such as a UUID
            array = pa.array([v if v is None else str(v) for v in array.to_pylist()], pa.string())
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, batch.schema.names)


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix == ".tsv" else ","


def _unquoted_from(path: Path) -> int | None:
    """Where the rows below the header begin, in bytes; None if a quotation mark is among them."""
    with path.open("rb") as file:
        if file.peek(3).startswith(BOM):
            file.seek(len(BOM))
        header = next((line for line in file if line.strip(b"\r\n")), b"")
        start = file.tell()
        whole = header.count(b'"') % 2 == 0 and b"\r" not in header.rstrip(b"\r\n")
        # Arrow would drop a mark of the byte order here, too.
        whole = whole and not file.peek(3).startswith(BOM)
        blocks = iter(lambda: file.read(BLOCK), b"")
        return start if whole and not any(b'"' in block for block in blocks) else None


def _split_by_arrow(
    path: Path, start: int, names: list[str], columns: list[str]
) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(path)) as file:
        file.seek(start)
        if file.tell() == file.size():
            return
        with pa.csv.open_csv(
            file,
            pa.csv.ReadOptions(block_size=BLOCK, column_names=names),
            pa.csv.ParseOptions(delimiter=_delimiter(path), quote_char=False),
            pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=columns,
                null_values=[""],
                strings_can_be_null=True,
            ),
        ) as reader:
            yield from reader


def _split_by_csv(
    path: Path, names: list[str], columns: list[str], skip: int
) -> Iterator[pa.RecordBatch]:
    places = [names.index(name) for name in columns]
    records = islice((row for _, _, row in _records(path)), 1 + skip, None)
    while rows := list(islice(records, ROWS)):
        cells = list(zip(*rows, strict=True))
        arrays = [pa.array(cells[place], pa.string()) for place in places]
        empty = [pc.equal(array, "") for array in arrays]
        arrays = [pc.if_else(e, None, a) for e, a in zip(empty, arrays, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, columns)


def _records(path: Path) -> Iterator[tuple[int, int, list[str]]]:
    """(row, line, cells) of every row that is not blank; rows and lines count from 1."""
    csv.field_size_limit(sys.maxsize)  # a cell may be as long as it likes
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=_delimiter(path), strict=True)
            number, line, width = 0, 1, 0
            try:
                for number, row in enumerate(reader, 1):
                    if row:
                        width = width or len(row)
                        if len(row) != width:
                            raise InputError(
                                f"{path}: row {number} (line {line}) has {len(row)} cells, the "
                                f"header {width}; a cell that holds a delimiter is to be quoted"
                            )
                        yield number, line, row
                    line = reader.line_num + 1
            except csv.Error as error:
                raise InputError(
                    f"{path}: row {number + 1} (line {line}): {_quoting(error)}"
                ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: {_undecodable(path)}; save the file as UTF-8") from error
    except OSError as error:
        raise unreadable(path, error) from error


def _quoting(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        what = "a quotation mark opens a cell here and is never closed"
    elif "expected after" in str(error):
        what = "something follows the quotation mark that closes a cell"
    else:
        return str(error)
    return f'{what}; a mark that belongs to the text is doubled, in a quoted cell: """Heroes"""'


def _undecodable(path: Path) -> str:
    """Which line of a file is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"line {number} is not UTF-8 (byte 0x{line[error.start]:02x})"
    return "not UTF-8"
