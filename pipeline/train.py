"""Stage `train`: one model by the top-level parameters, its history and its test metrics.

    python -m pipeline.train

Reads `data/prepared/` and `data/embeddings/`; writes the model, `reports/metrics.json` and
`reports/history.csv`. What a study has fitted already is not fitted again
(`pipeline.experiments.cells`).
"""

import json
import logging

import pyarrow as pa
from safetensors.torch import save

from model.metrics import SELECTION, Measure
from pipeline import paths
from pipeline.device import keep_freed_memory
from pipeline.experiments.cells import Experiment, cell_of
from pipeline.files import atomic_write, run, write_csv
from pipeline.params import load
from pipeline.workspace import Workspace

log = logging.getLogger("train")


def history_table(rows: list[dict[str, float]]) -> pa.Table:
    """The history as a table, numbers rounded to 6 digits."""
    return pa.table({name: [round(row[name], 6) for row in rows] for name in rows[0]})


def main() -> None:
    params = load()
    keep_freed_memory()
    if unread := params.unread(params.fusion):
        log.info("%s does not read %s", params.fusion, ", ".join(unread))
    workspace = Workspace()
    experiment = Experiment.of(params, params.fusion, params.layers, params.seed)
    cell = cell_of(experiment, workspace)
    model = cell.model(workspace)
    tensors = model.state() | model.constants()
    if (embeddings := model.embeddings()) is not None:
        tensors |= dict(zip(("users", "items"), embeddings, strict=True))
    description = {
        "system": experiment.system,
        "layers": experiment.layers,
        "seed": experiment.seed,
        "modalities": [m.name for m in experiment.dataset(workspace).catalogue.modalities],
        "parameters": experiment.config.record(),
        "best_epoch": cell.best_epoch,
    }
    # One metadata key: safetensors does not keep the order of several.
    atomic_write(
        paths.MODEL,
        save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            metadata={"recommender": json.dumps(description)},
        ),
    )
    rounded: dict[str, dict[str, float]] = {}
    for r in cell.results:
        measure = Measure(r["metric"], r["k"])
        rounded.setdefault(r["split"], {})[str(measure)] = round(r["value"], 6)
    atomic_write(paths.METRICS, json.dumps(rounded, indent=2) + "\n")
    write_csv(paths.HISTORY, history_table(cell.history))
    shown = ", ".join(f"{split} {values[str(SELECTION)]:.4f}" for split, values in rounded.items())
    log.info(
        "%s, %s: best epoch %d of %d, NDCG@10 %s",
        experiment.label, "fitted" if cell.fresh else "fitted before",
        cell.best_epoch, len(cell.history), shown,
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
