"""LF-MMLGCN with frozen content, the paper's base variant."""

from model.fusion import LateFusion


class Frozen(LateFusion):
    """item = (e + sum_j m_j) / (n + 1), the m_j constant (eq. 13)."""
