"""What the nearest-neighbour systems share: scores by similarities between items."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from model.closed_form import ClosedForm
from model.interactions import Interactions

if TYPE_CHECKING:
    from model.ranking import Scorer


class Neighborhood(ClosedForm):
    r"""s_ui = \sum_{j in N_u} S_ji, S sparse; subclasses make it in `solve`.

    Attributes:
        added: how many items came after fitting; S is (I, I + added).
    """

    added = 0

    def folding(self) -> Callable[[Interactions], Scorer]:
        s = self.similarities()

        def scorer(histories: Interactions) -> Scorer:
            x = matrix_of(histories.of_first(self.n_items))
            return lambda users: torch.from_numpy((x[users.cpu().numpy()] @ s).toarray()).to(
                users.device
            )

        return scorer

    def carriers(self) -> Callable[[Tensor, int], Tensor]:
        columns = self.similarities().tocsc()

        def carried(history: Tensor, item: int) -> Tensor:
            column = np.zeros(max(columns.shape))  # new items carry nothing
            column[: columns.shape[0]] = columns[:, [item]].toarray()[:, 0]
            return torch.from_numpy(column).to(history.device)[history]

        return carried

    def similarities(self) -> sparse.csr_matrix:
        """S: what an item of a history, a row, adds to every item's score."""
        offsets, neighbors, similarities = (
            self.fitted[name].cpu().numpy() for name in ("offsets", "neighbors", "similarities")
        )
        shape = (self.n_items, self.n_items + self.added)
        return sparse.csr_matrix((similarities, neighbors, offsets), shape=shape)


def tensors_of(similarities: sparse.csr_matrix) -> dict[str, Tensor]:
    """S as `Neighborhood` keeps it."""
    return {
        "offsets": torch.from_numpy(similarities.indptr.astype(np.int64)),
        "neighbors": torch.from_numpy(similarities.indices.astype(np.int64)),
        "similarities": torch.from_numpy(similarities.data),
    }


def matrix_of(train: Interactions) -> sparse.csr_matrix:
    """X, (U, I) with ones, float64."""
    offsets, items = train.offsets.cpu().numpy(), train.items.cpu().numpy()
    shape = (train.n_users, train.n_items)
    return sparse.csr_matrix((np.ones(len(items)), items, offsets), shape=shape)
