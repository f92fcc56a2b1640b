"""What running the pipeline on a catalogue will cost, from short measurements on this machine."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encoders import encoder_class
from encoders.base import Encoder
from encoders.weights import WeightsError
from model.config import REFIT
from model.controls import controls_of
from pipeline.catalogue.ready_made import read_features
from pipeline.catalogue.splits import Selection
from pipeline.catalogue.workspace import interactions_of
from pipeline.common.device import resolve_device, resolve_precision
from pipeline.common.files import InputError
from pipeline.common.params import Params
from pipeline.common.places import Place, mirrored
from pipeline.common.progress import duration
from pipeline.encoding.batches import batches_of, missing_of
from pipeline.encoding.filling import Reasons, fill
from pipeline.encoding.local_engine import local_engine
from pipeline.encoding.manifest import Item, read_manifest
from pipeline.encoding.raw_media import description_of, fingerprint_of
from pipeline.encoding.vectors import VectorCache, cache_path, present_in
from pipeline.experiments.experiment import Experiment, grid_of

if TYPE_CHECKING:
    from model.dataset import Dataset, Modality

PROBED = {True: 512, False: 6}  # items that are encoded to measure: texts, files
LIMIT = 15.0  # seconds that measuring a system may take
EPOCHS = 2  # of a fit that is measured; the faster counts


class _TooLong(Exception):
    """A measurement took longer than `LIMIT`."""


def costs(
    selection: Selection, dataset: Place, manifests: Mapping[str, Path], params: Params
) -> Iterator[str]:
    """Lines that say what is to be encoded and fitted, and about how long that takes.

    Args:
        selection: what of the catalogue takes part.
        dataset: where it lies.
        manifests: modality → its manifest, as `write_manifest` writes it.
        params: what would be run.
    """
    total, start = 0.0, _start()
    widths: dict[str, tuple[int, list[Item]]] = {}
    for modality, path in manifests.items():
        items, metadata = read_manifest(path)
        if not items:
            continue
        if features := metadata.get("features"):
            widths[modality] = read_features(mirrored(dataset) / features).shape[1], items
            yield f"{modality}: ready-made, nothing to encode"
            continue
        cls = encoder_class(params.encode[modality].encoder)
        widths[modality] = cls.width, items
        line, seconds = _encoding(cls, items, dataset, params, start)
        total += seconds
        yield line
    data = _dataset(selection, widths)
    models: dict[str, Model] = {}
    for system in dict.fromkeys((params.fusion, *params.study.systems)):
        models[system] = _measured(system, data, params)
        stages = (system == params.fusion) + (system in params.study.systems)
        line, seconds = _fitting(system, models[system], data, params, stages * start)
        total += seconds
        yield line
    seconds, count = start, 0
    held_out = params.newcomers.items and params.newcomers.users
    for system in params.newcomers.systems if held_out else ():
        model = models.get(system) or _measured(system, data, params)
        # Without the new items; without the new users, and, to compare, with them.
        count += 3
        seconds += 3 * model.seconds
    total += seconds
    yield f"newcomers: {count} models to fit, about {duration(seconds)}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    yield (
        f"in all about {duration(total)} at most (early stopping ends most fits sooner), and the "
        f"report, on {resolve_device(params.device)} with {os.cpu_count()} cores; about "
        f"{peak * unit / 1e9:.1f} GB of memory"
    )


def _encoding(
    cls: type[Encoder], items: list[Item], dataset: Place, params: Params, start: float
) -> tuple[str, float]:
    """What is to be encoded of a modality, in words, and its seconds with the stage's start."""
    entry = params.encode[cls.modality]
    device = resolve_device(params.device)
    precision = resolve_precision(entry.precision, device, f"encode.{cls.modality}.precision")
    try:
        found = cls.find(params.weights)
    except WeightsError as error:
        raise InputError(f"params.yaml: weights: {error}") from error
    metadata = description_of(cls, device, precision)
    kept = cache_path(cls.name, fingerprint_of(cls, found, metadata))
    contents = list({item.sha256: None for item in items if item.sha256})
    known = present_in(kept, contents)
    todo = [item for batch in missing_of([items], known) for item in batch if item.sha256]
    said = f"{cls.modality}: {len(todo):,} to encode by {cls.name}"
    if known:
        said += f", {len(known):,} known"
    if not todo:
        return said, 0.0
    probe = todo[:: max(1, len(todo) // PROBED[cls.takes_text])][: 1 + PROBED[cls.takes_text]]
    encoder = cls(params.weights, device, precision)
    measured = probe[1:] or probe
    with (
        tempfile.TemporaryDirectory() as folder,
        VectorCache(Path(folder) / "probe.sqlite", cls.width) as cache,
    ):
        engine = local_engine(cls, lambda: encoder, dataset, entry.time_limit)
        # The first warms it up.
        fill(cache, [probe[:1]], engine, cls.modality, Reasons())
        begun = time.perf_counter()
        batches = batches_of(measured, cls.takes_text, cls.batch_size(entry.batch_size, device))
        fill(cache, batches, engine, cls.modality, Reasons())
        each = (time.perf_counter() - begun) / len(measured)
    seconds = start + each * len(todo)
    return f"{said}: {each:.2g} s each, about {duration(seconds)}", seconds


def _start() -> float:
    """Seconds until a stage's process has imported what it fits with."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import model.experiment, pipeline.study"], check=True)
    return time.perf_counter() - begun


@dataclass(frozen=True)
class Model:
    """What a model of a system takes, at most.

    Attributes:
        seconds: from its first draw to its evaluation.
        epoch, epochs: seconds of an epoch, and how many there are; one where a fit has none.
        least: whether an epoch takes longer than was waited for.
    """

    seconds: float
    epoch: float
    epochs: int
    least: bool = False


def _measured(system: str, data: Dataset, params: Params) -> Model:
    """A model of the deepest that a system has, fitted for a few epochs."""
    import torch

    from model.experiment import build, evaluate_splits, fit, system_class
    from model.system import Run

    deepest = max(params.layers, *params.study.layers)
    epochs = Experiment.of(params, system, deepest, params.seed).config.epochs
    short = replace(params, train=replace(params.train, epochs=min(epochs, EPOCHS)))
    experiment = Experiment.of(short, system, deepest, params.seed)
    if not experiment.config.options.content:
        data = data.without_content()
    device, took = torch.device(experiment.device), list[float]()
    begun = time.perf_counter()
    try:
        with _at_most(LIMIT):
            model = build(system_class(system), data.catalogue, experiment.config, params.seed)
            run = Run(params.seed, on_epoch=lambda row, seconds: took.append(seconds))
            fit(model, data, run, device)
            evaluate_splits(data.to(device), model.scorer())
    except _TooLong:
        epoch = min(took, default=LIMIT)
        return Model(epoch * epochs, epoch, epochs, least=not took)
    whole = time.perf_counter() - begun
    if epochs == 1:  # closed forms, iterations of one's own
        return Model(whole, whole, 1)
    return Model(whole - sum(took) + epochs * min(took), min(took), epochs)


def _fitting(
    system: str, model: Model, data: Dataset, params: Params, start: float
) -> tuple[str, float]:
    """What is to be fitted of a system, in words, and its seconds at most, `start` with them."""
    grid = grid_of(params, system) if system in params.study.systems else []
    reads = params.systems[system].reads
    own = (
        params.layers if "layers" in reads else None, params.seed if "seed" in reads else None,
    )  # fmt: skip
    cells = len({*grid, *([own] if system == params.fusion else [])})
    if grid:
        options, study = params.systems[system], params.study
        names = [modality.name for modality in data.catalogue.modalities]
        controls = controls_of(options, study.controls, study.ablations, names)
        if options.without_content in study.systems and "no_content" in controls:
            controls.remove("no_content")  # another system's cells
        cells += len(controls) * len({seed for _, seed in grid})
    said = f"{system}: {cells} model{'s' if cells > 1 else ''} to fit"
    if params.protocol == REFIT and len(data.validation):
        said, cells = f"{said}, each twice", 2 * cells
    seconds = start + cells * model.seconds
    if model.least:
        return f"{said}: more than {LIMIT:g} s an epoch, over {duration(seconds)}", seconds
    each = f"{model.epoch:.2g} s" + (
        f" an epoch, {model.epochs} at most" if model.epochs > 1 else ""
    )
    return f"{said}: {each}, about {duration(seconds)}", seconds


def _dataset(selection: Selection, widths: dict[str, tuple[int, list[Item]]]) -> Dataset:
    """The catalogue with random vectors in place of those that are not there yet."""
    from model.dataset import Catalogue, Dataset

    size = len(selection.user_ids), len(selection.items.ids)
    splits = {name: interactions_of(table, *size) for name, table in selection.splits.items()}
    modalities = [
        _random_modality(name, width, items, selection) for name, (width, items) in widths.items()
    ]
    return Dataset(Catalogue(splits["train"], modalities), splits["validation"], splits["test"])


def _random_modality(name: str, width: int, items: list[Item], selection: Selection) -> Modality:
    import torch

    from model.dataset import Modality

    ids = selection.items.ids
    present = np.asarray(pc.is_in(ids, value_set=pa.array([item.item_id for item in items])))
    vectors = torch.randn(len(ids), width, generator=torch.Generator().manual_seed(0))
    there = torch.from_numpy(present.copy())
    return Modality(name, vectors * there[:, None], there)


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise `_TooLong` in the block when the time is over."""

    def stop(*_: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
