"""New users of a system that has no other formula for them: by its ranking loss, items held."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from model.interactions import Interactions

STEPS = 40  # of L-BFGS
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
    known = items.new_zeros(histories.n_users, items.shape[1]) if start is None else start
    bounds = histories.offsets.tolist()
    rows = [
        folded_user(items, histories.items[first:last], constant, known[row])
        for row, (first, last) in enumerate(pairwise(bounds))
    ]
    return torch.stack(rows) if rows else items.new_zeros(0, items.shape[1])


def folded_user(items: Tensor, liked: Tensor, constant: int, start: Tensor) -> Tensor:
    """One row of `folded_users`: (D,)."""
    free = items.shape[1] - constant
    fixed = items.new_ones(constant, dtype=torch.float64)
    s = start[:free].double()
    if not len(liked):
        return torch.cat([s, fixed]).to(items.dtype)
    others = torch.ones(len(items), dtype=torch.bool, device=items.device)
    others[liked] = False
    rest = others.nonzero()[:, 0]
    rest = rest[:: max(1, -(-len(rest) // OTHERS))]
    good, bad = items[liked].double(), items[rest].double()
    u = s.clone().requires_grad_()
    # Items' lengths are the system's own: the penalty is in their mean square.
    scale = bad[:, :free].square().sum(1).mean()
    optimizer = torch.optim.LBFGS([u], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        whole = torch.cat([u, fixed])
        value = F.softplus((bad @ whole)[None] - (good @ whole)[:, None]).mean()
        value = value + PENALTY / 2 * scale * (u - s).square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return torch.cat([u.detach(), fixed]).to(items.dtype)
