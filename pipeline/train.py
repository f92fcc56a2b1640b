"""Stage `train`: one model by the top-level parameters, its history and its test metrics.

    python -m pipeline.train

Reads `data/prepared/` and `data/embeddings/`; writes the model, its metrics to
`data/models/results.csv` and the few that people compare to `reports/metrics.json`, and
`reports/history.csv`. What a study has fitted already is not fitted again (`pipeline.cells`).
"""

import json
import logging
from dataclasses import asdict

import torch
from safetensors.torch import save

from model.metrics import SELECTION
from pipeline import paths
from pipeline.cells import Experiment, cell_of
from pipeline.device import keep_freed_memory
from pipeline.experiments.results import RESULT, headlines, results_of, write_rows
from pipeline.files import atomic_write, run
from pipeline.params import load
from pipeline.workspace import Workspace

log = logging.getLogger("train")


def main() -> None:
    params = load()
    keep_freed_memory()
    workspace = Workspace()
    cell = cell_of(Experiment.of(params, params.fusion, params.layers, params.seed), workspace)
    model = cell.model(workspace)
    with torch.inference_mode():
        users, items = model()
    tensors = model.state_dict() | {"users": users, "items": items}
    description = {
        "fusion": params.fusion,
        "layers": params.layers,
        "modalities": [m.name for m in cell.experiment.dataset(workspace).catalogue.modalities],
        "train": asdict(params.train),
        "options": asdict(getattr(params.systems, params.fusion)),
        "seed": params.seed,
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
    results = results_of(cell)
    write_rows(paths.RESULTS, results, RESULT)
    dataset = json.loads(paths.SUMMARY.read_text())["dataset"]
    compared = {"dataset": dataset} | headlines(results)
    atomic_write(paths.METRICS, json.dumps(compared, indent=2) + "\n")
    history = [{name: round(value, 6) for name, value in row.items()} for row in cell.history]
    write_rows(paths.HISTORY, history, ("epoch",))
    log.info(
        "%s, %d layers, %s: best epoch %d of %d, NDCG@10 %s",
        params.fusion,
        params.layers,
        "fitted" if cell.fresh else "fitted before",
        cell.best_epoch,
        len(cell.history),
        ", ".join(
            f"{split} {metrics[str(SELECTION)]:.4f}" for split, metrics in cell.metrics.items()
        ),
    )


if __name__ == "__main__":
    run(main)
