"""The user's commands, verbatim, in a temporary clone with a small text-only catalogue."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
TOPICS = ["jazz trumpet swing", "ocean reef whale", "robot circuit motor"]
SMALL = [
    "dataset=data/raw/small", "sample.items=8", "sample.users=4", "train.dimension=8",
    "train.epochs=15", "'study.variants=[none,frozen]'", "'study.layers=[0,2]'",
    "'study.seeds=[1,2]'",
]  # fmt: skip


class Clone:
    """A checkout with its own Git and DVC state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, command: str, ok: bool = True) -> str:
        """What `command` printed, standard error included; fails if it did not end as `ok` says."""
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": str(self.folder.parent / "gitconfig"),
            "DVC_NO_ANALYTICS": "1",
            "OMP_NUM_THREADS": "1",  # on a busy machine, waiting threads starve working ones
        }
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert (done.returncode == 0) == ok, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The repository's files as they are now, committed, with a reproduced small catalogue."""
    folder = tmp_path_factory.mktemp("clone") / "repository"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, listed):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    small = folder / "data/raw/small"
    small.mkdir(parents=True)
    (small / "items.csv").write_text(
        "item_id,text\n" + "".join(f"i{n:02},{TOPICS[n % 3]} {n}\n" for n in range(30))
    )
    (small / "interactions.csv").write_text(
        "user_id,item_id\n"
        + "".join(
            f"u{u},i{(u % 3 + 3 * (u + 7 * t)) % 30:02}\n" for u in range(12) for t in range(6)
        )
    )
    (folder.parent / "gitconfig").write_text("[user]\nname = test\nemail = test@example.org\n")
    made = Clone(folder)
    made.run("git init -q -b main && git add -A && git commit -q -m start")
    # As a user would: the parameters are set in the file, reproduced and committed.
    set_params(made, SMALL)
    made.run("dvc repro")
    made.run("git add -A && git commit -q -m small")
    return made


def set_params(clone: Clone, changes: list[str]) -> None:
    from ruamel.yaml import YAML

    yaml = YAML()
    path = clone.folder / "params.yaml"
    data = yaml.load(path)
    for change in changes:
        dotted, value = change.strip("'").split("=", 1)
        *parents, last = dotted.split(".")
        place = data
        for parent in parents:
            place = place[parent]
        place[last] = YAML(typ="safe").load(value)
    yaml.dump(data, path)


def stages_run(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def test_a_second_repro_does_nothing(clone: Clone) -> None:
    output = clone.run("dvc repro")
    assert not stages_run(output) and "up to date" in output


def test_report_is_there(clone: Clone) -> None:
    for name in ("metrics.json", "history.csv", "report.md", "index.html"):
        assert (clone.folder / "reports" / name).stat().st_size > 100
    metrics = json.loads((clone.folder / "reports/metrics.json").read_text())
    assert set(metrics) == {"test", "validation"} and "ndcg@50" in metrics["test"]


def test_an_unknown_variant_fails_at_once_and_lists_the_valid_ones(clone: Clone) -> None:
    start = time.monotonic()
    output = clone.run("dvc exp run -S fusion=bogus", ok=False)
    assert "none, frozen, alpha, unfrozen, normalized" in output
    assert time.monotonic() - start < 60  # seconds on an idle machine
    clone.run("git checkout -q params.yaml dvc.lock")


def test_an_unknown_variant_of_the_study_too(clone: Clone) -> None:
    output = clone.run("dvc exp run -S 'study.variants=[none,bogus]'", ok=False)
    assert "study.variants: 'bogus' is not valid; valid: none, frozen, alpha" in output
    clone.run("git checkout -q params.yaml dvc.lock")


def test_an_unknown_parameter_is_refused(clone: Clone) -> None:
    output = clone.run("dvc exp run -S fuson=frozen", ok=False)
    assert "fuson" in output


def test_another_variant_reruns_only_train_and_report(clone: Clone) -> None:
    output = clone.run("dvc exp run -S fusion=normalized")
    assert stages_run(output) == ["train", "report"]
    difference = json.loads(clone.run("dvc metrics diff --json"))
    changed = difference["reports/metrics.json"]
    assert any(c["diff"] for c in changed.values() if "diff" in c)
    clone.run("git checkout -q . && dvc checkout -q")


def test_force_gives_the_same_bytes(clone: Clone) -> None:
    before = (clone.folder / "dvc.lock").read_text()
    stages = ["prepare", "encode@text", "train", "study@none", "study@frozen", "report"]
    output = clone.run(f"dvc repro --force --single-item {' '.join(stages)}")
    assert stages_run(output) == stages
    assert (clone.folder / "dvc.lock").read_text() == before
