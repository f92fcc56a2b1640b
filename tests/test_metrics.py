"""Metrics by hand, against PyG's and ir-measures', and the evaluation's masking and blocking."""

from collections.abc import Callable
from math import log2

import pytest
import torch
from conftest import random_interactions
from torch import Tensor

from model.evaluation import NOBODY, evaluate
from model.interactions import Interactions
from model.metrics import KS, METRICS, SELECTION, Exposure, Measure, Ranking, cutoffs


def ranking_metrics(hits: Tensor, relevant: Tensor, ks: tuple[int, ...]) -> dict[str, Tensor]:
    ranking = Ranking(hits, relevant, max(ks))
    return {
        f"{metric.name}@{k}": metric.function(ranking, k)
        for metric in METRICS.values()
        if metric.accuracy
        for k in ks
    }


def inner_product(users: Tensor, items: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda rows: users[rows] @ items.T


def test_hand_computed() -> None:
    # Ranks 1 and 3 are hits, three items are relevant.
    hits = torch.tensor([[True, False, True, False, False]])
    got = ranking_metrics(hits, torch.tensor([3]), ks=(1, 3, 5))
    assert got["precision@1"].item() == 1
    assert got["precision@3"].item() == pytest.approx(2 / 3)
    assert got["recall@3"].item() == pytest.approx(2 / 3)
    assert got["precision@5"].item() == pytest.approx(2 / 5)
    dcg = 1 + 1 / log2(4)
    ideal = 1 + 1 / log2(3) + 1 / log2(4)
    assert got["ndcg@1"].item() == 1
    assert got["ndcg@3"].item() == pytest.approx(dcg / ideal)
    assert got["ndcg@5"].item() == pytest.approx(dcg / ideal)


def test_perfect_and_empty_rankings() -> None:
    hits = torch.tensor([[True, True, False], [False, False, False]])
    got = ranking_metrics(hits, torch.tensor([2, 2]), ks=(2, 3))
    assert got["ndcg@2"].tolist() == pytest.approx([1, 0])
    assert got["recall@3"].tolist() == pytest.approx([1, 0])


def test_cutoff_beyond_the_catalogue_counts_misses() -> None:
    got = ranking_metrics(torch.tensor([[True, False]]), torch.tensor([1]), ks=(4,))
    assert got["precision@4"].item() == 0.25


def test_first_hits_and_average_precision_by_hand() -> None:
    hits = torch.tensor([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]]).bool()
    # Of fewer relevant items than k, of nothing found, of more than k.
    got = ranking_metrics(hits, torch.tensor([2, 1, 6]), ks=(1, 2, 4))
    expected = {
        "hit_rate@1": [0, 0, 1],
        "hit_rate@2": [1, 0, 1],
        "hit_rate@4": [1, 0, 1],
        "mrr@1": [0, 0, 1],
        "mrr@2": [1 / 2, 0, 1],
        "mrr@4": [1 / 2, 0, 1],
        "map@1": [0, 0, 1 / 6],
        "map@2": [1 / 2 / 2, 0, 2 / 6],
        "map@4": [(1 / 2 + 2 / 4) / 2, 0, 4 / 6],  # over all six that are relevant, not the first 4
    }
    for name, values in expected.items():
        assert got[name].tolist() == pytest.approx(values), name


def test_lists_shorter_than_the_cutoff_by_hand() -> None:
    got = ranking_metrics(
        torch.tensor([[False, False, True], [False] * 3]), torch.tensor([2, 2]), (5,)
    )
    assert got["hit_rate@5"].tolist() == [1, 0]
    assert got["mrr@5"].tolist() == pytest.approx([1 / 3, 0])
    assert got["map@5"].tolist() == pytest.approx([1 / 3 / 2, 0])
    assert got["precision@5"].tolist() == pytest.approx([1 / 5, 0])


def test_against_ir_measures() -> None:
    """Per user, on random lists of 25 items, of users with few and with many relevant items."""
    theirs = pytest.importorskip("ir_measures")
    generator = torch.Generator().manual_seed(5)
    users, n_items, length, ks = 60, 40, 25, (1, 3, 10, 30)
    relevant = (
        torch.rand(users, n_items, generator=generator) < torch.linspace(0.02, 0.9, users)[:, None]
    )
    relevant[:, 0] = True
    ranked = torch.rand(users, n_items, generator=generator).argsort(1)[:, :length]
    got = ranking_metrics(relevant.gather(1, ranked), relevant.sum(1), ks)
    qrels = {
        f"u{u}": {f"i{i}": 1 for i in row.nonzero()[:, 0].tolist()}
        for u, row in enumerate(relevant)
    }
    run = {
        f"u{u}": {f"i{i}": float(-rank) for rank, i in enumerate(row)}
        for u, row in enumerate(ranked.tolist())
    }
    names = {"precision": "P", "recall": "R", "ndcg": "nDCG", "mrr": "RR", "map": "AP",
             "hit_rate": "Success"}  # fmt: skip
    wanted = {f"{n}@{k}": getattr(theirs, names[n]) @ k for n in names for k in ks}
    found = {
        (str(m.measure), m.query_id): m.value for m in theirs.iter_calc(wanted.values(), qrels, run)
    }
    assert set(got) == set(wanted)
    for name, measure in wanted.items():
        expected = [found[str(measure), f"u{u}"] for u in range(users)]
        assert got[name].tolist() == pytest.approx(expected, abs=1e-9), name


def test_against_pyg() -> None:
    metrics = pytest.importorskip("torch_geometric.metrics")
    generator = torch.Generator().manual_seed(2)
    users = torch.randn(30, 6, generator=generator)
    items = torch.randn(80, 6, generator=generator)
    relevant = random_interactions(30, 80, 200, 4)
    nothing = Interactions.of(torch.zeros(0), torch.zeros(0), 30, 80)
    got = evaluate(inner_product(users, items), seen=nothing, relevant=relevant, ks=(5, 20))
    ranked = (users @ items.T).topk(20).indices
    edges = torch.stack([relevant.users, relevant.items])
    for k in (5, 20):
        for ours, theirs in (("precision", "Precision"), ("recall", "Recall"), ("ndcg", "NDCG")):
            reference = getattr(metrics, f"LinkPred{theirs}")(k)
            reference.update(ranked, edges)
            assert got.users[Measure(ours, k)].mean().item() == pytest.approx(
                float(reference.compute()), abs=1e-6
            )


def test_seen_items_are_never_recommended_and_blocks_do_not_matter() -> None:
    users, items = torch.randn(9, 4), torch.randn(12, 4)
    seen = random_interactions(9, 12, 40, 0)
    # What was seen is relevant again: nothing of it may be found.
    got = evaluate(inner_product(users, items), seen=seen, relevant=seen, ks=(3,))
    assert not got.users[Measure("recall", 3)].any()
    relevant = random_interactions(9, 12, 30, 1)
    whole = evaluate(inner_product(users, items), seen=seen, relevant=relevant, ks=(3, 10))
    blocks = evaluate(
        inner_product(users, items), seen=seen, relevant=relevant, ks=(3, 10), cells=1
    )
    for measure in whole.users:
        assert torch.equal(whole.users[measure], blocks.users[measure])


def test_users_without_relevant_items_do_not_count() -> None:
    relevant = Interactions.of(torch.tensor([1]), torch.tensor([0]), 3, 4)
    nothing = Interactions.of(torch.zeros(0), torch.zeros(0), 3, 4)
    got = evaluate(
        inner_product(torch.randn(3, 2), torch.randn(4, 2)), seen=nothing, relevant=relevant
    )
    assert len(got.users[Measure("ndcg", 10)]) == 1


def test_what_all_lists_together_show() -> None:
    """Three users, four items; user 2 has nothing relevant, so his list is not judged."""
    users = torch.eye(3)
    items = torch.tensor([[9.0, 1, 5], [8, 9, 5], [1, 8, 5], [0, 0, 5]])
    seen = Interactions.of(torch.tensor([0]), torch.tensor([0]), 3, 4)  # item 0 is out for user 0
    relevant = Interactions.of(torch.tensor([0, 1]), torch.tensor([1, 0]), 3, 4)
    popularity = torch.tensor([3, 2, 1, 0])
    got = evaluate(
        inner_product(users, items),
        seen=seen, relevant=relevant, popularity=popularity, ks=(1, 2, 4), cells=4,
    )  # fmt: skip
    # At 1 both see item 1; at 2 also item 2, both; at 4 user 0 has three items left, user 1 four.
    assert [float(got.overall[Measure("coverage", k)]) for k in (1, 2, 4)] == [0.25, 0.5, 1.0]
    bits = {0: 0.0, 1: -log2(2 / 3), 2: -log2(1 / 3), 3: -log2(1 / 3)}  # nobody's: as if one's
    novelty = [bits[1], (bits[1] + bits[2]) / 2, (2 * (bits[1] + bits[2] + bits[3]) + bits[0]) / 7]
    assert [float(got.overall[Measure("novelty", k)]) for k in (1, 2, 4)] == pytest.approx(novelty)
    assert got.values()[Measure("coverage", 2)] == 0.5


def exposure(counts: list[int], popularity: list[int] | None = None) -> Exposure:
    return Exposure(torch.tensor(counts), torch.tensor(popularity or [1] * len(counts)), 10)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([3, 3, 3, 3], 0.0),  # all alike
        ([0, 0, 5, 0], 3 / 4),  # always the same item: 1 - 1/I
        ([0, 4, 0, 4], 1 / 2),
        ([1, 2, 3, 4], 1 / 4),  # (-3 - 2 + 3 + 12) / (4 x 10)
        ([4, 2, 1, 3], 1 / 4),  # in any order
        ([7], 0.0),
    ],
)
def test_gini_by_hand(counts: list[int], expected: float) -> None:
    assert float(METRICS["gini"].function(exposure(counts))) == pytest.approx(expected)


def test_gini_is_half_the_mean_difference_over_the_mean() -> None:
    counts = torch.randint(50, (200,), generator=torch.Generator().manual_seed(0))
    apart = (counts[:, None] - counts[None, :]).abs().double().mean()
    expected = float(apart / (2 * counts.double().mean()))
    assert float(METRICS["gini"].function(exposure(counts.tolist()))) == pytest.approx(expected)


def test_popularity_by_hand() -> None:
    """Item 0 in two lists, 1 in one; what no list shows does not count."""
    function = METRICS["popularity"].function
    assert float(function(exposure([2, 1, 0], [10, 4, 99]))) == pytest.approx((10 + 10 + 4) / 3)
    assert float(function(exposure([1, 0], [0, 5]))) == 0


def test_cutoffs_are_those_that_say_something_of_the_catalogue() -> None:
    """Up to half of it; the one that selects is always there."""
    assert cutoffs(100) == KS == (5, 10, 20, 50)
    assert cutoffs(99) == cutoffs(40) == (5, 10, 20)
    assert cutoffs(39) == cutoffs(20) == cutoffs(3) == (5, 10)
    assert SELECTION.k in cutoffs(1)


def test_lists_are_the_unseen_items_best_first() -> None:
    """Four users, five items; user 1 has nothing relevant, user 3 has but one item left."""
    scores = torch.tensor([[5.0, 4, 3, 2, 1], [1, 2, 3, 4, 5], [2, 9, 4, 8, 6], [1, 2, 3, 4, 5]])
    seen = Interactions.of(torch.tensor([0, 2, 3, 3, 3, 3]), torch.tensor([1, 3, 0, 1, 2, 4]), 4, 5)
    relevant = Interactions.of(torch.tensor([0, 2, 3]), torch.tensor([0, 4, 0]), 4, 5)
    expected = [[0, 2, 3, 4, NOBODY], [1, 4, 2, 0, NOBODY], [3, *[NOBODY] * 4]]
    for cells in (1 << 24, 10, 1):  # of one block, of two users each, of one
        got = evaluate(
            lambda rows: scores[rows].clone(), seen=seen, relevant=relevant,
            popularity=torch.ones(5, dtype=torch.int64), ks=(2, 5), cells=cells,
        )  # fmt: skip
        assert got.judged.tolist() == [0, 2, 3]
        assert got.lists.tolist() == expected
        # Item 0 is user 0's first, 4 user 2's second; 3's is seen and never found.
        assert got.users[Measure("mrr", 2)].tolist() == [1, 1 / 2, 0]
        # 0 and 2, 1 and 4, 3 alone: `NOBODY` is no item that is shown.
        assert float(got.overall[Measure("coverage", 2)]) == 1
        assert float(got.overall[Measure("gini", 2)]) == 0


def test_no_lists_show_nothing() -> None:
    empty = Exposure(torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64), 2)
    for metric in METRICS.values():
        if not metric.accuracy:
            assert float(metric.function(empty)) == 0
