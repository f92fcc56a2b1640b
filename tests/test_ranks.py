"""Several processes that fit a system together come to what one alone comes to."""

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from small import PLAIN, config_of
from torch import Tensor
from torch import distributed as dist

from model.dataset import Catalogue, Dataset, Modality
from model.embedding import EmbeddingSystem, node_tables
from model.evaluation import Evaluation
from model.experiment import build, evaluate_splits, fit, system_class
from model.fitting import Fitter
from model.interactions import Interactions
from model.ranks import ALONE, Ranks, bounds_of, shared
from model.system import FitError, Run, Snapshot
from model.systems import SYSTEMS, options_class

TESTS = Path(__file__).parent
CPU = torch.device("cpu")
U, I = 90, 60  # noqa: E741
EPOCHS = 4
DIVIDED = tuple(name for name in SYSTEMS if not options_class(name).undivided)
CONTENT_LOSSES = {"single_branch": True, "autoencoder": 0.1, "contrast": 0.1}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in DIVIDED},
    "matrix factorisation": ("none", {"layers": 0}),
    "published": ("frozen", {"propagation": "published", "protocol": "published"}),
    "exponents": ("none", {"user_exponent": 0.8, "item_exponent": 0.2, "layer_weights": (1, 2, 3)}),
    "softmax": ("alpha", {"loss": "softmax", "negatives": 4, "reject_positives": False}),
    "learned": ("unfrozen", {"projection": "learned", "aggregate": "ensemble"}),
    "content's losses": ("frozen", {"projection": "learned", "content": CONTENT_LOSSES}),
    "no content": ("frozen", {"modalities": 0, "content": CONTENT_LOSSES}),
    "concatenated": ("frozen", {"aggregate": "concat", "missing": "mean"}),
    "weights of content": (
        "vbpr",
        {"negatives": 2, "options": {"content_regularization": 0.1}},
    ),
    "new items": ("frozen", {"cold_items": "new", "id_dropout": 0.3}),
    "an epoch's neighbours": ("lattice", {"options": {"rebuild": "epoch"}}),
    "one that stops early": ("none", {"epochs": 8, "patience": 2, "learning_rate": 0.2}),
}
COMMON = ("w_out.bias", "aggregate.linear.bias")
"""What all items have in common BPR leaves to rounding."""
SIZES = {2: tuple(CASES), 4: ("frozen",)}


def config(case: str) -> Any:
    system, changes = CASES[case]
    changes = {"epochs": EPOCHS, "batch_size": 450, "patience": EPOCHS, "dimension": 12} | changes
    if content := changes.get("content"):
        changes["content"] = replace(PLAIN.content, **content)
    changes.pop("modalities", None)
    layers, options = changes.pop("layers", 2), changes.pop("options", {})
    small = {"lattice": {"neighbors": 4, "feature_dimension": 5, "learning_rate": 0.005}}
    return config_of(system, layers, small.get(system, {}) | options, **changes)


def dataset() -> Dataset:
    """Some users have no interactions at all, and most of them the first; items lack modalities."""
    generator = torch.Generator().manual_seed(5)
    users = (U * torch.rand(1200, generator=generator) ** 2.5).long()
    items = (I * torch.rand(1200, generator=generator) ** 1.5).long()
    whole = Interactions.of(users, items, U, I)
    order = torch.randperm(len(whole), generator=generator).split([len(whole) - 160, 80, 80])
    parts = [Interactions.of(whole.users[p], whole.items[p], U, I) for p in order]
    modalities = []
    for name, width in {"text": 9, "image": 5}.items():
        present = torch.rand(I, generator=generator) > 0.2
        vectors = torch.randn(I, width, generator=generator) * present[:, None]
        modalities.append(Modality(name, vectors, present))
    return Dataset(Catalogue(parts[0], modalities), *parts[1:])


class Found:
    """What a fit comes to: its history, the whole state, and the evaluation of each split."""

    def __init__(self, case: str, ranks: Ranks, resumed: Snapshot | None = None) -> None:
        system = CASES[case][0]
        own, given = dataset().of_rank(ranks), config(case)
        if not given.options.content or "modalities" in CASES[case][1]:
            own = Dataset(Catalogue(own.catalogue.train), own.validation, own.test)
        made = build(system_class(system), own.catalogue, given, 3)
        self.snapshots: list[Snapshot] = []
        told = fit(made, own, Run(3, resumed, save=self.keep), CPU)
        self.history, self.best_epoch = told.history, told.best_epoch
        self.evaluations: dict[str, Evaluation] = evaluate_splits(own, made.scorer())
        self.state: dict[str, Tensor] | None = made.whole_state(own.catalogue.train.share)
        users, self.items = made.embeddings()  # type: ignore[misc]
        share = own.catalogue.train.share
        self.tables = share.ranks.gathered(users, share.counts), self.items - self.items.mean(0)

    def keep(self, snapshot: Snapshot) -> None:
        if len(snapshot.history) == 3:
            tensors = {name: tensor.clone() for name, tensor in snapshot.tensors.items()}
            self.snapshots = [Snapshot(tensors, list(snapshot.history), snapshot.best_epoch)]


def together(rank: int, size: int, folder: Path) -> None:
    """A process: every case, into files."""
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    limit = timedelta(seconds=100)  # where one has gone, or comes to something else
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=size, timeout=limit)
    ranks = Ranks(rank, size)
    for case in SIZES[size]:
        found = Found(case, ranks)
        torch.save(found, folder / f"{case}.{rank}.pt")
    resumed = Found("frozen", ranks, Found("frozen", ranks).snapshots[0])
    torch.save(resumed, folder / f"resumed.{rank}.pt")
    table = torch.ones(2, 3, requires_grad=True)
    (shared(table, ranks) * (rank + 1)).sum().backward()
    rows = torch.full((rank, 2), float(rank))
    told = {
        "gradient": table.grad, "all": ranks.all({"rank": rank}), "agreed": ranks.agreed(rank),
        "gathered": ranks.gathered(rows, list(range(size))),
    }  # fmt: skip
    torch.save(told, folder / f"told.{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def by(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """What so many processes fitted: the folder with their files. They run once."""

    @cache
    def fitted(size: int) -> Path:
        made = tmp_path_factory.mktemp("ranks")
        context = multiprocessing.get_context("spawn")
        processes = [
            context.Process(target=together, args=(rank, size, made), daemon=True)
            for rank in range(size)
        ]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (TESTS.parent, TESTS))))
            for process in processes:
                process.start()
        for process in processes:
            process.join(200)
        assert [process.exitcode for process in processes] == [0] * size
        return made

    return fitted


def found(folder: Path, name: str) -> list[Any]:
    count = len(list(folder.glob(f"{name}.*.pt")))
    return [torch.load(folder / f"{name}.{rank}.pt", weights_only=False) for rank in range(count)]


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm().clamp(min=1e-12))


@pytest.mark.parametrize(
    ("size", "case"), [(size, case) for size, cases in SIZES.items() for case in cases]
)
def test_together_as_alone(by: Callable[[int], Path], size: int, case: str) -> None:
    first, *others = found(by(size), case)
    alone = Found(case, ALONE)
    assert first.best_epoch == alone.best_epoch and len(first.history) == len(alone.history)
    for row, expected in zip(first.history, alone.history, strict=True):
        assert row == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert first.state.keys() == alone.state.keys()
    for name, expected in alone.state.items():
        assert first.state[name].shape == expected.shape
        if name not in COMMON:
            assert relative(first.state[name], expected) < 1e-3, name
    for own, expected in zip(first.tables, alone.tables, strict=True):
        assert relative(own, expected) < 1e-4
    for split, expected in alone.evaluations.items():
        judged = first.evaluations[split]
        assert torch.equal(judged.judged, expected.judged)
        for measure, value in expected.values().items():
            assert judged.values()[measure] == pytest.approx(value, abs=1e-3), measure
    for other in others:  # a copy of what is shared stays the same to the bit
        assert other.state is None and not other.evaluations
        assert other.history == first.history
        assert torch.equal(other.items, first.items)


@pytest.mark.parametrize("size", SIZES)
def test_resumed_as_not_interrupted(by: Callable[[int], Path], size: int) -> None:
    folder = by(size)
    for whole, resumed in zip(found(folder, "frozen"), found(folder, "resumed"), strict=True):
        assert resumed.history == whole.history
        assert torch.equal(resumed.items, whole.items)
    first, resumed = found(folder, "frozen")[0], found(folder, "resumed")[0]
    assert all(torch.equal(resumed.state[name], t) for name, t in first.state.items())


@pytest.mark.parametrize("size", SIZES)
def test_what_processes_tell_one_another(by: Callable[[int], Path], size: int) -> None:
    told = found(by(size), "told")
    assert len(told) == size
    for rank, mine in enumerate(told):
        assert torch.equal(mine["gradient"], torch.full((2, 3), size * (size + 1) / 2))
        assert mine["all"] == [{"rank": r} for r in range(size)] and mine["agreed"] == 0
        rows = [float(r) for r in range(size) for _ in range(r)]
        expected = torch.tensor(rows)[:, None].expand(-1, 2) if rank == 0 else None
        assert mine["gathered"] is None if rank else torch.equal(mine["gathered"], expected)


class Drifted(Ranks):
    """The first of two processes; the other's copy of one parameter is no longer the same."""

    def all(self, value: Any) -> list[Any]:
        return [value, value | {"item_embedding": value["item_embedding"] + 1e-6}]


class Faithful(Ranks):
    """The first of two processes; the other comes with the same."""

    def all(self, value: Any) -> list[Any]:
        return [value, value]


def test_copies_that_differ_are_no_longer_fitted() -> None:
    whole = dataset()
    made = build(system_class("none"), whole.catalogue, config("none"), 0)
    assert isinstance(made, EmbeddingSystem)
    fitter = Fitter(made, whole, Run())
    fitter.ranks = Faithful(0, 2)
    fitter._require_copies(3)
    fitter.ranks = Drifted(0, 2)
    with pytest.raises(FitError, match="epoch 3: item_embedding: the processes' copies differ"):
        fitter._require_copies(3)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 90])
def test_users_are_divided_without_loss(size: int) -> None:
    train = dataset().catalogue.train
    bounds = bounds_of(train.offsets, size)
    assert bounds[0] == 0 and bounds[-1] == U and list(bounds) == sorted(bounds)
    work = [
        last - first + int(train.offsets[last] - train.offsets[first])
        for first, last in zip(bounds, bounds[1:], strict=False)
    ]
    most = int(train.degrees().max()) + 1
    assert max(work) <= (U + len(train)) / size + most
    parts = [train.of_rank(Ranks(rank, size), bounds) for rank in range(size)]
    users = torch.cat([part.users + part.share.first_user for part in parts])
    assert torch.equal(users, train.users)
    assert torch.equal(torch.cat([part.items for part in parts]), train.items)
    assert [part.share.first for part in parts] == [int(train.offsets[b]) for b in bounds[:-1]]
    assert {(part.share.total, part.share.n_users) for part in parts} == {(len(train), U)}


def test_every_process_draws_its_rows_of_one_table() -> None:
    train = dataset().catalogue.train
    torch.manual_seed(1)
    users, items = node_tables(train, 4)
    bounds = bounds_of(train.offsets, 3)
    for rank in range(3):
        torch.manual_seed(1)
        own, same = node_tables(train.of_rank(Ranks(rank, 3), bounds), 4)
        assert torch.equal(own, users[bounds[rank] : bounds[rank + 1]])
        assert torch.equal(same, items)


def test_user_tables_are_the_parameters_with_a_row_a_user() -> None:
    for name in DIVIDED:
        made = build(system_class(name), dataset().catalogue, config(name), 0)
        assert isinstance(made, EmbeddingSystem)
        rows = {n for n, p in made.trained().items() if p.ndim and len(p) == U}
        assert rows == set(made.user_tables)
