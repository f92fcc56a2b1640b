"""LightGCN alone, without content."""

from dataclasses import dataclass

from model.config import LIGHTGCN, SystemOptions
from model.lightgcn import LightGCN


@dataclass(frozen=True)
class Options(SystemOptions):
    """It reads nothing alone."""

    reads = LIGHTGCN
    undivided = ""


class Unfused(LightGCN):
    """item = e."""
