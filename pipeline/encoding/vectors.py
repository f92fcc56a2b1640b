"""Vectors by content, kept outside DVC's outs: what was encoded once is not encoded again.

One SQLite file an encoder fingerprint, one row a content: its vector, and what the decoder said of
it. A million vectors are one file of little more than their own bytes; every batch is one
transaction, so that a killed run keeps each batch that it finished. A file that is broken is set
aside.
"""

import logging
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.common import paths
from pipeline.common.files import InputError

log = logging.getLogger("encode")

QUERY = 500  # keys a statement
BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)  # another schema


class BrokenCache(Exception):
    """A file turned out to be damaged and was set aside: open it anew."""


class VectorCache:
    """Content sha256 → (width,) float32 and a remark. Safe against kills and several processes.

    A file that is no such cache, or a damaged one, is renamed to `<name>.broken`, and a new one
    begun: when it is opened or, with BrokenCache, at the end of the `with` in which that is seen.

    Args:
        path: the SQLite file; made if it is not there.
        width: d. InputError if the file holds vectors of another width.
    """

    def __init__(self, path: Path, width: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.width = path, width
        self.connection = sqlite3.connect(path, timeout=60)
        try:
            self._set_up()
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
            self.connection = sqlite3.connect(path, timeout=60)
            self._set_up()
        except InputError:
            self.connection.close()
            raise

    def _set_up(self) -> None:
        # A page of 4096 bytes, the default, would hold two rows and a third of nothing.
        self.connection.execute("PRAGMA page_size = 16384")
        # Write-ahead log: a commit survives the process's death, and readers do not wait.
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL,"
            " remark TEXT NOT NULL, crc INTEGER NOT NULL)"  # SQLite itself checks no content
        )
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL)"
        )
        row = self.connection.execute(
            "SELECT length(vector), remark, crc FROM vectors LIMIT 1"
        ).fetchone()
        self.connection.execute("SELECT name, value FROM notes LIMIT 1")
        if row and row[0] != 4 * self.width:
            raise InputError(
                f"{self.path} holds vectors of width {row[0] // 4}, not {self.width}; remove it"
            )

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """Close and rename the file. The error again if the file is not to blame for it."""
        self.connection.close()
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in BROKEN:
            raise error  # a full disk, or another process that takes too long
        broken = self.path.with_name(f"{self.path.name}.broken")
        self.path.replace(broken)
        for suffix in ("-wal", "-shm"):
            self.path.with_name(f"{self.path.name}{suffix}").unlink(missing_ok=True)
        log.warning("%s is damaged (%s): set aside as %s", self.path, error, broken.name)

    def __enter__(self) -> "VectorCache":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.connection.close()
        if isinstance(error, sqlite3.DatabaseError):
            self._set_aside(error)
            raise BrokenCache(str(self.path)) from error

    def put(
        self,
        keys: Sequence[str],
        vectors: NDArray[np.float32],
        remarks: Sequence[str] | None = None,
    ) -> None:
        """Store (n, width) vectors and n remarks, "" if none, under n keys in one transaction."""
        if vectors.shape != (len(keys), self.width) or vectors.dtype != np.float32:
            raise ValueError(
                f"{len(keys)} keys, vectors {vectors.dtype} {vectors.shape}; width {self.width}"
            )
        rows = [
            (bytes.fromhex(key), vector.tobytes(), text, zlib.crc32(vector.tobytes()))
            for key, vector, text in zip(keys, vectors, remarks or [""] * len(keys), strict=True)
        ]
        with self.connection:
            self.connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)

    def present(self, keys: Sequence[str]) -> set[str]:
        """The keys that are there."""
        return {key for key, _ in _select(self.connection, "0", keys)}

    def remarks(self, keys: Sequence[str]) -> dict[str, str]:
        """What there is to say of the contents, by key; nothing of most."""
        return {key: text for key, (text,) in _select(self.connection, "remark", keys) if text}

    def get(self, keys: Sequence[str]) -> NDArray[np.float32]:
        """(n, width): the vectors of n keys, in their order. KeyError names one that is absent."""
        found = {}
        for key, (vector, crc) in _select(self.connection, "vector, crc", keys):
            if zlib.crc32(vector) != crc:
                raise sqlite3.DatabaseError(f"the vector of {key} has changed")
            found[key] = vector
        flat = b"".join(found[key] for key in keys)
        return np.frombuffer(flat, np.float32).reshape(len(keys), self.width)

    def note(self, name: str, value: str) -> None:
        """Keep a text beside the vectors."""
        with self.connection:
            self.connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))

    def noted(self, name: str) -> str | None:
        """What `note` kept under `name`."""
        query = "SELECT value FROM notes WHERE name = ?"
        row = self.connection.execute(query, (name,)).fetchone()
        return row and str(row[0])

    def keep_only(self, keys: Sequence[str]) -> int:
        """Drop every other key and give the space back; returns how many were dropped."""
        with self.connection:
            self.connection.execute("CREATE TEMP TABLE kept (key BLOB PRIMARY KEY)")
            self.connection.executemany(
                "INSERT OR IGNORE INTO kept VALUES (?)", ((bytes.fromhex(k),) for k in keys)
            )
            dropped = self.connection.execute(
                "DELETE FROM vectors WHERE key NOT IN (SELECT key FROM kept)"
            ).rowcount
        self.connection.execute("DROP TABLE kept")
        self.connection.execute("VACUUM")
        return dropped

    def __len__(self) -> int:
        return int(self.connection.execute("SELECT count(*) FROM vectors").fetchone()[0])


def _select(
    connection: sqlite3.Connection, columns: str, keys: Sequence[str]
) -> Iterator[tuple[str, Sequence[Any]]]:
    """Of each key that is there: the key and its columns."""
    for start in range(0, len(keys), QUERY):
        part = [bytes.fromhex(key) for key in keys[start : start + QUERY]]
        marks = ",".join("?" * len(part))
        rows = connection.execute(
            f"SELECT key, {columns} FROM vectors WHERE key IN ({marks})", part
        )
        for key, *values in rows:
            yield key.hex(), values


def cache_path(encoder: str, print_: str) -> Path:
    """The file of one encoder with one fingerprint."""
    return paths.of_repository(paths.VECTORS) / f"{encoder}-{print_[:16]}.sqlite"


@contextmanager
def _looking(path: Path) -> Iterator[sqlite3.Connection]:
    """A file as it is: looking at it neither makes nor mends it, nor sets it aside."""
    # Not `ro`, whose companion files (-wal, -shm) stay behind.
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=60)
    try:
        connection.execute("PRAGMA query_only = 1")
        yield connection
    finally:
        connection.close()


def width_of(path: Path) -> int:
    """The width of the vectors in a file; 0 if it holds none, or is broken."""
    with suppress(sqlite3.DatabaseError), _looking(path) as connection:
        row = connection.execute("SELECT length(vector) FROM vectors LIMIT 1").fetchone()
        return row[0] // 4 if row else 0
    return 0


def count_in(path: Path) -> int | None:
    """How many vectors a file holds; None if it is broken."""
    with suppress(sqlite3.DatabaseError), _looking(path) as connection:
        return int(connection.execute("SELECT count(*) FROM vectors").fetchone()[0])
    return None


def present_in(path: Path, keys: Sequence[str]) -> set[str]:
    """The keys that a file holds; none of a file that is not there, or is broken."""
    with suppress(sqlite3.DatabaseError), _looking(path) as connection:
        return {key for key, _ in _select(connection, "0", keys)}
    return set()
