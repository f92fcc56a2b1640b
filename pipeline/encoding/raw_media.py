"""Raw media → a modality's files, by way of the cache: only new content meets the network."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable

import numpy as np

from encoders.base import Encoder
from encoders.weights import Found
from pipeline.catalogue.embeddings import Target, write_embeddings
from pipeline.common.device import resolve_device, resolve_precision
from pipeline.common.files import InputError
from pipeline.common.fingerprint import code_sha256, digest
from pipeline.common.params import Params
from pipeline.common.places import place_of
from pipeline.encoding.batches import batches_of, missing_of
from pipeline.encoding.decoding import UNFETCHED
from pipeline.encoding.filling import Engine, Reasons, fill
from pipeline.encoding.local_engine import local_engine
from pipeline.encoding.manifest import Item
from pipeline.encoding.outputs import refuse_failures, versions, write_failures, write_remarks
from pipeline.encoding.vectors import BrokenCache, VectorCache, cache_path

log = logging.getLogger("encode")

# What these bring, weights and a precision, is in a vector's fingerprint itself.
HASHED_ANYHOW = ("encoders.download", "encoders.precision")


def encode_items(items: list[Item], cls: type[Encoder], params: Params, target: Target) -> None:
    """Fill the cache with what is new, then write `target` from it.

    Raises:
        WeightsError: `params.weights` cannot be used.
        InputError: neither can device or precision, too many items failed, or files that
            `prepare` has read are out of reach.
    """
    try:
        _encode_items(items, cls, params, target)
    except BrokenCache:  # which is out of the way now
        _encode_items(items, cls, params, target)


def _encode_items(items: list[Item], cls: type[Encoder], params: Params, target: Target) -> None:
    started = time.monotonic()
    modality = cls.modality
    entry = params.encode[modality]
    device = _device(params)
    precision = resolve_precision(entry.precision, device, f"encode.{modality}.precision")
    found = cls.find(params.weights)
    load, engine = _engine(cls, params, device, precision)
    metadata = description_of(cls, device, precision)
    print_ = fingerprint_of(cls, found, metadata)
    batches = batches_of(items, cls.takes_text, cls.batch_size(entry.batch_size, device))
    contents = list({item.sha256: None for item in items if item.sha256})
    with VectorCache(cache_path(cls.name, print_), cls.width) as cache:
        known = settled = cache.present(contents)
        todo = missing_of(batches, known)
        new, old = sum(map(len, todo)), sum(item.sha256 in known for item in items)
        log.info(
            "%s: %s to encode of %s items, %s known, %s the same as another",
            modality, *(f"{n:,}" for n in (new, len(items), old, len(items) - new - old)),
        )  # fmt: skip
        reasons = Reasons()
        while todo:
            fill(cache, todo, engine, modality, reasons)
            # Where a file has changed, another of the content that it had may still be there.
            settled = cache.present(contents) | reasons.contents.keys()
            rest = [[i for i in batch if i.item_id not in reasons.items] for batch in batches]
            todo = missing_of(rest, settled)
        # Seeded weights have no file to hash: what they are is known once they were drawn.
        digest = found.sha256 or cache.noted("weights_sha256")
        if not digest:
            digest = load().loaded.sha256
            cache.note("weights_sha256", digest)
        failures = [(item, reason) for item in items if (reason := reasons.of(item))]
        _refuse_unfetched(modality, failures)
        failed = {item.item_id for item, _ in failures}
        good = [item for item in items if item.item_id not in failed]
        said = cache.remarks(contents)
        remarks = [(item, said[item.sha256]) for item in good if item.sha256 in said]
        write_failures(target.failures, failures)
        write_remarks(target.remarks, remarks)
        key, path = f"encode.{modality}", target.failures
        refuse_failures(modality, len(items), failures, entry.max_failures, key, path)
        metadata |= {
            "weights": found.source,
            "weights_sha256": digest,
            "revision": found.revision,
            "fingerprint": print_,
            "count": str(len(good)),
        } | versions("pyarrow")
        write_embeddings(
            target.embeddings,
            [item.item_id for item in good],
            lambda part: cache.get([item.sha256 for item in good[part]]),
            cls.width,
            metadata,
        )
    encoded = len({item.sha256 for item in good} - known)
    log.info(
        "%s: %s items by %s (weights: %s): %s encoded now, %s known already, "
        "%s the same as another, %s failed, %s with a remark, %.1f s",
        modality, f"{len(good):,}", cls.name, found.source,
        *(f"{n:,}" for n in (encoded, old, len(good) - encoded - old, len(failures), len(remarks))),
        time.monotonic() - started,
    )  # fmt: skip


def _refuse_unfetched(modality: str, failures: list[tuple[Item, str]]) -> None:
    """InputError if files are out of reach that `prepare` has read: the next run may read them."""
    found = [(i, reason) for i, reason in failures if i.sha256 and reason.startswith(UNFETCHED)]
    if found:
        item, reason = found[0]
        raise InputError(
            f"{modality}: {len(found):,} items could be fetched when they were prepared, and now "
            f"cannot, the first of them {item.item_id} ({item.source}): {reason}; run the stage "
            "again, what is encoded is kept, or `dvc repro prepare` if they are not to be had"
        )


def _device(params: Params) -> str:
    """Where the networks will run. InputError for one that is absent."""
    if params.engine == "local":
        return resolve_device(params.device)
    from pipeline.encoding.ray_engine import device_in_cluster

    return device_in_cluster(params.device)


def _engine(
    cls: type[Encoder], params: Params, device: str, precision: str
) -> tuple[Callable[[], Encoder], Engine]:
    """The network in this process, loaded when it is called for; and what encodes batches."""
    dataset, seconds = place_of(params.dataset), params.encode[cls.modality].time_limit
    if params.engine == "local":
        load = functools.cache(lambda: cls(params.weights, device, precision))
        return load, local_engine(cls, load, dataset, seconds)
    from pipeline.encoding.ray_engine import ray_engine

    # Here it has nothing to encode, and perhaps no card: it says which weights were drawn.
    load = functools.cache(lambda: cls(params.weights))
    return load, ray_engine(cls, params.weights, device, precision, dataset, seconds)


def encode_nothing(cls: type[Encoder], target: Target) -> None:
    """Write empty files for a catalogue without the modality; no weights are looked for."""
    nothing = np.empty((0, cls.width), np.float32)
    metadata = cls.description() | {"count": "0"} | versions(*cls.libraries, "pyarrow")
    write_failures(target.failures, [])
    write_remarks(target.remarks, [])
    write_embeddings(target.embeddings, [], lambda _: nothing, cls.width, metadata)
    log.info("%s: no item has it", cls.modality)


def description_of(cls: type[Encoder], device: str, precision: str) -> dict[str, str]:
    """What an encoder's vectors depend on, but for weights and code."""
    computed = {"device": device, "precision": precision}
    return cls.description() | computed | versions(*cls.libraries)


def fingerprint_of(cls: type[Encoder], found: Found, metadata: dict[str, str]) -> str:
    """Hexadecimal sha256 of all that changes a vector.

    Weights, wherever they lie, the encoder's code, and what `metadata` describes, but for the
    license.
    """
    weights = {"weights_sha256": found.sha256 or found.source}
    code = {"code": code_sha256(cls.__module__, apart_from=HASHED_ANYHOW)}
    described = {key: value for key, value in metadata.items() if key != "license"}
    return digest(described | weights | code)
