"""Modality embeddings on their way into the collaborative space, against float64 references."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from conftest import random_interactions
from small import PLAIN
from test_systems import build, collaborative, fitter_of, modalities
from torch import Tensor
from torch.nn import functional as F

from model.config import MISSING
from model.dataset import Modality
from model.embedding import EmbeddingSystem
from model.projection import l2norm
from model.sampling import Batch

I, D = 30, 8  # noqa: E741
TRAIN = random_interactions(20, I, 120, 0)


def test_l2norm() -> None:
    rows = torch.tensor([[3.0, 4.0], [3e38, -3e38], [3e-39, 4e-39], [0.0, 0.0], [0.0, -2e-30]])
    half = 0.5**0.5
    expected = torch.tensor([[0.6, 0.8], [half, -half], [0.6, 0.8], [0.0, 0.0], [0.0, -1.0]])
    torch.testing.assert_close(l2norm(rows), expected)
    x = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(6, 4, dtype=torch.float64)
    gradients = [torch.autograd.grad((f(x) * weights).sum(), x)[0] for f in (l2norm, F.normalize)]
    torch.testing.assert_close(*gradients)


def test_filled() -> None:
    vectors = torch.tensor([[1.0, 2.0], [0.0, 0.0], [3.0, 8.0]])
    modality = Modality("text", vectors, torch.tensor([True, False, True]))
    assert modality.filled("mean").tolist() == [[1, 2], [2, 5], [3, 8]]
    for missing in ("skip", "zero"):
        assert torch.equal(modality.filled(missing), vectors)
    nobody = Modality("text", torch.zeros(2, 3), torch.zeros(2, dtype=torch.bool))
    assert not nobody.filled("mean").any()


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def treated(modality: Modality, missing: str, weight: Tensor, bias: Tensor) -> Tensor:
    """m_j (I, d) as a policy has it, NaN where it is not to be counted."""
    x, rows = modality.vectors.double(), []
    mean = x[modality.present].mean(0)
    for i in range(I):
        if modality.present[i]:
            rows.append(weight @ unit(x[i]) + bias)
        elif missing == "skip":
            rows.append(torch.full_like(bias, torch.nan))
        elif missing == "zero":
            rows.append(torch.zeros_like(bias))
        else:
            rows.append(weight @ unit(mean) + bias)
    return torch.stack(rows)


def linear_of(model: EmbeddingSystem, j: int) -> tuple[Tensor, Tensor]:
    """W_j and b_j, learned or fixed."""
    linear = model.projection.linears[j]
    return linear.weight.detach().double(), linear.bias.detach().double()


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("projection", ["fixed", "learned"])
@pytest.mark.parametrize("aggregate", ["mean", "max", "prod"])
@torch.inference_mode()
def test_late_fusion_under_every_policy(missing: str, projection: str, aggregate: str) -> None:
    # Vectors of many lengths, or L2norm would not be seen.
    model = build("frozen", TRAIN, 3, missing=missing, projection=projection, aggregate=aggregate)
    made = modalities(3, I)
    parts = [collaborative(model)[1].double()]
    for j, modality in enumerate(made):
        parts.append(treated(modality, missing, *linear_of(model, j)))
    got = model().items.double()
    for i in range(I):
        counted = torch.stack([p[i] for p in parts if not p[i].isnan().any()])
        reduced = {"mean": counted.mean(0), "max": counted.amax(0), "prod": counted.prod(0)}
        torch.testing.assert_close(got[i], reduced[aggregate], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("system", ["alpha", "normalized", "equal", "unfrozen"])
@pytest.mark.parametrize("missing", ["zero", "mean"])
@torch.inference_mode()
def test_every_fusion_counts_what_the_policy_gives(system: str, missing: str) -> None:
    model = build(system, TRAIN, 2, missing=missing, projection="learned")
    e = collaborative(model)[1].double()
    m = [
        treated(modality, missing, *linear_of(model, j))
        for j, modality in enumerate(modalities(2, I))
    ]
    if system == "alpha":
        model.balance.fill_(0.4)
        a = torch.tensor(0.4, dtype=torch.float64).sigmoid()
        expected = (a * e + (1 - a) * sum(m)) / 3
    elif system == "normalized":
        expected = (2 * unit(e) + sum(unit(x) for x in m)) / 3
    elif system == "equal":
        expected = (e + sum(m) / 2) / 2
    else:
        expected = (e + sum(m)) / 3
    torch.testing.assert_close(model().items.double(), expected, rtol=1e-4, atol=1e-6)


def test_single_branch_is_one_more_layer_for_all() -> None:
    plain, branched = (
        build(
            "frozen",
            TRAIN,
            2,
            projection="learned",
            content=replace(PLAIN.content, single_branch=branch),
        )
        for branch in (False, True)
    )
    branched.load_state_dict(plain.state_dict(), strict=False)
    layer = branched.projection.shared
    for before, after in zip(plain.projection(), branched.projection(), strict=True):
        torch.testing.assert_close(after, before @ layer.weight.T + layer.bias)


def test_trained_tables_are_normalised_again_by_a_learned_projection() -> None:
    model = build("unfrozen", TRAIN, 1, projection="learned")
    with torch.no_grad():
        model.projection.tables[0].mul_(5)
    linear = model.projection.linears[0]
    expected = unit(model.projection.tables[0].detach()) @ linear.weight.T + linear.bias
    torch.testing.assert_close(model.projection()[0], expected)


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("system", ["frozen", "early"])
def test_auxiliary_losses(system: str, missing: str) -> None:
    """0.7 x reconstruction and 0.4 x InfoNCE, of the batch's items that have the modalities."""
    content = replace(PLAIN.content, autoencoder=0.7, contrast=0.4, temperature=0.3)
    model = build(
        system, TRAIN, 3, projection="learned", content=content, missing=missing
    ).double()  # fmt: skip
    if system == "early":
        model.options = replace(model.options, contrast=0.0)
    made, users = modalities(3, I), TRAIN.users[:9]
    batch = Batch.of(users, torch.stack([TRAIN.items[:9], TRAIN.items[40:49]], dim=1), (20, I))
    touched = sorted(set(batch.items.flatten().tolist()))
    m = [table.detach() for table in model.projection()]

    errors = []
    for j, modality in enumerate(made):
        decode = model.projection.decoders[j].requires_grad_(False)
        rows = [i for i in touched if modality.present[i]]
        restored = m[j][rows] @ decode.weight.T + decode.bias
        target = unit(modality.vectors[rows].double())
        errors.append(float((restored - target).square().mean()))
    losses = []
    for j, k in combinations(range(3), 2):
        rows = [i for i in touched if made[j].present[i] and made[k].present[i]]
        s = unit(m[j][rows]) @ unit(m[k][rows]).T / 0.3
        both = s.logsumexp(1) + s.logsumexp(0) - 2 * s.diag()
        losses.append(float(both.sum()) / (2 * len(rows)))
    expected = 0.7 * sum(errors) / 3 + 0.4 * sum(losses) / 3
    got = model.auxiliary(model(), batch)
    assert got.item() == pytest.approx(expected, rel=1e-6)


def test_losses_without_any_item_are_none() -> None:
    content = replace(PLAIN.content, autoencoder=0.7, contrast=0.4)
    model = build("frozen", TRAIN, 2, content=content)
    nobody = Batch.of(torch.tensor([0]), torch.tensor([[0, 0]]), (20, I))  # item 0 has no modality
    assert model.auxiliary(model(), nobody) is None


@pytest.mark.parametrize("missing", MISSING)
def test_a_fixed_projection_keeps_what_embeds_a_new_item(missing: str) -> None:
    """W_j and b_j, drawn once, are in the state; m_j is what they make of the vectors."""
    model = build("frozen", TRAIN, 2, missing=missing)
    state = model.constants()
    assert state.keys() <= model.state_dict().keys() and not state.keys() & model.trained().keys()
    for j, modality in enumerate(modalities(2, I)):
        weight, bias = (state[f"projection.linears.{j}.{part}"] for part in ("weight", "bias"))
        expected = l2norm(modality.filled(missing)) @ weight.T + bias
        torch.testing.assert_close(state[f"projection.tables.{j}"], expected)
        counted = modality.present[:, None] if missing == "zero" else 1
        torch.testing.assert_close(model.projection()[j], expected * counted)


PROJECTING = ("frozen", "alpha", "unfrozen", "normalized", "equal", "early")


@pytest.mark.parametrize("system", PROJECTING)
def test_a_step_projects_once(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = replace(PLAIN.content, autoencoder=0.7, contrast=0.4)
    model = build(system, TRAIN, 2, projection="learned", content=content)
    calls: list[int] = []
    forward = type(model.projection).forward
    monkeypatch.setattr(
        type(model.projection), "forward", lambda self: calls.append(1) or forward(self)
    )
    fitter = fitter_of(model, TRAIN, TRAIN)
    fitter.step(next(fitter.batches.epoch(torch.Generator().manual_seed(0))))
    assert len(calls) == 1
