"""Ready-made features → a modality's files. No encoder has a part in it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders import modalities
from pipeline.catalogue.embeddings import Target, write_embeddings
from pipeline.catalogue.ready_made import provenance, read_features
from pipeline.common.files import InputError, sha256_of
from pipeline.encoding.manifest import Item
from pipeline.encoding.outputs import (
    refuse_failures,
    versions,
    write_failures,
    write_remarks,
)

log = logging.getLogger("features")

STEP = 65_536  # rows that are looked at together


def take_features(
    modality: str,
    items: list[Item],
    manifest: dict[str, str],
    dataset: Path,
    target: Target,
    max_failures: float,
) -> None:
    """Write the features of `items` to `target`; a row that is not finite counts as missing.

    Args:
        modality: the name that the files' metadata gives.
        items: sorted by id; each one's `source` is its row in the file of features.
        manifest: `features`, that file's path relative to the dataset, and `features_sha256`.
        dataset: the folder of the catalogue.
        target: where the embeddings, the failures and no remarks go.
        max_failures: the share of the items that may have no row of numbers.

    Raises:
        InputError: the file of features is not what the manifest was made from, or too many fail.
    """
    name, sha256 = manifest["features"], manifest["features_sha256"]
    path = dataset / name
    if not path.is_file() or sha256_of(path) != sha256:
        raise InputError(f"{path}: the file has changed since it was prepared; run `dvc repro`")
    matrix = read_features(path)
    width = matrix.shape[1]

    def rows(chosen: list[Item]) -> NDArray[np.float32]:
        with np.errstate(over="ignore", invalid="ignore"):  # too large for float32 is infinite
            return matrix[[int(item.source) for item in chosen]].astype(np.float32)

    steps = range(0, len(items), STEP)
    finite = [np.isfinite(rows(items[i : i + STEP])).all(1) for i in steps]
    mask = np.concatenate([np.empty(0, bool), *finite])
    good = [item for item, ok in zip(items, mask, strict=True) if ok]
    failures = [
        (Item(item.item_id, f"{name}, row {item.source}", ""), "a value is not finite")
        for item, ok in zip(items, mask, strict=True)
        if not ok
    ]
    metadata = provenance(path, name, sha256) | {
        "modality": modality,
        "width": str(width),
        "count": str(len(good)),
    }
    write_failures(target.failures, failures)
    write_remarks(target.remarks, [])
    key = f"encode.{modality}" if modality in modalities() else "prepare"
    refuse_failures(modality, len(items), failures, max_failures, key, target.failures)
    write_embeddings(
        target.embeddings, [item.item_id for item in good],
        lambda part: rows(good[part]), width, metadata | versions("pyarrow"),
    )  # fmt: skip
    log.info(
        "%s: %d items have ready-made features (%s, width %d), %d rows are not finite",
        modality, len(good), name, width, len(failures),
    )  # fmt: skip
