"""Stage `encode@<modality>`: raw media of the catalogue → one vector an item.

    python -m pipeline.encode <modality>

Reads `data/prepared/manifests/<modality>.parquet` and the dataset; writes
`data/embeddings/<modality>.parquet` and `data/embeddings/<modality>.failures.csv`. An item that
cannot be encoded becomes a row of the second, and costs no other item.

Vectors come from `pipeline.encoding.vectors`, which is filled first, batch by batch: only new
content is encoded, and a killed run goes on where it was. Ready-made features pass through as they
are.
"""

from __future__ import annotations

import argparse
import functools
import logging
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from encoders import encoder_class, modalities
from encoders.base import Encoder
from encoders.weights import WeightsError
from pipeline import paths
from pipeline.catalogue.embeddings import write_embeddings
from pipeline.device import keep_freed_memory, resolve_device, resolve_precision
from pipeline.encoding.failures import refuse_failures, write_failures
from pipeline.encoding.filling import fill
from pipeline.encoding.manifest import Item, batches_of, missing_of, read_manifest
from pipeline.encoding.ready_made import take_features
from pipeline.encoding.vectors import VectorCache, cache_path, fingerprint
from pipeline.files import InputError, run
from pipeline.fingerprint import code_sha256
from pipeline.params import Params, load

log = logging.getLogger("encode")

# What these bring, weights and a precision, is in a vector's fingerprint itself.
HASHED_ANYHOW = ("encoders.download", "encoders.precision")


def encode_modality(modality: str, params: Params) -> None:
    """Run the stage for one modality. InputError if weights or device cannot be used."""
    items, metadata = read_manifest(paths.manifest_path(modality))
    cls = encoder_class(params.encode[modality].encoder)
    if "features" in metadata:
        take_features(
            modality, items, metadata, Path(params.dataset),
            paths.embeddings_path(modality), paths.failures_path(modality),
        )  # fmt: skip
    elif items:
        try:
            encode_items(modality, items, cls, params)
        except WeightsError as error:
            raise InputError(f"params.yaml: weights: {error}") from error
    else:  # no weights are looked for
        nothing = np.empty((0, cls.width), np.float32)
        metadata = cls.description() | {"count": "0"} | _versions(*cls.libraries, "pyarrow")
        path = paths.embeddings_path(modality)
        write_failures(paths.failures_path(modality), [])
        write_embeddings(path, [], lambda _: nothing, cls.width, metadata)
        log.info("%s: no item has it", modality)


def encode_items(modality: str, items: list[Item], cls: type[Encoder], params: Params) -> None:
    """Fill the cache with what is new, then write the modality's files from it."""
    started = time.monotonic()
    entry = params.encode[modality]
    device = resolve_device(params.device)
    precision = resolve_precision(entry.precision, device, f"encode.{modality}.precision")
    found = cls.find(params.weights)
    load = functools.cache(lambda: cls(params.weights, device, precision))
    metadata = cls.description() | {"device": device, "precision": precision}
    metadata |= _versions(*cls.libraries)
    print_ = fingerprint(
        metadata
        | {"weights_sha256": found.sha256 or found.source}
        | {"code": code_sha256(cls.__module__, apart_from=HASHED_ANYHOW)}
    )
    batches = batches_of(items, cls.takes_text, entry.batch_size)
    contents = list({item.sha256: None for item in items if item.sha256})
    with VectorCache(cache_path(cls.name, print_), cls.width) as cache:
        todo = missing_of(batches, cache.present(contents))
        reasons = fill(cache, todo, cls, load, Path(params.dataset), entry.time_limit)
        digest = found.sha256 or cache.noted("weights_sha256")
        if not digest:
            digest = load().loaded.sha256
            cache.note("weights_sha256", digest)
        cached = cache.present(contents)
        good = [item for item in items if item.sha256 in cached]
        failures = [
            (item, reasons[item.sha256 or item.item_id])
            for item in items
            if item.sha256 not in cached
        ]
        write_failures(paths.failures_path(modality), failures)
        refuse_failures(modality, len(items), failures, entry.max_failures)
        metadata |= {
            "weights": found.source,
            "weights_sha256": digest,
            "revision": found.revision,
            "fingerprint": print_,
            "count": str(len(good)),
        } | _versions("pyarrow")
        write_embeddings(
            paths.embeddings_path(modality),
            [item.item_id for item in good],
            lambda part: cache.get([item.sha256 for item in good[part]]),
            cls.width,
            metadata,
        )
    log.info(
        "%s: %d items by %s (weights: %s): %d encoded now, %d failures, %.1f s",
        modality, len(good), cls.name, found.source, sum(map(len, todo)) - len(reasons),
        len(failures), time.monotonic() - started,
    )  # fmt: skip


def _versions(*libraries: str) -> dict[str, str]:
    return {f"library:{name}": version(name) for name in libraries}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.encode")
    parser.add_argument("modality", choices=modalities())
    keep_freed_memory()
    encode_modality(parser.parse_args().modality, load())


if __name__ == "__main__":
    run(main)
