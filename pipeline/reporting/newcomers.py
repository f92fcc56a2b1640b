"""Items and users that came after the systems were fitted."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.common.params import Newcomers
from pipeline.evidence.significance import Interval, compare
from pipeline.reporting.inputs import Inputs
from pipeline.reporting.sections import Section, kept
from pipeline.reporting.table import SELECTED_BY, Table

AREA, SHARE = "AUC", "new in the first 10"
FOLDED, REFITTED, DIFFERENCE = "folded in", "fitted on all", "difference"
OVERLAP = "shared of the first 10"


def newcomers(inputs: Inputs, files: list[Table]) -> Section:
    """What becomes of held-out items and users; without any, an empty section."""
    asked = inputs.params.newcomers
    items, users = (table if len(table) else None for table in inputs.newcomers)
    of_items, of_users = items and items_table(items, asked), users and users_table(users, asked)
    text = [
        *(_of_items(of_items) if of_items else ()),
        *(_of_users(of_users) if of_users else ()),
    ]
    tables = kept(files, of_items or None, of_users or None)
    return Section("New items and new users", text, [], tables)


def items_table(found: pa.Table, asked: Newcomers) -> Table:
    """A row a system, of `items.parquet`."""
    areas, ndcg, share = (_intervals(_values(found, c)) for c in ("auc", "ndcg@10", "share"))
    rows = [
        (
            system,
            areas.get(system),
            ndcg.get(system),
            share[system].mean if system in share else None,
        )
        for system in _systems(found)
    ]
    caption = (
        f"{asked.items:.0%} of the items, held out of fitting and then known by their content "
        f"alone. {AREA}: how often one that a user liked scores above one that they did not, 0.5 "
        f"is chance. {SELECTED_BY} of test over the whole catalogue. With 95 % intervals over users"
    )
    return Table("new-items", caption, ("system", AREA, SELECTED_BY, SHARE), tuple(rows))


def users_table(found: pa.Table, asked: Newcomers) -> Table:
    """A row a system, of `users.parquet`."""
    folded, refitted, overlap = (_values(found, c) for c in ("folded", "refitted", "overlap"))
    lost = _intervals({s: folded[s] - refitted[s] for s in folded})
    rows = [
        (s, fmean(folded[s]), fmean(refitted[s]), lost[s], fmean(overlap[s]))
        for s in _systems(found)
    ]
    n = len(next(iter(folded.values())))
    caption = (
        f"Test {SELECTED_BY} of {n:,} users ({asked.users:.0%}) who were held out of fitting and "
        "then folded in by their training interactions, beside a fit on everybody, with 95 % "
        "intervals over users"
    )
    columns = ("system", FOLDED, REFITTED, DIFFERENCE, OVERLAP)
    return Table("new-users", caption, columns, tuple(rows), signed=frozenset({DIFFERENCE}))


def _of_items(table: Table) -> list[str]:
    known = [row for row in table.rows if row[1] is not None]
    if not known:
        return []
    system, area, _, _ = max(known, key=lambda row: row[1].mean)
    shown = table.text(area)
    above = [row[0] for row in known if row[1].low > 0.5]
    return [
        f"New items: `{system}` has the highest AUC, {shown}; "
        + (
            f"above chance: {', '.join(f'`{s}`' for s in above)}."
            if above
            else "none beats chance."
        )
    ]


def _of_users(table: Table) -> list[str]:
    worse = [row[0] for row in table.rows if row[3].high < 0]
    system, *_, shared = min(table.rows, key=lambda row: row[4])
    return [
        "New users: "
        + (
            f"folding in loses against a fit on everybody with {', '.join(f'`{s}`' for s in worse)}"
            if worse
            else "with no system do these users show a loss against a fit on everybody"
        )
        + f"; the lists share {shared:.0%} at least (`{system}`)."
    ]


def _systems(found: pa.Table) -> list[str]:
    systems: list[str] = pc.unique(found["system"]).to_pylist()
    return systems


def _values(found: pa.Table, column: str) -> dict[str, NDArray[np.float64]]:
    """System → (n,) the values of the users who have one; systems without any are left out."""
    of_systems = {
        s: found.filter(pc.equal(found["system"], s))[column].drop_null().to_numpy()
        for s in _systems(found)
    }
    return {s: values for s, values in of_systems.items() if len(values)}


def _intervals(values: dict[str, NDArray[np.float64]]) -> dict[str, Interval]:
    """Of means over the same users."""
    if not values:
        return {}
    columns: Sequence[NDArray[np.float64]] = list(values.values())
    compared = compare(np.stack(columns, axis=1))
    return {s: c.interval for s, c in zip(values, compared, strict=True)}
