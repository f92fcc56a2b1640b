"""The prepared catalogue and its embeddings → RecBole's atomic files.

    python -m pipeline.exporters.recbole <folder>

writes `<folder>/<name>/`, by the name of the catalogue:

    <name>.inter                        all interactions: user_id:token, item_id:token
    <name>.{train,valid,test}.inter     the same by split, RecBole's benchmark_filename
    <name>.item                         item_id:token and <modality>_emb:float_seq, which is empty
                                        where the item lacks the modality
    <name>.yaml                         a configuration that reads all of it
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.catalogue.names import PLAIN
from pipeline.common.files import InputError
from pipeline.exporters.prepared import Prepared, run_exporter, write_tsv

PARTS = ("train", "valid", "test")
ROWS = 8192  # as many items become text at a time

CONFIG = """\
benchmark_filename: [train, valid, test]
load_col:
  inter: [user_id, item_id]
  item: [{fields}]
"""


def write(prepared: Prepared, folder: Path) -> None:
    """Fill an empty folder. InputError if a modality's name is none that a field may have."""
    for name in prepared.embeddings:
        if not PLAIN.fullmatch(name):
            raise InputError(
                f"features/{name}: no name of a field of RecBole; rename the file: letters, "
                "digits, _ and - are valid"
            )
    interactions = pa.table(
        {
            "user_id:token": prepared.user_ids.take(pa.array(prepared.users)),
            "item_id:token": prepared.item_ids.take(pa.array(prepared.items)),
        }
    )
    write_tsv(folder / f"{prepared.name}.inter", interactions)
    for label, part in enumerate(PARTS):
        chosen = interactions.filter(pa.array(prepared.labels == label))
        write_tsv(folder / f"{prepared.name}.{part}.inter", chosen)
    write_tsv(folder / f"{prepared.name}.item", *item_tables(prepared))
    fields = ", ".join(["item_id", *(f"{name}_emb" for name in prepared.embeddings)])
    (folder / f"{prepared.name}.yaml").write_text(CONFIG.format(fields=fields))


def item_tables(prepared: Prepared) -> Iterator[pa.Table]:
    """The items and their vectors as texts, some rows at a time."""
    for start in range(0, len(prepared.item_ids), ROWS):
        part = slice(start, start + ROWS)
        columns = {"item_id:token": prepared.item_ids[part]}
        for name, embedding in prepared.embeddings.items():
            columns[f"{name}_emb:float_seq"] = pc.if_else(
                pa.array(embedding.present[part]), spaced(embedding.vectors[part]), None
            )
        yield pa.table(columns)


def spaced(vectors: NDArray[np.float32]) -> pa.Array:
    """(n, d) → n texts of numbers with spaces between, the shortest that read back the same."""
    numbers = pa.array(vectors.reshape(-1)).cast(pa.string())
    return pc.binary_join(
        pa.FixedSizeListArray.from_arrays(numbers, vectors.shape[1]).cast(pa.list_(pa.string())),
        " ",
    )


if __name__ == "__main__":
    run_exporter(write, text=True)
