"""RecBole's atomic files → the raw layout.

    python -m pipeline.importers.recbole <source> <dataset>

Tab-separated files with typed headers, such as `item_id:token title:token_seq emb:float_seq`:

    <name>.inter   user_id, item_id, and optionally rating and timestamp. In its place, or before
                   it where there are both: <name>.train.inter, .valid.inter and .test.inter
    <name>.item    optional. Columns of words (token_seq) and titles make the text, in their order;
                   columns of vectors (float_seq) are features, named without an ending _emb
"""

import logging
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.catalogue.names import PLAIN
from pipeline.common.files import InputError
from pipeline.importers.features import rows_of
from pipeline.importers.raw_layout import RawCatalogue, all_ids, items_table, run_importer
from pipeline.importers.tables import (
    read_interactions,
    read_texts,
    refuse_empty,
    refuse_repeated,
    row_at,
)

log = logging.getLogger("recbole")

COLUMNS = {
    "user_id:token": "user_id",
    "item_id:token": "item_id",
    "rating:float": "rating",
    "timestamp:float": "timestamp",
}
PARTS = {"train": "train", "validation": "valid", "test": "test"}


def read(source: Path) -> RawCatalogue:
    """Read a folder; InputError names the file and the row of what is wrong."""
    interactions = read_splits(source)
    listing = single(source, ".item")
    if listing is None:
        return RawCatalogue(items_table(all_ids(interactions, {})), interactions)
    table = read_texts(listing, "\t")
    types = {name: name.rpartition(":")[2] for name in table.column_names}
    if "item_id:token" not in types:
        raise InputError(f"{listing}: no column item_id:token; it has {', '.join(types)}")
    name_of = partial(row_at, listing, header=True)
    refuse_empty(listing, "item_id:token", table["item_id:token"], name_of)
    ids = table["item_id:token"].to_pylist()
    refuse_repeated(listing, ids, name_of)
    titles = [name for name in types if name.partition(":")[0].endswith("title")]
    words = [name for name, kind in types.items() if kind == "token_seq" or name in titles]
    texts = zip(joined(table, titles[:1]), joined(table, words), strict=True)
    described = dict(zip(ids, texts, strict=True))
    order = all_ids(interactions, described)
    features = {}
    for name in (name for name, kind in types.items() if kind == "float_seq"):
        modality = name.partition(":")[0].removesuffix("_emb")
        if not PLAIN.fullmatch(modality) or modality in features:
            raise InputError(
                f"{listing}: column {name}: {modality!r} is no name of a modality, or stands "
                "twice; letters, digits, _ and - are valid, each name once"
            )
        features[modality] = vectors(listing, name, table, order)
    return RawCatalogue(items_table(order, described if words else None), interactions, features)


def read_splits(source: Path) -> pa.Table:
    """The interactions, with a split where the files are divided."""
    parts = {s: single(source, f".{part}.inter") for s, part in PARTS.items()}
    if parts["train"] is None:
        path = single(source, ".inter")
        if path is None:
            raise InputError(f"{source}: no file ends in .inter; RecBole's atomic files are needed")
        return read_interactions(path, "\t", COLUMNS)
    tables = []
    for split, path in parts.items():
        if path is None:
            log.info("%s has no .%s.inter", source, PARTS[split])
            continue
        table = read_interactions(path, "\t", COLUMNS)
        tables.append(table.append_column("split", pa.array([split] * len(table), pa.string())))
    log.info("%s: the split is that of %s and its like", source, parts["train"].name)
    return pa.concat_tables(tables, promote_options="permissive")


def single(source: Path, ending: str) -> Path | None:
    """The one file with that ending, if there is one. InputError if there are several."""
    found = sorted(source.glob(f"*{ending}"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{source}: {names}: only one file may end in {ending}")
    return found[0] if found else None


def joined(table: pa.Table, columns: list[str]) -> list[str | None]:
    """The filled cells of a row, as sentences."""
    rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
    texts = [". ".join(filter(None, row)) or None for row in rows]
    return texts if columns else [None] * len(table)


def vectors(path: Path, name: str, table: pa.Table, order: list[str]) -> NDArray[np.float32]:
    """A column of numbers with spaces between → (items, d) in `order`; empty cells are NaN."""
    has = pc.is_valid(table[name])
    cells = table.select(["item_id:token", name]).filter(has)
    split = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(cells[name]))
    found = {}
    for row, (item, words) in enumerate(zip(cells["item_id:token"], split, strict=True)):
        try:
            found[item.as_py()] = np.asarray(words.values.cast(pa.float32()))
        except pa.ArrowInvalid:
            where = row_at(path, int(np.flatnonzero(has)[row]), header=True)
            raise InputError(f"{path}: {where}: {name} is no list of numbers") from None
    return rows_of(found, order, f"{path}: {name}")


if __name__ == "__main__":
    run_importer(read)
