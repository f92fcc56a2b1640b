"""Propagation against a dense closed form in float64, and its hand-written backward."""

import pytest
import torch
from conftest import random_interactions

from model.graph import normalized_adjacency
from model.interactions import Interactions
from model.propagation import propagate


def dense_adjacency(train: Interactions) -> torch.Tensor:
    """D^-1/2 A D^-1/2 from loops over the edges."""
    n = train.n_users + train.n_items
    a = torch.zeros(n, n, dtype=torch.float64)
    for u, i in zip(train.users.tolist(), train.items.tolist(), strict=True):
        a[u, train.n_users + i] = a[train.n_users + i, u] = 1
    degree = a.sum(1)
    for row in range(n):
        for column in range(n):
            if a[row, column]:
                a[row, column] /= (degree[row] * degree[column]) ** 0.5
    return a


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_dense_closed_form(layers: int, seed: int) -> None:
    # Users 18, 19 and items 25..29 are isolated: no edge is drawn for them.
    drawn = random_interactions(18, 25, 90, seed)
    train = Interactions.of(drawn.users, drawn.items, 20, 30)
    dense = dense_adjacency(train)
    e = torch.randn(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = sum(torch.linalg.matrix_power(dense, k) @ e for k in range(layers + 1))
    expected = expected / (layers + 1)

    adjacency = normalized_adjacency(train.users, train.items, 20, 30)
    torch.testing.assert_close(adjacency.to_dense().double(), dense, rtol=1e-6, atol=1e-12)
    # Exact degrees in double: what differs from the closed form is propagation alone.
    exact = torch.sparse_csr_tensor(
        adjacency.crow_indices(),
        adjacency.col_indices(),
        dense[dense != 0],
        adjacency.shape,
        check_invariants=True,
    )
    torch.testing.assert_close(propagate(exact, e, layers), expected, rtol=1e-6, atol=1e-12)
    single = propagate(adjacency, e.float(), layers).double()
    assert (single - expected).norm() <= 1e-6 * expected.norm()


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_isolated_nodes_keep_only_their_own_embedding(layers: int) -> None:
    train = Interactions.of(torch.tensor([0, 1]), torch.tensor([0, 0]), 3, 2)
    adjacency = normalized_adjacency(train.users, train.items, 3, 2)
    e = torch.randn(5, 4)
    out = propagate(adjacency, e, layers)
    torch.testing.assert_close(out[[2, 4]], e[[2, 4]] / (layers + 1))


def test_hand_computed() -> None:
    # One user with two items: degrees 2, 1, 1, so every weight is 1 / sqrt(2).
    adjacency = normalized_adjacency(torch.tensor([0, 0]), torch.tensor([0, 1]), 1, 2)
    out = propagate(adjacency, torch.tensor([[1.0], [2.0], [4.0]]), 1)
    r = 0.5**0.5
    torch.testing.assert_close(out, torch.tensor([[1 + 6 * r], [2 + r], [4 + r]]) / 2)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_backward_is_the_finite_difference(layers: int) -> None:
    train = random_interactions(6, 5, 12, 3)
    adjacency = normalized_adjacency(train.users, train.items, 6, 5).to(torch.float64)
    e = torch.randn(11, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: propagate(adjacency, x, layers).tanh(), (e,))


def test_agrees_with_pyg_fed_both_directions() -> None:
    pyg = pytest.importorskip("torch_geometric.nn.models")
    train = random_interactions(12, 9, 40, 5)
    both = torch.stack([train.users, train.items + 12])
    reference = pyg.LightGCN(21, 8, num_layers=3)
    expected = reference.get_embedding(torch.cat([both, both.flip(0)], dim=1))
    adjacency = normalized_adjacency(train.users, train.items, 12, 9)
    torch.testing.assert_close(propagate(adjacency, reference.embedding.weight, 3), expected)
