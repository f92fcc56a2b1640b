"""Whether processes have ended, whoever has to take their exit status.

The orphans of a killed stage are handed to the machine's first process. In a container that one
may never ask for their status: they stay in the table as zombies, which run nothing.
"""

import time
from collections.abc import Iterable

import psutil


def running(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if _runs(process)]


def still_running(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that `seconds` have not ended. They are killed, so that they disturb no other test."""
    left, limit = running(processes), time.monotonic() + seconds
    while left and time.monotonic() < limit:
        time.sleep(0.05)
        left = running(left)
    for process in left:
        process.kill()
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
