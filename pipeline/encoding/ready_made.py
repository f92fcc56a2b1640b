"""Ready-made features as embeddings, without an encoder."""

from __future__ import annotations

import logging
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.catalogue.embeddings import write_embeddings
from pipeline.catalogue.ready_made import provenance, read_features
from pipeline.encoding.failures import write_failures
from pipeline.encoding.manifest import Item
from pipeline.files import InputError, sha256_of

log = logging.getLogger("features")

STEP = 65_536  # rows that are looked at together


def take_features(
    modality: str,
    items: list[Item],
    manifest: dict[str, str],
    dataset: Path,
    embeddings: Path,
    failures: Path,
) -> None:
    """Write ready-made features as embeddings; a row that is not finite counts as a failure.

    Args:
        items: those that have the modality; `source` is the row in the file.
        manifest: its schema's metadata, which names the file and its sha256.
        embeddings, failures: the files to write.
    """
    name, sha256 = manifest["features"], manifest["features_sha256"]
    path = dataset / name
    if not path.is_file() or sha256_of(path) != sha256:
        raise InputError(f"{path}: the file has changed since it was prepared; run `dvc repro`")
    matrix = read_features(path)
    width = matrix.shape[1]

    def rows(chosen: list[Item]) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):  # too large for float32 is infinite
            return matrix[[int(item.source) for item in chosen]].astype(np.float32)

    steps = range(0, len(items), STEP)
    finite = [np.isfinite(rows(items[i : i + STEP])).all(1) for i in steps]
    mask = np.concatenate([np.empty(0, bool), *finite])
    good = [item for item, ok in zip(items, mask, strict=True) if ok]
    failed = [
        (Item(item.item_id, f"{name}, row {item.source}", ""), "a value is not finite")
        for item, ok in zip(items, mask, strict=True)
        if not ok
    ]
    metadata = provenance(path, name, sha256) | {
        "modality": modality,
        "width": str(width),
        "count": str(len(good)),
    }
    metadata |= {"library:pyarrow": version("pyarrow")}
    write_failures(failures, failed)
    write_embeddings(
        embeddings, [item.item_id for item in good], lambda part: rows(good[part]), width, metadata
    )
    log.info(
        "%s: %d items have ready-made features (%s, width %d), %d rows are not finite",
        modality, len(good), name, width, len(failed),
    )  # fmt: skip
