"""The contract (`model.system.System`), held by every system: embeddings and closed forms alike."""

from typing import Any

import pytest
import torch
from conftest import catalogue_of, random_interactions, rounding
from small import config_of
from torch import Tensor

from model.config import SystemOptions
from model.dataset import Catalogue, Dataset, Modality
from model.experiment import build, evaluate_splits, fit, system_class
from model.interactions import Interactions
from model.metrics import METRICS, SELECTION, cutoffs
from model.system import Fit, Run, Snapshot, System
from model.systems import SYSTEMS, options_class

U, I, D = 24, 30, 8  # noqa: E741 (the field's letters)
CPU = torch.device("cpu")
# What a system reads of content only if it is asked to.
WITH_CONTENT = {"ease": {"content_weight": 1.0}}


def modality(name: str, width: int, absent: int) -> Modality:
    generator = torch.Generator().manual_seed(width)
    present = torch.arange(I) >= absent
    vectors = torch.randn(I, width, generator=generator)
    return Modality(name, torch.where(present[:, None], vectors, 0.0), present)


def dataset() -> Dataset:
    """Items 0 and 1 lack modalities, item 29 and user 23 have no interaction in training."""
    edges = random_interactions(U - 1, I - 1, 260, 1)
    order = torch.randperm(len(edges), generator=torch.Generator().manual_seed(0))
    splits = [
        Interactions.of(edges.users[part], edges.items[part], U, I)
        for part in order.split([len(edges) - 80, 40, 40])
    ]
    catalogue = catalogue_of(splits[0], modality("text", 6, 1), modality("image", 5, 2))
    return Dataset(catalogue, *splits[1:])


def config(system: str, **changes: Any) -> Any:
    return config_of(system, **{"options": WITH_CONTENT.get(system), "epochs": 4} | changes)


def fitted(system: str, run: Run | None = None, **changes: Any) -> tuple[System, Fit]:
    data, run = dataset(), run or Run(3)
    model = build(system_class(system), data.catalogue, config(system, **changes), run.seed)
    return model, fit(model, data, run, CPU)


def scores(system: System) -> Tensor:
    return system.scorer()(torch.arange(U))


@pytest.mark.parametrize("name", SYSTEMS)
def test_scores_of_any_users_are_rows_of_all(name: str) -> None:
    scorer = fitted(name)[0].scorer()
    everything = scorer(torch.arange(U))
    assert everything.shape == (U, I) and everything.isfinite().all()
    assert everything.is_floating_point()
    for users in ([5], [7, 0, 7], [23], []):
        rows = torch.tensor(users, dtype=torch.int64)
        apart = (scorer(rows) - everything[rows]).abs()
        assert (apart <= rounding(scorer, rows)).all(), users
    asked = scorer(torch.arange(U))
    asked.fill_(-torch.inf)  # as an evaluation does to what was seen
    assert torch.equal(scorer(torch.arange(U)), everything)


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_state_is_all_that_fitting_made(name: str) -> None:
    model, _ = fitted(name)
    again = build(system_class(name), dataset().catalogue, config(name), 3)
    again.load({key: tensor.clone() for key, tensor in model.state().items()})
    assert torch.equal(scores(again), scores(model))
    assert again.diagnostics() == model.diagnostics()
    names = {*model.state(), *model.constants()}
    assert names and not {*model.state()} & {*model.constants()}
    if model.embeddings() is None:  # in a model's file these names are the embeddings'
        assert not names & {"users", "items"}


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_same_again_gives_the_same(name: str) -> None:
    # A blend of several may leave out all that is drawn.
    options = {"parts": ("ials",)} if name == "blend" else WITH_CONTENT.get(name)
    (first, told), (second, retold) = (fitted(name, options=options) for _ in range(2))
    assert torch.equal(scores(first), scores(second))
    assert told == retold
    other, _ = fitted(name, Run(4), options=options)
    assert torch.equal(scores(first), scores(other)) != ("seed" in options_class(name).reads)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_history_has_a_row_an_epoch_and_a_best_one(name: str) -> None:
    told: list[dict[str, float]] = []
    model, result = fitted(name, Run(3, on_epoch=lambda row, seconds: told.append(row)))
    assert told == result.history
    assert [row["epoch"] for row in told] == list(range(1, len(told) + 1))
    accurate = {f"{m.name}@{SELECTION.k}" for m in METRICS.values() if m.accuracy}
    assert all(accurate <= row.keys() for row in told)
    best = told[result.best_epoch - 1]
    assert best["ndcg@10"] == max(row["ndcg@10"] for row in told)
    # The state is that epoch's.
    found = {
        (split, *measure): value
        for split, evaluation in evaluate_splits(dataset(), model.scorer()).items()
        for measure, value in evaluation.values().items()
    }
    assert found["validation", "ndcg", 10] == pytest.approx(best["ndcg@10"], abs=1e-12)
    assert {k for _, _, k in found} == set(cutoffs(I)) and {m for _, m, _ in found} == set(METRICS)


@pytest.mark.parametrize("name", SYSTEMS)
def test_without_validation_the_last_epoch_is_kept(name: str) -> None:
    data = dataset()
    nobody = Interactions.of(torch.empty(0), torch.empty(0), U, I)
    model = build(system_class(name), data.catalogue, config(name), 0)
    result = fit(model, Dataset(data.catalogue, nobody, nobody), Run(0), CPU)
    assert result.best_epoch == len(result.history)
    assert scores(model).isfinite().all()
    assert evaluate_splits(Dataset(data.catalogue, nobody, nobody), model.scorer()) == {}


@pytest.mark.parametrize("name", SYSTEMS)
def test_embeddings_score_by_their_inner_product(name: str) -> None:
    model, _ = fitted(name)
    if (embeddings := model.embeddings()) is not None:
        users, items = embeddings
        assert len(users) == U and len(items) == I
        apart = (users @ items.T - scores(model)).abs()
        assert (apart <= rounding(model.scorer(), torch.arange(U))).all()


@pytest.mark.parametrize("name", SYSTEMS)
def test_fitting_leaves_the_dataset_alone(name: str) -> None:
    data, same = dataset(), dataset()
    model = build(system_class(name), data.catalogue, config(name), 0)
    fit(model, data, Run(0), CPU)
    for mine, other in zip(data.catalogue.modalities, same.catalogue.modalities, strict=True):
        assert torch.equal(mine.vectors, other.vectors)
    assert torch.equal(data.catalogue.train.items, same.catalogue.train.items)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_fit_goes_on_where_it_was_cut_off(name: str) -> None:
    whole, told = fitted(name)
    kept: list[Snapshot] = []

    def keep(snapshot: Snapshot) -> None:
        tensors = {key: tensor.clone() for key, tensor in snapshot.tensors.items()}
        kept.append(Snapshot(tensors, list(snapshot.history), snapshot.best_epoch))

    fitted(name, Run(3, save=keep))
    assert len(kept) == len(told.history) - 1
    for snapshot in kept[:2]:
        again, retold = fitted(name, Run(3, resumed=snapshot))
        assert retold == told
        assert torch.equal(scores(again), scores(whole))


@pytest.mark.parametrize("name", SYSTEMS)
def test_content_counts_where_it_is_declared(name: str) -> None:
    """Other vectors change what reads content, and nothing else."""
    data = dataset()
    others = [Modality(m.name, m.vectors.flip(1) + 1, m.present) for m in data.catalogue.modalities]
    mine, other = (
        build(system_class(name), Catalogue(data.catalogue.train, modalities), config(name), 0)
        for modalities in (data.catalogue.modalities, others)
    )
    for model in (mine, other):
        fit(model, data, Run(0), CPU)
    declared = config(name).options.content
    assert torch.equal(scores(mine), scores(other)) != declared


@pytest.mark.parametrize("name", SYSTEMS)
def test_no_modality_is_no_obstacle(name: str) -> None:
    data = dataset()
    bare = Dataset(Catalogue(data.catalogue.train), data.validation, data.test)
    model = build(system_class(name), bare.catalogue, config(name), 0)
    fit(model, bare, Run(0), CPU)
    assert scores(model).isfinite().all()


@pytest.mark.parametrize("name", ["ease", "ials", "itemknn"])
def test_closed_forms_solve_the_checkerboard(name: str, checkerboard: Interactions) -> None:
    """Every user's ten best unseen items have his colour (test_systems has the others)."""
    nobody = Interactions.of(torch.empty(0), torch.empty(0), 50, 50)
    catalogue = Catalogue(checkerboard)
    options = {"ials": {"regularization": 0.1}}.get(name)  # so little asks for more of it
    model = build(system_class(name), catalogue, config_of(name, options=options), 0)
    fit(model, Dataset(catalogue, nobody, nobody), Run(0), CPU)
    everyone = torch.arange(50)
    unseen = model.scorer()(everyone).masked_fill(checkerboard.block(0, 50), -torch.inf)
    best = unseen.topk(10, dim=1).indices
    assert (best % 2 == everyone[:, None] % 2).float().mean() > 0.99


@pytest.mark.parametrize("name", SYSTEMS)
def test_it_declares_what_it_reads(name: str) -> None:
    declared = options_class(name)
    assert issubclass(declared, SystemOptions)
    known = set(config_of("frozen").record()) | {"seed", "train.content.temperature"}
    known |= {"train.temperature"}
    assert declared.reads <= known
    assert (declared.__doc__ or "").endswith(".")
