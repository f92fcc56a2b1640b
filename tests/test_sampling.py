"""Negatives: never a positive, uniform over the rest, repeatable."""

import torch
from conftest import random_interactions

from model.interactions import Interactions
from model.sampling import NegativeSampler


def test_never_a_positive() -> None:
    train = random_interactions(40, 15, 400, 0)
    positives = train.block(0, 40)
    users = torch.arange(40).repeat(50)
    users = users[~positives.all(1)[users]]
    drawn = NegativeSampler(train)(users, torch.Generator().manual_seed(1))
    assert not positives[users, drawn].any()


def test_uniform_over_the_others() -> None:
    train = Interactions.of(torch.tensor([0, 0, 1]), torch.tensor([1, 3, 0]), 2, 6)
    drawn = NegativeSampler(train)(
        torch.zeros(40_000, dtype=torch.int64), torch.Generator().manual_seed(0)
    )
    shares = torch.bincount(drawn, minlength=6) / len(drawn)
    torch.testing.assert_close(
        shares, torch.tensor([0.25, 0, 0.25, 0, 0.25, 0.25]), atol=0.01, rtol=0
    )


def test_unrejected_covers_everything() -> None:
    train = Interactions.of(torch.tensor([0, 0]), torch.tensor([0, 1]), 1, 3)
    drawn = NegativeSampler(train, reject_positives=False)(
        torch.zeros(300, dtype=torch.int64), torch.Generator().manual_seed(0)
    )
    assert set(drawn.tolist()) == {0, 1, 2}


def test_a_user_who_has_everything_gets_a_valid_item() -> None:
    train = Interactions.of(torch.tensor([0, 0]), torch.tensor([0, 1]), 1, 2)
    drawn = NegativeSampler(train)(torch.zeros(50, dtype=torch.int64), torch.Generator())
    assert ((drawn >= 0) & (drawn < 2)).all()


def test_a_user_with_one_free_item_always_gets_it() -> None:
    for free in (0, 7, 14):
        liked = torch.tensor([i for i in range(15) if i != free])
        train = Interactions.of(torch.ones(14), liked, 3, 15)
        drawn = NegativeSampler(train)(torch.ones(200).long(), torch.Generator().manual_seed(1))
        assert (drawn == free).all()
    everything = Interactions.of(torch.ones(15), torch.arange(15), 3, 15)
    drawn = NegativeSampler(everything)(torch.ones(900).long(), torch.Generator().manual_seed(1))
    assert set(drawn.tolist()) == set(range(15))


def test_of_items_with_interactions_alone() -> None:
    train = Interactions.of(torch.tensor([0, 0, 1, 1]), torch.tensor([1, 3, 3, 5]), 3, 8)
    for user, others in ((0, {5}), (1, {1}), (2, {1, 3, 5})):
        drawn = NegativeSampler(train, seen_only=True)(
            torch.full((3000,), user), torch.Generator().manual_seed(0)
        )
        assert set(drawn.tolist()) == others
        shares = torch.bincount(drawn, minlength=8)[list(others)] / len(drawn)
        torch.testing.assert_close(shares, torch.ones(len(others)) / len(others), atol=0.04, rtol=0)
