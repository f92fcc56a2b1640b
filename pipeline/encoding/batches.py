"""Which items go through the network together, and which need not go at all."""

from __future__ import annotations

from pipeline.encoding.manifest import Item


def batches_of(items: list[Item], texts: bool, batch_size: int) -> list[list[Item]]:
    """The same batches whatever is cached already, so that a resumed run gives the same bytes.

    New items are encoded without those that were before them, in other company than all at once:
    a vector's last bits depend on the shape of its batch.
    """
    if texts:  # those of like length share a batch with little padding
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
