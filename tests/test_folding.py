"""New users: what the ranking loss and propagation make of their histories."""

import pytest
import torch
from conftest import catalogue_of, random_interactions
from small import config_of
from torch.nn import functional as F

from model import folding
from model.experiment import system_class
from model.folding import folded_users
from model.interactions import Interactions
from model.propagation import layer_weights

HISTORIES = Interactions.of(torch.tensor([0, 0, 2, 2, 2]), torch.tensor([1, 4, 0, 3, 9]), 3, 12)


def vectors(width: int = 5) -> torch.Tensor:
    return torch.randn(12, width, generator=torch.Generator().manual_seed(0))


def objective(u: torch.Tensor, liked: list[int], start: torch.Tensor, free: int) -> torch.Tensor:
    """By its definition, in float64."""
    v = vectors().double()
    others = [j for j in range(12) if j not in liked]
    terms = [F.softplus(u @ (v[j] - v[i])) for i in liked for j in others]
    scale = v[others][:, :free].square().sum(1).mean()
    penalty = folding.PENALTY / 2 * scale * (u - start)[:free].square().sum()
    return torch.stack(terms).mean() + penalty


@pytest.mark.parametrize("constant", [0, 1])
@pytest.mark.parametrize("started", [False, True])
def test_a_new_user_is_where_the_objective_is_least(constant: int, started: bool) -> None:
    start = torch.randn(3, 5, generator=torch.Generator().manual_seed(1)) if started else None
    found = folded_users(HISTORIES, vectors(), constant, start)
    free = 5 - constant
    begun = torch.zeros(3, 5) if start is None else start
    assert torch.equal(found[1, :free], begun[1, :free])  # nobody liked anything
    assert (found[:, free:] == 1).all()
    for row, liked in ((0, [1, 4]), (2, [0, 3, 9])):
        u = found[row].double().requires_grad_()
        (slope,) = torch.autograd.grad(objective(u, liked, begun[row].double(), free), u)
        assert slope[:free].abs().max() < 1e-3
        worse = begun[row].double().clone()
        worse[free:] = 1
        assert objective(u, liked, worse, free) < objective(worse, liked, worse, free)


@pytest.mark.parametrize("layers", [1, 3])
def test_propagation_is_that_of_one_more_node(layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an embedding of its own, and where nothing may move away from it."""
    monkeypatch.setattr(folding, "PENALTY", 1e9)
    train = random_interactions(8, 12, 40, 1)
    torch.manual_seed(0)
    model = system_class("none")(catalogue_of(train), config_of("none", layers))
    found = model.folded(HISTORIES).users  # type: ignore[attr-defined]
    users, items = model.user_embedding.double(), model.item_embedding.double()  # type: ignore[attr-defined]
    adjacency = train.block(0, 8).double()
    r = adjacency / adjacency.sum(1, keepdim=True).clamp(min=1).sqrt()
    r = r / adjacency.sum(0).clamp(min=1).sqrt()
    new = HISTORIES.block(0, 3).double()
    edges = new / new.sum(1, keepdim=True).clamp(min=1).sqrt()
    edges = edges / adjacency.sum(0).clamp(min=1).sqrt()
    want = torch.zeros(3, items.shape[1]).double()
    for weight in layer_weights((), layers)[1:]:
        want += weight * edges @ items
        users, items = r @ items, r.T @ users
    torch.testing.assert_close(found.double(), want, atol=1e-5, rtol=1e-4)
    monkeypatch.setattr(folding, "PENALTY", 0.01)
    moved = model.folded(HISTORIES).users  # type: ignore[attr-defined]
    assert not torch.isclose(moved[0], found[0]).all() and torch.equal(moved[1], found[1])
