"""The stage `encode`, killed at random moments, ends with the bytes of an uninterrupted run.

    python -m benchmarks.kills [kills] [seed]

`tests/test_cache.py` runs a short version.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np

from benchmarks.encode import ROOT, project
from benchmarks.material import photographs
from benchmarks.tiny import TinyViT
from pipeline import encode as stage
from pipeline.common import params, paths

IMAGES = 120


class Slow(TinyViT):
    """Takes its time, and lets a vector show which batch it was made in."""

    def encode(self, batch):
        time.sleep(0.1)
        return super().encode(batch) + np.float32(0.01 * batch[0].mean() + len(batch))


def child() -> None:
    """One run of the stage in the working folder."""
    from benchmarks.kills import Slow  # by this name the workers know it too

    loaded = params.load()
    entry = replace(loaded.encode["image"], batch_size=4)
    stage.encoder_class = lambda name: Slow
    print("ready", flush=True)
    stage.encode_modality("image", replace(loaded, encode=loaded.encode | {"image": entry}))


def start() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.kills", "child"]
    process = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def outcome() -> tuple[bytes, bytes]:
    return paths.embeddings_path("image").read_bytes(), paths.failures_path("image").read_bytes()


def main() -> None:
    kills = int(sys.argv[1]) if sys.argv[1:] else 100
    rng = np.random.default_rng(int(sys.argv[2]) if sys.argv[2:] else 0)
    same = done = runs = 0
    with project("image", lambda raw: photographs(raw, IMAGES, (60, 40))):
        began = time.monotonic()
        assert start().wait() == 0
        whole = time.monotonic() - began
        expected = outcome()
        while done < kills:
            shutil.rmtree(paths.EMBEDDINGS)
            shutil.rmtree(paths.VECTORS)
            for _ in range(4):  # again and again in the same run's remains
                process = start()
                time.sleep(rng.uniform(0, whole))
                done += process.poll() is None
                process.send_signal(signal.SIGKILL)
                process.wait()
            assert start().wait() == 0
            runs += 1
            same += outcome() == expected
    print(f"{done} kills in {runs} runs: {same} runs ended byte-identical")
    assert same == runs


if __name__ == "__main__":
    child() if sys.argv[1:] == ["child"] else main()
