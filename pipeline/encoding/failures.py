"""The items that could not be encoded, and why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa

from pipeline import paths
from pipeline.encoding.manifest import Item
from pipeline.files import InputError, write_csv

SHOWN = 3  # reasons in an error message


def write_failures(path: Path, failures: list[tuple[Item, str]]) -> None:
    """item_id, source, reason of every item that could not be encoded, sorted by id."""
    columns = {
        "item_id": [item.item_id for item, _ in failures],
        "source": [item.source for item, _ in failures],
        "reason": [reason for _, reason in failures],
    }
    write_csv(
        path,
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
