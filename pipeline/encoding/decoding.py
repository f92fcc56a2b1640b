"""Items decoded ahead of the network: files in worker processes, texts in a thread."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders.base import Encoder
from encoders.media import MediaError, reason_of, remarks
from pipeline.common.files import inside, sha256_of
from pipeline.common.places import Place, fetched
from pipeline.encoding.manifest import Item
from pipeline.encoding.workers import Pool

UNFETCHED = "cannot be fetched"  # begins the reason for which a file is not here
AHEAD = 2  # batches that are decoded while one is in the network


@dataclass(frozen=True)
class Prepared:
    """An item as its encoder takes it, and what its decoder remarked."""

    item: Item
    input: Any
    remark: str


@dataclass(frozen=True)
class Failed:
    """An item without a vector, and why: its content is to blame, or only this item's file."""

    item: Item
    reason: str
    of_content: bool


def locate(dataset: Place, source: str) -> Place:
    """The file that `source` names. MediaError if it lies outside the dataset folder."""
    try:
        return dataset / inside(source)
    except ValueError as error:
        raise MediaError(str(error)) from error


@contextmanager
def opened(dataset: Place, source: str) -> Iterator[Path]:
    """The file that `source` names, on this machine as long as the block runs.

    MediaError if it lies outside the dataset folder, or cannot be fetched.
    """
    file = locate(dataset, source)
    with ExitStack() as stack:
        try:
            path = stack.enter_context(fetched(file))
        except FileNotFoundError:
            raise MediaError("no such file") from None
        except OSError as error:
            raise MediaError(f"{UNFETCHED}: {reason_of(error)}") from error
        yield path


def has_content(path: Path, sha256: str) -> bool:
    """Whether there is a file whose bytes have that sha256."""
    try:
        return path.is_file() and sha256_of(path) == sha256
    except OSError:
        return False


def is_current(dataset: Place, item: Item) -> bool:
    """Whether the item's file still is the one in the manifest."""
    try:
        with opened(dataset, item.source) as path:
            return has_content(path, item.sha256)
    except MediaError:
        return False


def listened(cls: type[Encoder], source: str | Path) -> tuple[Any, list[str]]:
    """What `cls.prepare` makes of a text or file, and what is remarked meanwhile."""
    with remarks() as said:
        return cls.prepare(source), said


def decode(cls: type[Encoder], dataset: Place, item: Item) -> tuple[Any, list[str]]:
    """As `listened`, of the item's file, if it still is the one in the manifest."""
    changed = MediaError("the file has changed since it was prepared; run `dvc repro`")
    with opened(dataset, item.source) as path:
        try:
            result = listened(cls, path)
        except MediaError:
            if item.sha256 and path.is_file() and not has_content(path, item.sha256):
                raise changed from None
            raise
        if not has_content(path, item.sha256):  # nor was it there, if it has no sha256
            raise changed
    return result


def settled(
    cls: type[Encoder], dataset: Place, item: Item, result: Callable[[], tuple[Any, list[str]]]
) -> Prepared | Failed:
    """What became of decoding `item`: `result` returns it, or raises MediaError."""
    try:
        made, said = result()
    except MediaError as error:
        read = not str(error).startswith(UNFETCHED)
        return Failed(item, str(error), cls.takes_text or (read and is_current(dataset, item)))
    return Prepared(item, made, "; ".join(said))


def ahead(
    batches: list[list[Item]], submit: Callable[[Item], Future[Any]]
) -> Iterator[list[tuple[Item, Future[Any]]]]:
    """Each batch with its items' futures, submitted at most `AHEAD` batches early."""
    waiting: deque[list[tuple[Item, Future[Any]]]] = deque()
    for batch in batches:
        waiting.append([(item, submit(item)) for item in batch])
        if len(waiting) > AHEAD:
            yield waiting.popleft()
    yield from waiting


def prepared(
    batches: list[list[Item]], cls: type[Encoder], dataset: Place, seconds: float
) -> Iterator[list[tuple[Item, Future[Any]]]]:
    """Each batch with the futures of `listened`, an item each; files go to worker processes."""
    if cls.takes_text:
        with ThreadPoolExecutor(1) as thread:
            yield from ahead(batches, lambda item: thread.submit(listened, cls, item.source))
    else:
        with Pool(functools.partial(decode, cls, dataset), seconds) as pool:
            yield from ahead(batches, pool.submit)
