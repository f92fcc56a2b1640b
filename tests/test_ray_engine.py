"""The engine `ray`: the bytes of the engine `local`, and nothing finished is lost.

One cluster of two cores for the whole module, that ends with it.
"""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from colour_encoder import Unhurried
from PIL import Image
from processes import running, still_running

from benchmarks.tiny import Trap
from encoders.minilm import MiniLM
from pipeline import encode as stage
from pipeline.catalogue.embeddings import Target, read_embeddings
from pipeline.common import params, paths
from pipeline.common.files import InputError
from pipeline.encoding.vectors import VectorCache
from pipeline.prepare import prepare

ROOT = Path(__file__).parents[1]
PYTHONPATH = os.pathsep.join([str(ROOT), str(ROOT / "tests")])


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster that this process is connected to."""
    from pipeline.encoding import ray_engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", PYTHONPATH)  # of the cluster's processes
        with ray_engine.cluster(num_cpus=2, object_store_memory=128 << 20):
            yield ray_engine.ray.get_runtime_context().gcs_address
            started = processes()
    assert not still_running(started, 30)


def processes() -> list[psutil.Process]:
    """The cluster's: actors, their decoders, and what started them."""
    [raylet] = [p for p in psutil.Process().children() if p.name() == "raylet"]
    return [raylet, *raylet.children(recursive=True)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> params.Params:
    """An empty project; a batch is of three images or texts, decoding may take three seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    Path("raw").mkdir()
    loaded = params.load(ROOT / "params.yaml")
    encode = {
        name: replace(entry, batch_size=3, time_limit=3.0, max_failures=1.0)
        for name, entry in loaded.encode.items()
    }
    return replace(loaded, dataset="raw", device="cpu", encode=encode)


def write(column: str, rows: dict[str, str], project: params.Params) -> None:
    with open("raw/items.csv", "w", newline="") as file:
        csv.writer(file).writerows([("item_id", column), *rows.items()])
    Path("raw/interactions.csv").write_text(f"user_id,item_id\nu,{next(iter(rows))}\n")
    prepare(Path("raw"), project.prepare)


def write_images(count: int, project: params.Params) -> None:
    for value in range(count):
        Image.new("RGB", (8, 8), (value, 2 * value, 255 - value)).save(f"raw/{value:02}.png")
    write("image", {f"i{value:02}": f"{value:02}.png" for value in range(count)}, project)


def encoded(modality: str, project: params.Params, engine: str) -> list[bytes]:
    """The stage's files, made with an empty cache."""
    shutil.rmtree(paths.VECTORS, ignore_errors=True)
    return resumed(modality, project, engine)


def resumed(modality: str, project: params.Params, engine: str) -> list[bytes]:
    target = Target.encoded(modality)
    stage.encode_modality(modality, replace(project, engine=engine))
    return [path.read_bytes() for path in (target.embeddings, target.failures, target.remarks)]


def test_the_engines_write_the_same_bytes(
    project: params.Params, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of good files, broken and dangerous ones, of one that changed and of one that is twice."""
    monkeypatch.setattr(stage, "encoder_class", lambda name: Trap)
    names = [*"abcdef", "hangs", "crashes", "raises", "changed"]
    for value, name in enumerate(names):
        Image.new("RGB", (8, 8), (value, 0, 0)).save(f"raw/{name}.png")
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    Image.fromarray(noise).save("raw/whole.jpg")
    Path("raw/cut.jpg").write_bytes(Path("raw/whole.jpg").read_bytes()[:-2])
    Path("raw/none.png").write_bytes(b"no image")
    rows = {name: f"{name}.png" for name in [*names, "none", "missing"]}
    write("image", rows | {"cut": "cut.jpg", "a2": "a.png", "out": "../a.png"}, project)
    Image.new("RGB", (8, 8), "white").save("raw/changed.png")
    files = encoded("image", project, "local")
    assert encoded("image", project, "ray") == files
    ids, vectors = read_embeddings(paths.embeddings_path("image"))
    assert ids == ["a", "a2", "b", "c", "cut", "d", "e", "f"]
    assert vectors[[0, 1, 2, 7], 0].tolist() == [0, 0, 1, 5]
    with paths.failures_path("image").open(newline="") as file:
        reasons = {row["item_id"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons == {
        "changed": "the file has changed since it was prepared; run `dvc repro`",
        "crashes": "the decoder died of it (SIGSEGV)",
        "hangs": "decoding took longer than 3 s",
        "missing": "no such file",
        "none": "not an image of a known format",
        "out": "the path leads out of the dataset folder",
        "raises": "RuntimeError: of no known kind",
    }
    assert b"the end of the JPEG is missing" in files[2]


def test_texts_too(project: params.Params, address: str) -> None:
    assert stage.encoder_class("minilm") is MiniLM
    texts = ["cars", "the sea, " * 40, "\u200b x", "jazz", "a long night", "cars"]
    write("text", {f"t{n}": text for n, text in enumerate(texts)}, project)
    assert encoded("text", project, "local") == encoded("text", project, "ray")


def kill(actor: str) -> None:
    """End one of the cluster's processes that run `actor`."""
    title = f"ray::MapWorker(MapBatches({actor}))"
    alive = running(processes())
    [process, *_] = [p for p in alive if " ".join(p.cmdline()).startswith(title)]
    process.kill()


def test_kills_lose_and_double_nothing(
    project: params.Params, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First of a driver, a process that RAY_ADDRESS brings to the cluster; then of both actors."""
    monkeypatch.setattr(stage, "encoder_class", lambda name: Unhurried)
    write_images(27, project)
    files = encoded("image", project, "local")
    [kept] = paths.VECTORS.glob("*.sqlite")
    shutil.rmtree(paths.VECTORS)
    for path in paths.EMBEDDINGS.iterdir():
        path.unlink()
    Path("drive.py").write_text(
        "from dataclasses import replace\nfrom pathlib import Path\n"
        "from colour_encoder import Unhurried\nfrom pipeline import encode\n"
        "from pipeline.common import params\n"
        f"p = params.load(Path({str(ROOT / 'params.yaml')!r}))\n"
        "e = p.encode | {'image': replace(p.encode['image'], batch_size=3)}\n"
        "p = replace(p, dataset='raw', device='cpu', encode=e, engine='ray')\n"
        "encode.encoder_class = lambda name: Unhurried\n"
        "encode.encode_modality('image', p)\n"
    )
    environment = os.environ | {"PYTHONPATH": PYTHONPATH, "RAY_ADDRESS": address}
    driver = subprocess.Popen([sys.executable, "drive.py"], env=environment)
    finished: set[str] = set()
    while len(finished) < 6:
        assert driver.poll() is None
        time.sleep(0.02)
        if kept.is_file():
            with VectorCache(kept, Unhurried.width) as cache:
                finished = {key.hex() for (key,) in cache.connection.execute(
                    "SELECT key FROM vectors")}  # fmt: skip
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert not paths.embeddings_path("image").exists()
    stored: list[str] = []
    put = VectorCache.put

    def put_and_kill(self, keys, vectors, remarks=None):
        put(self, keys, vectors, remarks)
        stored.extend(keys)
        if len(stored) in (3, 9):
            kill({3: "Decode", 9: "Forward"}[len(stored)])

    monkeypatch.setattr(VectorCache, "put", put_and_kill)
    assert resumed("image", project, "ray") == files
    assert len(stored) >= 9 and not finished & {*stored}
    assert len(stored) == len({*stored})


def test_without_the_extra(project: params.Params, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(3, project)
    monkeypatch.delitem(sys.modules, "pipeline.encoding.ray_engine", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"engine: 'ray' needs the extra `ray`: .*; valid: local"):
        encoded("image", project, "ray")
