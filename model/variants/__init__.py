"""The registry of variants: parameter value = module = DVC item = label in the report."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.recommender import Recommender

# Class of each variant, in its module of the same name; imported on demand, so that checking a
# parameter does not cost an import of torch.
VARIANTS = {
    "none": "Unfused",
    "frozen": "Frozen",
    "alpha": "Alpha",
    "unfrozen": "Unfrozen",
    "normalized": "Normalized",
    "equal": "Equal",
    "early": "Early",
    "mmlgcn": "Mmlgcn",
    "vbpr": "Vbpr",
    "mmgcn": "Mmgcn",
    "lattice": "Lattice",
}


def module_of(name: str) -> str:
    """The module of a variant."""
    return f"{__name__}.{name}"


def variant_class(name: str) -> type[Recommender]:
    """The class behind a variant's name."""
    cls: type[Recommender] = getattr(importlib.import_module(module_of(name)), VARIANTS[name])
    return cls
