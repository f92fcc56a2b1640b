"""Names as owners write them: ids with blanks around them, columns and files almost right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

# Blanks of every kind, and the marks that nobody sees: zero-width, byte order, joiners.
_UNSEEN = r"\p{Z}\p{Cc}\p{Cf}\x{115f}\x{1160}\x{2800}\x{3164}\x{ffa0}"
_EDGES = rf"^[{_UNSEEN}]+|[{_UNSEEN}]+$"
PLAIN = re.compile(r"[\w-]+")  # a modality that every format takes for part of a name
CLOSE = 0.85  # of difflib's ratio: txt is near text, image_id not near image


def visible(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Which texts show something (`encoders.media.text` has the same rule); false for nulls."""
    return pc.fill_null(
        pc.match_substring_regex(column, rf"[^{_UNSEEN}\p{{C}}\p{{M}}\x{{fffd}}]"), False
    )


def clean_ids(ids: pa.Array) -> pa.Array:
    """Ids as they are compared; null where nothing is left.

    Without blanks and invisible marks around them, and in Unicode's composed form (NFC): what looks
    the same is the same.
    """
    cleaned = pc.utf8_normalize(pc.replace_substring_regex(ids, _EDGES, ""), "NFC")
    return pc.if_else(pc.equal(cleaned, ""), None, cleaned)


def with_control(ids: pa.Array) -> pa.Array:
    """Which ids have a control character inside, such as a tab, a line end or a null."""
    return pc.fill_null(pc.match_substring_regex(ids, r"\p{Cc}"), False)


def slug_of(name: str) -> str:
    """A modality as names of files in the report have it."""
    return name.replace(" ", "-")


def near_misses(given: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """What of `given` was probably meant to be one of `known`, which is not given: both names.

    `Text`, ` text`, `texts` and `txt` for `text`; `userId` for `user_id`.
    """
    given = list(given)
    absent = {_plain(name): name for name in known if name not in given}
    found = {}
    for name in given:
        if name not in known and (
            close := difflib.get_close_matches(_plain(name), absent, 1, CLOSE)
        ):
            found[name] = absent[close[0]]
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()
