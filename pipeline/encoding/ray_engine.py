"""The engine `ray`: decoders and networks as actors of a Ray cluster, fed by Ray Data.

A block of Ray Data is a batch, the same as the engine `local` makes, and results come back to this
process: what was finished lies in the cache here, whatever dies there. An actor that dies is
started again by Ray, and the batches that it had not answered are done again.

`RAY_ADDRESS` names a cluster; without it Ray runs on this machine, as long as the work takes.
"""

from __future__ import annotations

import functools
import logging
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from encoders.base import Encoder
from pipeline.common.device import resolve_device, reuse_freed_memory
from pipeline.common.files import InputError
from pipeline.common.fingerprint import PACKAGES, ROOT
from pipeline.common.places import Place
from pipeline.encoding.decoding import Failed, Prepared, decode, listened, settled
from pipeline.encoding.filling import Engine
from pipeline.encoding.manifest import Item
from pipeline.encoding.network import Encoded, encode_batch
from pipeline.encoding.workers import Pool

# Ray reads these when it is imported: nothing is reported anywhere, and of what its C++ says only
# what ends a process (else, at every start, that actors with arguments may not restart: they do).
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

try:
    import ray
    import ray.data
except ImportError as error:
    raise InputError(
        "params.yaml: engine: 'ray' needs the extra `ray`: pip install -e '.[ray]'; valid: local"
    ) from error

log = logging.getLogger("encode")

COLUMN = "batch"
WORKERS = 4  # decoding processes of an actor, at most: they are forked from one server
# Of a core, as Ray counts, for a decoding process and for a thread of a network beside them.
SHARE = 0.5


def ray_engine(
    cls: type[Encoder],
    weights: str,
    device: str,
    precision: str,
    dataset: Place,
    seconds: float,
) -> Engine:
    """Encode on a cluster, or on this machine under Ray.

    Args:
        cls: the encoder.
        weights, device, precision: of its network, as `Encoder` takes them.
        dataset: where the catalogue lies; a folder lies there on every machine of the cluster.
        seconds: that decoding an item may take.
    """
    if Path(weights).is_dir():
        weights = str(Path(weights).absolute())

    def run(batches: list[list[Item]]) -> Iterator[list[Encoded | Failed]]:
        with cluster():
            sizes = pool_sizes(device, decoding=not cls.takes_text)
            data: ray.data.Dataset = ray.data.from_arrow([packed(batch) for batch in batches])
            if not cls.takes_text:
                arguments = cls, dataset.absolute(), seconds, sizes.workers
                pool = ray.data.ActorPoolStrategy(min_size=sizes.decoders)
                data = mapped(data, Decode, arguments, pool, SHARE * sizes.workers, 0)
            # One on cores counts for less than its threads: where decoders have ended, another
            # would find room, and both wait for each other.
            most = None if sizes.gpus else sizes.networks
            network = cls, weights, device, precision, sizes.threads
            pool = ray.data.ActorPoolStrategy(min_size=sizes.networks, max_size=most)
            data = mapped(data, Forward, network, pool, sizes.cores, sizes.gpus)
            for table in data.iter_batches(batch_size=1, batch_format="pyarrow"):
                yield unpacked(table)

    return run


def mapped(
    data: ray.data.Dataset, actor: type, arguments: tuple[Any, ...],
    pool: ray.data.ActorPoolStrategy, cpus: float, gpus: int,
) -> ray.data.Dataset:  # fmt: skip
    """Every batch through one of the pool's actors, each of so many cores and cards."""
    return data.map_batches(
        actor,
        batch_size=1,
        batch_format="pyarrow",
        compute=pool,
        fn_constructor_args=arguments,
        num_cpus=cpus,
        num_gpus=gpus,
    )


class Decode:
    """An actor that decodes batches of items, each item in a process of its own."""

    def __init__(self, cls: type[Encoder], dataset: Place, seconds: float, workers: int) -> None:
        self.cls, self.dataset = cls, dataset
        self.pool = Pool(functools.partial(decode, cls, dataset), seconds, workers)

    def __call__(self, table: pa.Table) -> pa.Table:
        futures = [(item, self.pool.submit(item)) for item in unpacked(table)]
        return packed(
            [settled(self.cls, self.dataset, item, future.result) for item, future in futures]
        )


class Forward:
    """An actor that holds a network; texts come to it as they are.

    One thread makes the network and calls it, where Ray has two: libgomp keeps threads for each
    that calls it, and where there are more of those than cores, all sleep at every barrier.
    """

    def __init__(
        self, cls: type[Encoder], weights: str, device: str, precision: str, threads: int
    ) -> None:
        self.caller = ThreadPoolExecutor(1)
        self.encoder = self.caller.submit(loaded, cls, weights, device, precision, threads).result()

    def __call__(self, table: pa.Table) -> pa.Table:
        return self.caller.submit(self.encoded, table).result()

    def encoded(self, table: pa.Table) -> pa.Table:
        """What becomes of a batch."""
        cls = type(self.encoder)
        batch: list[Any] = unpacked(table)
        if cls.takes_text:
            batch = [
                settled(cls, Path(), item, functools.partial(listened, cls, item.source))
                for item in batch
            ]
        return packed(encode_batch(self.encoder, batch))


def loaded(cls: type[Encoder], weights: str, device: str, precision: str, threads: int) -> Encoder:
    """The network, of so many threads."""
    import torch

    torch.set_num_threads(threads)
    reuse_freed_memory()
    return cls(weights, device, precision)


def packed(batch: list[Item] | list[Prepared | Failed] | list[Encoded | Failed]) -> pa.Table:
    """A batch as a table of one row, exactly and of any length."""
    return pa.table({COLUMN: pa.array([pickle.dumps(batch, protocol=5)], pa.large_binary())})


def unpacked(table: pa.Table) -> list[Any]:
    """The batch that `packed` took."""
    batch: list[Any] = pickle.loads(table[COLUMN][0].as_buffer())
    return batch


@dataclass(frozen=True)
class Sizes:
    """How many actors a cluster has room for.

    Attributes:
        decoders: actors that decode, of `workers` processes each.
        networks: actors with a network, of `threads` threads each; for Ray an actor takes `cores`
            and `gpus`.
    """

    decoders: int
    workers: int
    networks: int
    threads: int
    cores: float
    gpus: int


def pool_sizes(device: str, decoding: bool) -> Sizes:
    """Sizes for the whole of the cluster that is connected. InputError if it has not what it takes.

    A network has as many threads as it would have in this process: on their number the last bits
    of a vector depend.
    """
    import torch

    # Not what is free: a driver that has just been killed still holds its share.
    total = ray.cluster_resources()
    cpus, gpus = int(total.get("CPU", 0)), int(total.get("GPU", 0))
    if not cpus:
        raise InputError("params.yaml: engine: 'ray' but the cluster has no CPU; valid: local")
    if device == "cuda" and not gpus:  # Ray may be told of fewer than there are
        raise InputError("params.yaml: device: 'cuda' but Ray has no GPU; valid: cpu")
    largest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    threads = torch.get_num_threads()
    counted = min(threads, largest)
    workers = min(WORKERS, largest)
    return Sizes(
        decoders=max(1, cpus // workers),
        workers=workers,
        networks=gpus if device == "cuda" else max(1, cpus // counted),
        threads=threads,
        cores=SHARE if device == "cuda" else (SHARE if decoding else 1.0) * counted,
        gpus=1 if device == "cuda" else 0,
    )


def device_in_cluster(name: str) -> str:
    """As `resolve_device`, where a cluster of several machines has the cards."""
    if "RAY_ADDRESS" not in os.environ or name == "cpu":
        return resolve_device(name)
    with cluster():
        there = ray.cluster_resources().get("GPU", 0) > 0
    if name == "cuda" and not there:
        raise InputError("params.yaml: device: 'cuda' but the cluster has no GPU; valid: auto, cpu")
    return "cuda" if there else "cpu"


@contextmanager
def cluster(**of_local: int) -> Iterator[None]:
    """Be connected to Ray: as this process is already, to RAY_ADDRESS, or to one that is started.

    Args:
        of_local: what one that is started has, `num_cpus` for instance.

    Raises:
        InputError: no cluster is at RAY_ADDRESS.
    """
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "local")
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        options |= {"include_dashboard": False, **of_local}
    else:  # its machines have the libraries of requirements.txt, and this code from here
        options["runtime_env"] = {"py_modules": [str(ROOT / name) for name in PACKAGES]}
    try:
        ray.init(**options)
    except ConnectionError as error:
        raise InputError(
            f"RAY_ADDRESS: no Ray cluster answers at {address!r}, or it asks for a token "
            f"(RAY_AUTH_MODE): {error}"
        ) from error
    try:
        quieten()
        yield
    finally:
        ray.shutdown()


def quieten() -> None:
    """Leave the terminal to the stage's own lines and bar; warnings are still said."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
