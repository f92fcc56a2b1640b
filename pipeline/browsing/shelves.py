"""Items, lists and reasons as the page shows them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from pipeline.browsing.media import Media
from pipeline.browsing.models import described
from pipeline.common.files import InputError
from pipeline.recommending import Recommendation, Recommender

SHOWN = 60  # items of a history


@dataclass(frozen=True)
class Tile:
    """An item in a list.

    Attributes:
        picture: whether there is a thumbnail of it.
        files: modality → media type, of what can be played.
        score: or similarity; None in a history.
        liked: whether the user liked it in test.
        new: whether it is not in the catalogue.
    """

    item_id: str
    title: str
    picture: bool
    files: Mapping[str, str]
    score: float | None = None
    liked: bool = False
    new: bool = False


@dataclass(frozen=True)
class Shelf:
    """A list of items with a name, or why there is none.

    Attributes:
        key: of the system whose list it is; empty where it is none's.
        total: how many items there are, of which the first are shown.
    """

    name: str
    tiles: tuple[Tile, ...] = ()
    problem: str = ""
    key: str = ""
    total: int = 0

    @property
    def hits(self) -> int:
        """How many of them the user liked in test."""
        return sum(tile.liked for tile in self.tiles)


class Shelves:
    """Makes tiles of items.

    Args:
        recommender: whose items they are.
        media: what the catalogue's items hold.
    """

    def __init__(self, recommender: Recommender, media: Media) -> None:
        self.recommender, self.media = recommender, media

    def tile(self, row: int, score: float | None = None, liked: Collection[str] = ()) -> Tile:
        """An item by its row."""
        r, known = self.recommender, len(self.media.item_ids)
        if row >= known:
            return Tile(r.items[row], r.titles[row], False, {}, score, new=True)
        files = {
            name: kind
            for name, kind in self.media.files(row).items()
            if kind.startswith(("audio/", "video/"))
        }
        item_id = r.items[row]
        return Tile(
            item_id, r.titles[row], self.media.has_picture(row), files, score, item_id in liked
        )

    def tiles(
        self, ranked: Iterable[Recommendation], liked: Collection[str] = ()
    ) -> tuple[Tile, ...]:
        """A list's items."""
        return tuple(
            self.tile(self.recommender.items.row(one.item_id), one.score, liked) for one in ranked
        )

    def history(self, name: str, user: str, *splits: str) -> Shelf:
        """What a user liked in some splits."""
        items = self.recommender.history(user, *splits)
        rows = [self.recommender.items.row(item) for item in items[:SHOWN]]
        return Shelf(name, tuple(map(self.tile, rows)), total=len(items))

    def ranked(
        self,
        name: str,
        ask: Callable[[], list[Recommendation]],
        liked: Collection[str] = (),
        key: str = "",
    ) -> Shelf:
        """A list that is asked for; what is wrong with the question stands in its place."""
        try:
            tiles = self.tiles(ask(), liked)
        except InputError as error:
            return Shelf(name, problem=str(error), key=key)
        return Shelf(name, tiles, key=key, total=len(tiles))

    def recommended(self, key: str, user: str, k: int) -> Shelf:
        """What the system recommends to a user; what they liked in test is marked."""
        liked = set(self.recommender.history(user, "test"))
        name = described(self.recommender.description)
        return self.ranked(name, lambda: self.recommender.recommend(user, k), liked, key)


@dataclass(frozen=True)
class Bar:
    """A part of a sum: from `start` over `width`, percent of the width of all bars together."""

    name: str
    value: float
    start: float
    width: float


def bars(parts: Mapping[str, float]) -> list[Bar]:
    """Numbers as bars from a common zero."""
    low, high = min(0.0, *parts.values(), 0.0), max(0.0, *parts.values(), 0.0)
    span = (high - low) or 1.0
    return [
        Bar(name, value, 100 * (min(value, 0) - low) / span, 100 * abs(value) / span)
        for name, value in parts.items()
    ]
