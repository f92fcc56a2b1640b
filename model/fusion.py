"""What the late-fusion variants share: item = aggregate[e, m_1, ..., m_n] (eq. 12-13)."""

from typing import ClassVar

import torch
from torch import Tensor

from model.aggregate import AGGREGATES
from model.features import Projection
from model.lightgcn import Catalogue, Config, LightGCN


class LateFusion(LightGCN):
    """LightGCN whose items are aggregated with their projected modalities.

    A variant overrides `weigh` to rescale what goes in. Without modalities it is LightGCN.
    """

    trained_tables: ClassVar[bool] = False

    def __init__(self, catalogue: Catalogue, config: Config) -> None:
        super().__init__(catalogue, config)
        self.projection = Projection(
            catalogue.modalities,
            config.dimension,
            learned=config.projection == "learned",
            trained_tables=self.trained_tables,
            missing=config.missing,
        )

    def fuse(self, items: Tensor) -> Tensor:
        if not len(self.projection):
            return items
        e, content = self.weigh(items, self.projection())
        counted = self.projection.counted
        return AGGREGATES[
            self.config.aggregate
        ](
            torch.stack([e, *content]),  # (1 + n, I, d)
            torch.cat([torch.ones_like(counted[:1]), counted]),  # (1 + n, I, 1)
        )

    def weigh(self, e: Tensor, content: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Rescale the collaborative items e (I, d) and the modalities m_j, each (I, d)."""
        return e, content
