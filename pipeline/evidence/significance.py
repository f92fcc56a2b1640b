"""Whether one system is better than another, over the same users.

What is compared is one value a user (NDCG@10, averaged over seeds), paired by user. The paired
t-test and the sign-flip randomisation test hold their level on such data where rank tests do not
(Smucker et al., 2007; Ihemelandu and Ekstrand, 2023); all comparisons share their random signs and
p-values are corrected over a family (Boytsov et al., 2013); beside them stand an interval (BCa;
Efron, 1987) and an effect size (Sakai, 2014), for a small p is no large gain.

Differences are first rounded to a grid so coarse that no sum of them rounds. Sums are then the
same in any order: figures depend neither on threads nor on blocks nor on the other columns, and
what floats make of equal values (0.3 - 0.2 against 0.1) is no gain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

CONFIDENCE = 0.95  # of intervals
LEVEL = 0.05  # of tests
POWER = 0.8
RESAMPLES = 10_000
SEED = 0
CELLS = 1 << 21
"""The most random numbers held at a time; a cell takes up to 24 bytes."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval, which need not lie evenly about it."""

    mean: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half of its width."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Comparison:
    """One system against one baseline over the same users.

    Attributes:
        users: n.
        difference: mean of (system - baseline).
        low, high: its interval over users, a 95 % BCa bootstrap; a point where all users differ
            alike.
        t: p of the two-sided paired t-test; 1 for a single user, who decides nothing.
        sign_flip: p of the two-sided sign-flip randomisation test.
        adjusted: `sign_flip`, Holm-corrected over the family that it was compared in.
        effect: d_z, the mean over the standard deviation of the differences; None without one.
        gain, loss: share of users with a higher and with a lower value.
    """

    users: int
    difference: float
    low: float
    high: float
    t: float
    sign_flip: float
    adjusted: float
    effect: float | None
    gain: float
    loss: float

    @property
    def interval(self) -> Interval:
        """The difference with its interval over users."""
        return Interval(self.difference, self.low, self.high)


def compare(differences: Floats, *, resamples: int = RESAMPLES) -> list[Comparison]:
    """Judge systems against one baseline; together they are one family for Holm's correction.

    Args:
        differences: (n, c), system - baseline for every user and each of c systems. Values are
            metrics, of the order of 1: differences below 1e-12 (1e-10 from 100,000 users) are
            taken for rounding.
        resamples: random signs, and bootstrap samples; signs are enumerated where 2^n is no more.

    Returns:
        A comparison a column, in order.

    Raises:
        ValueError: not a matrix, no user, or a value that is not finite.
    """
    if differences.ndim != 2 or not len(differences):
        raise ValueError(f"expected (users, systems) with a user or more, not {differences.shape}")
    if not np.isfinite(differences).all():
        users = np.flatnonzero(~np.isfinite(differences).all(1))
        raise ValueError(f"{len(users)} users have values that are not finite, first {users[0]}")
    grid, steps = _on_grid(differences)
    tolerance = len(grid) * steps  # of two sums whose terms are off by half a step each
    signs, draws = np.random.default_rng(SEED).spawn(2)
    flips = _sign_flips(grid, tolerance, resamples, signs)
    sums = _bootstrap_sums(grid, resamples, draws)
    return [
        _comparison(grid[:, i].copy(), sums[:, i], float(tolerance[i]), flip, adjusted)
        for i, (flip, adjusted) in enumerate(zip(flips, holm(flips), strict=True))
    ]


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction of the p-values of one family, in their order.

    Raises:
        ValueError: a value outside [0, 1].
    """
    if not all(0 <= value <= 1 for value in p):
        raise ValueError(f"p-values lie in [0, 1]: {list(p)}")
    adjusted = [0.0] * len(p)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted


def _on_grid(differences: Floats) -> tuple[Floats, Floats]:
    """Differences (n, c) as whole multiples of a power of two for each column, and these (c,).

    n times the largest stays below 2^53 steps, so that every sum of n values is exact.
    """
    _, exponents = np.frexp(len(differences) * np.abs(differences).max(0))
    steps = np.ldexp(1.0, np.maximum(exponents - 52, -40))
    return np.rint(differences / steps) * steps, steps


def _sign_flips(
    grid: Floats, tolerance: Floats, resamples: int, generator: np.random.Generator
) -> list[float]:
    """p of every column: how often random signs give a sum at least as far from 0."""
    users = len(grid)
    total = grid.sum(0)
    enough = np.abs(total) - tolerance
    exact = 2**users <= resamples
    blocks = _all_signs(users) if exact else _random_signs(users, resamples, generator)
    as_far = np.zeros(grid.shape[1], np.int64)
    for positive in blocks:
        as_far += (np.abs(2 * (positive @ grid) - total) >= enough).sum(0)
    if exact:
        return [int(count) / 2**users for count in as_far]
    return [(1 + int(count)) / (1 + resamples) for count in as_far]


def _all_signs(users: int) -> Iterator[Floats]:
    """All patterns (2^n, n): 1 where a user's difference keeps its sign, 0 where it flips."""
    yield (np.arange(2**users)[:, None] >> np.arange(users) & 1).astype(np.float64)


def _random_signs(users: int, count: int, generator: np.random.Generator) -> Iterator[Floats]:
    """Random patterns in blocks (b, n), as `_all_signs`; the same ones whatever the blocks."""
    words = -(-users // 64)
    for rows in _blocks(users, count):
        bits = generator.integers(2**64, size=(rows, words), dtype=np.uint64).astype("<u8")
        yield np.unpackbits(bits.view(np.uint8), axis=1, count=users).astype(np.float64)


def _bootstrap_sums(grid: Floats, resamples: int, generator: np.random.Generator) -> Floats:
    """Sums (resamples, c) over users drawn with replacement, the same users for all columns."""
    users = len(grid)
    sums = []
    for rows in _blocks(users, resamples):
        drawn = generator.integers(users, size=(rows, users))
        drawn += users * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * users).reshape(rows, users)
        sums.append(times.astype(np.float64) @ grid)
    return np.concatenate(sums)


def _blocks(users: int, count: int) -> Iterator[int]:
    """Numbers of rows that make `count` together, each of `CELLS` cells or a single row."""
    most = max(1, CELLS // users)
    for first in range(0, count, most):
        yield min(most, count - first)


def _comparison(
    values: Floats, sums: Floats, tolerance: float, sign_flip: float, adjusted: float
) -> Comparison:
    """One column's figures.

    Args:
        values: (n,) differences on their grid.
        sums: (resamples,) of the bootstrap.
        tolerance: within which two sums are equal.
    """
    users = len(values)
    mean = float(values.sum()) / users
    deviations = values - mean
    varies = bool(np.ptp(values) > 0)
    squares = math.fsum(deviations**2) if varies else 0.0
    if varies:
        effect = mean / math.sqrt(squares / (users - 1))
        t = 2 * float(stdtr(users - 1, -abs(effect) * math.sqrt(users)))
        # The mean's jackknife in closed form.
        acceleration = math.fsum(deviations**2 * deviations) / (6 * squares**1.5)
        low, high = _bca(sums - values.sum(), tolerance, acceleration) / users + mean
    else:
        effect = None
        t = 0.0 if mean and users > 1 else 1.0
        low = high = mean
    return Comparison(
        users=users,
        difference=mean,
        low=float(low),
        high=float(high),
        t=t,
        sign_flip=sign_flip,
        adjusted=adjusted,
        effect=effect,
        gain=float((values > 0).mean()),
        loss=float((values < 0).mean()),
    )


def _bca(errors: Floats, tolerance: float, acceleration: float) -> Floats:
    """The lower and upper end (2,) of the BCa interval, as distances from the estimate.

    Finite, for some of hundreds of resampled means fall on either side of the estimate, and a
    mean's acceleration is at most 1/6.

    Args:
        errors: (resamples,) resampled less estimated.
        tolerance: within which an error is none; such a sample counts half as below.
    """
    below = (errors < -tolerance).mean()
    above = (errors > tolerance).mean()
    bias = ndtri((1 + below - above) / 2)
    shifted = bias + ndtri([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return np.quantile(errors, ndtr(bias + shifted / (1 - acceleration * shifted)))


def detectable(differences: NDArray[np.float64], level: float = LEVEL) -> float:
    """The smallest mean that a two-sided t-test of such differences (n,) finds `POWER` of the time.

    Infinite for a single one.
    """
    users = len(differences)
    if users < 2:
        return float("inf")
    quantiles = stdtrit(users - 1, 1 - level / 2) + stdtrit(users - 1, POWER)
    return float(quantiles * differences.std(ddof=1) / np.sqrt(users))
