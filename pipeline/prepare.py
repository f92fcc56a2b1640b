"""Stage `prepare`: the raw catalogue, checked → contiguous ids, splits, one manifest a modality.

    python -m pipeline.prepare

Reads `<dataset>/items.*` and `<dataset>/interactions.*`; writes `data/prepared/`.
"""

import json
import logging
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from encoders import modalities
from pipeline.catalogue.embeddings import Target
from pipeline.catalogue.manifests import manifest
from pipeline.catalogue.raw import read_interactions, read_items
from pipeline.catalogue.ready_made import modalities_without_encoder
from pipeline.catalogue.splits import split_interactions
from pipeline.common import paths
from pipeline.common.command import run_stage
from pipeline.common.files import InputError, atomic_write, write_parquet
from pipeline.common.params import Prepare, load
from pipeline.encoding.manifest import items_of
from pipeline.encoding.ready_made import take_features

log = logging.getLogger("prepare")


def prepare(dataset: Path, params: Prepare) -> None:
    """Write everything under `data/prepared/`."""
    listed = read_items(dataset)
    items = listed.sort_by("item_id")
    interactions = read_interactions(dataset, items)
    user_ids = pc.unique(interactions["user_id"]).sort()
    splits = split_interactions(interactions, user_ids, items["item_id"].combine_chunks(), params)
    if not len(splits["train"]):
        raise InputError(f"{dataset}: no interaction is left for training")
    # NumPy's ready-made features follow the file's order, hence the items as they were listed.
    manifests = {modality: manifest(dataset, listed, modality) for modality in modalities()}
    others = {m: manifest(dataset, listed, m) for m in modalities_without_encoder(dataset)}

    for name, table in splits.items():
        write_parquet(paths.split_path(name), table)
    for modality, table in manifests.items():
        write_parquet(paths.manifest_path(modality), table)
    shutil.rmtree(paths.FEATURES, ignore_errors=True)
    for modality, table in others.items():
        chosen, metadata = items_of(table)
        take_features(modality, chosen, metadata, dataset, Target.ready_made(modality))
    atomic_write(paths.FEATURES_LIST, json.dumps(list(others)) + "\n")
    # What stays of the items is what describes them; their content is in the manifests.
    content = [name for name in modalities() if name in items.column_names]
    write_parquet(paths.ITEMS, items.drop_columns(content))
    write_parquet(paths.USERS, pa.table({"user_id": user_ids}))
    counts = {name: len(table) for name, table in splits.items()}
    sizes = {modality: len(table) for modality, table in (manifests | others).items()}
    warm = pc.count_distinct(splits["train"]["item"]).as_py()
    summary = {
        "dataset": str(dataset),
        "synthetic": dataset == paths.SAMPLE,
        "users": len(user_ids),
        "items": len(items),
        "interactions": counts,
        "sparsity": 1 - sum(counts.values()) / (len(user_ids) * len(items)),
        "cold_items": len(items) - warm,
        "modalities": {modality: {"items": size} for modality, size in sizes.items()},
    }
    atomic_write(paths.SUMMARY, json.dumps(summary, indent=2) + "\n")
    log.info(
        "%s: %d users, %d items, %s interactions; items with %s",
        dataset,
        len(user_ids),
        len(items),
        " + ".join(f"{n} {name}" for name, n in counts.items()),
        ", ".join(f"{modality}: {size}" for modality, size in sizes.items()),
    )


def main() -> None:
    """Prepare the dataset that `params.yaml` names."""
    params = load()
    prepare(Path(params.dataset), params.prepare)


if __name__ == "__main__":
    run_stage(main)
