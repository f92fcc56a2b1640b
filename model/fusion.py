"""What the late-fusion systems share: item = aggregate[e, m_1, ..., m_n] (eq. 12-13)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from model.aggregate import aggregate_of, split
from model.config import Config
from model.dataset import Catalogue, Modality
from model.embedding import COLLABORATION, CONSTANT, Embeddings
from model.lightgcn import LightGCN
from model.projection import Projection
from model.sampling import Batch


class LateFusion(LightGCN):
    """LightGCN whose items are aggregated with their projected modalities.

    A system overrides `weigh` to rescale what goes in. Without modalities it is LightGCN.
    """

    trained_tables: ClassVar[bool] = False
    once_a_modality: ClassVar[bool] = False  # whether e counts once for each that an item has
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
        counted = self.projection.counted  # (n, I, 1)
        e, weighed = self._weighed(items, content, counted)
        return self.aggregate([e, *weighed], torch.cat([self.shown()[None], counted]))

    def shown(self) -> Tensor:
        """(I, 1), 1. where e takes part: while training, not in a share of items with content."""
        has, share = self.projection.has, self.config.train.id_dropout
        ones = torch.ones_like(has[0])
        if not (share and self.training):
            return ones
        kept = torch.rand_like(ones) >= share
        return torch.where(has.amax(0) > 0, kept.float(), ones)

    def weigh(self, e: Tensor, content: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Rescale the collaborative items e (I, d) and the modalities m_j, each (I, d)."""
        return e, content

    def _weighed(
        self, e: Tensor, content: Sequence[Tensor], counted: Tensor
    ) -> tuple[Tensor, Sequence[Tensor]]:
        e, weighed = self.weigh(e, content)
        return (counted.sum(0).clamp(min=1) * e if self.once_a_modality else e), weighed

    def item_terms(self) -> dict[str, Tensor]:
        if not len(self.projection):
            return super().item_terms()
        e, counted = self.collaborative()[1], self.projection.counted
        return self.split(e, torch.ones_like(counted[0]), self.projection(), counted)

    def new_terms(self, content: Sequence[Modality]) -> dict[str, Tensor]:
        """The aggregate of content alone: an item that nobody has yet lacks e, as others an m_j.

        Counting an e of zeros would order new items alike, and lower: measured, nobody is ever
        shown one. What `train.id_dropout` trains is this.
        """
        made, counted = self.projection.of_new(content)
        return self.split(torch.zeros_like(made[0]), torch.zeros_like(counted[0]), made, counted)

    def split(
        self, e: Tensor, has: Tensor, content: Sequence[Tensor], counted: Tensor
    ) -> dict[str, Tensor]:
        """What e and each m_j, of items that have them (1. or 0.), add to the aggregate."""
        e, weighed = self._weighed(e, content, counted)
        present = torch.cat([has[None], counted])
        shares, constant = split(self.aggregate, [e, *weighed], present)
        named = dict(zip([COLLABORATION, *self.means], shares, strict=True))
        return named if constant is None else named | {CONSTANT: constant.expand_as(e)}

    @property
    def repeatable(self) -> bool:
        return not self.projection.selects

    def auxiliary(self, embeddings: Embeddings, batch: Batch) -> Tensor | None:
        touched = batch.touched[1]
        return self.projection.auxiliary(embeddings.content, touched, batch.most_items)
