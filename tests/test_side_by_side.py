"""Fits side by side: the same files as one after another, and errors that reach the user."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from processes import still_running
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

    def fitting() -> list[psutil.Process]:
        """Those that ask for no Ctrl-C any more: then they have asked for their end, too."""
        return [
            child
            for child in psutil.Process(running.pid).children()
            if "--multiprocessing-fork" in child.cmdline()
            and ignored(child.pid) & 1 << signal.SIGINT - 1
        ]

    def ignored(pid: int) -> int:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(re.findall(r"^SigIgn:\s*(\w+)$", status, re.M)[0], 16)

    limit = time.monotonic() + 60
    while len(children := fitting()) < 2 and time.monotonic() < limit:
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    alive = still_running(children, 30)
    running.communicate()
    assert len(children) == 2 and not alive
