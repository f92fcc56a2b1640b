"""The prepared catalogue as systems take it, and the hashes of its parts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.catalogue.embeddings import all_embeddings, read_embeddings
from pipeline.common import paths
from pipeline.common.files import InputError

if TYPE_CHECKING:
    from model.dataset import Dataset, Modality
    from model.interactions import Interactions


Source = Callable[[Path], Path | pa.BufferReader]
"""Where a file of the workspace is read from."""


class Workspace:
    """What `prepare` and `encode` wrote: read when it is asked for, torch imported only then.

    Args:
        source: of its files, if these do not lie where the stages write them.
    """

    def __init__(self, source: Source = lambda path: path) -> None:
        self.source = source

    @cached_property
    def hashes(self) -> Mapping[str, str]:
        """Part → sha256 of its content: each split, and `content`, which items and vectors make.

        Of a file, the columns that matter count, and neither its metadata nor its layout.
        """
        content = tables_sha256(
            pa.table({"item_id": self.item_ids}),
            pa.table({"modality": list(self.embeddings)}),
            *(pq.read_table(self.source(path)) for path in self.embeddings.values()),
        )
        return self.interaction_hashes | {"content": content}

    @cached_property
    def interaction_hashes(self) -> dict[str, str]:
        """Those of the splits, and the `size` of the catalogue."""
        hashes = {name: tables_sha256(self.split(name)) for name in paths.SPLITS}
        return hashes | {"size": f"{self.n_users} x {len(self.item_ids)}"}

    @cached_property
    def item_ids(self) -> pa.ChunkedArray:
        """Ids in the order of the items' codes."""
        return pq.read_table(self.source(paths.ITEMS), columns=["item_id"])["item_id"]

    @cached_property
    def user_ids(self) -> pa.ChunkedArray:
        """Ids in the order of the users' codes."""
        return pq.read_table(self.source(paths.USERS), columns=["user_id"])["user_id"]

    @cached_property
    def embeddings(self) -> dict[str, Path]:
        """Modality → the file of its vectors."""
        return {name: files.embeddings for name, files in all_embeddings(self.source).items()}

    @property
    def n_users(self) -> int:
        """U."""
        return int(pq.read_metadata(self.source(paths.USERS)).num_rows)

    @property
    def modalities(self) -> list[str]:
        """The names of those that some item has."""
        return [
            name
            for name, path in self.embeddings.items()
            if pq.read_metadata(self.source(path)).num_rows
        ]

    def split(self, name: str) -> pa.Table:
        """The interactions of one of `paths.SPLITS`, codes `user` and `item`."""
        return pq.read_table(self.source(paths.split_path(name)))

    @cached_property
    def has_validation(self) -> bool:
        """Whether there is anything to select by."""
        return len(self.split("validation")) > 0

    @cached_property
    def splits(self) -> dict[str, Interactions]:
        """By name, on the CPU."""
        size = self.n_users, len(self.item_ids)
        return {name: interactions_of(self.split(name), *size) for name in paths.SPLITS}

    @cached_property
    def content(self) -> list[Modality]:
        """On the CPU. A modality that no item has is left out."""
        rows = {item_id: row for row, item_id in enumerate(self.item_ids.to_pylist())}
        found = (
            _read_modality(name, path, self.source(path), rows)
            for name, path in self.embeddings.items()
        )
        return [m for m in found if m is not None]

    @cached_property
    def dataset(self) -> Dataset:
        """Splits and content."""
        from model.dataset import Catalogue, Dataset

        catalogue = Catalogue(self.splits["train"], self.content)
        return Dataset(catalogue, self.splits["validation"], self.splits["test"])


def interactions_of(table: pa.Table, n_users: int, n_items: int) -> Interactions:
    """A split's rows, which name users and items by number."""
    import torch

    from model.interactions import Interactions

    users, items = (torch.from_numpy(table[c].to_numpy().copy()) for c in ("user", "item"))
    return Interactions.of(users, items, n_users, n_items)


def _read_modality(
    name: str, path: Path, source: Path | pa.BufferReader, rows: Mapping[str, int]
) -> Modality | None:
    import torch

    from model.dataset import Modality

    ids, embeddings = read_embeddings(path, source)
    if not ids:
        return None
    if unknown := [i for i in ids if i not in rows]:
        raise InputError(
            f"{path}: {len(unknown)} items are not in the catalogue, "
            f"the first is {unknown[0]!r}; run `dvc repro`"
        )
    where = torch.tensor([rows[i] for i in ids])
    vectors = torch.zeros(len(rows), embeddings.shape[1])
    vectors[where] = embeddings
    present = torch.zeros(len(rows), dtype=torch.bool)
    present[where] = True
    return Modality(name, vectors, present)


def tables_sha256(*tables: pa.Table) -> str:
    """Of names, types and values of every column, in one chunk each."""
    result = hashlib.sha256()
    for table in tables:
        table = table.replace_schema_metadata().combine_chunks()
        result.update(f"{table.num_rows} {table.schema}\n".encode())
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        result.update(sink.getvalue())
    return result.hexdigest()
