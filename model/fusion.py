"""What the late-fusion variants share: item = aggregate[e, m_1, ..., m_n] (eq. 12-13)."""

from typing import ClassVar

import torch
from torch import Tensor

from model.aggregate import aggregate_of
from model.config import Config
from model.features import Projection
from model.lightgcn import LightGCN
from model.recommender import Catalogue
from model.sampling import Batch


class LateFusion(LightGCN):
    """LightGCN whose items are aggregated with their projected modalities.

    A variant overrides `weigh` to rescale what goes in. Without modalities it is LightGCN.
    """

    trained_tables: ClassVar[bool] = False
    aggregates: ClassVar[bool] = True  # whether the parameter `aggregate` changes it

    def __init__(self, catalogue: Catalogue, config: Config) -> None:
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

    def fuse(self, items: Tensor) -> Tensor:
        if not len(self.projection):
            return items
        e, content = self.weigh(items, self.projection())
        counted = self.projection.counted  # (n, I, 1)
        return self.aggregate([e, *content], torch.cat([torch.ones_like(counted[:1]), counted]))

    def weigh(self, e: Tensor, content: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Rescale the collaborative items e (I, d) and the modalities m_j, each (I, d)."""
        return e, content

    def auxiliary_loss(self, users: Tensor, items: Tensor, batch: Batch) -> Tensor | None:
        return self.projection.auxiliary_loss(batch.touched[1])
