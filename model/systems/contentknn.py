"""Content-kNN: items are near to those that hold the like, whoever has them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from model.config import Range, SystemOptions
from model.dataset import Modality, completed, means_of
from model.item_graph import nearest_of
from model.neighborhood import Neighborhood, tensors_of
from model.projection import l2norm

ROWS = 1024  # items whose similarities are held at a time


@dataclass(frozen=True)
class Options(SystemOptions):
    """How many `neighbors` an item has in each modality."""

    content = True
    undivided = "neighbours are counted, not fitted"

    neighbors: Annotated[int, Range(1)] = 20


class ContentKnn(Neighborhood):
    r"""s_ui = \sum_{j in N_u} S_ji, S_ji the mean of i's modalities' max(0, cos(x_i, x_j)).

    The cosine counts where j is among the nearest of i in that modality, i left out; x are the
    encoder's outputs less their mean over the catalogue. What nobody has is recommended as readily
    as anything else; an item without content is not.
    """

    def solve(self, seed: int) -> dict[str, Tensor]:
        own = torch.arange(self.n_items)
        return tensors_of(self._nearby(self.catalogue.modalities, own))

    def with_items(self, content: Sequence[Modality]) -> Self:
        means = means_of(self.catalogue.modalities)
        if not means:
            return super().with_items(content)
        known = completed(content, means, "skip")
        columns = self._nearby(known, torch.full((len(known[0].present),), -1))
        extended = copy.copy(self)
        device = self.fitted["similarities"].device
        joined = tensors_of(sparse.hstack([self.similarities(), columns]).tocsr())
        extended.fitted = {name: tensor.to(device) for name, tensor in joined.items()}
        extended.added = self.added + columns.shape[1]
        return extended

    def _nearby(self, content: Sequence[Modality], own: Tensor) -> sparse.csr_matrix:
        """(I, n) the columns of S of n items.

        Args:
            content: theirs, modality by modality as the catalogue has them.
            own: (n,) their numbers in the catalogue, of which each is no neighbour of its own.
        """
        shape = (len(own), self.n_items)
        if not content:
            return sparse.csr_matrix(shape[::-1])
        counted = torch.stack([m.present for m in content]).sum(0).clamp(min=1)
        total = sparse.csr_matrix(shape)
        for known, modality in zip(self.catalogue.modalities, content, strict=True):
            total = total + self._nearest(known, modality, own, counted)
        total.sort_indices()
        return total.T.tocsr()

    def _nearest(
        self, known: Modality, modality: Modality, own: Tensor, counted: Tensor
    ) -> sparse.csr_matrix:
        """(n, I) cosines with the nearest in one modality, over how many are `counted`."""
        mean = means_of([known])[known.name]
        unit = l2norm(known.vectors - mean)
        rows = modality.present.nonzero()[:, 0]
        found = []
        for block in rows.split(ROWS):
            # One more than asked for: an item of the catalogue is its own nearest.
            k = min(self.config.options.neighbors + 1, int(known.present.sum()))
            items, cosines = nearest_of(
                l2norm(modality.vectors[block] - mean), unit, known.present, k
            )
            cosines = cosines.masked_fill(items == own[block, None], 0.0)
            best = cosines.sort(dim=1, descending=True, stable=True)
            kept = best.values[:, : self.config.options.neighbors] / counted[block, None]
            row = block[:, None].expand_as(kept)
            found.append((row, items.gather(1, best.indices[:, : kept.shape[1]]), kept))
        if not found:
            return sparse.csr_matrix((len(own), self.n_items))
        row, column, value = (torch.cat([f[n].flatten() for f in found]).numpy() for n in range(3))
        like = np.flatnonzero(value > 0)
        return sparse.csr_matrix(
            (value[like].astype(np.float64), (row[like], column[like])),
            shape=(len(own), self.n_items),
        )
