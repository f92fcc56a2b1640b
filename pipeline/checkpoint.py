"""Fits that survive a kill: their state on disk, found again by everything they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from model.config import Config
from model.fitting import State
from model.interactions import Interactions
from model.recommender import Catalogue
from pipeline import paths
from pipeline.files import atomic_write

log = logging.getLogger("checkpoint")

SECONDS_BETWEEN = 30.0
MODEL_CODE = Path(__file__).parents[1] / "model"


class Checkpoint:
    """One fit's state, outside DVC's outs, which DVC removes before a stage runs.

    The file's name is a hash of configuration, seed, data, code, device and torch's version: a
    state is never taken up by a fit that would have gone another way. Nothing is hashed before
    there is a state to look for or to save.
    """

    def __init__(
        self,
        variant: str,
        config: Config,
        seed: int,
        catalogue: Catalogue,
        validation: Interactions,
        device: torch.device,
    ) -> None:
        self.folder = paths.of_repository(paths.FITS)
        self._depends_on = variant, config, seed, device.type, torch.__version__
        self._catalogue, self._validation = catalogue, validation
        self._path: Path | None = None
        self._saved = time.monotonic()

    @property
    def path(self) -> Path:
        """Where this fit's state is, if there is one."""
        if self._path is None:
            self._path = self.folder / f"{self._fingerprint()}.safetensors"
        return self._path

    def load(self) -> State | None:
        """The state of a fit that was cut off."""
        if not self.folder.is_dir() or not any(self.folder.iterdir()) or not self.path.is_file():
            return None
        with safe_open(self.path, framework="pt") as file:
            described = json.loads(file.metadata()["fit"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        log.info("going on after epoch %d (%s)", len(described["history"]), self.path)
        return State(tensors, described["history"], described["best_epoch"])

    def save(self, state: State) -> None:
        """Write `state` if the last one is older than `SECONDS_BETWEEN`."""
        if time.monotonic() - self._saved < SECONDS_BETWEEN:
            return
        described = {"history": state.history, "best_epoch": state.best_epoch}
        tensors = {name: t.detach().cpu().contiguous() for name, t in state.tensors.items()}
        atomic_write(self.path, save(tensors, metadata={"fit": json.dumps(described)}))
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Forget the state of a fit that has ended."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(repr(self._depends_on).encode())
        for file in sorted(MODEL_CODE.rglob("*.py")):
            digest.update(file.read_bytes())
        for split in (self._catalogue.train, self._validation):
            for tensor in (split.offsets, split.items):
                digest.update(tensor.numpy().tobytes())
        for modality in self._catalogue.modalities:
            digest.update(modality.name.encode())
            for tensor in (modality.vectors, modality.present):
                digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()[:32]
