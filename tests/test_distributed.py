"""`world_size`: the stage `train` by several processes of torchrun."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from safetensors.torch import load_file
from small import write_workspace

from pipeline.common.files import InputError
from pipeline.common.params import load
from pipeline.experiments.experiment import Experiment

ROOT = Path(__file__).parents[1]
TESTS = Path(__file__).parent
SMALL = {
    "device": "cpu", "fusion": "frozen", "layers": 2, "seed": 3, "protocol": "refit",
    "train": {"dimension": 8, "epochs": 40, "batch_size": 50, "patience": 40},
}  # fmt: skip
# Keeps every epoch's state; says where it begins; waits after an epoch, to be killed then.
CHILD = """
import sys, time
sys.path.insert(0, {tests!r})
from pipeline.common.command import run_stage
from pipeline.experiments import checkpoint
from pipeline import distributed
checkpoint.SECONDS_BETWEEN = 0.0
old = checkpoint.Checkpoint.load
def load(self):
    state = old(self)
    print("start", len(state.history) if state else 0, flush=True)
    return state
checkpoint.Checkpoint.load = load
run_stage(distributed.reported)
"""


def write_params(root: Path, **changes: Any) -> None:
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    for key, value in (SMALL | changes).items():
        if isinstance(value, dict):
            params[key].update(value)
        else:
            params[key] = value
    yaml.dump(params, root / "params.yaml")


def train(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.train"], cwd=root, text=True, capture_output=True,
        env=os.environ | {"DVC_ROOT": str(root)}, check=False,
    )  # fmt: skip


def metrics(root: Path) -> Any:
    return json.loads((root / "reports/metrics.json").read_text())


def test_two_processes_as_one(tmp_path: Path) -> None:
    found = {}
    for size in (1, 2):
        root = tmp_path / str(size)
        write_workspace(root)
        write_params(root, world_size=size)
        (root / "reports").mkdir()
        done = train(root)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("fitted: best epoch") == 1  # one process speaks for all
        model = load_file(root / "data/models/recommender.safetensors")
        found[size] = metrics(root), model, (root / "data/models/results.csv").read_text()
    (one, alone, _), (two, together, results) = found[1], found[2]
    assert alone.keys() == together.keys() and "refit" in results
    for name, expected in alone.items():
        assert (together[name] - expected).norm() <= 1e-4 * expected.norm()
    (name,) = one
    for split, values in one[name].items():
        assert two[name][split] == pytest.approx(values, abs=1e-3)


def test_killed_and_resumed(tmp_path: Path) -> None:
    def run(root: Path, kill: bool) -> list[str]:
        script = root / "child.py"
        script.write_text(CHILD.format(tests=str(TESTS)))
        child = subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
             str(script)],
            cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=os.environ | {"DVC_ROOT": str(root), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        if kill:
            while not list(root.glob(".cache/fits/*1-of-2.*")) and child.poll() is None:
                time.sleep(0.01)
            workers = subprocess.run(
                ["pgrep", "-P", str(child.pid)], capture_output=True, text=True, check=True
            ).stdout.split()
            os.kill(int(workers[-1]), signal.SIGKILL)
        assert child.stdout is not None
        lines = child.stdout.read().splitlines()
        child.wait()
        return lines

    for name in ("whole", "killed"):
        write_workspace(tmp_path / name)
        write_params(tmp_path / name, world_size=2, protocol="validated", train=SMALL["train"] | {
            "epochs": 60, "patience": 60,
        })  # fmt: skip
    whole, killed = run(tmp_path / "whole", False), run(tmp_path / "killed", True)
    assert whole == ["start 0"] * 2 and killed == ["start 0"] * 2
    assert not list((tmp_path / "killed/.cache/cells").glob("*"))
    resumed = run(tmp_path / "killed", False)
    assert len(set(resumed)) == 1 and int(resumed[0].split()[1]) > 0
    cells = [
        list((tmp_path / name).glob(".cache/cells/*.safetensors")) for name in ("whole", "killed")
    ]
    (one,), (other,) = cells
    assert one.name == other.name and one.read_bytes() == other.read_bytes()
    assert not list((tmp_path / "killed/.cache/fits").glob("*"))


def test_what_is_wrong_is_said_once(tmp_path: Path) -> None:
    write_workspace(tmp_path)
    write_params(tmp_path, world_size=2, train=SMALL["train"] | {"learning_rate": 1e30})
    done = train(tmp_path)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "diverged" in errors[0] and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"world_size": 0}, "world_size: 0 is not valid; valid: at least 1"),
        ({"world_size": 2, "fusion": "ease"}, "2 processes cannot fit ease: it inverts one matrix"),
        (
            {"world_size": 2, "fusion": "blend"},
            "some of its parts are solved in closed form; valid: 1, or",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    write_params(tmp_path, **changes)
    with pytest.raises(InputError, match=said):
        load(tmp_path / "params.yaml")


def test_not_started_by_torchrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.distributed import joined

    with pytest.raises(InputError, match="torchrun has not started"), joined(2, "cpu"):
        pass
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="world_size: 2, but torchrun started 4"), joined(2, "cpu"):
        pass


def test_a_model_is_of_its_number_of_processes(tmp_path: Path, monkeypatch: Any) -> None:
    from pipeline.catalogue.workspace import Workspace
    from pipeline.experiments.kept import used_models

    write_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    prints = []
    for size in (1, 2):
        write_params(tmp_path, world_size=size)
        trained = Experiment.trained(load())
        prints.append(trained.fingerprint(Workspace()))
        assert any(path.stem == prints[-1][:32] for path in used_models())
    assert prints[0] != prints[1]
