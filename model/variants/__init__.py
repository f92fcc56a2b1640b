"""The registry of variants: parameter value = module = DVC item = label in the report."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.lightgcn import LightGCN

# Class of each variant, in its module of the same name; imported on demand, so that checking a
# parameter does not cost an import of torch.
VARIANTS = {
    "none": "Unfused",
    "frozen": "Frozen",
    "alpha": "Alpha",
    "unfrozen": "Unfrozen",
    "normalized": "Normalized",
    "equal": "Equal",
}


def variant_class(name: str) -> type[LightGCN]:
    """The class behind a variant's name."""
    cls: type[LightGCN] = getattr(importlib.import_module(f"model.variants.{name}"), VARIANTS[name])
    return cls
