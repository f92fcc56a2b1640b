"""Some users: what they liked, and what each system recommends to them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.catalogue.titles import clipped, plain
from pipeline.common import paths
from pipeline.common.files import InputError
from pipeline.common.places import Place
from pipeline.reporting.table import Table, at_depth
from pipeline.reporting.thumbnails import Thumbnail
from pipeline.reporting.tiles import (
    SHORT,
    Tile,
    escaped,
    rows_where,
    tiles_of,
)

USERS = 6
RECOMMENDED = 10  # items of a list
KNOWN = 12  # items of a history, and of what was to be found
KEY = ("control", "layers", "seed", "split")  # of a ranked list, beside system and user

Source: TypeAlias = Path | pa.Table
Shown: TypeAlias = tuple[str, int | None]  # a system and its depth

log = logging.getLogger("report")


@dataclass(frozen=True)
class Pick:
    """A recommended item, and whether the user liked it in the split that is compared."""

    tile: Tile
    liked: bool


@dataclass(frozen=True)
class Recommendations:
    """What a system recommends to a user, best first."""

    system: str
    layers: int | None
    picks: tuple[Pick, ...]

    @property
    def hits(self) -> int:
        """How many of them the user liked."""
        return sum(pick.liked for pick in self.picks)

    @property
    def label(self) -> str:
        """System and depth as people call them."""
        return ", ".join(filter(None, [self.system, at_depth(self.layers)]))


@dataclass(frozen=True)
class Tiles:
    """The first of some items, and how many there are in all."""

    first: tuple[Tile, ...]
    total: int

    @property
    def more(self) -> int:
        """How many are not shown."""
        return self.total - len(self.first)


@dataclass(frozen=True)
class Person:
    """A user: what systems knew of them, what was to be found, and what they recommended.

    `name` is a number: reports are handed on, and who the users are is nobody's business.
    """

    name: str
    history: Tiles
    relevant: Tiles
    recommendations: tuple[Recommendations, ...]

    @property
    def longest(self) -> int:
        """How many items the longest of the lists has."""
        return max(len(row.picks) for row in self.recommendations)

    @property
    def markdown(self) -> str:
        """The name as text of Markdown."""
        return escaped(clipped(plain(self.name), SHORT))


@dataclass(frozen=True)
class Gallery:
    """Users with their histories and recommendations.

    Attributes:
        split: the one that tells what was liked, validation or test.
        people: from short histories to long ones.
        pictures: by the tiles' names for them, each once, however often its item is shown.
        lost: how many pictures could not be read.
    """

    split: str
    people: tuple[Person, ...]
    pictures: dict[str, Thumbnail]
    lost: int = 0

    @property
    def note(self) -> str:
        """How the users were chosen and what is marked, in sentences for the reader."""
        before = "training and validation" if self.split == "test" else "training"
        return (
            f"{len(self.people)} users, from short histories to long ones, chosen by the length of "
            f"their history in {before} alone. ✓ marks what they liked in {self.split}."
            + (f" {self.lost} pictures could not be read." if self.lost else "")
        )

    def table(self) -> Table:
        """Every recommendation that is shown, a row each."""
        return Table(
            "gallery",
            f"What is recommended to some users, and what of it they liked in {self.split}",
            ("user", "system", "layers", "rank", "item_id", "title", "liked"),
            tuple(
                (person.name, row.system, row.layers, rank, pick.tile.item_id,
                 pick.tile.title, pick.liked)
                for person in self.people
                for row in person.recommendations
                for rank, pick in enumerate(row.picks, 1)
            ),
        )  # fmt: skip


def gallery(
    study: Mapping[str, Source], shown: Sequence[Shown], seed: int, split: str, dataset: Place
) -> Gallery | None:
    """The recommendations of some systems to some users, from what the stages wrote.

    Of the users for whom something is to be found and every system has a list, `USERS` are taken
    from the middles of as many equal parts by length of history: nobody looks at who is served
    well. Of a large catalogue, only the items that are shown are kept in memory.

    Args:
        study: system → its ranked lists.
        shown: the systems and depths, in the order of the rows.
        seed: whose lists are shown, of the systems that read one.
        split: what is compared, validation or test.
        dataset: where the raw catalogue lies, and its images.

    Returns:
        None if there is nothing to show: no system, or nobody with something to be found.

    Raises:
        InputError: a system has no list for anybody with that depth, seed and split.
    """
    liked = _sizes([split])
    candidates = np.flatnonzero(liked)
    if not shown or not len(candidates):
        return None
    for system, layers in shown:
        listed = _lists(study[system], layers, seed, split, ["user"])["user"].to_numpy()
        if not len(listed):
            where = ", ".join(filter(None, [at_depth(layers), f"seed {seed}", split]))
            raise InputError(f"{system}: no ranked lists of {where}; run `dvc repro`")
        candidates = np.intersect1d(candidates, listed)
    known = ("train", "validation") if split == "test" else ("train",)
    users = chosen(candidates, _sizes(known))
    if not users:
        return None
    histories, relevant = _interactions(known, users), _interactions([split], users)
    ranked = {
        key: _ranked(_lists(study[key[0]], key[1], seed, split, ["user", "items"], users))
        for key in shown
    }
    rows = {
        *(row for items in (*histories.values(), *relevant.values()) for row in items[:KNOWN]),
        *(row for lists in ranked.values() for items in lists.values() for row in items),
    }
    tiles, pictures, lost = tiles_of(sorted(rows), dataset)
    if lost:
        log.warning("%d of the gallery's pictures cannot be read from %s", lost, dataset)

    def some(items: Sequence[int]) -> Tiles:
        return Tiles(tuple(tiles[row] for row in items[:KNOWN]), len(items))

    people = [
        Person(
            f"User {number}",
            some(histories[user]),
            some(relevant[user]),
            tuple(
                Recommendations(
                    *key, tuple(Pick(tiles[row], row in relevant[user]) for row in lists[user])
                )
                for key, lists in ranked.items()
            ),
        )
        for number, user in enumerate(users, 1)
    ]
    return Gallery(split, tuple(people), pictures, lost)


def chosen(candidates: NDArray[np.integer], lengths: NDArray[np.integer]) -> list[int]:
    """Up to `USERS` of the candidates, from the middles of equal parts by length, then code.

    Args:
        candidates: (c,) codes of users, ascending.
        lengths: (U,) of every user's history; users beyond its end have none.
    """
    lengths = np.pad(lengths, (0, max(0, int(candidates.max(initial=-1)) + 1 - len(lengths))))
    ordered = candidates[np.argsort(lengths[candidates], kind="stable")]
    parts = min(USERS, len(ordered))
    return [int(ordered[(2 * part + 1) * len(ordered) // (2 * parts)]) for part in range(parts)]


def _sizes(splits: Iterable[str]) -> NDArray[np.integer]:
    """How many interactions each user has in some splits together, up to the last who has any."""
    users = [pq.read_table(paths.split_path(s), columns=["user"])["user"] for s in splits]
    return np.bincount(np.concatenate([column.to_numpy() for column in users]))


def _interactions(splits: Iterable[str], users: Collection[int]) -> dict[int, list[int]]:
    """User → items, in the files' order."""
    found: dict[int, list[int]] = {user: [] for user in users}
    for split in splits:
        wanted = pc.field("user").isin(list(users))
        for row in rows_where(paths.split_path(split), wanted).to_pylist():
            found[row["user"]].append(row["item"])
    return found


def _lists(
    source: Source, layers: int | None, seed: int, split: str, columns: list[str],
    users: Collection[int] | None = None,
) -> pa.Table:  # fmt: skip
    """Rows of a system's lists, controls left out; those of some users, or of all."""
    depth = pc.field("layers")
    wanted = (
        pc.field("control").is_null()
        & (depth.is_null() if layers is None else depth == layers)
        & (pc.field("seed").is_null() | (pc.field("seed") == seed))
        & (pc.field("split") == split)
    )
    if users is not None:
        wanted &= pc.field("user").isin(list(users))
    if isinstance(source, Path):
        return rows_where(source, wanted, [*KEY, *columns]).select(columns)
    return source.filter(wanted).select(columns)


def _ranked(lists: pa.Table) -> dict[int, list[int]]:
    return {row["user"]: row["items"][:RECOMMENDED] for row in lists.to_pylist()}
