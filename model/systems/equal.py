"""LF-MMLGCN in which collaboration and content weigh the same, however many modalities."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.config import LATE_FUSION, SystemOptions
from model.embedding import COLLABORATION
from model.fusion import LateFusion


@dataclass(frozen=True)
class Options(SystemOptions):
    """It reads nothing alone."""

    reads = LATE_FUSION - {"aggregate"}
    undivided = ""
    content = True
    fuses = True
    without_content = "none"


class Equal(LateFusion):
    """item = (e + mean_j m_j) / 2: the "early" row of eq. 12 with the mean.

    An item without content keeps e, unless `missing` counts something in its place.
    """

    aggregates = False

    def fused(self, items: Tensor, content: Sequence[Tensor]) -> Tensor:
        counted = self.projection.counted  # (n, I, 1)
        n = counted.sum(0)
        total = sum(c * m for c, m in zip(counted, content, strict=True))
        return items + (n > 0) * (1 - 0.5 * self.shown()) * (total / n.clamp(min=1) - items)

    def split(
        self, e: Tensor, has: Tensor, content: Sequence[Tensor], counted: Tensor
    ) -> dict[str, Tensor]:
        n = counted.sum(0)
        of_content = 1 - 0.5 * has  # all of it, where e is absent
        terms = [of_content * c * m / n.clamp(min=1) for c, m in zip(counted, content, strict=True)]
        own = torch.where(n > 0, 0.5 * has, has) * e
        return dict(zip([COLLABORATION, *self.means], [own, *terms], strict=True))
