"""Fits that outlive a kill: their state on disk, until they end."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open

from pipeline.common.files import atomic_write

if TYPE_CHECKING:
    from model.system import Snapshot

log = logging.getLogger("checkpoint")

SECONDS_BETWEEN = 30.0


class Checkpoint:
    """One fit's state in a file.

    Args:
        path: named by everything that the fit depends on, so that no other fit takes it up.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._saved = time.monotonic()
        self._start = self._saved

    @property
    def seconds(self) -> float:
        """How long the fit has taken, in this process and in those that were cut off."""
        return time.monotonic() - self._start

    def load(self) -> Snapshot | None:
        """The state of a fit that was cut off."""
        from model.system import Snapshot

        if not self.path.is_file():
            return None
        with safe_open(self.path, framework="pt") as file:
            described = json.loads(file.metadata()["fit"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self._start -= described["seconds"]
        log.info("going on after epoch %d (%s)", len(described["history"]), self.path)
        return Snapshot(tensors, described["history"], described["best_epoch"])

    def save(self, snapshot: Snapshot) -> None:
        """Write `snapshot` if the last one is older than `SECONDS_BETWEEN`."""
        from safetensors.torch import save

        if time.monotonic() - self._saved < SECONDS_BETWEEN:
            return
        described = {
            "history": snapshot.history,
            "best_epoch": snapshot.best_epoch,
            "seconds": self.seconds,
        }
        tensors = {name: t.detach().cpu().contiguous() for name, t in snapshot.tensors.items()}
        atomic_write(self.path, save(tensors, metadata={"fit": json.dumps(described)}))
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Forget the state of a fit that has ended."""
        self.path.unlink(missing_ok=True)
