"""The engine `ray` beside the engine `local`, on one machine.

    python -m benchmarks.ray_engine mixed      # the same bytes, of 2,000 items of four modalities
    python -m benchmarks.ray_engine kills [kills] [seed]
    python -m benchmarks.ray_engine speed [images] [texts]

`mixed` and `kills` encode with networks of no cost, `speed` with ViT and MiniLM.
"""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from benchmarks import material
from benchmarks.encode import ROOT, project, seconds
from benchmarks.tiny import TINY, TinyViT
from encoders import encoder_class
from encoders.base import Encoder
from encoders.minilm import MiniLM
from pipeline import encode as stage
from pipeline.catalogue.embeddings import Target
from pipeline.common import params, paths
from pipeline.common.device import reuse_freed_memory
from pipeline.encoding import ray_engine
from pipeline.encoding.batches import batches_of
from pipeline.encoding.filling import Engine, Reasons, fill
from pipeline.encoding.local_engine import local_engine
from pipeline.encoding.manifest import read_manifest
from pipeline.encoding.vectors import VectorCache

ROUNDS = 3
COUNTS = {"text": 1400, "image": 500, "audio": 80, "video": 20}
BROKEN = 10  # one file in so many is cut in half
IMAGES = 200  # of a run that is killed


class Slow(TinyViT):
    """Takes its time, and lets a vector show which batch it was made in."""

    def encode(self, batch):
        time.sleep(0.1)
        return super().encode(batch) + np.float32(0.01 * batch[0].mean() + len(batch))


def stage_files(modality: str) -> list[bytes]:
    target = Target.encoded(modality)
    return [path.read_bytes() for path in (target.embeddings, target.failures, target.remarks)]


def make(modality: str, raw: Path) -> list[str]:
    """The sources of a modality, some of them broken or the same as another."""
    count = COUNTS[modality]
    if modality == "text":
        return [*material.texts(count - 2), "\u200b", material.texts(1)[0]]
    makers: dict[str, Callable[[Path, int], list[str]]] = {
        "image": partial(material.photographs, size=(120, 90)),
        "audio": material.sounds,
        "video": material.videos,
    }
    names = makers[modality](raw, count)
    for name in names[::BROKEN]:
        (raw / name).write_bytes((raw / name).read_bytes()[: (raw / name).stat().st_size // 2])
    (raw / names[1]).write_bytes((raw / names[2]).read_bytes())
    return names


def encoder_of(name: str) -> type[Encoder]:
    cls = encoder_class(name)
    return MiniLM if cls.takes_text else TINY[cls.modality]


def mixed() -> None:
    """Both engines' files, modality by modality."""
    stage.encoder_class = encoder_of
    for modality, count in COUNTS.items():
        with project(modality, partial(make, modality)):  # type: ignore[arg-type]
            loaded = params.load()
            entry = replace(loaded.encode[modality], max_failures=1.0)
            loaded = replace(loaded, encode=loaded.encode | {modality: entry})
            made = []
            for engine in ("local", "ray"):
                shutil.rmtree(paths.VECTORS, ignore_errors=True)
                stage.encode_modality(modality, replace(loaded, engine=engine))
                made.append(stage_files(modality))
        failed, remarked = (file.count(b"\n") - 1 for file in made[0][1:])
        same = "identical" if made[0] == made[1] else "DIFFERENT"
        print(f"{modality}: {count} items, {failed} failed, {remarked} with a remark: {same}")
        assert made[0] == made[1]


def child() -> None:
    """One run of the stage under Ray in the working folder."""
    from benchmarks.ray_engine import Slow  # by this name the workers know it too

    loaded = params.load()
    entry = replace(loaded.encode["image"], batch_size=4)
    encode = loaded.encode | {"image": entry}
    stage.encoder_class = lambda name: Slow
    stage.encode_modality("image", replace(loaded, engine="ray", encode=encode))


def start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.ray_engine", "child"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def rows() -> dict[bytes, int]:
    """Content → its row in the cache: a content that is encoded again gets another."""
    for path in paths.VECTORS.glob("*.sqlite"):
        with (
            contextlib.suppress(sqlite3.OperationalError),  # a file without a table yet
            contextlib.closing(sqlite3.connect(path, timeout=60)) as connection,
        ):
            return dict(connection.execute("SELECT key, rowid FROM vectors"))
    return {}


def actors(driver: subprocess.Popen[bytes]) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(driver.pid).children(recursive=True):
        try:
            if " ".join(process.cmdline()).startswith("ray::MapWorker("):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            pass
    return found


def kills(count: int, seed: int) -> None:
    """Runs in which two actors die, then the driver, and that again in the same run's remains."""
    rng = np.random.default_rng(seed)
    drivers = others = runs = same = 0
    with project("image", lambda raw: material.photographs(raw, IMAGES, (60, 40))):
        assert start().wait() == 0
        expected = stage_files("image")
        while drivers + others < count:
            shutil.rmtree(paths.EMBEDDINGS)
            shutil.rmtree(paths.VECTORS)
            for _ in range(2):
                before = rows()
                driver = start()
                for victim in ("actor", "actor", "driver"):
                    goal = len(rows()) + int(rng.integers(1, 20))
                    while driver.poll() is None and len(rows()) < goal:
                        time.sleep(0.02)
                    if driver.poll() is not None:
                        break
                    if victim == "driver":
                        driver.kill()
                        drivers += 1
                    elif running := actors(driver):
                        running[rng.integers(len(running))].kill()
                        others += 1
                driver.wait()
                # What lay in the cache before still does, as it was.
                assert before.items() <= rows().items()
            before = rows()
            assert start().wait() == 0
            assert before.items() <= rows().items() and len(rows()) == IMAGES
            runs += 1
            same += stage_files("image") == expected
            print(f"killed: {drivers} drivers, {others} actors; {same} of {runs} runs the same")
    assert same == runs


def speed(images: int, texts: int) -> None:
    """Items a second of both engines in turn; Ray's with and without what starting takes.

    Of more than one batch each, or of none.
    """
    for name, count, source in (
        ("minilm", texts, lambda _, count: material.texts(count)),
        ("vit", images, material.photographs),
    ):
        cls = encoder_class(name)
        if not count:
            continue
        with project(cls.modality, lambda raw: source(raw, count)) as raw:  # noqa: B023
            entry = params.load().encode[cls.modality]
            items, _ = read_manifest(paths.manifest_path(cls.modality))
            batches = batches_of(items, cls.takes_text, cls.batch_size(entry.batch_size, "cpu"))
            encoder = cls("bundled")
            engines: dict[str, Engine] = {
                "local": local_engine(cls, lambda: encoder, raw, entry.time_limit),  # noqa: B023
                "ray": ray_engine.ray_engine(cls, "bundled", "cpu", "fp32", raw, entry.time_limit),
            }
            middle = [batches[len(batches) // 2]]  # of average length, if it is of texts
            rates: dict[str, list[float]] = {engine: [] for engine in engines}
            for turn in range(ROUNDS):
                for engine, run in engines.items():
                    took = []
                    for part in (middle, batches):
                        path = Path(f"{engine}{turn}-{len(part)}.sqlite")
                        with VectorCache(path, cls.width) as cache:
                            work = partial(fill, cache, part, run, cls.modality, Reasons())
                            took.append(seconds(work))
                    # What starting takes is in both.
                    rest = (count - len(middle[0])) / (took[1] - took[0])
                    rates[engine].append(rest)
                    print(f"{name}, {engine}: {rest:.2f} items/s, {count / took[1]:.2f} with start")
        ratio = median(b / a for a, b in zip(rates["local"], rates["ray"], strict=True))
        print(f"{name}: {count} items, ray reaches {ratio:.3f} of local (median)")


def main() -> None:
    reuse_freed_memory()
    match sys.argv[1:]:
        case ["child"]:
            child()
        case ["mixed"]:
            mixed()
        case ["kills", *rest]:
            count, seed, *_ = *rest, *("30", "0")[len(rest) :]
            kills(int(count), int(seed))
        case ["speed", *rest]:
            images, texts, *_ = *rest, *("160", "4096")[len(rest) :]
            speed(int(images), int(texts))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
