"""What a system is built on and judged by: interactions, and the items' content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from model.interactions import Interactions
from model.ranks import Ranks, bounds_of


@dataclass(frozen=True)
class Modality:
    """One modality's encoder output over all items.

    Attributes:
        name: text, image, audio, video, ...
        vectors: (I, w) float32; rows of items that lack it hold zeros.
        present: (I,) bool, which items have it.
    """

    name: str
    vectors: Tensor
    present: Tensor

    def of(self, items: Tensor) -> Modality:
        """That of some items, by number (n,) or as a mask (I,)."""
        return Modality(self.name, self.vectors[items], self.present[items])

    def filled(self, missing: str) -> Tensor:
        """(I, w); under `missing: mean`, absent rows hold the mean of the present ones.

        It is the encoder's output that is averaged: whatever is done to it afterwards, such as
        L2norm, is done to the mean as to any other row.
        """
        if missing != "mean" or not self.present.any():
            return self.vectors
        mean = self.vectors[self.present].mean(0, dtype=torch.float64).to(self.vectors.dtype)
        return torch.where(self.present[:, None], self.vectors, mean)


def means_of(modalities: Sequence[Modality]) -> dict[str, Tensor]:
    """Name → (w,), the mean of a modality's present vectors; zeros if there are none."""
    found = {}
    for m in modalities:
        present = m.vectors[m.present].mean(0, dtype=torch.float64)
        found[m.name] = present.nan_to_num().to(m.vectors.dtype)
    return found


class Unsupported(ValueError):
    """What a system cannot do. The message says why."""


def completed(
    content: Sequence[Modality], means: Mapping[str, Tensor], missing: str
) -> list[Modality]:
    """Modalities of some items as a system of others takes them, all of `means`, in its order.

    Args:
        content: what the items have; a modality that is not there they lack.
        means: of the items that the system was built on.
        missing: `mean` fills in what is absent; `present` stays as it is.

    Raises:
        Unsupported: a modality is none of `means`, or its vectors are of another width.
    """
    given, n = {m.name: m for m in content}, len(content[0].present) if content else 0
    found = []
    for name, modality in given.items():
        if name not in means:
            raise Unsupported(f"{name}: no such modality here; there are {', '.join(means)}")
        if modality.vectors.shape[1] != len(means[name]):
            raise Unsupported(
                f"{name}: vectors of {modality.vectors.shape[1]} numbers; here they have "
                f"{len(means[name])}"
            )
    for name, mean in means.items():
        vectors = torch.zeros(n, len(mean))
        lacking = Modality(name, vectors, torch.zeros(n, dtype=torch.bool))
        modality = given.get(name, lacking)
        if missing == "mean":
            filled = torch.where(modality.present[:, None], modality.vectors, mean)
            modality = replace(modality, vectors=filled)
        found.append(modality)
    return found


@dataclass(frozen=True)
class Catalogue:
    """What a system is built on: the training edges and the items' content."""

    train: Interactions
    modalities: list[Modality] = field(default_factory=list)

    @property
    def n_users(self) -> int:
        """U."""
        return self.train.n_users

    @property
    def n_items(self) -> int:
        """I."""
        return self.train.n_items


@dataclass(frozen=True)
class Dataset:
    """A catalogue and what is to be predicted of it."""

    catalogue: Catalogue
    validation: Interactions
    test: Interactions

    def without_content(self) -> Dataset:
        """This one for who reads none."""
        return Dataset(Catalogue(self.catalogue.train), self.validation, self.test)

    def joined(self) -> Dataset:
        """This one with its validation interactions among the training ones, and none left."""
        train, catalogue = self.catalogue.train, self.catalogue
        nothing = train.items.new_empty(0)
        return Dataset(
            Catalogue(train | self.validation, catalogue.modalities),
            Interactions.of(nothing, nothing, train.n_users, train.n_items),
            self.test,
        )

    def of_rank(self, ranks: Ranks) -> Dataset:
        """What one of several processes has: some users' interactions, every item's content."""
        if ranks.size == 1:
            return self
        train = self.catalogue.train
        bounds = bounds_of(train.offsets, ranks.size)
        own = [part.of_rank(ranks, bounds) for part in (train, self.validation, self.test)]
        return Dataset(Catalogue(own[0], self.catalogue.modalities), *own[1:])

    def to(self, device: torch.device) -> Dataset:
        """The interactions on `device`; content stays where it is, systems bring theirs along."""
        catalogue = Catalogue(self.catalogue.train.to(device), self.catalogue.modalities)
        return Dataset(catalogue, self.validation.to(device), self.test.to(device))
