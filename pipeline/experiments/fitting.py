"""A cell is fitted, evaluated and written."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from model.config import flatten
from model.metrics import SELECTION
from pipeline.common.device import peak_memory, reset_peak_memory
from pipeline.common.files import InputError, atomic_write
from pipeline.common.progress import Progress
from pipeline.experiments.checkpoint import Checkpoint
from pipeline.experiments.experiment import Experiment
from pipeline.experiments.judged import judged_tensors

if TYPE_CHECKING:
    from model.dataset import Dataset
    from model.system import Row

log = logging.getLogger("cells")


def costs_path(path: Path) -> Path:
    """Where it says what a cell took: `seconds`, and `megabytes` beyond what the process held."""
    return path.with_suffix(".json")


def fit_cell(experiment: Experiment, whole: Dataset, path: Path, checkpoint: Checkpoint) -> None:
    """Fit, going on where an earlier run was cut off; evaluate; write the cell."""
    import torch
    from safetensors.torch import save

    from model.experiment import build, evaluate_splits, fit, system_class
    from model.system import Diverged, FitError, Run

    device = torch.device(experiment.device)
    dataset = whole.to(device)
    config, resumed = experiment.config, checkpoint.load()
    held = reset_peak_memory(experiment.device)
    epochs, done = flatten(config).get("train.epochs", 1), len(resumed.history) if resumed else 0
    with Progress(epochs, experiment.label, "epochs", log, done, most=True) as progress:

        def show(row: Row, seconds: float) -> None:
            shown = {"loss": row.get("train_loss"), str(SELECTION): row.get(str(SELECTION))}
            progress.update(**{k: v for k, v in shown.items() if v is not None})

        run = Run(experiment.seed or 0, resumed, show, checkpoint.save)
        try:
            system = build(
                system_class(experiment.system),
                whole.catalogue,
                config,
                experiment.seed,
                experiment.control,
            )
            told = fit(system, dataset, run, device)
        except Diverged as error:
            checkpoint.remove()
            raise InputError(_advice(experiment, dataset, error)) from error
        except FitError as error:
            raise InputError(f"{experiment.label}: {error}") from error
    found = evaluate_splits(dataset, system.scorer())
    described = {
        "history": told.history,
        "best_epoch": told.best_epoch,
        "limited": told.limited,
        "diagnostics": system.diagnostics(),
        "results": [
            {"split": split, "metric": measure.metric, "k": measure.k, "value": value}
            for split, evaluation in found.items()
            for measure, value in evaluation.values().items()
        ],
        "measures": next((list(evaluation.users) for evaluation in found.values()), []),
    }
    costs = {
        "seconds": round(checkpoint.seconds, 3),
        "megabytes": round((peak_memory(experiment.device) - held) / 1e6, 1),
    }
    # In a file of their own: equal fits make equal cells, but never take equally long.
    atomic_write(costs_path(path), json.dumps(costs) + "\n")
    state = {name: t.detach().cpu().contiguous() for name, t in system.state().items()}
    state |= judged_tensors(dataset, found)
    # One metadata key: safetensors does not keep the order of several.
    atomic_write(path, save(state, metadata={"cell": json.dumps(described)}))
    checkpoint.remove()


def _advice(experiment: Experiment, dataset: Dataset, error: Exception) -> str:
    """What happened, with the values that may be its cause."""
    read = flatten(experiment.config)
    message = f"{experiment.label} diverged: {error}"
    for own, key in (
        ("options.learning_rate", f"systems.{experiment.system}.learning_rate"),
        ("train.learning_rate", "train.learning_rate"),
    ):
        if own in read:
            message += f". Try a lower {key} ({read[own]:g})"
            break
    largest = {m.name: float(m.vectors.abs().max()) for m in dataset.catalogue.modalities}
    if largest:
        shown = ", ".join(f"{name} {value:.3g}" for name, value in largest.items())
        message += f"; or look at the features: their largest values are {shown}"
    return message
