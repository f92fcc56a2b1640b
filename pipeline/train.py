"""Stage `train`: one model by the top-level parameters, its history and its test metrics.

    python -m pipeline.train

Reads `data/prepared/` and `data/embeddings/`; writes the model, `reports/metrics.json` and
`reports/history.csv`. The test split is read once, after fitting.
"""

import json
import logging
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from encoders import MODALITIES
from model.config import Config
from model.features import Modality
from model.fitting import SELECTION, Fit, Fitter, Row
from model.interactions import Interactions
from model.metrics import evaluate
from model.recommender import Catalogue, Recommender
from model.variants import variant_class
from pipeline import paths
from pipeline.checkpoint import Checkpoint
from pipeline.device import keep_freed_memory, resolve_device
from pipeline.embeddings import read_embeddings
from pipeline.files import InputError, atomic_write, run, write_csv
from pipeline.params import Params, load

log = logging.getLogger("train")


@dataclass(frozen=True)
class Dataset:
    """The prepared catalogue, on the CPU."""

    catalogue: Catalogue
    validation: Interactions
    test: Interactions


@dataclass(frozen=True)
class Cell:
    """One fitted model: what `train` keeps and a study makes many of."""

    model: Recommender
    users: Tensor
    items: Tensor
    fit: Fit
    metrics: dict[str, dict[str, float]]


def load_dataset() -> Dataset:
    """Read what `prepare` and `encode` wrote. A modality that no item has is left out."""
    item_ids = pq.read_table(paths.ITEMS, columns=["item_id"])["item_id"].to_pylist()
    n_users, n_items = pq.read_metadata(paths.USERS).num_rows, len(item_ids)

    def interactions(name: str) -> Interactions:
        table = pq.read_table(paths.split_path(name))
        users, items = (torch.from_numpy(table[c].to_numpy().copy()) for c in ("user", "item"))
        return Interactions.of(users, items, n_users, n_items)

    index = {item_id: row for row, item_id in enumerate(item_ids)}
    modalities = []
    for name in MODALITIES:
        ids, embeddings = read_embeddings(paths.embeddings_path(name))
        if not ids:
            continue
        if unknown := [i for i in ids if i not in index]:
            raise InputError(
                f"{paths.embeddings_path(name)}: {len(unknown)} items are not in the catalogue, "
                f"the first is {unknown[0]!r}; run `dvc repro`"
            )
        rows = torch.tensor([index[i] for i in ids])
        vectors = torch.zeros(n_items, embeddings.shape[1])
        vectors[rows] = embeddings
        present = torch.zeros(n_items, dtype=torch.bool)
        present[rows] = True
        modalities.append(Modality(name, vectors, present))
    return Dataset(
        Catalogue(interactions("train"), modalities),
        interactions("validation"),
        interactions("test"),
    )


def train_cell(
    dataset: Dataset, params: Params, variant: str, layers: int, seed: int, label: str
) -> Cell:
    """Build, fit and evaluate one model; a fit that was cut off goes on where it was.

    The same arguments give the same bytes on the same machine.
    """
    config = Config(
        layers=layers,
        train=params.train,
        aggregate=params.aggregate,
        propagation=params.propagation,
        projection=params.projection,
        protocol=params.protocol,
    )
    device = torch.device(resolve_device(params.device))
    torch.manual_seed(seed)
    # Built on the CPU, so that every device starts from the same numbers.
    model = variant_class(variant)(dataset.catalogue, config).to(device)
    train, validation = dataset.catalogue.train.to(device), dataset.validation.to(device)
    fitter = Fitter(model, train, validation, config, seed)
    checkpoint = Checkpoint(variant, config, seed, dataset.catalogue, dataset.validation, device)
    if (state := checkpoint.load()) is not None:
        fitter.restore(state)
    with tqdm(
        total=config.train.epochs,
        initial=len(fitter.history),
        desc=label,
        unit="epoch",
        disable=None,
        leave=False,
    ) as bar:

        def show(row: Row, seconds: float) -> None:
            bar.set_postfix(
                loss=row["train_loss"], ndcg=row.get(SELECTION, float("nan")), seconds=seconds
            )
            bar.update()

        fitted = fitter.run(show, checkpoint.save)
    checkpoint.remove()
    with torch.inference_mode():
        users, items = model()
    seen = train
    metrics = {}
    for name, relevant in (("validation", validation), ("test", dataset.test.to(device))):
        if len(relevant):
            per_user = evaluate(users, items, seen=seen, relevant=relevant)
            metrics[name] = {metric: float(values.mean()) for metric, values in per_user.items()}
        seen = seen | relevant
    return Cell(model, users, items, fitted, metrics)


def history_table(rows: list[dict[str, float]]) -> pa.Table:
    """The history as a table, numbers rounded to 6 digits."""
    return pa.table({name: [round(row[name], 6) for row in rows] for name in rows[0]})


def main() -> None:
    params = load()
    keep_freed_memory()
    dataset = load_dataset()
    cell = train_cell(dataset, params, params.fusion, params.layers, params.seed, params.fusion)
    tensors = cell.model.state_dict() | {"users": cell.users, "items": cell.items}
    description = {
        "fusion": params.fusion,
        "layers": params.layers,
        "modalities": [m.name for m in dataset.catalogue.modalities],
        "train": asdict(params.train),
        "seed": params.seed,
        "best_epoch": cell.fit.best_epoch,
    }
    # One metadata key: safetensors does not keep the order of several.
    atomic_write(
        paths.MODEL,
        save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            metadata={"recommender": json.dumps(description)},
        ),
    )
    rounded = {
        s: {m: round(v, 6) for m, v in metrics.items()} for s, metrics in cell.metrics.items()
    }
    atomic_write(paths.METRICS, json.dumps(rounded, indent=2) + "\n")
    write_csv(paths.HISTORY, history_table(cell.fit.history))
    log.info(
        "%s, %d layers: best epoch %d of %d, NDCG@10 %s",
        params.fusion,
        params.layers,
        cell.fit.best_epoch,
        len(cell.fit.history),
        ", ".join(f"{split} {metrics[SELECTION]:.4f}" for split, metrics in cell.metrics.items()),
    )


if __name__ == "__main__":
    run(main)
