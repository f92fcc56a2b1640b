"""Interactions → training, validation and test, with users and items as codes."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.common.files import InputError
from pipeline.common.params import Prepare
from pipeline.common.paths import SPLITS


def split_interactions(
    table: pa.Table, user_ids: pa.Array, item_ids: pa.Array, params: Prepare
) -> dict[str, pa.Table]:
    """Divide the interactions among `SPLITS`.

    Args:
        table: the raw interactions, checked.
        user_ids: all users; the code of a user is their place here.
        item_ids: all items; the code of an item is its place here.
        params: how to divide them where the table does not say.

    Returns:
        Split → its interactions in order: columns user and item, both int32 codes. Each pair
        stands once, in the first split that has it: a repeat is no test of anything.
    """
    users = np.asarray(pc.index_in(table["user_id"], value_set=user_ids))
    items = np.asarray(pc.index_in(table["item_id"], value_set=item_ids))
    split = assign_splits(table, users, params)
    order = np.lexsort((split, items, users))
    users, items, split = users[order], items[order], split[order]
    first = np.ones(len(users), bool)
    first[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
    result = {}
    for index, name in enumerate(SPLITS):
        chosen = first & (split == index)
        codes = [pa.array(users[chosen], pa.int32()), pa.array(items[chosen], pa.int32())]
        result[name] = pa.table(codes, names=["user", "item"])
    return result


def assign_splits(table: pa.Table, users: np.ndarray, params: Prepare) -> np.ndarray:
    """Assign every interaction to a split: (E,) int8 indices into `SPLITS`.

    The table's own split column decides where there is one, otherwise `prepare.split`.
    """
    if "split" in table.column_names:
        return np.asarray(pc.index_in(table["split"], value_set=pa.array(SPLITS))).astype(np.int8)
    order = np.random.default_rng(params.seed).random(len(users))
    if params.split == "temporal":
        if "timestamp" not in table.column_names or table["timestamp"].null_count:
            raise InputError(
                "prepare.split: temporal needs a timestamp in every row of interactions; "
                "valid here: random"
            )
        # Ties in time fall in random but repeatable order.
        order = np.lexsort((order, table["timestamp"].to_numpy())).argsort().astype(float)
    return split_by_user(users, order, params.validation, params.test)


def split_by_user(
    users: np.ndarray, order: np.ndarray, validation: float, test: float
) -> np.ndarray:
    """Split each user's interactions by their order.

    The last ones, a share of `test`, are for testing; those before them, a share of `validation`,
    for validation; and the rest for training.

    Args:
        users: (E,) user codes.
        order: (E,) what sorts a user's interactions: random numbers, or ranks in time.
        validation, test: shares; a user's counts are rounded down, so some are left for training.

    Returns:
        (E,) int8 indices into `SPLITS`.
    """
    by_user = np.lexsort((order, users))
    counts = np.bincount(users)
    starts = np.cumsum(counts) - counts
    position = np.empty(len(users), np.int64)
    position[by_user] = np.arange(len(users)) - np.repeat(starts, counts)
    n = counts[users]
    # The small number undoes the rounding of floats: 0.29 * 100 is 28.999999999999996.
    n_test = (n * test + 1e-9).astype(np.int64)
    n_validation = (n * validation + 1e-9).astype(np.int64)
    result = np.zeros(len(users), np.int8)
    result[position >= n - n_test - n_validation] = 1
    result[position >= n - n_test] = 2
    return result
