"""Means over seeds, and how far they may be off."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from scipy.stats import t as student

from pipeline.evidence.significance import CONFIDENCE


@dataclass(frozen=True)
class Estimate:
    """A mean and the half-width of its 95 % t-interval, which is None where there is one value."""

    mean: float
    half: float | None

    @property
    def low(self) -> float:
        return self.mean - (self.half or 0)

    @property
    def high(self) -> float:
        return self.mean + (self.half or 0)


def estimate(values: Sequence[float]) -> Estimate:
    """The mean and t-interval of independent values."""
    n = len(values)
    if n < 2:
        return Estimate(fmean(values), None)
    return Estimate(
        fmean(values), float(student.ppf((1 + CONFIDENCE) / 2, n - 1)) * stdev(values) / sqrt(n)
    )
