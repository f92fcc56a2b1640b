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

import pyarrow as pa
import pyarrow.parquet as pq

from encoders import modalities
from pipeline.catalogue.embeddings import Target
from pipeline.catalogue.inspection import inspect
from pipeline.catalogue.manifests import Counts
from pipeline.catalogue.raw import Items
from pipeline.catalogue.splits import Selection
from pipeline.common import paths
from pipeline.common.command import run_stage
from pipeline.common.files import atomic_path, atomic_write, write_parquet
from pipeline.common.params import Prepare, load
from pipeline.common.places import Place, mirrored, place_of, tells_changes
from pipeline.encoding.manifest import read_manifest
from pipeline.encoding.ready_made import take_features

log = logging.getLogger("prepare")


def prepare(dataset: Place, params: Prepare) -> None:
    """Write everything under `data/prepared/`. InputError with all that is wrong, if anything."""
    log.info("%s: reading", dataset)
    if not tells_changes(dataset):
        log.warning(
            "%s: DVC sees no change of its files there; `dvc repro -f prepare` after one", dataset
        )
    with inspect(dataset, params, paths.MANIFESTS) as found:
        found.problems.refuse()
        assert found.selection is not None  # there is one, or a problem
        chosen, counts = found.selection, found.counts
        _write(dataset, chosen, params, found.manifests)
    summary = summary_of(dataset, chosen, counts)
    atomic_write(paths.SUMMARY, json.dumps(summary, indent=2) + "\n")
    log.info(
        "%s: %d users, %d items, %s interactions; items with %s",
        dataset,
        summary["users"],
        summary["items"],
        " + ".join(f"{n} {name}" for name, n in summary["interactions"].items()),
        ", ".join(f"{modality}: {count.items}" for modality, count in counts.items()),
    )
    log.info("split: %s; ratings: %s", chosen.split, chosen.ratings)
    for modality, count in counts.items():
        if count.examples:
            log.warning(
                "%s: %d of %d files cannot be read, the first: %s",
                modality, count.useless, count.items, count.examples[0],
            )  # fmt: skip


def _write(dataset: Place, chosen: Selection, params: Prepare, manifests: dict[str, Path]) -> None:
    """Splits, items, and the modalities that are nothing but features."""
    for name, table in chosen.splits.items():
        write_parquet(paths.split_path(name), table)
    write_parquet(paths.USERS, pa.table({"user_id": chosen.user_ids}))
    shutil.rmtree(paths.FEATURES, ignore_errors=True)
    others = [modality for modality in manifests if modality not in modalities()]
    for modality in others:
        items, metadata = read_manifest(manifests[modality])
        manifests[modality].unlink()
        target = Target.ready_made(modality)
        take_features(modality, items, metadata, mirrored(dataset), target, params.max_failures)
    atomic_write(paths.FEATURES_LIST, json.dumps(others) + "\n")
    _write_items(chosen.items)


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


def summary_of(dataset: Place, chosen: Selection, counts: dict[str, Counts]) -> dict[str, Any]:
    """The catalogue in numbers, and what was decided about it."""
    return {
        "dataset": str(dataset),
        "synthetic": dataset == paths.SAMPLE,
        "users": len(chosen.user_ids),
        "items": len(chosen.items.ids),
        "interactions": chosen.sizes,
        "sparsity": chosen.sparsity,
        "cold_items": chosen.cold_items,
        "cold_users": chosen.cold_users,
        "split": chosen.split,
        "ratings": chosen.ratings,
        "k_core": chosen.k_core,
        "modalities": {modality: {"items": found.items} for modality, found in counts.items()},
    }


def main() -> None:
    """Prepare the dataset that `params.yaml` names."""
    params = load()
    prepare(place_of(params.dataset), params.prepare)


if __name__ == "__main__":
    run_stage(main)
