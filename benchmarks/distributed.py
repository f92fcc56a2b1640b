"""Training by several processes beside one: whether the results are the same, and what it costs.

    python -m benchmarks.distributed same|same64 [processes] [dbbook|ml1m] [epochs] [system ...]
    python -m benchmarks.distributed step [processes] [dbbook|ml1m] [d]

Graphs have the paper's sizes and a long tail (`benchmarks.train`), every fifth edge is for
validation, items have 32 random numbers as content. Every process has one thread; gloo.

`same` (d = 64): the furthest relative difference of a training loss, of the embeddings of users and
of items, and that of validation NDCG@10 in absolute terms, system by system. `same64` has float64
in place of float32 everywhere: a difference that is rounding's then shrinks with it, however far a
system amplifies it; one that is a fault's stays. `step`: seconds a step of one process and of
several, wall clock and processor, and the megabytes that are added up in it.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch import distributed as dist

from benchmarks.train import SHAPES, Shape, interactions
from model.config import Config
from model.dataset import Catalogue, Dataset, Modality
from model.embedding import EmbeddingSystem
from model.experiment import build, system_class
from model.fitting import Fitter
from model.interactions import Interactions
from model.metrics import SELECTION
from model.ranks import Ranks
from model.system import Run
from model.systems import SYSTEMS, options_class
from pipeline.common.params import load

DIVIDED = [name for name in SYSTEMS if not options_class(name).undivided]
SEED = 19
STEPS = 10


def dataset(shape: Shape, content: bool) -> Dataset:
    whole = interactions(shape)
    held = torch.arange(len(whole)) % 5 == 4
    train, validation = (
        Interactions.of(whole.users[part], whole.items[part], shape.users, shape.items)
        for part in (~held, held)
    )
    vectors = torch.randn(shape.items, 32, generator=torch.Generator().manual_seed(1))
    text = Modality("text", vectors, torch.ones(shape.items, dtype=torch.bool))
    nothing = train.items.new_empty(0)
    test = Interactions.of(nothing, nothing, shape.users, shape.items)
    return Dataset(Catalogue(train, [text] if content else []), validation, test)


def fitter_of(system: str, shape: Shape, ranks: Ranks, epochs: int, d: int) -> Fitter:
    """By params.yaml, but for the size of the embeddings, of a batch and the number of epochs."""
    params = load()
    changes = {
        "train.dimension": d, "train.batch_size": shape.batch_size,
        "train.epochs": epochs, "train.patience": epochs, "layers": 3,
    }  # fmt: skip
    config: Config[Any] = Config.of(params.systems[system], params.shared() | changes)
    own = dataset(shape, config.options.content).of_rank(ranks)
    made = build(system_class(system), own.catalogue, config, SEED)
    assert isinstance(made, EmbeddingSystem)
    return Fitter(made, own, Run(SEED))


def fitted(system: str, shape: Shape, ranks: Ranks, epochs: int) -> dict[str, Any]:
    """Losses and NDCG@10 by epoch, and the embeddings on the first process."""
    fitter = fitter_of(system, shape, ranks, epochs, 64)
    start = time.perf_counter()
    history = fitter.run().history
    seconds = time.perf_counter() - start
    users, items = fitter.system.embeddings()
    share = fitter.train.share
    return {
        "loss": torch.tensor([row["train_loss"] for row in history]),
        "metric": torch.tensor([row[str(SELECTION)] for row in history]),
        "users": share.ranks.gathered(users, share.counts),
        "items": items,
        "seconds": seconds,
    }


class Counting(Ranks):
    """Keeps how many bytes each sum over the processes has."""

    sizes: ClassVar[list[int]] = []

    def sum(self, tensor: Tensor) -> Tensor:
        if self.size > 1:
            self.sizes.append(tensor.numel() * tensor.element_size())
        return super().sum(tensor)


def steps(system: str, shape: Shape, ranks: Ranks, d: int) -> dict[str, float]:
    """What a step takes, and adds up over the processes."""
    counting = Counting(ranks.rank, ranks.size)
    fitter = fitter_of(system, shape, counting, 1, d)
    given = fitter.batches.shuffled(fitter.generator)
    for edges in given[:2]:
        fitter._take(edges)
    counting.sizes.clear()
    start, busy = time.perf_counter(), time.process_time()
    for number in range(STEPS):
        fitter._take(given[number % max(1, len(given) - 1)])
    taken = time.perf_counter() - start, time.process_time() - busy
    return {
        "wall": taken[0] / STEPS,
        "processor": taken[1] / STEPS,
        "megabytes": sum(counting.sizes) / STEPS / 1e6,
        "sums": len(counting.sizes) / STEPS,
    }


def _process(
    work: Callable[..., Any], given: tuple[Any, ...], ranks: Ranks, folder: Path, double: bool
) -> None:
    torch.set_num_threads(1)
    if double:
        torch.set_default_dtype(torch.float64)
        Tensor.float = Tensor.double  # type: ignore[method-assign]
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=ranks.rank, world_size=ranks.size)
    torch.save(work(*given[:2], ranks, *given[2:]), folder / f"{ranks.rank}.pt")
    dist.destroy_process_group()


def together(size: int, work: Callable[..., Any], *given: Any, double: bool = False) -> list[Any]:
    """What `work` returns in each of `size` processes; its third argument is which it is."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        processes = [
            context.Process(target=_process, args=(work, given, Ranks(rank, size), folder, double))
            for rank in range(size)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            sys.exit(1)  # it has said why
        return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]


def furthest(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def same(size: int, catalogue: str, epochs: int, systems: list[str], double: bool) -> None:
    shape = SHAPES[catalogue]
    print(f"{catalogue}, d = 64, {epochs} epochs: {size} processes beside one", flush=True)
    for system in systems:
        alone = together(1, fitted, system, shape, epochs, double=double)[0]
        several = together(size, fitted, system, shape, epochs, double=double)
        first = several[0]
        copies = all(torch.equal(first["items"], other["items"]) for other in several)
        loss = float(((first["loss"] - alone["loss"]) / alone["loss"]).abs().max())
        metric = float((first["metric"] - alone["metric"]).abs().max())
        tables = [furthest(first[side], alone[side]) for side in ("users", "items")]
        print(
            f"  {system:12} loss {loss:.1e}, users {tables[0]:.1e}, items {tables[1]:.1e}, "
            f"{SELECTION} {metric:.1e} (of {float(alone['metric'][-1]):.4f}), copies of items "
            f"{'equal' if copies else 'DIFFER'}; "
            f"{alone['seconds']:.0f} s, {first['seconds']:.0f} s",
            flush=True,
        )


def main() -> None:
    what, *words = sys.argv[1:] or [""]
    size = int(words[0]) if words else 2
    catalogue = words[1] if len(words) > 1 else "dbbook"
    if what in ("same", "same64"):
        epochs = int(words[2]) if len(words) > 2 else 20
        same(size, catalogue, epochs, words[3:] or DIVIDED, what == "same64")
    elif what == "step":
        d = int(words[2]) if len(words) > 2 else 64
        print(f"{catalogue}, d = {d}, K = 3, a thread a process")
        for n in dict.fromkeys((1, size)):
            told = together(n, steps, "none", SHAPES[catalogue], d)[0]
            print(
                f"  {n} processes: {1e3 * told['wall']:.1f} ms a step, "
                f"{1e3 * told['processor']:.1f} ms of processor each, "
                f"{told['megabytes']:.2f} MB in {told['sums']:g} sums",
                flush=True,
            )
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
