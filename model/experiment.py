"""One experiment: a system built and fitted on a dataset, and evaluated on its splits."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

import torch

from model import memory
from model.config import Config, flatten
from model.controls import controlled
from model.dataset import Catalogue, Dataset
from model.evaluation import Evaluation, evaluate, gathered
from model.system import Fit, FitError, Run, System
from model.systems import module_of

if TYPE_CHECKING:
    from model.ranking import Scorer


def system_class(name: str) -> type[System]:
    """The class of a system, the one that its module defines."""
    module = importlib.import_module(module_of(name))
    own = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, System)
        if value.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise TypeError(f"{module.__name__}: one system is needed, there are {len(own)}")
    return own[0]


def build(
    system: type[System],
    catalogue: Catalogue,
    config: Config[Any],
    seed: int | None,
    control: str | None = None,
) -> System:
    """A system with its initial state, on the CPU: every device starts from the same numbers.

    Args:
        control: what is changed about it, by `model.controls`.

    FitError if the memory that its tables take is not there.
    """
    _require_memory(catalogue, config)
    given = controlled(catalogue, control, seed or 0)
    torch.manual_seed(seed or 0)
    built = system(given, config)
    if control == "unit_length":
        built.unit_length = True
    return built


def fit(system: System, dataset: Dataset, run: Run, device: torch.device) -> Fit:
    """Fit `system` in place on `device`."""
    return system.to(device).fit(dataset.to(device), run)


def _require_memory(catalogue: Catalogue, config: Config[Any]) -> None:
    """For the embeddings, and for those of a batch: the least that a system with them takes."""
    read = flatten(config)
    if dimension := read.get("train.dimension"):
        # Every process draws all users' rows, to keep its own.
        rows = catalogue.train.share.n_users + catalogue.n_items
        negatives = read.get("train.negatives", 0)
        batch = min(read.get("train.batch_size", 0), len(catalogue.train)) * (2 + negatives)
        needed = 4 * dimension * (rows + batch)
        there = memory.available(torch.device("cpu"))
        if needed > there:
            raise FitError(
                f"train.dimension: {dimension:,} for {rows:,} users and items"
                + (f" and batches with train.negatives: {negatives:,}" if negatives else "")
                + f" takes at least {needed / 1e9:,.1f} GB; {there / 1e9:.1f} GB are free"
            )


def evaluate_splits(dataset: Dataset, scorer: Scorer) -> dict[str, Evaluation]:
    """Validation and test by name; an empty split is left out.

    Nobody is recommended what the split before has: validation is ranked without the training
    items, test without those and the validation items.

    Args:
        dataset: on the scorer's device; of several processes, what this one has.

    Returns:
        Of all processes' users; nothing on any but the first process.
    """
    train, validation = dataset.catalogue.train, dataset.validation
    splits = {"validation": (train, validation), "test": (train | validation, dataset.test)}
    popularity = train.item_degrees()
    found = {
        name: evaluate(scorer, seen=seen, relevant=relevant, popularity=popularity)
        for name, (seen, relevant) in splits.items()
        if relevant.share.total
    }
    whole = {name: gathered(judged, train.share) for name, judged in found.items()}
    return {name: judged for name, judged in whole.items() if judged is not None}
