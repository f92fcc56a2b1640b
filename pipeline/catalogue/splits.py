"""Interactions → training, validation and test.

How they are divided where the data do not say (`prepare.split`):

| | to test go | to validation |
|---|---|---|
| random | a share of each user's interactions | the share drawn before |
| temporal | each user's last | those before them |
| temporal_global | all from one moment on | those before it, from another moment on |
| leave_one_out | each user's last one (a random one without timestamps) | the one before it |
| cold_items | all interactions of a share of the items | of another share |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.catalogue.raw import Interactions, Items
from pipeline.common.files import InputError
from pipeline.common.params import Prepare
from pipeline.common.paths import SPLITS

Mask = NDArray[np.bool_]
Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Selection:
    """What of a catalogue takes part, and where.

    Attributes:
        items: those that take part.
        user_ids: (U,) strings, ascending.
        splits: split → columns user and item, int32 codes: places among `user_ids` and `items`.
        split, ratings, k_core: what was done, for people to read.
    """

    items: Items
    user_ids: pa.Array
    splits: dict[str, pa.Table]
    split: str
    ratings: str
    k_core: int

    @property
    def sizes(self) -> dict[str, int]:
        """Split → its interactions."""
        return {name: len(table) for name, table in self.splits.items()}

    @property
    def sparsity(self) -> float:
        """The share of the pairs of user and item that did not interact."""
        return 1 - sum(self.sizes.values()) / (len(self.user_ids) * len(self.items.ids))

    @property
    def cold_items(self) -> int:
        """Items without a training interaction."""
        return len(self.items.ids) - len(np.unique(self.splits["train"]["item"].to_numpy()))

    @property
    def cold_users(self) -> int:
        """Users without a training interaction."""
        return len(self.user_ids) - len(np.unique(self.splits["train"]["user"].to_numpy()))


def select(raw: Interactions, items: Items, params: Prepare) -> Selection:
    """Choose what counts, drop repeats, keep the core, divide. InputError if nothing is left.

    A pair of user and item stands once: in the first split that has it where the data say, and
    otherwise where it came first. A repeat is no test of anything.
    """
    rows = np.flatnonzero(liked(raw, params.min_rating))
    ratings = rating_name(raw, len(rows), params.min_rating)
    users, codes = raw.users[rows], raw.items[rows]
    by_time = params.split in ("temporal", "temporal_global", "leave_one_out")
    if raw.times is not None and not raw.timed and raw.split is None and by_time:
        raise InputError(
            f"{raw.path}: prepare.split: {params.split}: some rows have a timestamp and some have "
            "none; valid: one in every row, or no such column"
        )
    times = raw.times[rows] if raw.times is not None and raw.timed else None
    given = None if raw.split is None else raw.split[rows]
    rank = given if given is not None else np.arange(len(rows)) if times is None else times
    chosen = first_of_pairs(users, codes, rank)
    if params.k_core:
        chosen[chosen] = core(users[chosen], codes[chosen], params.k_core)
    if not chosen.any():
        raise InputError(
            f"{raw.path}: no interaction is left of {len(raw.users)}; prepare.min_rating: "
            f"{params.min_rating}, prepare.k_core: {params.k_core}"
        )
    users, codes = users[chosen], codes[chosen]
    times = None if times is None else times[chosen]
    kept_items = np.ones(len(items.ids), bool)
    if params.k_core:
        kept_items = np.bincount(codes, minlength=len(items.ids)) > 0
    kept_users = np.bincount(users, minlength=len(raw.user_ids)) > 0
    users = (np.cumsum(kept_users) - 1).astype(np.int32)[users]
    codes = (np.cumsum(kept_items) - 1).astype(np.int32)[codes]
    split = divide(users, codes, times, params) if given is None else given[chosen]
    name = split_name(raw, params)
    sizes = np.bincount(split, minlength=len(SPLITS))
    if not sizes[0]:
        raise InputError(f"{raw.path}: no interaction is left for training (split: {name})")
    return Selection(
        items.keep(kept_items),
        raw.user_ids.filter(pa.array(kept_users)),
        {s: table_of(users[split == n], codes[split == n]) for n, s in enumerate(SPLITS)},
        name,
        ratings,
        params.k_core,
    )


def liked(interactions: Interactions, min_rating: float | None) -> Mask:
    """(E,) which interactions count: all, or those rated at least `min_rating`."""
    ratings = interactions.ratings
    if min_rating is None:
        return np.ones(len(interactions.users), bool)
    if ratings is None or np.isnan(ratings).any():
        what = "a rating in every row"
        missing = "" if ratings is None else f"; {int(np.isnan(ratings).sum())} have none"
        raise InputError(
            f"{interactions.path}: prepare.min_rating: {min_rating:g} needs {what}{missing}; "
            "valid: fill them in, or null, with which every row counts"
        )
    return ratings >= min_rating


def core(users: Codes, items: Codes, k: int) -> Mask:
    """(E,) what is left when users and items of fewer than `k` interactions have gone, repeatedly.

    A pair of user and item stands once in what is given.
    """
    keep = np.ones(len(users), bool)
    while True:
        of_user, of_item = np.bincount(users[keep]), np.bincount(items[keep])
        left = keep.copy()
        left[keep] = (of_user[users[keep]] >= k) & (of_item[items[keep]] >= k)
        if (left == keep).all():
            return keep
        keep = left


def first_of_pairs(users: Codes, items: Codes, rank: NDArray[Any]) -> Mask:
    """(E,) one row of each pair of user and item, that of the lowest rank."""
    order = np.lexsort((rank, items, users))
    first = np.ones(len(users), bool)
    u, i = users[order], items[order]
    first[1:] = (u[1:] != u[:-1]) | (i[1:] != i[:-1])
    result = np.empty(len(users), bool)
    result[order] = first
    return result


def table_of(users: Codes, items: Codes) -> pa.Table:
    """A split's columns user and item, int32 codes in order."""
    order = np.lexsort((items, users))
    columns = [pa.array(column[order], pa.int32()) for column in (users, items)]
    return pa.table(columns, names=["user", "item"])


def divide(
    users: Codes, items: Codes, times: NDArray[Any] | None, params: Prepare
) -> NDArray[np.int8]:
    """(E,) int8 indices into `SPLITS`, by `params.split`; every pair stands once in what is given.

    Args:
        users, items: (E,) codes.
        times: (E,) numbers; None unless every row has one. InputError if the split needs them.
        params: the seed, the kind of split, the shares.
    """
    draw = np.random.default_rng(params.seed).random(len(users))
    if times is None and params.split in ("temporal", "temporal_global"):
        raise InputError(
            f"prepare.split: {params.split} needs a timestamp in every row of interactions; "
            "valid here: random, leave_one_out, cold_items"
        )
    if params.split == "cold_items":
        return split_by_item(items, params)
    if times is not None and params.split == "temporal_global":
        return split_by_moment(times, params.validation, params.test)
    order = draw if times is None or params.split == "random" else in_time(times, draw)
    if params.split == "leave_one_out":
        return leave_one_out(users, order)
    return split_by_user(users, order, params.validation, params.test)


def in_time(times: NDArray[Any], draw: NDArray[np.float64]) -> NDArray[np.int64]:
    """(E,) ranks by time; ties fall in random but repeatable order."""
    return np.lexsort((draw, times)).argsort()


def positions(users: Codes, order: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(E,) each interaction's place among its user's by `order`, from 0; and how many they are."""
    by_user = np.lexsort((order, users))
    counts = np.bincount(users)
    starts = np.cumsum(counts) - counts
    position = np.empty(len(users), np.int64)
    position[by_user] = np.arange(len(users)) - np.repeat(starts, counts)
    return position, counts[users]


def split_by_user(
    users: Codes, order: NDArray[Any], validation: float, test: float
) -> NDArray[np.int8]:
    """Split each user's interactions by their order.

    The last ones, a share of `test`, are for testing; those before them, a share of `validation`,
    for validation; and the rest for training. A user's counts are rounded down, so some are left
    for training.
    """
    position, n = positions(users, order)
    # The small number undoes the rounding of floats: 0.29 * 100 is 28.999999999999996.
    n_test = (n * test + 1e-9).astype(np.int64)
    n_validation = (n * validation + 1e-9).astype(np.int64)
    result = np.zeros(len(users), np.int8)
    result[position >= n - n_test - n_validation] = 1
    result[position >= n - n_test] = 2
    return result


def leave_one_out(users: Codes, order: NDArray[Any]) -> NDArray[np.int8]:
    """Each user's last interaction to test, the one before to validation; the first never."""
    position, n = positions(users, order)
    result = np.zeros(len(users), np.int8)
    result[(position == n - 2) & (position > 0)] = 1
    result[(position == n - 1) & (position > 0)] = 2
    return result


def split_by_moment(times: NDArray[Any], validation: float, test: float) -> NDArray[np.int8]:
    """Two moments divide all interactions alike; what happens in the same moment stays together."""
    ordered = np.sort(times)
    result = np.zeros(len(times), np.int8)
    for index, share in ((1, validation + test), (2, test)):
        taken = int(len(times) * share + 1e-9)
        if taken:
            # From the first moment of which everything fits into the share.
            start = ordered[len(times) - taken]
            whole = taken == len(times) or ordered[len(times) - taken - 1] < start
            result[times >= start if whole else times > start] = index
    return result


def split_by_item(items: Codes, params: Prepare) -> NDArray[np.int8]:
    """A share of the items goes to test with all that they have, another to validation."""
    present = np.unique(items)
    shuffled = np.random.default_rng(params.seed).permutation(present)
    n_test = int(len(present) * params.test + 1e-9)
    n_validation = int(len(present) * params.validation + 1e-9)
    of_item = np.zeros(int(present.max()) + 1, np.int8)
    of_item[shuffled[:n_test]] = 2
    of_item[shuffled[n_test : n_test + n_validation]] = 1
    return of_item[items]


def split_name(interactions: Interactions, params: Prepare) -> str:
    """What really divides the interactions, in words."""
    if interactions.split is not None:
        return "given with the data"
    if params.split == "leave_one_out":
        return f"leave one out, {'by time' if interactions.timed else 'at random'}"
    kinds = {
        "random": "random by user",
        "temporal": "temporal by user",
        "temporal_global": "temporal, one moment for all",
        "cold_items": "cold items",
    }
    return f"{kinds[params.split]}: {params.validation:g} validation, {params.test:g} test"


def rating_name(interactions: Interactions, left: int, min_rating: float | None) -> str:
    """Which interactions count, in words."""
    if interactions.ratings is None:
        return "none in the data: every row counts"
    if min_rating is None:
        return "not looked at: every row counts (prepare.min_rating)"
    return f"at least {min_rating:g}: {left:,} of {len(interactions.ratings):,} rows count"
