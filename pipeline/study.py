"""Stage `study@<system>`: one system over layers and seeds, in one process.

    python -m pipeline.study <system>

Writes `models.csv`, `results.csv` and `history.csv` to `data/study/<system>/`
(`pipeline.experiments.results`). Only cells that are not there yet are fitted
(`pipeline.experiments.cells`).
"""

import logging
import sys
from statistics import fmean

from model.metrics import SELECTION
from model.systems import SYSTEMS
from pipeline.catalogue.workspace import Workspace
from pipeline.common import paths
from pipeline.common.command import run_stage
from pipeline.common.device import reuse_freed_memory
from pipeline.common.files import InputError
from pipeline.common.params import load
from pipeline.common.progress import Progress
from pipeline.experiments.cells import Experiment, cell_of, grid_of, is_fitted
from pipeline.experiments.results import Study

log = logging.getLogger("study")


def main() -> None:
    params = load()
    if len(sys.argv) != 2 or sys.argv[1] not in SYSTEMS:
        raise InputError(f"usage: python -m pipeline.study {{{','.join(SYSTEMS)}}}")
    system = sys.argv[1]
    reuse_freed_memory()
    workspace = Workspace()
    if unread := params.unread(system):
        log.info("%s does not read %s", system, ", ".join(unread))
    grid = [Experiment.of(params, system, layers, seed) for layers, seed in grid_of(params, system)]
    missing = sum(not is_fitted(experiment, workspace) for experiment in grid)
    log.info("%s: %d models, %d of them to fit", system, len(grid), missing)
    cells = []
    with Progress(missing, system, "models", log) as progress:
        for experiment in grid:
            cells.append(cell_of(experiment, workspace))
            if cells[-1].fresh:
                progress.update()
    Study.of(cells).write(paths.STUDY / system)
    fresh = sum(cell.fresh for cell in cells)
    log.info("%s: %d models, %d of them fitted now", system, len(cells), fresh)
    for split in dict.fromkeys(row["split"] for row in cells[0].results):
        means: dict[int | None, list[float]] = {}
        for cell in cells:
            value = cell.value(split, SELECTION)
            means.setdefault(cell.experiment.layers, []).append(value or 0.0)
        shown = ", ".join(
            f"{fmean(values):.4f}" + ("" if layers is None else f" (K={layers})")
            for layers, values in means.items()
        )
        log.info("%s: mean %s NDCG@10 %s", system, split, shown)


if __name__ == "__main__":
    run_stage(main)
