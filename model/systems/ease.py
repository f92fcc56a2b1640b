"""EASE (Steck, 2019): the linear model of items by items, in closed form, with content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from model import memory
from model.closed_form import ClosedForm
from model.config import Positive, Range, SystemOptions
from model.dataset import Modality
from model.graph import normalized_graph
from model.projection import l2norm
from model.sparse import SparseMatrix, product
from model.system import FitError

if TYPE_CHECKING:
    from model.ranking import Scorer

COLUMNS = 1024  # of the Gram matrix that are made at a time
RIDGE = 1e-3  # of the whitening, in mean variances


@dataclass(frozen=True)
class Options(SystemOptions):
    """lambda; alpha^2, the weight of an item's content beside its users; degree exponents."""

    regularization: Annotated[float, Positive] = 50.0
    content_weight: Annotated[float, Range(0)] = 0.0
    user_exponent: Annotated[float, Range(0)] = 0.0
    item_exponent: Annotated[float, Range(0)] = 0.0

    @property
    def content(self) -> bool:  # type: ignore[override]
        """Whether it reads the items' modalities."""
        return self.content_weight > 0


class Ease(ClosedForm):
    r"""s_u = x_u B, B_ij = -P_ij / P_jj with P = (G + lambda I)^-1, B_jj = 0.

    G = X^T X + alpha^2 \sum_m F_m F_m^T, X the training interactions, each divided by
    deg(u)^user_exponent deg(i)^item_exponent, F_m (I, w) the whitened unit vectors of modality m
    (Add-EASE, Jeunen et al., 2020: features are further users). It is solved in float64.
    """

    def solve(self, seed: int) -> dict[str, Tensor]:
        options, n = self.config.options, self.n_items
        device = self.catalogue.train.items.device
        self._require_memory(device)
        gram = gram_of(self._weighed(), n)
        for modality in self.catalogue.modalities if options.content else ():
            f = whitened(modality).to(device)
            gram.addmm_(f, f.T, alpha=options.content_weight)
        gram.diagonal().add_(options.regularization)
        factor = torch.linalg.cholesky(gram)
        del gram
        inverse = torch.cholesky_inverse(factor)
        del factor
        inverse.div_(-inverse.diagonal().clone()).fill_diagonal_(0)
        return {"weights": inverse.float()}

    def scorer(self) -> Scorer:
        x, weights = self._weighed(), self.fitted["weights"]
        columns, values = x.pattern.columns, x.values

        def scores(users: Tensor) -> Tensor:
            offsets, entries = self.catalogue.train.entries(users)
            return product(offsets, columns[entries], values[entries], weights)

        return scores

    def _weighed(self) -> SparseMatrix:
        """X (U, I)."""
        o = self.config.options
        return normalized_graph(self.catalogue.train, o.user_exponent, o.item_exponent)

    def _require_memory(self, device: torch.device) -> None:
        needed, there = 2 * 8 * self.n_items**2, memory.available(device)
        if needed > there:
            raise FitError(
                f"{self.n_items:,} items take {needed / 1e9:.1f} GB, {there / 1e9:.1f} GB are "
                "free; itemknn and ials do without a matrix of items by items"
            )


def gram_of(x: SparseMatrix, n: int) -> Tensor:
    """X^T X of X (U, n), dense (n, n) float64, a block of columns at a time."""
    pattern, values = x.pattern, x.transposed_values.double()
    gram = values.new_empty(n, n)
    users = len(pattern.offsets) - 1
    for first in range(0, n, COLUMNS):
        last = min(first + COLUMNS, n)
        low, high = pattern.transposed_offsets[first], pattern.transposed_offsets[last]
        of_item = torch.arange(first, last, device=values.device).repeat_interleave(
            pattern.transposed_offsets[first : last + 1].diff()
        )
        block = values.new_zeros(users, last - first)
        block[pattern.transposed_columns[low:high], of_item - first] = values[low:high]
        gram[:, first:last] = product(
            pattern.transposed_offsets, pattern.transposed_columns, values, block
        )
    return gram


def whitened(modality: Modality) -> Tensor:
    """(I, w) float64: (Sigma + eps I)^-1/2 (x - mu) of length 1; zeros where an item lacks it."""
    present = modality.present
    x = modality.vectors[present].double()
    x = x - x.mean(0)
    variance, directions = torch.linalg.eigh(x.T @ x / max(1, len(x)))
    variance = variance.clamp(min=0) + RIDGE * variance.mean()
    unit = l2norm(x @ (directions / variance.clamp(min=1e-300).sqrt()) @ directions.T)
    result = unit.new_zeros(len(present), unit.shape[1])
    result[present] = unit
    return result
