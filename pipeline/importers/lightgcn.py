"""A folder in LightGCN's text format → the raw layout.

    python -m pipeline.importers.lightgcn <source folder> <dataset folder>

`train.txt`, `test.txt` and, where there is one, `validation.txt` hold a line a user: `user item
item ...`. An optional `items.tsv` has a header; its first column is the item, and its columns
title, genres or text describe it: the text is the title, with the genres behind it.
"""

import logging
import sys
from pathlib import Path

import pyarrow as pa

from pipeline.common.command import run_stage
from pipeline.common.files import InputError, write_csv
from pipeline.common.tables import read_table

log = logging.getLogger("lightgcn")

FILES = {"train": "train.txt", "validation": "validation.txt", "test": "test.txt"}


def read_split(path: Path) -> tuple[list[str], list[str]]:
    """Users and items, one entry an interaction. InputError names the line that is not numbers."""
    users, items = [], []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            user, *liked = line.split() or [""]
            for word in (user, *liked):
                if word and not word.isdigit():
                    raise InputError(f"{path}: line {number}: {word!r} is no id; whole numbers are")
            users += [user] * len(liked)
            items += liked
    return users, items


def read_descriptions(path: Path) -> dict[str, dict[str, str]]:
    """item → its title and text, from items.tsv; an item without a title has neither."""
    table = read_table(path, {}, ())
    first = table.column_names[0]
    described = {}
    for row in table.to_pylist():
        title, genres = row.get("title") or "", (row.get("genres") or "").replace("|", ", ")
        text = row.get("text") or (f"{title}. {genres}" if title and genres else title)
        described[row[first]] = {"title": title, "text": text}
    return described


def convert(source: Path, dataset: Path) -> None:
    """Write `items.csv` and `interactions.csv` with the given split."""
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
    listing = source / "items.tsv"
    described = read_descriptions(listing) if listing.is_file() else {}
    ids = sorted({*rows["item_id"], *described}, key=int)
    nothing = {"title": "", "text": ""}
    texts = [described.get(i, nothing) for i in ids]
    write_csv(
        dataset / "items.csv",
        pa.table(
            {
                "item_id": ids,
                "title": [t["title"] for t in texts],
                "text": [t["text"] for t in texts],
            }
        ),
    )
    write_csv(dataset / "interactions.csv", pa.table(rows))
    log.info(
        "%s: %d items, %d with text, %d interactions",
        dataset,
        len(ids),
        sum(bool(t["text"]) for t in texts),
        len(rows["user_id"]),
    )


def main() -> None:
    if len(sys.argv) != 3:
        raise InputError("usage: python -m pipeline.importers.lightgcn <source> <dataset>")
    convert(Path(sys.argv[1]), Path(sys.argv[2]))


if __name__ == "__main__":
    run_stage(main)
