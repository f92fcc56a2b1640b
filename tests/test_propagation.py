"""Propagation against a dense closed form in float64, and its hand-written backward."""

import pytest
import torch
from conftest import catalogue_of, random_interactions
from small import config_of

from model.experiment import system_class
from model.graph import normalized_graph
from model.interactions import Interactions
from model.propagation import BLOCK, columns_at_once, layer_weights, propagate, scaled
from model.sparse import SparseMatrix


def dense_adjacency(train: Interactions, p: float = 0.5, q: float = 0.5) -> torch.Tensor:
    """The bipartite adjacency over deg(u)^p deg(i)^q, from loops over the edges."""
    n = train.n_users + train.n_items
    a = torch.zeros(n, n, dtype=torch.float64)
    for u, i in zip(train.users.tolist(), train.items.tolist(), strict=True):
        a[u, train.n_users + i] = a[train.n_users + i, u] = 1
    degree = a.sum(1)
    for u in range(train.n_users):
        for i in range(train.n_users, n):
            if a[u, i]:
                a[u, i] /= degree[u] ** p * degree[i] ** q
                a[i, u] = a[u, i]
    return a


def exact(train: Interactions, dense: torch.Tensor) -> SparseMatrix:
    """The graph with weights in double: what differs from the closed form is propagation alone."""
    graph = normalized_graph(train)
    values = dense[train.users, train.items + train.n_users]
    return SparseMatrix(graph.pattern, values)


def combined(
    graph: SparseMatrix, users: torch.Tensor, items: torch.Tensor, weights: tuple[float, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """As LightGCN does it: K = 0 needs no graph."""
    if len(weights) == 1:
        return scaled(users, items, *weights)
    return propagate(graph, users, items, weights)


@pytest.mark.parametrize("layers", range(9))
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_dense_closed_form(layers: int, seed: int) -> None:
    # Users 18, 19 and items 25..29 are isolated: no edge is drawn for them.
    drawn = random_interactions(18, 25, 90, seed)
    train = Interactions.of(drawn.users, drawn.items, 20, 30)
    dense = dense_adjacency(train)
    e = torch.randn(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    weights = layer_weights((), layers)
    expected = sum(torch.linalg.matrix_power(dense, k) @ e for k in range(layers + 1))
    expected = expected / (layers + 1)

    graph = normalized_graph(train)
    torch.testing.assert_close(graph.to_dense().double(), dense[:20, 20:], rtol=1e-6, atol=1e-12)
    got = torch.cat(combined(exact(train, dense), e[:20], e[20:], weights))
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-12)
    single = torch.cat(combined(graph, e[:20].float(), e[20:].float(), weights)).double()
    assert (single - expected).norm() <= 1e-6 * expected.norm()


def test_layer_weights_and_exponents() -> None:
    train = random_interactions(20, 30, 120, 4)
    dense = dense_adjacency(train, 0.3, 0.8)
    e = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    weights = layer_weights((0.5, 0.0, 2.0, 9.0), 2)
    assert weights == (0.5, 0.0, 2.0)
    expected = 0.5 * e.double() + 2 * dense @ dense @ e.double()
    graph = normalized_graph(train, 0.3, 0.8)
    got = torch.cat(propagate(graph, e[:20], e[20:], weights))
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="3 are needed"):
        layer_weights((0.5, 0.5), 2)
    with pytest.raises(ValueError, match="are all zero"):
        layer_weights((0.0, 0.0, 1.0), 1)


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_isolated_nodes_keep_only_their_own_embedding(layers: int) -> None:
    train = Interactions.of(torch.tensor([0, 1]), torch.tensor([0, 0]), 3, 2)
    users, items = torch.randn(3, 4), torch.randn(2, 4)
    weights = layer_weights((), layers)
    out_users, out_items = combined(normalized_graph(train), users, items, weights)
    torch.testing.assert_close(out_users[2], users[2] / (layers + 1))
    torch.testing.assert_close(out_items[1], items[1] / (layers + 1))


def test_hand_computed() -> None:
    # One user with two items: degrees 2, 1, 1, so every weight is 1 / sqrt(2).
    train = Interactions.of(torch.tensor([0, 0]), torch.tensor([0, 1]), 1, 2)
    users, items = torch.tensor([[1.0]]), torch.tensor([[2.0], [4.0]])
    out = propagate(normalized_graph(train), users, items, (0.5, 0.5))
    r = 0.5**0.5
    torch.testing.assert_close(out[0], torch.tensor([[1 + 6 * r]]) / 2)
    torch.testing.assert_close(out[1], torch.tensor([[2 + r], [4 + r]]) / 2)


@pytest.mark.parametrize("given", [(), (0.4, 1.5, 0.1, 0.7)])
@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_backward_is_the_finite_difference(layers: int, given: tuple[float, ...]) -> None:
    train = random_interactions(6, 5, 12, 3)
    graph = exact(train, dense_adjacency(train))
    users = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    items = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    weights = layer_weights(given, layers)

    def mixed(u: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        out_users, out_items = combined(graph, u, i, weights)
        return out_users.tanh() @ out_items.sin().T

    assert torch.autograd.gradcheck(mixed, (users, items))


@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_no_layers_only_scale(weight: float) -> None:
    """a_0 E^(0) and its gradient, by hand; LightGCN without layers is made of it."""
    users, items = torch.randn(6, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    got = scaled(users, items, weight)
    for table, result in zip((users, items), got, strict=True):
        torch.testing.assert_close(result, weight * table)
    upstream = torch.randn(6, 5)
    gradients = torch.autograd.grad((got[0] @ got[1].T * upstream).sum(), (users, items))
    torch.testing.assert_close(gradients[0], weight**2 * upstream @ items)
    torch.testing.assert_close(gradients[1], weight**2 * upstream.T @ users)

    catalogue = catalogue_of(random_interactions(6, 5, 12, 3))
    config = config_of("none", 0, layer_weights=(weight, 7.0))
    model = system_class("none")(catalogue, config)
    made = model()  # type: ignore[operator]
    torch.testing.assert_close(made.users, weight * model.user_embedding)  # type: ignore[attr-defined]
    torch.testing.assert_close(made.items, weight * model.item_embedding)  # type: ignore[attr-defined]


def test_wide_tables_are_as_narrow_ones() -> None:
    """Edges are many, so blocks of columns go through the layers, the last of them short."""
    train = random_interactions(40, 40, 1500, 4)
    graph, dense = normalized_graph(train), dense_adjacency(train)
    e = torch.randn(80, 4 * BLOCK + 44, generator=torch.Generator().manual_seed(0))
    assert columns_at_once(graph, e.shape[1]) == BLOCK
    users, items = e[:40].clone().requires_grad_(), e[40:].clone().requires_grad_()
    weights = (0.5, 0.0, 2.0, 0.7)
    got = torch.cat(propagate(graph, users, items, weights))
    upstream = torch.randn(*e.shape, generator=torch.Generator().manual_seed(1))
    expected, gradient = (
        sum(w * torch.linalg.matrix_power(dense, k) @ x.double() for k, w in enumerate(weights))
        for x in (e, upstream)  # symmetric: its own transpose
    )
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)
    got.backward(upstream)
    assert users.grad is not None and items.grad is not None
    gradients = torch.cat([users.grad, items.grad])
    torch.testing.assert_close(gradients.double(), gradient, rtol=1e-5, atol=1e-6)
    for columns, whole in zip(e.split(37, 1), got.split(37, 1), strict=True):
        assert torch.equal(torch.cat(propagate(graph, *columns.split(40), weights)), whole)


def test_agrees_with_pyg_fed_both_directions() -> None:
    pyg = pytest.importorskip("torch_geometric.nn.models")
    train = random_interactions(12, 9, 40, 5)
    both = torch.stack([train.users, train.items + 12])
    reference = pyg.LightGCN(21, 8, num_layers=3)
    expected = reference.get_embedding(torch.cat([both, both.flip(0)], dim=1))
    users, items = reference.embedding.weight.split([12, 9])
    got = torch.cat(propagate(normalized_graph(train), users, items, (0.25,) * 4))
    torch.testing.assert_close(got, expected)
