"""Users by how much they have done and items by how often they are used, in a few slices each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GROUPS = 4
FEWEST = 20
"""Users of an equal share of a history slice: of fewer, a mean says little."""

PARTS = {1: ("warm",), 2: ("head", "tail"), 3: ("head", "middle", "tail")}
"""What slices of items are called, most popular first, by how many there are."""

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Slice:
    """A named part of the users or of the items.

    Attributes:
        name: what a reader sees, such as "5–9" or "head: 12–40 users".
        members: (U,) or (I,), who belongs to it.
    """

    name: str
    members: NDArray[np.bool_]


def history_slices(history: Counts) -> list[Slice]:
    """Users by training interactions: the cold ones, then groups of about equal numbers of users.

    There are at most `GROUPS` beside the cold, shortest histories first, and fewer where users or
    distinct counts are few. Users of equal count are never parted.

    Args:
        history: (U,) training interactions of each user.

    Raises:
        ValueError: a negative count.
    """
    slices = _cold(history, "0 (cold)")
    counts, users = _warm(history)
    ranges = _ranges(counts, users, max(1, min(GROUPS, int(users.sum()) // FEWEST)))
    for low, high in ranges:
        more = high == counts[-1] and low < high
        name = f"{low}+" if more else _span(low, high)
        slices.append(Slice(name, (low <= history) & (history <= high)))
    return slices


def popularity_slices(popularity: Counts) -> list[Slice]:
    """Items by training interactions: the cold ones, then head, middle and tail.

    Each of the three holds about a third of the interactions: the head is the most popular items
    that make up a third together. Items of equal count are never parted, so that few distinct
    counts give only head and tail, or all warm items as one.

    Args:
        popularity: (I,) users of each item in training.

    Raises:
        ValueError: a negative count.
    """
    slices = _cold(popularity, "cold: 0 users")
    counts, items = _warm(popularity)
    ranges = _ranges(counts[::-1], (counts * items)[::-1], len(PARTS))
    for part, (high, low) in zip(PARTS.get(len(ranges), ()), ranges, strict=True):
        name = f"{part}: {_span(low, high)} {'user' if high == 1 else 'users'}"
        slices.append(Slice(name, (low <= popularity) & (popularity <= high)))
    return slices


def _cold(counts: Counts, name: str) -> list[Slice]:
    """The slice of those without an interaction, where there are some."""
    if (counts < 0).any():
        raise ValueError(f"counts of interactions are at least 0, not {counts.min()}")
    cold = counts == 0
    return [Slice(name, cold)] if cold.any() else []


def _warm(counts: Counts) -> tuple[Counts, Counts]:
    """The distinct counts above 0, ascending, and how many have each."""
    return np.unique(counts[counts > 0], return_counts=True)


def _span(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low}–{high}"


def _ranges(counts: Counts, weights: Counts, groups: int) -> list[tuple[int, int]]:
    """Neighbouring counts in at most `groups` ranges of about equal weight.

    A range ends where it is nearest to an equal share of what is left. None weighs less than half
    an equal share of all: such a remnant joins a neighbour.

    Args:
        counts: (d,) distinct, in order.
        weights: (d,) of each count.

    Returns:
        The first and the last count of each range.
    """
    left = int(weights.sum())
    least = left / groups / 2
    ranges: list[tuple[int, int]] = []
    first, held = 0, 0
    for i in range(len(counts)):
        held += int(weights[i])
        last = i == len(counts) - 1
        if not last:
            share = left / (groups - len(ranges))
            nearest = abs(held - share) <= abs(held + int(weights[i + 1]) - share)
            remnant = min(held, left - held) < least
            if len(ranges) == groups - 1 or remnant or not nearest:
                continue
        ranges.append((int(counts[first]), int(counts[i])))
        first, held, left = i + 1, 0, left - held
    return ranges
