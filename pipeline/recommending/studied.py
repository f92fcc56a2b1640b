"""The models of a study as recommenders: fitted already, they need only be opened."""

from __future__ import annotations

from statistics import fmean

import torch

from pipeline.catalogue.workspace import Workspace
from pipeline.common.device import resolve_device
from pipeline.common.files import InputError
from pipeline.common.params import Params
from pipeline.experiments.cells import Cell, cell_of, is_fitted
from pipeline.experiments.experiment import Experiment, grid_of
from pipeline.experiments.selection import selected_depth, values_by_depth
from pipeline.recommending.recommender import Recommender


def fitted_cells(params: Params, system: str, workspace: Workspace) -> list[Cell]:
    """Those of a system's study that are kept."""
    grid = [Experiment.of(params, system, *cell) for cell in grid_of(params, system)]
    return [cell_of(e, workspace) for e in grid if is_fitted(e, workspace)]


def studied(params: Params, system: str, workspace: Workspace) -> Recommender:
    """A system of the study, at the depth that validation selects, with the first of its seeds.

    InputError if none of its models is kept.
    """
    cells = fitted_cells(params, system, workspace)
    if not cells:
        raise InputError(f"{system}: no model of it is kept; run `dvc repro study@{system}`")
    values = values_by_depth(cells)
    depth = selected_depth(values)
    chosen = next(cell for cell in cells if cell.experiment.layers == depth)
    e = chosen.experiment
    description = {"system": system, "layers": e.layers, "seed": e.seed,
                   "parameters": e.record(workspace), "best_epoch": chosen.best_epoch,
                   "validation": fmean(values[depth]) if values[depth] else None}  # fmt: skip
    device = torch.device(resolve_device(params.device))
    return Recommender.of(workspace, description, chosen.model(workspace), device)
