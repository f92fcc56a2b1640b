"""Cells: fitted and evaluated models by content. What was fitted once is not fitted again.

A cell is one system on one dataset with one seed. It is kept outside DVC's outs, which DVC removes
before a stage runs, in a file named by a hash of everything that it depends on: `train` and every
study share what is there, and a killed study loses the epochs since its last checkpoint.

Where all cells are there, torch is not imported.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from model.config import Config, flatten, keys_read
from model.metrics import SELECTION, Measure
from model.systems import module_of
from pipeline.catalogue.workspace import Workspace
from pipeline.common import paths
from pipeline.common.device import card, resolve_device
from pipeline.common.files import InputError, atomic_write
from pipeline.common.fingerprint import code_sha256, digest
from pipeline.common.params import Params
from pipeline.common.progress import Progress
from pipeline.experiments.checkpoint import Checkpoint

if TYPE_CHECKING:
    from model.dataset import Dataset
    from model.experiment import Result
    from model.system import Row, System

log = logging.getLogger("cells")

# Declarations: the values that a cell was made with are in its fingerprint one by one.
DECLARATIONS = ("model.config", "model.systems")


@dataclass(frozen=True)
class Experiment:
    """What a cell is made of, besides the data.

    Attributes:
        system: its name.
        config: what the system reads, and nothing else.
        layers, seed: None where the system does not read them.
        device: cpu or cuda.
    """

    system: str
    config: Config[Any]
    layers: int | None
    seed: int | None
    device: str

    @classmethod
    def of(cls, params: Params, system: str, layers: int | None, seed: int | None) -> Experiment:
        """By params.yaml, but for system, depth and seed."""
        options = params.systems[system]
        values = params.shared() | {"layers": layers, "seed": seed}
        read = keys_read(options, values)
        return cls(
            system,
            Config.of(options, values),
            layers if "layers" in read else None,
            seed if "seed" in read else None,
            resolve_device(params.device),
        )

    @property
    def label(self) -> str:
        """For people."""
        depth = "" if self.layers is None else f" K={self.layers}"
        return self.system + depth + ("" if self.seed is None else f" seed {self.seed}")

    def fingerprint(self, workspace: Workspace) -> str:
        """Hexadecimal sha256 of everything that the cell depends on."""
        hashes = workspace.hashes
        module = module_of(self.system)
        content = self.config.options.content
        return digest(
            {
                "system": self.system,
                "parameters": self.config.record(),
                "seed": self.seed,
                "data": {n: h for n, h in hashes.items() if n != "content" or content},
                "code": code_sha256(module, "model.experiment", apart_from=DECLARATIONS),
                "libraries": {"torch": version("torch")},
                "device": [self.device, card(self.device)],
            }
        )

    def dataset(self, workspace: Workspace) -> Dataset:
        """What the system is given of the workspace."""
        from model.dataset import Catalogue, Dataset

        whole = workspace.dataset
        if self.config.options.content:
            return whole
        return Dataset(Catalogue(whole.catalogue.train), whole.validation, whole.test)


def grid_of(params: Params, system: str) -> list[tuple[int | None, int | None]]:
    """(layers, seed) of the cells that a study of `system` has; None for what it does not read."""
    read = params.systems[system].reads
    depths: list[int | None] = [*params.study.layers] if "layers" in read else [None]
    seeds: list[int | None] = [*params.study.seeds] if "seed" in read else [None]
    return [(layers, seed) for layers in depths for seed in seeds]


@dataclass(frozen=True)
class Cell:
    """A fitted and evaluated model.

    Attributes:
        experiment, path: what it is of, and the file that holds its state.
        history: one row an epoch.
        best_epoch: the epoch whose state this is.
        diagnostics: the system's own, by name.
        results: one row a split, metric and k: `split`, `metric`, `k`, `value`.
        fresh: whether it was fitted just now.
    """

    experiment: Experiment
    path: Path
    history: list[Row]
    best_epoch: int
    diagnostics: dict[str, float]
    results: list[Result]
    fresh: bool = field(compare=False)

    def value(self, split: str, measure: Measure) -> float | None:
        """One of the results; None where there is no such split."""
        key = (split, *measure)
        found = (r["value"] for r in self.results if (r["split"], r["metric"], r["k"]) == key)
        return next(found, None)

    def model(self, workspace: Workspace) -> System:
        """The fitted system, ready to score."""
        import torch
        from safetensors.torch import load_file

        from model.experiment import build, system_class

        e = self.experiment
        catalogue = e.dataset(workspace).catalogue
        model = build(system_class(e.system), catalogue, e.config, e.seed)
        model.load(load_file(self.path))
        return model.to(torch.device(e.device))


def cell_path(fingerprint: str) -> Path:
    """Where the cell of that fingerprint is kept."""
    return paths.of_repository(paths.CELLS) / f"{fingerprint[:32]}.safetensors"


def fit_path(fingerprint: str) -> Path:
    """Where the state of its fit is kept while that is under way."""
    return paths.of_repository(paths.FITS) / f"{fingerprint[:32]}.safetensors"


def is_fitted(experiment: Experiment, workspace: Workspace) -> bool:
    """Whether the cell of `experiment` is kept."""
    return cell_path(experiment.fingerprint(workspace)).is_file()


def cell_of(experiment: Experiment, workspace: Workspace) -> Cell:
    """The cell of `experiment`: what is kept, or else fitted now.

    Raises:
        InputError: the fit diverged; nothing of it is kept.
    """
    print_ = experiment.fingerprint(workspace)
    path = cell_path(print_)
    fresh = not path.is_file()
    if fresh:
        _fit(experiment, experiment.dataset(workspace), path, Checkpoint(fit_path(print_)))
    with safe_open(path, framework="numpy") as file:
        described = json.loads(file.metadata()["cell"])
    return Cell(experiment, path, **described, fresh=fresh)


def _fit(experiment: Experiment, whole: Dataset, path: Path, checkpoint: Checkpoint) -> None:
    """Fit, going on where an earlier run was cut off; evaluate; write the cell."""
    import torch
    from safetensors.torch import save

    from model.experiment import build, evaluate_splits, fit, system_class
    from model.system import Diverged, FitError, Run

    device = torch.device(experiment.device)
    dataset = whole.to(device)
    config, resumed = experiment.config, checkpoint.load()
    epochs, done = flatten(config).get("train.epochs", 1), len(resumed.history) if resumed else 0
    with Progress(epochs, experiment.label, "epochs", log, done, most=True) as progress:

        def show(row: Row, seconds: float) -> None:
            shown = {"loss": row.get("train_loss"), str(SELECTION): row.get(str(SELECTION))}
            progress.update(**{k: v for k, v in shown.items() if v is not None})

        run = Run(experiment.seed or 0, resumed, show, checkpoint.save)
        try:
            system = build(
                system_class(experiment.system), whole.catalogue, config, experiment.seed
            )
            told = fit(system, dataset, run, device)
        except Diverged as error:
            checkpoint.remove()
            raise InputError(_advice(experiment, dataset, error)) from error
        except FitError as error:
            raise InputError(f"{experiment.label}: {error}") from error
    described = {
        "history": told.history,
        "best_epoch": told.best_epoch,
        "diagnostics": system.diagnostics(),
        "results": evaluate_splits(dataset, system.scorer()),
    }
    state = {name: t.detach().cpu().contiguous() for name, t in system.state().items()}
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
