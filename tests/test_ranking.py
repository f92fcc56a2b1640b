"""The k best of every user against a plain sort, ties and what may not be shown included."""

import pytest
import torch
from torch import Tensor

from model.interactions import Interactions
from model.ranking import NOBODY, InnerProduct, rank, top


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


def sorted_by_hand(
    users: Tensor, items: Tensor, k: int, seen: Interactions, allowed: Tensor
) -> list[list[int]]:
    """Every score in float64, rounded once to float32; Python's stable sort."""
    lists = []
    for user, vector in enumerate(users.double()):
        scores = (vector * items.double()).sum(1).float().tolist()
        own = set(seen.items[seen.offsets[user] : seen.offsets[user + 1]].tolist())
        shown = [i for i in range(len(items)) if bool(allowed[i]) and i not in own]
        best = sorted(shown, key=lambda i: -scores[i])[:k]  # noqa: B023
        lists.append(best + [NOBODY] * (min(k, len(items)) - len(best)))
    return lists


@pytest.mark.parametrize("steps", [2, 1000])  # few values: nearly all tie, few do
@pytest.mark.parametrize(("items", "k"), [(40, 50), (2000, 10), (2000, 50)])
def test_rank_is_a_sort_in_any_blocks(items: int, k: int, steps: int) -> None:
    draw = torch.Generator().manual_seed(items + steps)
    table = torch.randint(-steps, steps + 1, (30 + items, 8), generator=draw) / (3 * steps)
    table[30 + items // 2 :] = table[30 : 30 + items - items // 2]  # every item twice
    seen = Interactions.of(
        torch.randint(30, (300,), generator=draw), torch.randint(items, (300,), generator=draw),
        30, items,
    )  # fmt: skip
    allowed = torch.rand(items, generator=draw) < 0.9
    scorer = InnerProduct(table[:30], table[30:])
    expected = sorted_by_hand(table[:30], table[30:], k, seen, allowed)
    for size in (1, 7, 30):
        blocks = torch.arange(30).split(size)
        lists = [rank(scorer, b, k, seen=seen, allowed=allowed)[0] for b in blocks]
        assert torch.cat(lists).tolist() == expected
