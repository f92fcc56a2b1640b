"""A fit that is killed goes on where it was, and only that very fit."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import catalogue_of, random_interactions

from model.config import Config, Train
from model.features import Modality
from model.fitting import Fitter, State
from model.variants import variant_class
from pipeline import checkpoint as module
from pipeline.checkpoint import Checkpoint

CONFIG = Config(2, Train(dimension=8, epochs=6, batch_size=50, patience=6))
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(module, "SECONDS_BETWEEN", 0.0)


def parts(text: float = 0.0, edges: int = 0):  # type: ignore[no-untyped-def]
    train, validation = random_interactions(20, 30, 150, edges), random_interactions(20, 30, 50, 9)
    content = Modality("text", torch.full((30, 3), text), torch.ones(30, dtype=torch.bool))
    return catalogue_of(train, content), validation


def cut_off() -> State:
    """Leave the state of a fit cut off after its third epoch."""
    catalogue, validation = parts()
    torch.manual_seed(0)
    fitter = Fitter(
        variant_class("frozen")(catalogue, CONFIG), catalogue.train, validation, CONFIG, 0
    )
    kept = Checkpoint("frozen", CONFIG, 0, catalogue, validation, CPU)

    def save(state: State) -> None:
        kept.save(state)
        if len(state.history) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitter.run(save=save)
    return fitter.state()


def test_a_saved_state_comes_back_whole() -> None:
    state = cut_off()
    catalogue, validation = parts()
    back = Checkpoint("frozen", CONFIG, 0, catalogue, validation, CPU).load()
    assert back is not None
    assert back.history == state.history and back.best_epoch == state.best_epoch
    assert back.tensors.keys() == state.tensors.keys()
    assert all(torch.equal(back.tensors[n], t) for n, t in state.tensors.items())


def test_no_other_fit_takes_it_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cut_off()
    same = ("frozen", CONFIG, 0, *parts(), CPU)
    others = [
        ("alpha", *same[1:]),
        ("frozen", replace(CONFIG, layers=1), *same[2:]),
        ("frozen", replace(CONFIG, train=replace(CONFIG.train, learning_rate=0.1)), *same[2:]),
        (*same[:2], 1, *same[3:]),
        (*same[:3], *parts(text=1.0), CPU),
        (*same[:3], *parts(edges=1), CPU),
        (*same[:5], torch.device("cuda")),
    ]
    assert Checkpoint(*same).load() is not None
    for other in others:
        assert Checkpoint(*other).load() is None
    monkeypatch.setattr(module, "MODEL_CODE", tmp_path)  # other code
    assert Checkpoint(*same).load() is None


def test_saves_no_more_often_than_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    state = cut_off()
    catalogue, validation = parts()
    kept = Checkpoint("frozen", CONFIG, 7, catalogue, validation, CPU)
    monkeypatch.setattr(module, "SECONDS_BETWEEN", 60.0)
    kept.save(state)
    assert not kept.path.exists()
    monkeypatch.setattr(module, "SECONDS_BETWEEN", 0.0)
    kept.save(state)
    assert kept.path.exists()
    kept.remove()
    assert not kept.path.exists()


CHILD = """
import sys
import torch
sys.path.insert(0, {tests!r})
from pipeline import checkpoint
from test_checkpoint import CONFIG, CPU, parts
from dataclasses import replace
from model.fitting import Fitter
from model.variants import variant_class
checkpoint.SECONDS_BETWEEN = 0.0
config = replace(CONFIG, train=replace(CONFIG.train, epochs=150, patience=150))
catalogue, validation = parts()
torch.manual_seed(0)
fitter = Fitter(variant_class("alpha")(catalogue, config), catalogue.train, validation, config, 0)
kept = checkpoint.Checkpoint("alpha", config, 0, catalogue, validation, CPU)
if (state := kept.load()) is not None:
    fitter.restore(state)
print("start", len(fitter.history), flush=True)
fitter.run(save=kept.save)
torch.set_printoptions(precision=10, threshold=10**6)
print(fitter.model.item_embedding.sum().item(), fitter.model.alpha, fitter.history[-1])
"""


def test_killed_minus_nine(tmp_path: Path) -> None:
    def run(root: Path, seconds: float | None) -> list[str]:
        environment = os.environ | {"DVC_ROOT": str(root)}
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(tests=str(Path(__file__).parent))],
            env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert child.stdout is not None
        lines = [child.stdout.readline()]
        if seconds is not None:
            time.sleep(seconds)
            child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
        child.wait()
        return lines

    whole = run(tmp_path / "whole", None)
    starts = []
    for seconds in (0.1, 0.2, 0.15):
        starts.append(int(run(tmp_path / "killed", seconds)[0].split()[1]))
    last = run(tmp_path / "killed", None)
    assert starts[0] == 0 and int(last[0].split()[1]) > 0
    assert last[1] == whole[1]
