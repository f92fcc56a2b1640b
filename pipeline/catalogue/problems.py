"""What is wrong with a catalogue, gathered, so that its owner hears of all of it at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.common.files import InputError


class Problems:
    """Messages, each of which names a file, a row or value, and what is valid."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, message: str) -> None:
        """One more."""
        self.found.append(message)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Take what stops the block as one of them."""
        try:
            yield
        except InputError as error:
            self.add(str(error))

    def refuse(self) -> None:
        """InputError with all of them, if there is any."""
        if len(self.found) == 1:
            raise InputError(self.found[0])
        if self.found:
            raise InputError("\n  ".join([f"{len(self.found)} things are wrong:", *self.found]))
