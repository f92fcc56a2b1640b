"""Stage `encode@<modality>`: raw media of the catalogue → one vector an item.

    python -m pipeline.encode text|image|audio|video

Reads `data/prepared/manifests/<modality>.parquet` and the dataset; writes
`data/embeddings/<modality>.parquet` and `data/embeddings/<modality>.failures.csv`. An item that
cannot be encoded becomes a row of the second, and costs no other item.

Vectors come from `pipeline.vectors`, which is filled first, batch by batch: only new content is
encoded, and a killed run goes on where it was. Files are decoded by `pipeline.workers`, ahead of
the network. Ready-made features pass through as they are.
"""

from __future__ import annotations

import argparse
import functools
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from encoders import MODALITIES, encoder_class
from encoders.base import Encoder
from encoders.media import MediaError
from encoders.weights import WeightsError
from pipeline import paths
from pipeline.catalogue.embeddings import write_embeddings
from pipeline.catalogue.ready_made import provenance, read_features
from pipeline.device import keep_freed_memory, resolve_device, resolve_precision
from pipeline.files import InputError, run, sha256_of, write_csv
from pipeline.fingerprint import code_sha256
from pipeline.params import Params, load
from pipeline.vectors import VectorCache, cache_path, fingerprint
from pipeline.workers import Pool

log = logging.getLogger("encode")

AHEAD = 2  # batches that are decoded while one is in the network
STEP = 65_536  # rows of ready-made features that are looked at together
SHOWN = 3  # reasons in an error message
# What these bring, weights and a precision, is in a vector's fingerprint itself.
HASHED_ANYHOW = ("encoders.download", "encoders.precision")


@dataclass(frozen=True)
class Item:
    """One row of a manifest.

    `source` is a text, a path relative to the dataset, or a row of ready-made features; `sha256`
    that of the content, empty where `prepare` found no readable file.
    """

    item_id: str
    source: str
    sha256: str


def read_manifest(path: Path) -> tuple[list[Item], dict[str, str]]:
    """The items that have the modality, sorted by id; and the schema's metadata."""
    table = pq.read_table(path).sort_by("item_id")
    items = [Item(row["item_id"], row["source"], row["sha256"]) for row in table.to_pylist()]
    return items, {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}


def locate(dataset: Path, source: str) -> Path:
    """The file that `source` names. MediaError if it lies outside the dataset folder."""
    try:
        path = (dataset / source).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a null byte, a loop of links
        raise MediaError(f"not a path: {error}") from error
    if not path.is_relative_to(dataset.resolve()):
        raise MediaError("the path leads out of the dataset folder")
    return path


def decode(cls: type[Encoder], dataset: Path, item: Item) -> Any:
    """What `cls.prepare` makes of the item's file, if it still is the one in the manifest."""
    path = locate(dataset, item.source)
    prepared = cls.prepare(path)
    if sha256_of(path) != item.sha256:
        raise MediaError("the file has changed since it was prepared; run `dvc repro`")
    return prepared


def ahead(
    batches: list[list[Item]], submit: Callable[[Item], Future[Any]]
) -> Iterator[list[tuple[Item, Future[Any]]]]:
    """Each batch with its items' futures, submitted at most `AHEAD` batches early."""
    waiting: deque[list[tuple[Item, Future[Any]]]] = deque()
    for batch in batches:
        waiting.append([(item, submit(item)) for item in batch])
        if len(waiting) > AHEAD:
            yield waiting.popleft()
    yield from waiting


def batches_of(items: list[Item], modality: str, batch_size: int) -> list[list[Item]]:
    """The same batches whatever is cached already, so that a resumed run gives the same bytes."""
    if modality == "text":  # texts of like length share a batch with little padding
        items = sorted(items, key=lambda item: (len(item.source), item.item_id))
    return [items[i : i + batch_size] for i in range(0, len(items), batch_size)]


def missing_of(batches: list[list[Item]], cached: set[str]) -> list[list[Item]]:
    """What of each batch is to be encoded: each content once, and none that is cached."""
    seen = set(cached)
    result = []
    for batch in batches:
        fresh = []
        for item in batch:
            if item.sha256 not in seen:
                fresh.append(item)
            if item.sha256:
                seen.add(item.sha256)
        if fresh:
            result.append(fresh)
    return result


def prepared(
    batches: list[list[Item]], cls: type[Encoder], dataset: Path, seconds: float
) -> Iterator[list[tuple[Item, Future[Any]]]]:
    """Each batch with the futures of its items' `cls.prepare`; files go to worker processes."""
    if cls.modality == "text":
        with ThreadPoolExecutor(1) as thread:
            yield from ahead(batches, lambda item: thread.submit(cls.prepare, item.source))
    else:
        with Pool(functools.partial(decode, cls, dataset), seconds) as pool:
            yield from ahead(batches, pool.submit)


def fill(
    cache: VectorCache,
    batches: list[list[Item]],
    cls: type[Encoder],
    load: Callable[[], Encoder],
    dataset: Path,
    seconds: float,
) -> dict[str, str]:
    """Encode `batches` into `cache`, each as soon as it is done; `load` only if there are any.

    Returns:
        Why an item could not be encoded, by its sha256, or by its id where it has none.
    """
    reasons: dict[str, str] = {}

    def fail(item: Item, reason: str) -> None:
        reasons[item.sha256 or item.item_id] = reason

    total = sum(map(len, batches))
    with tqdm(total=total, desc=cls.modality, unit="item", disable=None) as bar:
        for batch in prepared(batches, cls, dataset, seconds):
            encoder = load()  # while the workers start
            good, inputs = [], []
            for item, future in batch:
                try:
                    inputs.append(future.result())
                    good.append(item)
                except MediaError as error:
                    fail(item, str(error))
            if inputs:
                vectors = encoder.encode(inputs)
                finite = [bool(np.isfinite(vector).all()) for vector in vectors]
                for item, ok in zip(good, finite, strict=True):
                    if not ok:
                        fail(item, "the vector is not finite")
                keys = [item.sha256 for item, ok in zip(good, finite, strict=True) if ok]
                cache.put(keys, vectors[finite])
            bar.update(len(batch))
    return reasons


def write_failures(modality: str, failures: list[tuple[Item, str]]) -> None:
    """item_id, source, reason of every item that could not be encoded, sorted by id."""
    columns = {
        "item_id": [item.item_id for item, _ in failures],
        "source": [item.source for item, _ in failures],
        "reason": [reason for _, reason in failures],
    }
    write_csv(
        paths.failures_path(modality),
        pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()}),
    )


def refuse_failures(
    modality: str, items: int, failures: list[tuple[Item, str]], most: float
) -> None:
    """InputError if more than the share `most` of the items failed."""
    if len(failures) <= most * items:
        return
    common = Counter(reason for _, reason in failures).most_common(SHOWN)
    raise InputError(
        f"{modality}: {len(failures)} of {items} items could not be encoded, more than "
        f"encode.{modality}.max_failures: {most:g} allows: "
        + "; ".join(f"{reason} ({count})" for reason, count in common)
        + f". {paths.failures_path(modality)} has them all"
    )


def encode_modality(modality: str, params: Params) -> None:
    """Run the stage for one modality. InputError if weights or device cannot be used."""
    items, metadata = read_manifest(paths.manifest_path(modality))
    cls = encoder_class(params.encode[modality].encoder)
    if "features" in metadata:
        take_features(modality, items, metadata, Path(params.dataset))
    elif items:
        try:
            encode_items(modality, items, cls, params)
        except WeightsError as error:
            raise InputError(f"params.yaml: weights: {error}") from error
    else:  # no weights are looked for
        nothing = np.empty((0, cls.width), np.float32)
        metadata = cls.description() | {"count": "0"} | _versions(*cls.libraries, "pyarrow")
        path = paths.embeddings_path(modality)
        write_failures(modality, [])
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
    batches = batches_of(items, modality, entry.batch_size)
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
        write_failures(modality, failures)
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


def take_features(
    modality: str, items: list[Item], manifest: dict[str, str], dataset: Path
) -> None:
    """Ready-made features → the modality's files; a row that is not finite counts as missing."""
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
    write_failures(modality, failures)
    write_embeddings(
        paths.embeddings_path(modality), [item.item_id for item in good],
        lambda part: rows(good[part]), width, metadata | _versions("pyarrow"),
    )  # fmt: skip
    log.info(
        "%s: %d items have ready-made features (%s, width %d), %d rows are not finite",
        modality, len(good), name, width, len(failures),
    )  # fmt: skip


def _versions(*libraries: str) -> dict[str, str]:
    return {f"library:{name}": version(name) for name in libraries}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.encode")
    parser.add_argument("modality", choices=MODALITIES)
    keep_freed_memory()
    encode_modality(parser.parse_args().modality, load())


if __name__ == "__main__":
    run(main)
