"""Controls: a system with one thing changed, which tells where its gain comes from.

Free of torch until one is applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from model.config import AGGREGATES, SystemOptions

if TYPE_CHECKING:
    from model.dataset import Catalogue, Modality

CONTROLS = {
    "placebo": "every item has the content of another, so that what is left of a gain is not "
    "content",
    "no_content": "no item has any",
    "unit_length": "items are as long as their collaborative embeddings: content turns them, but "
    "lengthens none (under `cold_items: new`, items that nobody has have no such embedding)",
}
"""For every system with content to which they apply, and what they change."""

ABLATIONS = {
    "modalities": "each modality alone, and each left out",
    "aggregates": "every function that fuses",
}

ONLY, WITHOUT, AGGREGATE = "only_", "without_", "aggregate_"


def controls_of(
    options: SystemOptions,
    controls: Iterable[str],
    ablations: Iterable[str],
    modalities: Sequence[str],
) -> list[str]:
    """Those of `controls`, and those that `ablations` stand for, that change a system.

    Args:
        options: the system's.
        modalities: the names of those that some item has.
    """
    found = []
    for control in controls:
        if options.content and modalities and (control != "unit_length" or options.fuses):
            found.append(control)
    for ablation in ablations:
        if ablation == "modalities" and options.content and len(modalities) > 1:
            found += [prefix + name for prefix in (ONLY, WITHOUT) for name in modalities]
        if ablation == "aggregates" and modalities and "aggregate" in options.reads:
            found += [AGGREGATE + name for name in AGGREGATES]
    return found


def aggregate_in(control: str | None) -> dict[str, str]:
    """The parameter that a control overrides, if any."""
    is_one = control is not None and control.startswith(AGGREGATE)
    return {"aggregate": control.removeprefix(AGGREGATE)} if control and is_one else {}


def controlled(catalogue: Catalogue, control: str | None, seed: int) -> Catalogue:
    """The catalogue as a system under `control` is given it.

    Args:
        seed: of the placebo's permutations.
    """
    modalities = catalogue.modalities
    if control == "placebo":
        kept = [permuted(m, seed, index) for index, m in enumerate(modalities)]
    elif control == "no_content":
        kept = []
    elif control is not None and control.startswith(ONLY):
        kept = [m for m in modalities if m.name == control.removeprefix(ONLY)]
    elif control is not None and control.startswith(WITHOUT):
        kept = [m for m in modalities if m.name != control.removeprefix(WITHOUT)]
    else:
        kept = modalities
    return replace(catalogue, modalities=kept)


def permuted(modality: Modality, seed: int, stream: int) -> Modality:
    """Its rows in one random cycle over the items that have it, so that none keeps its own.

    Args:
        seed, stream: together they choose the cycle.
    """
    import torch

    generator = torch.Generator().manual_seed((seed * 1_000_003 + stream) % 2**63)
    present = modality.present.nonzero()[:, 0]
    order = present[torch.randperm(len(present), generator=generator)]
    vectors = modality.vectors.clone()
    vectors[order] = modality.vectors[order.roll(1)]
    return replace(modality, vectors=vectors)
