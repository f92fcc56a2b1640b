"""New users of a system that has no other formula for them: by BPR, items held."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor

from model.interactions import Interactions

STEPS = 100  # of L-BFGS
OTHERS = 4096  # items at most that the liked ones are ranked against, spread over the catalogue
PENALTY = 0.01  # the best of 0.01 to 3 on MovieLens, within the noise on DbBook


def folded_users(
    histories: Interactions, items: Tensor, constant: int = 0, start: Tensor | None = None
) -> Tensor:
    r"""The u of least mean_{i in N_u, j not in N_u} softplus(u · (v_j - v_i)) + c/2 ||u - s||^2

    over the items v (eq. 9, whose u the graph has no edges for); the problem is convex.

    Args:
        histories: N of b users.
        items: v, (I, D).
        constant: how many of the D numbers, the last, are 1 for every user.
        start: s, (b, D), what is known of the users already; None for zeros.

    Returns:
        (b, D); s, but for what is constant, for a user without history.
    """
    bounds, table = histories.offsets.tolist(), items.double().cpu().numpy()
    liked = histories.items.cpu().numpy()
    rows = np.zeros((histories.n_users, items.shape[1]))
    if start is not None:
        rows[:] = start.cpu().numpy()
    rows[:, rows.shape[1] - constant :] = 1
    for row, (first, last) in zip(rows, pairwise(bounds), strict=True):
        free = len(row) - constant
        row[:free] = folded_user(table, liked[first:last], row[:free])
    return torch.from_numpy(rows).to(items)


def folded_user(items: NDArray[Any], liked: NDArray[Any], start: NDArray[Any]) -> NDArray[Any]:
    """What is not constant of one row of `folded_users`, as `start` (D - constant,)."""
    free = len(start)
    rest = np.setdiff1d(np.arange(len(items)), liked)
    if not len(liked) or not len(rest):
        return start
    rest = rest[:: -(-len(rest) // OTHERS)]
    good, bad = items[liked, :free], items[rest, :free]
    good_bias, bad_bias = items[liked, free:].sum(1), items[rest, free:].sum(1)
    # Items' lengths are the system's own: the penalty is in their mean square.
    penalty = PENALTY * np.square(bad).sum(1).mean()

    def loss(u: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        behind = (bad @ u + bad_bias)[None] - (good @ u + good_bias)[:, None]
        slopes = expit(behind) / behind.size
        value = np.logaddexp(0, behind).mean() + penalty / 2 * np.square(u - start).sum()
        return float(value), slopes.sum(0) @ bad - slopes.sum(1) @ good + penalty * (u - start)

    return minimize(loss, start, jac=True, method="L-BFGS-B",
                    options={"maxiter": STEPS}).x  # fmt: skip
