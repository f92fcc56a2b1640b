"""What the late-fusion systems share: item = aggregate[e, m_1, ..., m_n] (eq. 12-13)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from model.aggregate import aggregate_of
from model.config import Config
from model.dataset import Catalogue
from model.embedding import Embeddings
from model.lightgcn import LightGCN
from model.projection import Projection
from model.sampling import Batch


class LateFusion(LightGCN):
    """LightGCN whose items are aggregated with their projected modalities.

    A system overrides `weigh` to rescale what goes in. Without modalities it is LightGCN.
    """

    trained_tables: ClassVar[bool] = False
    aggregates: ClassVar[bool] = True  # whether the parameter `aggregate` changes it

    def __init__(self, catalogue: Catalogue, config: Config[Any]) -> None:
        super().__init__(catalogue, config)
        self.projection = Projection(
            catalogue.modalities,
            config.train.dimension,
            learned=config.projection == "learned",
            trained_tables=self.trained_tables,
            missing=config.train.missing,
            content=config.train.content,
        )
        if self.aggregates and len(self.projection):
            self.aggregate = aggregate_of(
                config.aggregate, 1 + len(self.projection), config.train.dimension
            )

    def fuse(self, users: Tensor, items: Tensor) -> Embeddings:
        if not len(self.projection):
            return Embeddings(users, items)
        content = self.projection()
        return Embeddings(users, self.fused(items, content), items, content)

    def fused(self, items: Tensor, content: Sequence[Tensor]) -> Tensor:
        """Collaborative items (I, d) and modalities m_j, each (I, d), to one item table (I, d)."""
        e, weighed = self.weigh(items, content)
        counted = self.projection.counted  # (n, I, 1)
        return self.aggregate([e, *weighed], torch.cat([torch.ones_like(counted[:1]), counted]))

    def weigh(self, e: Tensor, content: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Rescale the collaborative items e (I, d) and the modalities m_j, each (I, d)."""
        return e, content

    def auxiliary(self, embeddings: Embeddings, batch: Batch) -> Tensor | None:
        return self.projection.auxiliary(embeddings.content, batch.touched[1])
