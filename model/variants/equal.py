"""LF-MMLGCN in which collaboration and content weigh the same, however many modalities."""

from torch import Tensor

from model.fusion import LateFusion


class Equal(LateFusion):
    """item = (e + mean_j m_j) / 2: the "early" row of eq. 12 with the mean.

    An item without content keeps e.
    """

    aggregates = False

    def fuse(self, items: Tensor) -> Tensor:
        if not len(self.projection):
            return items
        counted = self.projection.counted  # (n, I, 1)
        n = counted.sum(0)
        content = sum(c * m for c, m in zip(counted, self.projection(), strict=True))
        return items + (n > 0) * 0.5 * (content / n.clamp(min=1) - items)
