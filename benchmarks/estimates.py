"""What `pipeline.check` foretells beside what the stages then take: seconds and memory.

    python -m benchmarks.estimates <a raw catalogue> [system,...] [KEY=VALUE ...]

The catalogue is prepared into a temporary folder, checked there with nothing known, and then
encoded and fitted by the stages themselves, each a process of its own, every fit to its last
epoch: early stopping cannot be foretold. Prints predicted and taken of every stage, and the ratio.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.encode import ROOT
from encoders import modalities
from pipeline.common.progress import duration

SYSTEMS = "none,normalized,vbpr,lattice,ease,ials"
UNITS = {"s": 1, "min": 60, "h": 3600, "days": 86_400}


@dataclass(frozen=True)
class Taken:
    """Seconds and bytes of a stage, starting and all; of its largest process."""

    seconds: float
    memory: int


def stage(*arguments: str) -> Taken:
    """Run a stage; what it took, its processes' largest memories together."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(arguments)} failed")
    return Taken(time.perf_counter() - start, usage.ru_maxrss * 1024)


def seconds_of(text: str) -> float:
    """What `duration` wrote."""
    return sum(float(n) * UNITS[unit] for n, unit in re.findall(r"([\d.]+) (h|min|s|days)\b", text))


def configure(dataset: Path, systems: list[str], changes: list[str]) -> None:
    yaml = YAML(typ="safe")
    values = yaml.load(ROOT / "params.yaml")
    values |= {"dataset": str(dataset), "fusion": systems[0]}
    values["study"] |= {"systems": systems, "layers": [2], "seeds": [19], "controls": [],
                        "ablations": [], "processes": 1}  # fmt: skip
    values["layers"], values["seed"] = 2, 19  # the trained model is the study's
    for change in [f"train.patience={values['train']['epochs']}", *changes]:
        dotted, _, value = change.partition("=")
        *parents, last = dotted.split(".")
        place = values
        for parent in parents:
            place = place[parent]
        place[last] = yaml.load(value)
    with open("params.yaml", "w") as file:
        yaml.dump(values, file)


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    dataset = Path(sys.argv[1]).absolute()
    named = [a for a in sys.argv[2:] if "=" not in a]
    changes = [a for a in sys.argv[2:] if "=" in a]
    systems = (named or [SYSTEMS])[0].split(",")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        configure(dataset, systems, changes)
        Path("data/weights").mkdir(parents=True)
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.check", str(dataset)], capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        print(done.stdout, f"check itself took {time.perf_counter() - start:.0f} s", flush=True)
        said = done.stdout.split("to run it")[1].splitlines()
        predicted = {
            line.split(":")[0].strip(): seconds_of(line.rpartition("about ")[2])
            for line in said
            if "about " in line and ":" in line
        }
        memory = float(re.search(r"about ([\d.]+) GB", done.stdout)[1])  # type: ignore[index]
        stage("pipeline.prepare")
        total, peak = [0.0, 0.0], 0
        for name in (*modalities(), *systems):
            kind = "study" if name in systems else "encode"
            taken = stage(f"pipeline.{kind}", name)
            guess = predicted.get(name, 0.0)
            peak = max(peak, taken.memory)
            if name not in predicted:  # no item has it
                continue
            total = [total[0] + guess, total[1] + taken.seconds]
            print(
                f"{name}: {guess:.0f} s foretold, {taken.seconds:.0f} s taken: "
                f"{guess / taken.seconds:.2f}", flush=True,
            )  # fmt: skip
        print(
            f"together: {duration(total[0])} foretold, {duration(total[1])} taken: "
            f"{total[0] / total[1]:.2f}; {memory:.1f} GB foretold, {peak / 1e9:.2f} taken: "
            f"{memory * 1e9 / peak:.2f}"
        )


if __name__ == "__main__":
    main()
