"""Which depth of a system is compared: validation decides, and nothing else does."""

from collections.abc import Mapping
from statistics import fmean


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
