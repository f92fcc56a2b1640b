"""How well a fitted system recommends items and to users that came after it was fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from model.dataset import Modality
from model.evaluation import evaluate
from model.interactions import Interactions
from model.metrics import SELECTION
from model.ranking import CELLS, NOBODY, Scorer
from model.system import System, Unsupported


@dataclass(frozen=True)
class Judged:
    """What became of n users.

    Attributes:
        users: (n,) int64, those with something to be found, in order.
        ndcg: (n,) float64, by `SELECTION`.
        lists: (n, k) int64, their first items; `NOBODY` where no further one may be shown.
    """

    users: Tensor
    ndcg: Tensor
    lists: Tensor

    @classmethod
    def of(cls, scorer: Scorer, seen: Interactions, relevant: Interactions) -> Judged:
        """Over the whole catalogue less what was seen (`model.evaluation.evaluate`)."""
        found = evaluate(scorer, seen=seen, relevant=relevant, ks=(SELECTION.k,))
        return cls(found.judged, found.users[SELECTION], found.lists[:, : SELECTION.k])

    def share(self, first: int) -> Tensor:
        """(n,) float64, how much of a list are items from number `first` on."""
        shown = self.lists != NOBODY
        return (self.lists >= first).sum(1) / shown.sum(1).clamp(min=1).double()


def with_new(system: System, content: Sequence[Modality], m: int) -> Scorer:
    """The scorer of the catalogue and m new items; a system that cannot score those shows none."""
    try:
        return system.with_items(content).scorer()
    except Unsupported:
        scorer = system.scorer()
        return lambda users: F.pad(scorer(users), (0, m), value=-torch.inf)


def nearest_content(
    histories: Interactions, content: Sequence[Modality], new: Sequence[Modality]
) -> Scorer:
    """Items score by how near their content is to that of what a user liked.

    s_ui is the mean cosine between the item and the items of their history, after each modality's
    mean over the catalogue is taken off; the sum over modalities, 0 where one is lacking.

    Args:
        histories: over the I items of `content`.
        content, new: of the catalogue's I items and of m more, the same modalities.
    """
    per_item = histories.degrees().clamp(min=1)[:, None]
    profiles, items = [], []
    for old, more in zip(content, new, strict=True):
        centre = old.vectors[old.present].mean(0)
        both = [F.normalize(m.vectors - centre) * m.present[:, None] for m in (old, more)]
        unit = torch.cat(both)
        sums = unit.new_zeros(histories.n_users, unit.shape[1])
        profiles.append(sums.index_add_(0, histories.users, unit[histories.items]) / per_item)
        items.append(unit)
    users, whole = torch.cat(profiles, dim=1), torch.cat(items, dim=1)
    return lambda rows: users[rows] @ whole.T


def areas(scorer: Scorer, liked: Interactions, first: int) -> tuple[Tensor, Tensor]:
    """AUC among the items from number `first` on, for users who liked some of them and not all.

    Args:
        scorer: over `first` + m items.
        liked: over the same items.

    Returns:
        (n,) int64 users, in order, and (n,) float64: the probability that an item that a user liked
        scores above one that they did not, ties counted half.
    """
    m = liked.n_items - first
    new = liked.items >= first
    of_new = Interactions.of(liked.users[new], liked.items[new] - first, liked.n_users, m)
    counts = of_new.degrees()
    users = ((counts > 0) & (counts < m)).nonzero()[:, 0]
    found = []
    size = max(1, CELLS[users.device.type] // liked.n_items)
    for block in users.split(size) if len(users) else ():  # torch splits nothing into one part
        low, high = int(block[0]), int(block[-1]) + 1
        dense = of_new.block(low, high)[block - low]
        found.append(auc(scorer(block)[:, first:], dense))
    return users, torch.cat([counts.new_zeros(0).double(), *found])


def auc(scores: Tensor, positive: Tensor) -> Tensor:
    """(b,) float64, the area under the ROC curve of each row of scores (b, m).

    By ranks (Mann and Whitney, 1947), tied ones averaged; nan where a row is all of one kind.

    Args:
        positive: (b, m) bool.
    """
    ordered = scores.sort(dim=1).values
    below = torch.searchsorted(ordered, scores.contiguous())
    up_to = torch.searchsorted(ordered, scores.contiguous(), right=True)
    ranks = (below + up_to + 1).double() / 2
    n = positive.sum(1).double()
    sums = (ranks * positive).sum(1) - n * (n + 1) / 2
    return sums / (n * (positive.shape[1] - n))


def overlap(lists: Tensor, others: Tensor) -> Tensor:
    """(n,) float64, how much of each row of `lists` (n, k) its row of `others` (n, k) shows too."""
    shown = lists != NOBODY
    both = ((lists[:, :, None] == others[:, None, :]).any(2) & shown).sum(1)
    return both / shown.sum(1).clamp(min=1).double()
