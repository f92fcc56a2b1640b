"""LF-MMLGCN with trained content."""

from model.fusion import LateFusion


class Unfrozen(LateFusion):
    """As `frozen`, but the content tables are free parameters (section 4.2, experiment 4)."""

    trained_tables = True
