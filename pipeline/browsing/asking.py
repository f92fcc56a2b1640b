"""What is looked at, and what all views share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from flask import current_app, request

from pipeline.browsing import landing
from pipeline.browsing.finding import Finder
from pipeline.browsing.media import Media
from pipeline.browsing.models import Models
from pipeline.browsing.shelves import Shelves
from pipeline.common.files import InputError
from pipeline.recommending import Recommender

LISTED = 10  # items of a list, unless the address says another number
MOST = 100  # that it may say


@dataclass(frozen=True)
class Asked:
    """What every page knows of what is looked at; it stands in the address."""

    user: str
    left: str
    right: str
    k: int

    @property
    def keys(self) -> list[str]:
        """The systems that are looked at, each once."""
        return list(dict.fromkeys(key for key in (self.left, self.right) if key))


class Browser:
    """What the views share.

    Args:
        models: the systems.
        media: what the catalogue's items hold.
    """

    def __init__(self, models: Models, media: Media) -> None:
        self.models, self.media = models, media
        self.any = models.any
        self.finder = Finder(self.any.items, self.any.titles)

    @classmethod
    def here(cls) -> Self:
        """That of the application that answers."""
        found: Self = current_app.extensions["browser"]
        return found

    @cached_property
    def encodable(self) -> dict[str, bool]:
        """Modality → whether it is typed, of those that a new item may have."""
        return landing.encodable(self.any.encoders)

    def asked(self) -> Asked:
        """What the address, or the form, says. InputError if it cannot be."""
        given = request.form if request.method == "POST" else request.args
        first = next(iter(self.models.labels))
        right = given.get("right", self.models.other)
        k = given.get("k", str(LISTED))
        if not k.isdecimal() or len(k) > 4 or not 1 <= int(k) <= MOST:
            raise InputError(f"k: {k!r} is not valid; a whole number from 1 to {MOST} is")
        for key in filter(None, [left := given.get("left") or first, right]):
            if key not in self.models.labels:
                self.models[key]  # says which there are
        return Asked(given.get("user", "").strip(), left, right, int(k))

    def shelves(self, recommender: Recommender | None = None) -> Shelves:
        """Those of a system, or of any: the catalogue's items are the same."""
        return Shelves(recommender or self.any, self.media)
