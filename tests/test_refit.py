"""`protocol: refit`: what validation selected, fitted once more on all that is not test."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from small import ITEMS, USERS, small_experiment, splits, write_workspace
from test_cells import independent_ndcg

from model.dataset import Catalogue, Dataset
from model.experiment import build, system_class
from model.interactions import Interactions
from model.metrics import SELECTION
from model.system import Run
from pipeline.catalogue.workspace import Workspace
from pipeline.common import paths
from pipeline.experiments import cells, checkpoint
from pipeline.experiments.cells import Cell, cell_of
from pipeline.experiments.experiment import Experiment

NOTHING = Interactions.of(*torch.empty(2, 0, dtype=torch.int64), USERS, ITEMS)
STRICT = ("validation", "test")
EARLY: dict[str, Any] = {"epochs": 40, "patience": 12, "learning_rate": 0.05}
OWN = {"ials": {"dimension": 2, "options": {"iterations": 40, "unobserved_weight": 0.05}}}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prepared workspace, and the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_workspace(tmp_path)
    return tmp_path


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which kinds of fits there were."""
    done: list[str] = []
    real = {name: getattr(cells, name) for name in ("fit_cell", "refit_cell")}

    def counted(name: str, *given: Any) -> None:
        done.append(name)
        real[name](*given)

    for name in real:
        monkeypatch.setattr(cells, name, partial(counted, name))
    return done


def experiment(system: str, **changes: Any) -> Experiment:
    """One that stops early, though not at once; `changes` as in `small.config_of`."""
    return replace(small_experiment(system, **EARLY | OWN.get(system, {}) | changes), refit=True)


def state(cell: Cell) -> dict[str, torch.Tensor]:
    return {n: t for n, t in load_file(cell.path).items() if not n.startswith("judged.")}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def matrix(*names: str) -> np.ndarray:
    """(U, I), 1 where some of the splits' files has the pair."""
    found = np.zeros((USERS, ITEMS))
    for name in names:
        table = pq.read_table(paths.split_path(name))
        found[table["user"].to_numpy(), table["item"].to_numpy()] = 1
    return found


def ease(x: np.ndarray, regularization: float) -> np.ndarray:
    """Scores by the formula (Steck, 2019)."""
    p = np.linalg.inv(x.T @ x + regularization * np.eye(ITEMS))
    b = -p / np.diag(p)
    np.fill_diagonal(b, 0)
    return x @ b


def test_a_closed_form_is_solved_on_training_and_validation() -> None:
    cell = cell_of(experiment("ease", options={"regularization": 5.0}), Workspace())
    history = ["train", "validation"]
    after = independent_ndcg(ease(matrix(*history), 5.0), "test", history)
    before = independent_ndcg(ease(matrix("train"), 5.0), "test", history)
    assert cell.value("refit", SELECTION) == pytest.approx(after, abs=1e-9)
    assert cell.value("test", SELECTION) == pytest.approx(before, abs=1e-9)
    assert abs(after - before) > 1e-3  # or this shows nothing


@pytest.mark.parametrize("system", ["none", "frozen", "early", "ials"])
def test_as_many_epochs_as_validation_chose_and_the_same_bytes_as_by_hand(system: str) -> None:
    e = experiment(system)
    cell = cell_of(e, Workspace())
    n = cell.best_epoch
    assert cell.chosen == {"epochs": n} and 1 < n < len(cell.history) < 40
    # By hand: nothing to select by, and that number of epochs to run.
    own = {"options": OWN[system]["options"] | {"iterations": n}} if system in OWN else {}
    config = experiment(system, epochs=n, **own).config
    parts, content = splits(), e.strict.dataset(Workspace()).catalogue.modalities
    catalogue = Catalogue(parts["train"] | parts["validation"], content)
    model = build(system_class(system), catalogue, config, e.seed)
    told = model.fit(Dataset(catalogue, NOTHING, parts["test"]), Run(e.seed or 0))
    assert len(told.history) == n
    assert same(state(cell), model.state())
    assert not same(state(cell), state(cell_of(e.strict, Workspace())))
    everyone = torch.arange(USERS)
    assert torch.equal(cell.model(Workspace()).scorer()(everyone), model.scorer()(everyone))


def test_a_blend_keeps_to_the_parts_and_parameters_that_validation_chose() -> None:
    e = experiment("blend", options={"factors": 2})
    cell = cell_of(e, Workspace())
    parts, content = splits(), e.strict.dataset(Workspace()).catalogue.modalities
    catalogue = Catalogue(parts["train"] | parts["validation"], content)
    model = build(system_class("blend"), catalogue, e.config, e.seed)
    run = Run(e.seed or 0, chosen=cell.chosen)
    told = model.fit(Dataset(catalogue, NOTHING, parts["test"]), run)
    assert told.chosen == cell.chosen == cell_of(e.strict, Workspace()).chosen
    assert 1 <= len(model.parts) < 4  # type: ignore[attr-defined]
    assert same(state(cell), model.state())
    assert not same(state(cell), state(cell_of(e.strict, Workspace())))


@pytest.mark.parametrize("system", ["alpha", "itemknn"])
def test_the_strict_part_is_that_of_validated(system: str, fits: list[str]) -> None:
    e = experiment(system)
    strict = cell_of(e.strict, Workspace())
    written = strict.path.read_bytes()
    cell = cell_of(e, Workspace())
    assert fits == ["fit_cell", "refit_cell"]
    assert cell_of(e, Workspace()) == cell and len(fits) == 2
    assert strict.path.read_bytes() == written and strict.path != cell.path
    assert cell.splits == [*STRICT, "refit"] and strict.splits == [*STRICT]
    assert [row for row in cell.results if row["split"] != "refit"] == strict.results
    for name in ("history", "best_epoch", "limited", "chosen", "diagnostics", "measures"):
        assert getattr(cell, name) == getattr(strict, name), name
    with safe_open(strict.path, "pt") as a, safe_open(cell.path, "pt") as b:
        judged = [name for name in a.keys() if name.startswith("judged.")]  # noqa: SIM118
        assert len(judged) == 8
        assert all(torch.equal(a.get_tensor(name), b.get_tensor(name)) for name in judged)
    assert cell.judged("refit").users.tolist() == strict.judged("test").users.tolist()
    assert cell.costs["seconds"] >= strict.costs["seconds"]
    assert cell.costs["megabytes"] >= strict.costs["megabytes"]


def test_lists_hide_what_was_trained_on() -> None:
    for system in ("popularity", "none"):
        judged = cell_of(experiment(system), Workspace()).judged("refit")
        history = matrix("train", "validation")
        for user, items in zip(judged.users, judged.lists, strict=True):
            shown = items[items >= 0]
            assert len(shown) == ITEMS - history[user].sum() and not history[user, shown].any()


def write(split: str, part: Interactions) -> None:
    table = pq.read_table(paths.split_path(split))
    columns = {"user": part.users.int().numpy(), "item": part.items.int().numpy()}
    pq.write_table(type(table).from_pydict(columns), paths.split_path(split))


@pytest.mark.parametrize("system", ["none", "ease", "popularity"])
def test_what_is_to_be_found_in_test_changes_nothing_but_its_values(system: str) -> None:
    first = cell_of(experiment(system), Workspace())
    test = splits()["test"]
    write("test", Interactions.of(test.users, (test.items + 7) % ITEMS, USERS, ITEMS))
    other = cell_of(experiment(system), Workspace())
    assert other.path != first.path and same(state(other), state(first))
    assert other.value("refit", SELECTION) != first.value("refit", SELECTION)
    assert other.value("validation", SELECTION) == first.value("validation", SELECTION)
    assert other.history == first.history and other.chosen == first.chosen


def test_a_closed_form_does_not_see_which_part_was_validation() -> None:
    first = cell_of(experiment("ease"), Workspace())
    parts = splits()
    write("train", parts["validation"])
    write("validation", parts["train"])
    other = cell_of(experiment("ease"), Workspace())
    assert same(state(other), state(first))
    assert other.value("refit", SELECTION) == first.value("refit", SELECTION)
    assert other.value("test", SELECTION) != first.value("test", SELECTION)


@pytest.mark.parametrize("system", ["early", "ials"])
def test_a_refit_that_is_cut_off_goes_on_to_the_same_bytes(
    system: str, here: Path, fits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    e = experiment(system)
    whole = cell_of(e, Workspace())
    assert whole.chosen["epochs"] > 3
    expected = whole.path.read_bytes()
    whole.path.unlink()
    real, saved = checkpoint.Checkpoint.save, []

    def cut(self: checkpoint.Checkpoint, snapshot: Any) -> None:
        real(self, snapshot)
        if len(snapshot.history) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Checkpoint, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        cell_of(e, Workspace())
    [left] = (here / ".cache/fits").iterdir()

    def told(self: checkpoint.Checkpoint, snapshot: Any) -> None:
        saved.append(len(snapshot.history))

    monkeypatch.setattr(checkpoint.Checkpoint, "save", told)
    again = cell_of(e, Workspace())
    assert saved[0] == 3 and fits.count("fit_cell") == 1
    assert again.path.read_bytes() == expected and not left.exists()


def test_without_validation_it_is_validated(fits: list[str]) -> None:
    write("validation", NOTHING)
    e = experiment("none", epochs=3)
    cell, strict = (cell_of(one, Workspace()) for one in (e, e.strict))
    assert cell.path == strict.path and fits == ["fit_cell"]
    assert cell.splits == ["test"]


def test_without_test_it_is_fitted_all_the_same() -> None:
    write("test", NOTHING)
    e = experiment("ease")
    cell = cell_of(e, Workspace())
    assert cell.splits == ["validation"]
    assert not same(state(cell), state(cell_of(e.strict, Workspace())))


def test_a_system_gets_back_all_that_it_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a mixture, say, the weights and its parts' epochs."""
    given: list[Any] = []
    chosen, real = {"weight": 0.25, "epochs.first": 7}, system_class("popularity").fit

    def fit(self: Any, dataset: Dataset, run: Run) -> Any:
        given.append((run.chosen, len(dataset.validation) > 0))
        return replace(real(self, dataset, run), chosen={} if run.chosen else chosen)

    monkeypatch.setattr(system_class("popularity"), "fit", fit)
    assert cell_of(experiment("popularity"), Workspace()).chosen == chosen
    assert given == [(None, True), (chosen, False)]
