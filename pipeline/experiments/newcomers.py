"""Items and users that are held out of fitting, to come afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pipeline.catalogue.part import Mask, Part, drawn
from pipeline.catalogue.workspace import Workspace
from pipeline.common import paths
from pipeline.common.params import Params
from pipeline.experiments.experiment import Experiment

if TYPE_CHECKING:
    from model.dataset import Dataset, Modality
    from model.interactions import Interactions


@dataclass(frozen=True)
class HeldOut:
    """What of a workspace is held out, by `newcomers` of params.yaml.

    Items are drawn among those that somebody has, users among those who have something to train on
    and something to be tested by.
    """

    workspace: Workspace
    params: Params

    @cached_property
    def items(self) -> Mask:
        """(I,) the new ones."""
        n, asked = len(self.workspace.item_ids), self.params.newcomers
        has = np.zeros(n, bool)
        for name in paths.SPLITS:
            has[self.workspace.split(name)["item"].to_numpy()] = True
        return drawn(has, asked.items, asked.seed)

    @cached_property
    def users(self) -> Mask:
        """(U,) the new ones."""
        n, asked = self.workspace.n_users, self.params.newcomers
        both = [np.zeros(n, bool) for _ in range(2)]
        for has, name in zip(both, ("train", "test"), strict=True):
            has[self.workspace.split(name)["user"].to_numpy()] = True
        return drawn(both[0] & both[1], asked.users, asked.seed)

    @cached_property
    def without_items(self) -> Part:
        """The workspace before the items came."""
        return Part(self.workspace, items=~self.items)

    @cached_property
    def without_users(self) -> Part:
        """The workspace before the users came."""
        return Part(self.workspace, users=~self.users)

    def experiment(self, system: str) -> Experiment:
        """Under the strict protocol, with `refit` too: what is told here is of newcomers alone."""
        p = self.params
        return Experiment.of(p, system, p.layers, p.seed).strict

    def experiments(self) -> Iterator[tuple[Experiment, Workspace]]:
        """All that is fitted, and on what: before each came, and, to compare, with the users."""
        for system in self.params.newcomers.systems:
            experiment = self.experiment(system)
            if self.items.any():
                yield experiment, self.without_items
            if self.users.any():
                yield experiment, self.without_users
                yield experiment, self.workspace

    def content(self) -> list[Modality]:
        """Of the new items, the modalities that some other item has."""
        import torch

        new = torch.from_numpy(self.items)
        known = {m.name for m in self.without_items.dataset.catalogue.modalities}
        modalities = self.workspace.dataset.catalogue.modalities
        return [m.of(new) for m in modalities if m.name in known]

    def items_last(self) -> Dataset:
        """The whole dataset, its new items after the others, as `System.with_items` has them."""
        import torch

        from model.dataset import Catalogue, Dataset
        from model.interactions import Interactions

        order = np.concatenate([np.flatnonzero(~self.items), np.flatnonzero(self.items)])
        place = torch.from_numpy(np.argsort(order))

        def moved(x: Interactions) -> Interactions:
            return Interactions.of(x.users, place[x.items], x.n_users, x.n_items)

        whole = self.workspace.dataset
        return Dataset(
            Catalogue(moved(whole.catalogue.train)), moved(whole.validation), moved(whole.test)
        )

    def histories(self) -> tuple[Interactions, Interactions, Interactions]:
        """The new users' interactions in each split."""
        splits = Part(self.workspace, users=self.users).splits
        return splits["train"], splits["validation"], splits["test"]
