"""Many fits: what is there is kept, the rest is fitted, small ones side by side."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache

from model.config import flatten
from pipeline.catalogue.workspace import Workspace
from pipeline.common import progress
from pipeline.common.command import end_with_parent
from pipeline.common.files import InputError
from pipeline.common.params import Params, load
from pipeline.common.progress import Progress
from pipeline.experiments.cells import Cell, cell_of, is_fitted
from pipeline.experiments.experiment import Experiment

log = logging.getLogger("study")

SMALL = 16 << 20  # bytes of a table of embeddings, up to which a fit gains little by more threads
EACH = 4  # fits that a process must have before its start pays


def cells_of(
    experiments: Sequence[Experiment], name: str, workspace: Workspace, processes: int | None
) -> list[Cell]:
    """The cells of all; progress counts those that were not there.

    Args:
        name: what the log calls them.
        processes: how many may fit at a time; None is one a core, if they are small and many.

    Raises:
        InputError: a fit diverged, or its process died; what was fitted before is kept.
    """
    each = {experiment.fingerprint(workspace): experiment for experiment in experiments}
    missing = [e for e in each.values() if not is_fitted(e, workspace)]
    with Progress(len(missing), name, "models", log) as shown:
        for _ in _fitted(missing, workspace, processes):
            shown.update()
    log.info("%s: %d models, %d of them fitted now", name, len(experiments), len(missing))
    return [cell_of(experiment, workspace) for experiment in experiments]


def _fitted(
    missing: Sequence[Experiment], workspace: Workspace, processes: int | None
) -> Iterator[None]:
    """Fit them; one item for each that is done."""
    count = _automatic(missing, workspace) if processes is None else min(processes, len(missing))
    if count <= 1:
        for experiment in missing:
            cell_of(experiment, workspace)
            yield
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process that has threads may hang
    pool = ProcessPoolExecutor(count, context, _begin, (os.getpid(),))
    try:
        # Only names travel: an experiment's options are of a class that cannot.
        for done in as_completed([pool.submit(_fit, *(e.asked or ())) for e in missing]):
            done.result()
            yield
    except BrokenProcessPool:
        raise InputError(
            "a process that fitted a model died, perhaps for want of memory; "
            "study.processes: 1 fits one at a time"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _automatic(missing: Sequence[Experiment], workspace: Workspace) -> int:
    """One process a core where that is faster, else one."""
    if any(experiment.device != "cpu" for experiment in missing):
        return 1
    rows = workspace.n_users + len(workspace.item_ids)
    widest = max((flatten(e.config).get("train.dimension", 0) for e in missing), default=0)
    if 4 * rows * widest > SMALL:
        return 1
    return min(_cores(), len(missing) // EACH)


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin(parent: int) -> None:
    """A process of the pool: one thread, silent, and gone when the stage is."""
    import torch

    gc.freeze()  # as in `run_stage`: it ends the faster
    torch.set_num_threads(1)
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.WARNING)
    progress.silence()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stage ends when the fits under way have
    end_with_parent(signal.SIGKILL, parent)


def _fit(system: str, layers: int | None, seed: int | None, control: str | None) -> None:
    params, workspace = _given()
    cell_of(Experiment.of(params, system, layers, seed, control), workspace)


@cache
def _given() -> tuple[Params, Workspace]:
    """What a process of the pool reads once."""
    return load(), Workspace()
