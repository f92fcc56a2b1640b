"""What users liked, and what of it is not recommended again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from model.interactions import Interactions
from pipeline.common.files import InputError

HISTORY = ("train", "validation")
HIDDEN = {"history": HISTORY, "all": (*HISTORY, "test"), "nothing": ()}
"""What is not recommended again; `history` is what the evaluation on test hides."""


class Histories:
    """Interactions of all users.

    Args:
        splits: by name.
        n_items: of the catalogue, new items included.
        device: where they are to be.
    """

    def __init__(
        self, splits: Mapping[str, Interactions], n_items: int, device: torch.device
    ) -> None:
        moved = {name: split.to(device) for name, split in splits.items()}
        self.splits = {
            name: Interactions(s.offsets, s.users, s.items, n_items) for name, s in moved.items()
        }
        self._seen: dict[str, Interactions | None] = {}

    def of(self, user: int, names: Iterable[str] = ()) -> Tensor:
        """(n,) items of a user in some splits, `HISTORY` if none are named."""
        parts = []
        for name in tuple(names) or HISTORY:
            if name not in self.splits:
                raise InputError(f"split {name!r} is not valid; valid: {', '.join(self.splits)}")
            split = self.splits[name]
            parts.append(split.items[split.offsets[user] : split.offsets[user + 1]])
        return torch.cat(parts)

    def seen(self, hide: str) -> Interactions | None:
        """The interactions that `hide`, one of `HIDDEN`, stands for."""
        if hide not in HIDDEN:
            raise InputError(f"hide: {hide!r} is not valid; valid: {', '.join(HIDDEN)}")
        if hide not in self._seen:
            joined = None
            for name in HIDDEN[hide]:
                joined = self.splits[name] if joined is None else joined | self.splits[name]
            self._seen[hide] = joined
        return self._seen[hide]
