"""Fits that outlive a kill: their state on disk, until they end.

Of several processes each keeps its own, and the one before until all have written theirs.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open

from pipeline.common.files import atomic_write

if TYPE_CHECKING:
    from model.ranks import Ranks
    from model.system import Snapshot

log = logging.getLogger("checkpoint")

SECONDS_BETWEEN = 30.0


class Checkpoint:
    """One fit's state in a file.

    Args:
        path: named by everything that the fit depends on, so that no other fit takes it up.
        ranks: the processes that fit together, if several.
    """

    def __init__(self, path: Path, ranks: Ranks | None = None) -> None:
        self.path, self.ranks = path, ranks
        self._saved = time.monotonic()
        self._start = self._saved

    @property
    def seconds(self) -> float:
        """How long the fit has taken, in this process and in those that were cut off."""
        return time.monotonic() - self._start

    def load(self) -> Snapshot | None:
        """The state of a fit that was cut off."""
        from model.system import Snapshot

        path = self._newest()
        if path is None:
            return None
        with safe_open(path, framework="pt") as file:
            described = json.loads(file.metadata()["fit"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self._start -= described["seconds"]
        log.info("going on after epoch %d (%s)", len(described["history"]), path)
        return Snapshot(tensors, described["history"], described["best_epoch"])

    def save(self, snapshot: Snapshot) -> None:
        """Write `snapshot` if the last one is older than `SECONDS_BETWEEN`."""
        from safetensors.torch import save

        due = time.monotonic() - self._saved >= SECONDS_BETWEEN
        if not (due if self.ranks is None else self.ranks.agreed(due)):
            return
        described = {
            "history": snapshot.history,
            "best_epoch": snapshot.best_epoch,
            "seconds": self.seconds,
        }
        tensors = {name: t.detach().cpu().contiguous() for name, t in snapshot.tensors.items()}
        path = self._path(len(snapshot.history))
        atomic_write(path, save(tensors, metadata={"fit": json.dumps(described)}))
        if self.ranks is not None:
            self.ranks.all(None)  # have written theirs
            for epoch, older in self._own().items():
                if epoch < len(snapshot.history):
                    older.unlink(missing_ok=True)
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Forget the state of a fit that has ended."""
        for path in self._own().values():
            path.unlink(missing_ok=True)

    def _path(self, epoch: int) -> Path:
        if self.ranks is None:
            return self.path
        whose = f"{self.ranks.rank}-of-{self.ranks.size}"
        return self.path.with_name(f"{self.path.stem}.{whose}.{epoch}{self.path.suffix}")

    def _own(self) -> dict[int, Path]:
        """Epoch → what this process wrote after it; epoch 0 if it does not say which."""
        if self.ranks is None:
            return {0: self.path} if self.path.is_file() else {}
        name = self._path(0).name.replace(".0.", ".*.")
        return {int(p.suffixes[-2][1:]): p for p in self.path.parent.glob(name)}

    def _newest(self) -> Path | None:
        """The last state that every process has."""
        own = self._own()
        everyone = [set(own)] if self.ranks is None else self.ranks.all(set(own))
        common = max(set.intersection(*everyone), default=None)
        for epoch, path in own.items():
            if epoch != common:  # not everybody has it: it is not to be mistaken for a later run's
                path.unlink(missing_ok=True)
        return None if common is None else own[common]
