"""The loop of encoding: batches are decoded, go through the network, and lie in the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from encoders.base import Encoder
from encoders.media import MediaError
from pipeline.encoding.decoding import prepared
from pipeline.encoding.manifest import Item
from pipeline.encoding.vectors import VectorCache


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
