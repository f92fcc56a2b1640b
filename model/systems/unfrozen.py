"""LF-MMLGCN with trained content."""

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


class Unfrozen(LateFusion):
    """As `frozen`, but the content tables are free parameters (section 4.2, experiment 4)."""

    trained_tables = True
