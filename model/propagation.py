"""LightGCN's propagation as one differentiable step with an explicit backward."""

from typing import Any

import torch
from torch import Tensor


class _Propagate(torch.autograd.Function):
    """The mean of E, ÂE, ..., Â^K E. It is linear and Â = Â^T, so it is its own backward."""

    @staticmethod
    def forward(ctx: Any, adjacency: Tensor, embeddings: Tensor, layers: int) -> Tensor:
        ctx.adjacency, ctx.layers = adjacency, layers
        return _layer_mean(adjacency, embeddings, layers)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        return None, _layer_mean(ctx.adjacency, gradients[0].contiguous(), ctx.layers), None


def _layer_mean(adjacency: Tensor, embeddings: Tensor, layers: int) -> Tensor:
    """(1/(K+1)) sum_k Â^k E by Horner's rule: K products, no stack of layers."""
    total = embeddings
    for _ in range(layers):
        total = torch.addmm(embeddings, adjacency, total)
    return total / (layers + 1)


def propagate(adjacency: Tensor, embeddings: Tensor, layers: int) -> Tensor:
    r"""(1/(K+1)) \sum_{k=0}^K Â^k E^(0) (eq. 4-7 with a_k = 1/(K+1)).

    Args:
        adjacency: (N, N) symmetric sparse CSR from `normalized_adjacency`.
        embeddings: (N, d), E^(0).
        layers: K >= 0; 0 returns E^(0), which is matrix factorisation.

    Returns:
        (N, d), differentiable in `embeddings`.
    """
    if layers == 0:
        return embeddings
    result: Tensor = _Propagate.apply(adjacency, embeddings, layers)
    return result
