"""Stage `train`: one model by the top-level parameters, its history and its test metrics.

    python -m pipeline.train

Reads `data/prepared/` and `data/embeddings/`; writes the model, its metrics to
`data/models/results.csv` and the few that people compare to `reports/metrics.json`, and
`reports/history.csv`. What a study has fitted already is not fitted again
(`pipeline.experiments.cells`).
"""

import json
import logging

from safetensors.torch import save

from model.config import REFIT
from model.metrics import SELECTION
from pipeline.catalogue.workspace import Workspace
from pipeline.common import paths
from pipeline.common.command import run_stage
from pipeline.common.device import reuse_freed_memory
from pipeline.common.files import atomic_write
from pipeline.common.params import load
from pipeline.experiments.cells import cell_of, is_fitted
from pipeline.experiments.experiment import NO_REFIT, Experiment
from pipeline.experiments.results import RESULT, Trial, headlines, write_judged, write_rows

log = logging.getLogger("train")


def main() -> None:
    params = load()
    reuse_freed_memory()
    if unread := params.unread(params.fusion):
        log.info("%s does not read %s", params.fusion, ", ".join(unread))
    workspace = Workspace()
    if params.protocol == REFIT and not workspace.has_validation:
        log.info(NO_REFIT)
    experiment = Experiment.trained(params)
    fresh = not is_fitted(experiment, workspace)
    if fresh:
        log.info("%s: to be fitted on %s", experiment.label, experiment.device)
        if params.world_size > 1:
            from pipeline import distributed

            distributed.start(params.world_size)
            if not is_fitted(experiment, workspace):
                raise RuntimeError(f"{experiment.label} was fitted, and its cell is not there")
    cell = cell_of(experiment, workspace)
    model = cell.model(workspace)
    tensors = model.state() | model.constants()
    if (embeddings := model.embeddings()) is not None:
        tensors |= dict(zip(("users", "items"), embeddings, strict=True))
    summary = json.loads(paths.SUMMARY.read_text())
    reads_content = experiment.config.options.content
    description = {
        **{name: summary[name] for name in ("dataset", "split", "ratings", "k_core")},
        "system": experiment.system,
        "layers": experiment.layers,
        "seed": experiment.seed,
        "modalities": [m.name for m in experiment.dataset(workspace).catalogue.modalities],
        "parameters": experiment.record(workspace),
        "best_epoch": cell.best_epoch,
        "data": workspace.hashes if reads_content else workspace.interaction_hashes,
    }
    # Each has memory of its own: without layers, `users` is `user_embedding`.
    # One metadata key: safetensors does not keep the order of several.
    atomic_write(
        paths.MODEL,
        save(
            {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
            metadata={"recommender": json.dumps(description)},
        ),
    )
    write_rows(paths.RESULTS, cell.results, RESULT)
    write_judged(
        paths.TRAINED_USERS, paths.TRAINED_LISTS, [Trial(params.fusion, None, cell, experiment)]
    )
    compared = headlines(summary["dataset"], cell.results)
    atomic_write(paths.METRICS, json.dumps(compared, indent=2) + "\n")
    history = [{name: round(value, 6) for name, value in row.items()} for row in cell.history]
    write_rows(paths.HISTORY, history, ("epoch",))
    shown = [
        f"{split} {value:.4f}"
        for split in dict.fromkeys(row["split"] for row in cell.results)
        if (value := cell.value(split, SELECTION)) is not None
    ]
    log.info(
        "%s, %s: best epoch %d of %d, NDCG@10 %s",
        experiment.label, "fitted" if fresh else "fitted before",
        cell.best_epoch, len(cell.history), ", ".join(shown) or "unknown: nothing to predict",
    )  # fmt: skip


if __name__ == "__main__":
    run_stage(main)
