"""What a recommender gives as files: lists as Parquet, and the model as a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.ranking import NOBODY
from pipeline.catalogue.embeddings import all_embeddings
from pipeline.common import paths
from pipeline.common.files import InputError, atomic_path, atomic_write, write_parquet
from pipeline.common.places import new_folder, place_of
from pipeline.recommending.opening import place

if TYPE_CHECKING:
    from pipeline.recommending.recommender import Recommender

LISTS = (("user_id", pa.string()), ("rank", pa.int32()), ("item_id", pa.string()),
         ("score", pa.float32()))  # fmt: skip

README = """\
# A recommender

{system}, trained on {dataset}: {users:,} users, {items:,} items. The package that made it opens it,
without the data and without DVC:

```python
from pipeline.recommending import Recommender

shop = Recommender.open("{name}")
shop.recommend({user!r}, k=10)
```

`embeddings-of-users.parquet` and `embeddings-of-items.parquet`, if they are here, need no package:
a score is the inner product of two rows. `prepared/` holds who liked what, so that it is not
recommended again: it is personal data if the catalogue's users are people.
"""


def write_lists(
    recommender: Recommender,
    path: Path,
    users: Iterable[str] | None = None,
    k: int = 10,
    *,
    hide: str = "history",
    allow: Iterable[str] | None = None,
    block: Iterable[str] = (),
) -> int:
    """Write the lists of some users, or all, a row each place: user_id, rank, item_id, score.

    A block of users is in memory at a time. The schema's metadata says what made them.

    Returns:
        How many users there were.
    """
    made = {**recommender.description, "k": k, "hide": hide}
    schema = pa.schema(LISTS, {"recommender": json.dumps(made)})
    blocks = recommender.ranked(users, k, hide=hide, allow=allow, block=block)
    user_ids, item_ids = _whole(recommender.users.ids), _whole(recommender.items.ids)
    count = 0
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for rows, items, scores in blocks:
            count += len(rows)
            shown = (items != NOBODY).numpy()
            ranks = np.broadcast_to(np.arange(1, items.shape[1] + 1, dtype=np.int32), shown.shape)
            columns = [
                user_ids.take(pa.array(np.repeat(rows.numpy(), shown.sum(1)))),
                pa.array(ranks[shown]),
                item_ids.take(pa.array(items.numpy()[shown])),
                pa.array(scores.numpy()[shown], pa.float32()),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    return count


def export(recommender: Recommender, folder: Path | str) -> None:
    """Write all that `Recommender.open(folder)` needs, on a machine without the data.

    With the embeddings as Parquet for other tools, where a score is their inner product.

    Raises:
        InputError: something is there already; or the recommender has items that came along.
    """
    workspace = recommender.workspace
    if len(recommender.items) != len(workspace.item_ids):
        raise InputError("items that came after training are not exported; export without them")
    source = workspace.source
    with new_folder(place_of(str(folder))) as new:

        def copied(path: Path) -> None:
            file = source(path)
            raw = file.read_bytes() if isinstance(file, Path) else file.read()
            atomic_write(place(new, path), raw)

        ready_made = [
            n for n, f in all_embeddings(source).items() if paths.FEATURES in f.embeddings.parents
        ]
        for path in (paths.MODEL, paths.USERS, *map(paths.split_path, paths.SPLITS)):
            copied(path)
        for name in workspace.embeddings:
            copied(workspace.embeddings[name])
        atomic_write(place(new, paths.FEATURES_LIST), json.dumps(ready_made) + "\n")
        items = recommender.items
        titles = [recommender.titles[row] for row in range(len(items))]
        ids = _whole(items.ids)
        table = pa.table({"item_id": ids, "title": pa.array(titles, pa.string())})
        write_parquet(place(new, paths.ITEMS), table)
        if (embeddings := recommender.system.embeddings()) is not None:
            metadata = {"recommender": json.dumps(recommender.description)}
            for side, column, of, vectors in (
                ("users", "user_id", _whole(recommender.users.ids), embeddings[0]),
                ("items", "item_id", ids, embeddings[1]),
            ):
                flat = pa.array(vectors.cpu().numpy().reshape(-1))
                listed = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
                written = pa.table({column: of, "embedding": listed}).replace_schema_metadata(
                    metadata
                )
                write_parquet(new / f"embeddings-of-{side}.parquet", written)
        d = recommender.description
        atomic_write(
            new / "README.md",
            README.format(
                system=d["system"], dataset=d["dataset"], users=len(recommender.users),
                items=len(items), name=Path(folder).name, user=recommender.users[0],
            ),
        )  # fmt: skip


def _whole(ids: pa.ChunkedArray | pa.Array) -> pa.Array:
    return ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
