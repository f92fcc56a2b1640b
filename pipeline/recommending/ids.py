"""Users and items by their ids."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.catalogue.names import clean_ids, with_control
from pipeline.common.files import InputError

SEARCHED = 100_000  # ids among which a similar one is looked for


class Ids:
    """Ids in the order of their rows.

    Args:
        kind: `user` or `item`, for messages.
        ids: each once.
    """

    def __init__(self, kind: str, ids: pa.ChunkedArray | pa.Array) -> None:
        self.kind, self.ids = kind, ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> str:
        return str(self.ids[row])

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {item_id: row for row, item_id in enumerate(self.ids.to_pylist())}

    def __contains__(self, wanted: object) -> bool:
        return isinstance(wanted, str) and self._found(wanted) is not None

    def row(self, wanted: str) -> int:
        """The row of an id. InputError if there is no such id; it says which there are."""
        if not isinstance(wanted, str):
            raise InputError(f"{self.kind} {wanted!r}: an id is a text, such as {self[0]!r}")
        row = self._found(wanted)
        if row is None:
            raise InputError(self._unknown(wanted))
        return row

    def _found(self, wanted: str) -> int | None:
        row = self._rows.get(wanted)
        if row is None and (cleaned := cleaned_id(wanted)) is not None:
            row = self._rows.get(cleaned)
        return row

    def rows(self, wanted: Iterable[str]) -> NDArray[np.int64]:
        """The rows of some ids. InputError as of `row`."""
        if isinstance(wanted, str):
            raise InputError(f"{self.kind}s {wanted!r}: a list of ids is needed, not one id")
        return np.array([self.row(one) for one in wanted], np.int64)

    def mask(self, allow: Iterable[str] | None, block: Iterable[str]) -> NDArray[np.bool_] | None:
        """Which rows are allowed, of all unless some are named, and not blocked; None for all."""
        blocked = self.rows(block)
        if allow is None and not len(blocked):
            return None
        mask = np.full(len(self), allow is None)
        if allow is not None:
            mask[self.rows(allow)] = True
        mask[blocked] = False
        return mask

    def _unknown(self, wanted: str) -> str:
        message = f"{self.kind} {wanted!r} is not there"
        if not len(self):
            return f"{message}: there are no {self.kind}s"
        first, last = self[0], self[len(self) - 1]
        close = difflib.get_close_matches(wanted, self._rows, 3) if len(self) <= SEARCHED else []
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        return f"{message}: there are {len(self):,} {self.kind}s, from {first!r} to {last!r}{hint}"

    def with_more(self, others: Iterable[str]) -> Ids:
        """These and others behind them, as catalogues are read.

        Raises:
            InputError: one is there already, or is no id.
        """
        there, more = set(self._rows), []
        for other in others:
            cleaned = cleaned_id(other) if isinstance(other, str) else None
            if cleaned is None or with_control(pa.array([cleaned]))[0].as_py():
                raise InputError(
                    f"{self.kind} {other!r}: an id is a text that shows something, without control "
                    "characters"
                )
            if cleaned in there:
                raise InputError(
                    f"{self.kind} {other!r} is there already; a new one needs a new id"
                )
            there.add(cleaned)
            more.append(cleaned)
        own = self.ids.chunks if isinstance(self.ids, pa.ChunkedArray) else [self.ids]
        return Ids(self.kind, pa.chunked_array([*own, pa.array(more, pa.string())]))


def cleaned_id(wanted: str) -> str | None:
    """An id as catalogues are read: blanks around it do not count. None if nothing is left."""
    try:
        column = pa.array([wanted])
    except UnicodeEncodeError:  # half a character, such as undecodable arguments have
        return None
    cleaned: str | None = clean_ids(column)[0].as_py()
    return cleaned
