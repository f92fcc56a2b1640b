"""Content-kNN against dense matrices in float64."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from conftest import catalogue_of, random_interactions
from small import config_of
from torch import Tensor

from model.dataset import Dataset, Modality
from model.experiment import build, system_class
from model.interactions import Interactions
from model.system import Run, System
from model.systems import contentknn

U, I = 12, 25  # noqa: E741 (the field's letters)
TRAIN = random_interactions(U, I, 90, 3)
ABSENT = {"text": [2, 9], "image": [9, 11, 24]}  # item 9 has no content
NEIGHBORS = [1, 4, 100]


def content(rows: int, absent: dict[str, list[int]], seed: int) -> list[Modality]:
    """Vectors whose mean is far from zero."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for name, width in (("text", 6), ("image", 4)):
        present = torch.ones(rows, dtype=torch.bool)
        present[absent[name]] = False
        vectors = torch.randn(rows, width, generator=generator) + 1.5
        made.append(Modality(name, vectors * present[:, None], present))
    return made


OLD = content(I, ABSENT, 1)
NEW = content(5, {"text": [0, 3], "image": [3, 4]}, 2)  # the fourth has none


def fitted(neighbors: int, modalities: Sequence[Modality] = OLD) -> System:
    catalogue = catalogue_of(TRAIN, *modalities)
    config = config_of("contentknn", options={"neighbors": neighbors})
    system = build(system_class("contentknn"), catalogue, config, 0)
    nobody = Interactions.of(torch.empty(0), torch.empty(0), U, I)
    system.fit(Dataset(catalogue, nobody, nobody), Run())
    return system


def scores(system: System) -> Tensor:
    return system.scorer()(torch.arange(U))


def by_hand(
    old: Sequence[Modality], of: Sequence[Modality], k: int, own: bool = False
) -> np.ndarray:
    """(I, n) what each item of the catalogue adds to the score of each of n.

    Args:
        own: whether these are the catalogue's.
    """
    n = len(of[0].present)
    total, has = np.zeros((len(old[0].present), n)), np.zeros(n)
    for known, modality in zip(old, of, strict=True):
        mean = known.vectors[known.present].double().numpy().mean(0)
        x, y = (m.vectors.double().numpy() - mean for m in (known, modality))
        x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
        for i in np.flatnonzero(modality.present):
            has[i] += 1
            others = [j for j in np.flatnonzero(known.present) if not (own and i == j)]
            near = sorted(others, key=lambda j: -(x[j] @ y[i]))[:k]
            total[near, i] += [max(0.0, x[j] @ y[i]) for j in near]
    return total / has.clip(1)


def dense() -> np.ndarray:
    return TRAIN.block(0, U).double().numpy()


@pytest.mark.parametrize("k", NEIGHBORS)
def test_a_score_is_the_mean_over_modalities_of_cosines_with_what_is_near(k: int) -> None:
    got = scores(fitted(k)).double().numpy()
    np.testing.assert_allclose(got, dense() @ by_hand(OLD, OLD, k, own=True), atol=1e-5)
    assert (got[:, 9] == 0).all() and (got > 0).any()


def test_a_modality_alone() -> None:
    for modality in OLD:
        got = scores(fitted(3, [modality])).double().numpy()
        expected = dense() @ by_hand([modality], [modality], 3, own=True)
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_what_nobody_has_of_a_modality_is_no_obstacle() -> None:
    nothing = Modality("video", torch.zeros(I, 3), torch.zeros(I, dtype=torch.bool))
    assert torch.equal(scores(fitted(3, [*OLD, nothing])), scores(fitted(3)))


def test_item_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scores(fitted(3))
    monkeypatch.setattr(contentknn, "ROWS", 4)
    assert torch.allclose(scores(fitted(3)), whole, atol=1e-5)


def test_copies_are_near_to_one_another_and_none_to_itself() -> None:
    """Also where there are more of them than neighbours."""
    vectors = torch.randn(I, 5, generator=torch.Generator().manual_seed(0))
    vectors[:6] = vectors[0]
    system = fitted(2, [Modality("text", vectors, torch.ones(I, dtype=torch.bool))])
    s = system.similarities().toarray()  # type: ignore[attr-defined]
    assert (np.diag(s) == 0).all()
    assert s[6:, :6].sum() == 0 and s[:6, :6].sum(0) == pytest.approx(np.full(6, 2.0))


@pytest.mark.parametrize("k", NEIGHBORS)
def test_a_new_item_is_near_to_what_it_would_be_near_to(k: int) -> None:
    system = fitted(k)
    got = scores(system.with_items(NEW)).double().numpy()
    np.testing.assert_allclose(got[:, I:], dense() @ by_hand(OLD, NEW, k), atol=1e-5)
    assert torch.equal(torch.from_numpy(got[:, :I]), scores(system).double())
    assert (got[:, I + 3] == 0).all()


def test_whichever_come_along() -> None:
    system = fitted(3)
    together = scores(system.with_items(NEW))
    for n in range(5):
        alone = scores(system.with_items([m.of(torch.tensor([n])) for m in NEW]))
        assert torch.allclose(alone[:, I], together[:, I + n], atol=1e-5)
    first, others = (
        [m.of(torch.arange(*rows)) for m in reversed(NEW)] for rows in ((0, 2), (2, 5))
    )
    steps = system.with_items(first).with_items(others)
    assert torch.allclose(scores(steps), together, atol=1e-5)


def test_what_a_history_carries_sums_to_the_score() -> None:
    system = fitted(4).with_items(NEW)
    carriers, expected = system.carriers(), scores(system)
    assert carriers is not None
    for user in (0, 5):
        history = TRAIN.items[TRAIN.users == user]
        for item in (0, 9, 17, I, I + 3):
            carried = carriers(history, item)
            assert float(carried.sum()) == pytest.approx(float(expected[user, item]), abs=1e-9)
            assert float(carriers(torch.tensor([item]), item)) == 0  # nothing carries itself
    # What came after fitting carries nothing, wherever it stands in a history.
    history = torch.tensor([I + 1, 4, I + 4, 7])
    carried = carriers(history, 17)
    assert carried[[0, 2]].tolist() == [0, 0]
    assert torch.equal(carried[[1, 3]], carriers(torch.tensor([4, 7]), 17))
