"""New users of a system that has no other formula for them: by its ranking loss, items held."""

from __future__ import annotations

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


def folded_users(histories: Interactions, items: Tensor, constant: int = 0) -> Tensor:
    r"""The u that minimise mean_{i in N_u, j not in N_u} softplus(u · (v_j - v_i)) + c/2 ||u||^2

    over the items v (eq. 9, whose u the graph has no edges for); the problem is convex.

    Args:
        histories: N of b users.
        items: v, (I, D).
        constant: how many of the D numbers, the last, are 1 for every user.

    Returns:
        (b, D); zeros, but for what is constant, for a user without history.
    """
    bounds, table = histories.offsets.tolist(), items.double().cpu().numpy()
    liked = histories.items.cpu().numpy()
    rows = np.ones((histories.n_users, items.shape[1]))
    for row, first, last in zip(rows, bounds[:-1], bounds[1:], strict=True):
        row[: len(row) - constant] = folded_user(table, liked[first:last], constant)
    return torch.from_numpy(rows).to(items)


def folded_user(items: NDArray[Any], liked: NDArray[Any], constant: int) -> NDArray[Any]:
    """What is not constant of one row of `folded_users`: (D - constant,)."""
    free = items.shape[1] - constant
    rest = np.setdiff1d(np.arange(len(items)), liked)
    if not len(liked) or not len(rest):
        return np.zeros(free)
    rest = rest[:: -(-len(rest) // OTHERS)]
    good, bad = items[liked, :free], items[rest, :free]
    good_bias, bad_bias = items[liked, free:].sum(1), items[rest, free:].sum(1)
    # Items' lengths are the system's own: the penalty is in their mean square.
    penalty = PENALTY * np.square(bad).sum(1).mean()

    def loss(u: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        behind = (bad @ u + bad_bias)[None] - (good @ u + good_bias)[:, None]
        slopes = expit(behind) / behind.size
        value = np.logaddexp(0, behind).mean() + penalty / 2 * u @ u
        return float(value), slopes.sum(0) @ bad - slopes.sum(1) @ good + penalty * u

    return minimize(loss, np.zeros(free), jac=True, method="L-BFGS-B",
                    options={"maxiter": STEPS}).x  # fmt: skip
