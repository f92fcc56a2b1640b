"""LightGCN's propagation as one differentiable step with an explicit backward."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from model.sparse import SparseMatrix


def layer_weights(given: Sequence[float], layers: int) -> tuple[float, ...]:
    """a_0..a_K of eq. 6-7: 1 / (K + 1) each if none are given, else the first K + 1.

    Raises:
        ValueError: there are too few, or all of them are zero.
    """
    if not given:
        return (1 / (layers + 1),) * (layers + 1)
    used = tuple(given[: layers + 1])
    if len(used) <= layers:
        raise ValueError(f"{len(used)} layer_weights for {layers} layers; {layers + 1} are needed")
    if not any(used):
        raise ValueError(f"the layer_weights of {layers} layers are all zero: {list(used)}")
    return used


Layer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""A linear map of users (U, d) and items (I, d), to tensors of their own; no gradient is taken."""


class _Combine(torch.autograd.Function):
    """sum_k a_k M^k E is linear: its backward is the same of M^T."""

    @staticmethod
    def forward(
        ctx: Any,
        layer: Layer,
        transposed: Layer,
        users: Tensor,
        items: Tensor,
        weights: Sequence[float],
    ) -> tuple[Tensor, Tensor]:
        ctx.transposed, ctx.weights = transposed, weights
        return _combined(layer, users, items, weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor, Tensor, None]:
        users, items = _combined(ctx.transposed, gradients[0], gradients[1], ctx.weights)
        return None, None, users, items, None


def _combined(
    layer: Layer, users: Tensor, items: Tensor, weights: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """The combination in K layers, without a stack of them."""
    terms = len(weights)
    if tuple(weights) == (1 / terms,) * terms:
        return _mean(layer, users, items, terms)
    first, *others = reversed(weights)  # Horner's rule, a_0 E + M (a_1 E + M (...))
    u, i = users, items
    for depth, weight in enumerate(others):
        u, i = layer(u, i)
        if depth == 0 and first != 1:
            u, i = u.mul_(first), i.mul_(first)
        u, i = u.add_(users, alpha=weight), i.add_(items, alpha=weight)
    return u, i


def _mean(layer: Layer, users: Tensor, items: Tensor, terms: int) -> tuple[Tensor, Tensor]:
    """E, M E, ... M^(terms - 1) E in the mean, with fewer passes over the tables than Horner's.

    1 + x + x^2 + x^3 = (1 + x) (1 + x^2): an even number of terms is half as many of M^2.
    """
    if terms == 1:
        return users, items
    if terms % 2:
        u, i = layer(*_mean(layer, users, items, terms - 1))
        return u.lerp_(users, 1 / terms), i.lerp_(items, 1 / terms)
    u, i = layer(users, items)
    u, i = u.lerp_(users, 0.5), i.lerp_(items, 0.5)
    return _mean(lambda u, i: layer(*layer(u, i)), u, i, terms // 2)


def combine(
    layer: Layer, transposed: Layer, users: Tensor, items: Tensor, weights: Sequence[float]
) -> tuple[Tensor, Tensor]:
    r"""\sum_{k=0}^K a_k M^k E^(0) of a linear layer M, in K layers without a stack of them.

    Args:
        layer, transposed: M and M^T.
        users, items: (U, d) and (I, d), E^(0).
        weights: a_0..a_K, K >= 1.

    Returns:
        (U, d) and (I, d), differentiable in `users` and `items`.
    """
    result: tuple[Tensor, Tensor] = _Combine.apply(layer, transposed, users, items, tuple(weights))
    return result


def scaled(users: Tensor, items: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """The combination of E^(0) alone, a_0 E^(0): matrix factorisation."""
    return (users, items) if weight == 1 else (users * weight, items * weight)


def propagate(
    graph: SparseMatrix, users: Tensor, items: Tensor, weights: Sequence[float]
) -> tuple[Tensor, Tensor]:
    r"""\sum_{k=0}^K a_k Â^k E^(0) (eq. 4-7).

    Args:
        graph: R̂ (U, I) from `normalized_graph`; Â = [[0, R̂], [R̂^T, 0]].
        users, items: (U, d) and (I, d), E^(0).
        weights: a_0..a_K, K >= 1.

    Returns:
        (U, d) and (I, d), differentiable in `users` and `items`.
    """

    def layer(u: Tensor, i: Tensor) -> tuple[Tensor, Tensor]:
        return graph.times(i), graph.transposed_times(u)

    return combine(layer, layer, users, items, weights)  # Â is its own transpose
