"""The two tables of a raw catalogue, read and checked.

What is wrong in them is said in terms of the user's file: its name, the row as a spreadsheet
counts it (the header is row 1), and what would be valid.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from encoders import modalities
from pipeline.common.files import InputError, find_table, read_table
from pipeline.common.paths import SPLITS

INTERACTION_TYPES = {
    "user_id": pa.string(),
    "item_id": pa.string(),
    "timestamp": pa.float64(),
    "rating": pa.float64(),
    "split": pa.string(),
}


def read_items(dataset: Path) -> pa.Table:
    """Read the items in their file's order. InputError on missing or repeated ids."""
    path = find_table(dataset, "items")
    # Ids and content are texts, whatever the file says.
    types = dict.fromkeys(("item_id", *modalities()), pa.string())
    items = read_table(path, types, ("item_id",))
    _refuse_empty(path, items, ("item_id",))
    counts = pc.value_counts(items["item_id"])
    repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        raise InputError(
            f"{path}: item_id {repeated[0].as_py()!r} stands in several rows; one row an item"
        )
    return items


def read_interactions(dataset: Path, items: pa.Table) -> pa.Table:
    """Read the interactions. InputError on missing ids, unknown items or an unknown split."""
    path = find_table(dataset, "interactions")
    table = read_table(path, INTERACTION_TYPES, ("user_id", "item_id"))
    _refuse_empty(path, table, ("user_id", "item_id"))
    known = pc.is_in(table["item_id"], value_set=items["item_id"])
    if not pc.all(known).as_py():
        row = pc.index(known, False).as_py()
        raise InputError(
            f"{path}: row {row + 2}: item_id {table['item_id'][row].as_py()!r} is not among "
            f"the items; {len(known) - pc.sum(known).as_py()} rows name unknown items"
        )
    if "split" in table.column_names:
        valid = pc.is_in(table["split"], value_set=pa.array(SPLITS))
        if not pc.all(valid).as_py():
            row = pc.index(valid, False).as_py()
            raise InputError(
                f"{path}: row {row + 2}: split {table['split'][row].as_py()!r} is not valid; "
                f"valid: {', '.join(SPLITS)}"
            )
    return table


def _refuse_empty(path: Path, table: pa.Table, columns: tuple[str, ...]) -> None:
    """Raise InputError if the table has no rows, or an empty cell in one of `columns`."""
    if not len(table):
        raise InputError(f"{path}: no rows")
    for name in columns:
        empty = pc.fill_null(pc.equal(table[name], ""), True)
        if pc.any(empty).as_py():
            raise InputError(f"{path}: row {pc.index(empty, True).as_py() + 2}: {name} is empty")
