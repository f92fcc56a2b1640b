"""Which ready-made features a dataset has, and which of their rows belong to which item.

A name in `features/` that no encoder has makes a modality of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from encoders import modalities
from pipeline.catalogue.columns import ids_of
from pipeline.catalogue.names import near_misses, slug_of
from pipeline.catalogue.problems import Problems
from pipeline.catalogue.raw import Items
from pipeline.catalogue.ready_made import read_feature_table, read_features
from pipeline.common.files import InputError
from pipeline.common.tables import row_name

SUFFIXES = (".parquet", ".npy")
RESERVED = ("collaboration", "constant", "content", "model", "trained-model")
"""What parts of a score, `--by` and the report's maps have names for, beside modalities."""
STEP = 65_536  # rows that are looked at together


def find_features(dataset: Path, modality: str) -> Path | None:
    """The modality's file of ready-made features, if there is one. InputError if there are two."""
    folder = dataset / "features"
    found = [p for s in SUFFIXES if (p := folder / f"{modality}{s}").is_file()]
    if len(found) > 1:
        raise InputError(f"{folder}: {', '.join(p.name for p in found)}: only one may be there")
    return found[0] if found else None


def modalities_without_encoder(dataset: Path) -> list[str]:
    """The names in `features/` that no encoder has, such as genres, tags or a graph's nodes."""
    return sorted(set(_names(dataset)) - {*modalities()})


def not_finite(path: Path, rows: NDArray[np.int64]) -> int:
    """How many of these rows hold a number that is not finite. InputError if some hold none."""
    matrix = read_features(path)
    steps = (rows[start : start + STEP] for start in range(0, len(rows), STEP))
    with np.errstate(over="ignore", invalid="ignore"):  # too large for float32 is infinite
        return sum(
            int((~np.isfinite(matrix[step].astype(np.float32))).any(1).sum()) for step in steps
        )


def suspect_features(dataset: Path, problems: Problems) -> None:
    """Say which names in `features/` are probably meant to be others, or are of no known kind."""
    folder = dataset / "features"
    if not folder.is_dir():
        folders = [path.name for path in dataset.iterdir() if path.is_dir()]
        for given in near_misses(folders, ["features"]):
            problems.add(f"{dataset}: {given}: did you mean features? Rename the folder")
    for given, meant in near_misses(_names(dataset), modalities()).items():
        problems.add(
            f"{folder}: {given}: did you mean {meant}? Rename the file, to that or to what is "
            f"farther from it; modalities with an encoder: {', '.join(modalities())}"
        )
    slugs: dict[str, str] = {}
    for name in sorted(set(_names(dataset))):
        first = slugs.setdefault(slug_of(name), name)
        if slug_of(name) in RESERVED:
            problems.add(
                f"{folder}: {name}: a name that this project has a use for; rename the file, to "
                f"anything but {', '.join(RESERVED)}"
            )
        elif first != name:
            problems.add(f"{folder}: {first}, {name}: too much alike; rename one of the files")
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.name not in _files(dataset) and not _aside(path):
                problems.add(f"{path}: features are {' or '.join(SUFFIXES)} files")


def _files(dataset: Path) -> list[str]:
    paths = sorted((dataset / "features").glob("*"))
    known = (path for path in paths if path.suffix in SUFFIXES and path.is_file())
    return [path.name for path in known if not _aside(path)]


def _aside(path: Path) -> bool:
    """What systems and DVC put beside files: .DS_Store, ._text.npy, .gitignore, text.npy.dvc."""
    return path.name.startswith(".") or path.suffix == ".dvc"


def _names(dataset: Path) -> list[str]:
    return [Path(name).stem for name in _files(dataset)]


def feature_rows(path: Path, items: Items) -> tuple[pa.Array, NDArray[np.int64]]:
    """(ids, rows in the file) of every item that the file has, in the order of ids.

    Args:
        path: the file of ready-made features.
        items: those that are wanted, of all in their table.

    Raises:
        InputError: the file's shape or columns are wrong, or it names an unknown or repeated item.
    """
    if path.suffix == ".npy":
        rows, wanted = len(read_features(path)), len(items.table)
        if rows != wanted:
            raise InputError(f"{path}: {rows} rows for {wanted} items; a row an item is needed")
        return items.ids, items.rows
    table = read_feature_table(path)
    if not len(table):
        raise InputError(f"{path}: no rows")
    problems = Problems()
    found = ids_of(path, "item_id", table["item_id"].chunks, problems)
    problems.refuse()
    ids = found.dictionary.take(found.indices)
    listed = pc.is_in(ids, value_set=items.known)
    if not pc.all(listed).as_py():
        row = pc.index(listed, False).as_py()
        raise InputError(
            f"{path}: {row_name(path, row)}: item_id {ids[row].as_py()!r} is not among the items"
        )
    if len(found.dictionary) < len(ids):
        order = np.argsort(np.asarray(found.indices), kind="stable")
        codes = np.asarray(found.indices)[order]
        row = int(order[1:][codes[1:] == codes[:-1]].min())
        raise InputError(
            f"{path}: {row_name(path, row)}: item_id {ids[row].as_py()!r} stands twice"
        )
    places = pc.index_in(items.ids, value_set=ids)
    present = pc.is_valid(table["embedding"]).combine_chunks()
    has = pc.fill_null(present.take(places), False)
    return items.ids.filter(has), np.asarray(places.filter(has)).astype(np.int64)
