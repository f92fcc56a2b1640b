"""What an item is called where people look at it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from encoders.media.text import shows

TITLES = ("title", "name")  # columns of items, the first that says something
WORDS = 8  # of a text that stands for a title
LENGTH = 500  # characters of a title, at most
# Control characters, and those that turn the direction of what follows a title.
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def title_of(item_id: str, named: Iterable[Any], text: str | None) -> str:
    """The first of an item's names that shows something, else the first words of its text, or id.

    Args:
        named: what it has in the columns `TITLES`.
        text: None if it has none.

    Returns:
        One line of at most `LENGTH` characters.
    """
    names = [str(name) for name in named if name is not None]
    first = next((name for name in [*names, words_of(text)] if shows(name)), item_id)
    return clipped(plain(first), LENGTH)


def words_of(text: str | None) -> str:
    """The first words of a text."""
    words = plain((text or "")[: 10 * LENGTH]).split(" ")
    return " ".join(words[:WORDS]) + ("…" if len(words) > WORDS else "")


def plain(text: str) -> str:
    """A text in one line: nothing hidden, single blanks."""
    return " ".join(_HIDDEN.sub(" ", text).split())


def clipped(text: str, length: int) -> str:
    """At most `length` characters; an ellipsis where there were more."""
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"
