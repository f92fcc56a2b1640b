"""Items' titles, looked up as they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.catalogue.titles import TITLES, title_of
from pipeline.catalogue.workspace import Source
from pipeline.common import paths
from pipeline.recommending.ids import Ids

TEXTS = paths.manifest_path("text")


class Titles:
    """What items are called (`pipeline.catalogue.titles`).

    Args:
        source: of the prepared catalogue's files.
        items: the ids of its items.
        added: the titles of items that follow them.
    """

    def __init__(self, source: Source, items: Ids, added: Sequence[str] = ()) -> None:
        self.source, self.items, self.added = source, items, tuple(added)
        self._known: dict[int, str] = {}  # lists show the same items again and again

    def __getitem__(self, row: int) -> str:
        if row >= len(self.items):
            return self.added[row - len(self.items)]
        if row not in self._known:
            self._known[row] = self._made(row)
        return self._known[row]

    def _made(self, row: int) -> str:
        item_id, names = self.items[row], [column[row].as_py() for column in self._named]
        return title_of(item_id, names, self._texts.get(item_id))

    def with_more(self, titles: Sequence[str]) -> Titles:
        """These and others behind them."""
        more = Titles(self.source, self.items, (*self.added, *titles))
        more.__dict__ |= {
            k: v for k, v in vars(self).items() if k not in vars(more)
        }  # what is read
        return more

    @cached_property
    def _named(self) -> list[pa.ChunkedArray]:
        table = pq.read_table(self.source(paths.ITEMS))
        return [table[name] for name in TITLES if name in table.column_names]

    @cached_property
    def _texts(self) -> dict[str, str]:
        """item_id → its text, of the items that have one; nothing where only vectors are there."""
        try:
            table = pq.read_table(self.source(TEXTS))
        except FileNotFoundError:  # an exported folder has titles in their place
            return {}
        if b"features" in (table.schema.metadata or {}):
            return {}
        return dict(zip(table["item_id"].to_pylist(), table["source"].to_pylist(), strict=True))
