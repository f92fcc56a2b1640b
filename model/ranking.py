"""Who is recommended what: the k best items of every user, whoever else is asked for.

A product of matrices rounds a user's scores one way alone and another way among others. So what is
nearer than that rounding is compared again, exactly; equal scores come in the catalogue's order.
One user, all users and an evaluation agree on the same lists.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from model.interactions import Interactions, rows_of

NOBODY = -1
"""In a list: no item, since all others are among what may not be recommended."""

BEYOND = 14  # candidates beyond k, among which what ties with the last one mostly is
CELLS = {"cpu": 1 << 22, "cuda": 1 << 25}  # scores that a block of users has, by device
PART = {"cpu": 1 << 17, "cuda": 1 << 24}  # products summed exactly at a time; a CPU caches them


class Scorer(Protocol):
    """Users (b,) int64 → their scores of all items (b, I)."""

    def __call__(self, users: Tensor, /) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class InnerProduct:
    """The scorer of users (U, D) and items (I, D)."""

    users: Tensor
    items: Tensor

    def __call__(self, users: Tensor) -> Tensor:
        return self.users[users] @ self.items.T

    def exact(self, users: Tensor, items: Tensor) -> Tensor:
        """(p,) scores of p pairs, summed in float64, rounded to float32."""
        part = max(1, PART[self.items.device.type] // self.items.shape[1])
        sums = [
            (self.users[u].double() * self.items[i].double()).sum(1)
            for u, i in zip(users.split(part), items.split(part), strict=True)
        ]
        return torch.cat(sums).to(self.items.dtype)

    def rounding(self, users: Tensor) -> Tensor:
        """(b,) how far apart scores are at most that are equal but for their rounding.

        A sum of D products is off by at most D u ||u|| ||i||, u the unit roundoff, and by more than
        8 sqrt(D) u ||u|| ||i|| once in 10^11 (Higham and Mary, 2019); two are by twice as much.
        """
        d = self.items.shape[1]
        eps = torch.finfo(self.items.dtype).eps  # 2 u
        return min(d, 8 * d**0.5) * eps * self.longest * self.users[users].norm(dim=1)

    @cached_property
    def longest(self) -> Tensor:
        """The greatest length of an item, a scalar."""
        return self.items.norm(dim=1).amax()


def rank(
    scorer: Scorer,
    users: Tensor,
    k: int,
    *,
    seen: Interactions | None = None,
    allowed: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The k best items of some users that may be shown, and their scores, best first; (b, k) each.

    Of equal scores the first in the catalogue comes first. Where fewer than k may be shown,
    `NOBODY` follows, with a score of -inf.

    Args:
        scorer: over I items.
        users: (b,) int64, rows of the scorer and of `seen`.
        seen: interactions that are not recommended again.
        allowed: (I,) bool, the items that anybody may be shown.
    """
    scores = scorer(users)
    hide(scores, users, seen, allowed)
    length, k = min(k + BEYOND, scores.shape[1]), min(k, scores.shape[1])
    best, items = top(scores, length)
    exact, near = _near(scorer, users, best)
    unsure = near.any(1).nonzero()[:, 0]
    if len(unsure):
        open_ = _open(near[unsure], k, scores)
        rows = unsure[~open_]
        if exact is not None:
            row, column = _tied(near[rows]).nonzero(as_tuple=True)
            row = rows[row]
            best[row, column] = exact.exact(users[row], items[row, column])
        best[rows], items[rows] = in_order(best[rows], items[rows])
        for row in unsure[open_]:  # as many tie as there are candidates: all items are compared
            best[row], items[row] = whole_row(scores[row], exact, users[row], length)
    return _shown(best, items, k)


def rank_without_wait(
    scorer: Scorer, users: Tensor, k: int, *, seen: Interactions, n_seen: int
) -> tuple[Tensor, Tensor, Tensor]:
    """What `rank` finds, unless it needs all items' scores, by operations of fixed shapes.

    So the host need not wait for a card: every candidate's exact score is taken.

    Args:
        scorer, users, k, seen: as in `rank`.
        n_seen: how many of `seen` are these users'.

    Returns:
        Items and scores as from `rank`, and a scalar, whether only `rank` can tell some user's.
    """
    scores = scorer(users)
    hide(scores, users, seen, None, n_seen)
    length, k = min(k + BEYOND, scores.shape[1]), min(k, scores.shape[1])
    best, items = top(scores, length)
    exact, near = _near(scorer, users, best)
    if exact is not None:
        true = exact.exact(users.repeat_interleave(length), items.flatten()).view_as(best)
        best = true.where(_tied(near), best)
    return *_shown(*in_order(best, items), k), _open(near, k, scores).any()


def _near(scorer: Scorer, users: Tensor, best: Tensor) -> tuple[InnerProduct | None, Tensor]:
    """The scorer, if it has exact scores, and what is to be told by them.

    Of falling scores (b, n): (b, n - 1) bool, which hardly differ from the next.
    """
    exact = scorer if isinstance(scorer, InnerProduct) else None
    apart = best[:, :-1] - best[:, 1:]  # nan between two that may not be shown
    return exact, apart <= (exact.rounding(users)[:, None] if exact else 0)


def _tied(near: Tensor) -> Tensor:
    """(b, n), which candidates are near another."""
    return F.pad(near, (0, 1)) | F.pad(near, (1, 0))


def _open(near: Tensor, k: int, scores: Tensor) -> Tensor:
    """(b,) whether others than the candidates may be as good as the k-th."""
    if near.shape[1] + 1 < scores.shape[1]:
        return near[:, k - 1 :].all(1)
    return near.new_zeros(len(near))


def _shown(best: Tensor, items: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The first k of items and scores; `NOBODY` where a score is -inf."""
    best, items = best[:, :k], items[:, :k]
    return items.masked_fill(best == -torch.inf, NOBODY), best


def hide(
    scores: Tensor,
    users: Tensor,
    seen: Interactions | None,
    allowed: Tensor | None,
    n_seen: int | None = None,
) -> None:
    """Set the scores (b, I) of what may not be recommended to -inf; `n_seen` as for `entries`."""
    if seen is not None:
        offsets, entries = seen.entries(users, n_seen)
        starts = rows_of(offsets, len(entries)) * scores.shape[1]
        scores.view(-1).index_fill_(0, starts.add_(seen.items[entries]), -torch.inf)
    if allowed is not None:
        scores.masked_fill_(~allowed, -torch.inf)


def top(scores: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """`topk` of each row (b, n), in a third of the time where n is much more than `length`.

    The row is cut into m chunks j, j + m, j + 2 m, …: the `length` best are all among the `length`
    chunks of the greatest maxima.
    """
    n = scores.shape[1]
    size = math.isqrt(n // length) if length else 0
    if size < 2:
        return scores.topk(length, dim=1)
    m = n // size
    chunks = scores[:, : m * size].unflatten(1, (size, m)).amax(1)
    items = chunks.topk(length, dim=1, sorted=False).indices
    steps = torch.arange(0, m * size, m, device=scores.device)
    rest = torch.arange(m * size, n, device=scores.device).expand(len(scores), -1)
    items = torch.cat([(items[:, None] + steps[:, None]).flatten(1), rest], dim=1)
    best, order = scores.gather(1, items).topk(length, dim=1)
    return best, items.gather(1, order)


def in_order(scores: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of scores and items (b, n) by falling score, then by item."""
    items, order = items.sort(dim=1)
    scores, order = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    return scores, items.gather(1, order)


def whole_row(
    scores: Tensor, exact: InnerProduct | None, user: Tensor, length: int
) -> tuple[Tensor, Tensor]:
    """The first `length` of one user's scores (I,) by falling exact score, then by item."""
    if exact is not None:
        items = torch.arange(len(scores), device=scores.device)
        true = exact.exact(user.expand(len(items)), items)
        scores = torch.where(scores == -torch.inf, scores, true)
    scores, items = scores.sort(descending=True, stable=True)
    return scores[:length], items[:length]
