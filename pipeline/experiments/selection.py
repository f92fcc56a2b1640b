"""Which depth of a system is compared: validation decides, and nothing else does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from model.metrics import SELECTION

if TYPE_CHECKING:
    from pipeline.experiments.cells import Cell


def values_by_depth(
    cells: Sequence[Cell], split: str = "validation"
) -> dict[int | None, list[float]]:
    """Depth → NDCG@10 of every seed on a split; none where it is empty."""
    values: dict[int | None, list[float]] = {}
    for cell in cells:
        of_depth = values.setdefault(cell.experiment.layers, [])
        if (value := cell.value(split, SELECTION)) is not None:
            of_depth.append(value)
    return values


def selected_depth(values: Mapping[int | None, list[float]]) -> int | None:
    """The depth of the highest mean, the smallest of those that tie.

    Args:
        values: depth → NDCG@10 on validation, a value a seed; all of them empty without a
            validation split, and then the first depth is taken. A system that reads no depth has
            the depth None alone.
    """
    if not any(values.values()):
        return next(iter(values))
    means = {depth: fmean(of_seeds) for depth, of_seeds in values.items() if of_seeds}
    return max(sorted(means, key=lambda depth: depth or 0), key=means.__getitem__)
