"""LightGCN's text format → the raw layout.

    python -m pipeline.importers.lightgcn <source> <dataset>

`train.txt`, `test.txt` and, where there is one, `validation.txt` hold a line a user: `user item
item ...`, whole numbers. An optional `items.tsv` has a header; its first column is the item, and
its columns title, genres or text describe it: the text is the title, with the genres behind it.
"""

import logging
from pathlib import Path

import pyarrow as pa

from pipeline.common.files import InputError
from pipeline.common.tables import read_table, row_name
from pipeline.importers.raw_layout import (
    Described,
    RawCatalogue,
    all_ids,
    describe,
    items_table,
    run_importer,
)

log = logging.getLogger("lightgcn")

FILES = {"train": "train.txt", "validation": "validation.txt", "test": "test.txt"}


def read(source: Path) -> RawCatalogue:
    """Read a folder; InputError names the file and the line of what is wrong."""
    if not (source / FILES["train"]).is_file():
        raise InputError(
            f"{source}: no {FILES['train']}; valid: a folder with {', '.join(FILES.values())}"
        )
    rows: dict[str, list[str]] = {"user_id": [], "item_id": [], "split": []}
    for split, name in FILES.items():
        if not (source / name).is_file():
            log.info("%s has no %s", source, name)
            continue
        users, items = read_split(source / name)
        rows["user_id"] += users
        rows["item_id"] += items
        rows["split"] += [split] * len(users)
    interactions = pa.table({name: pa.array(column, pa.string()) for name, column in rows.items()})
    listing = source / "items.tsv"
    described = read_descriptions(listing) if listing.is_file() else {}
    return RawCatalogue(items_table(all_ids(interactions, described), described), interactions)


def read_split(path: Path) -> tuple[list[str], list[str]]:
    """Users and items, one entry an interaction. InputError names the line that is not numbers."""
    users, items = [], []
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            user, *liked = line.split() or [""]
            for word in (user, *liked):
                if word and not is_id(word):
                    raise InputError(f"{path}: line {number}: {word!r} is no id; whole numbers are")
            users += [user] * len(liked)
            items += liked
    return users, items


def read_descriptions(path: Path) -> Described:
    """item → its title and text; an item without a title has neither."""
    table = read_table(path, {}, ())
    first = table.column_names[0]
    described: Described = {}
    for index, row in enumerate(table.to_pylist()):
        item, title = row[first] or "", row.get("title")
        if not is_id(item):
            where = row_name(path, index)
            raise InputError(f"{path}: {where}: {item!r} is no id; whole numbers are")
        if item in described:
            where = row_name(path, index)
            raise InputError(f"{path}: {where}: item {item} stands in several rows")
        described[item] = (title, row.get("text") or describe(title, row.get("genres")))
    return described


def is_id(word: str) -> bool:
    """Whether these are digits and nothing else; `²` is a digit to str.isdigit."""
    return word.isascii() and word.isdigit()


if __name__ == "__main__":
    run_importer(read)
