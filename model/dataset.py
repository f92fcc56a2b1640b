"""What a system is built on and judged by: interactions, and the items' content."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.interactions import Interactions


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

    def filled(self, missing: str) -> Tensor:
        """(I, w); under `missing: mean`, absent rows hold the mean of the present ones.

        It is the encoder's output that is averaged: whatever is done to it afterwards, such as
        L2norm, is done to the mean as to any other row.
        """
        if missing != "mean" or not self.present.any():
            return self.vectors
        mean = self.vectors[self.present].mean(0, dtype=torch.float64).to(self.vectors.dtype)
        return torch.where(self.present[:, None], self.vectors, mean)


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

    def to(self, device: torch.device) -> Dataset:
        """The interactions on `device`; content stays where it is, systems bring theirs along."""
        catalogue = Catalogue(self.catalogue.train.to(device), self.catalogue.modalities)
        return Dataset(catalogue, self.validation.to(device), self.test.to(device))
