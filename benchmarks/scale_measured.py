"""What `benchmarks.scale` computes with, measured here, and its predictions beside measurements.

    python -m benchmarks.scale_measured training
    python -m benchmarks.scale_measured encoding

Times are processor time of one thread, unless they are called the clock's: so other jobs on the
machine matter less, though they take their share of its cache. `training`: LightGCN, K = 3 and
d = 64; constants from a small graph, steps of that one and of a larger one, by one and by two
processes (gloo). `encoding`: what an item costs, and the stage's loop with one and two workers.
"""

import hashlib
import multiprocessing
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from statistics import mean, median
from typing import Any
from unittest import mock

import numpy as np
import psutil
import pyarrow as pa
import torch
from PIL import Image
from torch import distributed as dist
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import material
from benchmarks.media_files import write_audio
from benchmarks.scale import Media, Step, Store
from benchmarks.train import NOBODY, Shape, interactions, lightgcn
from encoders import encoder_class
from encoders.base import Encoder
from model.adam import Adam
from model.dataset import Catalogue, Dataset
from model.experiment import build, system_class
from model.fitting import Fitter
from model.graph import normalized_graph
from model.interactions import Interactions
from model.ranks import Ranks
from model.system import Run
from pipeline.catalogue.embeddings import write_embeddings
from pipeline.common.device import peak_memory, reset_peak_memory
from pipeline.common.files import sha256_of
from pipeline.encoding.batches import batches_of, missing_of
from pipeline.encoding.filling import Reasons, fill
from pipeline.encoding.manifest import Item, items_of
from pipeline.encoding.vectors import VectorCache
from pipeline.encoding.workers import Pool


def seconds(work: Callable[[], object], rounds: int = 5) -> float:
    """Processor time, the median."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return median(taken)


SMALL, LARGE = (Shape(10**5 * n, 5 * 10**4 * n, 10**6 * n, 8192) for n in (1, 4))
WIDTH = 64


def constants(shape: Shape) -> tuple[float, float, float]:
    """Seconds of a gathered number, of a byte of a pass, and of a number under Adam."""
    train = interactions(shape)
    graph = normalized_graph(train)
    users, items = (torch.nn.Parameter(torch.randn(n, WIDTH)) for n in graph.shape)
    users.grad, items.grad = torch.randn_like(users), torch.randn_like(items)
    numbers, adam = users.numel() + items.numel(), Adam([users, items])
    with torch.no_grad():
        one, other = (torch.randn(numbers) for _ in range(2))
        passed = seconds(lambda: one.add_(other, alpha=0.3)) / (3 * 4 * numbers)
        moved = seconds(adam.step) / numbers
        both = seconds(lambda: (graph.times(items), graph.transposed_times(users)))
    return (both - 2 * 4 * numbers * passed) / (2 * shape.edges * WIDTH), passed, moved


def rank_process(rank: int, size: int, folder: str, shape: Shape) -> dict[str, Any]:
    """Three steps of one rank, and sums of a table of the small shape."""
    torch.set_num_threads(1)
    ranks, found, sums = Ranks(rank, size), {}, []
    if size > 1:
        store = f"file://{folder}/store"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=size)
        table = torch.ones(SMALL.items, WIDTH)
        found["reduced"] = seconds(lambda: ranks.sum(table)) / table.nbytes
    before = reset_peak_memory("cpu")
    nobody = Interactions.of(NOBODY, NOBODY, shape.users, shape.items)
    dataset = Dataset(Catalogue(interactions(shape)), nobody, nobody).of_rank(ranks)
    model = build(system_class("none"), dataset.catalogue, lightgcn(shape, WIDTH), 0)
    fitter = Fitter(model, dataset, Run())  # type: ignore[arg-type]
    epoch = fitter.batches.shuffled(fitter.generator)
    fitter._take(epoch[0])
    reset_peak_memory("cpu")
    real = dist.all_reduce

    def counted(tensor: torch.Tensor) -> None:
        sums.append(tensor.nbytes)
        real(tensor)

    with mock.patch.object(dist, "all_reduce", counted):
        start, edges = time.perf_counter(), iter(epoch[1:])
        found["step"] = seconds(lambda: fitter._take(next(edges)), 3)
        found["clock"] = (time.perf_counter() - start) / 3
    return found | {"held": peak_memory("cpu") - before, "sums": sums[: len(sums) // 3]}


def training() -> None:
    torch.set_num_threads(1)
    known = {shape: constants(shape) for shape in (SMALL, LARGE)}
    for shape, (number, byte, adam) in known.items():
        print(
            f"{shape}: a gathered number {number * 1e9:.3f} ns, a byte of a pass "
            f"{byte * 1e9:.3f}, a number under Adam {adam * 1e9:.2f}"
        )
    for shape in known:
        for size in (1, 2):
            context = multiprocessing.get_context("spawn")
            with tempfile.TemporaryDirectory() as folder, context.Pool(size) as pool:
                calls = [(rank, size, folder, shape) for rank in range(size)]
                ranks = pool.starmap(rank_process, calls, chunksize=1)
            step = Step(shape.users, shape.items, shape.edges, ranks=size)
            entries, width = step.gathered
            sums = mean(rank.get("reduced", 0.0) for rank in ranks) * sum(step.reduced)
            taken, held = (mean(rank[name] for rank in ranks) for name in ("step", "held"))
            print(f"{shape.edges} edges, {size} ranks: measured {taken:.2f} s a step,", end="")
            for label, (number, byte, adam) in (("small", known[SMALL]), ("own", known[shape])):
                parts = number * entries * width, (byte * step.passes * 4 + adam) * step.size, sums
                print(
                    f" predicted by the {label} size's constants {sum(parts):.2f} (products, "
                    f"tables, sums: {', '.join(f'{part:.2f}' for part in parts)}), ratio "
                    f"{sum(parts) / taken:.2f};", end=""
                )  # fmt: skip
            print(
                f" by the clock {max(rank['clock'] for rank in ranks):.1f}; memory predicted "
                f"{step.held(False) / 1e9:.2f} GB, measured {held / 1e9:.2f}; sums over ranks as "
                f"counted: {size == 1 or sorted(ranks[0]['sums']) == sorted(step.reduced)}",
                flush=True,
            )


def media(modality: str, folder: Path, count: int) -> list[Item]:
    """Texts of 49 words; grainy JPEGs of 1200 x 900; ten seconds of MP3; videos of 2 to 13 s."""
    rng = np.random.default_rng(0)
    match modality:
        case "text":
            texts = material.texts(count)
            digests = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
            return [Item(str(n), *both) for n, both in enumerate(zip(texts, digests, strict=True))]
        case "image":
            names = material.photographs(folder, count)
            for name in names:
                large = np.asarray(Image.open(folder / name).resize((1200, 900)), np.float32)
                grain = large + rng.normal(scale=6.0, size=large.shape)
                Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(folder / name, quality=88)
        case "audio":
            names = [f"{n}.mp3" for n in range(count)]
            for name in names:
                noise = rng.normal(scale=0.1, size=(441_000, 2)).cumsum(0) / 50
                write_audio(folder / name, noise.clip(-1, 1).astype(np.float32), 44_100, "mp3")
        case _:
            names = material.videos(folder, count)
    return [Item(name, name, sha256_of(folder / name)) for name in names]


class Few(Pool):
    """`count` workers, of which `taken` is the processor time."""

    count, taken = 1, 0.0

    def __init__(self, function: Callable[[Any], Any], seconds: float) -> None:
        super().__init__(function, seconds)
        self.workers = self.workers[: self.count]
        self.idle = SimpleQueue()
        for worker in self.workers:
            self.idle.put(worker)

    def __exit__(self, *about: object) -> None:
        ids = [worker.process.pid for worker in self.workers if worker.process]
        Few.taken = sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in ids)
        super().__exit__(*about)


@dataclass
class Free:
    """An encoder without its network: what the driver does with a batch, and nothing more."""

    whole: Encoder

    def encode(self, batch: list[Any]) -> np.ndarray:
        tokenizer = getattr(self.whole, "tokenizer", None)
        tokenizer.encode_batch(batch) if tokenizer else np.concatenate(batch)
        return np.ones((len(batch), self.whole.width), np.float32)


def stage(encoder: Any, cls: type[Encoder], folder: Path, items: list[Item], workers: int,
          ) -> tuple[float, float, float]:  # fmt: skip
    """The stage's loop, an item: seconds of the driver and of the workers, and by the clock."""
    Few.count, Few.taken = workers, 0.0
    batches = batches_of(items, cls.takes_text, 256 if cls.takes_text else 16)
    with (
        tempfile.TemporaryDirectory() as made,
        mock.patch("pipeline.encoding.decoding.Pool", Few),
        VectorCache(Path(made) / "cache.sqlite", cls.width) as cache,
    ):
        start, clock = time.process_time(), time.perf_counter()
        fill(cache, batches, cls, lambda: encoder, folder, 600.0, reasons := Reasons())
        taken = time.process_time() - start, Few.taken, time.perf_counter() - clock
        assert not reasons.contents and not reasons.items and len(cache) == len(items)
    return tuple(part / len(items) for part in taken)  # type: ignore[return-value]


def measured(name: str, count: int, few: int) -> None:
    cls = encoder_class(name)
    encoder = cls("bundled")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        items = media(cls.modality, folder, count)
        size = mean((folder / i.source).stat().st_size if not cls.takes_text else len(i.source)
                    for i in items)  # fmt: skip
        inputs = [cls.prepare(i.source if cls.takes_text else folder / i.source)
                  for i in items[:few]]  # fmt: skip
        forward = seconds(lambda: encoder.encode(inputs), 3) / few
        with (
            mock.patch("torch.inference_mode", torch.no_grad),  # in which products are not seen
            sdpa_kernel(SDPBackend.MATH),  # whose products are counted
            FlopCounterMode(display=False) as flops,
        ):
            encoder.encode(inputs)
        stage(Free(encoder), cls, folder, items, 1)  # starts what workers are forked from
        driver, decoding, _ = stage(Free(encoder), cls, folder, items, 1)
        found = Media(name, size, decoding, driver, flops.get_total_flops() / few, forward)
        print(f"    {found},", flush=True)
        if name != "vit":
            return
        for label, network, part in (("no network", Free(encoder), count), ("ViT", encoder, few)):
            for workers in (1, 2):
                own, theirs, clock = stage(network, cls, folder, items[:part], workers)
                main = driver + forward * (network is encoder)
                predicted = max(main, decoding / workers)
                print(
                    f"# {label}, {workers} workers, seconds an item: predicted {predicted:.4f}, by "
                    f"the busier side's processor time {max(own, theirs / workers):.4f}, ratio "
                    f"{predicted / max(own, theirs / workers):.2f}, by the clock {clock:.4f}, "
                    f"ratio {predicted / clock:.2f}",
                    flush=True,
                )


def stored() -> Store:
    block, rng = bytes(1 << 27), np.random.default_rng(0)
    hashed = len(block) / seconds(lambda: hashlib.sha256(block).digest(), 3)
    count, width, batch = 20_480, 768, 256
    keys = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(count)]
    vectors = rng.normal(size=(count, width)).astype(np.float32)
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "cache.sqlite"
        with VectorCache(path, width) as cache:
            parts = [slice(n, n + batch) for n in range(0, count, batch)]
            put = seconds(lambda: [cache.put(keys[part], vectors[part]) for part in parts], 1)
            kept = path.stat().st_size / vectors.nbytes
        parquet = Path(made) / "vectors.parquet"
        write_embeddings(parquet, sorted(keys), lambda part: vectors[part], width, {})
        written = parquet.stat().st_size / vectors.nbytes
    ids = [f"{n:09}" for n in range(count)]
    table = pa.table({"item_id": ids, "source": [f"{n}.jpg" for n in ids], "sha256": keys})
    tracemalloc.start()
    items, _ = items_of(table)
    batches = batches_of(items, False, 16)
    held = list({item.sha256: None for item in items}), missing_of(batches, set())
    listed = tracemalloc.get_traced_memory()[1] / len(held[0])
    tracemalloc.stop()
    return Store(hashed, count / put, kept, written, listed)


def encoding() -> None:
    torch.set_num_threads(1)
    for name, count, few in (("minilm", 512, 128), ("vit", 64, 16), ("vggish", 48, 16),
                             ("r2plus1d", 12, 3)):  # fmt: skip
        measured(name, count, few)
    print(f"STORE = {stored()}")


if __name__ == "__main__":
    {"training": training, "encoding": encoding}[sys.argv[1]]()
