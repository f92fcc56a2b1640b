"""Sums whose last bits do not depend on the number of threads, and how numbers leave a device.

torch shares the sum of 32,768 values or more to a single number out among its threads; sums along
one dimension it does not cut.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

K = TypeVar("K")
BLOCK = 4096  # values that are added up at a time


def total(values: Tensor) -> Tensor:
    """The sum of all values, a scalar; differentiable."""
    flat = values.flatten()
    while len(flat) > BLOCK:
        flat = F.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK).sum(1)
    return flat.sum()


def mean(values: Tensor, count: int | None = None) -> Tensor:
    """The mean of all values, a scalar; differentiable.

    Args:
        count: of how many values these are some, if not all: what they add to the mean.
    """
    return total(values) / (values.numel() if count is None else count)


def numbers(values: Mapping[K, Tensor]) -> dict[K, float]:
    """Scalars as Python's numbers, all in one copy: each copy makes the host wait for a card."""
    if not values:
        return {}
    together = torch.stack([value.double() for value in values.values()]).tolist()
    return dict(zip(values, together, strict=True))


class _Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, factor: Tensor, table: Tensor) -> Tensor:
        ctx.save_for_backward(factor, table)
        return factor * table

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (gradient,), (factor, table) = gradients, ctx.saved_tensors
        to_factor = total(gradient * table) if ctx.needs_input_grad[0] else None
        return to_factor, gradient * factor if ctx.needs_input_grad[1] else None


def scale(factor: Tensor, table: Tensor) -> Tensor:
    """`factor` (a scalar) times `table` (any shape), differentiable in both."""
    result: Tensor = _Scale.apply(factor, table)
    return result
