"""The prepared catalogue and its embeddings → MMRec's format.

    python -m pipeline.exporters.mmrec <folder>

writes `<folder>/<name>/`, by the name of the catalogue:

    <name>.inter            userID, itemID, x_label (0 training, 1 validation, 2 test)
    <modality>_feat.npy     float32, a row an itemID; where the item lacks the modality, the mean
                            of those that have it, as MMRec's own preprocessing has it: its models
                            divide by the length of a row, so that zeros make every weight NaN
    missed_<modality>_itemIDs.csv   an itemID a line: those whose row is the mean
    i_id_mapping.csv        asin and itemID, and u_id_mapping.csv the same of users
    <name>.yaml             for MMRec's src/configs/dataset/

MMRec counts items by the highest itemID that anybody has. So the items that nobody has, in any
split, come first.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.exporters.prepared import Prepared, run_exporter, write_tsv

CONFIG = """\
USER_ID_FIELD: userID
ITEM_ID_FIELD: itemID
TIME_FIELD: timestamp

filter_out_cod_start_users: True

inter_file_name: '{name}.inter'

vision_feature_file: 'image_feat.npy'
text_feature_file: 'text_feat.npy'
user_graph_dict_file: 'user_graph_dict.npy'

field_separator: "\\t"
"""


def write(prepared: Prepared, folder: Path) -> None:
    """Fill an empty folder."""
    size = len(prepared.item_ids)
    had = np.bincount(prepared.items, minlength=size) > 0
    order = np.argsort(had, kind="stable")  # row → code
    row_of = np.argsort(order)
    write_tsv(
        folder / f"{prepared.name}.inter",
        pa.table(
            {
                "userID": prepared.users,
                "itemID": row_of[prepared.items],
                "x_label": prepared.labels,
            }
        ),
    )
    for stem, name, column, ids in (
        ("i", "asin", "itemID", prepared.item_ids.take(pa.array(order))),
        ("u", "user_id", "userID", prepared.user_ids),
    ):
        mapping = pa.table({name: ids, column: np.arange(len(ids))})
        write_tsv(folder / f"{stem}_id_mapping.csv", mapping)
    for modality, embedding in prepared.embeddings.items():
        vectors, present = embedding.vectors[order], embedding.present[order]
        vectors[~present] = vectors[present].mean(0, dtype=np.float64)
        np.save(folder / f"{modality}_feat.npy", vectors)
        if not present.all():
            missed = "".join(f"{row}\n" for row in np.flatnonzero(~present))
            (folder / f"missed_{modality}_itemIDs.csv").write_text(missed)
    (folder / f"{prepared.name}.yaml").write_text(CONFIG.format(name=prepared.name))


if __name__ == "__main__":
    run_exporter(write, text=True)
