"""Atomic writes, and where files may lie."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq


class InputError(ValueError):
    """Something the user gave is wrong. The message names it and says what is valid."""


TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
ABANDONED = 600  # seconds after which nobody is still writing a temporary file

# What Arrow raises on files that are damaged, names of columns that are no text included.
DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)


def unreadable(path: Path, error: Exception) -> InputError:
    """What to say of a file that a library cannot read."""
    kind = {".parquet": "Parquet", ".npy": "NumPy"}.get(path.suffix, path.suffix[1:].upper())
    reason = getattr(error, "strerror", None) or (str(error).strip() or repr(error))
    return InputError(f"{path}: not readable as {kind}: {reason.splitlines()[0]}")


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


def abandoned(path: Path) -> bool:
    """Whether nobody is still writing a temporary file."""
    try:
        return time.time() - path.stat().st_mtime > ABANDONED
    except FileNotFoundError:
        return False


def atomic_write(path: Path, data: bytes | str) -> None:
    """Write all of `data` to `path`, or leave what was there."""
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def atomic_folder(path: Path, replace: bool = True) -> Iterator[Path]:
    """Yield an empty temporary sibling folder that becomes `path` when the block succeeds.

    Args:
        replace: whether it may take the place of another; otherwise OSError if there is one by
            then that is not empty.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if replace and path.exists():
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


def inside(name: str) -> str:
    """The path that `name`, which a table says, has in its folder. ValueError if it leads out.

    What counts are the words, `..` or an absolute path. Links that lie in the folder are its
    owner's, DVC's among them: they are followed, wherever they lead.
    """
    path = os.path.normpath(name)
    if "\0" in name:
        raise ValueError("not a path: it has a null character")
    if os.path.isabs(path) or path.split(os.sep)[0] == os.pardir:
        raise ValueError("the path leads out of the dataset folder")
    return path


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
