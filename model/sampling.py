"""Batches of training edges with uniform negatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from model.interactions import Interactions
from model.ranks import ALONE, Ranks, shared
from model.sorting import stable_order
from model.sparse import Pattern


@dataclass(frozen=True)
class Batch:
    """B training edges and their negatives; where users are divided, those of one process.

    Attributes:
        users: (b,) int64, non-decreasing; b is B, if users are not divided.
        items: (b, 1 + n) int64, the positive first, then n negatives.
        pattern: the b (1 + n) pairs as a (U, I) sparse pattern, in the order of `items`.
        size: B, of all processes.
    """

    users: Tensor
    items: Tensor
    pattern: Pattern
    size: int

    @classmethod
    def of(
        cls,
        users: Tensor,
        items: Tensor,
        shape: tuple[int, int],
        ranks: Ranks = ALONE,
        size: int | None = None,
    ) -> Batch:
        """From `users` (b,), non-decreasing, and `items` (b, 1 + n); `size` is b if not given."""
        rows = users.repeat_interleave(items.shape[1])
        pattern = Pattern.of(rows, items.flatten(), shape, ranks)
        return cls(users, items, pattern, len(users) if size is None else size)

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def counts(self) -> tuple[Tensor, Tensor]:
        """(U,) and (I,) int64, how many pairs have a node; items' of all processes."""
        of_items = self.pattern.transposed_ranks.sum(self.pattern.transposed_offsets.diff())
        return self.pattern.offsets.diff(), of_items

    @cached_property
    def positives(self) -> Tensor:
        """(I,) int64, how many edges of all processes have an item."""
        items = self.items[:, 0]
        counts = items.new_zeros(len(self.pattern.transposed_offsets) - 1)
        counts.scatter_add_(0, items, items.new_ones(1).expand(len(items)))
        return self.pattern.transposed_ranks.sum(counts)

    @property
    def touched(self) -> tuple[Tensor, Tensor]:
        """(U,) and (I,) bool, the nodes that the batch names; items for all processes."""
        users, items = self.counts
        return users > 0, items > 0

    @property
    def most_items(self) -> int:
        """How many items it names at most, of all processes."""
        return min(self.size * self.items.shape[1], len(self.pattern.transposed_offsets) - 1)

    def shared(self, table: Tensor) -> Tensor:
        """A table of items on its way into a term over the batch's pairs."""
        return shared(table, self.pattern.transposed_ranks)


def uniform(shape: Sequence[int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Float64 from 0 to 1, on the generator's device."""
    return torch.rand(shape, generator=generator, device=device, dtype=torch.float64)


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
            self.drawn = interactions.item_degrees().nonzero()[:, 0]
            places = torch.searchsorted(self.drawn, interactions.items)
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
        return self.at(users, uniform(users.shape, generator, users.device))

    def at(self, users: Tensor, uniform: Tensor) -> Tensor:
        """The items at places from 0 to 1, float64, among those that may be drawn."""
        places = self._places(users, uniform)
        return places if self.drawn is None else self.drawn[places]

    def _places(self, users: Tensor, uniform: Tensor) -> Tensor:
        if not self.reject_positives:
            return (uniform * self.n_items).long()
        free = self.free[users]
        ranks = (uniform * free).long()
        found = torch.searchsorted(self.keys, users * (self.n_items + 1) + ranks, right=True)
        items = ranks + found - self.offsets[users]
        return torch.where(free > 0, items, (uniform * self.n_items).long())


class BatchSampler:
    """Cuts the training edges, in a new random order every epoch, into batches.

    Args:
        train: the edges.
        batch_size: B.
        negatives: of an edge.
        positives: what no negative may be, if that is not `train`.
        reject_positives, seen_only: as in `NegativeSampler`.
    """

    def __init__(
        self,
        train: Interactions,
        batch_size: int,
        negatives: int,
        *,
        positives: Interactions | None = None,
        reject_positives: bool,
        seen_only: bool = False,
    ) -> None:
        self.train, self.batch_size, self.negatives = train, batch_size, negatives
        self.sampler = NegativeSampler(
            train if positives is None else positives,
            reject_positives=reject_positives,
            seen_only=seen_only,
        )

    def shuffled(self, generator: torch.Generator) -> Sequence[Tensor]:
        """Every process's every edge once, (B,) int64 a batch; the last may be smaller."""
        total, device = self.train.share.total, self.train.items.device
        return torch.randperm(total, generator=generator, device=device).split(self.batch_size)

    def batch(self, edges: Tensor, generator: torch.Generator) -> Batch:
        """Of edges (B,), with negatives."""
        total = self.train.share.total
        return self.of_edges(edges[stable_order(edges, total)], generator)  # sorted by user

    def whole(self, generator: torch.Generator) -> Batch:
        """All edges as one batch."""
        edges = torch.arange(self.train.share.total, device=self.train.items.device)
        return self.of_edges(edges, generator)

    def of_edges(self, edges: Tensor, generator: torch.Generator) -> Batch:
        """Of edges (B,), sorted: a process draws for all of them, and keeps its own."""
        train, share = self.train, self.train.share
        places = uniform((len(edges), self.negatives), generator, edges.device)
        size = len(edges)
        if share.ranks.size > 1:
            own = torch.searchsorted(
                edges, edges.new_tensor([share.first, share.first + len(train)])
            )
            low, high = own.tolist()
            edges, places = edges[low:high] - share.first, places[low:high]
        users = train.users[edges]
        negatives = self.sampler.at(users[:, None].expand(-1, self.negatives), places)
        items = torch.cat([train.items[edges][:, None], negatives], dim=1)
        return Batch.of(users, items, (train.n_users, train.n_items), share.ranks, size)

    def epoch(self, generator: torch.Generator) -> Iterator[Batch]:
        """The batches of one epoch."""
        for edges in self.shuffled(generator):
            yield self.batch(edges, generator)
