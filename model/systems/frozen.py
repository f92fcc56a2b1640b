"""LF-MMLGCN with frozen content, the paper's base system."""

from dataclasses import dataclass

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


class Frozen(LateFusion):
    """item = (e + sum_j m_j) / (n + 1), the m_j constant (eq. 13)."""
