"""`world_size`: the stage `train` by several processes of torchrun."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from safetensors.torch import load_file
from small import write_workspace

from model.ranks import Ranks
from pipeline.catalogue.workspace import Workspace
from pipeline.common.command import INTERRUPTED
from pipeline.common.files import InputError
from pipeline.common.params import load
from pipeline.experiments.cells import fit_missing
from pipeline.experiments.experiment import Experiment

ROOT = Path(__file__).parents[1]
TESTS = Path(__file__).parent
SMALL = {
    "device": "cpu", "fusion": "frozen", "layers": 2, "seed": 3, "protocol": "refit",
    "train": {"dimension": 8, "epochs": 40, "batch_size": 50, "patience": 40},
}  # fmt: skip
# Keeps every epoch's state; says where it begins; the second process may die before it has kept
# that of epoch 5, which the first has.
CHILD = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pipeline.common.command import run_stage
from pipeline.experiments import checkpoint
from pipeline import distributed
checkpoint.SECONDS_BETWEEN = 0.0
load, save = checkpoint.Checkpoint.load, checkpoint.Checkpoint.save
def told(self):
    state = load(self)
    # One write a line: those of two processes in one pipe do not mix.
    os.write(1, f"start {{len(state.history) if state else 0}}\\n".encode())
    return state
def killed(self, snapshot):
    if (os.environ["RANK"], len(snapshot.history)) == ({rank!r}, 5):
        self.ranks.agreed(True)
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, snapshot)
checkpoint.Checkpoint.load, checkpoint.Checkpoint.save = told, killed
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


def processes(root: Path, dies: str = "") -> tuple[int, list[str]]:
    """Two that fit in `root`, of which one may die: how that ends, and what they say."""
    script = root / "child.py"
    script.write_text(CHILD.format(tests=str(TESTS), rank=dies))
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*run, str(script)], cwd=root, capture_output=True, text=True, check=False,
        env=os.environ | {"DVC_ROOT": str(root), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return done.returncode, done.stdout.splitlines()


def test_killed_and_resumed(tmp_path: Path) -> None:
    settings = SMALL["train"] | {"epochs": 8, "patience": 8}
    for name in ("whole", "killed"):
        write_workspace(tmp_path / name)
        write_params(tmp_path / name, world_size=2, protocol="validated", train=settings)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert processes(whole) == (0, ["start 0"] * 2)
    assert processes(killed, dies="1") == (1, ["start 0"] * 2)
    kept = sorted(path.name.partition(".")[2] for path in killed.glob(".cache/fits/*"))
    assert kept == [f"0-of-2.{n}.safetensors" for n in (4, 5)] + ["1-of-2.4.safetensors"]
    assert not list(killed.glob(".cache/cells/*"))
    assert processes(killed) == (0, ["start 4"] * 2)
    cells = [list(root.glob(".cache/cells/*.safetensors")) for root in (whole, killed)]
    (one,), (other,) = cells
    assert one.name == other.name and one.read_bytes() == other.read_bytes()
    assert not list(killed.glob(".cache/fits/*"))


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


class Others(Ranks):
    """The first of two processes, of which the other comes with something else."""

    def all(self, value: Any) -> list[Any]:
        return [value, f"not {value}"]


def test_processes_that_were_given_something_else(tmp_path: Path, monkeypatch: Any) -> None:
    write_workspace(tmp_path)
    write_params(tmp_path, world_size=2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="differ in parameters, data, code"):
        fit_missing(Experiment.trained(load()), Workspace(), Others(0, 2))


def test_interrupted(tmp_path: Path) -> None:
    write_workspace(tmp_path)
    settings = SMALL["train"] | {"epochs": 100_000, "patience": 100_000}
    write_params(tmp_path, world_size=2, train=settings)
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline.train"], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"DVC_ROOT": str(tmp_path)},
    )  # fmt: skip
    assert child.stderr is not None
    said = ""
    while "fitted by 2 processes" not in said:
        said += child.stderr.readline()
    child.send_signal(signal.SIGINT)
    said = child.stderr.read()
    assert child.wait() == INTERRUPTED
    assert said.endswith("interrupted; what was finished is kept\n")


def test_files_of_several_processes_are_one_fit(
    tmp_path: Path, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from pipeline.experiments import kept

    caplog.set_level("INFO")
    write_workspace(tmp_path)
    write_params(tmp_path, world_size=2)
    monkeypatch.chdir(tmp_path)
    name = Experiment.trained(load()).strict.fingerprint(Workspace())[:32]
    Path(".cache/fits").mkdir(parents=True)
    files = [Path(f".cache/fits/{name}.{rank}-of-2.30.safetensors") for rank in (0, 1)]
    other = Path(f".cache/fits/{'0' * 32}.0-of-2.30.safetensors")
    for path in (*files, other):
        path.write_bytes(b"")
    kept.show()
    assert "2 fits under way, 0.0 MB, 1 unused" in caplog.text
    kept.prune()
    assert all(path.is_file() for path in files) and not other.exists()


def test_not_started_by_torchrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.distributed import joined

    with pytest.raises(InputError, match="torchrun has not started"), joined(2, "cpu"):
        pass
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="world_size: 2, but torchrun started 4"), joined(2, "cpu"):
        pass


def test_a_model_is_of_its_number_of_processes(tmp_path: Path, monkeypatch: Any) -> None:
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
