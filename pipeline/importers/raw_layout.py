"""What an importer makes, and its folder of Parquet files.

    items.parquet             item_id; title and text, if the source has them
    interactions.parquet      user_id, item_id; rating, timestamp and split, if the source has them
    features/<name>.parquet   item_id, embedding (float32) of the items that have one

Ids are the source's own, as texts.
"""

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.catalogue.embeddings import write_embeddings
from pipeline.common.command import run_stage
from pipeline.common.files import InputError, write_parquet
from pipeline.common.places import new_folder, place_of

log = logging.getLogger("importer")


# Item → its title and its text.
Described = dict[str, tuple[str | None, str | None]]


@dataclass(frozen=True)
class RawCatalogue:
    """A catalogue as its tables, and modality → (items, d) float32 in the order of the items.

    A row of NaN says that the item lacks the modality.
    """

    items: pa.Table
    interactions: pa.Table
    features: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


def items_table(ids: list[str], described: Described | None = None) -> pa.Table:
    """The items, with title and text if any is described."""
    columns = {"item_id": pa.array(ids, pa.string())}
    if described:
        pairs = [described.get(item, (None, None)) for item in ids]
        columns["title"] = pa.array([title or None for title, _ in pairs], pa.string())
        columns["text"] = pa.array([text or None for _, text in pairs], pa.string())
    return pa.table(columns)


def describe(title: str | None, genres: str | None) -> str | None:
    """A text of a title with the genres behind it; `genres` are separated by |."""
    names = (genres or "").replace("|", ", ")
    return f"{title}. {names}" if title and names else title


def all_ids(interactions: pa.Table, described: Mapping[str, object]) -> list[str]:
    """Every item that somebody has or something describes: numbers in their order, then others."""
    ids = {*pc.unique(interactions["item_id"]).to_pylist(), *described}
    return sorted(ids, key=lambda i: (0, int(i), i) if i.isdecimal() else (1, 0, i))


def write_dataset(folder: Path, raw: RawCatalogue) -> None:
    """Write a catalogue into an existing folder."""
    write_parquet(folder / "items.parquet", raw.items)
    write_parquet(folder / "interactions.parquet", raw.interactions)
    ids = raw.items["item_id"].combine_chunks()
    order = np.asarray(pc.sort_indices(ids)).astype(np.int64)
    for name, matrix in raw.features.items():
        has = np.isnan(matrix).sum(axis=1) < matrix.shape[1]
        _write_features(folder / "features" / f"{name}.parquet", ids, matrix, order[has[order]])


def _write_features(
    path: Path, ids: pa.Array, matrix: NDArray[np.float32], rows: NDArray[np.int64]
) -> None:
    chosen = ids.take(pa.array(rows)).to_pylist()
    write_embeddings(path, chosen, lambda part: matrix[rows[part]], matrix.shape[1], {})


def run_importer(read: Callable[..., RawCatalogue], chooses: bool = False) -> None:
    """Run an importer's command.

    Args:
        read: takes the source folder and, if `chooses`, modality → the file or folder in it that
            the user chose for that modality.
    """
    run_stage(lambda: import_folder(read, chooses))


def import_folder(read: Callable[..., RawCatalogue], chooses: bool) -> None:
    """Read the folder that the command line names, and write the other."""
    program, *arguments = sys.argv
    choices = [argument.partition("=") for argument in arguments[2:]]
    if len(arguments) < 2 or (choices and not chooses) or not all(m and p for m, _, p in choices):
        raise InputError(
            f"usage: python -m pipeline.importers.{Path(program).stem} <source> <dataset>"
            + " [<modality>=<path in source> ...]" * chooses
        )
    source, dataset = Path(arguments[0]), place_of(arguments[1])
    if not source.is_dir():
        raise InputError(f"{source}: no such folder")
    with new_folder(dataset) as folder:
        raw = read(source, {m: path for m, _, path in choices}) if chooses else read(source)
        if not len(raw.interactions):
            raise InputError(f"{source}: no interactions")
        write_dataset(folder, raw)
    texts = len(raw.items) - raw.items["text"].null_count if "text" in raw.items.column_names else 0
    log.info(
        "%s: %d items, %d with text, %d interactions (%s)%s",
        dataset,
        len(raw.items),
        texts,
        len(raw.interactions),
        ", ".join(raw.interactions.column_names),
        "".join(
            f"; {name}: {np.isfinite(matrix).all(1).sum()} items, {matrix.shape[1]} wide"
            for name, matrix in raw.features.items()
        ),
    )
