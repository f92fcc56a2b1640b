"""Worker processes: what one item does to its worker costs no other item."""

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from processes import running, still_running

from benchmarks.tiny import Trap
from encoders.media import MediaError
from pipeline import encode as stage
from pipeline.catalogue.embeddings import read_embeddings
from pipeline.common import params, paths
from pipeline.common.files import InputError
from pipeline.encoding import workers
from pipeline.encoding.workers import Pool, Worker
from pipeline.prepare import prepare

ROOT = Path(__file__).parents[1]


def obey(order: object) -> object:
    """What the worker processes of these tests run."""
    match order:
        case "pid":
            return os.getpid()
        case "hang":
            time.sleep(600)
        case Path():
            order.write_text(str(os.getpid()))
            time.sleep(600)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "leave":
            os._exit(3)
        case "answer":  # dies long before the last byte
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGKILL)).start()
            return np.ones(400 << 20, np.uint8)
        case "refuse":
            raise MediaError("broken")
        case "fail":
            raise KeyError("x")
        case "grow" | "swell":  # address space that nothing is written to
            return np.empty((3 if order == "grow" else 5) << 30, np.uint8).nbytes
        case float():
            time.sleep(order)
    return order


@pytest.fixture(scope="module")
def worker():
    made = Worker(obey, 3.0)
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("hang", "took longer than 3 s"),
        ("die", "the decoder died of it .SIGKILL."),
        ("leave", "the decoder died of it .exit code 3."),
        ("answer", "the decoder died of it .SIGKILL."),
        ("refuse", "broken"),
        ("fail", "KeyError: 'x'"),
        ("swell", "took more than 4 GiB of memory"),
    ],
)
def test_a_bad_item_costs_itself(worker: Worker, order: str, reason: str) -> None:
    assert worker(1) == 1
    with pytest.raises(MediaError, match=reason):
        worker(order)
    assert worker(2) == 2


def test_a_worker_that_died_idle_costs_no_item(worker: Worker) -> None:
    os.kill(worker("pid"), signal.SIGKILL)
    assert worker.process is not None
    worker.process.join(10)  # on a busy machine it takes a while to die
    assert worker(3) == 3


def test_a_worker_does_not_heed_an_interrupt(worker: Worker) -> None:
    """A terminal sends it to all of its processes; the stage ends its workers itself."""
    pid = worker("pid")
    os.kill(pid, signal.SIGINT)
    time.sleep(0.2)
    assert worker("pid") == pid


def test_an_item_may_take_some_memory(worker: Worker) -> None:
    assert worker("grow") == 3 << 30


def test_an_idle_worker_stays(worker: Worker) -> None:
    pid = worker("pid")
    time.sleep(2.5)  # more than twice an item's limit
    assert worker("pid") == pid


def test_workers_that_do_not_start_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "START", 0.0)
    with pytest.raises(RuntimeError, match="no process for decoding could be started"):
        Worker(obey, 3.0)(1)


def test_workers_are_renewed(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    worker.stop()
    monkeypatch.setattr(workers, "RENEWED", 3)
    pids = [worker("pid") for _ in range(7)]
    assert len(set(pids)) == 3 and pids[0] == pids[2] != pids[3]


def test_a_pool_keeps_everyones_result() -> None:
    with Pool(obey, 20.0) as pool:
        bad = ["refuse"] * len(pool.workers) + ["die"]  # as many as there are workers, and more
        orders = [0.2, *range(30), *bad, 0.1]
        futures = [pool.submit(order) for order in orders]
        results = [future.exception(60) or future.result() for future in futures]
    assert [r for r in results if not isinstance(r, MediaError)] == [0.2, *range(30), 0.1]
    reasons = [str(r) for r in results if isinstance(r, MediaError)]
    assert reasons == ["broken"] * (len(bad) - 1) + ["the decoder died of it (SIGKILL)"]


def test_leaving_a_pool_ends_what_hangs() -> None:
    started = time.monotonic()
    with Pool(obey, 300.0) as pool:
        processes = [psutil.Process(pool.submit("pid").result()) for _ in range(4)]
        hanging: list[Future] = [pool.submit("hang") for _ in range(9)]
        time.sleep(0.5)
    assert time.monotonic() - started < 30
    assert all(future.cancelled() or future.exception() for future in hanging)
    assert not running(processes)


def test_no_worker_outlives_its_stage(tmp_path: Path) -> None:
    """Neither one that is idle nor one that hangs."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom test_workers import obey\n"
        "from pipeline.encoding.workers import Pool, Worker\n"
        "if __name__ == '__main__':\n"
        "    idle, pool = Worker(obey, 3.0), Pool(obey, 3.0)\n"
        "    Path('idle').write_text(str(idle('pid')))\n"
        "    pool.submit(Path('hanging')).exception()\n"
    )
    (tmp_path / "run.py").write_text(code)
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    process = subprocess.Popen(
        [sys.executable, "run.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}
    )
    while not ((tmp_path / "hanging").exists() and (tmp_path / "hanging").read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    names = ("idle", "hanging")
    started = [psutil.Process(int((tmp_path / name).read_text())) for name in names]
    assert running(started) == started
    process.kill()
    process.wait()
    assert not still_running(started, 30)  # the alarm ends a hanging one after twice its limit


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> params.Params:
    """Ten images, four of them traps; three seconds an item."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "encoder_class", lambda name: Trap)
    Path("raw").mkdir()
    names = [*"abcdef", "hangs", "crashes", "swells", "raises"]
    for value, name in enumerate(names):
        Image.new("RGB", (8, 8), (value, 0, 0)).save(f"raw/{name}.png")
    rows = "".join(f"{name},{name}.png\n" for name in names)
    Path("raw/items.csv").write_text(f"item_id,image\n{rows}")
    Path("raw/interactions.csv").write_text("user_id,item_id\nu,a\n")
    loaded = params.load(ROOT / "params.yaml")
    entry = replace(loaded.encode["image"], time_limit=3.0, batch_size=3)
    prepare(Path("raw"), loaded.prepare)
    return replace(loaded, dataset="raw", device="cpu", encode=loaded.encode | {"image": entry})


def test_the_stage_survives_its_decoders(project: params.Params) -> None:
    stage.encode_modality("image", project)
    ids, vectors = read_embeddings(paths.embeddings_path("image"))
    assert ids == list("abcdef")
    assert vectors[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    with paths.failures_path("image").open(newline="") as file:
        reasons = {row["item_id"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons == {
        "crashes": "the decoder died of it (SIGSEGV)",
        "hangs": "decoding took longer than 3 s",
        "raises": "RuntimeError: of no known kind",
        "swells": "decoding took more than 4 GiB of memory",
    }


def test_too_many_failures_end_the_stage(project: params.Params) -> None:
    entry = replace(project.encode["image"], max_failures=0.39)
    strict = replace(project, encode=project.encode | {"image": entry})
    with pytest.raises(InputError) as caught:
        stage.encode_modality("image", strict)
    message = str(caught.value)
    assert message.startswith(
        "image: 4 of 10 items could not be encoded, more than encode.image.max_failures: 0.39"
    )
    assert "SIGSEGV" in message or "took longer" in message
    assert not paths.embeddings_path("image").exists()
    assert paths.failures_path("image").read_text().count("\n") == 5
    entry = replace(entry, max_failures=0.4)
    stage.encode_modality("image", replace(project, encode=project.encode | {"image": entry}))


def test_a_script_is_not_run_again_by_its_workers(tmp_path: Path) -> None:
    """Such as one that asks a recommender, at its top level."""
    script = tmp_path / "script.py"
    script.write_text(
        "from encoders.media.text import read_text\n"
        "from pipeline.encoding.workers import Pool\n"
        "print('begun')\n"
        "with Pool(read_text, 60) as pool:\n"
        "    print(pool.submit(' jazz ').result(), __file__[-9:])\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("begun\njazz script.py\n", "")
