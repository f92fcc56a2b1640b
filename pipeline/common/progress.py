"""How far long work has come: a bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Any

from tqdm import tqdm

FIRST = 3.0  # seconds after which there is something to say
EVERY = 30.0  # seconds between lines of a log
now = time.monotonic


class Progress:
    """`total` units of work, `done` of them; `update` says so where it is time to.

    Args:
        total: how many units there are.
        what: is done, the line's first word.
        unit: of it, in the plural.
        log: where lines go if standard error is no terminal, as under `dvc exp run`.
        done: how many an earlier run has done.
        most: whether there may be fewer in the end, so that what is left is left at most.
    """

    def __init__(
        self,
        total: int,
        what: str,
        unit: str,
        log: logging.Logger,
        done: int = 0,
        most: bool = False,
    ) -> None:
        self.total, self.what, self.unit, self.log = total, what, unit, log
        self.done, self.before, self.began = done, done, now()
        self.most = " at most" if most else ""
        self.said = self.began + FIRST - EVERY
        self.bar: Any = None
        if sys.stderr.isatty() and not _silent:
            self.bar = tqdm(total=total, initial=done, desc=what, unit=f" {unit}", leave=False)

    def update(self, n: int = 1, /, **shown: float) -> None:
        """`n` more units are done; `shown` are figures beside them."""
        self.done += n
        if self.bar is not None:
            self.bar.set_postfix(shown, refresh=False)
            self.bar.update(n)
        elif self.done < self.total and now() - self.said >= EVERY and not _silent:
            self.said = now()
            each = (self.said - self.began) / (self.done - self.before)
            figures = "".join(f", {name} {value:.4g}" for name, value in shown.items())
            self.log.info(
                "%s: %s of %s %s%s, about %s left%s",
                self.what, f"{self.done:,}", f"{self.total:,}", self.unit, figures,
                duration(each * (self.total - self.done)), self.most,
            )  # fmt: skip

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.close()


_silent = False


def silence() -> None:
    """Show nothing from here on, in a process whose work another one reports."""
    global _silent
    _silent = True


def duration(seconds: float) -> str:
    """As people say it: 40 s, 12 min, 3 h, 2 days."""
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(1, round(seconds))} s"
