"""Our systems beside MMRec's own of the same name: seconds an epoch, on the CPU, one thread.

    python -m benchmarks.mmrec <a checkout of enoche/MMRec> [ml1m|dbbook] [d] [rounds] [names]

Both sides get the same interactions, drawn as in `benchmarks.train`, the same titles (384 random
numbers an item, of length 1) and the same batch size, and take an epoch in turns. MMRec runs as it
does by default: its configuration files, its loader with its negatives, its trainer and optimiser.
An epoch is all of it but the evaluation; building and the first epoch are left out on both sides.
`names` are MMRec's, with a comma between (COUNTERPARTS); without, all. What MMRec needs besides our
own environment: pandas, lmdb.
"""

import contextlib
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import dok_matrix
from torch.nn import functional as F

from benchmarks.train import NOBODY, SHAPES, Shape, interactions
from model.config import Config
from model.dataset import Catalogue, Dataset, Modality
from model.experiment import build, system_class
from model.fitting import Fitter
from model.interactions import Interactions
from model.system import Run
from model.systems import options_class
from pipeline.common.device import reuse_freed_memory

WIDTH = 384  # of MiniLM, which encodes titles


@dataclass(frozen=True)
class Ours:
    """A system of ours.

    Attributes:
        name: of its module.
        options: its own parameters that are not as by default.
        values: others that it reads, likewise.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


# By MMRec's name; it has no counterpart of early, mmlgcn and the other fusions.
COUNTERPARTS: dict[str, dict[str, Ours]] = {
    "BPR": {"none, layers: 0": Ours("none", values={"layers": 0})},
    "LightGCN": {"none, layers: 2": Ours("none", values={"layers": 2})},
    "VBPR": {"vbpr": Ours("vbpr")},
    "MMGCN": {"mmgcn": Ours("mmgcn")},
    "LATTICE": {  # MMRec's seeks neighbours once an epoch, and learns from that one step alone
        "lattice, rebuild: epoch": Ours("lattice", {"rebuild": "epoch"}),
        "lattice, rebuild: step": Ours("lattice", {"rebuild": "step"}),
    },
}
LAYERS = 2  # of LightGCN, for which its file has a list to search
Epoch = Callable[[], None]


def titles(n_items: int) -> torch.Tensor:
    """(n_items, WIDTH), rows of length 1."""
    return F.normalize(torch.randn(n_items, WIDTH, generator=torch.Generator().manual_seed(1)))


def ours(system: Ours, train: Interactions, shape: Shape, dimension: int) -> Epoch:
    """An epoch as `Fitter` takes it."""
    values = {
        "propagation": "bipartite", "protocol": "validated",
        "train.dimension": dimension, "train.epochs": 500, "train.batch_size": shape.batch_size,
        "train.learning_rate": 1e-3, "train.regularization": 1e-4, "train.loss": "bpr",
        "train.negatives": 1, "train.reject_positives": True, "train.patience": 20,
        "train.cold_items": "trained", "train.missing": "skip",
        "train.layer_weights": (), "train.user_exponent": 0.5, "train.item_exponent": 0.5,
    }  # fmt: skip
    options = options_class(system.name)
    modalities = []
    if options.content:
        everyone = torch.ones(shape.items, dtype=torch.bool)
        modalities = [Modality("text", titles(shape.items), everyone)]
    catalogue = Catalogue(train, modalities)
    config = Config.of(options(**system.options), values | system.values)
    built = build(system_class(system.name), catalogue, config, 0)
    nobody = Interactions.of(NOBODY, NOBODY, train.n_users, train.n_items)
    fitter = Fitter(built, Dataset(catalogue, nobody, nobody), Run())  # type: ignore[arg-type]

    def epoch() -> None:
        assert fitter._pass(1).isfinite()

    return epoch


def theirs(name: str, train: Interactions, shape: Shape, dimension: int, folder: Path) -> Epoch:
    """An epoch of `Trainer.fit`, up to where it evaluates.

    Args:
        folder: where `text.npy` is; MMRec's LATTICE keeps its frozen graph there.
    """
    import pandas
    from common.trainer import Trainer
    from utils.configurator import Config as Settings
    from utils.dataloader import TrainDataLoader
    from utils.dataset import RecDataset
    from utils.utils import get_model, init_seed

    given = {
        "use_gpu": False, "seed": 0, "data_path": f"{folder.parent}/",
        "USER_ID_FIELD": "userID", "ITEM_ID_FIELD": "itemID", "inter_splitting_label": "x_label",
        "vision_feature_file": "none.npy", "text_feature_file": "text.npy",
        "embedding_size": dimension, "feat_embed_dim": 64, "train_batch_size": shape.batch_size,
        "learning_rate": 1e-3, "reg_weight": 1e-4, "save_recommended_topk": False,
    }  # fmt: skip
    if name == "LightGCN":
        given["n_layers"] = LAYERS
    config = Settings(name, folder.name, given)
    init_seed(0)
    columns = {"userID": train.users.numpy(), "itemID": train.items.numpy()}
    dataset = RecDataset(config, pandas.DataFrame(columns))
    dataset.user_num, dataset.item_num = shape.users, shape.items
    str(dataset)  # which counts the interactions; the loader reads how many there are
    loader = TrainDataLoader(config, dataset, batch_size=shape.batch_size, shuffle=True)
    loader.pretrain_setup()
    model = get_model(name)(config, loader)
    trainer = Trainer(config, model)
    number = 0

    def epoch() -> None:
        nonlocal number
        model.pre_epoch_processing()
        _, losses = trainer._train_epoch(loader, number)
        trainer.lr_scheduler.step()
        model.post_epoch_processing()
        number += 1
        assert len(losses) == -(-shape.edges // shape.batch_size)

    return epoch


@contextlib.contextmanager
def mmrec(checkout: Path) -> Iterator[None]:
    """Its modules can be imported and run under our versions, and it finds its configuration."""
    sys.path.insert(0, str(checkout / "src"))
    if not hasattr(dok_matrix, "_update"):  # as newer versions of SciPy call it
        dok_matrix._update = dok_matrix.update
    # LATTICE takes its graphs to a card whatever the configuration says.
    of_tensors, torch.Tensor.cuda = torch.Tensor.cuda, lambda self: self  # type: ignore[assignment]
    with contextlib.chdir(checkout / "src"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch.Tensor.cuda = of_tensors  # type: ignore[method-assign]


def measured(epoch: Epoch) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    epoch()
    return time.perf_counter() - clock, time.process_time() - processor


def compare(name: str, train: Interactions, shape: Shape, dimension: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "benchmark")
        place.mkdir()
        np.save(place / "text.npy", titles(shape.items).numpy())
        sides = {label: ours(o, train, shape, dimension) for label, o in COUNTERPARTS[name].items()}
        sides[name] = theirs(name, train, shape, dimension, place)
        taken: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
        for turn in range(rounds + 1):
            for side, epoch in sides.items():
                seconds = measured(epoch)
                if turn:
                    taken[side].append(seconds)
    medians = {
        side: [statistics.median(column) for column in zip(*rows, strict=True)]
        for side, rows in taken.items()
    }
    for side, (clock, processor) in medians.items():
        ratios = [them / us for them, us in zip(medians[name], medians[side], strict=True)]
        print(
            f"  {side:24} {clock:8.3f} s, of the processor {processor:8.3f} s; MMRec / that "
            f"{ratios[0]:6.2f}, of the processor {ratios[1]:6.2f}",
            flush=True,
        )


def main() -> None:
    if not sys.argv[1:]:
        sys.exit(__doc__)
    checkout, *words = sys.argv[1:]
    defaults = "dbbook", "64", "7", ",".join(COUNTERPARTS)
    shape_name, dimension, rounds, names = *words, *defaults[len(words) :]
    torch.set_num_threads(1)
    reuse_freed_memory()  # for both sides
    random.seed(0)
    shape = SHAPES[shape_name]
    train = interactions(shape)
    print(f"{shape_name}, d = {dimension}, batch {shape.batch_size}, medians of {rounds} epochs")
    with mmrec(Path(checkout).resolve()):
        for name in names.split(","):
            compare(name, train, shape, int(dimension), int(rounds))


if __name__ == "__main__":
    main()
