"""Random: what a recommender is worth that knows nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.closed_form import ClosedForm
from model.config import SystemOptions

if TYPE_CHECKING:
    from model.interactions import Interactions
    from model.ranking import Scorer

# SplitMix64 (Steele et al., 2014), its constants as signed integers.
GAMMA, FIRST, SECOND = (c - (1 << 64) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9,
                                                0x94D049BB133111EB))  # fmt: skip


@dataclass(frozen=True)
class Options(SystemOptions):
    """It reads the seed alone."""

    reads = frozenset({"seed"})
    undivided = "there is nothing to fit"


class Random(ClosedForm):
    """s_ui is uniform on [0, 1), drawn by a hash of seed, u and i.

    So a user's scores do not depend on who else is asked for, nor on the device.
    """

    def solve(self, seed: int) -> dict[str, Tensor]:
        return {"seed": torch.tensor([seed], device=self.catalogue.train.items.device)}

    def scorer(self) -> Scorer:
        return self._scorer(0)

    def folding(self) -> Callable[[Interactions], Scorer]:
        return lambda histories: self._scorer(self.n_users)

    def _scorer(self, first: int) -> Scorer:
        """Of users first, first + 1, ..."""
        start = mix(self.fitted["seed"] + GAMMA)

        def scores(users: Tensor) -> Tensor:
            items = torch.arange(self.n_items, device=users.device)
            pairs = (first + users[:, None]) * self.n_items + items + 1
            bits = shifted(mix(start + pairs * GAMMA), 40)
            return bits.float() / (1 << 24)  # 24 bits are what a float32 holds

        return scores


def mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser, element by element; int64 in and out, wrapping around."""
    z = (z ^ shifted(z, 30)) * FIRST
    z = (z ^ shifted(z, 27)) * SECOND
    return z ^ shifted(z, 31)


def shifted(z: Tensor, bits: int) -> Tensor:
    """z >> bits, of z as an unsigned number."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
