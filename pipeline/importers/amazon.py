"""Amazon reviews → the raw layout: the sets of 2014, 2018 and 2023, plain or gzipped.

    python -m pipeline.importers.amazon <source> <dataset>

    meta_*.json|jsonl[.gz]   optional: a product a line
    *.json|jsonl[.gz]        the one other file: a review a line

A review is `reviewerID asin overall unixReviewTime`, or since 2023 `user_id parent_asin rating
timestamp` (milliseconds). The text of a product is its title, features and description.
`image_url`, its first picture's address, is only kept: nothing is downloaded. The products are
those with a review, since the metadata describe a whole department.
"""

import ast
import gzip
import html
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json
from pyarrow import compute as pc

from pipeline.common.files import InputError
from pipeline.importers.raw_layout import RawCatalogue, all_ids, items_table, run_importer

log = logging.getLogger("amazon")

ENDINGS = tuple(f".json{lines}{packed}" for lines in ("", "l") for packed in ("", ".gz"))
TYPES = {
    "user_id": pa.string(),
    "item_id": pa.string(),
    "rating": pa.float64(),
    "timestamp": pa.int64(),
}
UNTIL_2018 = dict(zip(("reviewerID", "asin", "overall", "unixReviewTime"), TYPES, strict=True))
SINCE_2023 = dict(zip(("user_id", "parent_asin", "rating", "timestamp"), TYPES, strict=True))
# A review is one object and must fit.
BLOCK = 64 << 20


def read(source: Path) -> RawCatalogue:
    """Read a folder; InputError names the file and the line of what is wrong."""
    files = sorted(p for p in source.iterdir() if p.name.endswith(ENDINGS))
    meta = [path for path in files if path.name.startswith("meta_")]
    reviews = [path for path in files if path not in meta]
    if len(reviews) != 1 or len(meta) > 1:
        raise InputError(
            f"{source}: reviews: {', '.join(p.name for p in reviews) or 'none'}; products: "
            f"{', '.join(p.name for p in meta) or 'none'}; one file of reviews and at most one "
            f"meta_* are needed, ending in {', '.join(ENDINGS)}"
        )
    interactions = read_reviews(reviews[0])
    ids = all_ids(interactions, {})
    if not meta:
        return RawCatalogue(items_table(ids), interactions)
    products = read_products(meta[0], set(ids))
    items = items_table(ids, {item: (title, text) for item, (title, text, _) in products.items()})
    pictures = [products[item][2] if item in products else None for item in ids]
    return RawCatalogue(items.append_column("image_url", pa.array(pictures, pa.string())),
                        interactions)  # fmt: skip


def read_reviews(path: Path) -> pa.Table:
    """user_id, item_id, rating and timestamp of every review."""
    fields = {
        name: TYPES[ours] for layout in (UNTIL_2018, SINCE_2023) for name, ours in layout.items()
    }
    try:
        with pa.input_stream(path, compression="gzip" if path.suffix == ".gz" else None) as stream:
            table = pyarrow.json.read_json(
                stream,
                pyarrow.json.ReadOptions(block_size=BLOCK),
                pyarrow.json.ParseOptions(
                    explicit_schema=pa.schema(fields), unexpected_field_behavior="ignore"
                ),
            )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {first_fault(path) or error}") from error
    layout = SINCE_2023 if table["reviewerID"].null_count == len(table) else UNTIL_2018
    table = table.select(list(layout)).rename_columns(list(layout.values()))
    if table["user_id"].null_count or table["item_id"].null_count:
        # Where no line is wrong by itself, half of them are of the other layout.
        fault = first_fault(path) or "reviews of both layouts; one is needed"
        raise InputError(f"{path}: {fault}")
    if pc.any(pc.or_(pc.equal(table["user_id"], ""), pc.equal(table["item_id"], ""))).as_py():
        raise InputError(f"{path}: {first_fault(path)}")
    return table


def first_fault(path: Path) -> str | None:
    """The first line that is no review, and what is wrong with it."""
    valid = " or ".join(", ".join(layout) for layout in (UNTIL_2018, SINCE_2023))
    kinds: dict[str, tuple[type, ...]] = {
        "user_id": (str,), "item_id": (str,), "rating": (int, float), "timestamp": (int,),
    }  # fmt: skip
    for number, line in numbered(path):
        try:
            review = json.loads(line)
        except ValueError:
            return f"line {number}: no JSON: {line[:60]!r}"
        if not isinstance(review, dict):
            return f"line {number}: {line[:60]!r} is no object with {valid}"
        layout = UNTIL_2018 if "reviewerID" in review else SINCE_2023
        for name, ours in layout.items():
            value = review.get(name)
            if not value and ours.endswith("_id"):
                return f"line {number}: no {name}; valid: {valid}"
            if value is not None and not isinstance(value, kinds[ours]):
                return f"line {number}: {name} {value!r} is not valid; {TYPES[ours]} is"
    return None


def read_products(
    path: Path, wanted: set[str]
) -> dict[str, tuple[str | None, str | None, str | None]]:
    """item → title, text and a picture's address, of those wanted; the first line counts."""
    products: dict[str, tuple[str | None, str | None, str | None]] = {}
    for number, line in numbered(path):
        product = parse(path, number, line)
        item = product.get("parent_asin") or product.get("asin")
        if not isinstance(item, str):
            raise InputError(f"{path}: line {number}: no parent_asin and no asin")
        if item in wanted and item not in products:
            title = words(product.get("title"))
            features = product.get("features") or product.get("feature")
            parts = [title, words(features), words(product.get("description"))]
            products[item] = (title, " ".join(filter(None, parts)) or None, picture(product))
    log.info("%s: %d of %d reviewed products are described", path, len(products), len(wanted))
    return products


def parse(path: Path, number: int, line: str) -> dict[str, Any]:
    """A line of JSON, or of Python as the products of 2014 are written."""
    try:
        value = json.loads(line)
    except ValueError:
        try:
            value = ast.literal_eval(line)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise InputError(f"{path}: line {number}: no JSON: {line[:60]!r}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: line {number}: {line[:60]!r} is no object")
    return value


def whole(text: str) -> str:
    """A text whose halves of characters, as where a title was cut, are question marks."""
    return text.encode("utf-8", "replace").decode()


def words(value: object) -> str | None:
    """A text, or a list of texts, in one line and without HTML's entities."""
    texts = value if isinstance(value, list) else [value]
    found = " ".join(whole(html.unescape(text)) for text in texts if isinstance(text, str))
    return " ".join(found.split()) or None


def picture(product: Mapping[str, Any]) -> str | None:
    """The address of the first picture, the largest that there is."""
    images = product.get("images") or product.get("imageURLHighRes") or product.get("imageURL")
    first = images[0] if isinstance(images, list) and images else product.get("imUrl")
    if isinstance(first, dict):
        first = first.get("hi_res") or first.get("large")
    return whole(first) if isinstance(first, str) else None


def numbered(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, line.strip()
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: not readable: {error}") from error


if __name__ == "__main__":
    run_importer(read)
