"""Where encoding ends: every batch lies in the cache as soon as an engine has finished it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from pipeline.common.progress import Progress
from pipeline.encoding.decoding import Failed
from pipeline.encoding.manifest import Item
from pipeline.encoding.network import Encoded
from pipeline.encoding.vectors import VectorCache

log = logging.getLogger("encode")

# Batches of items → what became of each batch, as soon as it is done and in whatever order.
Engine = Callable[[list[list[Item]]], Iterator[list[Encoded | Failed]]]


@dataclass
class Reasons:
    """Why items could not be encoded: what is wrong with a content, or with one item's file."""

    contents: dict[str, str] = field(default_factory=dict)  # by sha256
    items: dict[str, str] = field(default_factory=dict)  # by item_id

    def of(self, item: Item) -> str | None:
        """Why `item` could not be encoded; None if it could."""
        return self.items.get(item.item_id) or self.contents.get(item.sha256)


def fill(
    cache: VectorCache, batches: list[list[Item]], engine: Engine, modality: str, reasons: Reasons
) -> None:
    """Encode `batches` into `cache`, each in one transaction.

    What an item's decoder remarks lies beside its vector; why it has none goes into `reasons`.
    """
    with Progress(sum(map(len, batches)), modality, "items", log) as progress:
        for batch in engine(batches):
            for one in batch:
                if isinstance(one, Failed):
                    if one.of_content:
                        reasons.contents[one.item.sha256] = one.reason
                    else:
                        reasons.items[one.item.item_id] = one.reason
            if good := [one for one in batch if isinstance(one, Encoded)]:
                cache.put(
                    [one.item.sha256 for one in good],
                    np.stack([one.vector for one in good]),
                    [one.remark for one in good],
                )
            progress.update(len(batch))
