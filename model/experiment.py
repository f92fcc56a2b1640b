"""One experiment: a system built and fitted on a dataset, and evaluated on its splits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.config import Config
from model.fitting import Fitter
from model.interactions import Interactions
from model.metrics import evaluate
from model.recommender import Catalogue, Recommender


@dataclass(frozen=True)
class Dataset:
    """A catalogue and what is to be predicted of it."""

    catalogue: Catalogue
    validation: Interactions
    test: Interactions

    def to(self, device: torch.device) -> Dataset:
        """The interactions on `device`; content stays where it is, models bring theirs along."""
        catalogue = Catalogue(self.catalogue.train.to(device), self.catalogue.modalities)
        return Dataset(catalogue, self.validation.to(device), self.test.to(device))


def build(
    system: type[Recommender], catalogue: Catalogue, config: Config, seed: int
) -> Recommender:
    """A model with its initial weights, on the CPU: every device starts from the same numbers."""
    torch.manual_seed(seed)
    return system(catalogue, config)


def fitter_of(
    system: type[Recommender], dataset: Dataset, config: Config, seed: int, device: torch.device
) -> Fitter:
    """What fits a `system` on `device`: the same arguments, the same numbers."""
    model = build(system, dataset.catalogue, config, seed).to(device)
    data = dataset.to(device)
    return Fitter(model, data.catalogue.train, data.validation, config, seed)


def evaluate_splits(dataset: Dataset, users: Tensor, items: Tensor) -> dict[str, dict[str, float]]:
    """Validation and test metrics, means over users; no entry for a split that is empty.

    Nobody is recommended what the split before has: validation is ranked without the training
    items, test without those and the validation items.

    Args:
        users, items: (U, D) and (I, D), final embeddings.

    Returns:
        split → name@k → mean.
    """
    data = dataset.to(users.device)
    train, validation = data.catalogue.train, data.validation
    splits = {"validation": (train, validation), "test": (train | validation, data.test)}
    result = {}
    for name, (seen, relevant) in splits.items():
        if len(relevant):
            found = evaluate(
                lambda u: users[u] @ items.T,
                seen=seen,
                relevant=relevant,
                popularity=torch.bincount(train.items, minlength=train.n_items),
            )
            result[name] = {str(m): v for m, v in found.values().items()}
    return result
