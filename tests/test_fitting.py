"""Selection by validation, the published protocol, exact resumption, losses."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import catalogue_of, random_interactions
from small import EMBEDDING_SYSTEMS, config_of, tables

from model.adam import Adam
from model.dataset import Dataset, Modality
from model.embedding import EmbeddingSystem
from model.evaluation import evaluate
from model.experiment import system_class
from model.fitting import Fitter
from model.interactions import Interactions
from model.losses import bpr, info_nce, sampled_softmax
from model.metrics import METRICS, SELECTION
from model.objective import Objective, SquaredNorm
from model.sampling import Batch
from model.system import Diverged, Fit, Run, Snapshot

SETTINGS: dict[str, Any] = {
    "layers": 1, "epochs": 60, "batch_size": 50, "learning_rate": 0.02, "regularization": 0.0,
    "patience": 5, "options": {},
}  # fmt: skip


def data() -> tuple[Interactions, Interactions]:
    return random_interactions(20, 30, 150, 0), random_interactions(20, 30, 50, 1)


def fitter_of(system: str = "none", run: Run | None = None, **changes: Any) -> Fitter:
    train, validation = data()
    generator = torch.Generator().manual_seed(0)
    content = Modality("text", torch.randn(30, 5, generator=generator), torch.arange(30) > 3)
    torch.manual_seed(0)
    catalogue = catalogue_of(train, content)
    model = system_class(system)(catalogue, config_of(system, **{**SETTINGS, **changes}))
    return Fitter(model, Dataset(catalogue, validation, validation), run or Run())  # type: ignore[arg-type]


def fitter_on(
    train: Interactions, validation: Interactions, seed: int = 0, **changes: Any
) -> Fitter:
    """LightGCN on other interactions."""
    torch.manual_seed(0)
    catalogue = catalogue_of(train)
    model = system_class("none")(catalogue, config_of("none", **{**SETTINGS, **changes}))
    return Fitter(model, Dataset(catalogue, validation, validation), Run(seed))  # type: ignore[arg-type]


def fitted(**changes: Any) -> tuple[EmbeddingSystem, Fit]:
    fitter = fitter_of(**changes)
    return fitter.system, fitter.run()


def test_keeps_the_best_epoch_and_stops_patience_later() -> None:
    model, result = fitted()
    train, validation = data()
    ndcg = [row["ndcg@10"] for row in result.history]
    assert result.best_epoch == ndcg.index(max(ndcg)) + 1
    assert len(ndcg) == min(60, result.best_epoch + 5)
    with torch.inference_mode():
        users, items = tables(model)
    now = evaluate(lambda u: users[u] @ items.T, seen=train, relevant=validation).values()[
        SELECTION
    ]
    assert now == pytest.approx(max(ndcg), abs=1e-12)


def test_of_equal_epochs_the_first_is_kept() -> None:
    _, result = fitted(learning_rate=1e-30, patience=3)
    assert len({row["ndcg@10"] for row in result.history}) == 1
    assert result.best_epoch == 1 and len(result.history) == 4


def test_a_ragged_last_batch_counts_by_its_edges() -> None:
    """With weights that do not move, the loss is a mean over edges, not over batches."""
    fitter = fitter_of(learning_rate=1e-30, batch_size=100, epochs=1)
    with torch.inference_mode():
        users, items = tables(fitter.system)
    batches = list(fitter.batches.epoch(torch.Generator().manual_seed(0)))
    assert len({len(batch) for batch in batches}) == 2
    losses = []
    for batch in batches:
        for u, (i, j) in zip(batch.users.tolist(), batch.items.tolist(), strict=True):
            losses.append(-float((users[u] @ items[i] - users[u] @ items[j]).sigmoid().log()))
    assert fitter.run().history[0]["train_loss"] == pytest.approx(sum(losses) / len(losses))


def test_validation_draws_negatives_that_nobody_likes() -> None:
    """With 18 of 20 items liked, a negative drawn at random would nearly always be a positive."""
    users, items = torch.arange(6).repeat_interleave(18), torch.arange(18).repeat(6)
    train = Interactions.of(users[items < 9], items[items < 9], 6, 20)
    validation = Interactions.of(users[items >= 9], items[items >= 9], 6, 20)
    batch = fitter_on(train, validation).validation_batch
    assert torch.equal(batch.users, validation.users)
    assert torch.equal(batch.items[:, 0], validation.items)
    assert batch.items[:, 1:].min() >= 18
    again = fitter_on(train, validation).validation_batch
    assert torch.equal(batch.items, again.items)


@pytest.mark.parametrize(("protocol", "reject"), [("validated", True), ("validated", False),
                                                  ("published", True)])  # fmt: skip
def test_only_the_published_protocol_and_the_parameter_admit_positives(
    protocol: str, reject: bool
) -> None:
    fitter = fitter_of(protocol=protocol, reject_positives=reject, negatives=40)
    liked = set(zip(fitter.train.users.tolist(), fitter.train.items.tolist(), strict=True))
    drawn = {
        (u, j)
        for batch in fitter.batches.epoch(torch.Generator().manual_seed(0))
        for u, row in zip(batch.users.tolist(), batch.items.tolist(), strict=True)
        for j in row[1:]
    }
    assert bool(drawn & liked) == (protocol == "published" or not reject)


@pytest.mark.parametrize("system", ["none", "alpha"])
def test_a_row_of_the_history(system: str) -> None:
    fitter = fitter_of(system, epochs=3, patience=3)
    rows = fitter.run().history
    accurate = [m.name for m in METRICS.values() if m.accuracy]
    named = {f"{m}@10" for m in accurate} | {"epoch", "train_loss", "validation_loss"}
    assert all(row.keys() == named | ({"alpha"} if system == "alpha" else set()) for row in rows)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    if system == "alpha":
        assert (
            rows[fitter.selection.best_epoch - 1]["alpha"] == fitter.system.diagnostics()["alpha"]
        )
        assert len({row["alpha"] for row in rows}) == 3


def test_what_is_renewed_once_an_epoch_is(monkeypatch: pytest.MonkeyPatch) -> None:
    fitter = fitter_of("lattice", epochs=4, patience=4)
    renewed: list[int] = []
    history = fitter.selection.history
    monkeypatch.setattr(fitter.system, "begin_epoch", lambda: renewed.append(len(history)))
    fitter.run()
    assert renewed == [0, 1, 2, 3]


def test_validation_drops_nothing_out() -> None:
    fitter = fitter_of("early", epochs=4, patience=4, options={"dropout": 0.5})
    fit = fitter.run()
    train, validation = data()
    best = fit.history[fit.best_epoch - 1]
    with torch.inference_mode():
        users, items = tables(fitter.system.eval())
        loss = fitter._ranking_loss(users, items, fitter.validation_batch)
    final = fitter.system.embeddings()
    assert torch.equal(users, final[0]) and torch.equal(items, final[1])
    now = evaluate(lambda u: users[u] @ items.T, seen=train, relevant=validation, ks=(10,))
    for measure, value in now.values().items():
        assert value == pytest.approx(best[str(measure)], abs=1e-12)
    assert float(loss) == pytest.approx(best["validation_loss"], abs=1e-7)
    with torch.inference_mode():
        assert not torch.equal(fitter.system.train()().items, items)  # dropout is there


@pytest.mark.parametrize("system", EMBEDDING_SYSTEMS)
def test_a_fit_that_turns_non_finite_stops(system: str) -> None:
    own = {"learning_rate": 1e20}
    own = own if system in ("vbpr", "mmgcn", "lattice", "contrastive") else {}
    kept: list[Snapshot] = []
    fitter = fitter_of(system, Run(save=kept.append), learning_rate=1e20, options=own)
    with pytest.raises(Diverged, match=r"epoch \d+: .*(nan|inf|finite)"):
        fitter.run()
    assert all(
        torch.isfinite(torch.tensor(list(r.values()))).all() for s in kept for r in s.history
    )


def test_embeddings_whose_scores_would_overflow_are_refused() -> None:
    """User 19 is in no loss, but is recommended items by scores of 8e40."""
    train, validation = random_interactions(18, 30, 90, 0), random_interactions(18, 30, 40, 1)
    train, validation = (Interactions.of(x.users, x.items, 20, 30) for x in (train, validation))
    fitter = fitter_on(train, validation, layers=0, learning_rate=1e-30)
    model = fitter.system
    with torch.no_grad():
        model.user_embedding.zero_()[19] = 1e20
        model.item_embedding.fill_(1e20)
    with pytest.raises(Diverged, match="epoch 1: user embeddings: no longer finite"):
        fitter.run()


def test_without_validation_the_last_epoch_is_kept_and_checked() -> None:
    train = data()[0]
    nothing = Interactions.of(torch.zeros(0), torch.zeros(0), 20, 30)
    for rate, fine in ((0.02, True), (1e20, False)):
        fitter = fitter_on(train, nothing, learning_rate=rate, epochs=3)
        if fine:
            assert fitter.run().best_epoch == 3
        else:
            with pytest.raises(Diverged):
                fitter.run()


PUBLISHED = {"protocol": "published", "epochs": 30}


def test_published_protocol_runs_to_the_last_epoch() -> None:
    _, result = fitted(**PUBLISHED)
    assert result.best_epoch == len(result.history) == 30


@pytest.mark.parametrize("system", EMBEDDING_SYSTEMS)
def test_cut_off_and_taken_up_gives_the_same_bytes(system: str) -> None:
    settings: dict[str, Any] = {"epochs": 9, "patience": 9}
    if system == "early":
        settings["options"] = {"dropout": 0.5}
    whole = fitter_of(system, **settings)
    whole_fit = whole.run()
    for cut in (1, 4, 8):
        kept: list[Snapshot] = []

        def keep(snapshot: Snapshot, cut: int = cut, kept: list[Snapshot] = kept) -> None:
            if len(snapshot.history) == cut:
                tensors = {n: t.clone() for n, t in snapshot.tensors.items()}
                kept.append(replace(snapshot, tensors=tensors, history=list(snapshot.history)))

        fitter_of(system, Run(save=keep), **settings).run()
        later = fitter_of(system, **settings)
        torch.rand(7)  # whatever else drew in between
        later.restore(kept[0])
        assert later.run() == whole_fit
        for name, parameter in whole.parameters.items():
            assert torch.equal(parameter, later.parameters[name]), (system, cut, name)


def test_a_fit_on_the_cpu_asks_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is there, but not used: asking it would take a context, and its memory."""

    def state(device: torch.device) -> torch.Tensor:
        raise AssertionError(f"{device} is asked")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", state)
    names = fitter_of().snapshot().tensors
    assert "dropout.cpu" in names and "dropout.cuda" not in names


def test_the_same_seed_gives_the_same_bytes() -> None:
    """Large enough for several threads to add up gradients of the same row."""
    train, validation = random_interactions(160, 400, 1000, 0), random_interactions(160, 400, 99, 1)
    settings = {"layers": 2, "dimension": 256, "batch_size": 1024, "epochs": 12, "patience": 12}
    items = []
    for _ in range(4):
        fitter = fitter_on(train, validation, **settings)
        fitter.run()
        items.append(fitter.system.item_embedding.detach())
    assert all(torch.equal(table, items[0]) for table in items)


def test_loss_falls() -> None:
    _, result = fitted(**PUBLISHED)
    assert result.history[-1]["train_loss"] < 0.5 * result.history[0]["train_loss"]


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
@pytest.mark.parametrize("negatives", [1, 3])
def test_a_step_is_adam_on_the_dense_objective(loss: str, negatives: int) -> None:
    """One step in float32 against autograd through dense matrices in float64."""
    strength = 0.03
    fitter = fitter_of(layers=2, loss=loss, negatives=negatives, regularization=strength)
    model, train = fitter.system, data()[0]
    users = model.user_embedding.detach().double().requires_grad_()
    items = model.item_embedding.detach().double().requires_grad_()
    batch = next(fitter.batches.epoch(torch.Generator().manual_seed(1)))

    a = torch.zeros(50, 50, dtype=torch.float64)
    a[train.users, train.items + 20] = 1
    a = a + a.T
    d = a.sum(1).clamp(min=1).rsqrt()
    a = d[:, None] * a * d
    e = torch.cat([users, items])
    out = (e + a @ e + a @ a @ e) / 3
    left, right = out[batch.users][:, None], out[20 + batch.items]
    if loss == "softmax":
        scores = torch.cosine_similarity(left, right, dim=2) / 0.1
        expected = (scores.logsumexp(1) - scores[:, 0]).mean()
    else:
        s = (left * right).sum(2)
        expected = -(s[:, :1] - s[:, 1:]).sigmoid().log().mean()
    names = torch.cat([batch.users.unique(), 20 + batch.items.unique()])
    penalty = strength * e[names].square().sum() / len(batch)
    (expected + penalty).backward()
    whole = fitter.objective(batch).value()
    assert whole.item() == pytest.approx((expected + penalty).item(), rel=1e-5)

    got = fitter.step(batch)
    assert float(got) == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(model.user_embedding.grad.double(), users.grad, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(model.item_embedding.grad.double(), items.grad, rtol=1e-4, atol=1e-7)


def test_bpr_by_hand() -> None:
    loss = bpr(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    expected = -(torch.tensor([1.0, -2.0]).sigmoid().log()).mean()
    torch.testing.assert_close(loss, expected)


def test_sampled_softmax_by_hand() -> None:
    loss = sampled_softmax(torch.tensor([[0.9, 0.1, -0.4]]), 0.5)
    e = torch.tensor([1.8, 0.2, -0.8]).exp()
    torch.testing.assert_close(loss, -(e[0] / e.sum()).log())


def test_info_nce_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    z, v = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    expected = 0.0
    for r in range(5):
        cos = [float(torch.cosine_similarity(z[r], v[c], dim=0)) / 0.2 for c in range(5)]
        back = [float(torch.cosine_similarity(z[c], v[r], dim=0)) / 0.2 for c in range(5)]
        for row in (cos, back):
            expected += (torch.tensor(row, dtype=torch.float64).logsumexp(0).item() - row[r]) / 10
    assert info_nce(z, v, 0.2).item() == pytest.approx(expected, rel=1e-12)


def test_regulariser_counts_each_node_once() -> None:
    model = fitter_of(regularization=0.5).system
    for table in (model.user_embedding, model.item_embedding):
        table.grad = torch.zeros_like(table)
    batch = Batch.of(torch.tensor([0, 0]), torch.tensor([[4, 2], [4, 4]]), (20, 30))
    for term in model.penalty(batch):
        term.add_gradient()
    touched = {"user": [0], "item": [2, 4]}
    for name, table in (("user", model.user_embedding), ("item", model.item_embedding)):
        expected = torch.zeros_like(table)
        expected[touched[name]] = 2 * 0.5 / 2 * table.detach()[touched[name]]
        torch.testing.assert_close(table.grad, expected)


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


def test_a_penaltys_gradient_is_autograds() -> None:
    table = torch.nn.Parameter(torch.randn(7, 3, dtype=torch.float64))
    term = SquaredNorm(table, torch.arange(7) % 3 > 0, 0.3)
    assert term.value().item() == pytest.approx(
        0.3 * float((table.detach() ** 2)[torch.arange(7) % 3 > 0].sum())
    )
    expected = torch.autograd.grad(term.value(), table)[0]
    table.grad = torch.ones_like(table)
    term.add_gradient()
    torch.testing.assert_close(table.grad, expected + 1)


@pytest.mark.parametrize("auxiliary", [True, False])
def test_an_objective_is_its_terms_and_their_gradient(auxiliary: bool) -> None:
    a, b = (torch.nn.Parameter(torch.randn(n, 3, dtype=torch.float64)) for n in (7, 5))
    rows = torch.arange(7) % 3 > 0

    def terms() -> tuple[torch.Tensor, torch.Tensor | None]:
        return (a @ b.T).sin().mean(), (a.sum() * b.cos().sum()) if auxiliary else None

    def objective() -> Objective:
        everything = torch.ones(5, dtype=torch.bool)
        return Objective(*terms(), [SquaredNorm(a, rows, 0.3), SquaredNorm(b, everything, 0.2)])

    ranking, beside = terms()
    whole = ranking + 0.3 * a[rows].square().sum() + 0.2 * b.square().sum()
    whole = whole if beside is None else whole + beside
    torch.testing.assert_close(objective().value(), whole)
    expected = torch.autograd.grad(whole, (a, b))
    objective().backward()
    for table, gradient in zip((a, b), expected, strict=True):
        torch.testing.assert_close(table.grad, gradient)


@pytest.mark.parametrize("system", EMBEDDING_SYSTEMS)
def test_a_step_follows_the_gradient_of_the_objective(system: str) -> None:
    """Of its value, all terms under autograd: each system's own, and the penalty."""
    fitter = fitter_of(system, regularization=0.3)
    fitter.system.eval()  # nothing is dropped out
    batch = next(fitter.batches.epoch(torch.Generator().manual_seed(1)))
    objective = fitter.objective(batch)
    whole = objective.ranking
    if objective.auxiliary is not None:
        whole = whole + objective.auxiliary
    for term in objective.penalty:
        whole = whole + term.value()
    assert objective.value().item() == pytest.approx(whole.item(), rel=1e-6)
    parameters = fitter.parameters
    expected = torch.autograd.grad(whole, list(parameters.values()), materialize_grads=True)
    fitter.step(batch)
    for (name, parameter), gradient in zip(parameters.items(), expected, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6, msg=name)
