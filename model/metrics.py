"""What recommendations are judged by, at every cut-off k, over full rankings in blocks of users.

A metric is one function here under `per_user` or `over_lists`: that alone puts it into the
evaluation, the study's results and the report's tables. torch is imported where it computes, so
that reading the names costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from model.interactions import Interactions

    Scorer = Callable[[Tensor], Tensor]  # users (b,) int64 → their scores of all items (b, I)

KS = (5, 10, 20, 50)


class Measure(NamedTuple):
    """A metric at one cut-off."""

    metric: str
    k: int

    def __str__(self) -> str:
        return f"{self.metric}@{self.k}"


SELECTION = Measure("ndcg", 10)
"""On validation, this chooses epochs and depths."""


@dataclass(frozen=True)
class Metric:
    """A metric's name, its title for people, and what computes it.

    Attributes:
        accuracy: whether it compares lists with what is relevant, so that the highest is the best.
    """

    name: str
    title: str
    accuracy: bool
    function: Callable[..., Tensor]


METRICS: dict[str, Metric] = {}


def per_user(
    title: str,
) -> Callable[[Callable[[Ranking, int], Tensor]], Callable[[Ranking, int], Tensor]]:
    """Declare a metric of one user's list: `Ranking` and k → (B,) float64."""

    def register(function: Callable[[Ranking, int], Tensor]) -> Callable[[Ranking, int], Tensor]:
        METRICS[function.__name__] = Metric(function.__name__, title, True, function)
        return function

    return register


def over_lists(
    title: str,
) -> Callable[[Callable[[Exposure], Tensor]], Callable[[Exposure], Tensor]]:
    """Declare a metric of all users' lists together: their `Exposure` at k → a scalar float64."""

    def register(function: Callable[[Exposure], Tensor]) -> Callable[[Exposure], Tensor]:
        METRICS[function.__name__] = Metric(function.__name__, title, False, function)
        return function

    return register


class Ranking:
    """The ranked lists of B users against what is relevant to each.

    Args:
        hits: (B, L) bool, whether the item at each rank is relevant; ranks past L are misses.
        relevant: (B,) int64 >= 1, how many items are relevant to the user.
        length: the longest list that is asked for.
    """

    def __init__(self, hits: Tensor, relevant: Tensor, length: int) -> None:
        self.relevant = relevant
        self.gains = hits.double()
        if length > hits.shape[1]:
            self.gains = self.gains.new_zeros(len(hits), length)
            self.gains[:, : hits.shape[1]] = hits.double()

    @cached_property
    def found(self) -> Tensor:
        """(B, L) relevant items among the first k, at index k - 1."""
        return self.gains.cumsum(1)

    @cached_property
    def discount(self) -> Tensor:
        """(L,) 1 / log2(rank + 1)."""
        import torch

        ranks = torch.arange(1, self.gains.shape[1] + 1, device=self.gains.device)
        return (ranks + 1).double().log2().reciprocal()

    @cached_property
    def dcg(self) -> Tensor:
        """(B, L) discounted cumulative gain of the first k, at index k - 1."""
        return (self.gains * self.discount).cumsum(1)


@per_user("precision")
def precision(ranking: Ranking, k: int) -> Tensor:
    """Share of the first k that is relevant."""
    return ranking.found[:, k - 1] / k


@per_user("recall")
def recall(ranking: Ranking, k: int) -> Tensor:
    """Share of what is relevant that is among the first k."""
    return ranking.found[:, k - 1] / ranking.relevant


@per_user("NDCG")
def ndcg(ranking: Ranking, k: int) -> Tensor:
    """Binary gains, discounted by 1 / log2(rank + 1), over the best that k ranks could hold."""
    ideal = ranking.discount.cumsum(0)[ranking.relevant.clamp(max=k) - 1]
    return ranking.dcg[:, k - 1] / ideal


@dataclass(frozen=True)
class Exposure:
    """How often the lists of the first k show each item.

    Attributes:
        counts: (I,) int64, in how many lists it stands.
        popularity: (I,) int64, training interactions.
        n_users: U, in training.
    """

    counts: Tensor
    popularity: Tensor
    n_users: int


@over_lists("coverage")
def coverage(lists: Exposure) -> Tensor:
    """Share of the catalogue that somebody is shown."""
    return (lists.counts > 0).double().mean()


@over_lists("novelty")
def novelty(lists: Exposure) -> Tensor:
    """Mean of -log2(share of users who have the item) over all that is shown (Zhou et al., 2010).

    An item that nobody has counts as if one user had it.
    """
    information = -(lists.popularity.clamp(min=1).double() / lists.n_users).log2()
    return (lists.counts * information).sum() / lists.counts.sum().clamp(min=1)


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        users: measure → (users with something relevant,) float64, in order of user.
        lists: measure → a scalar over those users' lists.
    """

    users: dict[Measure, Tensor]
    lists: dict[Measure, Tensor]

    def values(self) -> dict[Measure, float]:
        """Every measure as one number: the mean over users, or that of the lists."""
        from model import reductions

        means = {measure: float(reductions.mean(v)) for measure, v in self.users.items()}
        return means | {measure: float(v) for measure, v in self.lists.items()}


def rank(scores: Tensor, seen: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best unseen items of b users and their scores, best first; (b, k) each.

    Args:
        scores: (b, I), overwritten.
        seen: (b, I) bool, what may not be recommended; it comes last, with a score of -inf.
    """
    import torch

    best = scores.masked_fill_(seen, -torch.inf).topk(k, dim=1)
    return best.indices, best.values


def evaluate(
    scorer: Scorer,
    *,
    seen: Interactions,
    relevant: Interactions,
    popularity: Tensor | None = None,
    ks: Sequence[int] = KS,
    cells: int = 1 << 24,
) -> Evaluation:
    """Judge every user with something relevant, ranking the whole catalogue less `seen`.

    Args:
        scorer: users (b,) int64 → their scores of all items (b, I).
        seen: interactions that may not be recommended again.
        relevant: interactions to be found.
        popularity: (I,) int64, training interactions an item; None leaves out what is measured
            over all lists.
        cells: the most scores held at a time; memory never holds U x I.
    """
    import torch

    k = min(max(ks), relevant.n_items)
    block = max(1, cells // relevant.n_items)
    degrees = relevant.degrees()
    counts = [relevant.items.new_zeros(relevant.n_items) for _ in ks]
    judged = [metric for metric in METRICS.values() if metric.accuracy]
    parts = []
    with torch.inference_mode():
        for first in range(0, relevant.n_users, block):
            last = min(first + block, relevant.n_users)
            counted = degrees[first:last] > 0
            users = torch.arange(first, last, device=degrees.device)
            best, scores = rank(scorer(users), seen.block(first, last), k)
            hits = relevant.block(first, last).gather(1, best)
            ranking = Ranking(hits[counted], degrees[first:last][counted], max(ks))
            parts.append({Measure(m.name, k): m.function(ranking, k) for k in ks for m in judged})
            if popularity is not None:
                shown = counted[:, None] & (scores > -torch.inf)
                for at, count in zip(ks, counts, strict=True):
                    items = best[:, :at][shown[:, :at]]
                    count += torch.bincount(items, minlength=relevant.n_items)
        lists = {}
        if popularity is not None:
            exposures = [Exposure(count, popularity, relevant.n_users) for count in counts]
            lists = {
                Measure(m.name, k): m.function(exposure)
                for k, exposure in zip(ks, exposures, strict=True)
                for m in METRICS.values()
                if not m.accuracy
            }
        judgements = {m: torch.cat([part[m] for part in parts]) for m in parts[0]}
        return Evaluation(judgements, lists)
