"""What became of every user: values and ranked lists, as a cell's file holds them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from model.evaluation import Evaluation
    from model.interactions import Interactions

JUDGED = "judged."
"""What the names of these tensors begin with; all others are the model's state."""


@dataclass(frozen=True)
class Judged:
    """What became of n users on one split.

    Attributes:
        users: (n,) int32.
        relevant: (n,) int32, how many items there were to be found.
        values: (n, measures) float64.
        lists: (n, L) int32, items, best first; `NOBODY` after the last that may be shown.
    """

    users: NDArray[np.int32]
    relevant: NDArray[np.int32]
    values: NDArray[np.float64]
    lists: NDArray[np.int32]

    @classmethod
    def read(cls, path: Path, split: str) -> Judged:
        """From a cell's file."""
        with safe_open(path, framework="numpy") as file:
            return cls(*(file.get_tensor(f"{JUDGED}{split}.{f.name}") for f in fields(cls)))


def judged_tensors(split: str, relevant: Interactions, found: Evaluation) -> dict[str, Tensor]:
    """What a cell's file holds of a split for `Judged.read`, by name."""
    import torch

    tensors = {
        "users": found.judged.int(),
        "relevant": relevant.degrees().cpu()[found.judged.cpu()].int(),
        "values": torch.stack(list(found.users.values()), dim=1),
        "lists": found.lists.int(),
    }
    return {f"{JUDGED}{split}.{name}": t.cpu().contiguous() for name, t in tensors.items()}
