"""Stage `prepare`: the raw catalogue, checked → contiguous ids, splits, one manifest a modality.

    python -m pipeline.prepare

Reads `<dataset>/items.*`, `<dataset>/interactions.*` and `<dataset>/features/`; writes
`data/prepared/`. Content goes from table to manifests in batches, so that memory does not grow with
it. `python -m pipeline.check <folder>` says what this stage would refuse.
"""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from encoders import modalities
from pipeline.catalogue.embeddings import Target
from pipeline.catalogue.feature_files import modalities_without_encoder, suspect_features
from pipeline.catalogue.manifests import Counts, write_manifest
from pipeline.catalogue.problems import Problems
from pipeline.catalogue.raw import Items, read_interactions, read_items
from pipeline.catalogue.splits import Selection, select
from pipeline.common import paths
from pipeline.common.command import run_stage
from pipeline.common.files import atomic_path, atomic_write, write_parquet
from pipeline.common.params import Prepare, load
from pipeline.common.tables import find_table
from pipeline.encoding.manifest import read_manifest
from pipeline.encoding.ready_made import take_features

log = logging.getLogger("prepare")


def prepare(dataset: Path, params: Prepare) -> None:
    """Write everything under `data/prepared/`. InputError with all that is wrong, if anything."""
    sizes = {path.name: path.stat().st_size for path in tables_of(dataset)}
    shown = ", ".join(f"{name} ({max(1, size // 1000):,} kB)" for name, size in sizes.items())
    log.info("%s: reading %s", dataset, shown)
    problems = Problems()
    with read_items(dataset, problems) as listed:
        with problems.gathered():
            interactions = read_interactions(dataset, listed, problems)
        suspect_features(dataset, problems)
        problems.refuse()
        chosen = select(interactions, listed, params)
        counts = _write(dataset, chosen, params)
    summary = summary_of(dataset, chosen, counts)
    atomic_write(paths.SUMMARY, json.dumps(summary, indent=2) + "\n")
    log.info(
        "%s: %d users, %d items, %s interactions; items with %s",
        dataset,
        summary["users"],
        summary["items"],
        " + ".join(f"{n} {name}" for name, n in summary["interactions"].items()),
        ", ".join(f"{modality}: {found.items}" for modality, found in counts.items()),
    )
    log.info("split: %s; ratings: %s", chosen.split, chosen.ratings)
    for modality, found in counts.items():
        if found.absent:
            log.warning(
                "%s: %d of %d files cannot be read, the first: %s",
                modality, found.absent, found.items, found.examples[0],
            )  # fmt: skip


def tables_of(dataset: Path) -> list[Path]:
    """Its two tables. InputError if one is not there."""
    return [find_table(dataset, "items"), find_table(dataset, "interactions")]


def _write(dataset: Path, chosen: Selection, params: Prepare) -> dict[str, Counts]:
    """Splits, items, manifests, features; returns what every modality has."""
    items = chosen.items
    for name, table in chosen.splits.items():
        write_parquet(paths.split_path(name), table)
    write_parquet(paths.USERS, pa.table({"user_id": chosen.user_ids}))
    counts = {
        modality: write_manifest(paths.manifest_path(modality), dataset, items, modality)
        for modality in modalities()
    }
    shutil.rmtree(paths.FEATURES, ignore_errors=True)
    others = modalities_without_encoder(dataset)
    for modality in others:
        manifest = paths.FEATURES / f".{modality}.manifest.parquet"
        counts[modality] = write_manifest(manifest, dataset, items, modality)
        listed, metadata = read_manifest(manifest)
        manifest.unlink()
        target = Target.ready_made(modality)
        take_features(modality, listed, metadata, dataset, target, params.max_failures)
    atomic_write(paths.FEATURES_LIST, json.dumps(others) + "\n")
    _write_items(items)
    return counts


def _write_items(items: Items) -> None:
    """What describes the items; their content is in the manifests."""
    described = [n for n in items.columns if n != "item_id" and n not in modalities()]
    schema = pa.schema(
        [("item_id", pa.string()), *(items.table.schema.field(n) for n in described)]
    )
    with (
        atomic_path(paths.ITEMS) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for ids, _, rows in items.batches(["item_id", *described]):
            writer.write_table(pa.Table.from_arrays([ids, *rows.columns[1:]], schema=schema))


def summary_of(dataset: Path, chosen: Selection, counts: dict[str, Counts]) -> dict[str, Any]:
    """The catalogue in numbers, and what was decided about it."""
    sizes = {name: len(table) for name, table in chosen.splits.items()}
    users, items = len(chosen.user_ids), len(chosen.items.ids)
    trained = chosen.splits["train"]
    return {
        "dataset": str(dataset),
        "synthetic": dataset == paths.SAMPLE,
        "users": users,
        "items": items,
        "interactions": sizes,
        "sparsity": 1 - sum(sizes.values()) / (users * items),
        "cold_items": items - len(np.unique(trained["item"].to_numpy())),
        "cold_users": users - len(np.unique(trained["user"].to_numpy())),
        "split": chosen.split,
        "ratings": chosen.ratings,
        "k_core": chosen.k_core,
        "modalities": {modality: {"items": found.items} for modality, found in counts.items()},
    }


def main() -> None:
    """Prepare the dataset that `params.yaml` names."""
    params = load()
    prepare(Path(params.dataset), params.prepare)


if __name__ == "__main__":
    run_stage(main)
