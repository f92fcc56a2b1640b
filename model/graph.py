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
    weights = edge_weights(train, train.item_degrees(), user_exponent, item_exponent)
    return SparseMatrix(pattern_of(train), weights.float())


def edge_weights(
    histories: Interactions, item_degrees: Tensor, user_exponent: float, item_exponent: float
) -> Tensor:
    """(e,) float64, deg(u)^-p deg(i)^-q of every edge.

    Args:
        item_degrees: (I,), in training, whoever's the histories are; an item that nobody has
            there counts as one with an edge.
    """
    users, items = histories.degrees().double(), item_degrees.clamp(min=1).double()
    return users[histories.users] ** -user_exponent * items[histories.items] ** -item_exponent


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
    """How many edges each user has (U,), and each item (I,), as float64."""
    return train.degrees().double(), train.item_degrees().double()
