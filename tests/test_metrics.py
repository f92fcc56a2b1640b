"""Metrics by hand, against PyG's, and the evaluation's masking and blocking."""

from math import log2

import pytest
import torch
from conftest import random_interactions

from model.interactions import Interactions
from model.metrics import evaluate, ranking_metrics


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
    got = evaluate(users, items, seen=nothing, relevant=relevant, ks=(5, 20))
    ranked = (users @ items.T).topk(20).indices
    edges = torch.stack([relevant.users, relevant.items])
    for k in (5, 20):
        for ours, theirs in (("precision", "Precision"), ("recall", "Recall"), ("ndcg", "NDCG")):
            reference = getattr(metrics, f"LinkPred{theirs}")(k)
            reference.update(ranked, edges)
            assert got[f"{ours}@{k}"].mean().item() == pytest.approx(
                float(reference.compute()), abs=1e-6
            )


def test_seen_items_are_never_recommended_and_blocks_do_not_matter() -> None:
    users, items = torch.randn(9, 4), torch.randn(12, 4)
    seen = random_interactions(9, 12, 40, 0)
    # What was seen is relevant again: nothing of it may be found.
    got = evaluate(users, items, seen=seen, relevant=seen, ks=(3,))
    assert not got["recall@3"].any()
    relevant = random_interactions(9, 12, 30, 1)
    whole = evaluate(users, items, seen=seen, relevant=relevant, ks=(3, 10))
    blocks = evaluate(users, items, seen=seen, relevant=relevant, ks=(3, 10), cells=1)
    for name in whole:
        assert torch.equal(whole[name], blocks[name])


def test_users_without_relevant_items_do_not_count() -> None:
    relevant = Interactions.of(torch.tensor([1]), torch.tensor([0]), 3, 4)
    nothing = Interactions.of(torch.zeros(0), torch.zeros(0), 3, 4)
    got = evaluate(torch.randn(3, 2), torch.randn(4, 2), seen=nothing, relevant=relevant)
    assert len(got["ndcg@10"]) == 1
