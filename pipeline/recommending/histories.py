"""What users liked, and what of it is not recommended again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_
from typing import Any

import torch
from torch import Tensor

from model.config import REFIT
from model.interactions import Interactions
from pipeline.common.files import InputError

HISTORY = ("train", "validation")
HIDDEN = {"history": HISTORY, "all": (*HISTORY, "test"), "nothing": ()}
"""What is not recommended again; `history` is what the evaluation on test hides."""


def fitted_on(description: Mapping[str, Any]) -> tuple[str, ...]:
    """The splits whose interactions a model was fitted on, by what its file says."""
    refitted = description["parameters"].get("protocol") == REFIT
    return HISTORY if refitted else ("train",)


def union(splits: Mapping[str, Interactions], names: Iterable[str]) -> Interactions:
    """The interactions of at least one split."""
    first, *others = (splits[name] for name in names)
    return reduce(or_, others, first)


class Histories:
    """Interactions of all users.

    Args:
        splits: by name.
        n_items: of the catalogue, new items included.
        device: where they are to be.
        fitted_on: the splits that the system knows.

    Attributes:
        fitted: what the system knows.
    """

    def __init__(
        self,
        splits: Mapping[str, Interactions],
        n_items: int,
        device: torch.device,
        fitted_on: Iterable[str] = ("train",),
    ) -> None:
        moved = {name: split.to(device) for name, split in splits.items()}
        self.splits = {
            name: Interactions(s.offsets, s.users, s.items, n_items) for name, s in moved.items()
        }
        self.fitted = union(self.splits, fitted_on)
        self._seen: dict[str, Interactions | None] = {}

    def of(self, user: int, names: Iterable[str] = ()) -> Tensor:
        """(n,) items of a user in some splits, `HISTORY` if none are named."""
        parts = []
        for name in tuple(names) or HISTORY:
            if name not in self.splits:
                raise InputError(f"split {name!r} is not valid; valid: {', '.join(self.splits)}")
            parts.append(_items(self.splits[name], user))
        return torch.cat(parts)

    def known(self, user: int) -> Tensor:
        """(n,) items of a user that the system knows."""
        return _items(self.fitted, user)

    def seen(self, hide: str) -> Interactions | None:
        """The interactions that `hide`, one of `HIDDEN`, stands for."""
        if hide not in HIDDEN:
            raise InputError(f"hide: {hide!r} is not valid; valid: {', '.join(HIDDEN)}")
        if hide not in self._seen:
            names = HIDDEN[hide]
            self._seen[hide] = union(self.splits, names) if names else None
        return self._seen[hide]


def _items(split: Interactions, user: int) -> Tensor:
    return split.items[split.offsets[user] : split.offsets[user + 1]]
