"""EASE (Steck, 2019): the linear model of items by items, in closed form, with content."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Self

import torch
from torch import Tensor

from model import memory, reductions
from model.closed_form import ClosedForm
from model.config import Positive, Range, SystemOptions
from model.dataset import Modality, completed, means_of
from model.graph import edge_weights, pattern_of
from model.interactions import Interactions
from model.projection import l2norm
from model.sparse import SparseMatrix, product
from model.system import FitError

if TYPE_CHECKING:
    from model.ranking import Scorer

COLUMNS = 1024  # of the Gram matrix that are made at a time
RIDGE = 1e-3  # of the whitening, in mean variances


@dataclass(frozen=True)
class Options(SystemOptions):
    """lambda; p, the dropout; alpha^2, the weight of an item's content; degree exponents."""

    undivided = "it inverts one matrix of all items"
    unread = (("content_weight", 0.0, frozenset({"whiten"})),)

    regularization: Annotated[float, Positive] = 50.0
    dropout: Annotated[float, Range(0, 0.99)] = 0.0
    content_weight: Annotated[float, Range(0)] = 0.0
    whiten: bool = True
    user_exponent: Annotated[float, Range(0)] = 0.0
    item_exponent: Annotated[float, Range(0)] = 0.0

    @property
    def content(self) -> bool:  # type: ignore[override]
        """Whether it reads the items' modalities."""
        return self.content_weight > 0


class Ease(ClosedForm):
    r"""s_u = x_u B, B_ij = -P_ij / P_jj with P = (G + p / (1 - p) diag(G) + lambda I)^-1, B_jj = 0.

    G = X^T X + alpha^2 \sum_m F_m F_m^T, X the training interactions, each divided by
    deg(u)^user_exponent deg(i)^item_exponent, F_m (I, w) the unit vectors of modality m, whitened
    or as they are (Add-EASE, Jeunen et al., 2020: features are further users). p is how much of
    its input a denoising autoencoder would lose (EDLAE, Steck, 2020). It is solved in float64.
    """

    def solve(self, seed: int) -> dict[str, Tensor]:
        options, n = self.config.options, self.n_items
        device = self.catalogue.train.items.device
        self._require_memory(device)
        gram = gram_of(self._weighed(), n)
        for modality in self.catalogue.modalities if options.content else ():
            f = self._features(modality)(modality).to(device)
            gram.addmm_(f, f.T, alpha=options.content_weight)
        gram.diagonal().mul_(1 / (1 - options.dropout)).add_(options.regularization)
        try:
            factor = torch.linalg.cholesky(gram)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise FitError(
                f"G + lambda I cannot be inverted in float64: a regularization of "
                f"{options.regularization:g} is too little beside G, whose content has the weight "
                f"{options.content_weight:g}; raise systems.ease.regularization, or lower "
                "systems.ease.content_weight"
            ) from error
        del gram
        inverse = torch.cholesky_inverse(factor)
        del factor
        diagonal = inverse.diagonal().clone()
        inverse.div_(-diagonal).fill_diagonal_(0)
        return {"weights": inverse.float().contiguous(), "diagonal": diagonal.float()}

    def folding(self) -> Callable[[Interactions], Scorer]:
        weights = self.fitted["weights"]  # (I, I + m)

        def scorer(histories: Interactions) -> Scorer:
            known = histories.of_first(self.n_items)
            values = self._values(known)

            def scores(users: Tensor) -> Tensor:
                offsets, entries = known.entries(users)
                return product(offsets, known.items[entries], values[entries], weights)

            return scores

        return scorer

    def carriers(self) -> Callable[[Tensor, int], Tensor]:
        return self._carried

    def _carried(self, history: Tensor, item: int) -> Tensor:
        known = history < self.n_items
        one = Interactions.of(torch.zeros_like(history[known]), history[known], 1, self.n_items)
        sums = self.fitted["weights"].new_zeros(self.n_items)
        sums[one.items] = self._values(one) * self.fitted["weights"][one.items, item]
        return torch.where(known, sums[history.clamp(max=self.n_items - 1)], 0.0)

    def with_items(self, content: Sequence[Modality]) -> Self:
        r"""Each as if it had been in G, with content and without users.

        Its column of B is P c, c = alpha^2 \sum_m F_m f_m: the ridge regression of its content on
        the other items'.
        """
        modalities = self.catalogue.modalities
        if not self.config.options.content or not modalities:
            return super().with_items(content)
        known = completed(content, means_of(modalities), "skip")
        diagonal = self.fitted["diagonal"].double()
        column = diagonal.new_zeros(self.n_items, len(known[0].present))
        for modality, new in zip(modalities, known, strict=True):
            features = self._features(modality)
            f, g = features(modality).to(diagonal.device), features(new).to(diagonal.device)
            column.addmm_(f, g.T, alpha=self.config.options.content_weight)
        b = self.fitted["weights"][:, : self.n_items].double()
        inverse = (-b * diagonal).fill_diagonal_(0) + diagonal.diag()
        extended = copy.copy(self)
        weights = torch.cat([self.fitted["weights"], (inverse @ column).float()], dim=1)
        extended.fitted = self.fitted | {"weights": weights}
        return extended

    def _features(self, modality: Modality) -> Callable[[Modality], Tensor]:
        """What makes F_m of vectors, by those that the catalogue has."""
        return Whitening.of(modality) if self.config.options.whiten else as_they_are

    def _values(self, histories: Interactions) -> Tensor:
        """(e,) the entries of X; items keep the degrees that they have in training."""
        o, item_degrees = self.config.options, self.catalogue.train.item_degrees()
        return edge_weights(histories, item_degrees, o.user_exponent, o.item_exponent).float()

    def _weighed(self) -> SparseMatrix:
        """X (U, I)."""
        return SparseMatrix(pattern_of(self.catalogue.train), self._values(self.catalogue.train))

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


def mean_diagonal(train: Interactions, user_exponent: float, item_exponent: float) -> float:
    """The mean diagonal of X^T X, each interaction of X over deg(u)^p deg(i)^q."""
    squares = edge_weights(train, train.item_degrees(), 2 * user_exponent, 2 * item_exponent)
    return float(reductions.total(squares)) / train.n_items


def as_they_are(modality: Modality) -> Tensor:
    """(n, w) float64 unit vectors; zeros where an item lacks it."""
    return l2norm(modality.vectors.double()) * modality.present[:, None]


@dataclass(frozen=True)
class Whitening:
    """x → (Sigma + eps I)^-1/2 (x - mu) of length 1, by the items that a catalogue has.

    Attributes:
        mean, matrix: (w,) and (w, w) float64.
    """

    mean: Tensor
    matrix: Tensor

    @classmethod
    def of(cls, modality: Modality) -> Whitening:
        """By the present vectors of a modality."""
        x = modality.vectors[modality.present].double()
        mean = x.mean(0)
        x = x - mean
        variance, directions = torch.linalg.eigh(x.T @ x / max(1, len(x)))
        variance = variance.clamp(min=0) + RIDGE * variance.mean()
        return cls(mean, directions / variance.clamp(min=1e-300).sqrt() @ directions.T)

    def __call__(self, modality: Modality) -> Tensor:
        """(n, w) float64; zeros where an item lacks it."""
        present = modality.present
        x = modality.vectors[present].double() - self.mean
        result = x.new_zeros(len(present), x.shape[1])
        result[present] = l2norm(x @ self.matrix)
        return result
