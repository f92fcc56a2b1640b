"""Stage `prepare`: the raw catalogue, checked → contiguous ids, splits, one manifest a modality.

    python -m pipeline.prepare

Reads `<dataset>/items.*` and `<dataset>/interactions.*`; writes `data/prepared/`.
"""

import hashlib
import json
import logging
import stat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encoders import MODALITIES
from pipeline import paths
from pipeline.catalogue.ready_made import feature_rows, find_features
from pipeline.files import (
    InputError,
    atomic_write,
    find_table,
    read_table,
    run,
    sha256_of,
    write_parquet,
)
from pipeline.params import Prepare, load
from pipeline.paths import SPLITS

log = logging.getLogger("prepare")

ITEM_TYPES = {name: pa.string() for name in ("item_id", *MODALITIES)}
INTERACTION_TYPES = {
    "user_id": pa.string(),
    "item_id": pa.string(),
    "timestamp": pa.float64(),
    "rating": pa.float64(),
    "split": pa.string(),
}


def read_items(dataset: Path) -> pa.Table:
    """The items in the file's order. InputError on missing or repeated ids."""
    path = find_table(dataset, "items")
    items = read_table(path, ITEM_TYPES, ("item_id",))
    _refuse_empty(path, items, ("item_id",))
    repeated = pc.filter(*_value_counts(items["item_id"]))
    if len(repeated):
        raise InputError(
            f"{path}: item_id {repeated[0].as_py()!r} stands in several rows; one row an item"
        )
    return items


def read_interactions(dataset: Path, items: pa.Table) -> pa.Table:
    """The interactions. InputError on missing ids, unknown items or an unknown split."""
    path = find_table(dataset, "interactions")
    table = read_table(path, INTERACTION_TYPES, ("user_id", "item_id"))
    _refuse_empty(path, table, ("user_id", "item_id"))
    known = pc.is_in(table["item_id"], value_set=items["item_id"])
    if not pc.all(known).as_py():
        row = pc.index(known, False).as_py()
        raise InputError(
            f"{path}: row {row + 2}: item_id {table['item_id'][row].as_py()!r} is not among "
            f"the items; {len(known) - pc.sum(known).as_py()} rows name unknown items"
        )
    if "split" in table.column_names:
        valid = pc.is_in(table["split"], value_set=pa.array(SPLITS))
        if not pc.all(valid).as_py():
            row = pc.index(valid, False).as_py()
            raise InputError(
                f"{path}: row {row + 2}: split {table['split'][row].as_py()!r} is not valid; "
                f"valid: {', '.join(SPLITS)}"
            )
    return table


def split_by_user(
    users: np.ndarray, order: np.ndarray, validation: float, test: float
) -> np.ndarray:
    """Split each user's interactions: the last `test` share, before it the `validation` share.

    Args:
        users: (E,) user codes.
        order: (E,) what sorts a user's interactions: random numbers, or timestamps.
        validation, test: shares; a user's counts are rounded down, so some are left for training.

    Returns:
        (E,) int8 indices into `SPLITS`.
    """
    by_user = np.lexsort((order, users))
    counts = np.bincount(users)
    starts = np.cumsum(counts) - counts
    position = np.empty(len(users), np.int64)
    position[by_user] = np.arange(len(users)) - np.repeat(starts, counts)
    n = counts[users]
    n_test = (n * test + 1e-9).astype(np.int64)
    n_validation = (n * validation + 1e-9).astype(np.int64)
    result = np.zeros(len(users), np.int8)
    result[position >= n - n_test - n_validation] = 1
    result[position >= n - n_test] = 2
    return result


def assign_splits(table: pa.Table, users: np.ndarray, params: Prepare) -> np.ndarray:
    """(E,) int8 indices into `SPLITS`: the table's own split column, or `prepare.split`."""
    if "split" in table.column_names:
        return np.asarray(pc.index_in(table["split"], value_set=pa.array(SPLITS))).astype(np.int8)
    order = np.random.default_rng(params.seed).random(len(users))
    if params.split == "temporal":
        if "timestamp" not in table.column_names or table["timestamp"].null_count:
            raise InputError(
                "prepare.split: temporal needs a timestamp in every row of interactions; "
                "valid here: random"
            )
        # Ties in time fall in random but repeatable order.
        order = np.lexsort((order, table["timestamp"].to_numpy())).argsort().astype(float)
    return split_by_user(users, order, params.validation, params.test)


def manifest(dataset: Path, items: pa.Table, modality: str) -> pa.Table:
    """item_id, source, sha256 of the items that have `modality`, sorted by item_id.

    `items` are in their file's order. The sha256 is that of the text, or of the file's bytes: it
    makes the encoder's input complete. It is empty where there is no readable file; the encoder
    then records the item as failed. Where there are ready-made features, they come first: `source`
    is then the row in their file, which the schema's metadata names.
    """
    if features := find_features(dataset, modality):
        rows = feature_rows(features, items["item_id"].to_pylist())
        metadata = {
            "features": str(features.relative_to(dataset)),
            "features_sha256": sha256_of(features),
        }
        ids, sources = [i for i, _ in rows], [str(row) for _, row in rows]
        return _manifest_table(ids, sources, [""] * len(ids), metadata)
    column = items[modality] if modality in items.column_names else None
    if column is None:
        ids, sources = [], []
    else:
        has = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(column), ""), False)
        ids = items["item_id"].filter(has).to_pylist()
        sources = column.filter(has).to_pylist()
    if modality == "text":
        digests = [hashlib.sha256(source.encode()).hexdigest() for source in sources]
    else:
        digests = [media_sha256(dataset, source) for source in sources]
    return _manifest_table(ids, sources, digests, {})


def _manifest_table(
    ids: list[str], sources: list[str], digests: list[str], metadata: dict[str, str]
) -> pa.Table:
    schema = pa.schema([(n, pa.string()) for n in ("item_id", "source", "sha256")], metadata)
    return pa.table([ids, sources, digests], schema=schema).sort_by("item_id")


def media_sha256(dataset: Path, source: str) -> str:
    """sha256 of a regular, readable file inside the dataset folder, else empty."""
    try:
        path = (dataset / source).resolve()
        inside = path.is_relative_to(dataset.resolve())
        return sha256_of(path) if inside and stat.S_ISREG(path.stat().st_mode) else ""
    except (OSError, ValueError):
        return ""


def prepare(dataset: Path, params: Prepare) -> None:
    """Write everything under `data/prepared/`."""
    listed = read_items(dataset)
    items = listed.sort_by("item_id")
    interactions = read_interactions(dataset, items)
    user_ids = pc.unique(interactions["user_id"]).sort()
    users = np.asarray(pc.index_in(interactions["user_id"], value_set=user_ids))
    item_codes = np.asarray(
        pc.index_in(interactions["item_id"], value_set=items["item_id"].combine_chunks())
    )
    split = assign_splits(interactions, users, params)
    users, item_codes, split = _once(users, item_codes, split)
    counts = {}
    for index, name in enumerate(SPLITS):
        chosen = split == index
        order = np.lexsort((item_codes[chosen], users[chosen]))
        counts[name] = int(chosen.sum())
        write_parquet(
            paths.split_path(name),
            pa.table(
                {
                    "user": pa.array(users[chosen][order], pa.int32()),
                    "item": pa.array(item_codes[chosen][order], pa.int32()),
                }
            ),
        )
    if not counts["train"]:
        raise InputError(f"{dataset}: no interaction is left for training")
    sizes = {}
    for modality in MODALITIES:
        table = manifest(dataset, listed, modality)
        sizes[modality] = {"items": len(table)}
        write_parquet(paths.manifest_path(modality), table)
    write_parquet(
        paths.ITEMS, items.drop_columns([m for m in MODALITIES if m in items.column_names])
    )
    write_parquet(paths.USERS, pa.table({"user_id": user_ids}))
    warm = len(np.unique(item_codes[split == 0]))
    summary = {
        "dataset": str(dataset),
        "synthetic": dataset == paths.SAMPLE,
        "users": len(user_ids),
        "items": len(items),
        "interactions": counts,
        "sparsity": 1 - sum(counts.values()) / (len(user_ids) * len(items)),
        "cold_items": len(items) - warm,
        "modalities": sizes,
    }
    atomic_write(paths.SUMMARY, json.dumps(summary, indent=2) + "\n")
    log.info(
        "%s: %d users, %d items, %s interactions; items with %s",
        dataset,
        len(user_ids),
        len(items),
        " + ".join(f"{n} {name}" for name, n in counts.items()),
        ", ".join(f"{m}: {size['items']}" for m, size in sizes.items()),
    )


def _once(
    users: np.ndarray, items: np.ndarray, split: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each (user, item) once, in the first split that has it: a repeat is no test of anything."""
    order = np.lexsort((split, items, users))
    users, items, split = users[order], items[order], split[order]
    first = np.ones(len(users), bool)
    first[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
    return users[first], items[first], split[first]


def _value_counts(column: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """The distinct values and whether each stands more than once."""
    counts = pc.value_counts(column)
    return counts.field("values"), pc.greater(counts.field("counts"), 1)


def _refuse_empty(path: Path, table: pa.Table, columns: tuple[str, ...]) -> None:
    if not len(table):
        raise InputError(f"{path}: no rows")
    for name in columns:
        empty = pc.fill_null(pc.equal(table[name], ""), True)
        if pc.any(empty).as_py():
            raise InputError(f"{path}: row {pc.index(empty, True).as_py() + 2}: {name} is empty")


def main() -> None:
    params = load()
    prepare(Path(params.dataset), params.prepare)


if __name__ == "__main__":
    run(main)
