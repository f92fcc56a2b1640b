"""A small prepared workspace, as `prepare` and `encode` would leave it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import random_interactions
from torch import Tensor

from model.config import Config, Content, Train, flatten
from model.embedding import EmbeddingSystem
from model.experiment import system_class
from model.interactions import Interactions
from model.systems import SYSTEMS, options_class
from pipeline.catalogue.embeddings import write_embeddings
from pipeline.experiments.experiment import Experiment

USERS, ITEMS = 20, 30
PLAIN = Train(
    dimension=8, epochs=5, batch_size=64, learning_rate=0.01, regularization=1e-4, loss="bpr",
    temperature=0.1, negatives=1, reject_positives=True, cold_items="trained",
    id_dropout=0.0, patience=20, missing="skip",
    layer_weights=(), user_exponent=0.5, item_exponent=0.5,
    content=Content(single_branch=False, autoencoder=0.0, contrast=0.0, temperature=0.1),
)  # fmt: skip


def _is_network(name: str) -> bool:
    return issubclass(system_class(name), EmbeddingSystem)


EMBEDDING_SYSTEMS = tuple(filter(_is_network, SYSTEMS))


def tables(model: EmbeddingSystem) -> tuple[Tensor, Tensor]:
    """Users and items of a forward pass, in whatever mode the model is."""
    made = model()
    return made.users, made.items


def values_of(layers: int = 2, **changes: Any) -> dict[str, Any]:
    """Key → value of all that several systems read: `PLAIN` with some changed.

    Args:
        changes: top-level parameters, and those of `train`.
    """
    top = {"aggregate": "mean", "propagation": "bipartite", "projection": "fixed",
           "protocol": "validated", "seed": 0, "layers": layers}  # fmt: skip
    train = replace(PLAIN, **{k: v for k, v in changes.items() if k not in top})
    return top | {k: v for k, v in changes.items() if k in top} | flatten(train, "train.")


def config_of(
    system: str, layers: int = 2, options: Mapping[str, Any] | None = None, **changes: Any
) -> Config[Any]:
    """What `system` reads of `values_of` those changes.

    Args:
        options: the system's own, where they differ from its defaults.
    """
    return Config.of(options_class(system)(**(options or {})), values_of(layers, **changes))


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
    rng = np.random.default_rng(seed)
    vectors = {
        modality: rng.normal(size=(ITEMS - first, 6)).astype(np.float32)
        for modality, first in {"text": 0, "image": 3, "audio": 9, "video": ITEMS}.items()
    }
    write_catalogue(root, splits(seed), vectors)


def write_catalogue(
    root: Path, parts: Mapping[str, Interactions], vectors: Mapping[str, np.ndarray]
) -> None:
    """Write `data/prepared` and `data/embeddings` under `root`.

    Args:
        parts: split → its interactions.
        vectors: modality → the rows of the last items, all those that have it.
    """
    prepared = root / "data/prepared"
    prepared.mkdir(parents=True)
    users, items = parts["train"].n_users, parts["train"].n_items
    ids = [f"i{n:0{len(str(items - 1))}}" for n in range(items)]
    names = [f"u{n:0{len(str(users - 1))}}" for n in range(users)]
    pq.write_table(pa.table({"item_id": ids, "title": ids}), prepared / "items.parquet")
    pq.write_table(pa.table({"user_id": names}), prepared / "users.parquet")
    for name, split in parts.items():
        columns = {
            "user": pa.array(split.users.numpy(), pa.int32()),
            "item": pa.array(split.items.numpy(), pa.int32()),
        }
        pq.write_table(pa.table(columns), prepared / f"{name}.parquet")
    summary = {
        "dataset": "small", "synthetic": True, "split": "given", "ratings": "none", "k_core": 0,
        "users": users, "items": items,
        "interactions": {name: len(split) for name, split in parts.items()},
    }  # fmt: skip
    (prepared / "summary.json").write_text(json.dumps(summary))
    for modality, rows in vectors.items():
        write_embeddings(
            root / f"data/embeddings/{modality}.parquet", ids[items - len(rows) :],
            lambda part, v=rows: v[part], rows.shape[1],
            {"model": modality, "count": str(len(rows))},
        )  # fmt: skip


def small_experiment(
    system: str, layers: int = 2, seed: int = 0, options: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Experiment:  # fmt: skip
    """One on `write_workspace`'s data; `changes` as in `config_of`."""
    settings = {"epochs": 150, "batch_size": 50, "patience": 150, "learning_rate": 0.02} | changes
    small = {"lattice": {"neighbors": 4, "feature_dimension": 5}, "mmgcn": {"layers": 2}}
    config = config_of(system, layers, small.get(system, {}) | dict(options or {}), **settings)
    read = config.options.reads
    return Experiment(
        system,
        config,
        layers if "layers" in read else None,
        seed if "seed" in read else None,
        "cpu",
    )
