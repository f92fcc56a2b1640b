"""Cells: fitted and evaluated models by content. What was fitted once is not fitted again.

A cell is one system on one dataset with one seed. It is kept outside DVC's outs, which DVC removes
before a stage runs, in a file named by a hash of everything that it depends on: `train` and every
study share what is there, and a killed study loses the epochs since its last checkpoint.

Where all cells are there, torch is not imported.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from model.metrics import Measure
from pipeline.catalogue.workspace import Workspace
from pipeline.common import paths
from pipeline.common.files import InputError
from pipeline.experiments.checkpoint import Checkpoint
from pipeline.experiments.experiment import Experiment
from pipeline.experiments.fitting import fit_cell, read_costs, refit_cell
from pipeline.experiments.judged import JUDGED, Judged

if TYPE_CHECKING:
    from model.ranks import Ranks
    from model.system import Row, System

Result = dict[str, Any]
"""One number of an evaluation: split, metric, k, value."""


@dataclass(frozen=True)
class Cell:
    """A fitted and evaluated model.

    Of a refit, the state is that of its second fit, and so is the split `refit` of the results:
    test once more. All else is the strict part's.

    Attributes:
        experiment, path: what it is of, and the file that holds its state.
        history: one row an epoch.
        best_epoch: the epoch whose state this is.
        limited: whether the number of epochs ended the fit while it may still have improved.
        chosen: what validation chose, by name, as `model.system.Fit` has it.
        diagnostics: the system's own, by name.
        results: one row a split, metric and k: `split`, `metric`, `k`, `value`.
        measures: what was measured of every user.
        fresh: whether it was fitted just now.
    """

    experiment: Experiment
    path: Path
    history: list[Row]
    best_epoch: int
    limited: bool
    chosen: dict[str, float]
    diagnostics: dict[str, float]
    results: list[Result]
    measures: list[Measure]
    fresh: bool = field(compare=False)

    @property
    def splits(self) -> list[str]:
        """What it was judged on."""
        return list(dict.fromkeys(row["split"] for row in self.results))

    @property
    def costs(self) -> dict[str, float]:
        """`seconds` that fitting took, `megabytes` at most beyond what the process held."""
        return read_costs(self.path)

    def judged(self, split: str) -> Judged:
        """Every user's values and list on a split."""
        return Judged.read(self.path, split)

    def value(self, split: str, measure: Measure) -> float | None:
        """One of the results; None where there is no such split."""
        key = (split, *measure)
        found = (r["value"] for r in self.results if (r["split"], r["metric"], r["k"]) == key)
        return next(found, None)

    def model(self, workspace: Workspace) -> System:
        """The fitted system, ready to score."""
        import torch
        from safetensors.torch import load_file

        from model.experiment import build, system_class

        e = self.experiment
        catalogue = e.dataset(workspace).catalogue
        model = build(system_class(e.system), catalogue, e.config, e.seed, e.control)
        state = load_file(self.path)
        model.load({name: t for name, t in state.items() if not name.startswith(JUDGED)})
        return model.to(torch.device(e.device))


def cell_path(fingerprint: str) -> Path:
    """Where the cell of that fingerprint is kept."""
    return paths.of_repository(paths.CELLS) / f"{fingerprint[:32]}.safetensors"


def fit_path(fingerprint: str) -> Path:
    """Where the state of its fit is kept while that is under way."""
    return paths.of_repository(paths.FITS) / f"{fingerprint[:32]}.safetensors"


def is_fitted(experiment: Experiment, workspace: Workspace) -> bool:
    """Whether the cell of `experiment` is kept."""
    return cell_path(experiment.fingerprint(workspace)).is_file()


def fit_missing(
    experiment: Experiment, workspace: Workspace, ranks: Ranks | None = None
) -> tuple[Path, bool]:
    """Fit `experiment` unless its cell is kept; the cell's file, and whether it was fitted now.

    A refit begins with its strict part, which is a cell of its own.

    Args:
        ranks: the processes that fit together, if several; all of them have to come here, and the
            first writes the cell.

    Raises:
        InputError: the fit diverged, and nothing of it is kept; or the processes were not given
            the same.
    """
    print_ = experiment.fingerprint(workspace)
    path = cell_path(print_)
    there = path.is_file()
    if ranks is not None:
        if len({*ranks.all(print_)}) > 1:
            raise InputError(
                "the processes that are to fit together differ in parameters, data, code, the "
                "version of torch, or device; all machines need the same"
            )
        there = ranks.agreed(there)
    if there:
        return path, False
    checkpoint = Checkpoint(fit_path(print_), ranks)
    if experiment.refits(workspace):
        strict, _ = fit_missing(experiment.strict, workspace, ranks)
        refit_cell(experiment, experiment.dataset(workspace), strict, path, checkpoint)
    else:
        fit_cell(experiment, experiment.dataset(workspace), path, checkpoint)
    if ranks is not None:
        ranks.all(None)  # the first has written the cell
    checkpoint.remove()
    return path, True


def cell_of(experiment: Experiment, workspace: Workspace) -> Cell:
    """The cell of `experiment`: what is kept, or else fitted now, as `fit_missing`."""
    path, fresh = fit_missing(experiment, workspace)
    with safe_open(path, framework="numpy") as file:
        described = json.loads(file.metadata()["cell"])
    described["measures"] = [Measure(*measure) for measure in described["measures"]]
    return Cell(experiment, path, **described, fresh=fresh)
