"""Which epoch of a fit is kept: validation decides, where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.config import PUBLISHED, Config
from model.metrics import SELECTION
from model.system import Row


class Selection:
    """Which epoch is kept, and when fitting ends.

    That of the best validation NDCG@10 so far, until `patience` epochs brought no better one; under
    protocol `published`, or without validation interactions, the last. Where the number of epochs
    was `chosen` before (`Run`), that many are run and the last is kept.
    """

    def __init__(
        self,
        config: Config[Any],
        epochs: int,
        n_validation: int,
        chosen: Mapping[str, float] | None = None,
    ) -> None:
        known = chosen or {}
        self.validated = chosen is None and config.protocol != PUBLISHED and n_validation > 0
        self.epochs = int(known.get("epochs", epochs))
        self.patience = config.train.patience if self.validated else epochs
        self.history: list[Row] = []
        self.best_epoch = 0

    @property
    def finished(self) -> bool:
        """Whether no epoch is left."""
        epoch = len(self.history)
        return epoch >= self.epochs or epoch - self.best_epoch >= self.patience

    @property
    def limited(self) -> bool:
        """Whether the number of epochs ended it while the best one was still recent.

        Recent is less than `patience` epochs ago, and in the second half.
        """
        epoch = len(self.history)
        waited, enough = epoch - self.best_epoch, min(self.patience, self.epochs / 2)
        return self.validated and epoch >= self.epochs and waited < enough

    @property
    def chosen(self) -> dict[str, float]:
        """What it comes to, as `Fit.chosen` has it."""
        return {"epochs": self.best_epoch}

    def improves(self, row: Row) -> bool:
        """Record an epoch; whether it is the one to keep so far."""
        key = str(SELECTION)
        self.history.append(row)
        best = self.history[self.best_epoch - 1] if self.best_epoch else None
        if self.validated and best is not None and row[key] <= best[key]:
            return False
        self.best_epoch = len(self.history)
        return True
