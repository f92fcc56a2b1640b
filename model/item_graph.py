"""Graphs between items by what they hold: each with its nearest, as LATTICE has them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.projection import l2norm
from model.sparse import PATTERN_FIELDS, Pattern, SparseMatrix, inner_products

SMALLEST_ROW_SUM = 1e-7


class ItemGraph(nn.Module):
    """One modality's two graphs between items."""

    def __init__(self, features: Tensor, present: Tensor, dimension: int, neighbors: int) -> None:
        super().__init__()
        self.neighbors = neighbors
        self.features: Tensor
        self.present: Tensor
        self.register_buffer("features", features, persistent=False)
        self.register_buffer("present", present, persistent=False)
        self.transform = nn.Linear(features.shape[1], dimension)
        unit = l2norm(features)
        self.rows: Tensor  # of the present items; sought once, since that waits for the device
        self.register_buffer("rows", present.nonzero()[:, 0], persistent=False)
        pattern = nearest(unit, self.rows, neighbors)
        similarities = inner_products(pattern, unit, unit).clamp(min=0)
        row_sums = features.new_zeros(len(features)).index_add_(0, pattern.rows, similarities)
        scale = row_sums.clamp(min=SMALLEST_ROW_SUM).rsqrt()
        self.frozen = SparseMatrix(
            pattern, scale[pattern.rows] * similarities * scale[pattern.columns]
        )
        self.scale: Tensor
        self.register_buffer("scale", scale, persistent=False)
        self.pattern: Pattern | None = None

    @torch.no_grad()
    def renew(self) -> Pattern:
        """Seek the neighbours that `learned` keeps, in place: a step may have been recorded."""
        found = nearest(l2norm(self.transform(self.features)), self.rows, self.neighbors)
        if self.pattern is None or self.pattern.rows.device != found.rows.device:
            self.pattern = found
        for name in PATTERN_FIELDS:
            getattr(self.pattern, name).copy_(getattr(found, name))
        return self.pattern

    def learned(self, anew: bool) -> tuple[Pattern, Tensor]:
        """The k-NN pattern and its similarities (E,), differentiable in the transform.

        The neighbours are sought where `anew` says so, else those of the last `renew`.
        """
        unit = l2norm(self.transform(self.features))
        if anew:
            pattern = nearest(unit.detach(), self.rows, self.neighbors)
        else:
            pattern = self.pattern or self.renew()
        # Below zero there is no similarity to spread; row sums stay positive (1 with itself).
        return pattern, inner_products(pattern, unit, unit).clamp(min=0)

    def near(self, features: Tensor, present: Tensor) -> Near:
        """The rows that m new items, (m, w) and (m,) bool, would have in both graphs."""
        k = min(self.neighbors - 1, len(self.rows))
        raw = nearest_of(l2norm(features), l2norm(self.features), self.present, k)
        made = l2norm(self.transform(features)), l2norm(self.transform(self.features))
        return Near(*raw, *nearest_of(*made, self.present, k), self.scale, present.float())


@dataclass(frozen=True)
class Near:
    """New items' nearest (m, k) and similarities, by raw features and by the learned transform.

    Each is its own neighbour too, with similarity 1 and without an embedding.
    """

    raw: Tensor
    raw_similarities: Tensor
    made: Tensor
    similarities: Tensor
    scale: Tensor  # (I,) of the frozen graph
    present: Tensor  # (m,) 1. or 0.

    @property
    def learned_sums(self) -> Tensor:
        """(m,) row sums of the learned graph."""
        return self.present * (1 + self.similarities.sum(1))

    def learned(self, dense: Tensor) -> Tensor:
        """(I, d) → (m, d), by the learned graph, not normalised."""
        return (self.similarities[..., None] * dense[self.made]).sum(1) * self.present[:, None]

    def frozen(self, dense: Tensor) -> Tensor:
        """(I, d) → (m, d), by the frozen graph."""
        own = (1 + self.raw_similarities.sum(1)).rsqrt() * self.present
        weights = own[:, None] * self.raw_similarities * self.scale[self.raw]
        return (weights[..., None] * dense[self.raw]).sum(1)


def nearest_of(unit: Tensor, others: Tensor, present: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Of unit rows (m, w), the k nearest present `others` (I, w), and their cosines, if above 0."""
    cosines = (unit @ others.T).masked_fill(~present, -torch.inf)
    best = cosines.topk(k, dim=1)
    return best.indices, best.values.clamp(min=0)


@torch.no_grad()
def nearest(unit: Tensor, rows: Tensor, k: int, cells: int = 1 << 24) -> Pattern:
    """Every present item's k most similar present items by cosine, itself among them.

    Args:
        unit: (I, w) with rows of length 1.
        rows: (n,) int64, the present ones; the others have no neighbours and are nobody's.
        k: how many; fewer where fewer are present.
        cells: the most similarities held at a time.
    """
    candidates = unit[rows]
    k = min(k, len(rows))
    found = []
    for block in torch.arange(len(rows), device=rows.device).split(
        max(1, cells // max(1, len(rows)))
    ):
        similarities = candidates[block] @ candidates.T
        similarities.scatter_(1, block[:, None], torch.inf)  # itself
        found.append(similarities.topk(k, dim=1).indices)
    columns = rows[torch.cat(found)] if found else rows.new_empty(0, 0)
    return Pattern.of(rows.repeat_interleave(k), columns.flatten(), (len(unit), len(unit)))
