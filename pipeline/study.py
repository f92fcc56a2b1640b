"""Stage `study@<variant>`: layers x seeds of one variant, in one process.

    python -m pipeline.study <variant>

Writes `data/study/<variant>/results.csv` (a row a cell) and `history.csv` (a row an epoch). Only
cells that are not there yet are fitted (`pipeline.cells`).
"""

import logging
import sys
from statistics import fmean
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from model.metrics import SELECTION
from model.variants import VARIANTS
from pipeline import paths
from pipeline.cells import Cell, Experiment, cell_of
from pipeline.device import keep_freed_memory
from pipeline.files import InputError, run, write_csv
from pipeline.params import load
from pipeline.workspace import Workspace

log = logging.getLogger("study")

HISTORY_COLUMNS = ("epoch", "train_loss", "validation_loss", str(SELECTION), "alpha")

Result = dict[str, Any]


def key(cell: Cell) -> Result:
    """What tells a cell from the others of a study."""
    e = cell.experiment
    return {"variant": e.system, "layers": e.layers, "seed": e.seed}


def result(cell: Cell) -> Result:
    """Its row of `results.csv`."""
    metrics = {
        f"{split}_{name}": value
        for split, values in cell.metrics.items()
        for name, value in values.items()
    }
    return key(cell) | {"best_epoch": cell.best_epoch, "alpha": cell.alpha} | metrics


def epochs(cell: Cell) -> list[Result]:
    """Its rows of `history.csv`."""
    return [key(cell) | {c: row.get(c) for c in HISTORY_COLUMNS} for row in cell.history]


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
    folder = paths.STUDY / variant
    write_csv(folder / "results.csv", pa.Table.from_pylist([result(cell) for cell in cells]))
    write_csv(
        folder / "history.csv",
        pa.Table.from_pylist([row for cell in cells for row in epochs(cell)]),
    )
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
