"""Scores of several systems as one: the mean of their z-scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.interactions import rows_of
from model.ranking import InnerProduct

if TYPE_CHECKING:
    from model.interactions import Interactions
    from model.ranking import Scorer


ROUNDING = 1e-12  # of a float64 mean, relatively; float32 scores that differ do so by 6e-8


def blended(scorers: Sequence[Scorer], known: Interactions, popular: Tensor) -> Scorer:
    """The mean of z-scores, of every item over the scorers that know it.

    Args:
        scorers: of the I items of `known`, or of those and m more.
        known: the users' histories.
        popular: (I + m,) float64, the scores of a user without one.
    """
    n = known.n_items
    exact, degrees = [in_float64(scorer) for scorer in scorers], known.degrees()

    def scores(users: Tensor) -> Tensor:
        offsets, entries = known.entries(users)
        open_ = torch.ones(len(users), n, dtype=torch.bool, device=users.device)
        open_[rows_of(offsets, len(entries)), known.items[entries]] = False
        total = popular.new_zeros(len(users), len(popular))
        knowing = torch.zeros_like(popular)
        for scorer in exact:
            z = standardized(scorer(users).double(), open_)
            total[:, : z.shape[1]] += z
            knowing[: z.shape[1]] += 1
        total /= knowing.clamp(min=1)
        return torch.where(degrees[users, None] > 0, total, popular).float()

    return scores


def standardized(scores: Tensor, counted: Tensor) -> Tensor:
    """Rows (b, n + m) less their mean, over their standard deviation, of what is `counted` (b, n).

    Rows without a spread, but for the rounding of their mean, are zeros.
    """
    size = counted.sum(1, keepdim=True).clamp(min=1)
    known = scores[:, : counted.shape[1]]
    mean = known.masked_fill(~counted, 0).sum(1, keepdim=True) / size
    variance = (known - mean).masked_fill(~counted, 0).square().sum(1, keepdim=True) / size
    rounding = ROUNDING * known.masked_fill(~counted, 0).abs().amax(1, keepdim=True)
    return torch.where(variance > rounding.square(), (scores - mean) * variance.rsqrt(), 0.0)


def in_float64(scorer: Scorer) -> Scorer:
    """An inner product in float64: then, rounded to float32, it depends on no block of users."""
    if isinstance(scorer, InnerProduct):
        return InnerProduct(scorer.users.double(), scorer.items.double())
    return scorer
