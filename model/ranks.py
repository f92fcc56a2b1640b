"""Training divided among processes, by `torch.distributed`: users are divided, items are not.

A process has the interactions, the embeddings and the batches' pairs of its own users, and a copy
of everything about items. What users send to items is summed over the processes; what items send
to users is there already. Backwards it is the other way round: the gradient of what items send to
users is summed, so every process has the whole gradient of every item, and its copy stays the same
as the others'. Of a layer and of its gradient only (I, d) travels. (Megatron-LM's conjugate
operators; Shoeybi et al., 2019, section 3.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The processes that fit together; the default group of `torch.distributed` if several.

    Attributes:
        rank: this process's number, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    def sum(self, tensor: Tensor) -> Tensor:
        """`tensor`, in place, summed over all processes; all of them have to come here."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def gathered(self, rows: Tensor, counts: Sequence[int]) -> Tensor | None:
        """The rows (n_r, ...) of all processes, one after another, on the first; None on others.

        Args:
            counts: n_r, of every process.
        """
        if self.size == 1:
            return rows
        if self.rank:
            dist.send(rows.contiguous(), 0)
            return None
        parts = [rows] + [rows.new_empty(n, *rows.shape[1:]) for n in counts[1:]]
        for rank, part in enumerate(parts[1:], 1):
            dist.recv(part, rank)
        return torch.cat(parts)

    def all(self, value: T) -> list[T]:
        """What every process comes here with; picklable."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def agreed(self, value: T) -> T:
        """What the first process comes here with."""
        return self.all(value)[0]


ALONE = Ranks()


@dataclass(frozen=True)
class Share:
    """Which of all interactions are a process's: those of a range of users.

    Attributes:
        ranks: the processes.
        bounds: (size + 1) numbers; process r has the users bounds[r]..bounds[r + 1] - 1.
        first: where its interactions begin among all of them.
        total: how many there are altogether.
    """

    ranks: Ranks
    bounds: tuple[int, ...]
    first: int
    total: int

    @property
    def first_user(self) -> int:
        """The number, among all, of the process's first user."""
        return self.bounds[self.ranks.rank]

    @property
    def n_users(self) -> int:
        """U, of all processes."""
        return self.bounds[-1]

    @property
    def counts(self) -> list[int]:
        """How many users every process has."""
        return [b - a for a, b in zip(self.bounds, self.bounds[1:], strict=False)]


def bounds_of(offsets: Tensor, size: int) -> tuple[int, ...]:
    """Ranges of users whose numbers of users and interactions together are about equal.

    Args:
        offsets: (U + 1,) where each user's interactions begin.
        size: how many ranges.

    Returns:
        size + 1 numbers, from 0 to U.
    """
    work = offsets + torch.arange(len(offsets), device=offsets.device)
    goals = work[-1] * torch.arange(size + 1, device=offsets.device) // size
    return tuple(torch.searchsorted(work, goals).tolist())


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return table.view_as(table)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.ranks.sum(gradients[0].clone(memory_format=torch.contiguous_format)), None


def shared(table: Tensor, ranks: Ranks) -> Tensor:
    """`table`, the same in all processes, on its way into what each computes of its own users.

    Its gradient is the sum of theirs.
    """
    if ranks.size == 1:
        return table
    result: Tensor = _Shared.apply(table, ranks)
    return result


def of_users(layer: nn.Linear, users: Tensor, ranks: Ranks) -> Tensor:
    """A linear layer, which all processes have, of a process's own users: (u, d) → (u, d')."""
    bias = None if layer.bias is None else shared(layer.bias, ranks)
    return F.linear(users, shared(layer.weight, ranks), bias)
