"""Fits side by side: the same files as one after another, and errors that reach the user."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from small import write_workspace

ROOT = Path(__file__).parents[1]


def workspace(folder: Path, processes: int | None, **train: float) -> Path:
    """A small prepared catalogue whose params.yaml asks for twelve models of `none`."""
    folder.mkdir()
    write_workspace(folder)
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params["device"] = "cpu"
    params["train"].update({"dimension": 8, "epochs": 4} | train)
    params["study"].update(
        systems=["none"], layers=[0, 1, 2], seeds=[1, 2, 3, 4], processes=processes
    )
    yaml.dump(params, folder / "params.yaml")
    return folder


def study(folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"DVC_ROOT": str(folder), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.study", "none"],
        cwd=folder, env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_the_same_files_as_one_after_another(tmp_path: Path) -> None:
    found = []
    for name, processes in {"one": 1, "two": 2, "automatic": None}.items():
        folder = workspace(tmp_path / name, processes)
        _, said = study(folder).communicate()
        assert "none: 12 models, 12 of them fitted now" in said
        files = sorted((folder / "data/study/none").iterdir())
        cells = sorted((folder / ".cache/cells").glob("*.safetensors"))
        assert len(cells) == 12
        found.append({file.name: file.read_bytes() for file in (*files, *cells)})
    assert found[0] == found[1] == found[2]


def test_what_goes_wrong_in_a_process_is_said_as_ever(tmp_path: Path) -> None:
    running = study(workspace(tmp_path / "wild", 2, learning_rate=1e30))
    _, said = running.communicate()
    assert running.returncode == 1
    assert "error: none K=" in said and "diverged" in said and "Traceback" not in said


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_no_process_outlives_a_killed_stage(tmp_path: Path) -> None:
    folder = workspace(tmp_path / "killed", 2, epochs=100_000, patience=100_000)
    running = study(folder)

    def theirs() -> list[int]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                where, line = (process / "cwd").resolve(), (process / "cmdline").read_bytes()
            except OSError:  # it has ended meanwhile
                continue
            if where == folder.resolve() and b"spawn_main" in line:
                found.append(int(process.name))
        return found

    def wait(count: int) -> None:
        limit = time.monotonic() + 60
        while len(theirs()) != count and time.monotonic() < limit:
            time.sleep(0.05)
        assert len(theirs()) == count

    wait(2)
    time.sleep(3)  # they ask for their end after their imports
    running.send_signal(signal.SIGKILL)
    running.communicate()
    wait(0)
