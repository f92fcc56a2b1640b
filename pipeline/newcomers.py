"""Stage `newcomers`: items and users that come after a system was fitted.

    python -m pipeline.newcomers

Some items are held out of the catalogue: the systems of `newcomers.systems` are fitted on the rest
and given the items by their content alone (`System.with_items`). Likewise some users: they are
folded in by their training interactions (`System.folded`) and compared with a fit on everybody.
Writes to `data/newcomers/` what became of every user, `items.parquet` and `users.parquet`, and the
means, `means.csv`. Without enough items or users to hold any out, these have no rows. Only cells
that are not there yet are fitted (`pipeline.experiments.cells`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalogue.workspace import Workspace
from pipeline.common import paths
from pipeline.common.command import run_stage
from pipeline.common.device import reuse_freed_memory
from pipeline.common.files import write_parquet
from pipeline.common.params import load
from pipeline.experiments.cells import cell_of
from pipeline.experiments.newcomers import HeldOut
from pipeline.experiments.results import Row, write_rows

if TYPE_CHECKING:
    from torch import Tensor

    from model.ranking import Scorer

log = logging.getLogger("newcomers")

CONTENT = "nearest content"
"""What stands beside the systems: items by how near they are to those that a user liked."""

ITEMS = pa.schema(
    [("system", pa.string()), ("user", pa.int32())]
    + [(name, pa.float64()) for name in ("auc", "ndcg@10", "share")]
)
"""Of users with new items among what they liked: AUC. Of users of the test split: NDCG@10 over the
whole catalogue, and the share of new items in it."""

MEANS = ("newcomers", "system", "measure", "users", "mean")

USERS = pa.schema(
    [("system", pa.string()), ("user", pa.int32())]
    + [(name, pa.float64()) for name in ("folded", "refitted", "overlap")]
)
"""Of new users: NDCG@10 folded in and after a fit on everybody, and how much the lists share."""


def items_table(held: HeldOut) -> pa.Table:
    """Every user's row of `ITEMS` for every system, and for the content alone."""
    import torch

    from model.newcomers import Judged, areas, nearest_content, with_new

    if not held.items.any():
        return ITEMS.empty_table()
    whole, content, first = held.items_last(), held.content(), int((~held.items).sum())
    train, test = whole.catalogue.train, whole.test
    seen = train | whole.validation

    def table(system: str, scorer: Scorer, device: torch.device) -> pa.Table:
        of_auc, auc = areas(scorer, (seen | test).to(device), first)
        judged = Judged.of(scorer, seen.to(device), test.to(device))
        everyone = torch.cat([of_auc, judged.users]).unique()
        columns = [
            _spread(everyone, of_auc, auc),
            _spread(everyone, judged.users, judged.ndcg),
            _spread(everyone, judged.users, judged.share(first)),
        ]
        return _table(ITEMS, system, everyone, columns)

    tables = []
    for system in held.params.newcomers.systems:
        experiment = held.experiment(system)
        model = cell_of(experiment, held.without_items).model(held.without_items)
        scorer = with_new(model, content, train.n_items - first)
        tables.append(table(system, scorer, torch.device(experiment.device)))
    if content:
        known = held.without_items.dataset.catalogue
        scorer = nearest_content(known.train, known.modalities, content)
        tables.append(table(CONTENT, scorer, torch.device("cpu")))
    return pa.concat_tables(tables)


def users_table(held: HeldOut) -> pa.Table:
    """Every new user's row of `USERS` for every system."""
    import torch

    from model.metrics import SELECTION
    from model.newcomers import Judged, overlap
    from model.system import Unsupported

    if not held.users.any():
        return USERS.empty_table()
    train, validation, test = held.histories()
    numbers = torch.from_numpy(held.users).nonzero()[:, 0]
    tables = [USERS.empty_table()]
    for system in held.params.newcomers.systems:
        experiment = held.experiment(system)
        device = torch.device(experiment.device)
        model = cell_of(experiment, held.without_users).model(held.without_users)
        try:
            scorer = model.folded(train.to(device))
        except Unsupported as error:
            log.info("%s takes no new users: %s", system, error)
            continue
        folded = Judged.of(scorer, (train | validation).to(device), test.to(device))
        cell = cell_of(experiment, held.workspace)
        found = cell.judged("test")
        new = held.users[found.users]
        refitted = torch.from_numpy(found.values[new, cell.measures.index(SELECTION)])
        lists = torch.from_numpy(found.lists[new, : SELECTION.k]).long()
        columns = [folded.ndcg, refitted, overlap(folded.lists.cpu(), lists)]
        tables.append(_table(USERS, system, numbers[folded.users.cpu()], columns))
    return pa.concat_tables(tables)


def _spread(everyone: Tensor, users: Tensor, values: Tensor) -> Tensor:
    """(n,) the values of `everyone`, of whom `users` have some; nan for the others."""
    import torch

    result = torch.full((len(everyone),), torch.nan, dtype=torch.float64, device=values.device)
    result[torch.searchsorted(everyone, users)] = values
    return result


def _table(schema: pa.Schema, system: str, users: Tensor, columns: list[Tensor]) -> pa.Table:
    arrays: list[Any] = [[system] * len(users), users.int().cpu().numpy()]
    arrays += [pa.array(column.cpu().numpy(), from_pandas=True) for column in columns]
    return pa.table(dict(zip(schema.names, arrays, strict=True)), schema=schema)


def means(items: pa.Table, users: pa.Table) -> list[Row]:
    """A row a system and measure, with the number of users who have it."""
    rows = []
    for newcomers, table in (("items", items), ("users", users)):
        for system in pc.unique(table["system"]).to_pylist():
            of_system = table.filter(pc.equal(table["system"], system))
            for measure in table.column_names[2:]:
                values = of_system[measure].drop_null()
                named = {"newcomers": newcomers, "system": system, "measure": measure}
                rows.append(named | {"users": len(values), "mean": pc.mean(values).as_py()})
    return rows


def main() -> None:
    params = load()
    reuse_freed_memory()
    held = HeldOut(Workspace(), params)
    n_items, n_users = int(held.items.sum()), int(held.users.sum())
    log.info("held out: %d items, %d users", n_items, n_users)
    if not (n_items and n_users):
        log.info(
            "items that somebody has and users with training and test interactions are too few "
            "to hold out both (newcomers.items: %g, newcomers.users: %g)",
            params.newcomers.items, params.newcomers.users,
        )  # fmt: skip
    items, users = items_table(held), users_table(held)
    write_parquet(paths.NEW_ITEMS, items)
    write_parquet(paths.NEW_USERS, users)
    rows = means(items, users)
    write_rows(paths.NEWCOMERS / "means.csv", rows, MEANS)
    for row in rows:
        if row["measure"] in ("auc", "folded", "refitted"):
            mean = "unknown" if row["mean"] is None else f"{row['mean']:.4f}"
            shown = (row["newcomers"], row["system"], row["measure"], mean, row["users"])
            log.info("new %s, %s: %s %s (%d users)", *shown)


if __name__ == "__main__":
    run_stage(main)
