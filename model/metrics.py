"""What recommendations are judged by, at every cut-off k.

A metric is one function here under `per_user` or `over_lists`: that alone puts it into the
evaluation, the study's results and the report's tables. torch is imported where it computes, so
that reading the names costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

KS = (5, 10, 20, 50)
"""The cut-offs of the paper's tables."""


class Measure(NamedTuple):
    """A metric at one cut-off."""

    metric: str
    k: int

    def __str__(self) -> str:
        return f"{self.metric}@{self.k}"


SELECTION = Measure("ndcg", 10)
"""On validation, this chooses epochs and depths."""


def cutoffs(n_items: int) -> tuple[int, ...]:
    """Those of `KS` that say something of a catalogue of `n_items`.

    A list of more than half of the catalogue holds nearly all that is relevant, whoever made it.
    That of `SELECTION` is always there.
    """
    return tuple(k for k in KS if k <= max(SELECTION.k, n_items // 2))


@dataclass(frozen=True)
class Metric:
    """A metric's name, its title for people, and what computes it.

    Attributes:
        accuracy: whether it compares lists with what is relevant, so that the highest is the best.
        decimals: how many a table shows.
    """

    name: str
    title: str
    accuracy: bool
    function: Callable[..., Tensor]
    decimals: int = 4


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
    title: str, decimals: int = 4
) -> Callable[[Callable[[Exposure], Tensor]], Callable[[Exposure], Tensor]]:
    """Declare a metric of all users' lists together: their `Exposure` at k → a scalar float64."""

    def register(function: Callable[[Exposure], Tensor]) -> Callable[[Exposure], Tensor]:
        METRICS[function.__name__] = Metric(function.__name__, title, False, function, decimals)
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
    def precisions(self) -> Tensor:
        """(B, L) share of the first k that is relevant, at index k - 1."""
        import torch

        return self.found / torch.arange(1, self.found.shape[1] + 1, device=self.found.device)

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


@per_user("hit rate")
def hit_rate(ranking: Ranking, k: int) -> Tensor:
    """Whether anything relevant is among the first k."""
    return (ranking.found[:, k - 1] > 0).double()


@per_user("MRR")
def mrr(ranking: Ranking, k: int) -> Tensor:
    """1 / the rank of the first relevant item; 0 if none is among the first k."""
    ranks = (ranking.found[:, :k] > 0).double().sum(1)  # how many there are from the first hit to k
    return (ranks > 0) / (k + 1 - ranks)


@per_user("MAP")
def map(ranking: Ranking, k: int) -> Tensor:  # noqa: A001 (its name in the field)
    """Average precision at the ranks of what is found, over all that is relevant (TREC's)."""
    return (ranking.gains * ranking.precisions)[:, :k].sum(1) / ranking.relevant


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


@over_lists("Gini index")
def gini(lists: Exposure) -> Tensor:
    """How unequally the lists show the items: 0 all alike, towards 1 always the same few."""
    import torch

    counts, n = lists.counts.sort().values.double(), len(lists.counts)
    ranks = torch.arange(1, n + 1, device=counts.device)
    return ((2 * ranks - n - 1) * counts).sum() / (n * counts.sum()).clamp(min=1)


@over_lists("popularity", decimals=1)
def popularity(lists: Exposure) -> Tensor:
    """Mean training interactions of what is shown (average recommendation popularity)."""
    shown = (lists.counts * lists.popularity).sum().double()
    return shown / lists.counts.sum().clamp(min=1)
