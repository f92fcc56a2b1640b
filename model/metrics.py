"""Ranking metrics at k over full rankings, in blocks of users."""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.config import KS
from model.interactions import Interactions


def rank(users: Tensor, items: Tensor, seen: Interactions, k: int, first: int, last: int) -> Tensor:
    """The k best unseen items of users first..last-1: (last - first, k) int64, best first."""
    scores = users[first:last] @ items.T
    scores.masked_fill_(seen.block(first, last), -torch.inf)
    return scores.topk(k, dim=1).indices


def ranking_metrics(hits: Tensor, relevant: Tensor, ks: Sequence[int] = KS) -> dict[str, Tensor]:
    """Precision, recall and NDCG at every k, per user.

    Args:
        hits: (B, L) bool, whether the item at each rank is relevant; ranks past L are misses.
        relevant: (B,) int64 >= 1, how many items are relevant to the user.
        ks: cut-offs.

    Returns:
        `precision@k` = hits / k, `recall@k` = hits / relevant, `ndcg@k` with binary gains,
        discount 1 / log2(rank + 1), ideal over min(k, relevant); each (B,) float64.
    """
    length = max(max(ks), hits.shape[1])
    gains = torch.zeros(len(hits), length, dtype=torch.float64, device=hits.device)
    gains[:, : hits.shape[1]] = hits.double()
    discount = (
        torch.arange(2, length + 2, device=hits.device, dtype=torch.float64).log2().reciprocal()
    )
    ideal = discount.cumsum(0)
    found, dcg = gains.cumsum(1), (gains * discount).cumsum(1)
    result = {}
    for k in ks:
        result[f"precision@{k}"] = found[:, k - 1] / k
        result[f"recall@{k}"] = found[:, k - 1] / relevant
        result[f"ndcg@{k}"] = dcg[:, k - 1] / ideal[relevant.clamp(max=k) - 1]
    return result


@torch.inference_mode()
def evaluate(
    users: Tensor,
    items: Tensor,
    *,
    seen: Interactions,
    relevant: Interactions,
    ks: Sequence[int] = KS,
    cells: int = 1 << 24,
) -> dict[str, Tensor]:
    """Metrics of every user with something relevant, ranking the whole catalogue less `seen`.

    Args:
        users, items: (U, d) and (I, d) final embeddings.
        seen: interactions that may not be recommended again.
        relevant: interactions to be found.
        cells: the most scores held at a time; memory never holds U x I.

    Returns:
        name@k → (users with something relevant,) float64, in order of user.
    """
    n_users, n_items = len(users), len(items)
    k = min(max(ks), n_items)
    block = max(1, cells // n_items)
    degrees = relevant.degrees()
    parts = []
    for first in range(0, n_users, block):
        last = min(first + block, n_users)
        counted = degrees[first:last] > 0
        best = rank(users, items, seen, k, first, last)
        hits = relevant.block(first, last).gather(1, best)
        parts.append(ranking_metrics(hits[counted], degrees[first:last][counted], ks))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
