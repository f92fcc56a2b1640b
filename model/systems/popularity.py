"""Popularity: everybody is recommended what most have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from model.closed_form import ClosedForm
from model.config import SystemOptions

if TYPE_CHECKING:
    from model.interactions import Interactions
    from model.ranking import Scorer


@dataclass(frozen=True)
class Options(SystemOptions):
    """It reads no parameter."""

    undivided = "interactions are counted, not fitted"


class Popularity(ClosedForm):
    """s_ui = the training interactions of i."""

    def solve(self, seed: int) -> dict[str, Tensor]:
        counts = self.catalogue.train.item_degrees()
        return {"counts": counts.float()}

    def folding(self) -> Callable[[Interactions], Scorer]:
        counts = self.fitted["counts"]
        return lambda histories: lambda users: counts.repeat(len(users), 1)
