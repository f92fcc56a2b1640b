"""Fits that the number of epochs ended: when that is said, and that a study's files say it."""

import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import config_of, splits, write_workspace

from model.dataset import Catalogue, Dataset
from model.experiment import build, fit, system_class
from model.interactions import Interactions
from model.selection import Selection
from model.system import Fit, Run, Snapshot
from pipeline import study
from pipeline.common import params as stage_params

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")


def selected(
    best: int, *, epochs: int = 10, patience: int = 20, protocol: str = "validated", seen: int = 9
) -> Selection:
    """One that has ended, after values that rise up to epoch `best` and fall from there."""
    selection = Selection(config_of("none", protocol=protocol, patience=patience), epochs, seen)
    while not selection.finished:
        epoch = len(selection.history) + 1
        selection.improves({"epoch": epoch, "ndcg@10": 1 - abs(epoch - best) / 100})
    return selection


@pytest.mark.parametrize(
    ("best", "patience", "ended", "limited"),
    [
        # All ten epochs, the best of them still recent: the second half, and fewer than patience.
        (10, 20, 10, True), (9, 20, 10, True), (6, 20, 10, True), (10, 3, 10, True),
        (8, 3, 10, True), (10, 1, 10, True),
        # All ten, the best of them old.
        (5, 20, 10, False), (1, 20, 10, False), (5, 6, 10, False),
        # Patience ended it, even where that was the last epoch.
        (7, 3, 10, False), (9, 1, 10, False), (6, 3, 9, False), (1, 3, 4, False), (2, 1, 3, False),
    ],
)  # fmt: skip
def test_what_ended_a_fit(best: int, patience: int, ended: int, limited: bool) -> None:
    selection = selected(best, patience=patience)
    assert (selection.best_epoch, len(selection.history)) == (best, ended)
    assert selection.limited == limited


def test_the_only_epoch_is_a_limit() -> None:
    assert selected(1, epochs=1).limited


def test_without_selection_nothing_could_have_been_better() -> None:
    for selection in (selected(10, protocol="published"), selected(10, seen=0)):
        assert (selection.best_epoch, len(selection.history)) == (10, 10)
        assert not selection.limited


def test_it_is_not_said_before_the_end() -> None:
    selection = Selection(config_of("none"), 3, 9)
    for value in (0.1, 0.2):
        selection.improves({"ndcg@10": value})
        assert not selection.limited
    selection.improves({"ndcg@10": 0.3})
    assert selection.limited


@pytest.mark.parametrize("system", ["none", "ials"])
def test_epochs_that_were_chosen_before_are_run_to_the_last(system: str) -> None:
    """Validation, where there is any, has no say then."""
    own = {"iterations": 2} if system == "ials" else {}
    for validation in (True, False):
        run = Run(chosen={"epochs": 5})
        told = fitted(system, run, options=own, epochs=2, patience=1, validation=validation)
        assert (len(told.history), told.best_epoch, told.limited) == (5, 5, False)
        assert told.chosen == {"epochs": 5}
    free = fitted(system, Run(), options=own, epochs=2, patience=1)
    assert free.chosen == {"epochs": free.best_epoch}
    assert not fitted("ease").chosen


def fitted(
    system: str, run: Run | None = None, *, validation: bool = True,
    options: dict[str, Any] | None = None, **changes: Any,
) -> Fit:  # fmt: skip
    """A fit of so few epochs that it still gets better."""
    parts = splits()
    nothing = Interactions.of(*torch.empty(2, 0, dtype=torch.int64), 20, 30)
    data = Dataset(
        Catalogue(parts["train"]), parts["validation"] if validation else nothing, parts["test"]
    )
    config = config_of(system, options=options, **changes)
    return fit(
        build(system_class(system), data.catalogue, config, 0), data, run or Run(), CPU
    )  # fmt: skip


@pytest.mark.parametrize(("system", "options"), [("none", {}), ("ials", {"iterations": 1})])
def test_a_fit_tells(system: str, options: dict[str, int]) -> None:
    def told(**changes: Any) -> bool:
        return fitted(system, options=options, epochs=1, **changes).limited

    assert told()
    assert not told(protocol="published") and not told(validation=False)


@pytest.mark.parametrize("system", ["none", "ials"])
def test_a_fit_that_ran_out_of_patience_is_not_limited(system: str) -> None:
    own = {"iterations": 200} if system == "ials" else {}
    told = fitted(system, options=own, epochs=200, patience=3)
    assert len(told.history) < 200 and not told.limited


def test_what_is_solved_at_once_has_no_limit() -> None:
    for system in ("random", "popularity", "itemknn", "ease"):
        assert not fitted(system).limited, system


@pytest.mark.parametrize("system", ["none", "ials"])
def test_a_fit_that_goes_on_tells_the_same(system: str) -> None:
    """Epochs before it was cut off count."""
    saved: list[Snapshot] = []

    def save(snapshot: Snapshot) -> None:
        tensors = {name: t.detach().clone() for name, t in snapshot.tensors.items()}
        saved.append(Snapshot(tensors, list(snapshot.history), snapshot.best_epoch))

    own = {"iterations": 6} if system == "ials" else {}
    for patience in (3, 20):
        saved.clear()
        whole = fitted(system, Run(save=save), options=own, epochs=6, patience=patience)
        for snapshot in list(saved):
            again = fitted(system, Run(resumed=snapshot), options=own, epochs=6, patience=patience)
            assert again == whole


def test_a_study_says_which_fits_were_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_workspace(tmp_path)
    whole = stage_params.load(ROOT / "params.yaml")

    def models(system: str, epochs: int, patience: int) -> list[dict[str, str]]:
        given = replace(
            whole, device="cpu",
            train=replace(whole.train, dimension=4, epochs=epochs, patience=patience),
            study=replace(whole.study, layers=[1], seeds=[3], controls=("placebo",), processes=1),
        )  # fmt: skip
        monkeypatch.setattr(study, "load", lambda: given)
        monkeypatch.setattr(sys, "argv", ["study", system])
        study.main()
        with (tmp_path / f"data/study/{system}/models.csv").open() as file:
            return list(csv.DictReader(file))

    rows = models("frozen", 1, 20)
    assert [row["control"] for row in rows] == ["", "placebo"]
    assert [row["limited"] for row in rows] == ["true", "true"]
    for row in models("frozen", 100, 2):
        assert int(row["epochs"]) < 100 and row["limited"] == "false"
    assert [row["limited"] for row in models("ease", 1, 20)] == ["false"]
