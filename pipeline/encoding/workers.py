"""Decoders in processes of their own: a file that hangs, crashes or swallows memory costs itself.

A worker runs one item at a time. One that dies or overruns its time is replaced; so is one that
has run many items, since decoders leak. Each has a pipe of its own: in `pebble.ProcessPool`, whose
workers share one, a worker that dies while it is idle or answers stops all (benchmarks/RESULTS.md).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from math import ceil
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from encoders.media import MediaError

MEMORY = 4 << 30  # bytes that a worker may take for an item
NICENESS = 19  # the network goes first: decoding is ahead of it anyway
RENEWED = 1000  # items after which a worker is replaced
START = 300.0  # seconds that a worker's imports may take
# Imported once, by the server that every worker is forked from: what decoders import when they
# are first called.
PRELOADED = ("torch", "torchaudio.functional", "PIL.Image", "av", "decord",
             "pipeline.encoding.decoding")  # fmt: skip

_starting = threading.Lock()


class Worker:
    """A process that runs `function` on one argument at a time, for at most `seconds` each."""

    def __init__(self, function: Callable[[Any], Any], seconds: float) -> None:
        self.function = function
        self.seconds = seconds
        self.process: BaseProcess | None = None  # started when first called

    def __call__(self, argument: Any) -> Any:
        """The function's result. MediaError if it raised, died, or took too long."""
        if self.process is None or not self.process.is_alive():  # killed while it was idle
            self.stop()
            self.start()
        try:
            self.connection.send(argument)
            if not self.connection.poll(self.seconds):
                self.stop()
                raise MediaError(f"decoding took longer than {self.seconds:g} s")
            done, result = self.connection.recv()
        except (EOFError, OSError):
            code = self.stop()
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise MediaError(f"the decoder died of it ({name})") from None
        self.count += 1
        if self.count == RENEWED:
            self.stop()
        if not done:
            raise MediaError(result)
        return result

    def start(self) -> None:
        """Have a process forked. RuntimeError if it does not come up."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))
        self.connection, theirs = context.Pipe()
        arguments = theirs, self.function, self.seconds
        process = context.Process(target=serve, args=arguments, daemon=True)
        try:
            with _no_main():
                process.start()
            theirs.close()
            up = self.connection.poll(START) and self.connection.recv()
        except (EOFError, OSError):
            up = False
        if not up:
            raise RuntimeError("no process for decoding could be started")
        self.process = process
        self.count = 0

    def kill(self) -> None:
        """End the process at once; a call that waits for it then fails."""
        if self.process is not None:
            self.process.kill()

    def stop(self) -> int:
        """End the process; its exit code, 0 if there is none."""
        if self.process is None:
            return 0
        self.connection.close()  # a worker that is alive and idle ends of this
        self.process.join(0.1)
        self.process.kill()
        self.process.join()
        code, self.process = self.process.exitcode, None
        return code or 0


def serve(connection: Connection, function: Callable[[Any], Any], seconds: float) -> None:
    """A worker's life: answer each argument with (True, result) or (False, reason)."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    torch.set_num_threads(1)
    statm = Path("/proc/self/statm")
    if statm.exists():
        taken = int(statm.read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, hard))
    connection.send(True)
    while True:
        try:
            argument = connection.recv()
        except EOFError:  # the stage has gone
            return
        signal.alarm(ceil(2 * seconds))  # ends even a worker that nobody waits for any more
        try:
            answer = True, function(argument)
        except MediaError as error:
            answer = False, str(error)
        except MemoryError:
            answer = False, f"decoding took more than {MEMORY >> 30} GiB of memory"
        except Exception as error:
            answer = False, f"{type(error).__name__}: {error}"
        signal.alarm(0)
        connection.send(answer)


@contextlib.contextmanager
def _no_main() -> Iterator[None]:
    """Start processes that do not run the program's main module again.

    They need none of it; a script that asks a recommender outside of `if __name__ == "__main__"`
    would start over in each of them, and one from standard input is in no file.
    """
    main = sys.modules["__main__"]
    with _starting:
        names = [name for name in ("__spec__", "__file__") if name in vars(main)]
        kept: dict[str, Any] = {name: vars(main).pop(name) for name in names}
        main.__spec__ = None
        try:
            yield
        finally:
            vars(main).update(kept)


class Pool:
    """`count` workers, by default as many as there are cores; threads hand them their arguments."""

    def __init__(
        self, function: Callable[[Any], Any], seconds: float, count: int | None = None
    ) -> None:
        count = count or os.cpu_count() or 1
        self.workers = [Worker(function, seconds) for _ in range(count)]
        self.idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in self.workers:
            self.idle.put(worker)
        self.threads = ThreadPoolExecutor(count)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
        for worker in self.workers:
            worker.kill()
        self.threads.shutdown()
        for worker in self.workers:
            worker.stop()

    def submit(self, argument: Any) -> Future[Any]:
        """The function's result, later. See `Worker.__call__` for what it raises."""
        return self.threads.submit(self._run, argument)

    def _run(self, argument: Any) -> Any:
        worker = self.idle.get()
        try:
            return worker(argument)
        finally:
            self.idle.put(worker)
