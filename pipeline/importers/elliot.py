"""Elliot's splits and Ducho's embeddings → the raw layout.

    python -m pipeline.importers.elliot <source> <dataset> [<modality>=<path in source> ...]

    train.tsv, val.tsv, test.tsv   user, item, and optionally rating and timestamp; no header. As
                                   Elliot saves a fold, test.tsv may be one folder further up
    reviews.tsv, dataset.tsv       the same before a split, read where there is no train.tsv
    meta.tsv                       optional, as Ducho reads it: a header; the item is the first
                                   column; its columns title and description make the text
    <modality>_embeddings.../<backend>/<model>/<layer>/<item>.npy
                                   Ducho's; visual is image, textual is text

Where a modality has several models or layers, the command line chooses:
`image=visual_embeddings/torch/ResNet50/avgpool`.
"""

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.common.files import InputError
from pipeline.common.tables import read_table, row_name
from pipeline.importers.features import choose, load, rows_of
from pipeline.importers.raw_layout import (
    Described,
    RawCatalogue,
    all_ids,
    items_table,
    run_importer,
)
from pipeline.importers.tables import read_interactions, refuse_empty, refuse_repeated

log = logging.getLogger("elliot")

NAMES = ("user_id", "item_id", "rating", "timestamp")
COLUMNS = dict(zip(NAMES, NAMES, strict=True))
WHOLE = ("reviews.tsv", "dataset.tsv")
MODALITIES = {"visual": "image", "textual": "text"}


def read(source: Path, chosen: Mapping[str, str]) -> RawCatalogue:
    """Read a folder.

    Raises:
        InputError: there are no interactions, or several folds of them; a modality has several
            folders of vectors and none is chosen; or a file is broken.
    """
    interactions = read_splits(source)
    listing = source / "meta.tsv"
    described = read_descriptions(listing) if listing.is_file() else {}
    ids = all_ids(interactions, described)
    folders = choose(source, embedding_folders(source), chosen)
    features = {name: read_vectors(folder, ids) for name, folder in folders.items()}
    return RawCatalogue(items_table(ids, described), interactions, features)


def read_splits(source: Path) -> pa.Table:
    """The interactions of the one fold, or those that are not split."""
    folds = sorted(path.parent for path in source.rglob("train.tsv"))
    if len(folds) > 1:
        names = ", ".join(str(folder) for folder in folds)
        raise InputError(f"{source}: several folds; name one as the source: {names}")
    if not folds:
        found = [source / name for name in WHOLE if (source / name).is_file()]
        if len(found) != 1:
            raise InputError(
                f"{source}: no train.tsv, and not exactly one of {' and '.join(WHOLE)} either"
            )
        return read_interactions(found[0], "\t", COLUMNS, names=NAMES)
    fold = folds[0]
    places = {
        "train": [fold / "train.tsv"],
        "validation": [fold / "val.tsv"],
        "test": [fold / "test.tsv", fold.parent / "test.tsv"],
    }
    tables = []
    for split, paths in places.items():
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            log.info("%s has no %s", fold, paths[0].name)
            continue
        table = read_interactions(path, "\t", COLUMNS, names=NAMES)
        tables.append(table.append_column("split", pa.array([split] * len(table), pa.string())))
    return pa.concat_tables(tables, promote_options="permissive")


def read_descriptions(path: Path) -> Described:
    """item → its title, and a text of title and description."""
    table = read_table(path, {}, ())
    first = table.column_names[0]
    name_of = partial(row_name, path)
    refuse_empty(path, first, table[first], name_of)
    refuse_repeated(path, table[first].to_pylist(), name_of)
    described: Described = {}
    for row in table.to_pylist():
        title, description = row.get("title"), row.get("description")
        described[row[first]] = (title, ". ".join(filter(None, (title, description))))
    return described


def embedding_folders(source: Path) -> Iterator[tuple[str, Path]]:
    """(modality, folder) for each folder of .npy files below one named `*_embeddings*`."""
    for top in sorted(source.glob("*_embeddings*")):
        kind, _, _ = top.name.partition("_embeddings")  # Ducho puts what it likes behind it
        for folder in sorted({path.parent for path in top.rglob("*.npy")}):
            yield MODALITIES.get(kind, kind), folder


def read_vectors(folder: Path, ids: list[str]) -> NDArray[np.float32]:
    """(items, d) from a file an item; a vector may stand in one row of a matrix."""
    vectors = {}
    for path in sorted(folder.glob("*.npy")):
        array = load(path, (1, 2))
        if array.ndim == 2 and len(array) > 1:
            raise InputError(f"{path}: shape {array.shape}; one vector an item is needed")
        vectors[path.stem] = np.array(array, np.float32).reshape(-1)
    unknown = len(vectors.keys() - set(ids))
    if unknown:
        log.info("%s: %d vectors are of no item here; they are left out", folder, unknown)
    return rows_of(vectors, ids, str(folder))


if __name__ == "__main__":
    run_importer(read, chooses=True)
