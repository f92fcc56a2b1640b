"""Users and items by a part of their id or title."""

from __future__ import annotations

import threading

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.recommending.ids import Ids, cleaned_id
from pipeline.recommending.titles import Titles

LONGEST = 200  # characters that are looked for


def with_part(ids: Ids, part: str, most: int) -> list[str]:
    """The first ids that have `part`, in any case; those that begin with it first."""
    part = (cleaned_id(part) or "")[:LONGEST]
    begins = pc.starts_with(ids.ids, part, ignore_case=True)
    inside = pc.and_not(pc.match_substring(ids.ids, part, ignore_case=True), begins)
    found = ids.ids.filter(begins).slice(0, most).to_pylist()
    return [*found, *ids.ids.filter(inside).slice(0, most - len(found)).to_pylist()]


class Finder:
    """Items by words of their titles, which are read when they are first looked for."""

    def __init__(self, items: Ids, titles: Titles) -> None:
        self.items, self.titles = items, titles
        self._read: pa.Array | None = None
        self._lock = threading.Lock()

    def find(self, words: str, most: int) -> tuple[list[int], int]:
        """Rows of the first items whose title has all words, or whose id has them; how many do."""
        with self._lock:
            if self._read is None:
                titles = [self.titles[row] for row in range(len(self.items))]
                self._read = pc.utf8_normalize(pa.array(titles, pa.string()), "NFC")
        words = (cleaned_id(words) or "")[:LONGEST]
        has = pc.match_substring(self.items.ids, words, ignore_case=True)
        if isinstance(has, pa.ChunkedArray):
            has = has.combine_chunks()
        named = None
        for word in words.split():
            also = pc.match_substring(self._read, word, ignore_case=True)
            named = also if named is None else pc.and_(named, also)
        if named is not None:
            has = pc.or_(has, named)
        rows = pc.indices_nonzero(has)
        return rows.slice(0, most).to_pylist(), len(rows)
