"""Who asks: a user of the catalogue, or a new one by what they like."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import SupportsIndex

import torch
from torch import Tensor

from model.interactions import Interactions
from model.ranking import CELLS, InnerProduct, Scorer, rank
from model.system import System, Unsupported
from pipeline.common.files import InputError
from pipeline.recommending.histories import Histories
from pipeline.recommending.index import Index


@dataclass(frozen=True)
class Asker:
    """One user.

    Attributes:
        scorer: over the users among whom `row` is.
        row: (1,) int64.
        seen: what each of those users is not recommended.
        history: (n,) int64, what the system knows that this one liked.
        index: of the scorer's items, if lists may be approximate.
    """

    scorer: Scorer
    row: Tensor
    seen: Interactions | None
    history: Tensor
    index: Index | None = None

    def rank(self, k: int, allowed: Tensor | None) -> tuple[Tensor, Tensor]:
        """Items and scores, (k,) each; as `model.ranking.rank`."""
        with torch.inference_mode():
            if self.index is not None and isinstance(self.scorer, InnerProduct):
                cpu = torch.device("cpu")  # where the index is
                hidden = None if self.seen is None else self.seen.of_users(self.row).to(cpu)
                shown = None if allowed is None else allowed.cpu()
                vector = self.scorer.users[self.row].cpu()
                items, scores = self.index.search(vector, k, hidden=hidden, allowed=shown)
            else:
                items, scores = rank(self.scorer, self.row, k, seen=self.seen, allowed=allowed)
        return items[0], scores[0]

    def scores(self, items: Tensor) -> Tensor:
        """(n,) of some items, exact."""
        with torch.inference_mode():
            if isinstance(self.scorer, InnerProduct):
                return self.scorer.exact(self.row.expand(len(items)), items)
            return self.scorer(self.row)[0, items]

    def parts(self, item: int, terms: Mapping[str, Tensor] | None) -> dict[str, float]:
        """What each of the items' terms adds to the score of one; nothing without embeddings."""
        if not isinstance(self.scorer, InnerProduct) or terms is None:
            return {}
        user = self.scorer.users[self.row[0]].double()
        return {name: float(user @ term[item].double()) for name, term in terms.items()}


class Askers:
    """The users of a fitted system.

    Args:
        system: fitted.
        histories: of its users, over all items.
        index: of its items, if lists may be approximate.
    """

    def __init__(self, system: System, histories: Histories, index: Index | None = None) -> None:
        self.system, self.histories, self.index = system, histories, index

    @cached_property
    def scorer(self) -> Scorer:
        """Of all users."""
        with torch.inference_mode():
            return self.system.scorer()

    @cached_property
    def folding(self) -> Callable[[Interactions], Scorer]:
        """From new users' histories to their scorer. InputError if the system takes none."""
        try:
            with torch.inference_mode():
                return self.system.folding()
        except Unsupported as error:
            raise InputError(f"the system takes no new users: {error}") from error

    @cached_property
    def carriers(self) -> Callable[[Tensor, int], Tensor] | None:
        """`System.carriers`, of all users."""
        with torch.inference_mode():
            return self.system.carriers()

    def blocks(
        self, users: Tensor | None, k: int, hide: str, allowed: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Users (b,), items (b, k) and scores (b, k), on the CPU, block by block.

        Args:
            users: rows, None for all.
        """
        known, seen = self.histories.fitted, self.histories.seen(hide)
        rows = torch.arange(known.n_users) if users is None else users
        for block in rows.split(max(1, CELLS[known.items.device.type] // max(1, known.n_items))):
            there = block.to(known.items.device)
            with torch.inference_mode():
                items, scores = rank(self.scorer, there, k, seen=seen, allowed=allowed)
            yield block, items.cpu(), scores.cpu()

    def known(self, user: int, hide: str) -> Asker:
        """A user by row; `hide` as in `Histories.seen`."""
        history = self.histories.known(user)
        row = torch.tensor([user], device=history.device)
        return Asker(self.scorer, row, self.histories.seen(hide), history, self.index)

    def new(self, liked: Tensor, hide: str) -> Asker:
        """A new user by the rows of what they liked, which `hide` hides, unless it is `nothing`.

        InputError if none of it is an item that the system was fitted on.
        """
        if not (liked < self.system.n_items).any():
            raise InputError("a new user is known by items that the model was fitted on: name some")
        first = torch.zeros(1, dtype=torch.int64, device=liked.device)
        n_items = self.histories.fitted.n_items
        histories = Interactions.of(torch.zeros_like(liked), liked, 1, n_items)
        seen = None if self.histories.seen(hide) is None else histories
        with torch.inference_mode():
            scorer = self.folding(histories)
        return Asker(scorer, first, seen, histories.items, self.index)


def length(k: SupportsIndex) -> int:
    """k, if it is the length of a list. InputError if not."""
    if isinstance(k, bool) or not isinstance(k, SupportsIndex) or operator.index(k) < 1:
        raise InputError(f"k: {k!r} is not valid; a whole number from 1 on is")
    return operator.index(k)
