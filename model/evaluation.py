"""Systems judged over full rankings of the catalogue, in blocks of users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model import reductions
from model.interactions import Interactions
from model.metrics import KS, METRICS, SELECTION, Exposure, Measure, Ranking, cutoffs
from model.ranking import CELLS, NOBODY, Scorer, rank, rank_without_wait
from model.ranks import Share

UNSETTLED = "unsettled"
"""Among an epoch's metrics: how many processes have lists that only a host that waits can tell."""


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        judged: (n,) int64, the users with something relevant, in order.
        lists: (n, L) int64, their items, best first, as many as the longest cut-off asks for;
            `NOBODY` where no further one may be shown.
        users: measure → (n,) float64.
        overall: measure → a scalar over those users' lists.
        unsettled: None, or a scalar: whether only a host that waits can tell some list.
    """

    judged: Tensor
    lists: Tensor
    users: dict[Measure, Tensor]
    overall: dict[Measure, Tensor]
    unsettled: Tensor | None = None

    def scalars(self) -> dict[Measure, Tensor]:
        """Every measure as a scalar: the mean over users, or that of the lists."""
        return {m: reductions.mean(v) for m, v in self.users.items()} | self.overall

    def values(self) -> dict[Measure, float]:
        """Every measure as one number."""
        return reductions.numbers(self.scalars())


def evaluate(
    scorer: Scorer,
    *,
    seen: Interactions,
    relevant: Interactions,
    popularity: Tensor | None = None,
    ks: Sequence[int] | None = None,
    cells: int | None = None,
    wait: bool = True,
) -> Evaluation:
    """Judge every user with something relevant, ranking the whole catalogue less `seen`.

    Args:
        scorer: users (b,) int64 → their scores of all items (b, I).
        seen: interactions that may not be recommended again.
        relevant: interactions to be found.
        popularity: (I,) int64, training interactions an item; None leaves out what is measured
            over all lists (of all processes).
        ks: the cut-offs; None takes all that the catalogue allows (`cutoffs`).
        cells: the most scores held at a time, `CELLS` if None; memory never holds U x I.
        wait: whether the host may wait for a card; otherwise lists may be left `unsettled`.
    """
    n_items, judged = relevant.n_items, relevant.active
    length = min(max(KS if ks is None else ks), n_items)
    ks = cutoffs(n_items) if ks is None else ks
    block = max(1, (cells or CELLS[judged.device.type]) // n_items)
    degrees = relevant.degrees()
    blocks = judged.split(block)
    counts = None if wait or not judged.is_cuda else _counts(seen, relevant, block)
    parts, lists, unsettled = [], [], []
    with torch.inference_mode():
        for number, users in enumerate(blocks):
            if counts is None:
                best, _ = rank(scorer, users, length, seen=seen)
            else:
                best, _, open_ = rank_without_wait(
                    scorer, users, length, seen=seen, n_seen=counts[number]
                )
                unsettled.append(open_)
            hits = relevant.contains(users[:, None], best) & (best != NOBODY)
            ranking = Ranking(hits, degrees[users], max(ks))
            parts.append(
                {
                    Measure(metric.name, k): metric.function(ranking, k)
                    for k in ks
                    for metric in METRICS.values()
                    if metric.accuracy
                }
            )
            lists.append(best)
        whole = torch.cat(lists)
        return Evaluation(
            judged,
            whole,
            {measure: torch.cat([part[measure] for part in parts]) for measure in parts[0]},
            {} if popularity is None else _overall(whole, popularity, relevant.share, ks),
            torch.stack(unsettled).any() if unsettled else None,
        )


def _counts(seen: Interactions, relevant: Interactions, block: int) -> list[int]:
    """How many of `seen` each block of the users with something relevant has."""
    judged = relevant.degrees_on_host > 0
    return [int(degrees.sum()) for degrees in seen.degrees_on_host[judged].split(block)]


def gathered(found: Evaluation, share: Share) -> Evaluation | None:
    """That of all processes' users, on the first process; None on the others.

    Args:
        share: of the users that this process judged.
    """
    ranks = share.ranks
    if ranks.size == 1:
        return found
    counts = torch.zeros(ranks.size, dtype=torch.int64, device=found.judged.device)
    counts[ranks.rank] = len(found.judged)
    n = ranks.sum(counts).tolist()
    judged = ranks.gathered(found.judged + share.first_user, n)
    lists = ranks.gathered(found.lists, n)
    users = {measure: ranks.gathered(values, n) for measure, values in found.users.items()}
    if judged is None or lists is None:
        return None
    return Evaluation(
        judged, lists, {m: v for m, v in users.items() if v is not None}, found.overall
    )


def epoch_metrics(
    scorer: Scorer, seen: Interactions, relevant: Interactions, *, wait: bool = True
) -> dict[str, Tensor]:
    """The metrics of an epoch, at the cut-off of `SELECTION`, of all processes' users; scalars.

    Args:
        wait: as for `evaluate`; if not, `UNSETTLED` is among them, and unless it is 0, the others
            may be wrong.
    """
    found = evaluate(scorer, seen=seen, relevant=relevant, ks=(SELECTION.k,), wait=wait)
    ranks = relevant.share.ranks
    if ranks.size == 1:
        metrics = {str(measure): value for measure, value in found.scalars().items()}
        return metrics if found.unsettled is None else metrics | {UNSETTLED: found.unsettled}
    totals = [reductions.total(values) for values in found.users.values()]
    count = totals[0].new_tensor(len(found.judged))
    unsettled = [] if found.unsettled is None else [found.unsettled.to(count)]
    *sums, n = ranks.sum(torch.stack([*totals, *unsettled, count]))
    metrics = {str(m): sum_ / n for m, sum_ in zip(found.users, sums, strict=False)}
    return metrics | {UNSETTLED: sums[-1]} if unsettled else metrics


def validated(scorer: Scorer, seen: Interactions, relevant: Interactions) -> dict[str, float]:
    """`epoch_metrics` in numbers: a row of a history has these."""
    return reductions.numbers(epoch_metrics(scorer, seen, relevant))


def _overall(
    lists: Tensor, popularity: Tensor, share: Share, ks: Sequence[int]
) -> dict[Measure, Tensor]:
    """What is measured over all lists together."""
    found = {}
    for k in ks:
        shown = lists[:, :k]
        counts = torch.bincount(shown[shown != NOBODY], minlength=len(popularity))
        exposure = Exposure(share.ranks.sum(counts), popularity, share.n_users)
        for metric in METRICS.values():
            if not metric.accuracy:
                found[Measure(metric.name, k)] = metric.function(exposure)
    return found
