"""Losses over sampled candidates, and between paired embeddings."""

import torch
from torch import Tensor
from torch.nn import functional as F

from model import reductions


def bpr(scores: Tensor) -> Tensor:
    """-mean ln sigma(s_ui - s_uj) (eq. 9).

    Args:
        scores: (B, 1 + n), the positive's first, then n negatives'; n = 1 in the paper.
    """
    return reductions.mean(F.softplus(scores[:, 1:] - scores[:, :1]))


def sampled_softmax(cosines: Tensor, temperature: float) -> Tensor:
    """-mean ln softmax(cos / tau) of the positive among the sampled (Wu et al., 2024, eq. 5).

    Args:
        cosines: (B, 1 + n), the positive's first, then n negatives'.
        temperature: tau > 0.
    """
    return -reductions.mean(F.log_softmax(cosines / temperature, dim=1)[:, 0])


def info_nce(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """Symmetric NCE of M pairs: (CE(S, diagonal) + CE(S^T, diagonal)) / 2, S = cosines / tau.

    Args:
        left, right: (M, d) each; row r of one belongs to row r of the other.
        temperature: tau > 0.
    """
    similarity = F.normalize(left) @ F.normalize(right).T / temperature
    target = torch.arange(len(left), device=left.device)
    return (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target)) / 2
