"""Stage `study@<system>`: one system over layers and seeds, then its controls, in one process.

    python -m pipeline.study <system>

Controls (`model.controls`) are fitted at the depth that validation selects. Writes `models.csv`,
`results.csv`, `history.csv`, `users.parquet` and `lists.parquet` to `data/study/<system>/`
(`pipeline.experiments.results`), and what fitting took to `data/times/<system>.csv`, which no lock
covers. Only cells that are not there yet are fitted (`pipeline.experiments.cells`).
"""

import logging
import sys
from statistics import fmean

from model.config import REFIT
from model.systems import SYSTEMS
from pipeline.catalogue.workspace import Workspace
from pipeline.common import paths
from pipeline.common.command import run_stage
from pipeline.common.device import reuse_freed_memory
from pipeline.common.files import InputError
from pipeline.common.params import load
from pipeline.experiments.experiment import NO_REFIT, Experiment, controls_asked, grid_of
from pipeline.experiments.results import KEY, Row, Study, Trial, write_judged, write_rows
from pipeline.experiments.selection import selected_depth, values_by_depth
from pipeline.experiments.side_by_side import cells_of

log = logging.getLogger("study")


def main() -> None:
    params = load()
    if len(sys.argv) != 2 or sys.argv[1] not in SYSTEMS:
        raise InputError(f"usage: python -m pipeline.study {{{','.join(SYSTEMS)}}}")
    system = sys.argv[1]
    reuse_freed_memory()
    workspace = Workspace()
    if params.protocol == REFIT and not workspace.has_validation:
        log.info(NO_REFIT)
    if unread := params.unread(system):
        log.info("%s does not read %s", system, ", ".join(unread))
    grid = [Experiment.of(params, system, layers, seed) for layers, seed in grid_of(params, system)]
    processes = params.study.processes
    cells = cells_of(grid, system, workspace, processes)
    depth = selected_depth(values_by_depth(cells))
    selected = [own for own in grid if own.layers == depth]
    controls = [
        (control, own, Experiment.of(params, system, own.layers, own.seed, control))
        for control in controls_asked(params, system, workspace)
        for own in selected
    ]
    trials = [Trial(system, None, cell, cell.experiment) for cell in cells]
    if controls:
        names, owns, experiments = zip(*controls, strict=True)
        found = cells_of(experiments, f"{system}'s controls", workspace, processes)
        trials += [
            Trial(system, name, cell, own)
            for name, own, cell in zip(names, owns, found, strict=True)
        ]
    folder = paths.STUDY / system
    Study.of(trials).write(folder)
    write_judged(folder / "users.parquet", folder / "lists.parquet", trials)
    write_rows(paths.times_path(system), [_times(trial) for trial in trials], (*KEY, "seconds"))
    for split in cells[0].splits:
        means = {layers: fmean(values) for layers, values in values_by_depth(cells, split).items()}
        shown = ", ".join(
            f"{mean:.4f}" + ("" if layers is None else f" (K={layers})")
            for layers, mean in means.items()
        )
        log.info("%s: mean %s NDCG@10 %s", system, split, shown)


def _times(trial: Trial) -> Row:
    """What fitting it took, wherever and whenever that was."""
    cell = trial.cell
    return (
        trial.key
        | cell.costs
        | {
            "epochs": len(cell.history),
            "device": cell.experiment.device,
        }
    )


if __name__ == "__main__":
    run_stage(main)
