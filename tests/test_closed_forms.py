"""Closed forms against independent solutions in float64."""

from collections import Counter
from math import log, sqrt

import numpy as np
import pytest
import torch
from conftest import catalogue_of, random_interactions
from small import config_of
from torch import Tensor

from model import memory
from model.dataset import Catalogue, Dataset, Modality
from model.experiment import build, system_class
from model.interactions import Interactions
from model.system import Fit, FitError, Run, System
from model.systems import ials

U, I, D = 30, 17, 5  # noqa: E741 (the field's letters)


@pytest.fixture
def train() -> Interactions:
    return random_interactions(U, I, 150, 3)


def dense(train: Interactions) -> np.ndarray:
    return train.block(0, train.n_users).double().numpy()


def fitted(
    name: str, train: Interactions, *modalities: Modality, seed: int = 0, **options: object
) -> tuple[System, Tensor]:
    """The system, and its scores of everything."""
    catalogue = catalogue_of(train, *modalities)
    system = build(system_class(name), catalogue, config_of(name, options=options), seed)
    nobody = Interactions.of(torch.empty(0), torch.empty(0), train.n_users, train.n_items)
    system.fit(Dataset(catalogue, nobody, nobody), Run(seed))
    return system, system.scorer()(torch.arange(train.n_users))


def test_popularity_counts(train: Interactions) -> None:
    counts = Counter(train.items.tolist())
    expected = torch.tensor([float(counts[i]) for i in range(I)])
    assert torch.equal(fitted("popularity", train)[1], expected.expand(U, I))


def ridge_without_itself(
    x: np.ndarray, extra: np.ndarray, strength: float, dropout: float = 0.0
) -> np.ndarray:
    """EASE's own problem, a column at a time: regress item j on all others, j left out.

    With a dropout of p, an item's penalty is greater by p / (1 - p) times its squared length.
    """
    rows = np.vstack([x, extra])
    penalty = strength + dropout / (1 - dropout) * np.square(rows).sum(0)
    b = np.zeros((x.shape[1], x.shape[1]))
    for j in range(x.shape[1]):
        others = [i for i in range(x.shape[1]) if i != j]
        a = rows[:, others]
        b[others, j] = np.linalg.solve(a.T @ a + np.diag(penalty[others]), a.T @ rows[:, j])
    return b


@pytest.mark.parametrize("exponents", [(0.0, 0.0), (0.25, 0.125)])
def test_ease_regresses_each_item_on_the_others(
    train: Interactions, exponents: tuple[float, float]
) -> None:
    p, q = exponents
    x = dense(train)
    of_user, of_item = x.sum(1, keepdims=True).clip(1), x.sum(0, keepdims=True).clip(1)
    x = x / of_user**p / of_item**q
    expected = x @ ridge_without_itself(x, np.empty((0, I)), 7.0)
    options = {"regularization": 7.0, "user_exponent": p, "item_exponent": q}
    _, scores = fitted("ease", train, **options)
    assert torch.allclose(scores.double(), torch.tensor(expected), atol=2e-6)


def test_ease_takes_features_as_further_users(train: Interactions) -> None:
    """Whitened by an eigendecomposition here, by a singular value decomposition there."""
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(I, 6, generator=generator) @ torch.randn(6, 6, generator=generator)
    present = torch.ones(I, dtype=torch.bool)
    present[[2, 9]] = False
    modality = Modality("text", torch.where(present[:, None], vectors, 0.0), present)
    _, scores = fitted("ease", train, modality, regularization=7.0, content_weight=3.0)

    x = vectors[present].double().numpy()
    x = x - x.mean(0)
    left, singular, right = np.linalg.svd(x, full_matrices=False)
    variance = singular**2 / len(x)
    white = (left * singular / np.sqrt(variance + 1e-3 * variance.mean())) @ right
    features = np.zeros((6, I))
    features[:, present.numpy()] = (white / np.linalg.norm(white, axis=1, keepdims=True)).T
    expected = dense(train) @ ridge_without_itself(dense(train), sqrt(3.0) * features, 7.0)
    assert torch.allclose(scores.double(), torch.tensor(expected), atol=2e-6)
    _, without = fitted("ease", train, modality, regularization=7.0)
    assert not torch.allclose(scores, without, atol=1e-3)


@pytest.mark.parametrize("dropout", [0.2, 0.7])
def test_dropout_penalises_an_item_by_its_length(train: Interactions, dropout: float) -> None:
    x = dense(train)
    expected = x @ ridge_without_itself(x, np.empty((0, I)), 7.0, dropout)
    _, scores = fitted("ease", train, regularization=7.0, dropout=dropout)
    assert torch.allclose(scores.double(), torch.tensor(expected), atol=2e-6)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_features_that_are_not_whitened_are_unit_vectors(
    train: Interactions, dropout: float
) -> None:
    """Neither centred nor turned; two modalities are further users each."""
    generator = torch.Generator().manual_seed(1)
    modalities, features = [], []
    for name, width, absent in (("text", 6, [2, 9]), ("image", 3, [0])):
        present = torch.ones(I, dtype=torch.bool)
        present[absent] = False
        vectors = torch.randn(I, width, generator=generator) + 2
        vectors[~present] = 0
        modalities.append(Modality(name, vectors, present))
        x = vectors.double().numpy()
        features.append(x.T / np.linalg.norm(x, axis=1).clip(1e-300))
    options = {"regularization": 7.0, "content_weight": 3.0, "dropout": dropout, "whiten": False}
    _, scores = fitted("ease", train, *modalities, **options)
    further = sqrt(3.0) * np.vstack(features)
    expected = dense(train) @ ridge_without_itself(dense(train), further, 7.0, dropout)
    assert torch.allclose(scores.double(), torch.tensor(expected), atol=2e-6)


def test_ease_refuses_what_memory_cannot_hold(
    train: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 4000)
    with pytest.raises(FitError, match=r"17 items take 0\.0 GB.*itemknn and ials"):
        fitted("ease", train)


def test_available_memory_is_a_machines() -> None:
    assert 1 << 26 < memory.available(torch.device("cpu")) < 1 << 50


def nearest_by_hand(similarities: np.ndarray, k: int) -> np.ndarray:
    kept = np.zeros_like(similarities)
    for i, row in enumerate(similarities):
        order = [j for j in sorted(range(len(row)), key=lambda j: (-row[j], j)) if j != i]
        for j in order[:k]:
            kept[i, j] = max(row[j], 0)
    return kept


@pytest.mark.parametrize("neighbors", [1, 4, 100])
@pytest.mark.parametrize("shrinkage", [0.0, 3.0])
def test_cosine_neighbours(train: Interactions, neighbors: int, shrinkage: float) -> None:
    x = dense(train)
    together = x.T @ x
    norms = np.sqrt(np.diag(together))
    similarities = together / np.maximum(np.outer(norms, norms) + shrinkage, 1e-300)
    expected = x @ nearest_by_hand(similarities, neighbors)
    _, scores = fitted("itemknn", train, neighbors=neighbors, shrinkage=shrinkage)
    assert torch.allclose(scores, torch.tensor(expected), atol=1e-12)


def test_bm25_neighbours(train: Interactions) -> None:
    x, k1, b = dense(train), 0.7, 0.4
    of_item, of_user = x.sum(0), x.sum(1)
    weights = np.zeros_like(x)
    for u in range(U):
        for i in range(I):
            if x[u, i]:
                length = k1 * (1 - b + b * of_item[i] / of_item.mean())
                weights[u, i] = (k1 + 1) / (length + 1) * (log(I) - log(1 + of_user[u]))
    expected = x @ nearest_by_hand(weights.T @ weights, 5)
    options = {"similarity": "bm25", "neighbors": 5, "k1": k1, "b": b}
    assert torch.allclose(fitted("itemknn", train, **options)[1], torch.tensor(expected), atol=1e-9)


def test_item_blocks_do_not_matter(train: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    from model.systems import ease, itemknn

    knn, linear = fitted("itemknn", train)[1], fitted("ease", train)[1]
    monkeypatch.setattr(itemknn, "ROWS", 4)
    monkeypatch.setattr(ease, "COLUMNS", 4)
    assert torch.equal(fitted("itemknn", train)[1], knn)
    assert torch.equal(fitted("ease", train)[1], linear)


def loss(users: Tensor, items: Tensor, x: Tensor, a: float, strength: float, nu: float) -> Tensor:
    """iALS's objective over the whole matrix."""
    scores = users @ items.T
    value = (x * (scores - 1).square()).sum() + a * scores.square().sum()
    of_user = strength * (x.sum(1) + a * len(items)) ** nu
    of_item = strength * (x.sum(0) + a * len(users)) ** nu
    value = value + (of_user[:, None] * users.square()).sum()
    return value + (of_item[:, None] * items.square()).sum()


@pytest.mark.parametrize("nu", [0.0, 0.5, 1.0])
def test_ials_ends_where_its_objective_is_flat(train: Interactions, nu: float) -> None:
    options = {"iterations": 400, "unobserved_weight": 0.2, "regularization": 0.1}
    system, _ = fitted("ials", train, frequency_exponent=nu, **options)
    users, items = (t.double().requires_grad_() for t in system.embeddings() or ())
    assert users.square().mean() > 1e-3  # it is not the flat place at zero
    loss(users, items, torch.tensor(dense(train)), 0.2, 0.1, nu).backward()
    assert users.grad is not None and items.grad is not None
    assert users.grad.abs().max() < 1e-4 and items.grad.abs().max() < 1e-4


def test_a_solution_of_ials_is_exact(train: Interactions) -> None:
    """With as many steps as unknowns, conjugate gradients solve what a dense solver does."""
    generator = torch.Generator().manual_seed(0)
    start, other = torch.randn(U, D, generator=generator), torch.randn(I, D, generator=generator)
    penalty = torch.rand(U, generator=generator) + 0.1
    got = ials.solved(ials.pattern_of(train), start, other, penalty, 0.3, steps=40)
    h = other.double()
    for u, row in enumerate(train.block(0, U)):
        mine = h[row]
        a = 0.3 * h.T @ h + mine.T @ mine + penalty[u].double() * torch.eye(D)
        assert torch.allclose(got[u].double(), torch.linalg.solve(a, mine.sum(0)), atol=1e-4)


def test_ials_goes_on_where_it_was_cut_off(train: Interactions) -> None:
    validation = random_interactions(U, I, 60, 5)
    catalogue = Catalogue(train)
    dataset = Dataset(catalogue, validation, validation)
    config = config_of("ials", options={"iterations": 6})

    def fit(run: Run) -> tuple[System, Fit]:
        system = build(system_class("ials"), catalogue, config, 0)
        return system, system.fit(dataset, run)

    saved = []
    whole, told = fit(Run(save=saved.append))
    assert [len(s.history) for s in saved] == [6] * 5  # live: one history
    at = [s.tensors for s in saved]
    from model.system import Snapshot

    again, retold = fit(Run(resumed=Snapshot(at[2], told.history[:3], min(told.best_epoch, 3))))
    assert torch.equal(whole.scorer()(torch.arange(U)), again.scorer()(torch.arange(U)))
    assert retold.best_epoch == told.best_epoch


def split_mix(seed: int) -> int:
    """SplitMix64's first number, in Python's whole numbers."""
    z = (seed + 0x9E3779B97F4A7C15) % 2**64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


def test_random_is_split_mix(train: Interactions) -> None:
    _, scores = fitted("random", train, seed=7)
    start = split_mix(7)
    for u, i in ((0, 0), (3, 16), (29, 4)):
        z = (start + (u * I + i) * 0x9E3779B97F4A7C15) % 2**64
        assert scores[u, i].item() == (split_mix(z) >> 40) / 2**24


def test_random_is_uniform_and_has_no_twin(train: Interactions) -> None:
    big = random_interactions(400, 500, 900, 0)
    first, second = (fitted("random", big, seed=s)[1].flatten() for s in (0, 1))
    counts = torch.histc(first, 20, 0, 1)
    chi_square = float(((counts - 10_000).square() / 10_000).sum())
    assert chi_square < 45  # of 19 degrees of freedom: 1 in 1,000
    together = torch.corrcoef(torch.stack([first, second, first.roll(1)]))
    assert float((together - torch.eye(3)).abs().max()) < 0.01
