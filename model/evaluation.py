"""Systems judged over full rankings of the catalogue, in blocks of users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model import reductions
from model.interactions import Interactions
from model.metrics import KS, METRICS, SELECTION, Exposure, Measure, Ranking, cutoffs
from model.ranking import CELLS, NOBODY, Scorer, rank


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        judged: (n,) int64, the users with something relevant, in order.
        lists: (n, L) int64, their items, best first, as many as the longest cut-off asks for;
            `NOBODY` where no further one may be shown.
        users: measure → (n,) float64.
        overall: measure → a scalar over those users' lists.
    """

    judged: Tensor
    lists: Tensor
    users: dict[Measure, Tensor]
    overall: dict[Measure, Tensor]

    def values(self) -> dict[Measure, float]:
        """Every measure as one number: the mean over users, or that of the lists."""
        means = {measure: float(reductions.mean(v)) for measure, v in self.users.items()}
        return means | {measure: float(v) for measure, v in self.overall.items()}


def evaluate(
    scorer: Scorer,
    *,
    seen: Interactions,
    relevant: Interactions,
    popularity: Tensor | None = None,
    ks: Sequence[int] | None = None,
    cells: int = CELLS,
) -> Evaluation:
    """Judge every user with something relevant, ranking the whole catalogue less `seen`.

    Args:
        scorer: users (b,) int64 → their scores of all items (b, I).
        seen: interactions that may not be recommended again.
        relevant: interactions to be found.
        popularity: (I,) int64, training interactions an item; None leaves out what is measured
            over all lists.
        ks: the cut-offs; None takes all that the catalogue allows (`cutoffs`).
        cells: the most scores held at a time; memory never holds U x I.
    """
    n_users, n_items = relevant.n_users, relevant.n_items
    length = min(max(KS if ks is None else ks), n_items)
    ks = cutoffs(n_items) if ks is None else ks
    block = max(1, cells // n_items)
    degrees = relevant.degrees()
    parts, lists = [], []
    with torch.inference_mode():
        for first in range(0, n_users, block):
            last = min(first + block, n_users)
            counted = degrees[first:last] > 0
            users = torch.arange(first, last, device=degrees.device)
            best, _ = rank(scorer, users, length, seen=seen)
            hits = relevant.block(first, last).gather(1, best.clamp(min=0)) & (best != NOBODY)
            ranking = Ranking(hits[counted], degrees[first:last][counted], max(ks))
            parts.append(
                {
                    Measure(metric.name, k): metric.function(ranking, k)
                    for k in ks
                    for metric in METRICS.values()
                    if metric.accuracy
                }
            )
            lists.append(best[counted])
        whole = torch.cat(lists)
        return Evaluation(
            degrees.nonzero()[:, 0],
            whole,
            {measure: torch.cat([part[measure] for part in parts]) for measure in parts[0]},
            {} if popularity is None else _overall(whole, popularity, n_users, ks),
        )


def validated(scorer: Scorer, seen: Interactions, relevant: Interactions) -> dict[str, float]:
    """The metrics of an epoch, at the cut-off of `SELECTION`: a row of a history has these."""
    found = evaluate(scorer, seen=seen, relevant=relevant, ks=(SELECTION.k,))
    return {str(measure): value for measure, value in found.values().items()}


def _overall(
    lists: Tensor, popularity: Tensor, n_users: int, ks: Sequence[int]
) -> dict[Measure, Tensor]:
    """What is measured over all lists together."""
    found = {}
    for k in ks:
        shown = lists[:, :k]
        counts = torch.bincount(shown[shown != NOBODY], minlength=len(popularity))
        exposure = Exposure(counts, popularity, n_users)
        for metric in METRICS.values():
            if not metric.accuracy:
                found[Measure(metric.name, k)] = metric.function(exposure)
    return found
