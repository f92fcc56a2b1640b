"""How like one another items are: by the model, by who has them, by what they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from model.dataset import Modality
from model.graph import pattern_of
from model.interactions import Interactions
from model.projection import l2norm
from model.ranking import InnerProduct, Scorer, rank
from model.system import System, Unsupported
from pipeline.common.files import InputError

MODEL, COLLABORATION, CONTENT = "model", "collaboration", "content"


class Similarities:
    """A scorer for every way in which items are alike.

    Args:
        system: fitted.
        train: its training interactions, over all items.
        content: modality → its vectors over all items.
        device: where scores are made.
    """

    def __init__(
        self,
        system: System,
        train: Interactions,
        content: Mapping[str, Modality],
        device: torch.device,
    ) -> None:
        self.system, self.train, self.content, self.device = system, train, content, device
        self._scorers: dict[str, Scorer] = {}
        self._units: dict[str, tuple[Tensor, Tensor]] = {}

    def scorer(self, by: str) -> Scorer:
        """From items (b,) to how like them all items are (b, I).

        Args:
            by: `model`, `collaboration`, `content` or a modality. InputError if it is none.
        """
        if by not in self._scorers:
            with torch.inference_mode():
                self._scorers[by] = self._made(by)
        return self._scorers[by]

    def _made(self, by: str) -> Scorer:
        if by == MODEL:
            return by_model(self.system, self.train.n_items)
        if by == COLLABORATION:
            return by_collaboration(self.train)
        return by_content([self._unit(modality) for modality in self._chosen(by)])

    def _unit(self, modality: Modality) -> tuple[Tensor, Tensor]:
        """Vectors of length 1, and which items have them; kept, since `content` takes them too."""
        if modality.name not in self._units:
            self._units[modality.name] = unit_vectors(modality, self.device)
        return self._units[modality.name]

    def nearest(self, item: int, k: int, by: str) -> tuple[Tensor, Tensor]:
        """The k items most like another, itself left out, and how much so."""
        allowed = torch.ones(self.train.n_items, dtype=torch.bool, device=self.device)
        allowed[item] = False
        one = torch.tensor([item], device=self.device)
        with torch.inference_mode():
            items, likeness = rank(self.scorer(by), one, k, allowed=allowed)
        return items[0], likeness[0]

    def has(self, by: str, item: int) -> bool:
        """Whether an item has what `by` compares."""
        return by in (MODEL, COLLABORATION) or any(m.present[item] for m in self._chosen(by))

    def _chosen(self, by: str) -> list[Modality]:
        if by not in (CONTENT, *self.content):
            valid = ", ".join([MODEL, COLLABORATION, CONTENT, *self.content])
            raise InputError(f"by: {by!r} is not valid; valid: {valid}")
        return [m for name, m in self.content.items() if by in (CONTENT, name)]


def by_model(system: System, n_items: int) -> Scorer:
    """Cosines of the items' embeddings; without these, the scores of who liked that one item.

    An item that who liked nothing is shown with the same score is not like it at all: -inf. Of a
    blend, if that is so in each of its parts, since it shows who liked nothing what is popular.
    """
    if (embeddings := system.embeddings()) is not None:
        unit = l2norm(embeddings[1])
        return InnerProduct(unit, unit)

    try:
        fold = system.folding()
        parts = system.components()
        # Embeddings make every item more or less like another.
        close = any(part.embeddings() is not None for part in parts)
        folds = [] if close else [part.folding() for part in parts]
    except Unsupported as error:
        raise InputError(f"by: the model compares no items: {error}") from error

    def alone(items: Tensor) -> Tensor:
        rows = torch.arange(len(items), device=items.device)
        one = Interactions.of(rows, items, len(items), n_items)
        nothing = Interactions.of(rows[:0], items[:0], len(items), n_items)
        scores = fold(one)(rows)
        unlike = torch.full_like(scores, bool(folds), dtype=torch.bool)
        for of_part in folds:
            same = of_part(one)(rows) == of_part(nothing)(rows)
            unlike[:, : same.shape[1]] &= same  # a part without content knows no new items
        return scores.masked_fill(unlike, -torch.inf)

    return alone


def by_collaboration(train: Interactions) -> Scorer:
    """Cosines of the items' columns: users who have both, over the root of who has either's.

    -inf where nobody has both.
    """
    degrees = train.item_degrees().clamp(min=1).double()
    pattern = pattern_of(train)
    offsets, users_of = pattern.transposed_offsets, pattern.transposed_columns

    def likeness(items: Tensor) -> Tensor:
        rows = []
        for item in items.tolist():
            _, entries = train.entries(users_of[offsets[item] : offsets[item + 1]])
            both = torch.bincount(train.items[entries], minlength=train.n_items).double()
            rows.append((both / (degrees * degrees[item]).sqrt()).float())
        cosines = torch.stack(rows)
        return cosines.masked_fill_(cosines == 0, -torch.inf)

    return likeness


def unit_vectors(modality: Modality, device: torch.device) -> tuple[Tensor, Tensor]:
    """A modality's vectors (I, w) at length 1, and which items have them (I,)."""
    return l2norm(modality.vectors.to(device)), modality.present.to(device)


def by_content(modalities: Sequence[tuple[Tensor, Tensor]]) -> Scorer:
    """The mean cosine of the modalities that two items both have; -inf if there is none.

    Args:
        modalities: `unit_vectors` of each.
    """
    units, present = zip(*modalities, strict=True)

    def cosines(items: Tensor) -> Tensor:
        shared = [has[items][:, None] & has for has in present]
        both = torch.stack(shared).sum(0)
        total = torch.stack([u[items] @ u.T * s for u, s in zip(units, shared, strict=True)]).sum(0)
        return torch.where(both > 0, total / both.clamp(min=1), -torch.inf)

    return cosines
