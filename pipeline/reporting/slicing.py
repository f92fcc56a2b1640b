"""Who gains: users by history, items by popularity and by what content they have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.metrics import SELECTION
from pipeline.evidence.significance import compare
from pipeline.evidence.slices import Slice, history_slices, popularity_slices
from pipeline.reporting.contrasts import Evidence
from pipeline.reporting.estimates import Estimate, estimate
from pipeline.reporting.scores import BASELINE, Setting
from pipeline.reporting.table import SELECTED_BY, Table

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Relations:
    """The catalogue as far as slices need it.

    Attributes:
        train, relevant: users and items, (2, n) each: training interactions, and those of the
            compared split.
        n_users, n_items: how many there are.
        modalities: name → (n_items,) bool, which items have it.
    """

    train: Codes
    relevant: Codes
    n_users: int
    n_items: int
    modalities: dict[str, NDArray[np.bool_]]

    def user_slices(self) -> list[Slice]:
        """By number of training interactions."""
        return history_slices(np.bincount(self.train[0], minlength=self.n_users))

    def item_slices(self) -> list[Slice]:
        """By number of training interactions, then with and without each modality."""
        found = popularity_slices(np.bincount(self.train[1], minlength=self.n_items))
        for name, has in self.modalities.items():
            if has.any() and not has.all():
                found += [Slice(f"with {name}", has), Slice(f"without {name}", ~has)]
        return found


def users_table(evidence: Evidence, relations: Relations) -> Table | None:
    """NDCG@10 of each system, of users by the length of their history."""
    slices = _judged(evidence, relations)
    columns = tuple(f"{s.name} ({int(s.members.sum()):,} users)" for s in slices)
    rows = []
    for system, setting in evidence.selected.items():
        values = evidence.judgements.values(setting)
        rows.append((system, setting.layers, *(float(values[s.members].mean()) for s in slices)))
    caption = (
        f"{evidence.scores.split.capitalize()} {SELECTED_BY} of users by their training "
        "interactions, mean over users and seeds"
    )
    return Table("slices-users", caption, ("system", "layers", *columns), tuple(rows))


def sparsity_table(evidence: Evidence, relations: Relations, system: str) -> Table | None:
    """What one system gains over `none`, of users by the length of their history."""
    if BASELINE not in evidence.selected or system == BASELINE:
        return None
    values = evidence.judgements.values
    gain = values(evidence.selected[system]) - values(evidence.selected[BASELINE])
    rows = []
    for s in _judged(evidence, relations):
        (found,) = compare(gain[s.members][:, None])
        rows.append((s.name, found.users, found.interval, found.gain, found.loss))
    difference = f"{system} less {BASELINE}"
    return Table(
        "gain-by-history",
        f"{evidence.scores.split.capitalize()} {SELECTED_BY} of {difference}, of users by their "
        "training interactions, with 95 % intervals over users",
        ("training interactions", "users", difference, "users who gain", "users who lose"),
        tuple(rows),
        signed=frozenset({difference}),
    )


def items_table(evidence: Evidence, relations: Relations) -> Table | None:
    """Share of what was to be found that is among the first 10, of items by kind."""
    slices = relations.item_slices()
    users, items = relations.relevant
    wanted = [(s, int(s.members[items].sum())) for s in slices]
    kept = [(s, n) for s, n in wanted if n]
    columns = tuple(f"{s.name} ({n:,})" for s, n in kept)
    rows = []
    for system, setting in evidence.selected.items():
        hits = _hits(evidence, setting, relations)
        shares = (_share(hits, s.members[items]) for s, _ in kept)
        rows.append((system, setting.layers, *shares))
    caption = (
        f"Share of the {evidence.scores.split} interactions that the first {SELECTION.k} hold, by "
        "kind of item (how many interactions there are), mean over seeds ± half-width of the 95 % "
        "interval"
    )
    return Table("slices-items", caption, ("system", "layers", *columns), tuple(rows))


def _judged(evidence: Evidence, relations: Relations) -> list[Slice]:
    """Slices of those users that were judged; none is empty."""
    users = evidence.judgements.users(next(iter(evidence.selected.values())))
    of_judged = [Slice(s.name, s.members[users]) for s in relations.user_slices()]
    return [s for s in of_judged if s.members.any()]


def _hits(evidence: Evidence, setting: Setting, relations: Relations) -> list[NDArray[np.bool_]]:
    """For every seed, (n,) which of the relevant interactions are among the first 10."""
    users = evidence.judgements.users(setting)
    wanted = relations.relevant[0] * relations.n_items + relations.relevant[1]
    found = []
    for lists in evidence.judgements.lists(setting, SELECTION.k):
        shown = lists >= 0
        pairs = (users[:, None] * relations.n_items + lists)[shown]
        found.append(np.isin(wanted, pairs))
    return found


def _share(hits: list[NDArray[np.bool_]], members: NDArray[np.bool_]) -> Estimate:
    return estimate([float(of_seed[members].mean()) for of_seed in hits])
