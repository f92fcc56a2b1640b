"""Stage `study@<variant>`: layers x seeds of one variant, in one process.

    python -m pipeline.study <variant>

Writes `data/study/<variant>/results.csv` (a row a cell) and `history.csv` (a row an epoch).
"""

import logging
import sys
from typing import Any

import pyarrow as pa

from model.fitting import SELECTION
from model.variants import VARIANTS
from pipeline import paths
from pipeline.device import keep_freed_memory
from pipeline.files import InputError, run, write_csv
from pipeline.params import Params, load
from pipeline.train import Dataset, load_dataset, train_cell

log = logging.getLogger("study")

HISTORY_COLUMNS = ("epoch", "train_loss", "validation_loss", SELECTION, "alpha")


def study(
    dataset: Dataset, params: Params, variant: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """One row a cell with its validation and test metrics, and one row an epoch of each cell."""
    results, history = [], []
    for layers in params.study.layers:
        for seed in params.study.seeds:
            name = {"variant": variant, "layers": layers, "seed": seed}
            cell = train_cell(
                dataset, params, variant, layers, seed, f"{variant} K={layers} {seed}"
            )
            flat = {
                f"{split}_{metric}": value
                for split, metrics in cell.metrics.items()
                for metric, value in metrics.items()
            }
            results.append(
                name | {"best_epoch": cell.fit.best_epoch, "alpha": cell.model.alpha} | flat
            )
            history += [name | {c: row.get(c) for c in HISTORY_COLUMNS} for row in cell.fit.history]
    return results, history


def main() -> None:
    params = load()
    if len(sys.argv) != 2 or sys.argv[1] not in VARIANTS:
        raise InputError(f"usage: python -m pipeline.study {{{','.join(VARIANTS)}}}")
    variant = sys.argv[1]
    keep_freed_memory()
    results, history = study(load_dataset(), params, variant)
    folder = paths.STUDY / variant
    write_csv(folder / "results.csv", pa.Table.from_pylist(results))
    write_csv(folder / "history.csv", pa.Table.from_pylist(history))
    log.info(
        "%s: %d models, mean test NDCG@10 %s",
        variant,
        len(results),
        ", ".join(f"{_mean(results, layers):.4f} (K={layers})" for layers in params.study.layers),
    )


def _mean(results: list[dict[str, Any]], layers: int) -> float:
    values = [r[f"test_{SELECTION}"] for r in results if r["layers"] == layers]
    return float(sum(values) / len(values))


if __name__ == "__main__":
    run(main)
