"""A prepared catalogue without some of its items or users, as if they had never been there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.catalogue.workspace import Workspace, tables_sha256

if TYPE_CHECKING:
    from model.dataset import Modality

Mask = NDArray[np.bool_]
Codes = NDArray[np.int64]


class Part(Workspace):
    """What is left of a workspace; items and users keep their order and are renumbered.

    Args:
        whole: all of it.
        items, users: (I,) and (U,), which of them stay; None for all.
    """

    def __init__(
        self, whole: Workspace, *, items: Mask | None = None, users: Mask | None = None
    ) -> None:
        super().__init__(whole.source)
        self.whole = whole
        self.items = np.ones(len(whole.item_ids), bool) if items is None else items
        self.users = np.ones(whole.n_users, bool) if users is None else users

    @cached_property
    def hashes(self) -> Mapping[str, str]:
        left = pa.table({"of": [self.whole.hashes["content"]], "kept": [self.items]})
        return self.interaction_hashes | {"content": tables_sha256(left)}

    @cached_property
    def item_ids(self) -> pa.ChunkedArray:
        return self.whole.item_ids.filter(pa.array(self.items))

    @property
    def n_users(self) -> int:
        return int(self.users.sum())

    @property
    def modalities(self) -> list[str]:
        return self.whole.modalities

    def split(self, name: str) -> pa.Table:
        table = self.whole.split(name)
        user, item = (table[column].to_numpy() for column in ("user", "item"))
        kept = self.users[user] & self.items[item]
        new = {"user": places(self.users)[user[kept]], "item": places(self.items)[item[kept]]}
        return pa.table({column: pa.array(codes, pa.int32()) for column, codes in new.items()})

    @cached_property
    def content(self) -> list[Modality]:
        import torch

        kept = torch.from_numpy(self.items)
        left = [modality.of(kept) for modality in self.whole.content]
        return [modality for modality in left if modality.present.any()]


def places(kept: Mask) -> Codes:
    """(n,) the new number of each that stays."""
    return np.cumsum(kept) - 1


def drawn(candidates: Mask, share: float, seed: int) -> Mask:
    """(n,) a random share of the candidates (n,), rounded down."""
    at = np.flatnonzero(candidates)
    chosen = np.zeros(len(candidates), bool)
    count = int(len(at) * share + 1e-9)  # 0.29 * 100 is 28.999999999999996
    chosen[np.random.default_rng(seed).permutation(at)[:count]] = True
    return chosen
