"""The systems that the page can ask: the trained model, and those of the study that are kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from model.systems import SYSTEMS
from pipeline.catalogue.workspace import Workspace
from pipeline.common import paths
from pipeline.common.files import InputError
from pipeline.common.params import Params
from pipeline.recommending import Recommender
from pipeline.recommending.studied import fitted_cells, studied

TRAINED = "trained"
OPEN = 4  # systems of the study that are kept open


class Models:
    """Systems by their keys, `TRAINED` or a system's name, each opened when it is first asked.

    Attributes:
        labels: key → what people call it.
        lock: to be held by who asks a recommender: one thread at a time, so that memory is bounded.

    Raises:
        InputError: there is none, or the trained model does not fit the catalogue.
    """

    def __init__(self, params: Params) -> None:
        self.params, self.lock = params, threading.RLock()
        self._open: OrderedDict[str, Recommender] = OrderedDict()
        self.workspace = Workspace()
        self.labels: dict[str, str] = {}
        self._trained: Recommender | None = None
        if paths.MODEL.is_file():
            self._trained = Recommender.open(device=params.device)
            self.workspace = self._trained.workspace
            self.labels[TRAINED] = f"{self._trained.description['system']} (the trained model)"
        kept = [name for name in SYSTEMS if fitted_cells(params, name, self.workspace)]
        self.labels |= {name: name for name in kept}
        if not self.labels:
            raise InputError(
                f"{paths.MODEL}: there is no trained model yet, and no study; run `dvc repro train`"
            )

    def __getitem__(self, key: str) -> Recommender:
        """InputError if there is no such system."""
        if key not in self.labels:
            raise InputError(f"system {key!r} is not there; valid: {', '.join(self.labels)}")
        if key == TRAINED and self._trained is not None:
            return self._trained
        with self.lock:
            if key not in self._open:
                self._open[key] = studied(self.params, key, self.workspace)
                if len(self._open) > OPEN:
                    self._open.popitem(last=False)
            self._open.move_to_end(key)
            return self._open[key]

    @property
    def any(self) -> Recommender:
        """One of them, for what all have: users, items, titles, content."""
        return self[next(iter(self.labels))]

    @property
    def other(self) -> str:
        """What the first is compared with at first: another system; empty if there is none."""
        first = self.any.description["system"]
        return next((key for key in self.labels if key not in (TRAINED, first)), "")


def described(description: Mapping[str, Any]) -> str:
    """A system with what it reads of depth and seed."""
    layers, seed = description.get("layers"), description.get("seed")
    depth = "" if layers is None else f", {layers} layer{'' if layers == 1 else 's'}"
    return f"{description['system']}{depth}" + ("" if seed is None else f", seed {seed}")
