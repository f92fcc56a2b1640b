"""What a blend may be made of, and which parameters of its parts validation chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.systems import (
    alpha,
    contentknn,
    contrastive,
    ease,
    equal,
    frozen,
    ials,
    itemknn,
    lattice,
    none,
    normalized,
    options_class,
    unfrozen,
)

if TYPE_CHECKING:
    from model.config import SystemOptions
    from model.dataset import Catalogue
    from model.search import Point
    from model.system import System

CONTENT_WEIGHT = 0.1  # EASE's alpha^2, in lambda
DROPOUT = 0.2  # EASE's p

SOUGHT: dict[str, tuple[Point, Point]] = {
    # Part → where its parameters start, and the factors of the search's steps.
    "ease": ({"strength": 8.0, "normalized": 0.0}, {"strength": 2.0, "normalized": 0.0}),
    "ials": (
        {"unobserved_weight": 0.1, "regularization": 0.01},
        {"unobserved_weight": 2.0, "regularization": 2.0},
    ),
    "itemknn": (
        {"bm25": 0.0, "shrinkage": 20.0, "k1": 1.0, "b": 0.5},
        {"bm25": 0.0, "shrinkage": 2.0, "k1": 2.0, "b": 2.0},
    ),
    "contentknn": ({"neighbors": 20}, {"neighbors": 4.0}),
}
CLASSES: dict[str, type[System]] = {
    "ease": ease.Ease,
    "ials": ials.Ials,
    "itemknn": itemknn.ItemKnn,
    "contentknn": contentknn.ContentKnn,
    "none": none.Unfused,
    "frozen": frozen.Frozen,
    "alpha": alpha.Alpha,
    "unfrozen": unfrozen.Unfrozen,
    "normalized": normalized.Normalized,
    "equal": equal.Equal,
    "contrastive": contrastive.Contrastive,
    "lattice": lattice.Lattice,
}
WITHOUT_CONTENT = ("ials", "itemknn", "none")


def options_of(name: str, point: Point, catalogue: Catalogue) -> SystemOptions:
    """A part's, for the parameters sought."""
    if name == "ials":
        return ials.Options(
            unobserved_weight=point["unobserved_weight"], regularization=point["regularization"]
        )
    if name == "itemknn":
        if point["bm25"]:
            return itemknn.Options("bm25", k1=point["k1"], b=min(1.0, point["b"]))
        return itemknn.Options("cosine", shrinkage=point["shrinkage"])
    if name == "contentknn":
        return contentknn.Options(round(point["neighbors"]))
    if name == "lattice":
        return lattice.Options(0.001, rebuild="epoch")
    if name != "ease":
        return options_class(name)()
    exponents = (0.25, 0.125) if point["normalized"] else (0.0, 0.0)
    strength = point["strength"] * ease.mean_diagonal(catalogue.train, *exponents)
    content = CONTENT_WEIGHT * strength if catalogue.modalities else 0.0
    return ease.Options(strength, DROPOUT, content, False, *exponents)
