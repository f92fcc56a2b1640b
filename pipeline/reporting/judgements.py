"""Every user's values and lists, as the studies left them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.metrics import SELECTION, Measure
from pipeline.reporting.scores import Setting

Values = NDArray[np.float64]


class Judgements:
    """What the users of one split are recommended, and how good that is.

    Args:
        folders: system → the folder of its study.
        split: validation or test.
    """

    def __init__(self, folders: Mapping[str, Path], split: str) -> None:
        self._folders, self._split = folders, split
        self._kept: dict[tuple[Setting, Measure], Values] = {}

    def users(self, setting: Setting) -> NDArray[np.int64]:
        """(n,) those with something to be found, in order."""
        table = self._read(setting, "users", "user")
        users: NDArray[np.int64] = table["user"].to_numpy().astype(np.int64)
        return users[: len(users) // _seeds(table)]

    def values(self, setting: Setting, measure: Measure = SELECTION) -> Values:
        """(n,) a measure of every user, the mean over seeds."""
        if (found := self._kept.get((setting, measure))) is not None:
            return found
        table = self._read(setting, "users", str(measure))
        values: Values = table[str(measure)].to_numpy().reshape(_seeds(table), -1).mean(0)
        if measure == SELECTION:  # which every comparison asks for
            self._kept[setting, measure] = values
        return values

    def lists(self, setting: Setting, k: int) -> list[NDArray[np.int64]]:
        """For every seed (n, k) items, best first; -1 where fewer may be shown."""
        table = self._read(setting, "lists", "items")
        items = table["items"].combine_chunks()
        lengths = items.value_lengths().to_numpy()
        shown = np.full((len(items), max(k, int(lengths.max(initial=0)))), -1, np.int64)
        shown[np.arange(shown.shape[1]) < lengths[:, None]] = items.flatten().to_numpy()
        return list(shown[:, :k].reshape(_seeds(table), -1, k))

    def _read(self, setting: Setting, name: str, column: str) -> pa.Table:
        """A column of one setting's rows: seed by seed, and in each the users in order."""
        wanted = {"control": setting.control, "layers": setting.layers, "split": self._split}
        condition = pc.scalar(True)
        for key, value in wanted.items():
            field = pc.field(key)
            condition = condition & (field.is_null() if value is None else field == value)
        path = self._folders[setting.system] / f"{name}.parquet"
        return pq.read_table(path, columns=["seed", column], filters=condition)


def _seeds(table: pa.Table) -> int:
    return len(pc.unique(table["seed"]))
