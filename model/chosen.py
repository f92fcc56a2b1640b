"""Rows of a table that a mask chooses: a card takes as many whatever it chooses.

How many a mask chooses is known to the device alone, and a host that asks a card waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Chosen:
    """What a mask over n rows chooses.

    Attributes:
        rows: (m,) int64, ascending where they count.
        counts: None, if all of them were chosen; else (m,) bool, which were.
    """

    rows: Tensor
    counts: Tensor | None = None

    @classmethod
    def of(cls, mask: Tensor, most: int) -> Chosen:
        """The rows where `mask` (n,) is true: no others on a CPU, `most` or all n on a card.

        Args:
            most: no fewer than are true.
        """
        if not mask.is_cuda:
            return cls(mask.nonzero()[:, 0])
        rows = torch.sort(mask.logical_not(), stable=True).indices[:most]
        return cls(rows, mask[rows])

    def __len__(self) -> int:
        """m; on a CPU, how many were chosen."""
        return len(self.rows)

    def of_table(self, table: Tensor) -> Tensor:
        """(n, d) → (m, d), differentiable."""
        # Not table[rows]: the backward of indexing adds in whatever order the threads come.
        return F.embedding(self.rows, table)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of (m, d) over the rows that count, a scalar; 0 if there are none on a card."""
        if self.counts is None:
            return values.mean()
        kept = values.where(self.counts[:, None], 0.0)
        return kept.sum() / (self.counts.sum().clamp(min=1) * values.shape[1])


def mean_of(terms: Sequence[tuple[Chosen, Tensor]]) -> Tensor:
    """The mean of scalars, each over what is chosen, of those over something at all."""
    values = torch.stack([value for _, value in terms])
    counts = [chosen.counts.any() for chosen, _ in terms if chosen.counts is not None]
    if not counts:
        return values.mean()
    return values.sum() / torch.stack(counts).sum().clamp(min=1)
