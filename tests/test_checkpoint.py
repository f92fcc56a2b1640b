"""A fit that is killed goes on where it was, to the same numbers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import catalogue_of, random_interactions
from small import config_of

from model.dataset import Dataset, Modality
from model.experiment import system_class
from model.fitting import Fitter
from model.system import Run, Snapshot
from pipeline.experiments import checkpoint as module
from pipeline.experiments.checkpoint import Checkpoint

CONFIG = config_of("frozen", epochs=6, batch_size=50, patience=6)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN", 0.0)


def cut_off(kept: Checkpoint) -> Snapshot:
    """Leave the state of a fit cut off after its third epoch."""
    train, validation = random_interactions(20, 30, 150, 0), random_interactions(20, 30, 50, 9)
    content = Modality("text", torch.ones(30, 3), torch.ones(30, dtype=torch.bool))
    torch.manual_seed(0)
    catalogue = catalogue_of(train, content)
    model = system_class("frozen")(catalogue, CONFIG)

    def save(snapshot: Snapshot) -> None:
        kept.save(snapshot)
        if len(snapshot.history) == 3:
            raise KeyboardInterrupt

    fitter = Fitter(model, Dataset(catalogue, validation, validation), Run(save=save))  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        fitter.run()
    return fitter.snapshot()


def test_a_saved_state_comes_back_whole(tmp_path: Path) -> None:
    path = tmp_path / "fits/x.safetensors"
    assert Checkpoint(path).load() is None
    state = cut_off(Checkpoint(path))
    back = Checkpoint(path).load()
    assert back is not None
    assert back.history == state.history and back.best_epoch == state.best_epoch
    assert back.tensors.keys() == state.tensors.keys()
    assert all(torch.equal(back.tensors[n], t) for n, t in state.tensors.items())


def test_saves_no_more_often_than_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = cut_off(Checkpoint(tmp_path / "x"))
    kept = Checkpoint(tmp_path / "y")
    monkeypatch.setattr(module, "SECONDS_BETWEEN", 60.0)
    kept.save(state)
    assert not kept.path.exists()
    monkeypatch.setattr(module, "SECONDS_BETWEEN", 0.0)
    kept.save(state)
    assert kept.path.exists()
    first = kept.path.stat().st_mtime_ns
    monkeypatch.setattr(module, "SECONDS_BETWEEN", 60.0)
    kept.save(state)
    assert kept.path.stat().st_mtime_ns == first
    kept.remove()
    assert not kept.path.exists()


CHILD = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from pipeline.experiments import checkpoint
from small import small_experiment, write_workspace
from pipeline.experiments.cells import cell_of
from pipeline.catalogue.workspace import Workspace
checkpoint.SECONDS_BETWEEN = 0.0
old = checkpoint.Checkpoint.load
def load(self):
    state = old(self)
    print("start", len(state.history) if state else 0, flush=True)
    return state
checkpoint.Checkpoint.load = load
cell = cell_of(small_experiment("alpha"), Workspace())
print(cell.path.name, flush=True)
"""


def test_killed_minus_nine(tmp_path: Path) -> None:
    from small import write_workspace

    def run(root: Path, seconds: float | None) -> list[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(tests=str(Path(__file__).parent))],
            cwd=root, env=os.environ | {"DVC_ROOT": str(root)}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert child.stdout is not None
        lines = [child.stdout.readline()]
        if seconds is not None:
            while not list(root.glob(".cache/fits/*.safetensors")) and child.poll() is None:
                time.sleep(0.01)
            time.sleep(seconds)
            child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
        child.wait()
        return lines

    for name in ("whole", "killed"):
        write_workspace(tmp_path / name)
    whole = run(tmp_path / "whole", None)
    starts = []
    for seconds in (0.0, 0.1, 0.05):
        starts.append(int(run(tmp_path / "killed", seconds)[0].split()[1]))
    last = run(tmp_path / "killed", None)
    assert starts[0] == 0 and int(last[0].split()[1]) > 0
    name = whole[1].strip()
    assert last[1].strip() == name
    cells = [tmp_path / root / ".cache/cells" / name for root in ("whole", "killed")]
    assert cells[0].read_bytes() == cells[1].read_bytes()
    assert not list((tmp_path / "killed/.cache/fits").glob("*.safetensors"))
