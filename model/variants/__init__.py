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


def variant_class(name: str) -> type[Recommender]:
    """The class behind a variant's name."""
    module = importlib.import_module(f"model.variants.{name}")
    cls: type[Recommender] = getattr(module, VARIANTS[name])
    return cls
