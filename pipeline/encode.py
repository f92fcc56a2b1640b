"""Stage `encode@<modality>`: raw media of the catalogue → one vector an item.

    python -m pipeline.encode text|image|audio|video

Reads `data/prepared/manifests/<modality>.parquet` and the dataset; writes
`data/embeddings/<modality>.parquet` and `data/embeddings/<modality>.failures.csv`. An item that
cannot be encoded becomes a row of the second, and costs no other item.

Vectors come from `pipeline.cache`, which is filled first, batch by batch: only new content is
encoded, and a killed run goes on where it was.
"""

import argparse
import functools
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from encoders import MODALITIES, encoder_class
from encoders.base import Encoder
from encoders.media import MediaError
from encoders.weights import WeightsError
from pipeline import paths
from pipeline.cache import VectorCache, cache_path, fingerprint
from pipeline.device import resolve_device
from pipeline.embeddings import write_embeddings
from pipeline.files import InputError, run, sha256_of, write_csv
from pipeline.params import Params, load

log = logging.getLogger("encode")

AHEAD = 2  # batches that are decoded while one is in the network


@dataclass(frozen=True)
class Item:
    """One row of a manifest: `source` is a text, or a path relative to the dataset.

    `sha256` is that of the content, empty where `prepare` found no readable file.
    """

    item_id: str
    source: str
    sha256: str


def read_manifest(path: Path) -> list[Item]:
    """The items that have the modality, sorted by id."""
    rows = pq.read_table(path).sort_by("item_id").to_pylist()
    return [Item(row["item_id"], row["source"], row["sha256"]) for row in rows]


def locate(dataset: Path, source: str) -> Path:
    """The file that `source` names. MediaError if it lies outside the dataset folder."""
    try:
        path = (dataset / source).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a null byte, a loop of links
        raise MediaError(f"not a path: {error}") from error
    if not path.is_relative_to(dataset.resolve()):
        raise MediaError("the path leads out of the dataset folder")
    return path


def prepared(
    batches: list[list[Item]], prepare: Callable[[Item], Any]
) -> Iterator[list[tuple[Item, "Future[Any]"]]]:
    """Each batch with its items' `prepare`, which runs in threads, at most `AHEAD` batches early.

    Decoders and tensor operations release the interpreter lock.
    """
    waiting: deque[list[tuple[Item, Future[Any]]]] = deque()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in batches:
            waiting.append([(item, pool.submit(prepare, item)) for item in batch])
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


def fill(
    cache: VectorCache,
    batches: list[list[Item]],
    cls: type[Encoder],
    load: Callable[[], Encoder],
    dataset: Path,
) -> dict[str, str]:
    """Encode `batches` into `cache`, each as soon as it is done; `load` only if there is one.

    Returns:
        Why an item could not be encoded, by its sha256, or by its id where it has none.
    """

    def prepare(item: Item) -> Any:
        if cls.modality == "text":
            return cls.prepare(item.source)
        path = locate(dataset, item.source)
        result = cls.prepare(path)
        if sha256_of(path) != item.sha256:
            raise MediaError("the file has changed since it was prepared; run `dvc repro`")
        return result

    reasons = {}
    total = sum(map(len, batches))
    with tqdm(total=total, desc=cls.modality, unit="item", disable=None) as bar:
        for batch in prepared(batches, prepare):
            good, inputs = [], []
            for item, future in batch:
                try:
                    inputs.append(future.result())
                    good.append(item)
                except MediaError as error:
                    reasons[item.sha256 or item.item_id] = str(error)
            if inputs:
                vectors = load().encode(inputs)
                finite = [bool(np.isfinite(vector).all()) for vector in vectors]
                keys = [item.sha256 for item in good]
                cache.put([k for k, ok in zip(keys, finite, strict=True) if ok], vectors[finite])
                for key, ok in zip(keys, finite, strict=True):
                    if not ok:
                        reasons[key] = "the vector is not finite"
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


def encode_modality(modality: str, params: Params) -> None:
    """Run the stage for one modality. InputError if weights or device cannot be used."""
    items = read_manifest(paths.manifest_path(modality))
    cls = encoder_class(params.encode[modality].encoder)
    if not items:  # no weights are looked for
        metadata = cls.description() | {"count": "0"} | _versions(*cls.libraries, "pyarrow")
        nothing = np.empty((0, cls.width), np.float32)
        write_failures(modality, [])
        write_embeddings(
            paths.embeddings_path(modality), [], lambda _: nothing, cls.width, metadata
        )
        log.info("%s: no item has it", modality)
        return
    try:
        _encode_items(modality, items, cls, params)
    except WeightsError as error:
        raise InputError(f"params.yaml: weights: {error}") from error


def _encode_items(modality: str, items: list[Item], cls: type[Encoder], params: Params) -> None:
    started = time.monotonic()
    device, found = resolve_device(params.device), cls.find(params.weights)
    load = functools.cache(lambda: cls(params.weights, device))  # only if something is missing
    metadata = cls.description() | {"device": device.type} | _versions(*cls.libraries)
    print_ = fingerprint(metadata | {"weights_sha256": found.sha256 or found.source})
    batches = batches_of(items, modality, params.encode[modality].batch_size)
    contents = list({item.sha256: None for item in items if item.sha256})
    with VectorCache(cache_path(cls.name, print_), cls.width) as cache:
        todo = missing_of(batches, cache.present(contents))
        digest = found.sha256 or cache.noted("weights_sha256")
        if not digest:
            digest = load().loaded.sha256
            cache.note("weights_sha256", digest)
        reasons = fill(cache, todo, cls, load, Path(params.dataset))
        cached = cache.present(contents)
        good = [item for item in items if item.sha256 in cached]
        failures = [
            (item, reasons[item.sha256 or item.item_id])
            for item in items
            if item.sha256 not in cached
        ]
        metadata |= {
            "weights": found.source,
            "weights_sha256": digest,
            "revision": found.revision,
            "fingerprint": print_,
            "count": str(len(good)),
        } | _versions("pyarrow")
        write_failures(modality, failures)
        write_embeddings(
            paths.embeddings_path(modality),
            [item.item_id for item in good],
            lambda part: cache.get([item.sha256 for item in good[part]]),
            cls.width,
            metadata,
        )
    new = sum(map(len, todo)) - len(reasons)
    log.info(
        "%s: %d items by %s (weights: %s): %d encoded now, %d failures, %.1f s",
        modality, len(good), cls.name, found.source, new, len(failures),
        time.monotonic() - started,
    )  # fmt: skip


def _versions(*libraries: str) -> dict[str, str]:
    return {f"library:{name}": version(name) for name in libraries}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.encode")
    parser.add_argument("modality", choices=MODALITIES)
    encode_modality(parser.parse_args().modality, load())


if __name__ == "__main__":
    run(main)
