"""LF-MMLGCN with a learned balance between collaboration and content."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.config import LATE_FUSION, Config, SystemOptions
from model.dataset import Catalogue
from model.fusion import LateFusion
from model.reductions import scale


@dataclass(frozen=True)
class Options(SystemOptions):
    """It reads nothing alone."""

    reads = LATE_FUSION
    undivided = ""
    content = True
    fuses = True
    without_content = "none"


class Alpha(LateFusion):
    """item = mean[alpha e, (1 - alpha) m_1, ..., (1 - alpha) m_n], alpha = sigmoid(a).

    a starts at 0, so both sides weigh the same at first (section 4.2, experiment 3, Figure 3).
    """

    def __init__(self, catalogue: Catalogue, config: Config[Options]) -> None:
        super().__init__(catalogue, config)
        if catalogue.modalities:
            self.balance = nn.Parameter(torch.zeros(()))

    def weigh(self, e: Tensor, content: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        alpha = self.balance.sigmoid()
        return scale(alpha, e), [scale(1 - alpha, m) for m in content]

    def told(self) -> dict[str, Tensor]:
        """alpha, the weight of the collaborative embedding."""
        return {"alpha": self.balance.detach().sigmoid()} if len(self.projection) else {}
