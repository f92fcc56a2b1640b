"""Our systems beside MMRec's own of the same name: seconds an epoch, on the CPU, one thread.

    python -m benchmarks.mmrec <a checkout of enoche/MMRec> [ml1m|dbbook] [d] [rounds] [pairs]

Both sides get the same interactions, drawn as in `benchmarks.train`, the same titles (384 random
numbers an item, of length 1) and the same batch size, and take an epoch in turns. MMRec runs as it
does by default: its configuration files, its loader with its negatives, its trainer and optimiser.
An epoch is all of it but the evaluation; building and the first epoch are left out on both sides.
`pairs` are names of PAIRS with a comma between; without, all. What MMRec needs besides our own
environment: pandas, lmdb.
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
class Pair:
    """A system of ours and one of MMRec's.

    Attributes:
        name: ours.
        theirs: the name of MMRec's.
        options: our system's own parameters.
        values: others that ours reads.
        settings: of MMRec, where its files say nothing or a list to search.
    """

    name: str
    theirs: str
    options: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


PAIRS = {
    "bpr": Pair("none", "BPR", values={"layers": 0}),
    "lightgcn": Pair("none", "LightGCN", values={"layers": 2}, settings={"n_layers": 2}),
    "vbpr": Pair("vbpr", "VBPR"),
    "mmgcn": Pair("mmgcn", "MMGCN"),
    "lattice-epoch": Pair("lattice", "LATTICE", options={"rebuild": "epoch"}),
    "lattice-step": Pair("lattice", "LATTICE", options={"rebuild": "step"}),
}
Epoch = Callable[[], None]


def titles(n_items: int) -> torch.Tensor:
    """(n_items, WIDTH), rows of length 1."""
    return F.normalize(torch.randn(n_items, WIDTH, generator=torch.Generator().manual_seed(1)))


def ours(pair: Pair, train: Interactions, shape: Shape, dimension: int) -> Epoch:
    """An epoch as `Fitter` takes it."""
    values = {
        "propagation": "bipartite", "protocol": "validated",
        "train.dimension": dimension, "train.epochs": 500, "train.batch_size": shape.batch_size,
        "train.learning_rate": 1e-3, "train.regularization": 1e-4, "train.loss": "bpr",
        "train.negatives": 1, "train.reject_positives": True, "train.patience": 20,
        "train.cold_items": "trained", "train.missing": "skip",
        "train.layer_weights": (), "train.user_exponent": 0.5, "train.item_exponent": 0.5,
    }  # fmt: skip
    options = options_class(pair.name)
    modalities = []
    if options.content:
        everyone = torch.ones(shape.items, dtype=torch.bool)
        modalities = [Modality("text", titles(shape.items), everyone)]
    catalogue = Catalogue(train, modalities)
    config = Config.of(options(**pair.options), values | pair.values)
    system = build(system_class(pair.name), catalogue, config, 0)
    nobody = Interactions.of(NOBODY, NOBODY, train.n_users, train.n_items)
    fitter = Fitter(system, Dataset(catalogue, nobody, nobody), Run())  # type: ignore[arg-type]

    def epoch() -> None:
        assert fitter._pass(1).isfinite()

    return epoch


def theirs(pair: Pair, train: Interactions, shape: Shape, dimension: int, folder: Path) -> Epoch:
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
    config = Settings(pair.theirs, folder.name, given | pair.settings)
    init_seed(0)
    columns = {"userID": train.users.numpy(), "itemID": train.items.numpy()}
    dataset = RecDataset(config, pandas.DataFrame(columns))
    dataset.user_num, dataset.item_num = shape.users, shape.items
    str(dataset)  # which counts the interactions; the loader reads how many there are
    loader = TrainDataLoader(config, dataset, batch_size=shape.batch_size, shuffle=True)
    loader.pretrain_setup()
    model = get_model(pair.theirs)(config, loader)
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


def compare(label: str, train: Interactions, shape: Shape, dimension: int, rounds: int) -> None:
    pair = PAIRS[label]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "benchmark")
        place.mkdir()
        np.save(place / "text.npy", titles(shape.items).numpy())
        sides = {
            "ours": ours(pair, train, shape, dimension),
            "MMRec": theirs(pair, train, shape, dimension, place),
        }
        taken: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
        for turn in range(rounds + 1):
            for side, epoch in sides.items():
                seconds = measured(epoch)
                if turn:
                    taken[side].append(seconds)
    words = [f"  {label:14}"]
    medians = {}
    for side, rows in taken.items():
        clock, processor = (statistics.median(column) for column in zip(*rows, strict=True))
        medians[side] = clock, processor
        words.append(f"{side} {clock:8.3f} s (processor {processor:8.3f})")
    ratios = [them / us for us, them in zip(medians["ours"], medians["MMRec"], strict=True)]
    words.append(f"{ratios[0]:6.2f} times (processor {ratios[1]:.2f})")
    print("  ".join(words), flush=True)


def main() -> None:
    if not sys.argv[1:]:
        sys.exit(__doc__)
    checkout, *words = sys.argv[1:]
    defaults = "dbbook", "64", "7", ",".join(PAIRS)
    name, dimension, rounds, labels = *words, *defaults[len(words) :]
    torch.set_num_threads(1)
    reuse_freed_memory()  # for both sides
    random.seed(0)
    shape = SHAPES[name]
    train = interactions(shape)
    print(f"{name}, d = {dimension}, batch {shape.batch_size}, medians of {rounds} epochs")
    with mmrec(Path(checkout).resolve()):
        for label in labels.split(","):
            compare(label, train, shape, int(dimension), int(rounds))


if __name__ == "__main__":
    main()
