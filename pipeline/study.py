"""Stage `study@<system>`: one system over layers and seeds, in one process.

    python -m pipeline.study <system>

Writes `data/study/<system>/results.csv` (a row a cell) and `history.csv` (a row an epoch). Only
cells that are not there yet are fitted (`pipeline.experiments.cells`).
"""

import logging
import sys
from statistics import fmean
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from model.metrics import SELECTION
from model.systems import SYSTEMS
from pipeline import paths
from pipeline.device import keep_freed_memory
from pipeline.experiments.cells import Cell, Experiment, cell_of, grid_of
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
    metrics = {f"{r['split']}_{r['metric']}@{r['k']}": r["value"] for r in cell.results}
    alpha = cell.diagnostics.get("alpha")
    return key(cell) | {"best_epoch": cell.best_epoch, "alpha": alpha} | metrics


def epochs(cell: Cell) -> list[Result]:
    """Its rows of `history.csv`."""
    return [key(cell) | {c: row.get(c) for c in HISTORY_COLUMNS} for row in cell.history]


def main() -> None:
    params = load()
    if len(sys.argv) != 2 or sys.argv[1] not in SYSTEMS:
        raise InputError(f"usage: python -m pipeline.study {{{','.join(SYSTEMS)}}}")
    system = sys.argv[1]
    keep_freed_memory()
    workspace = Workspace()
    if unread := params.unread(system):
        log.info("%s does not read %s", system, ", ".join(unread))
    cells = [
        cell_of(Experiment.of(params, system, layers, seed), workspace)
        for layers, seed in tqdm(grid_of(params, system), desc=system, unit="model", disable=None)
    ]
    folder = paths.STUDY / system
    write_csv(folder / "results.csv", pa.Table.from_pylist([result(cell) for cell in cells]))
    write_csv(
        folder / "history.csv",
        pa.Table.from_pylist([row for cell in cells for row in epochs(cell)]),
    )
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
    run(main)
