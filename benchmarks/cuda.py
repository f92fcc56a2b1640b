"""What a card does: products, steps and whole fits, each against what it should be measured by.

    python -m benchmarks.cuda products
    python -m benchmarks.cuda fit [ml1m|dbbook] [d] [epochs]
    python -m benchmarks.cuda profile [ml1m|dbbook] [d]

`products` are those of one layer. cuSPARSE is `@` on a CSR matrix, dense the whole R̂ by cuBLAS: in
float32, and as the ones of R (exact in bfloat16) times the three bfloat16 parts that make a
float32. `fit` is LightGCN as the paper has it, validation every epoch, as a study fits it; `eager`
without graphs.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import product

import torch
from torch import Tensor

from benchmarks.train import SHAPES, Shape, interactions, lightgcn
from model import kernels
from model.dataset import Catalogue, Dataset
from model.experiment import build, system_class
from model.fitting import Fitter
from model.graph import normalized_graph
from model.sampling import BatchSampler
from model.system import Run

CARD = torch.device("cuda", 0)


def milliseconds(function: Callable[[], object], rounds: int = 30) -> float:
    """Median of what the card takes."""
    for _ in range(3):
        function()
    taken = []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        function()
        end.record()
        end.synchronize()
        taken.append(start.elapsed_time(end))
    return statistics.median(taken)


def in_three(x: Tensor) -> Tensor:
    """(n, d) float32 → (n, 3 d) bfloat16, whose three parts add up to it."""
    parts, rest = [], x
    for _ in range(3):
        parts.append(rest.bfloat16())
        rest = rest - parts[-1].float()
    return _padded(torch.cat(parts, dim=1), 0)


def _padded(x: Tensor, *dims: int) -> Tensor:
    """With zeros, to sizes that tensor cores take."""
    for dim in dims:
        x = torch.cat(
            [x, x.new_zeros([-n % 16 if i == dim else n for i, n in enumerate(x.shape)])], dim
        )
    return x


def products_command() -> None:
    copied = torch.empty(1 << 28, device=CARD)
    target = torch.empty_like(copied)
    rate = 2 * copied.numel() * 4 / milliseconds(lambda: target.copy_(copied)) / 1e9
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, copy {rate:.2f} TB/s")
    for name in SHAPES:
        for d in (64, 512):
            _layer(name, d)


def _layer(name: str, d: int) -> None:
    shape = SHAPES[name]
    train = interactions(shape)
    graph = normalized_graph(train).to(CARD)
    p = graph.pattern
    cuts = p.cut, p.transposed_cut
    own = p.offsets, p.columns, graph.values
    other = p.transposed_offsets, p.transposed_columns, graph.transposed_values
    dense = graph.to_dense()
    ones = _padded((dense != 0).bfloat16(), 0, 1)
    users, items = (torch.randn(n, d, device=CARD) for n in graph.shape)
    csr, transposed = (
        torch.sparse_csr_tensor(*parts, size, check_invariants=False)
        for parts, size in ((own, graph.shape), (other, graph.shape[::-1]))
    )
    ways: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
        "ours": lambda: (
            kernels.product(*own, items, cuts[0]),
            kernels.product(*other, users, cuts[1]),
        ),
        "cuSPARSE": lambda: (csr @ items, transposed @ users),
        "dense, float32": lambda: (dense @ items, dense.T @ users),
        "dense, three bfloat16": lambda: (
            torch.mm(ones, in_three(items), out_dtype=torch.float32),
            torch.mm(ones.T, in_three(users), out_dtype=torch.float32),
        ),
        "  of that, the parts": lambda: (in_three(items), in_three(users)),
    }
    gathered = 4 * d * len(train) * 2 / 1e9
    print(f"{name}, d = {d}: {gathered:.2f} GB of vectors gathered")
    for label, way in ways.items():
        print(f"  {label:24} {milliseconds(way) * 1e3:8.1f} us", flush=True)
    exact = dense.double() @ items.double()
    for label in ("ours", "cuSPARSE", "dense, float32"):
        error = (ways[label]()[0].double() - exact).norm() / exact.norm()
        print(f"  {label:24} relative error {error:.1e}")
    split = ways["dense, three bfloat16"]()[0].view(-1, 3, d).sum(1)[: len(users)]
    exact = (dense != 0).double() @ items.double()
    print(f"  three bfloat16: error {(split.double() - exact).norm() / exact.norm():.1e}")
    blocks = (32, 64) if d == 64 else (128, 256, 512)
    for block, warps, ahead in product(blocks, (1, 2, 4), (4, 8)):
        if name == "ml1m" and 64 <= 2 * block // warps <= 512:
            taken = [
                milliseconds(partial(_tuned, *parts, x, block, warps, ahead, pieces), 10) * 1e3
                for pieces in (None, *cuts)
                for parts, x in ((own, items), (other, users))
                if pieces is None or (pieces is cuts[0]) == (parts is own)
            ]
            shown = " + ".join(f"{time:.0f}" for time in taken)
            print(f"    {block} numbers, {warps} warps, {ahead} ahead: {shown} us")
    sampler = BatchSampler(train, shape.batch_size, 1, reject_positives=True)
    batch = next(iter(sampler.epoch(torch.Generator().manual_seed(0)))).pattern
    rows, columns = batch.rows.to(CARD), batch.columns.to(CARD)
    fused = milliseconds(lambda: kernels.inner_products(rows, columns, users, items))
    plain = milliseconds(lambda: (users[rows] * items[columns]).sum(1))
    print(f"  a batch's scores {fused * 1e3:.1f} us, gathered {plain * 1e3:.1f} us", flush=True)


def _tuned(
    offsets: Tensor, columns: Tensor, values: Tensor, x: Tensor,
    block: int, warps: int, ahead: int, pieces: tuple[Tensor, Tensor] | None,
) -> Tensor:  # fmt: skip
    starts, of_rows = pieces or (offsets, offsets)
    n, width, blocks = len(starts) - 1, x.shape[1], -(-x.shape[1] // block)
    out = x.new_empty(n, width)
    kernels._rows[(n, blocks)](
        starts, columns, values, x, out, width, block, ahead, num_warps=warps
    )
    if pieces is None:
        return out
    whole = x.new_empty(len(of_rows) - 1, width)
    kernels._collected[(len(whole), blocks)](
        of_rows, out, whole, width, block, ahead, num_warps=warps
    )
    return whole


def _fitter(shape: Shape, dimension: int, epochs: int, seconds: list[float]) -> Fitter:
    everything = interactions(Shape(shape.users, shape.items, shape.edges * 5 // 4, 0))
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(0))
    train, validation = (
        type(everything).of(
            everything.users[part], everything.items[part], shape.users, shape.items
        )
        for part in order.split([shape.edges, len(everything) - shape.edges])
    )
    catalogue = Catalogue(train)
    config = lightgcn(shape, dimension)
    model = build(system_class("none"), catalogue, config, 0)
    dataset = Dataset(catalogue, validation, validation)
    run = Run(on_epoch=lambda row, taken: seconds.append(taken), chosen=None)
    fitter = Fitter(model.to(CARD), dataset.to(CARD), run)  # type: ignore[arg-type]
    fitter.selection.epochs = fitter.selection.patience = epochs
    return fitter


def by_cusparse(
    offsets: Tensor, columns: Tensor, values: Tensor, dense: Tensor, pieces: object = None
) -> Tensor:
    """The product by torch's `@`."""
    shape = (len(offsets) - 1, len(dense))
    values = values.contiguous()
    matrix = torch.sparse_csr_tensor(offsets, columns, values, shape, check_invariants=False)
    return matrix @ dense


def fit_command(name: str = "ml1m", dimension: int = 512, epochs: int = 30) -> None:
    shape, ours = SHAPES[name], kernels.product
    for label in ("graphs", "graphs, cuSPARSE", "eager", "eager, cuSPARSE"):
        kernels.product = by_cusparse if "cuSPARSE" in label else ours
        seconds: list[float] = []
        fitter = _fitter(shape, dimension, epochs if "graphs" in label else 8, seconds)
        if "eager" in label:
            fitter.replayed = None
        start = time.perf_counter()
        fitter.run()
        torch.cuda.synchronize()
        whole = time.perf_counter() - start
        epoch = statistics.median(seconds[4:])
        users, items = fitter.system.embeddings()
        fitter._validate(users, items)
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(5):
            fitter._validate(users, items)
        torch.cuda.synchronize()
        validation = (time.perf_counter() - start) / 5
        steps = -(-shape.edges // shape.batch_size)
        print(
            f"{name}, d = {dimension}, {label}: epoch {epoch * 1e3:.1f} ms, of it validation "
            f"{validation * 1e3:.1f} ms; step {(epoch - validation) / steps * 1e3:.2f} ms; "
            f"500 epochs {500 * epoch:.1f} s ({len(seconds)} took {whole:.1f} s); peak "
            f"{torch.cuda.max_memory_allocated() / 1e6:.0f} MB",
            flush=True,
        )


def profile_command(name: str = "ml1m", dimension: int = 512) -> None:
    from torch.profiler import ProfilerActivity, profile

    seconds: list[float] = []
    fitter = _fitter(SHAPES[name], dimension, 4, seconds)
    fitter.replayed = None
    fitter.run()
    edges = fitter.batches.shuffled(fitter.generator)[0]
    fitter.system.train()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        for _ in range(5):
            fitter._take(edges)
        torch.cuda.synchronize()
    print(
        found.key_averages().table(
            sort_by="cuda_time_total", row_limit=32, max_name_column_width=70
        )
    )
    users, items = fitter.system.embeddings()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        fitter._validate(users, items)
        torch.cuda.synchronize()
    print(
        found.key_averages().table(
            sort_by="cuda_time_total", row_limit=16, max_name_column_width=70
        )
    )


def main() -> None:
    command, *words = sys.argv[1:]
    arguments = [int(word) if word.isdigit() else word for word in words]
    {"products": products_command, "fit": fit_command, "profile": profile_command}[command](
        *arguments  # type: ignore[arg-type]
    )


if __name__ == "__main__":
    main()
