"""The stage `prepare` at scale: time and memory, and that texts do not add to the latter.

    python -m benchmarks.prepare [million interactions] [million items]

Interactions with a long tail, rated and timed, as CSV; items with texts of 10 and of 100 words. The
floor is Arrow reading the same two files and nothing else.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

ROOT = Path(__file__).parents[1]
STAGE = """
import logging, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from pipeline.common.params import load
from pipeline.prepare import prepare
params = load(Path(sys.argv[1]) / "params.yaml").prepare
prepare(Path("raw"), replace(params, split="temporal", min_rating=2.0))
"""
FLOOR = """
import pyarrow.csv as csv
for name in ("items", "interactions"):
    with csv.open_csv(f"raw/{name}.csv", csv.ReadOptions(block_size=1 << 22)) as reader:
        for batch in reader:
            pass
"""


def write_interactions(folder: Path, count: int, items: int) -> None:
    rng = np.random.default_rng(0)
    table = {
        "user_id": rng.integers(0, items, count),
        "item_id": (rng.random(count) ** 2 * items).astype(np.int64),
        "timestamp": rng.integers(1_000_000_000, 1_700_000_000, count),
        "rating": rng.integers(1, 6, count),
    }
    pyarrow.csv.write_csv(pa.table(table), folder / "interactions.csv")


def write_items(folder: Path, items: int, words: int) -> None:
    rng = np.random.default_rng(1)
    known = np.array([f"word{n}" for n in range(5000)])
    with (folder / "items.csv").open("w") as file:
        file.write("item_id,title,text\n")
        for start in range(0, items, 10_000):
            chosen = known[rng.integers(0, len(known), (10_000, words))]
            file.writelines(
                f'{start + n},"Title, {start + n}","{" ".join(row)}"\n'
                for n, row in enumerate(chosen)
            )


def measure(code: str, folder: Path) -> tuple[float, float, float]:
    """Of a process of its own: seconds; GB at the peak, in all and without what files back."""
    start, most, anonymous = time.monotonic(), 0, 0
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(ROOT)], cwd=folder, stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text().split()
        if "RssAnon:" in status:
            most = max(most, int(status[status.index("VmRSS:") + 1]))
            anonymous = max(anonymous, int(status[status.index("RssAnon:") + 1]))
        time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}")
    return time.monotonic() - start, most / 1e6, anonymous / 1e6


def main() -> None:
    millions = [float(argument) for argument in sys.argv[1:]] or [10.0, 1.0]
    count, items = (int(n * 1e6) for n in millions)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "raw").mkdir()
        write_interactions(folder / "raw", count, items)
        for words in (10, 100):
            write_items(folder / "raw", items, words)
            size = sum(os.path.getsize(path) for path in (folder / "raw").iterdir()) / 1e9
            floor, _, _ = measure(FLOOR, folder)
            seconds, peak, anonymous = measure(STAGE, folder)
            print(
                f"{count:,} interactions, {items:,} items of {words} words ({size:.2f} GB): "
                f"{seconds:.0f} s, {seconds / floor:.1f} times reading alone ({floor:.1f} s); "
                f"{peak:.2f} GB at the peak, {anonymous:.2f} GB of them not backed by a file",
                flush=True,
            )


if __name__ == "__main__":
    main()
