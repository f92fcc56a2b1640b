"""LF-MMLGCN with a learned balance between collaboration and content."""

import torch
from torch import Tensor, nn

from model.config import Config
from model.fusion import LateFusion
from model.recommender import Catalogue
from model.reductions import scale


class Alpha(LateFusion):
    """item = mean[alpha e, (1 - alpha) m_1, ..., (1 - alpha) m_n], alpha = sigmoid(a).

    a starts at 0, so both sides weigh the same at first (section 4.2, experiment 3, Figure 3).
    """

    def __init__(self, catalogue: Catalogue, config: Config) -> None:
        super().__init__(catalogue, config)
        if catalogue.modalities:
            self.balance = nn.Parameter(torch.zeros(()))

    def weigh(self, e: Tensor, content: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        alpha = self.balance.sigmoid()
        return scale(alpha, e), [scale(1 - alpha, m) for m in content]

    @property
    def alpha(self) -> float | None:
        return float(self.balance.detach().sigmoid()) if len(self.projection) else None
