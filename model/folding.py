"""New users of a system that has no other formula for them: by its ranking loss, items held."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from model.interactions import Interactions

STEPS = 40  # of L-BFGS
OTHERS = 4096  # items at most that the liked ones are ranked against, spread over the catalogue
PENALTY = 0.1


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
    bounds = histories.offsets.tolist()
    rows = [
        folded_user(items, histories.items[first:last], constant)
        for first, last in zip(bounds[:-1], bounds[1:], strict=True)
    ]
    return torch.stack(rows) if rows else items.new_zeros(0, items.shape[1])


def folded_user(items: Tensor, liked: Tensor, constant: int) -> Tensor:
    """One row of `folded_users`: (D,)."""
    with torch.inference_mode(False), torch.enable_grad():
        return _minimised(items, liked, constant)


def _minimised(items: Tensor, liked: Tensor, constant: int) -> Tensor:
    """The same, outside of a caller's inference mode, in which nothing has a gradient."""
    free = items.shape[1] - constant
    fixed = items.new_ones(constant, dtype=torch.float64)
    if not len(liked):
        return torch.cat([fixed.new_zeros(free), fixed]).to(items.dtype)
    others = torch.ones(len(items), dtype=torch.bool, device=items.device)
    others[liked] = False
    rest = others.nonzero()[:, 0]
    rest = rest[:: max(1, -(-len(rest) // OTHERS))]
    good, bad = items[liked].double(), items[rest].double()
    u = fixed.new_zeros(free).requires_grad_()
    # Items' lengths are the system's own: the penalty is in their mean square.
    scale = bad[:, :free].square().sum(1).mean()
    optimizer = torch.optim.LBFGS([u], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        whole = torch.cat([u, fixed])
        value = F.softplus((bad @ whole)[None] - (good @ whole)[:, None]).mean()
        value = value + PENALTY / 2 * scale * u.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return torch.cat([u.detach(), fixed]).to(items.dtype)
