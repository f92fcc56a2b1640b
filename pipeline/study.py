"""Stage `study@<variant>`: layers x seeds of one variant, in one process.

    python -m pipeline.study <variant>

Writes `models.csv`, `results.csv` and `history.csv` to `data/study/<variant>/`
(`pipeline.experiments.results`). Only cells that are not there yet are fitted (`pipeline.cells`).
"""

import logging
import sys
from statistics import fmean

from tqdm import tqdm

from model.metrics import SELECTION
from model.variants import VARIANTS
from pipeline import paths
from pipeline.cells import Experiment, cell_of
from pipeline.device import keep_freed_memory
from pipeline.experiments.results import Study
from pipeline.files import InputError, run
from pipeline.params import load
from pipeline.workspace import Workspace

log = logging.getLogger("study")


def main() -> None:
    params = load()
    if len(sys.argv) != 2 or sys.argv[1] not in VARIANTS:
        raise InputError(f"usage: python -m pipeline.study {{{','.join(VARIANTS)}}}")
    variant = sys.argv[1]
    keep_freed_memory()
    workspace = Workspace()
    grid = [(layers, seed) for layers in params.study.layers for seed in params.study.seeds]
    cells = [
        cell_of(Experiment.of(params, variant, layers, seed), workspace)
        for layers, seed in tqdm(grid, desc=variant, unit="model", disable=None)
    ]
    Study.of(cells).write(paths.STUDY / variant)
    fresh = sum(cell.fresh for cell in cells)
    log.info("%s: %d models, %d of them fitted now", variant, len(cells), fresh)
    for split in cells[0].metrics:
        means = {
            layers: fmean(
                cell.metrics[split][str(SELECTION)]
                for cell in cells
                if cell.experiment.layers == layers
            )
            for layers in params.study.layers
        }
        shown = ", ".join(f"{mean:.4f} (K={layers})" for layers, mean in means.items())
        log.info("%s: mean %s NDCG@10 %s", variant, split, shown)


if __name__ == "__main__":
    run(main)
