"""Cells: fitted and evaluated models by content. What was fitted once is not fitted again.

A cell is one system on one dataset with one seed. It is kept outside DVC's outs, which DVC removes
before a stage runs, in a file named by a hash of everything that it depends on: `train` and every
study share what is there, and a killed study loses the epochs since its last checkpoint.

Where all cells are there, torch is not imported.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open
from tqdm import tqdm

from model.config import Config, System
from model.metrics import SELECTION
from model.variants import VARIANTS, module_of, variant_class
from pipeline import paths
from pipeline.checkpoint import Checkpoint
from pipeline.device import card, resolve_device
from pipeline.files import InputError, atomic_write
from pipeline.fingerprint import code_sha256, digest
from pipeline.params import Params
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from model.experiment import Dataset
    from model.fitting import Row
    from model.recommender import Recommender

log = logging.getLogger("cells")

# Declarations: the values that a cell was made with are in its fingerprint one by one.
DECLARATIONS = ("model.config",)


@dataclass(frozen=True)
class Experiment:
    """What a cell is made of, besides the data.

    Attributes:
        system: its name.
        layers: as asked for, also where the system does not read it.
        config: only what the system reads, the rest at its defaults.
        seed, device: `device` is cpu or cuda.
    """

    system: str
    layers: int
    config: Config
    seed: int
    device: str

    @classmethod
    def of(cls, params: Params, system: str, layers: int, seed: int) -> Experiment:
        """By params.yaml, but for system, depth and seed."""
        config = Config(
            layers,
            params.train,
            params.systems,
            params.aggregate,
            params.propagation,
            params.projection,
            params.protocol,
        )
        return cls(system, layers, config.for_system(system), seed, resolve_device(params.device))

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.system} K={self.layers} {self.seed}"

    @property
    def options(self) -> System:
        """The system's own parameters, and what it declares to read."""
        options: System = getattr(self.config.systems, self.system)
        return options

    def fingerprint(self, workspace: Workspace) -> str:
        """Hexadecimal sha256 of everything that the cell depends on."""
        hashes = workspace.hashes
        module = module_of(self.system)
        return digest(
            {
                "system": [module, VARIANTS[self.system]],
                "parameters": asdict(self.config),
                "seed": self.seed,
                "data": {n: h for n, h in hashes.items() if n != "content" or self.options.content},
                "code": code_sha256(module, "model.experiment", apart_from=DECLARATIONS),
                "libraries": {"torch": version("torch")},
                "device": [self.device, card(self.device)],
            }
        )

    def dataset(self, workspace: Workspace) -> Dataset:
        """What the system is given of the workspace."""
        from model.experiment import Dataset
        from model.recommender import Catalogue

        whole = workspace.dataset
        if self.options.content:
            return whole
        return Dataset(Catalogue(whole.catalogue.train), whole.validation, whole.test)


@dataclass(frozen=True)
class Cell:
    """A fitted and evaluated model.

    Attributes:
        experiment, path: what it is of, and the file that holds its parameters.
        history: one row an epoch (`model.fitting.Fitter`).
        best_epoch: the epoch whose parameters these are.
        alpha: the learned weight of the collaborative embedding, where the system has one.
        metrics: split → name@k → mean over users.
        fresh: whether it was fitted just now.
    """

    experiment: Experiment
    path: Path
    history: list[Row]
    best_epoch: int
    alpha: float | None
    metrics: dict[str, dict[str, float]]
    fresh: bool = field(compare=False)

    def model(self, workspace: Workspace) -> Recommender:
        """The fitted model, ready to score."""
        import torch
        from safetensors.torch import load_file

        from model.experiment import build

        e = self.experiment
        catalogue = e.dataset(workspace).catalogue
        model = build(variant_class(e.system), catalogue, e.config, e.seed)
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, value in load_file(self.path).items():
                parameters[name].copy_(value)
        return model.to(e.device).eval()


def cell_path(fingerprint: str) -> Path:
    """Where the cell of that fingerprint is kept."""
    return paths.of_repository(paths.CELLS) / f"{fingerprint[:32]}.safetensors"


def fit_path(fingerprint: str) -> Path:
    """Where the state of its fit is kept while that is under way."""
    return paths.of_repository(paths.FITS) / f"{fingerprint[:32]}.safetensors"


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


def _fit(experiment: Experiment, dataset: Dataset, path: Path, checkpoint: Checkpoint) -> None:
    """Fit, going on where an earlier run was cut off; evaluate; write the cell."""
    import torch
    from safetensors.torch import save

    from model.experiment import evaluate_splits, fitter_of
    from model.fitting import Diverged

    fitter = fitter_of(
        variant_class(experiment.system),
        dataset,
        experiment.config,
        experiment.seed,
        torch.device(experiment.device),
    )
    if (state := checkpoint.load()) is not None:
        fitter.restore(state)
    with tqdm(
        total=experiment.config.train.epochs,
        initial=len(fitter.history),
        desc=experiment.label,
        unit="epoch",
        disable=None,
        leave=False,
    ) as bar:

        def show(row: Row, seconds: float) -> None:
            bar.set_postfix(
                loss=row["train_loss"], ndcg=row.get(str(SELECTION), float("nan")), seconds=seconds
            )
            bar.update()

        try:
            fit = fitter.run(show, checkpoint.save)
        except Diverged as error:
            checkpoint.remove()
            raise InputError(_advice(experiment, dataset, error)) from error
    described = {
        "history": fit.history,
        "best_epoch": fit.best_epoch,
        "alpha": fitter.model.alpha,
        "metrics": evaluate_splits(dataset, fit.users, fit.items),
    }
    parameters = {n: p.detach().cpu().contiguous() for n, p in fitter.parameters.items()}
    # One metadata key: safetensors does not keep the order of several.
    atomic_write(path, save(parameters, metadata={"cell": json.dumps(described)}))
    checkpoint.remove()


def _advice(experiment: Experiment, dataset: Dataset, error: ArithmeticError) -> str:
    """What happened, with the values that may be its cause."""
    group, rate = "train", experiment.config.train.learning_rate
    if hasattr(experiment.options, "learning_rate"):
        group, rate = f"systems.{experiment.system}", experiment.options.learning_rate
    message = f"{experiment.label} diverged: {error}. Try a lower {group}.learning_rate ({rate:g})"
    largest = {m.name: float(m.vectors.abs().max()) for m in dataset.catalogue.modalities}
    if largest:
        shown = ", ".join(f"{name} {value:.3g}" for name, value in largest.items())
        message += f"; or look at the features: their largest values are {shown}"
    return message
