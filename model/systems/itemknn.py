"""Item-kNN (Deshpande and Karypis, 2004): items are near to those that the same users have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from scipy import sparse
from torch import Tensor

from model.config import OneOf, Range, SystemOptions
from model.neighborhood import Neighborhood, matrix_of, tensors_of

ROWS = 1024  # items whose similarities are held at a time


@dataclass(frozen=True)
class Options(SystemOptions):
    """`neighbors` of an item are kept; `shrinkage` is the cosine's, `k1` and `b` are BM25's."""

    undivided = "neighbours are counted, not fitted"
    unread = (
        ("similarity", "cosine", frozenset({"k1", "b"})),
        ("similarity", "bm25", frozenset({"shrinkage"})),
    )

    similarity: Annotated[str, OneOf(("cosine", "bm25"))] = "cosine"
    neighbors: Annotated[int, Range(1)] = 500
    shrinkage: Annotated[float, Range(0)] = 5.0
    k1: Annotated[float, Range(0)] = 1.2
    b: Annotated[float, Range(0, 1)] = 0.75


class ItemKnn(Neighborhood):
    r"""s_ui = \sum_{j in N_u} S_ji, S_j the similarities of j's nearest items, j left out.

    cosine: S_ij = n_ij / (sqrt(n_i n_j) + shrinkage), n_ij the users that have both. bm25: items
    are documents, their users are words, S_ij the inner product of `bm25`'s weights.
    """

    def solve(self, seed: int) -> dict[str, Tensor]:
        o = self.config.options
        x = matrix_of(self.catalogue.train)
        counts = np.asarray(x.sum(0)).ravel()
        w = (x if o.similarity == "cosine" else bm25(x, o.k1, o.b)).T.tocsr()  # (I, U)
        transposed = w.T.tocsr()
        parts = []
        for first in range(0, self.n_items, ROWS):
            block = (w[first : first + ROWS] @ transposed).tocsr()
            block.sort_indices()
            if o.similarity == "cosine":
                rows = np.repeat(np.arange(first, first + block.shape[0]), np.diff(block.indptr))
                block.data /= np.sqrt(counts[rows] * counts[block.indices]) + o.shrinkage
            parts.append(nearest(block, first, o.neighbors))
        return tensors_of(sparse.vstack(parts).tocsr())


def bm25(x: sparse.csr_matrix, k1: float, b: float) -> sparse.csr_matrix:
    """BM25's weights of X (U, I): a user's is the rarer the more items he has.

    (k1 + 1) / (k1 (1 - b + b n_i / mean n) + 1) · (ln I - ln(1 + n_u)), as `implicit` has them.
    """
    item_degrees, user_degrees = np.asarray(x.sum(0)).ravel(), np.asarray(x.sum(1)).ravel()
    length = 1 - b + b * item_degrees / item_degrees.mean()
    rarity = np.log(x.shape[1]) - np.log1p(user_degrees)
    return sparse.diags(rarity) @ x @ sparse.diags((k1 + 1) / (k1 * length + 1))


def nearest(block: sparse.csr_matrix, first: int, k: int) -> sparse.csr_matrix:
    """The k largest positive similarities of each row, itself left out; of equal ones the first.

    Args:
        block: (n, I) similarities of items first..first + n - 1, columns in ascending order.
    """
    columns, values = [], []
    for row in range(block.shape[0]):
        part = slice(block.indptr[row], block.indptr[row + 1])
        mine, similarity = block.indices[part], block.data[part]
        kept = (mine != first + row) & (similarity > 0)
        mine, similarity = mine[kept], similarity[kept]
        if len(mine) > k:
            chosen = np.sort(np.argsort(-similarity, kind="stable")[:k])
            mine, similarity = mine[chosen], similarity[chosen]
        columns.append(mine)
        values.append(similarity)
    offsets = np.cumsum([0, *map(len, columns)])
    data, indices = np.concatenate(values), np.concatenate(columns)
    return sparse.csr_matrix((data, indices, offsets), shape=block.shape)
