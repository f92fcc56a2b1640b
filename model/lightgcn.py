"""LightGCN, and the one place where late fusion differs from it: `fuse`."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from model.features import Modality
from model.propagation import propagate


@dataclass(frozen=True)
class Config:
    """What a variant may depend on besides the data; names as in params.yaml."""

    dimension: int
    layers: int
    aggregate: str = "mean"
    propagation: str = "bipartite"
    projection: str = "fixed"
    missing: str = "skip"


@dataclass(frozen=True)
class Catalogue:
    """What a model is built on: the size of both sides, the graph, the items' content."""

    n_users: int
    n_items: int
    adjacency: Tensor
    modalities: list[Modality] = field(default_factory=list)


class LightGCN(nn.Module):
    """E^(0), propagation and layer mean (eq. 4-7); subclasses fuse content into the items.

    Users are never fused. Parameters are drawn from torch's global generator.
    """

    def __init__(self, catalogue: Catalogue, config: Config) -> None:
        super().__init__()
        self.config = config
        self.n_users, self.n_items = catalogue.n_users, catalogue.n_items
        self.adjacency = catalogue.adjacency
        # (U + I, d), Xavier-uniform over the whole table, as in PyG's LightGCN.
        self.embedding = nn.Parameter(torch.empty(self.n_users + self.n_items, config.dimension))
        nn.init.xavier_uniform_(self.embedding)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Users (U, d) and items (I, d); the score of (u, i) is their inner product (eq. 8)."""
        if self.config.propagation == "published":
            # The published code's edges ran one way only, so every message vanished.
            propagated = self.embedding / (self.config.layers + 1)
        else:
            propagated = propagate(self.adjacency, self.embedding, self.config.layers)
        users, items = propagated.split([self.n_users, self.n_items])
        return users, self.fuse(items)

    def fuse(self, items: Tensor) -> Tensor:
        """Collaborative items (I, d) → fused items (I, d); LightGCN alone changes nothing."""
        return items

    @property
    def alpha(self) -> float | None:
        """The learned weight of the collaborative embedding, where a variant has one."""
        return None
