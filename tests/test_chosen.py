"""Rows that a mask chooses: what a card computes over more of them is what a CPU computes."""

import pytest
import torch
from pretended import CARD, pretended_cuda

from model.chosen import Chosen, mean_of
from model.losses import info_nce

MASK = torch.tensor([False, True, True, False, False, True, False])
NONE = torch.zeros(7, dtype=torch.bool)


def padded(mask: torch.Tensor, most: int) -> Chosen:
    """As a card has it."""
    with pretended_cuda():
        found = Chosen.of(mask.to(CARD), most)
        assert found.counts is not None
        return Chosen(found.rows.cpu(), found.counts.cpu())


@pytest.mark.parametrize("most", [3, 5, 7, 20])
def test_a_card_takes_as_many_whatever_is_chosen(most: int) -> None:
    assert Chosen.of(MASK, most).rows.tolist() == [1, 2, 5]
    found = padded(MASK, most)
    assert found.rows[:3].tolist() == [1, 2, 5]
    assert found.counts is not None and found.counts.tolist() == [True] * 3 + [False] * (
        min(most, 7) - 3
    )
    assert len(padded(NONE, most)) == min(most, 7)


@pytest.mark.parametrize("most", [3, 5, 7])
def test_losses_and_their_gradients_are_the_same(most: int) -> None:
    left, right = torch.randn(2, 7, 4, dtype=torch.float64)
    found = []
    for chosen in (Chosen.of(MASK, most), padded(MASK, most)):
        tables = left.clone().requires_grad_(), right.clone().requires_grad_()
        pair = chosen.of_table(tables[0]), chosen.of_table(tables[1])
        nce = info_nce(*pair, 0.2, chosen.counts)
        error = chosen.mean((pair[0] - pair[1]).square())
        found.append((nce, error, *torch.autograd.grad(nce + error, tables)))
    for exact, masked in zip(*found, strict=True):
        torch.testing.assert_close(masked, exact, rtol=1e-12, atol=1e-14)


def test_nothing_chosen_is_zero_and_moves_nothing() -> None:
    chosen = padded(NONE, 5)
    table = torch.randn(7, 4, requires_grad=True)
    rows = chosen.of_table(table)
    loss = info_nce(rows, rows.flip(1), 0.1, chosen.counts) + chosen.mean(rows.square())
    assert loss.item() == 0
    loss.backward()
    assert table.grad is not None and not table.grad.any()


def test_a_mean_is_over_what_there_is_something_of() -> None:
    one, two, five = torch.tensor([1.0, 2.0, 5.0])
    full, empty = padded(MASK, 7), padded(NONE, 7)
    assert float(mean_of([(full, one), (empty, 0 * two), (full, five)])) == 3
    assert float(mean_of([(empty, 0 * one)])) == 0
    assert (
        float(mean_of([(Chosen(torch.tensor([0])), one), (Chosen(torch.tensor([1])), five)])) == 3
    )
