"""The items that could not be encoded or are damaged, and the versions of what encoded them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa

from pipeline.common.files import InputError, write_csv
from pipeline.encoding.manifest import Item

SHOWN = 3  # reasons in an error message

Failure = tuple[Item, str]  # an item that could not be encoded, and why
Remark = tuple[Item, str]  # an item that was encoded, and what its decoder said of it


def write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """Write item_id, source and reason of every item that failed, in the order given."""
    _write(path, "reason", failures)


def write_remarks(path: Path, remarks: Sequence[Remark]) -> None:
    """Write item_id, source and remark of every item that there is something to say of."""
    _write(path, "remark", remarks)


def _write(path: Path, what: str, rows: Sequence[tuple[Item, str]]) -> None:
    columns = {
        "item_id": [item.item_id for item, _ in rows],
        "source": [item.source for item, _ in rows],
        what: [text for _, text in rows],
    }
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    write_csv(path, table)


def refuse_failures(
    modality: str, items: int, failures: Sequence[Failure], most: float, key: str, path: Path
) -> None:
    """InputError if more than the share `most` of the items failed: `key`.max_failures."""
    if len(failures) <= most * items:
        return
    common = Counter(reason for _, reason in failures).most_common(SHOWN)
    raise InputError(
        f"{modality}: {len(failures)} of {items} items could not be encoded, more than "
        f"{key}.max_failures: {most:g} allows: "
        + "; ".join(f"{reason} ({count})" for reason, count in common)
        + f". {path} has them all"
    )


def versions(*libraries: str) -> dict[str, str]:
    """The versions of installed distributions, as an embedding file's metadata names them."""
    return {f"library:{name}": version(name) for name in libraries}
