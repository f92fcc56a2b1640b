"""What the stage `encode` costs beside the networks that it drives.

    python -m benchmarks.encode bare vit|clip|vggish|r2plus1d [count] [cpu|cuda]
    python -m benchmarks.encode text [count]
    python -m benchmarks.encode unchanged text|image [count]
    python -m benchmarks.encode memory
    python -m benchmarks.encode cache [vectors]
    python -m benchmarks.encode precision

Every figure is a ratio of two things measured in turn in the same run.
"""

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import material
from encoders import encoder_class
from encoders.base import PartsEncoder
from pipeline.common import params, paths
from pipeline.common.device import resolve_precision, reuse_freed_memory
from pipeline.encoding.batches import batches_of
from pipeline.encoding.filling import Reasons, fill
from pipeline.encoding.local_engine import local_engine
from pipeline.encoding.manifest import read_manifest
from pipeline.encoding.vectors import VectorCache
from pipeline.prepare import prepare

ROOT = Path(__file__).parents[1]
ROUNDS = 3


@contextlib.contextmanager
def project(modality: str, make: Callable[[Path], list[str]]) -> Iterator[Path]:
    """An empty project with a prepared catalogue, as the working folder."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            raw = Path("data/raw/sample")
            raw.mkdir(parents=True)
            material.catalogue(raw, modality, make(raw))
            Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
            prepare(raw, params.load().prepare)
            yield raw
        finally:
            os.chdir(before)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bare(name: str, count: int, device: str = "cpu") -> None:
    """The stage's loop, decoding included, against the network on tensors in memory."""
    import torch

    cls = encoder_class(name)
    modality = cls.modality
    makers = {"image": material.photographs, "video": material.videos, "audio": material.sounds}
    encoder = cls("bundled", device, resolve_precision("auto", device, "precision"))
    assert isinstance(encoder, PartsEncoder)
    with project(modality, lambda raw: makers[modality](raw, count)) as raw:
        entry = params.load().encode[modality]
        items, _ = read_manifest(paths.manifest_path(modality))
        batches = batches_of(items, modality == "text", cls.batch_size(entry.batch_size, device))
        tensors: list[torch.Tensor] = []
        keep = encoder.model.register_forward_pre_hook(
            lambda _, args, kwargs: tensors.append((*args, *kwargs.values())[0]), with_kwargs=True
        )
        for batch in batches:
            encoder.encode([cls.prepare(raw / item.source) for item in batch])
        keep.remove()

        def loop(path: Path) -> None:
            engine = local_engine(cls, lambda: encoder, raw, entry.time_limit)
            with VectorCache(path, cls.width) as cache:
                fill(cache, batches, engine, cls.modality, Reasons())

        def forward() -> None:
            with torch.inference_mode(), encoder.autocast():
                for tensor in tensors:
                    encoder.model(tensor)
            if device == "cuda":
                torch.cuda.synchronize()

        loop(Path("warm.sqlite"))  # starts the server that workers are forked from
        pairs = [
            (seconds(forward), seconds(partial(loop, Path(f"{i}.sqlite")))) for i in range(ROUNDS)
        ]
    for alone, whole in pairs:
        print(f"{name}: bare {count / alone:.3f} items/s, stage {count / whole:.3f} items/s")
    ratio = median(alone / whole for alone, whole in pairs)
    print(f"{name}: {count} items, the stage reaches {ratio:.3f} of the bare network (median)")


def text(count: int) -> None:
    """MiniLM: the stage against one by one, and against sentence-transformers' own `encode`."""
    from sentence_transformers import SentenceTransformer

    cls = encoder_class("minilm")
    encoder = cls("bundled")
    theirs = SentenceTransformer(str(cls.packaged.directory), device="cpu")
    sources = material.texts(count)
    with project("text", lambda raw: sources) as raw:
        entry = params.load().encode["text"]
        items, _ = read_manifest(paths.manifest_path("text"))
        batches = batches_of(items, True, entry.batch_size)

        def loop(path: Path) -> None:
            engine = local_engine(cls, lambda: encoder, raw, entry.time_limit)
            with VectorCache(path, cls.width) as cache:
                fill(cache, batches, engine, cls.modality, Reasons())

        few = sources[:: max(1, count // 200)]
        encoder.encode(few[:8])
        theirs.encode(few[:8])
        for turn in range(ROUNDS):
            ours = seconds(lambda: loop(Path(f"{turn}.sqlite"))) / count  # noqa: B023
            library = seconds(lambda: theirs.encode(sources, batch_size=32)) / count
            single = seconds(lambda: [encoder.encode([t]) for t in few]) / len(few)
            print(
                f"text: stage {1 / ours:.1f} items/s, sentence-transformers {1 / library:.1f}, "
                f"one by one {1 / single:.1f}; ratios {library / ours:.2f} and {single / ours:.2f}"
            )


def unchanged(modality: str, count: int) -> None:
    """The stage as a process: all new, nothing new, one item new."""
    make = (lambda raw: material.texts(count)) if modality == "text" else (
        lambda raw: material.photographs(raw, count))  # fmt: skip
    with project(modality, make) as raw:

        def run() -> float:
            command = [sys.executable, "-m", "pipeline.encode", modality]
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            start = time.perf_counter()
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            took = time.perf_counter() - start
            print(done.stderr.strip().splitlines()[-1])
            return took

        first = run()
        again = min(run() for _ in range(ROUNDS))
        with (raw / "items.csv").open("a") as file:
            if modality == "text":
                file.write("999999,one more\n")
            else:
                material.photographs(raw / "..", 1, (300, 300))
                (raw / "../000000.jpg").rename(raw / "new.jpg")
                file.write("999999,new.jpg\n")
        prepare(raw, params.load().prepare)
        one = run()
    print(
        f"{modality}: {count} items: first {first:.1f} s, nothing changed {again:.2f} s "
        f"({100 * again / first:.2f} %), one added {one:.1f} s"
    )


MEMORY = """
import resource
from pipeline import encode
from pipeline.common import params
from benchmarks.tiny import TinyViT
if __name__ == "__main__":
    encode.encoder_class = lambda name: TinyViT
    encode.encode_modality("image", params.load())
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def memory() -> None:
    """Peak memory over ten times the items, before a network of no size: the loop alone is seen."""
    peaks = []
    for count in (1000, 10_000):
        with project("image", lambda raw: material.photographs(raw, count, (96, 96))):  # noqa: B023
            Path("run.py").write_text(MEMORY)
            done = subprocess.run(
                [sys.executable, "run.py"], capture_output=True, text=True,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )  # fmt: skip
            peak = int(done.stdout.split()[0])
            print(f"{count} images: peak {peak / 1024:.0f} MiB")
            peaks.append(peak)
    print(f"ratio {peaks[1] / peaks[0]:.3f}")


def cache(count: int) -> None:
    """A cache of many vectors: bytes and seconds to fill, to look up, to read back in order."""
    width, batch = 384, 256
    keys = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(count)]
    vectors = np.random.default_rng(0).normal(size=(batch, width)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cache.sqlite"
        with VectorCache(path, width) as store:
            filled = seconds(
                lambda: [store.put(part, vectors[: len(part)]) for part in _parts(keys, batch)]
            )
            size = path.stat().st_size
            ordered = sorted(keys)
            look = seconds(lambda: store.present(ordered))
            read = seconds(lambda: [store.get(part) for part in _parts(ordered, 65_536)])
    print(
        f"{count} vectors of {width}: {size / 1e6:.0f} MB on disk, "
        f"{size / (4 * width * count):.3f} of their own bytes; filled in {filled:.1f} s, "
        f"all looked up in {look:.1f} s, read in {read:.1f} s"
    )


def _parts(keys: list[str], size: int) -> list[list[str]]:
    return [keys[i : i + size] for i in range(0, len(keys), size)]


def precision() -> None:
    """bf16 against fp32 on this CPU: speed, and the angle between the vectors."""
    for name in ("minilm", "vit", "vggish", "r2plus1d"):
        cls = encoder_class(name)
        with tempfile.TemporaryDirectory() as folder:
            raw = Path(folder)
            match cls.modality:
                case "text":
                    inputs = [cls.prepare(source) for source in material.texts(32)]
                case "image":
                    inputs = [cls.prepare(raw / n) for n in material.photographs(raw, 16)]
                case "audio":
                    path = material.packaged("pygame", "examples/data/house_lo.wav")
                    inputs = [cls.prepare(path)] * 8
                case _:
                    inputs = [cls.prepare(raw / n)[:1] for n in material.videos(raw, 3)]
        exact, half = cls("bundled"), cls("bundled", precision="bf16")
        a, b = exact.encode(inputs), half.encode(inputs)
        cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        ratios = []
        for _ in range(ROUNDS):
            slow = seconds(lambda: exact.encode(inputs))  # noqa: B023
            ratios.append(slow / seconds(lambda: half.encode(inputs)))  # noqa: B023
        print(
            f"{name}: bf16 {median(ratios):.2f} times as fast as fp32 "
            f"({len(inputs) / slow:.2f} items/s); smallest cosine {cosines.min():.6f}"
        )


def main() -> None:
    reuse_freed_memory()  # for both sides, as the stage does
    match sys.argv[1:]:
        case ["bare", name, *rest]:
            count, device, *_ = *rest, *("64", "cpu")[len(rest) :]
            bare(name, int(count), device)
        case ["text", *count]:
            text(int(count[0]) if count else 1000)
        case ["unchanged", modality, *count]:
            unchanged(modality, int(count[0]) if count else 1000)
        case ["memory"]:
            memory()
        case ["cache", *count]:
            cache(int(count[0]) if count else 1_000_000)
        case ["precision"]:
            precision()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
