"""LF-MMLGCN with collaborative embeddings of the content's magnitude."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from model.config import LATE_FUSION, SystemOptions
from model.fusion import LateFusion


@dataclass(frozen=True)
class Options(SystemOptions):
    """It reads nothing alone."""

    reads = LATE_FUSION
    undivided = ""
    content = True
    fuses = True
    without_content = "none"


class Normalized(LateFusion):
    """item = mean[n L2norm(e), L2norm(m_1), ..., L2norm(m_n)], n the modalities of the item.

    Section 4.2, experiment 5 and Figure 4 of the paper. An item without content keeps L2norm(e).
    """

    once_a_modality = True

    def weigh(self, e: Tensor, content: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        return F.normalize(e), [F.normalize(m) for m in content]
