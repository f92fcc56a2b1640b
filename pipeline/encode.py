"""Stage `encode@<modality>`: raw media of the catalogue → one vector an item.

    python -m pipeline.encode text|image|audio|video

Reads `data/prepared/manifests/<modality>.parquet` and the dataset; writes
`data/embeddings/<modality>.parquet` and `data/embeddings/<modality>.failures.csv`. An item that
cannot be encoded becomes a row of the second, and costs no other item.
"""

import argparse
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
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
from pipeline.device import resolve_device
from pipeline.embeddings import write_embeddings
from pipeline.files import InputError, run, write_csv
from pipeline.params import Params, load

log = logging.getLogger("encode")

AHEAD = 2  # batches that are decoded while one is in the network


@dataclass(frozen=True)
class Item:
    """One row of a manifest: `source` is a text, or a path relative to the dataset."""

    item_id: str
    source: str


@dataclass
class Encoded:
    """What came of a manifest: vectors[k] (d,) belongs to ids[k]."""

    ids: list[str] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    failures: list[tuple[Item, str]] = field(default_factory=list)


def read_manifest(path: Path) -> list[Item]:
    """The items that have the modality, sorted by id."""
    table = pq.read_table(path, columns=["item_id", "source"])
    return [Item(row["item_id"], row["source"]) for row in table.sort_by("item_id").to_pylist()]


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
    batches: list[list[Item]], prepare: Callable[[str], Any]
) -> Iterator[list[tuple[Item, "Future[Any]"]]]:
    """Each batch with its items' `prepare`, which runs in threads, at most `AHEAD` batches early.

    Decoders and tensor operations release the interpreter lock.
    """
    waiting: deque[list[tuple[Item, Future[Any]]]] = deque()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in batches:
            waiting.append([(item, pool.submit(prepare, item.source)) for item in batch])
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        yield from waiting


def encode(items: list[Item], encoder: Encoder, dataset: Path, batch_size: int) -> Encoded:
    """Encode every item; those that cannot be go to `failures` with a reason."""

    def prepare(source: str) -> Any:
        text = encoder.modality == "text"
        return encoder.prepare(source if text else locate(dataset, source))

    if encoder.modality == "text":  # texts of like length share a batch with little padding
        items = sorted(items, key=lambda item: (len(item.source), item.item_id))
    batches = [items[i : i + batch_size] for i in range(0, len(items), batch_size)]
    result = Encoded()
    with tqdm(total=len(items), desc=encoder.modality, unit="item", disable=None) as bar:
        for batch in prepared(batches, prepare):
            good, inputs = [], []
            for item, future in batch:
                try:
                    inputs.append(future.result())
                    good.append(item)
                except MediaError as error:
                    result.failures.append((item, str(error)))
            for item, vector in zip(good, encoder.encode(inputs) if inputs else (), strict=True):
                if np.isfinite(vector).all():
                    result.ids.append(item.item_id)
                    result.vectors.append(vector)
                else:
                    result.failures.append((item, "the vector is not finite"))
            bar.update(len(batch))
    return result


def write(modality: str, result: Encoded, encoder: type[Encoder], metadata: dict[str, str]) -> None:
    """Write both files of a modality."""
    failures = sorted(result.failures, key=lambda failure: failure[0].item_id)
    write_csv(
        paths.failures_path(modality),
        pa.table(
            {
                "item_id": pa.array([item.item_id for item, _ in failures], pa.string()),
                "source": pa.array([item.source for item, _ in failures], pa.string()),
                "reason": pa.array([reason for _, reason in failures], pa.string()),
            }
        ),
    )
    vectors = np.stack(result.vectors) if result.vectors else np.empty((0, encoder.width), "f4")
    libraries = (*encoder.libraries, "pyarrow")
    metadata |= {"count": str(len(result.ids))} | {f"library:{n}": version(n) for n in libraries}
    write_embeddings(paths.embeddings_path(modality), result.ids, vectors, metadata)


def encode_modality(modality: str, params: Params) -> None:
    """Run the stage for one modality. InputError if weights or device cannot be used."""
    started = time.monotonic()
    entry = params.encode[modality]
    cls = encoder_class(entry.encoder)
    items = read_manifest(paths.manifest_path(modality))
    result, metadata = Encoded(), cls.description()
    if items:  # without items no model is loaded
        try:
            encoder = cls(params.weights, resolve_device(params.device))
        except WeightsError as error:
            raise InputError(f"params.yaml: weights: {error}") from error
        result = encode(items, encoder, Path(params.dataset), entry.batch_size)
        metadata = encoder.provenance | {"device": encoder.device.type}
    write(modality, result, cls, metadata)
    log.info(
        "%s: %d items encoded by %s (weights: %s), %d failures, %.1f s",
        modality, len(result.ids), cls.name, metadata.get("weights", "not loaded"),
        len(result.failures), time.monotonic() - started,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.encode")
    parser.add_argument("modality", choices=MODALITIES)
    encode_modality(parser.parse_args().modality, load())


if __name__ == "__main__":
    run(main)
