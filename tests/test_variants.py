"""The contract of every fusion variant, and each one's equation on known numbers."""

import pytest
import torch
from conftest import catalogue_of, random_interactions
from torch.nn import functional as F

from model.features import Modality
from model.fitting import Schedule, fit
from model.interactions import Interactions
from model.lightgcn import Config, LightGCN
from model.metrics import evaluate
from model.propagation import propagate
from model.variants import VARIANTS, variant_class

SCHEDULE = Schedule(
    epochs=40, batch_size=64, learning_rate=0.01, regularization=1e-4, reject_positives=True,
    patience=40,
)  # fmt: skip
WIDTHS = {"text": 11, "image": 7, "audio": 5, "video": 3}


def modalities(count: int, n_items: int) -> list[Modality]:
    """The first `count` modalities; each lacks some items, and item 0 has none at all."""
    generator = torch.Generator().manual_seed(7)
    made = []
    for name, width in list(WIDTHS.items())[:count]:
        present = torch.rand(n_items, generator=generator) > 0.3
        present[0] = False
        vectors = torch.randn(n_items, width, generator=generator)
        made.append(Modality(name, vectors * present[:, None], present))
    return made


def build(variant: str, train: Interactions, count: int, **config: object) -> LightGCN:
    torch.manual_seed(3)
    catalogue = catalogue_of(train, *modalities(count, train.n_items))
    return variant_class(variant)(catalogue, Config(**({"dimension": 8, "layers": 2} | config)))


@pytest.fixture
def train() -> Interactions:
    return random_interactions(20, 30, 120, 0)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("count", [0, 1, 4])
@pytest.mark.parametrize("missing", ["skip", "zero", "mean"])
@pytest.mark.parametrize("projection", ["fixed", "learned"])
def test_contract(
    variant: str, count: int, missing: str, projection: str, train: Interactions
) -> None:
    model = build(variant, train, count, missing=missing, projection=projection)
    users, items = model()
    assert users.shape == (20, 8) and items.shape == (30, 8)
    assert users.isfinite().all() and items.isfinite().all()
    assert (items.abs().sum(1) > 0).all()  # never a silent zero
    # Content never touches the users.
    plain = propagate(model.adjacency, model.embedding, 2)[:20]
    torch.testing.assert_close(users, plain)
    (users.sum() + items.square().sum()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("variant", "projection", "expected"),
    [
        ("none", "fixed", {"embedding"}),
        ("frozen", "fixed", {"embedding"}),
        ("normalized", "fixed", {"embedding"}),
        ("equal", "fixed", {"embedding"}),
        ("alpha", "fixed", {"embedding", "balance"}),
        ("unfrozen", "fixed", {"embedding", "projection.tables.0", "projection.tables.1"}),
        (
            "frozen",
            "learned",
            {"embedding"}
            | {f"projection.linears.{j}.{p}" for j in (0, 1) for p in ("weight", "bias")},
        ),
    ],
)
def test_trained_parameters(
    variant: str, projection: str, expected: set[str], train: Interactions
) -> None:
    model = build(variant, train, 2, projection=projection)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == expected


def projected(model: LightGCN) -> list[torch.Tensor]:
    return [table.detach() for table in model.projection.tables]  # type: ignore[union-attr]


A = torch.tensor(0.4).sigmoid()
# Each formula for one item: its collaborative e, its modalities m, their number n.
FORMULAS = {
    "none": lambda e, m, n: e,
    "frozen": lambda e, m, n: (e + sum(m)) / (n + 1),
    "unfrozen": lambda e, m, n: (e + sum(m)) / (n + 1),
    "alpha": lambda e, m, n: (A * e + sum((1 - A) * x for x in m)) / (n + 1),
    "normalized": lambda e, m, n: (
        (max(n, 1) * F.normalize(e, dim=0) + sum(F.normalize(x, dim=0) for x in m)) / (n + 1)
    ),
    "equal": lambda e, m, n: (e + sum(m) / n) / 2 if n else e,
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_equations(variant: str, train: Interactions) -> None:
    made = modalities(2, 30)
    model = build(variant, train, 2)
    if variant == "alpha":
        with torch.no_grad():
            model.balance.fill_(0.4)  # type: ignore[operator]
    with torch.inference_mode():
        _, items = model()
        e = propagate(model.adjacency, model.embedding, 2)[20:]
    tables = projected(model) if variant != "none" else []
    for i in range(30):
        m = [t[i] for t, modality in zip(tables, made, strict=False) if modality.present[i]]
        torch.testing.assert_close(items[i], FORMULAS[variant](e[i], m, len(m)))


def test_fixed_projection_is_the_linear_map_of_the_normalised_vectors(
    train: Interactions,
) -> None:
    made = modalities(1, 30)
    model = build("frozen", train, 1)
    table = projected(model)[0]
    x = F.normalize(made[0].vectors)
    # The affine map is determined by the data: least squares leaves no residual.
    design = torch.cat([x, torch.ones(30, 1)], dim=1).double()
    solution = torch.linalg.lstsq(design, table.double()).solution
    torch.testing.assert_close(design @ solution, table.double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("aggregate", ["mean", "sum", "max", "min", "prod"])
def test_aggregates_skip_what_is_missing(aggregate: str, train: Interactions) -> None:
    made = modalities(3, 30)
    model = build("frozen", train, 3, aggregate=aggregate)
    with torch.inference_mode():
        _, items = model()
        e = propagate(model.adjacency, model.embedding, 2)[20:]
    for i in range(30):
        parts = [e[i]] + [t[i] for t, m in zip(projected(model), made, strict=True) if m.present[i]]
        stacked = torch.stack(parts)
        expected = {
            "mean": stacked.mean(0), "sum": stacked.sum(0), "max": stacked.amax(0),
            "min": stacked.amin(0), "prod": stacked.prod(0),
        }[aggregate]  # fmt: skip
        torch.testing.assert_close(items[i], expected)


def test_published_propagation_only_scales(train: Interactions) -> None:
    model = build("none", train, 0, propagation="published", layers=3)
    users, items = model()
    torch.testing.assert_close(torch.cat([users, items]), model.embedding / 4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_solves_the_checkerboard(variant: str, checkerboard: Interactions) -> None:
    """Every user's unseen items of the right colour come before all of the wrong one."""
    torch.manual_seed(0)
    content = F.one_hot(torch.arange(50) % 2).float()
    text = Modality("text", content, torch.ones(50, dtype=torch.bool))
    model = variant_class(variant)(catalogue_of(checkerboard, text), Config(16, 2))
    none = Interactions.of(torch.zeros(0), torch.zeros(0), 50, 50)
    fit(model, checkerboard, none, SCHEDULE, seed=0)
    with torch.inference_mode():
        users, items = model()
    colour = (torch.arange(50)[:, None] % 2) == (torch.arange(50)[None, :] % 2)
    unseen = colour & ~checkerboard.block(0, 50)
    right = Interactions.of(*unseen.nonzero(as_tuple=True), 50, 50)
    got = evaluate(users, items, seen=checkerboard, relevant=right, ks=(10,))
    assert got["precision@10"].mean() > 0.99


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_seed_same_bytes(variant: str, train: Interactions) -> None:
    validation = random_interactions(20, 30, 40, 1)
    fits, states = [], []
    for _ in range(2):
        model = build(variant, train, 2)
        fits.append(fit(model, train, validation, SCHEDULE, seed=5))
        states.append(model.state_dict())
    assert fits[0].history == fits[1].history
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
