"""Uniform negatives for BPR."""

import torch
from torch import Tensor

from model.interactions import Interactions


class NegativeSampler:
    """Draws items j outside N_u, uniformly and exactly, without a rejection loop.

    If p_0 < p_1 < ... are the user's items, the r-th item that is none of them is r + c, where c
    counts the k with p_k - k <= r. One random rank and one binary search over all users' sorted
    (p_k - k) give every negative of a batch. A user who has everything gets any item.
    """

    def __init__(self, interactions: Interactions, *, reject_positives: bool = True) -> None:
        self.n_items = interactions.n_items
        self.reject_positives = reject_positives
        self.offsets = interactions.offsets
        position = torch.arange(len(interactions), device=interactions.items.device)
        gaps = interactions.items - (position - interactions.offsets[interactions.users])
        self.keys = interactions.users * (self.n_items + 1) + gaps  # non-decreasing
        self.free = self.n_items - interactions.degrees()  # (U,) items that are not positive

    def __call__(self, users: Tensor, generator: torch.Generator) -> Tensor:
        """(B,) users → (B,) int64 items, one negative each."""
        uniform = torch.rand(users.shape, generator=generator, device=users.device,
                             dtype=torch.float64)  # fmt: skip
        if not self.reject_positives:
            return (uniform * self.n_items).long()
        free = self.free[users]
        ranks = (uniform * free).long()
        found = torch.searchsorted(self.keys, users * (self.n_items + 1) + ranks, right=True)
        items = ranks + found - self.offsets[users]
        return torch.where(free > 0, items, (uniform * self.n_items).long())
