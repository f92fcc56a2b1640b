"""A cell is fitted, evaluated and written; a refit, from what is kept of its strict part."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from model.config import REFIT, flatten
from model.metrics import SELECTION
from pipeline.common.device import peak_memory, reset_peak_memory
from pipeline.common.files import InputError, atomic_write
from pipeline.common.progress import Progress
from pipeline.experiments.checkpoint import Checkpoint
from pipeline.experiments.experiment import Experiment
from pipeline.experiments.judged import JUDGED, judged_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from model.dataset import Dataset
    from model.evaluation import Evaluation
    from model.system import Fit, Row, System

log = logging.getLogger("cells")

Costs = dict[str, float]
"""`seconds`, and `megabytes` at most beyond what the process held."""


def costs_path(path: Path) -> Path:
    """Where it says what a cell took: its `Costs`."""
    return path.with_suffix(".json")


def read_costs(path: Path) -> Costs:
    """What a cell took."""
    costs: Costs = json.loads(costs_path(path).read_text())
    return costs


def fit_cell(experiment: Experiment, whole: Dataset, path: Path, checkpoint: Checkpoint) -> None:
    """Fit, going on where an earlier run was cut off; evaluate; write the cell."""
    from model.experiment import evaluate_splits

    system, told, dataset, held = _fitted(experiment, whole, checkpoint)
    found = evaluate_splits(dataset, system.scorer())
    state = system.whole_state(dataset.catalogue.train.share)
    if state is None:  # another process has it
        return
    described = {
        "history": told.history,
        "best_epoch": told.best_epoch,
        "limited": told.limited,
        "chosen": told.chosen,
        "diagnostics": system.diagnostics(),
        "results": [row for split, evaluation in found.items() for row in _rows(split, evaluation)],
        "measures": next((list(evaluation.users) for evaluation in found.values()), []),
    }
    judged: dict[str, Tensor] = {}
    for split, evaluation in found.items():
        judged |= judged_tensors(split, getattr(whole, split), evaluation)
    _write(path, state, judged, described, _costs(experiment, checkpoint, held))


def refit_cell(
    experiment: Experiment, whole: Dataset, strict: Path, path: Path, checkpoint: Checkpoint
) -> None:
    """Fit once more what validation chose; evaluate on test; write the cell.

    All else in it is its strict part's: history, results, every user's values.

    Args:
        whole: with nothing left to select by.
        strict: the file of the strict part's cell.
    """
    from model.experiment import evaluate_splits

    ranks, described = checkpoint.ranks, dict[str, Any]()
    judged: dict[str, Tensor] = {}
    if ranks is None or ranks.rank == 0:
        with safe_open(strict, framework="pt") as file:
            described = json.loads(file.metadata()["cell"])
            names = [name for name in file.keys() if name.startswith(JUDGED)]  # noqa: SIM118
            judged = {name: file.get_tensor(name) for name in names}
    chosen = described.get("chosen")
    chosen = chosen if ranks is None else ranks.agreed(chosen)
    system, _, dataset, held = _fitted(experiment, whole, checkpoint, chosen)
    tested = evaluate_splits(dataset, system.scorer()).get("test")
    state = system.whole_state(dataset.catalogue.train.share)
    if state is None:  # another process has it
        return
    if tested:
        described["results"] += _rows(REFIT, tested)
        judged |= judged_tensors(REFIT, whole.test, tested)
    before, after = read_costs(strict), _costs(experiment, checkpoint, held)
    both = {
        "seconds": round(before["seconds"] + after["seconds"], 3),
        "megabytes": max(before["megabytes"], after["megabytes"]),
    }
    _write(path, state, judged, described, both)


def _fitted(
    experiment: Experiment,
    whole: Dataset,
    checkpoint: Checkpoint,
    chosen: Mapping[str, float] | None = None,
) -> tuple[System, Fit, Dataset, int]:
    """The system, what fitting tells, the dataset on its device, and the memory held before.

    Of several processes, this one's part of it.
    """
    import torch

    from model.experiment import build, fit, system_class
    from model.system import Diverged, FitError, Run

    device = torch.device(experiment.device)
    if checkpoint.ranks is not None:
        whole = whole.of_rank(checkpoint.ranks)
    dataset = whole.to(device)
    config, resumed = experiment.config, checkpoint.load()
    held = reset_peak_memory(experiment.device)
    epochs, label = config.epochs, experiment.label
    if chosen is not None:
        epochs, label = int(chosen.get("epochs", 1)), f"{label}, refit"
    done = len(resumed.history) if resumed else 0
    with Progress(epochs, label, "epochs", log, done, most=chosen is None) as progress:

        def show(row: Row, seconds: float) -> None:
            shown = {"loss": row.get("train_loss"), str(SELECTION): row.get(str(SELECTION))}
            progress.update(**{k: v for k, v in shown.items() if v is not None})

        run = Run(experiment.seed or 0, resumed, show, checkpoint.save, chosen)
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
    return system, told, dataset, held


def _rows(split: str, found: Evaluation) -> list[dict[str, Any]]:
    """What `Cell.results` has of a split."""
    return [
        {"split": split, "metric": measure.metric, "k": measure.k, "value": value}
        for measure, value in found.values().items()
    ]


def _costs(experiment: Experiment, checkpoint: Checkpoint, held: int) -> Costs:
    return {
        "seconds": round(checkpoint.seconds, 3),
        "megabytes": round((peak_memory(experiment.device) - held) / 1e6, 1),
    }


def _write(
    path: Path,
    fitted: dict[str, Tensor],
    judged: dict[str, Tensor],
    described: dict[str, Any],
    costs: Costs,
) -> None:
    """Write a cell, and beside it what it took."""
    from safetensors.torch import save

    # In a file of their own: equal fits make equal cells, but never take equally long.
    atomic_write(costs_path(path), json.dumps(costs) + "\n")
    state = {name: t.detach().cpu().contiguous() for name, t in fitted.items()}
    state |= judged
    # One metadata key: safetensors does not keep the order of several.
    atomic_write(path, save(state, metadata={"cell": json.dumps(described)}))


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
    else:
        own_numbers = {
            key.removeprefix("options."): value
            for key, value in read.items()
            if key.startswith("options.") and isinstance(value, float)
        }
        shown = ", ".join(f"{name} ({value:g})" for name, value in own_numbers.items())
        message += f". Look at what systems.{experiment.system} has: {shown}"
    largest = {m.name: float(m.vectors.abs().max()) for m in dataset.catalogue.modalities}
    if largest:
        shown = ", ".join(f"{name} {value:.3g}" for name, value in largest.items())
        message += f"; or look at the features: their largest values are {shown}"
    return message
