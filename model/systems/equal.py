"""LF-MMLGCN in which collaboration and content weigh the same, however many modalities."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from model.config import LATE_FUSION, SystemOptions
from model.fusion import LateFusion


@dataclass(frozen=True)
class Options(SystemOptions):
    """It reads nothing alone."""

    reads = LATE_FUSION - {"aggregate"}
    content = True
    fuses = True
    without_content = "none"


class Equal(LateFusion):
    """item = (e + mean_j m_j) / 2: the "early" row of eq. 12 with the mean.

    An item without content keeps e.
    """

    aggregates = False

    def fused(self, items: Tensor, content: Sequence[Tensor]) -> Tensor:
        counted = self.projection.counted  # (n, I, 1)
        n = counted.sum(0)
        total = sum(c * m for c, m in zip(counted, content, strict=True))
        return items + (n > 0) * 0.5 * (total / n.clamp(min=1) - items)
