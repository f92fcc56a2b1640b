"""One contract for every system, and each late-fusion formula by hand."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import catalogue_of, random_interactions
from small import EMBEDDING_SYSTEMS, PLAIN, tables
from small import config_of as plain_config
from torch.nn import functional as F

from model.aggregate import FUNCTIONS
from model.config import AGGREGATES, Config, Content
from model.dataset import Dataset, Modality
from model.embedding import EmbeddingSystem
from model.evaluation import evaluate
from model.experiment import system_class
from model.fitting import Fitter
from model.interactions import Interactions
from model.lightgcn import LightGCN
from model.metrics import Measure
from model.propagation import layer_weights, propagate
from model.sampling import BatchSampler
from model.system import Fit, Run

# The baselines' own learning rates are made for real catalogues.
OPTIONS: dict[str, dict[str, Any]] = {
    "vbpr": {"learning_rate": 0.01, "regularization": 2e-3, "bias_regularization": 2e-3},
    "mmgcn": {"learning_rate": 0.01, "regularization": 1e-4},
    "lattice": {"learning_rate": 0.01},
}
FUSED = ("frozen", "alpha", "unfrozen", "normalized", "equal")  # LightGCN, then fusion
COLLABORATIVE = ("none", *FUSED)
WIDTHS = {"text": 11, "image": 7, "audio": 5, "video": 3}
NOBODY = Interactions.of(torch.zeros(0), torch.zeros(0), 50, 50)


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


def config_of(system: str, layers: int = 2, **changes: Any) -> Config[Any]:
    """The tests' configuration; `options` replace those of `OPTIONS` one by one."""
    options = OPTIONS.get(system, {}) | changes.pop("options", {})
    return plain_config(system, layers, options, **{"epochs": 40, "patience": 40} | changes)


def build(
    system: str, train: Interactions, count: int, *, layers: int = 2, **changes: Any
) -> EmbeddingSystem:
    """A small model of a catalogue with the first `count` modalities."""
    torch.manual_seed(3)
    catalogue = catalogue_of(train, *modalities(count, train.n_items))
    return system_class(system)(catalogue, config_of(system, layers, **changes))  # type: ignore[return-value]


def fitter_of(
    model: EmbeddingSystem, train: Interactions, validation: Interactions, seed: int = 0
) -> Fitter:
    return Fitter(model, Dataset(catalogue_of(train), validation, validation), Run(seed))


def fit(model: EmbeddingSystem, train: Interactions, validation: Interactions, seed: int) -> Fit:
    return fitter_of(model, train, validation, seed).run()


def collaborative(model: LightGCN) -> tuple[torch.Tensor, torch.Tensor]:
    weights = layer_weights((), model.config.layers)
    return propagate(model.graph, model.user_embedding, model.item_embedding, weights)


@pytest.fixture
def train() -> Interactions:
    return random_interactions(20, 30, 120, 0)


@pytest.mark.parametrize("system", EMBEDDING_SYSTEMS)
@pytest.mark.parametrize("count", [0, 1, 4])
@pytest.mark.parametrize("missing", ["skip", "zero", "mean"])
@pytest.mark.parametrize("projection", ["fixed", "learned"])
def test_contract(
    system: str, count: int, missing: str, projection: str, train: Interactions
) -> None:
    model = build(system, train, count, missing=missing, projection=projection)
    users, items = tables(model)
    assert len(users) == 20 and len(items) == 30 and users.shape[1] == items.shape[1]
    assert users.isfinite().all() and items.isfinite().all()
    assert (items.abs().sum(1) > 0).all()  # never a silent zero
    if system in COLLABORATIVE or system == "early" or not count and system == "mmlgcn":
        assert items.shape == (30, 8)
        torch.testing.assert_close(users, collaborative(model)[0])  # content never touches users
    # Every parameter moves, once the whole objective is asked for.
    fitter = fitter_of(model, train, random_interactions(20, 30, 40, 1))
    batch = next(fitter.batches.epoch(torch.Generator().manual_seed(0)))
    assert fitter.step(batch).isfinite()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


TABLES = {"user_embedding", "item_embedding"}
LEARNED = {f"projection.linears.{j}.{p}" for j in (0, 1) for p in ("weight", "bias")}


@pytest.mark.parametrize(
    ("system", "changes", "expected"),
    [
        ("none", {}, TABLES),
        ("frozen", {}, TABLES),
        ("normalized", {}, TABLES),
        ("equal", {}, TABLES),
        ("alpha", {}, TABLES | {"balance"}),
        ("unfrozen", {}, TABLES | {"projection.tables.0", "projection.tables.1"}),
        ("frozen", {"projection": "learned"}, TABLES | LEARNED),
        (
            "frozen",
            {"aggregate": "concat"},
            TABLES | {"aggregate.linear.weight", "aggregate.linear.bias"},
        ),
        ("frozen", {"aggregate": "ensemble"}, TABLES | {"aggregate.logits"}),
        (
            "frozen",
            {"content": replace(PLAIN.content, single_branch=True)},
            TABLES | {"projection.shared.weight", "projection.shared.bias"},
        ),
        (
            "early",
            {},
            TABLES | LEARNED | {f"{w}.{p}" for w in ("w_agg", "w_out") for p in ("weight", "bias")},
        ),
        ("mmlgcn", {}, TABLES | {"w.0.weight", "w.1.weight", "w_out.weight"}),
        (
            "vbpr",
            {},
            {"gamma_users", "gamma_items", "theta_users", "bias", "content", "content_bias"},
        ),
        (
            "lattice",
            {},
            TABLES
            | {"logits"}
            | {f"graphs.{j}.transform.{p}" for j in (0, 1) for p in ("weight", "bias")},
        ),
    ],
)
def test_trained_parameters(
    system: str, changes: dict[str, object], expected: set[str], train: Interactions
) -> None:
    model = build(system, train, 2, **changes)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == expected


def projected(model: EmbeddingSystem) -> list[torch.Tensor]:
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


@pytest.mark.parametrize("system", COLLABORATIVE)
def test_equations(system: str, train: Interactions) -> None:
    made = modalities(2, 30)
    model = build(system, train, 2)
    if system == "alpha":
        with torch.no_grad():
            model.balance.fill_(0.4)  # type: ignore[operator]
    with torch.inference_mode():
        items = model().items
        _, e = collaborative(model)
    tables = projected(model) if system != "none" else []
    for i in range(30):
        m = [t[i] for t, modality in zip(tables, made, strict=False) if modality.present[i]]
        torch.testing.assert_close(items[i], FORMULAS[system](e[i], m, len(m)))


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


def parts_of(model: EmbeddingSystem, item: int) -> list[torch.Tensor]:
    """e and the modalities that an item of a model with three has."""
    _, e = collaborative(model)
    made = zip(projected(model), modalities(3, 30), strict=True)
    return [e[item]] + [t[item] for t, m in made if m.present[item]]


EXPECTED = {
    "mean": lambda parts: torch.stack(parts).mean(0),
    "sum": lambda parts: torch.stack(parts).sum(0),
    "max": lambda parts: torch.stack(parts).amax(0),
    "min": lambda parts: torch.stack(parts).amin(0),
    "prod": lambda parts: torch.stack(parts).prod(0),
}


@pytest.mark.parametrize("aggregate", EXPECTED)
@torch.inference_mode()
def test_aggregates_skip_what_is_missing(aggregate: str, train: Interactions) -> None:
    model = build("frozen", train, 3, aggregate=aggregate)
    items = model().items
    for i in range(30):
        torch.testing.assert_close(items[i], EXPECTED[aggregate](parts_of(model, i)))


@torch.inference_mode()
def test_concat_is_a_linear_layer_of_what_is_there(train: Interactions) -> None:
    model = build("frozen", train, 3, aggregate="concat")
    items = model().items
    _, e = collaborative(model)
    weight, bias = model.aggregate.linear.weight, model.aggregate.linear.bias
    for i in range(30):
        expected = bias + weight[:, :8] @ e[i]
        for j, m in enumerate(modalities(3, 30)):
            if m.present[i]:
                columns = slice(8 * (j + 1), 8 * (j + 2))
                expected = expected + weight[:, columns] @ projected(model)[j][i]
        torch.testing.assert_close(items[i], expected)


@torch.inference_mode()
def test_ensemble_weighs_the_five(train: Interactions) -> None:
    model = build("frozen", train, 3, aggregate="ensemble")
    model.aggregate.logits.copy_(torch.tensor([0.0, 1.0, -1.0, 2.0, 0.5]))
    items = model().items
    weights = torch.tensor([0.0, 1.0, -1.0, 2.0, 0.5]).softmax(0)
    for i in range(30):
        results = [EXPECTED[name](parts_of(model, i)) for name in FUNCTIONS]
        expected = sum(w * r for w, r in zip(weights, results, strict=True))
        torch.testing.assert_close(items[i], expected)


@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("system", ["frozen", "early"])
def test_every_aggregate_learns(aggregate: str, system: str, train: Interactions) -> None:
    model = build(system, train, 3, aggregate=aggregate)
    history = fit(model, train, random_interactions(20, 30, 40, 1), 0).history
    assert history[-1]["train_loss"] < history[0]["train_loss"] - 0.01


def test_published_propagation_only_scales(train: Interactions) -> None:
    model = build("none", train, 0, propagation="published", layers=3)
    users, items = tables(model)
    torch.testing.assert_close(users, model.user_embedding / 4)
    torch.testing.assert_close(items, model.item_embedding / 4)


def test_content_never_touches_what_an_item_lacks(train: Interactions) -> None:
    """Changing the vectors of one modality changes no item without it, in any fused system."""
    made = modalities(2, 30)
    absent = (~made[0].present).nonzero()[:, 0]
    other = Modality("text", made[0].vectors * -3, made[0].present)
    for system in (*FUSED, "early"):
        results = []
        for first in (made[0], other):
            torch.manual_seed(3)
            catalogue = catalogue_of(train, first, made[1])
            model = system_class(system)(catalogue, config_of(system)).eval()
            with torch.inference_mode():
                results.append(model().items)
        torch.testing.assert_close(results[0][absent], results[1][absent])
        assert not torch.allclose(results[0], results[1])


@pytest.mark.parametrize(
    "content",
    [
        replace(PLAIN.content, single_branch=True),
        replace(PLAIN.content, autoencoder=0.5),
        replace(PLAIN.content, contrast=0.5),
        replace(PLAIN.content, single_branch=True, autoencoder=0.5, contrast=0.5),
    ],
)
@pytest.mark.parametrize("system", ["frozen", "unfrozen", "early"])
def test_optional_losses_move_every_parameter(
    content: Content, system: str, train: Interactions
) -> None:
    model = build(system, train, 3, projection="learned", content=content)
    fitter = fitter_of(model, train, random_interactions(20, 30, 40, 1))
    for batch in fitter.batches.epoch(torch.Generator().manual_seed(0)):
        assert fitter.step(batch).isfinite()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def solved(system: str, checkerboard: Interactions, **changes: object) -> float:
    """Precision@10 against every unseen item of the user's colour."""
    content = F.one_hot(torch.arange(50) % 2).float()
    text = Modality("text", content, torch.ones(50, dtype=torch.bool))
    torch.manual_seed(0)
    config = config_of(system, **{"dimension": 16, **changes})
    model = system_class(system)(catalogue_of(checkerboard, text), config)
    fit(model, checkerboard, NOBODY, 0)
    with torch.inference_mode():
        users, items = tables(model)
    colour = (torch.arange(50)[:, None] % 2) == (torch.arange(50)[None, :] % 2)
    unseen = colour & ~checkerboard.block(0, 50)
    right = Interactions.of(*unseen.nonzero(as_tuple=True), 50, 50)
    got = evaluate(lambda u: users[u] @ items.T, seen=checkerboard, relevant=right, ks=(10,))
    return float(got.values()[Measure("precision", 10)])


@pytest.mark.parametrize("system", EMBEDDING_SYSTEMS)
def test_solves_the_checkerboard(system: str, checkerboard: Interactions) -> None:
    """Every user's unseen items of the right colour come before all of the wrong one."""
    assert solved(system, checkerboard) > 0.99


def test_softmax_solves_the_checkerboard(checkerboard: Interactions) -> None:
    assert solved("none", checkerboard, loss="softmax", negatives=5, temperature=0.5) > 0.99


@pytest.mark.parametrize("system", EMBEDDING_SYSTEMS)
def test_same_seed_same_bytes(system: str, train: Interactions) -> None:
    validation = random_interactions(20, 30, 40, 1)
    fits, states = [], []
    for _ in range(2):
        model = build(system, train, 2, epochs=6)
        fits.append(fit(model, train, validation, 5))
        states.append(model.state_dict())
    assert fits[0].history == fits[1].history
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


@pytest.mark.parametrize("system", EMBEDDING_SYSTEMS)
def test_a_loaded_model_scores_the_same(system: str, train: Interactions) -> None:
    model, other = build(system, train, 2, epochs=3), build(system, train, 2, epochs=3)
    fit(model, train, random_interactions(20, 30, 40, 1), 5)
    other.load_state_dict(model.state_dict())
    with torch.inference_mode():
        for a, b in zip(tables(model.eval()), tables(other.eval()), strict=True):
            assert torch.equal(a, b)


def test_batches_name_every_edge_once(train: Interactions) -> None:
    sampler = BatchSampler(train, 50, 3, reject_positives=True)
    batches = list(sampler.epoch(torch.Generator().manual_seed(0)))
    pairs = torch.cat([torch.stack([b.users, b.items[:, 0]], dim=1) for b in batches])
    assert torch.equal(pairs.unique(dim=0), torch.stack([train.users, train.items], dim=1))
    again = list(sampler.epoch(torch.Generator().manual_seed(1)))
    assert len(batches) == len(again) and not torch.equal(batches[0].users, again[0].users)
    assert not torch.equal(batches[0].users, train.users[:50])  # in a random order
    assert len(pairs) == len(train)
    for batch in batches:
        assert (batch.users.diff() >= 0).all() and batch.items.shape[1] == 4
        users, items = batch.touched
        assert users.nonzero()[:, 0].tolist() == sorted(set(batch.users.tolist()))
        assert items.nonzero()[:, 0].tolist() == sorted(set(batch.items.flatten().tolist()))
