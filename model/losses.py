"""Losses over sampled candidates, and between paired embeddings."""

import torch
from torch import Tensor
from torch.nn import functional as F

from model import reductions


def bpr(scores: Tensor, size: int | None = None) -> Tensor:
    """-mean ln sigma(s_ui - s_uj) (eq. 9).

    Args:
        scores: (b, 1 + n), the positive's first, then n negatives'; n = 1 in the paper.
        size: B, of which these b are some, if not all: what they add to the mean over B.
    """
    negatives = scores.shape[1] - 1
    count = None if size is None else size * negatives
    return reductions.mean(F.softplus(scores[:, 1:] - scores[:, :1]), count)


def sampled_softmax(cosines: Tensor, temperature: float, size: int | None = None) -> Tensor:
    """-mean ln softmax(cos / tau) of the positive among the sampled (Wu et al., 2024, eq. 5).

    Args:
        cosines: (b, 1 + n), the positive's first, then n negatives'.
        temperature: tau > 0.
        size: as in `bpr`.
    """
    return -reductions.mean(F.log_softmax(cosines / temperature, dim=1)[:, 0], size)


def info_nce(
    left: Tensor, right: Tensor, temperature: float, counts: Tensor | None = None
) -> Tensor:
    """Symmetric NCE of M pairs: (CE(S, diagonal) + CE(S^T, diagonal)) / 2, S = cosines / tau.

    Args:
        left, right: (M, d) each; row r of one belongs to row r of the other.
        temperature: tau > 0.
        counts: (M,) bool, the pairs that there are, if not all; without any, the loss is 0.
    """
    similarity = F.normalize(left) @ F.normalize(right).T / temperature
    target = torch.arange(len(left), device=left.device)
    if counts is None:
        return (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target)) / 2
    # A pair that is none is its own only candidate, and nobody else's: it adds ln 1.
    counted = counts & counts[:, None]
    similarity = similarity.where(counted, 0.0).masked_fill(
        ~(counted | torch.eye(len(left), dtype=torch.bool, device=left.device)), -torch.inf
    )
    total = F.cross_entropy(similarity, target, reduction="sum")
    total = total + F.cross_entropy(similarity.T, target, reduction="sum")
    return total / (2 * counts.sum().clamp(min=1))
