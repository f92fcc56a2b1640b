"""Metrics by hand, against PyG's, and the evaluation's masking and blocking."""

from collections.abc import Callable
from math import log2

import pytest
import torch
from conftest import random_interactions
from torch import Tensor

from model.evaluation import evaluate
from model.interactions import Interactions
from model.metrics import METRICS, Exposure, Measure, Ranking


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


def test_no_lists_show_nothing() -> None:
    empty = Exposure(torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64), 2)
    for metric in METRICS.values():
        if not metric.accuracy:
            assert float(metric.function(empty)) == 0
