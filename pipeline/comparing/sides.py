"""A version of the trained model and of what it was judged on, by DVC or from the workspace."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.common import paths
from pipeline.common.files import InputError
from pipeline.common.revisions import WORKSPACE, read_at

DECIDED = ("dataset", "split", "ratings", "k_core")
"""What the summary says of how a catalogue became splits."""

Codes = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two that are compared.

    Attributes:
        name: the revision, as it was asked for.
        label: system, layers and seed.
        metrics: what `dvc metrics` shows: catalogue → split → name@k → value.
        summary: of the prepared catalogue.
        user_ids, item_ids: in the order of the codes.
        splits: name → (2, n) users and items of its interactions.
        users: a row a split and user, as `write_judged` wrote them; `user` is a code.
        lists: likewise.
    """

    name: str
    label: str
    metrics: dict[str, Any]
    summary: dict[str, Any]
    user_ids: pa.ChunkedArray
    item_ids: pa.ChunkedArray
    splits: dict[str, Codes]
    users: pa.Table
    lists: pa.Table

    @classmethod
    def read(cls, revision: str) -> Side:
        """What there is under an experiment's name, a Git revision, or `workspace`.

        Raises:
            InputError: there is no such revision, or it lacks a file, in Git or in DVC's cache.
        """
        read = Path.read_bytes if revision == WORKSPACE else read_at(revision)

        def table(path: Path, *columns: str) -> pa.Table:
            return pq.read_table(pa.BufferReader(read(path)), columns=list(columns) or None)

        users = table(paths.TRAINED_USERS)  # first, since it is what older versions lack
        splits = {name: table(paths.split_path(name)) for name in paths.SPLITS}
        return cls(
            name=revision,
            label=_label(users),
            metrics=json.loads(read(paths.METRICS)),
            summary=json.loads(read(paths.SUMMARY)),
            user_ids=table(paths.USERS, "user_id")["user_id"],
            item_ids=table(paths.ITEMS, "item_id")["item_id"],
            splits={
                name: np.stack([split[c].to_numpy().astype(np.int32) for c in ("user", "item")])
                for name, split in splits.items()
            },
            users=users,
            lists=table(paths.TRAINED_LISTS),
        )

    def judged(self, split: str) -> pa.Table:
        """The rows of `users` of one split, by user."""
        return self.users.filter(pc.equal(self.users["split"], split)).sort_by("user")

    def found(self, split: str, k: int) -> NDArray[np.bool_]:
        """(n,) which interactions of a split are among the first k of their user's list."""
        lists = self.lists.filter(pc.equal(self.lists["split"], split)).combine_chunks()
        shown = pc.list_slice(lists["items"].combine_chunks(), 0, k)
        rows = pc.list_parent_indices(shown)
        users = lists["user"].combine_chunks().take(rows)
        return np.isin(self._pairs(*self.splits[split]), self._pairs(users, shown.flatten()))

    def _pairs(self, users: Any, items: Any) -> NDArray[np.int64]:
        """One number a pair of user and item."""
        return np.asarray(users, np.int64) * len(self.item_ids) + np.asarray(items, np.int64)


def aligned(first: Side, second: Side) -> Side:
    """`second` with the codes of `first`, so that users are paired and items are the same.

    Raises:
        InputError: they were not judged on the same interactions; it says what differs.
    """
    differences = [
        f"{key}: {a} against {b}"
        for key in DECIDED
        if (a := first.summary[key]) != (b := second.summary[key])
    ]
    if not differences:
        for what, ours, theirs in (
            ("users", first.user_ids, second.user_ids),
            ("items", first.item_ids, second.item_ids),
        ):
            if len(ours) != len(theirs) or not pc.all(pc.is_in(theirs, value_set=ours)).as_py():
                differences.append(f"their {what} are others")
    if not differences:
        second = _recoded(second, first)
        differences = [
            f"their {name} interactions are others (another prepare.seed, or the catalogue changed)"
            for name in paths.SPLITS
            if not np.array_equal(_in_order(first.splits[name]), _in_order(second.splits[name]))
        ]
    if differences:
        raise InputError(
            f"{first.name} and {second.name} cannot be compared user by user: "
            + "; ".join(differences)
        )
    return second


def _recoded(side: Side, like: Side) -> Side:
    """`side` with the codes of `like`, which has the same ids."""
    user = pc.index_in(side.user_ids, value_set=like.user_ids).combine_chunks()
    item = pc.index_in(side.item_ids, value_set=like.item_ids).combine_chunks()
    codes = [np.asarray(column, np.int32) for column in (user, item)]

    def with_users(table: pa.Table) -> pa.Table:
        return table.set_column(
            table.column_names.index("user"), "user", user.take(table["user"].combine_chunks())
        )

    lists = with_users(side.lists)
    items = lists["items"].combine_chunks()
    recoded = pa.ListArray.from_arrays(items.offsets, item.take(items.values))
    return replace(
        side,
        user_ids=like.user_ids,
        item_ids=like.item_ids,
        splits={
            name: np.stack([code[column] for code, column in zip(codes, split, strict=True)])
            for name, split in side.splits.items()
        },
        users=with_users(side.users),
        lists=lists.set_column(lists.column_names.index("items"), "items", recoded),
    )


def _in_order(pairs: Codes) -> Codes:
    return pairs[:, np.lexsort(pairs[::-1])]


def _label(users: pa.Table) -> str:
    """What was trained, for people."""
    row = users.slice(0, 1).to_pylist()
    if not row:
        return "judged on nothing"
    system, layers, seed = (row[0][name] for name in ("system", "layers", "seed"))
    parts = [system]
    if layers is not None:
        parts.append(f"{layers} layer{'' if layers == 1 else 's'}")
    return ", ".join(parts if seed is None else [*parts, f"seed {seed}"])
