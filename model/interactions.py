"""One split's interactions as CSR over users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from model.ranks import ALONE, Ranks, Share
from model.sorting import starts


@dataclass(frozen=True)
class Interactions:
    """Who interacted with what, sorted by user and item, each pair once.

    Attributes:
        offsets: (U + 1,) int64; user u's items are items[offsets[u]:offsets[u + 1]].
        users, items: (E,) int64.
        n_items: the size of the catalogue.
        divided: None, or of which users among all of them these are (`of_rank`).
    """

    offsets: Tensor
    users: Tensor
    items: Tensor
    n_items: int
    divided: Share | None = None

    @classmethod
    def of(cls, users: Tensor, items: Tensor, n_users: int, n_items: int) -> Interactions:
        """From (E,) edges in any order; duplicates are merged."""
        keys = torch.unique(users.long() * n_items + items.long())  # sorted
        users, items = keys // n_items, keys % n_items
        return cls(starts(users, n_users), users, items, n_items)

    def to(self, device: torch.device) -> Interactions:
        """The same on `device`."""
        return replace(
            self,
            offsets=self.offsets.to(device),
            users=self.users.to(device),
            items=self.items.to(device),
        )

    def of_rank(self, ranks: Ranks, bounds: Sequence[int]) -> Interactions:
        """Those of one process's users, numbered from 0.

        Args:
            bounds: process r has the users bounds[r]..bounds[r + 1] - 1.
        """
        first, last = bounds[ranks.rank], bounds[ranks.rank + 1]
        low, high = int(self.offsets[first]), int(self.offsets[last])
        return Interactions(
            self.offsets[first : last + 1] - low,
            self.users[low:high] - first,
            self.items[low:high].clone(),
            self.n_items,
            Share(ranks, tuple(bounds), low, len(self)),
        )

    @property
    def share(self) -> Share:
        """Which of all interactions these are: all of them, if they are not divided."""
        return self.divided or Share(ALONE, (0, self.n_users), 0, len(self))

    @property
    def n_users(self) -> int:
        """U, with or without interactions."""
        return len(self.offsets) - 1

    def __len__(self) -> int:
        return len(self.items)

    def degrees(self) -> Tensor:
        """(U,) int64, interactions per user."""
        return self.offsets.diff()

    def item_degrees(self) -> Tensor:
        """(I,) int64, interactions per item, of all processes' users."""
        return self.share.ranks.sum(torch.bincount(self.items, minlength=self.n_items))

    @cached_property
    def degrees_on_host(self) -> Tensor:
        """`degrees`, on the CPU: the host waits for a card once."""
        return self.degrees().cpu()

    @cached_property
    def active(self) -> Tensor:
        """(n,) int64, the users who have any, in order."""
        return self.degrees().nonzero()[:, 0]

    @cached_property
    def keys(self) -> Tensor:
        """(E,) int64, ascending: one number a pair."""
        return self.users * self.n_items + self.items

    def __or__(self, other: Interactions) -> Interactions:
        """The union of two splits."""
        return Interactions.of(
            torch.cat([self.users, other.users]),
            torch.cat([self.items, other.items]),
            self.n_users,
            self.n_items,
        )

    def entries(self, users: Tensor, n: int | None = None) -> tuple[Tensor, Tensor]:
        """The interactions of some users, as the rows of a CSR matrix.

        Args:
            users: (b,) int64, in any order, repeated or not.
            n: how many they are; without it, the host waits for a card.

        Returns:
            offsets (b + 1,), and (e,) where their interactions stand in `items`; int64.
        """
        counts = self.offsets[users + 1] - self.offsets[users]
        offsets = torch.zeros(len(users) + 1, dtype=torch.int64, device=users.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        shift = (self.offsets[users] - offsets[:-1]).repeat_interleave(counts, output_size=n)
        return offsets, shift + torch.arange(len(shift), device=users.device)

    def of_users(self, users: Tensor) -> Interactions:
        """Those of some users (b,) int64, as the only ones, in that order."""
        offsets, entries = self.entries(users)
        rows = rows_of(offsets, len(entries))
        return Interactions(offsets, rows, self.items[entries], self.n_items)

    def of_first(self, n_items: int) -> Interactions:
        """Those with the first `n_items` of the catalogue, as its only ones."""
        kept = self.items < n_items
        return Interactions.of(self.users[kept], self.items[kept], self.n_users, n_items)

    def contains(self, users: Tensor, items: Tensor) -> Tensor:
        """Whether these pairs, of shapes that broadcast, are among them; bool."""
        pairs = users * self.n_items + items
        first = torch.searchsorted(self.keys, pairs)
        return first < torch.searchsorted(self.keys, pairs, right=True)

    def block(self, first: int, last: int) -> Tensor:
        """(last - first, I) bool, the rows of users first..last-1 as a dense matrix."""
        low, high = int(self.offsets[first]), int(self.offsets[last])
        dense = torch.zeros(last - first, self.n_items, dtype=torch.bool, device=self.items.device)
        dense[self.users[low:high] - first, self.items[low:high]] = True
        return dense


def rows_of(offsets: Tensor, n: int) -> Tensor:
    """(n,) the row of every entry of a CSR matrix that has n, without a wait for the device."""
    rows = torch.arange(len(offsets) - 1, device=offsets.device)
    return rows.repeat_interleave(offsets.diff(), output_size=n)
