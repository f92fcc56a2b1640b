"""Atomic writes, and tables in three formats."""

import contextlib
import csv
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")


class InputError(ValueError):
    """Something the user gave is wrong. The message names it and says what is valid."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` that replaces it only when the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: Path, data: bytes | str) -> None:
    """Write all of `data` to `path`, or leave what was there."""
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary sibling folder that replaces `path` when the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write `table` atomically; equal tables give equal bytes."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def write_csv(path: Path, table: pa.Table) -> None:
    """Write `table` atomically as CSV with a header."""
    with atomic_path(path) as temporary:
        pc.write_csv(table, temporary, pc.WriteOptions(quoting_style="needed"))


def find_table(folder: Path, stem: str) -> Path:
    """The one file `<folder>/<stem>.csv|tsv|parquet`; InputError if there is none or several."""
    found = [folder / f"{stem}{s}" for s in TABLE_SUFFIXES if (folder / f"{stem}{s}").is_file()]
    names = ", ".join(f"{stem}{s}" for s in TABLE_SUFFIXES)
    if not found:
        raise InputError(f"{folder}: no table of {stem}; one of {names} is needed")
    if len(found) > 1:
        raise InputError(f"{folder}: {', '.join(f.name for f in found)}: only one may be there")
    return found[0]


def read_table(path: Path, types: dict[str, pa.DataType], required: tuple[str, ...]) -> pa.Table:
    """Read a CSV, TSV or Parquet table.

    Columns named in `types` get that type; others are strings in CSV and TSV, and as they are in
    Parquet. Empty cells are nulls. Raises InputError naming the file and the column or row.
    """
    try:
        table = pq.read_table(path) if path.suffix == ".parquet" else _read_text_table(path)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from error
    missing = [name for name in required if name not in table.column_names]
    if missing:
        raise InputError(
            f"{path}: no column {', '.join(missing)}; it has {', '.join(table.column_names)}"
        )
    for index, name in enumerate(table.column_names):
        if name in types:
            try:
                column = table[name].cast(types[name])
            except pa.ArrowException as error:
                raise InputError(
                    f"{path}: {_first_failure(name, table[name], types[name])}"
                ) from error
            table = table.set_column(index, name, column)
    return table


def _read_text_table(path: Path) -> pa.Table:
    """CSV or TSV, every column a string: ids such as 007 are no numbers."""
    delimiter = "\t" if path.suffix == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file, delimiter=delimiter), [])
    if len(set(names)) < len(names):
        raise InputError(f"{path}: a column name stands twice in {', '.join(names)}")
    return pc.read_csv(
        path,
        parse_options=pc.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pc.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def _first_failure(name: str, column: pa.ChunkedArray, type_: pa.DataType) -> str:
    """Which row cannot be cast; rows count from 1, below a header line."""
    for row, value in enumerate(column, 2):
        try:
            value.cast(type_)
        except pa.ArrowException:
            return f"row {row}: {name} {value.as_py()!r} is not a {type_}"
    return f"{name} is not a {type_}"


def contained(folder: Path, name: str) -> Path:
    """The path that `name`, which a table says, has in `folder`. ValueError if it lies outside."""
    try:
        path = (folder / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a null byte, a loop of links
        raise ValueError(f"not a path: {error}") from error
    if not path.is_relative_to(folder.resolve()):
        raise ValueError("the path leads out of the dataset folder")
    return path


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
