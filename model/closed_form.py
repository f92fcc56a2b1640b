"""Systems without gradients: a formula, or a few alternating ones, over the interactions."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from model.config import Config
from model.dataset import Catalogue, Dataset
from model.evaluation import validated
from model.system import Diverged, Fit, Row, Run, System

if TYPE_CHECKING:
    from model.ranking import Scorer


class ClosedForm(System):
    """A system that is solved rather than trained; subclasses give `solve` and `folding`.

    What a user is to it is a history: one is as good as another, fitted on or not.

    Attributes:
        catalogue: what it was built on; its training interactions are the users' histories.
        fitted: what `solve` returned, by name.
    """

    def __init__(self, catalogue: Catalogue, config: Config[Any]) -> None:
        super().__init__(catalogue, config)
        self.catalogue = catalogue
        self.fitted: dict[str, Tensor] = {}

    @abstractmethod
    def solve(self, seed: int) -> dict[str, Tensor]:
        """The system's state, from the catalogue alone."""

    def solved(self, seed: int, epoch: int = 1) -> dict[str, Tensor]:
        """What `solve` returns. Raises `Diverged` unless it is finite."""
        made = self.solve(seed)
        for name, tensor in made.items():
            total = float(tensor.sum(dtype=torch.float64))  # which float32 cannot overflow
            if not isfinite(total):
                raise Diverged(f"epoch {epoch}: {name}: no longer finite ({total})")
        return made

    def to(self, device: torch.device) -> Self:
        train = self.catalogue.train.to(device)
        self.catalogue = Catalogue(train, self.catalogue.modalities)
        self.fitted = {name: tensor.to(device) for name, tensor in self.fitted.items()}
        return self

    def fit(self, dataset: Dataset, run: Run) -> Fit:
        start = time.perf_counter()
        self.fitted = self.solved(run.seed)
        row: Row = {"epoch": 1}
        if len(dataset.validation):
            row |= validated(self.scorer(), dataset.catalogue.train, dataset.validation)
        run.on_epoch(row, time.perf_counter() - start)
        return Fit([row], 1)

    def scorer(self) -> Scorer:
        return self.folding()(self.catalogue.train)

    def state(self) -> dict[str, Tensor]:
        return self.fitted

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.fitted = dict(state)
