"""Rankings: exact, ties in the catalogue's order, the same whoever else is asked for."""

import pytest
import torch
from conftest import random_interactions
from hypothesis import given, settings
from hypothesis import strategies as st
from test_contract import I, U, fitted
from torch import Tensor

from model.evaluation import evaluate
from model.interactions import Interactions
from model.ranking import BEYOND, NOBODY, InnerProduct, rank, rank_without_wait, top
from model.systems import SYSTEMS


def reference(scores: Tensor, seen: Interactions | None, k: int) -> list[list[int]]:
    """By sorting (float32 score, code) in Python."""
    lists = []
    for user, row in enumerate(scores.tolist()):
        mine = set() if seen is None else set(seen.items[seen.users == user].tolist())
        shown = [i for i in sorted(range(len(row)), key=lambda i: (-row[i], i)) if i not in mine]
        lists.append((shown + [NOBODY] * k)[: min(k, len(row))])
    return lists


def exact(users: Tensor, items: Tensor) -> Tensor:
    return (users.double()[:, None] * items.double()[None]).sum(2).float()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 60), st.integers(1, 9), st.integers(1, 70),
    st.sampled_from(["random", "coarse", "twins", "zero"]), st.integers(0, 10**6),
)  # fmt: skip
def test_lists_are_those_of_exact_scores(
    n_users: int, n_items: int, d: int, k: int, kind: str, seed: int
) -> None:
    torch.manual_seed(seed)
    users, items = torch.randn(n_users, d), torch.randn(n_items, d)
    if kind == "coarse":
        users, items = users.round(), items.round()
    elif kind == "twins":
        items = items[torch.randint(max(1, n_items // 3), (n_items,))]
    elif kind == "zero":
        users[::2] = 0
    seen = random_interactions(n_users, n_items, n_users * n_items // 3, seed)
    expected = reference(exact(users, items), seen, k)
    scorer = InnerProduct(users, items)
    everyone, values = rank(scorer, torch.arange(n_users), k, seen=seen)
    assert everyone.tolist() == expected
    shown = everyone != NOBODY
    where = shown.nonzero(as_tuple=True)
    apart = values[shown] - exact(users, items)[where[0], everyone[shown]]
    assert (apart.abs() <= scorer.rounding(where[0])).all()
    assert (values[~shown] == -torch.inf).all()
    for user in range(n_users):
        assert rank(scorer, torch.tensor([user]), k, seen=seen)[0].tolist() == [expected[user]]
    everyone, _, unsettled = rank_without_wait(
        scorer, torch.arange(n_users), k, seen=seen, n_seen=len(seen)
    )
    assert unsettled or everyone.tolist() == expected
    if n_items <= k + BEYOND or kind == "random":
        assert not unsettled


@pytest.mark.parametrize(
    ("items", "length"), [(1, 1), (64, 64), (300, 64), (3043, 64), (3043, 1), (10_001, 24)]
)
@pytest.mark.parametrize("tied", [False, True])
def test_top_is_topk(items: int, length: int, tied: bool) -> None:
    draw = torch.Generator().manual_seed(items)
    scores = torch.randn(9, items, generator=draw)
    if tied:
        scores = scores.round()
    scores[torch.rand(9, items, generator=draw) < 0.3] = -torch.inf
    scores[0] = -torch.inf
    best, found = top(scores, length)
    assert torch.equal(best, scores.topk(length, dim=1).values)
    assert torch.equal(scores.gather(1, found), best)
    assert all(len(row.unique()) == length for row in found)


def test_what_differs_by_less_than_rounding_is_compared_exactly() -> None:
    """Thousands of terms that nearly cancel: float32 sums are all noise."""
    torch.manual_seed(0)
    base = torch.randn(1, 4096)
    items = base + 1e-5 * torch.randn(40, 4096)
    users = torch.cat([base, -base, torch.randn(6, 4096)])
    expected = reference(exact(users, items), None, 10)
    scorer = InnerProduct(users, items)
    assert rank(scorer, torch.arange(8), 10)[0].tolist() == expected
    rough = (users @ items.T).topk(10, dim=1).indices.tolist()
    assert rough[:2] != expected[:2]  # else this test says nothing
    assert [rank(scorer, torch.tensor([u]), 10)[0][0].tolist() for u in range(8)] == expected


@pytest.mark.parametrize("name", SYSTEMS)
def test_one_user_alone_gets_what_he_gets_among_others(name: str) -> None:
    model, _ = fitted(name)
    scorer, seen = model.scorer(), random_interactions(U, I, 90, 3)
    everyone, _ = rank(scorer, torch.arange(U), 10, seen=seen)
    for users in ([3], [5, 3], [0, 3, 9, 23, 3]):
        some, _ = rank(scorer, torch.tensor(users), 10, seen=seen)
        assert some.tolist() == everyone[users].tolist()
    relevant = random_interactions(U, I, 60, 4)
    for cells in (1, 7 * I, 1 << 20):
        found = evaluate(scorer, seen=seen, relevant=relevant, ks=(10,), cells=cells)
        assert found.lists[:, :10].tolist() == everyone[found.judged].tolist()


def test_ties_come_in_the_order_of_the_catalogue() -> None:
    model, _ = fitted("popularity")
    [best], [scores] = rank(model.scorer(), torch.tensor([0]), I)
    pairs = list(zip((-scores).tolist(), best.tolist(), strict=True))
    assert pairs == sorted(pairs)
    assert len(set(scores.tolist())) < I  # there are ties


def test_more_ties_than_candidates_are_unsettled() -> None:
    users, nobody = torch.arange(3), torch.empty(0, dtype=torch.int64)
    seen = Interactions.of(nobody, nobody, 3, 40)
    factors = torch.tensor([[1.0], [0.0], [1.0]])
    scorer = InnerProduct(factors, torch.arange(40.0)[:, None])
    *_, unsettled = rank_without_wait(scorer, users, 5, seen=seen, n_seen=0)
    assert unsettled
    *_, unsettled = rank_without_wait(scorer, users[::2], 5, seen=seen, n_seen=0)
    assert not unsettled


def test_only_what_is_allowed_is_shown() -> None:
    torch.manual_seed(1)
    scorer = InnerProduct(torch.randn(3, 4), torch.randn(9, 4))
    allowed = torch.zeros(9, dtype=torch.bool)
    allowed[[2, 7]] = True
    items, scores = rank(scorer, torch.arange(3), 5, allowed=allowed)
    assert all(set(row[:2]) == {2, 7} and row[2:] == [NOBODY] * 3 for row in items.tolist())
    assert (scores[:, 2:] == -torch.inf).all()
    nobody, _ = rank(scorer, torch.arange(3), 5, allowed=torch.zeros(9, dtype=torch.bool))
    assert (nobody == NOBODY).all()


def test_which_pairs_are_among_interactions() -> None:
    some = random_interactions(9, 12, 40, 0)
    users, items = torch.arange(9)[:, None], torch.arange(12)
    assert torch.equal(some.contains(users, items), some.block(0, 9))
    assert torch.equal(some.active, some.block(0, 9).any(1).nonzero()[:, 0])
    nothing = Interactions.of(torch.empty(0), torch.empty(0), 9, 12)
    assert not nothing.contains(users, items).any()
