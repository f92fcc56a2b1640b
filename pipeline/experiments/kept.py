"""What is kept by content under `.cache/`, and what of it the present workspace uses."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.catalogue.embeddings import all_embeddings, metadata_of
from pipeline.catalogue.workspace import Workspace
from pipeline.common import paths
from pipeline.common.files import InputError, abandoned
from pipeline.common.params import load
from pipeline.encoding.vectors import VectorCache, cache_path, count_in, width_of
from pipeline.experiments.cells import cell_path, fit_path
from pipeline.experiments.experiment import Experiment, controls_asked, grid_of
from pipeline.experiments.newcomers import HeldOut

log = logging.getLogger("cache")


def absent() -> list[Path]:
    """The files by which what is in use is known, and that are not there, as amid `dvc repro`."""
    needed = [paths.ITEMS, *(target.embeddings for target in all_embeddings().values())]
    return [path for path in needed if not path.is_file()]


def used_vectors() -> dict[Path, list[str]]:
    """The files behind the present embeddings, and the contents that the manifests name."""
    result = {}
    for modality, target in all_embeddings().items():
        metadata = metadata_of(pq.read_schema(target.embeddings))
        if "fingerprint" in metadata:
            keys = pq.read_table(paths.manifest_path(modality))["sha256"].to_pylist()
            file = cache_path(metadata["encoder"], metadata["fingerprint"])
            result[file] = [key for key in keys if key]
    return result


def used_models() -> set[Path]:
    """Cells that params.yaml asks for, by all stages that fit, and the states of their fits."""
    params, workspace = load(), Workspace()
    asked: set[tuple[str, int | None, int | None, str | None]]
    # Controls at every depth, whichever is selected.
    asked = {
        (system, *cell, control)
        for system in params.study.systems
        for control in (None, *controls_asked(params, system, workspace))
        for cell in grid_of(params, system)
    }
    pairs = [(Experiment.of(params, *each), workspace) for each in asked]
    pairs.append((Experiment.trained(params), workspace))
    pairs += HeldOut(workspace, params).experiments()
    prints = [e.fingerprint(given) for whole, given in pairs for e in (whole, whole.strict)]
    return {path for print_ in prints for path in (cell_path(print_), fit_path(print_))}


def files(folder: Path) -> Iterator[Path]:
    """What lies in one of the caches, temporary files left out."""
    found = sorted(paths.of_repository(folder).glob("*"))
    return (path for path in found if not path.name.startswith("."))


def model_of(path: Path) -> Path:
    """The file by which `used_models` knows what lies at `path`: each process of a fit has one."""
    return path.with_name(f"{path.name.partition('.')[0]}.safetensors")


def prune() -> None:
    """Drop what the present workspace does not use, and what killed processes left behind.

    InputError if the workspace is half built: what it will use is not known then.
    """
    if missing := absent():
        raise InputError(
            f"{missing[0]} is not there: what of .cache this workspace uses is known once it is "
            "built; `dvc repro` first, or remove .cache with all that it holds"
        )
    vectors, models = used_vectors(), used_models()
    for path in files(paths.VECTORS):
        if path.suffix in (".sqlite", ".broken") and path not in vectors and path.exists():
            log.info("removed %s (%.1f MB)", path, path.stat().st_size / 1e6)
            for file in path.parent.glob(f"{path.name}*"):
                file.unlink()
    for path, keys in vectors.items():
        if path.exists():
            with VectorCache(path, width_of(path)) as cache:
                log.info("%s: dropped %d vectors", path, cache.keep_only(keys))
    for path in (*files(paths.CELLS), *files(paths.FITS)):
        if model_of(path) not in models:
            log.info("removed %s (%.1f MB)", path, path.stat().st_size / 1e6)
            path.unlink()
    for folder in (paths.VECTORS, paths.CELLS, paths.FITS):
        for path in paths.of_repository(folder).glob(".*"):
            if abandoned(path):
                log.info("removed %s, which a killed process left", path)
                path.unlink()


def show() -> None:
    """Say what is there, and what of it the present workspace does not use."""
    missing = absent()
    if missing:
        log.info("%s is not there: what is unused is not known", missing[0])
    vectors = {} if missing else used_vectors()
    models = set() if missing else used_models()
    for path in files(paths.VECTORS):
        if path.suffix == ".sqlite":
            unused = "" if missing or path in vectors else ", unused"
            count, megabytes = count_in(path), path.stat().st_size / 1e6
            held = "broken" if count is None else f"{count} vectors"
            log.info("%s: %s, %.1f MB%s", path, held, megabytes, unused)
    downloaded = [p for p in paths.of_repository(paths.DOWNLOADS).rglob("*") if p.is_file()]
    if downloaded:
        megabytes = sum(path.stat().st_size for path in downloaded) / 1e6
        log.info("%s: %d files, %.1f MB", paths.DOWNLOADS, len(downloaded), megabytes)
    for what, folder in {"fitted models": paths.CELLS, "fits under way": paths.FITS}.items():
        if found := list(files(folder)):
            fitted = {model_of(path) for path in found}
            unused = "" if missing else f", {len(fitted - models)} unused"
            megabytes = sum(path.stat().st_size for path in found) / 1e6
            log.info("%s: %d %s, %.1f MB%s", folder, len(fitted), what, megabytes, unused)
