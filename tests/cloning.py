"""The repository in a temporary clone, for real runs of DVC on a small text-only catalogue."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from forking import programs

REPOSITORY = Path(__file__).parents[1]
TOPICS = ["jazz trumpet swing", "ocean reef whale", "robot circuit motor"]


class Clone:
    """A checkout with its own Git and DVC state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, command: str, ok: bool = True, forked: bool = True) -> str:
        """What `command` printed, standard error included; fails if it did not end as `ok` says."""
        front = [programs()] if forked else []
        environment = os.environ | {
            "PATH": ":".join(map(str, [*front, Path(sys.executable).parent, os.environ["PATH"]])),
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


def make_clone(folder: Path) -> Clone:
    """The repository's files as they are now, committed to an empty `folder`'s own Git."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, listed):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    (folder.parent / "gitconfig").write_text("[user]\nname = test\nemail = test@example.org\n")
    made = Clone(folder)
    made.run("git init -q -b main && git add -A && git commit -q -m start")
    return made


def write_catalogue(folder: Path, stride: int = 3) -> None:
    """30 items with texts of three topics; each of 12 users has six items, of one topic if
    `stride` is 3."""
    folder.mkdir(parents=True)
    (folder / "items.csv").write_text(
        "item_id,text\n" + "".join(f"i{n:02},{TOPICS[n % 3]} {n}\n" for n in range(30))
    )
    (folder / "interactions.csv").write_text(
        "user_id,item_id\n"
        + "".join(
            f"u{u},i{(u % 3 + stride * (u + 7 * t)) % 30:02}\n" for u in range(12) for t in range(6)
        )
    )


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
