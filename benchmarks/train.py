"""One training step, evaluation and growth, each against what it should be measured by.

    python -m benchmarks.train step [ml1m|dbbook] [d] [rounds]
    python -m benchmarks.train memory [ml1m|dbbook] [d]
    python -m benchmarks.train evaluation [d]
    python -m benchmarks.train scaling

Graphs are drawn with the sizes of the paper's data sets and a long tail; two threads. `step`
takes turns of four steps, the first not counted: ours, PyG's LightGCN fed with both edge
directions, the COO-autograd form with stacked layers of MMRec and RecBole, and two floors, 2K
products of the whole CSR adjacency (by `@`, and by the kernel that we use) and one fused Adam step.
"""

import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from model.adam import Adam
from model.config import Config, SystemOptions
from model.dataset import Catalogue, Dataset
from model.evaluation import evaluate, validated
from model.experiment import build, system_class
from model.fitting import Fitter
from model.interactions import Interactions
from model.ranking import InnerProduct
from model.sampling import Batch, BatchSampler
from model.sparse import product
from model.system import Run
from model.systems import options_class
from pipeline.common.device import reuse_freed_memory

LAYERS = 3
IN_TURN = 4  # steps, the first of which is not counted
PATIENCE = 20  # seconds for a contender's steps


@dataclass(frozen=True)
class Shape:
    """How large a data set is, and the paper's batch size for it."""

    users: int
    items: int
    edges: int
    batch_size: int


SHAPES = {
    "ml1m": Shape(6036, 3081, 346_501, 8192),
    "dbbook": Shape(5660, 4878, 26_533, 2048),
}
NOBODY = torch.zeros(0, dtype=torch.int64)


def interactions(shape: Shape, seed: int = 0) -> Interactions:
    """Distinct edges; the popularity of users and of items has a long tail."""
    generator = torch.Generator().manual_seed(seed)
    keys = NOBODY
    while len(keys) < shape.edges:
        missing = int((shape.edges - len(keys)) * 1.3) + 16
        users = (torch.rand(missing, generator=generator) ** 2 * shape.users).long()
        items = (torch.rand(missing, generator=generator) ** 3 * shape.items).long()
        keys = torch.unique(torch.cat([keys, users * shape.items + items]))
    keys = keys[torch.randperm(len(keys), generator=generator)[: shape.edges]]
    return Interactions.of(keys // shape.items, keys % shape.items, shape.users, shape.items)


def batches(train: Interactions, size: int) -> list[Batch]:
    sampler = BatchSampler(train, size, 1, reject_positives=True)
    epoch = sampler.epoch(torch.Generator().manual_seed(0))
    return [batch for batch, _ in zip(epoch, range(4), strict=False)]


def adjacency(train: Interactions) -> torch.Tensor:
    """The whole normalised adjacency in CSR, (N, N)."""
    n = train.n_users + train.n_items
    rows = torch.cat([train.users, train.items + train.n_users])
    columns = torch.cat([train.items + train.n_users, train.users])
    degree = torch.bincount(rows, minlength=n).clamp(min=1).float()
    values = (degree[rows] * degree[columns]).rsqrt()
    return torch.sparse_coo_tensor(torch.stack([rows, columns]), values, (n, n)).coalesce()


def lightgcn(shape: Shape, dimension: int) -> Config[SystemOptions]:
    """What LightGCN reads, at the batch size of the data set."""
    values = {
        "layers": LAYERS, "propagation": "bipartite", "protocol": "validated",
        "train.dimension": dimension, "train.epochs": 500, "train.batch_size": shape.batch_size,
        "train.learning_rate": 1e-3, "train.regularization": 1e-4, "train.loss": "bpr",
        "train.negatives": 1, "train.reject_positives": True, "train.patience": 20,
        "train.cold_items": "trained",
        "train.layer_weights": (), "train.user_exponent": 0.5, "train.item_exponent": 0.5,
    }  # fmt: skip
    return Config.of(options_class("none")(), values)


Step = Callable[[int], None]


def ours(train: Interactions, shape: Shape, dimension: int) -> Step:
    """A step as `Fitter` takes it, from a batch's edges on: negatives, pattern, Adam and all."""
    catalogue = Catalogue(train)
    model = build(system_class("none"), catalogue, lightgcn(shape, dimension), 0)
    nobody = Interactions.of(NOBODY, NOBODY, train.n_users, train.n_items)
    fitter = Fitter(model, Dataset(catalogue, nobody, nobody), Run())  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    epoch = iter(())

    def step(number: int) -> None:
        nonlocal epoch
        batch = next(epoch, None)
        if batch is None or len(batch) < shape.batch_size:
            epoch = fitter.batches.epoch(generator)
            batch = next(epoch)
        fitter.step(batch)

    return step


def pyg(train: Interactions, shape: Shape, dimension: int) -> Step:
    """torch_geometric.nn.models.LightGCN, `recommendation_loss`, torch's Adam."""
    from torch_geometric.nn.models import LightGCN

    one_way = torch.stack([train.users, train.items + train.n_users])
    both = torch.cat([one_way, one_way.flip(0)], dim=1)
    model = LightGCN(train.n_users + train.n_items, dimension, LAYERS)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    given = batches(train, shape.batch_size)

    def step(number: int) -> None:
        batch = given[number % len(given)]
        positive = batch.items[:, 0] + train.n_users
        negative = batch.items[:, 1] + train.n_users
        pairs = torch.stack([batch.users.repeat(2), torch.cat([positive, negative])])
        optimizer.zero_grad()
        scores = model(both, pairs).chunk(2)
        nodes = torch.cat([batch.users, positive, negative]).unique()
        loss = model.recommendation_loss(*scores, node_id=nodes, lambda_reg=1e-4)
        loss.backward()
        optimizer.step()

    return step


def coo(train: Interactions, shape: Shape, dimension: int) -> Step:
    """torch.sparse.mm on a COO adjacency under autograd, layers stacked, as MMRec and RecBole."""
    a = adjacency(train)
    e = torch.nn.Parameter(torch.empty(len(a), dimension))
    torch.nn.init.xavier_uniform_(e)
    optimizer = torch.optim.Adam([e], lr=1e-3)
    given = batches(train, shape.batch_size)

    def step(number: int) -> None:
        batch = given[number % len(given)]
        optimizer.zero_grad()
        layers = [e]
        for _ in range(LAYERS):
            layers.append(torch.sparse.mm(a, layers[-1]))
        users, items = torch.stack(layers, dim=1).mean(1).split([train.n_users, train.n_items])
        u, p, n = users[batch.users], items[batch.items[:, 0]], items[batch.items[:, 1]]
        loss = -F.logsigmoid((u * p).sum(1) - (u * n).sum(1)).mean()
        nodes = (batch.users, batch.items[:, 0] + train.n_users, batch.items[:, 1] + train.n_users)
        penalty = sum(e[rows].square().sum() for rows in nodes) / len(batch)
        (loss + 1e-4 * penalty).backward()
        optimizer.step()

    return step


def floor(train: Interactions, shape: Shape, dimension: int, *, kernel: bool) -> Step:
    """2K products and one fused Adam step: what no step by these parts can be under."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        a = adjacency(train).to_sparse_csr()
    e = torch.nn.Parameter(torch.randn(len(a), dimension))
    optimizer = Adam([e], 1e-3)
    e.grad = torch.randn_like(e)
    parts = a.crow_indices(), a.col_indices(), a.values()

    @torch.no_grad()
    def step(number: int) -> None:
        x: torch.Tensor = e
        for _ in range(2 * LAYERS):
            x = product(*parts, x) if kernel else a @ x
        optimizer.step()

    return step


CONTENDERS: dict[str, Callable[[Interactions, Shape, int], Step]] = {
    "ours": ours,
    "PyG": pyg,
    "COO autograd": coo,
    "floor (@)": lambda *a: floor(*a, kernel=False),
    "floor (our kernel)": lambda *a: floor(*a, kernel=True),
}


def step_command(name: str = "ml1m", dimension: int = 512, rounds: int = 7) -> None:
    shape = SHAPES[name]
    train = interactions(shape)
    steps = {label: make(train, shape, dimension) for label, make in CONTENDERS.items()}
    seconds: dict[str, list[float]] = {label: [] for label in steps}
    for round_ in range(rounds):
        for label, step in steps.items():
            for number in range(IN_TURN):
                if sum(seconds[label]) > PATIENCE:  # PyG's takes tens of seconds at d = 512
                    break
                start = time.perf_counter()
                step(IN_TURN * round_ + number)
                if number:  # as in a fit, where a step finds what the last one left in the caches
                    seconds[label].append(time.perf_counter() - start)
    medians = {label: statistics.median(taken) for label, taken in seconds.items()}
    print(f"{name}, d = {dimension}, K = {LAYERS}, batch {shape.batch_size}, {rounds} rounds")
    for label, median in medians.items():
        print(f"  {label:20} {median * 1e3:9.1f} ms   {median / medians['ours']:.2f} x ours")


def memory_command(name: str = "ml1m", dimension: int = 512) -> None:
    """Peak memory of three steps over that of the data alone, each in a process of its own."""
    peaks = {}
    for label in ("nothing", "ours", "PyG", "COO autograd"):
        output = subprocess.run(
            [sys.executable, "-m", "benchmarks.train", "peak", name, str(dimension), label],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        peaks[label] = int(output)
    for label in ("ours", "PyG", "COO autograd"):
        more = (peaks[label] - peaks["nothing"]) / 1024
        print(f"{name}, d = {dimension}: {label:14} {more:8.0f} MiB")


def peak_command(name: str, dimension: int, label: str) -> None:
    import torch_geometric.nn.models  # noqa: F401 (everyone pays for it)

    shape = SHAPES[name]
    train = interactions(shape)
    if label != "nothing":
        step = CONTENDERS[label](train, shape, dimension)
        for number in range(3):
            step(number)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def evaluation_command(dimension: int = 64) -> None:
    shape = SHAPES["ml1m"]
    train = interactions(shape)
    relevant = interactions(Shape(shape.users, shape.items, 86_626, 0), seed=1)
    step = ours(train, shape, dimension)
    users, items = torch.randn(shape.users, dimension), torch.randn(shape.items, dimension)
    per_epoch = -(-shape.edges // shape.batch_size)
    epochs, validations, evaluations = [], [], []
    for _ in range(6):
        start = time.perf_counter()
        for number in range(per_epoch):
            step(number)
        epochs.append(time.perf_counter() - start)
        start = time.perf_counter()
        validated(InnerProduct(users, items), train, relevant)
        validations.append(time.perf_counter() - start)
        start = time.perf_counter()
        evaluate(InnerProduct(users, items), seen=train, relevant=relevant)
        evaluations.append(time.perf_counter() - start)
    epoch, validation, evaluation = (
        statistics.median(times[1:]) for times in (epochs, validations, evaluations)
    )
    print(
        f"ml1m, d = {dimension}: epoch {epoch:.2f} s; its validation {validation:.3f} s, "
        f"{validation / epoch:.1%}; an evaluation at all cut-offs {evaluation:.3f} s, "
        f"{evaluation / epoch:.1%}"
    )


def scaling_command() -> None:
    """Seconds per epoch and peak memory at 10^5 to 10^8 edges, d = 64, batch 8,192."""
    for edges in (10**5, 10**6, 10**7, 10**8):
        subprocess.run([sys.executable, "-m", "benchmarks.train", "growth", str(edges)], check=True)


def growth_command(edges: int) -> None:
    users, items = edges // 50, edges // 100
    shape = Shape(users, items, edges, 8192)
    train = interactions(shape)
    step = ours(train, shape, 64)
    per_epoch = -(-edges // shape.batch_size)
    measured = min(per_epoch, 12 if edges < 10**8 else 3)
    step(0)
    start = time.perf_counter()
    for number in range(measured):
        step(number)
    seconds = (time.perf_counter() - start) / measured
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{edges:>10} edges, {users} users, {items} items: {seconds * 1e3:9.1f} ms a step, "
        f"{seconds * per_epoch:9.1f} s an epoch ({measured} of {per_epoch} steps measured), "
        f"peak {peak:.0f} MiB",
        flush=True,
    )


def main() -> None:
    torch.set_num_threads(2)
    reuse_freed_memory()
    command, *words = sys.argv[1:]
    arguments = [int(word) if word.isdigit() else word for word in words]
    {
        "step": step_command,
        "memory": memory_command,
        "peak": peak_command,
        "evaluation": evaluation_command,
        "scaling": scaling_command,
        "growth": growth_command,
    }[command](*arguments)  # type: ignore[operator]


if __name__ == "__main__":
    main()
