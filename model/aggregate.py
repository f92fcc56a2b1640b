"""Functions that reduce an item's stacked embeddings to one (eq. 10); absent ones take no part."""

from collections.abc import Callable

import torch
from torch import Tensor

Aggregate = Callable[[Tensor, Tensor], Tensor]


def mean(stacked: Tensor, present: Tensor) -> Tensor:
    """(e + sum m_j) / (n_i + 1), n_i the modalities that item i has (eq. 13)."""
    return total(stacked, present) / present.sum(0)


def total(stacked: Tensor, present: Tensor) -> Tensor:
    """The sum over those present."""
    return (stacked * present).sum(0)


def maximum(stacked: Tensor, present: Tensor) -> Tensor:
    """The largest value of each dimension."""
    return stacked.masked_fill(present == 0, -torch.inf).amax(0)


def minimum(stacked: Tensor, present: Tensor) -> Tensor:
    """The smallest value of each dimension."""
    return stacked.masked_fill(present == 0, torch.inf).amin(0)


def product(stacked: Tensor, present: Tensor) -> Tensor:
    """The product of each dimension."""
    return stacked.masked_fill(present == 0, 1.0).prod(0)


# Each takes the embeddings (1 + n, I, d), the collaborative one first, and who has them
# (1 + n, I, 1) as 0. and 1., and returns (I, d).
AGGREGATES: dict[str, Aggregate] = {
    "mean": mean,
    "sum": total,
    "max": maximum,
    "min": minimum,
    "prod": product,
}
