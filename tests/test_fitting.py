"""Selection by validation, the published protocol, the loss."""

from dataclasses import replace

import pytest
import torch
from conftest import catalogue_of, random_interactions

from model.adam import Adam
from model.fitting import Schedule, fit
from model.interactions import Interactions
from model.lightgcn import Config, LightGCN
from model.losses import bpr, l2_of_touched
from model.metrics import evaluate

SCHEDULE = Schedule(
    epochs=60, batch_size=50, learning_rate=0.02, regularization=0.0, reject_positives=True,
    patience=5,
)  # fmt: skip


def fitted(schedule: Schedule) -> tuple[LightGCN, Interactions, Interactions, object]:
    train, validation = random_interactions(20, 30, 150, 0), random_interactions(20, 30, 50, 1)
    torch.manual_seed(0)
    model = LightGCN(catalogue_of(train), Config(8, 1))
    return model, train, validation, fit(model, train, validation, schedule, seed=0)


def test_keeps_the_best_epoch_and_stops_patience_later() -> None:
    model, train, validation, result = fitted(SCHEDULE)
    ndcg = [row["ndcg@10"] for row in result.history]
    assert result.best_epoch == ndcg.index(max(ndcg)) + 1
    assert len(ndcg) == min(60, result.best_epoch + 5)
    with torch.inference_mode():
        users, items = model()
    now = evaluate(users, items, seen=train, relevant=validation)["ndcg@10"].mean()
    assert float(now) == pytest.approx(max(ndcg), abs=1e-12)


def test_published_protocol_runs_to_the_last_epoch() -> None:
    *_, result = fitted(replace(SCHEDULE, protocol="published", epochs=30))
    assert result.best_epoch == len(result.history) == 30


def test_the_same_seed_gives_the_same_bytes() -> None:
    """Large enough for several threads to add up gradients of the same row."""
    train, validation = random_interactions(160, 400, 1000, 0), random_interactions(160, 400, 99, 1)
    schedule = replace(SCHEDULE, batch_size=1024, epochs=12, patience=12)
    tables = []
    for _ in range(4):
        torch.manual_seed(0)
        model = LightGCN(catalogue_of(train), Config(256, 2))
        fit(model, train, validation, schedule, seed=0)
        tables.append(model.embedding.detach())
    assert all(torch.equal(table, tables[0]) for table in tables)


def test_loss_falls() -> None:
    *_, result = fitted(replace(SCHEDULE, protocol="published", epochs=30))
    assert result.history[-1]["train_loss"] < 0.5 * result.history[0]["train_loss"]


def test_bpr_by_hand() -> None:
    loss = bpr(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]))
    expected = -(torch.tensor([1.0, -2.0]).sigmoid().log()).mean()
    torch.testing.assert_close(loss, expected)


def test_regulariser_counts_each_node_once() -> None:
    e = torch.tensor([[1.0, 2.0], [3.0, 0.0], [5.0, 5.0]])
    assert l2_of_touched(e, torch.tensor([0, 0, 1]), 2).item() == pytest.approx((5 + 9) / 2)


def test_adam_equals_torchs_to_the_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in [(7, 3), (5,), (2, 2)]]
    ours, theirs = ([torch.nn.Parameter(t.clone()) for t in start] for _ in range(2))
    optimizers = [Adam(ours, 0.01), torch.optim.Adam(theirs, lr=0.01, fused=True)]
    for step in range(5):
        for a, b in list(zip(ours, theirs, strict=True))[: 3 if step % 2 else 2]:
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
