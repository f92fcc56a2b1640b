"""What a recommender answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Recommendation(NamedTuple):
    """An item of a ranked list: its id, its title, and its score or similarity."""

    item_id: str
    title: str
    score: float


@dataclass(frozen=True)
class Explanation:
    """Where a score comes from.

    Attributes:
        item: what is explained, with its score.
        parts: `collaboration`, the modalities and what else the item is made of → their terms,
            which sum to the score; empty where it is no such sum.
        liked: what the user liked that carries most of the score, and how much of it each; empty
            where the system cannot tell.
    """

    item: Recommendation
    parts: dict[str, float]
    liked: tuple[Recommendation, ...]

    @property
    def rest(self) -> float:
        """What `liked` leaves of the score: other liked items, and the user's own embedding."""
        return self.item.score - sum(one.score for one in self.liked)

    @property
    def shares(self) -> dict[str, float]:
        """`parts` by name as shares of the score; a part may pull the other way."""
        return {
            name: term / self.item.score for name, term in self.parts.items() if self.item.score
        }
