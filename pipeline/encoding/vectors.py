"""Vectors by content, kept outside DVC's outs: what was encoded once is not encoded again.

One SQLite file an encoder fingerprint, one row a content. A million vectors are one file of little
more than their own bytes; every batch is one transaction, so that a killed run keeps each batch
that it finished.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from pipeline.common import paths
from pipeline.common.files import InputError
from pipeline.common.fingerprint import digest

# What tells encodings of the same content apart; where a weights file lies does not.
IRRELEVANT = ("license", "revision", "weights", "count")
QUERY = 500  # keys a statement


def fingerprint(metadata: Mapping[str, str]) -> str:
    """Hexadecimal sha256 of everything in an encoder's description that changes a vector."""
    return digest({k: v for k, v in metadata.items() if k not in IRRELEVANT})


class VectorCache:
    """Content sha256 → (width,) float32. Safe against kills and several processes.

    Args:
        path: the SQLite file; made if it is not there.
        width: d. InputError if the file holds vectors of another width.
    """

    def __init__(self, path: Path, width: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.width = width
        self.connection = sqlite3.connect(path, timeout=60)
        # A page of 4096 bytes, the default, would hold two rows and a third of nothing.
        self.connection.execute("PRAGMA page_size = 16384")
        # Write-ahead log: a commit survives the process's death, and readers do not wait.
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)"
        )
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL)"
        )
        row = self.connection.execute("SELECT length(vector) FROM vectors LIMIT 1").fetchone()
        if row and row[0] != 4 * width:
            raise InputError(f"{path} holds vectors of width {row[0] // 4}, not {width}; remove it")

    def __enter__(self) -> "VectorCache":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.connection.close()

    def put(self, keys: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Store (n, width) vectors under n keys in one transaction."""
        if vectors.shape != (len(keys), self.width) or vectors.dtype != np.float32:
            raise ValueError(
                f"{len(keys)} keys, vectors {vectors.dtype} {vectors.shape}; width {self.width}"
            )
        rows = [(bytes.fromhex(k), v.tobytes()) for k, v in zip(keys, vectors, strict=True)]
        with self.connection:
            self.connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    def present(self, keys: Sequence[str]) -> set[str]:
        """The keys that are there."""
        return {key for key, _ in self._select("key, 0", keys)}

    def get(self, keys: Sequence[str]) -> NDArray[np.float32]:
        """(n, width): the vectors of n keys, in their order. KeyError names one that is absent."""
        found = dict(self._select("key, vector", keys))
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

    def _select(self, columns: str, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for start in range(0, len(keys), QUERY):
            part = [bytes.fromhex(key) for key in keys[start : start + QUERY]]
            marks = ",".join("?" * len(part))
            rows = self.connection.execute(
                f"SELECT {columns} FROM vectors WHERE key IN ({marks})", part
            )
            for key, value in rows:
                yield key.hex(), value


def cache_path(encoder: str, print_: str) -> Path:
    """The file of one encoder with one fingerprint."""
    return paths.of_repository(paths.VECTORS) / f"{encoder}-{print_[:16]}.sqlite"


def width_of(path: Path) -> int:
    """The width of the vectors in a file; 0 if it holds none."""
    connection = sqlite3.connect(path)
    row = connection.execute("SELECT length(vector) FROM vectors LIMIT 1").fetchone()
    connection.close()
    return row[0] // 4 if row else 0
