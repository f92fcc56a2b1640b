"""A small prepared workspace, as `prepare` and `encode` would leave it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import random_interactions

from model.config import Config, Lattice, Mmgcn, Systems, Train
from model.interactions import Interactions
from pipeline.catalogue.embeddings import write_embeddings

USERS, ITEMS = 20, 30
SMALL = Config(
    2,
    Train(dimension=8, epochs=150, batch_size=50, patience=150, learning_rate=0.02),
    Systems(lattice=Lattice(neighbors=4, feature_dimension=5), mmgcn=Mmgcn(layers=2)),
)


def splits(seed: int = 0) -> dict[str, Interactions]:
    """Training, validation and test edges that share none."""
    edges = random_interactions(USERS, ITEMS, 240, seed)
    order = np.random.default_rng(seed).permutation(len(edges))
    cuts = {"train": order[:130], "validation": order[130:165], "test": order[165:]}
    return {
        name: Interactions.of(edges.users[part], edges.items[part], USERS, ITEMS)
        for name, part in cuts.items()
    }


def write_workspace(root: Path, seed: int = 0) -> None:
    """Write `data/prepared` and `data/embeddings` under `root`; some items lack a modality."""
    prepared = root / "data/prepared"
    prepared.mkdir(parents=True)
    ids = [f"i{n:02}" for n in range(ITEMS)]
    pq.write_table(pa.table({"item_id": ids, "title": ids}), prepared / "items.parquet")
    pq.write_table(
        pa.table({"user_id": [f"u{n:02}" for n in range(USERS)]}), prepared / "users.parquet"
    )
    for name, split in splits(seed).items():
        columns = {
            "user": pa.array(split.users.numpy(), pa.int32()),
            "item": pa.array(split.items.numpy(), pa.int32()),
        }
        pq.write_table(pa.table(columns), prepared / f"{name}.parquet")
    rng = np.random.default_rng(seed)
    for modality, first in {"text": 0, "image": 3, "audio": 9, "video": ITEMS}.items():
        vectors = rng.normal(size=(ITEMS - first, 6)).astype(np.float32)
        write_embeddings(
            root / f"data/embeddings/{modality}.parquet", ids[first:],
            lambda part, v=vectors: v[part], 6, {"model": modality},
        )  # fmt: skip
