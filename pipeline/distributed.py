"""What the stage `train` fits, by `world_size` processes of torchrun; the first keeps the model.

    torchrun --standalone --nproc-per-node 2 -m pipeline.distributed

`train` starts this where `world_size` is above 1 and the model is not there yet. On several
machines it is started by hand, on each of them; `dvc repro` on the first then finds the model.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed as dist
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, record
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from model.ranks import Ranks
from pipeline.catalogue.workspace import Workspace
from pipeline.common import progress
from pipeline.common.command import end_with_parent, run_stage
from pipeline.common.device import reuse_freed_memory
from pipeline.common.files import InputError
from pipeline.common.params import load
from pipeline.experiments.cells import fit_missing
from pipeline.experiments.experiment import Experiment

log = logging.getLogger("train")


def start(world_size: int) -> None:
    """Have this module run by `world_size` processes on this machine.

    InputError says which of them ended too soon, and why.
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // world_size)))
    folder = tempfile.TemporaryDirectory(prefix="processes-")
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=world_size,
        run_id=str(os.getpid()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,  # what is wrong stays so; a fit that was cut off goes on when run again
        logs_specs=DefaultLogsSpecs(log_dir=folder.name),
    )
    try:
        with folder:
            elastic_launch(config, sys.executable)("-m", __name__)
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        sys.exit(128 + error.sigval)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        said = failure.message  # a mapping, if the process could still say it
        text = str(said["message"] if isinstance(said, dict) else said)
        kind, _, message = text.partition(": ")
        if kind != InputError.__name__:
            message = f"process {rank} of {world_size} has ended: {text}"
        raise InputError(message) from None


@contextmanager
def joined(world_size: int, device: str) -> Iterator[Ranks]:
    """This process among those that torchrun started.

    InputError if it did not start it, or not so many, or a process lacks a card of its own.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        raise InputError("torchrun has not started this process; `python -m pipeline.train` does")
    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if ranks.size != world_size:
        raise InputError(
            f"params.yaml: world_size: {world_size}, but torchrun started {ranks.size} processes"
        )
    if device == "cuda":
        local, cards = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= cards:
            raise InputError(
                f"params.yaml: world_size: {world_size}: {cards} cards are here, and process "
                f"{local + 1} of this machine has none; valid: {cards}, or device: cpu"
            )
        torch.cuda.set_device(local)
    # What is not on a card yet, gloo adds up.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo")
    try:
        yield ranks
    finally:
        dist.destroy_process_group()


@record
def main() -> None:
    """Fit as one of the processes."""
    end_with_parent(signal.SIGTERM)  # not to be left fitting where that was killed
    if os.environ.get("RANK", "0") != "0":
        logging.disable(logging.WARNING)  # the first process speaks for all
        progress.silence()
    reuse_freed_memory()
    params = load()
    experiment, workspace = Experiment.trained(params), Workspace()
    if params.world_size > (n_users := workspace.dataset.catalogue.n_users):
        raise InputError(
            f"params.yaml: world_size: {params.world_size} processes for {n_users} users; "
            f"valid: at most {n_users}"
        )
    with joined(params.world_size, experiment.device) as ranks:
        log.info("%s: fitted by %d processes", experiment.label, ranks.size)
        fit_missing(experiment, workspace, ranks)


def reported() -> None:
    """Leave it to torchrun to say, once for all processes, what the user got wrong."""
    try:
        main()
    except InputError:
        if "TORCHELASTIC_ERROR_FILE" not in os.environ:
            raise
        sys.exit(1)


if __name__ == "__main__":
    run_stage(reported)
