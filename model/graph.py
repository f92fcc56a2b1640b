"""The user-item graph as users x items matrices, built once from the training edges."""

from torch import Tensor

from model.interactions import Interactions
from model.sparse import Pattern, SparseMatrix


def normalized_graph(
    train: Interactions, user_exponent: float = 0.5, item_exponent: float = 0.5
) -> SparseMatrix:
    r"""R̂ = D_U^-p R D_I^-q (LightGCN, eq. 4-5, p = q = 1/2), (U, I).

    The bipartite adjacency is Â = [[0, R̂], [R̂^T, 0]]: symmetric, no self-loops; users and items
    without edges have empty rows.
    """
    user_degrees, item_degrees = degrees(train)
    values = (
        user_degrees[train.users] ** -user_exponent * item_degrees[train.items] ** -item_exponent
    )
    return SparseMatrix(pattern_of(train), values.float())


def mean_graphs(train: Interactions) -> tuple[SparseMatrix, SparseMatrix]:
    """The means over neighbours: D_U^-1 R (U, I) and D_I^-1 R^T (I, U)."""
    user_degrees, item_degrees = degrees(train)
    pattern = pattern_of(train)
    return (
        SparseMatrix(pattern, user_degrees[train.users].reciprocal().float()),
        SparseMatrix(pattern.T, item_degrees[train.items].reciprocal().float()[pattern.order]),
    )


def pattern_of(train: Interactions) -> Pattern:
    """Where R has its ones."""
    shape = train.n_users, train.n_items
    return Pattern.of(train.users, train.items, shape, train.share.ranks)


def degrees(train: Interactions) -> tuple[Tensor, Tensor]:
    """(U,) and (I,) float64."""
    return train.degrees().double(), train.item_degrees().double()
