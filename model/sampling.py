"""Batches of training edges with uniform negatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.interactions import Interactions
from model.sorting import stable_order
from model.sparse import Pattern


@dataclass(frozen=True)
class Batch:
    """B training edges and their negatives.

    Attributes:
        users: (B,) int64, non-decreasing.
        items: (B, 1 + n) int64, the positive first, then n negatives.
        pattern: the B (1 + n) pairs as a (U, I) sparse pattern, in the order of `items`.
    """

    users: Tensor
    items: Tensor
    pattern: Pattern

    @classmethod
    def of(cls, users: Tensor, items: Tensor, shape: tuple[int, int]) -> Batch:
        """From `users` (B,), non-decreasing, and `items` (B, 1 + n)."""
        rows = users.repeat_interleave(items.shape[1])
        return cls(users, items, Pattern.of(rows, items.flatten(), shape))

    def __len__(self) -> int:
        return len(self.users)

    @property
    def touched(self) -> tuple[Tensor, Tensor]:
        """(U,) and (I,) bool, the nodes that the batch names."""
        return self.pattern.offsets.diff() > 0, self.pattern.transposed_offsets.diff() > 0


class NegativeSampler:
    """Draws items j outside N_u, uniformly and exactly, without a rejection loop.

    If p_0 < p_1 < ... are the user's items, the r-th item that is none of them is r + c, where c
    counts the k with p_k - k <= r. One random rank and one binary search over all users' sorted
    (p_k - k) give every negative of a batch. A user who has everything gets any item.

    Args:
        interactions: N.
        reject_positives: whether j is outside N_u; else it is any item.
        seen_only: whether only items with interactions are drawn.
    """

    def __init__(
        self,
        interactions: Interactions,
        *,
        reject_positives: bool = True,
        seen_only: bool = False,
    ) -> None:
        self.drawn: Tensor | None = None  # (n,) the items, where these are not all
        if seen_only:
            self.drawn, places = interactions.items.unique(return_inverse=True)
            interactions = replace(interactions, items=places, n_items=len(self.drawn))
        self.n_items = interactions.n_items
        self.reject_positives = reject_positives
        self.offsets = interactions.offsets
        position = torch.arange(len(interactions), device=interactions.items.device)
        gaps = interactions.items - (position - interactions.offsets[interactions.users])
        self.keys = interactions.users * (self.n_items + 1) + gaps  # non-decreasing
        self.free = self.n_items - interactions.degrees()  # (U,) items that are not positive

    def __call__(self, users: Tensor, generator: torch.Generator) -> Tensor:
        """Users of any shape → int64 items of that shape, one negative each."""
        places = self._places(users, generator)
        return places if self.drawn is None else self.drawn[places]

    def _places(self, users: Tensor, generator: torch.Generator) -> Tensor:
        uniform = torch.rand(users.shape, generator=generator, device=users.device,
                             dtype=torch.float64)  # fmt: skip
        if not self.reject_positives:
            return (uniform * self.n_items).long()
        free = self.free[users]
        ranks = (uniform * free).long()
        found = torch.searchsorted(self.keys, users * (self.n_items + 1) + ranks, right=True)
        items = ranks + found - self.offsets[users]
        return torch.where(free > 0, items, (uniform * self.n_items).long())


class BatchSampler:
    """Cuts the training edges, in a new random order every epoch, into batches."""

    def __init__(
        self,
        train: Interactions,
        batch_size: int,
        negatives: int,
        *,
        reject_positives: bool,
        seen_only: bool = False,
    ) -> None:
        self.train, self.batch_size, self.negatives = train, batch_size, negatives
        self.sampler = NegativeSampler(
            train, reject_positives=reject_positives, seen_only=seen_only
        )

    def shuffled(self, generator: torch.Generator) -> Sequence[Tensor]:
        """Every edge once, (B,) int64 a batch; the last may be smaller."""
        train = self.train
        order = torch.randperm(len(train), generator=generator, device=train.items.device)
        return order.split(self.batch_size)

    def batch(self, edges: Tensor, generator: torch.Generator) -> Batch:
        """Of edges (B,), with negatives."""
        train = self.train
        edges = edges[stable_order(edges, len(train))]  # edges are sorted by user
        users = train.users[edges]
        negatives = self.sampler(users[:, None].expand(-1, self.negatives), generator)
        items = torch.cat([train.items[edges][:, None], negatives], dim=1)
        return Batch.of(users, items, (train.n_users, train.n_items))

    def epoch(self, generator: torch.Generator) -> Iterator[Batch]:
        """The batches of one epoch."""
        for edges in self.shuffled(generator):
            yield self.batch(edges, generator)
