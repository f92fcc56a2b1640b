"""The loop of encoding: batches are decoded, go through the network, and lie in the cache."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.base import Encoder
from encoders.media import MediaError, reason_of
from pipeline.common.progress import Progress
from pipeline.encoding.decoding import is_current, prepared
from pipeline.encoding.manifest import Item
from pipeline.encoding.vectors import VectorCache

log = logging.getLogger("encode")


@dataclass
class Reasons:
    """Why items could not be encoded: what is wrong with a content, or with one item's file."""

    contents: dict[str, str] = field(default_factory=dict)  # by sha256
    items: dict[str, str] = field(default_factory=dict)  # by item_id

    def of(self, item: Item) -> str | None:
        """Why `item` could not be encoded; None if it could."""
        return self.items.get(item.item_id) or self.contents.get(item.sha256)


def fill(
    cache: VectorCache,
    batches: list[list[Item]],
    cls: type[Encoder],
    load: Callable[[], Encoder],
    dataset: Path,
    seconds: float,
    reasons: Reasons,
) -> None:
    """Encode `batches` into `cache`, each as soon as it is done; `load` only if there are any.

    What an item's decoder remarks lies beside its vector; why it has none goes into `reasons`.
    """
    total = sum(map(len, batches))
    with Progress(total, cls.modality, "items", log) as progress:
        for batch in prepared(batches, cls, dataset, seconds):
            encoder = load()  # while the workers start
            good, inputs, remarks = [], [], []
            for item, future in batch:
                try:
                    result, said = future.result()
                except MediaError as error:
                    if cls.takes_text or is_current(dataset, item):
                        reasons.contents[item.sha256] = str(error)
                    else:
                        reasons.items[item.item_id] = str(error)
                    continue
                good.append(item.sha256)
                inputs.append(result)
                remarks.append("; ".join(said))
            vectors = encode_each(encoder, inputs)
            for sha256, vector in zip(good, vectors, strict=True):
                if isinstance(vector, str):
                    reasons.contents[sha256] = vector
            kept = [i for i, vector in enumerate(vectors) if not isinstance(vector, str)]
            if kept:
                cache.put(
                    [good[i] for i in kept],
                    np.stack([vectors[i] for i in kept]),
                    [remarks[i] for i in kept],
                )
            progress.update(len(batch))


def encode_each(encoder: Encoder, inputs: list[Any]) -> list[NDArray[np.float32] | str]:
    """Each input's vector, or why it has none.

    An input that the network cannot take costs itself: halves of its batch are tried without it.
    """
    if not inputs:
        return []
    try:
        vectors = encoder.encode(inputs)
    except Exception as error:  # whatever a network raises
        if len(inputs) == 1:
            return [f"the network failed: {type(error).__name__}: {reason_of(error)}"]
        half = len(inputs) // 2
        return encode_each(encoder, inputs[:half]) + encode_each(encoder, inputs[half:])
    return [v if np.isfinite(v).all() else "the vector is not finite" for v in vectors]
