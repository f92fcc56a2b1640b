"""The prepared catalogue, its embeddings and the trained model → PyTorch Geometric.

    python -m pipeline.exporters.pyg <folder>

writes `<folder>/<name>/`, by the name of the catalogue:

    <name>.pt                       `hetero_data`'s graph as a dictionary of tensors, the form in
                                    which PyG's own datasets keep theirs:
                                    HeteroData.from_dict(torch.load(path, weights_only=True))
    items.parquet, users.parquet    item_id and user_id of every node, in the order of the nodes

A pickled HeteroData holds PyG's storages, which torch.load does not take for safe.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pipeline.catalogue.embeddings import all_embeddings, metadata_of
from pipeline.catalogue.workspace import Workspace
from pipeline.common import paths
from pipeline.common.files import write_parquet
from pipeline.exporters.prepared import Prepared, read_prepared, run_exporter
from pipeline.recommending.opening import read_model, require_current

EDGES = ("user", "interacts", "item")
REVERSE = ("item", "rev_interacts", "user")  # as ToUndirected and RandomLinkSplit name it


def hetero_data() -> HeteroData:
    """The workspace's catalogue as a graph; run from the repository's root.

    Messages pass along training interactions only. So these are the only `edge_index`, and what is
    held out stands beside them as `edge_label_index`, as in PyG's AmazonBook and RandomLinkSplit:
    edge types of their own would enter `metadata()`, and with it the convolutions of `to_hetero`.
    With U users, I items and E edges, rows in the order of `data/prepared/{users,items}.parquet`:

        user, item                              num_nodes
        (user, interacts, item)                 edge_index (2, E) int64, training;
                                                validation_edge_label_index, test_edge_label_index
        (item, rev_interacts, user)             edge_index, the same reversed
        item                                    x_<modality> (I, d) float32, zeros where the item
                                                lacks it; has_<modality> (I,) bool
        user, item                              embedding (U, D) and (I, D), of the trained model if
                                                there is one whose scores are their inner product
        provenance                              JSON: `catalogue`, prepare's summary; `embeddings`,
                                                each modality's metadata; `recommender`, the trained
                                                model's system and parameters, or null

    Raises:
        InputError: a stage has not run yet, or the trained model is of another catalogue.
    """
    return as_graph(read_prepared())


def as_graph(prepared: Prepared) -> HeteroData:
    """`hetero_data` of what was read; the features share its memory."""
    data = HeteroData()
    data["user"].num_nodes = len(prepared.user_ids)
    data["item"].num_nodes = len(prepared.item_ids)
    edges = torch.from_numpy(np.stack([prepared.users, prepared.items]))
    train, validation, test = (
        edges[:, torch.from_numpy(prepared.labels == label)] for label in range(len(paths.SPLITS))
    )
    data[EDGES].edge_index = train
    data[EDGES].validation_edge_label_index = validation
    data[EDGES].test_edge_label_index = test
    data[REVERSE].edge_index = train.flip(0).contiguous()
    for name, embedding in prepared.embeddings.items():
        data["item"][f"x_{name}"] = torch.from_numpy(embedding.vectors)
        data["item"][f"has_{name}"] = torch.from_numpy(embedding.present)
    summary = json.loads(paths.SUMMARY.read_text())
    recommender, tables = read_trained()
    for node, table in tables.items():
        data[node].embedding = table
    files = all_embeddings()
    embeddings = {n: metadata_of(pq.read_schema(files[n].embeddings)) for n in prepared.embeddings}
    data.provenance = json.dumps(
        {"catalogue": summary, "embeddings": embeddings, "recommender": recommender}
    )
    return data


def read_trained() -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """What the trained model says of itself, None without one; node type → its embeddings.

    Raises:
        InputError: it was trained on other interactions than the workspace's.
    """
    if not paths.MODEL.exists():
        return None, {}
    described, tensors = read_model(Path)
    require_current(described, Workspace())
    nodes = {"user": "users", "item": "items"}
    there = set(nodes.values()) <= tensors.keys()
    return described, {node: tensors[name] for node, name in nodes.items() if there}


def write(prepared: Prepared, folder: Path) -> None:
    """Fill an empty folder."""
    torch.save(as_graph(prepared).to_dict(), folder / f"{prepared.name}.pt")
    write_parquet(folder / "items.parquet", pa.table({"item_id": prepared.item_ids}))
    write_parquet(folder / "users.parquet", pa.table({"user_id": prepared.user_ids}))


if __name__ == "__main__":
    run_exporter(write, text=False)
