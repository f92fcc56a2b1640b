"""LightGCN's propagation as one differentiable step with an explicit backward."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from model.sparse import SparseMatrix

BLOCK = 64  # columns; some thousand rows of them stay in a CPU's cache


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
        at_once: int,
    ) -> tuple[Tensor, Tensor]:
        ctx.transposed, ctx.weights, ctx.at_once = transposed, weights, at_once
        return _combined(layer, users, items, weights, at_once)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor, Tensor, None, None]:
        users, items = _combined(
            ctx.transposed, gradients[0], gradients[1], ctx.weights, ctx.at_once
        )
        return None, None, users, items, None, None


def _combined(
    layer: Layer, users: Tensor, items: Tensor, weights: Sequence[float], at_once: int
) -> tuple[Tensor, Tensor]:
    """The combination, of so many columns at a time."""
    width = users.shape[1]
    if at_once >= width:
        return _of_columns(layer, users, items, weights)
    made = torch.empty_like(users), torch.empty_like(items)
    for start in range(0, width, at_once):
        columns = slice(start, start + at_once)
        u, i = users[:, columns].contiguous(), items[:, columns].contiguous()
        made[0][:, columns], made[1][:, columns] = _of_columns(layer, u, i, weights)
    return made


def _of_columns(
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
    layer: Layer,
    transposed: Layer,
    users: Tensor,
    items: Tensor,
    weights: Sequence[float],
    at_once: int,
) -> tuple[Tensor, Tensor]:
    r"""\sum_{k=0}^K a_k M^k E^(0) of a linear layer M, in K layers without a stack of them.

    Args:
        layer, transposed: M and M^T.
        users, items: (U, d) and (I, d), E^(0).
        weights: a_0..a_K, K >= 1.
        at_once: how many columns M takes at a time.

    Returns:
        (U, d) and (I, d), differentiable in `users` and `items`.
    """
    result: tuple[Tensor, Tensor] = _Combine.apply(
        layer, transposed, users, items, tuple(weights), at_once
    )
    return result


def columns_at_once(graph: SparseMatrix, width: int) -> int:
    """How many columns of tables of `width` are best taken through all layers at a time.

    All of them, unless rows are read so often that copying them into the cache of a CPU pays
    (benchmarks/RESULTS.md).
    """
    divided = graph.ranks.size * graph.transposed_ranks.size > 1  # where a product has a price
    reused = len(graph.values) >= 10 * sum(graph.shape)
    cached = reused and width >= 4 * BLOCK and not (divided or graph.values.is_cuda)
    return BLOCK if cached else width


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

    at_once = columns_at_once(graph, users.shape[1])
    return combine(layer, layer, users, items, weights, at_once)  # Â is its own transpose
