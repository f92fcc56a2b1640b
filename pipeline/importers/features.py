"""Which of a source's vectors become which modality's ready-made features."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.catalogue.ready_made import open_array
from pipeline.common.files import InputError


def choose(
    source: Path, found: Iterable[tuple[str, Path]], chosen: Mapping[str, str]
) -> dict[str, Path]:
    """Modality → its file or folder.

    Args:
        source: the source folder.
        found: what lies there, as (modality, path).
        chosen: modality → a path in `source`, from the command line; if there are any, they alone
            are taken.

    Raises:
        InputError: a path is not among what lies there, or a modality has several and none is
            chosen.
    """
    listed = list(found)
    valid = ", ".join(sorted(str(path.relative_to(source)) for _, path in listed)) or "nothing"
    if chosen:
        paths = {modality: source / path for modality, path in chosen.items()}
        for modality, path in paths.items():
            if path not in [p for _, p in listed]:
                raise InputError(f"{modality}={chosen[modality]}: not in {source}; valid: {valid}")
        return paths
    result: dict[str, Path] = {}
    for modality, path in listed:
        if modality in result:
            raise InputError(
                f"{source}: {modality} has several sources of features; choose by "
                f"<modality>=<path> for each modality wanted; valid paths: {valid}"
            )
        result[modality] = path
    return result


def load(path: Path, dimensions: tuple[int, ...]) -> NDArray[np.floating]:
    """Read a NumPy file of numbers with one of the given numbers of dimensions."""
    array = open_array(path)
    if array.ndim not in dimensions or not array.size or array.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: {array.dtype} of shape {array.shape}; numbers of "
            f"{' or '.join(map(str, dimensions))} dimensions are needed"
        )
    return array


def rows_of(
    vectors: Mapping[str, NDArray[np.floating]], ids: list[str], where: str
) -> NDArray[np.float32]:
    """Place item → vector into (items, d); items without a vector get a row of NaN.

    Raises:
        InputError: vectors differ in width, or no item has one; it says `where`.
    """
    widths = {len(vector): item for item, vector in vectors.items()}
    if len(widths) > 1:
        raise InputError(
            f"{where}: vectors of several widths: "
            + ", ".join(f"{width} ({item})" for width, item in sorted(widths.items()))
        )
    matrix = np.full((len(ids), *widths), np.nan, np.float32)
    known = [(row, vectors[item]) for row, item in enumerate(ids) if item in vectors]
    if not known:
        raise InputError(f"{where}: none of the {len(vectors)} vectors is of an item; ids differ")
    for row, vector in known:
        matrix[row] = vector
    return matrix
