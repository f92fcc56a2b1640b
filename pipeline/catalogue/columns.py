"""What the columns of interactions mean: ids, times, ratings and labels of splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.catalogue.names import clean_ids, with_control
from pipeline.catalogue.problems import Problems
from pipeline.common.paths import SPLITS
from pipeline.common.tables import cast, row_name

LABELS = {"0": "train", "1": "validation", "2": "test", "val": "validation", "valid": "validation"}
# What times are written as, the first that fits all of them; nanoseconds end in the year 2262.
KINDS = (pa.int64(), *(pa.timestamp(unit, zone) for unit in ("us", "ns") for zone in (None, "UTC")),
         pa.float64())  # fmt: skip
WHEN = "a number, or an ISO date or time such as 2024-05-31 or 2024-05-31T18:00:00Z"


def ids_of(path: Path, name: str, pieces: list[pa.Array], problems: Problems) -> pa.DictionaryArray:
    """A column of ids, cleaned (`clean_ids`): every id once in the dictionary.

    An index is null where the id is empty, or of no use; the first of those becomes a problem.
    """
    chunks, row = [], 0
    empty: int | None = None
    control: tuple[int, str] | None = None
    for piece in pieces:
        if not pa.types.is_dictionary(piece.type):
            if pa.types.is_nested(piece.type):
                piece = cast(path, name, pa.chunked_array([piece]), pa.string()).combine_chunks()
            piece = piece.dictionary_encode()
        dictionary = whole(piece.dictionary)
        if dictionary.type != pa.string():
            dictionary = cast(path, name, pa.chunked_array([dictionary]), pa.string())
            dictionary = dictionary.combine_chunks()
        cleaned = clean_ids(dictionary)
        # Each id once, and nothing for those that are none.
        values = cleaned.drop_null().unique()
        places = pc.index_in(cleaned, value_set=values)
        indices = places.take(piece.indices)
        if empty is None and indices.null_count:
            empty = row + pc.index(indices.is_valid(), False).as_py()
        bad = with_control(values)
        if control is None and pc.any(bad).as_py():
            which = values.filter(bad)[0].as_py()
            place = pc.index(values, which).as_py()
            control = row + pc.index(indices, pa.scalar(place, indices.type)).as_py(), which
        chunks.append(pa.DictionaryArray.from_arrays(indices, values))
        row += len(piece)
    if empty is not None:
        problems.add(f"{path}: {row_name(path, empty)}: {name} is empty")
    if control is not None:
        problems.add(
            f"{path}: {row_name(path, control[0])}: {name} {control[1]!r} has a control character "
            "inside; an id is a text without tabs, line ends and nulls"
        )
    if not chunks:
        return pa.array([], pa.dictionary(pa.int32(), pa.string()))
    column = pa.chunked_array(chunks).unify_dictionaries()
    dictionary = column.chunk(0).dictionary
    return pa.DictionaryArray.from_arrays(
        pa.concat_arrays([chunk.indices for chunk in column.chunks]), dictionary
    )


def whole(ids: pa.Array) -> pa.Array:
    """Numbers that were whole before a gap made floats of them, as whole numbers again."""
    if not pa.types.is_floating(ids.type):
        return ids
    ids = pc.if_else(pc.is_nan(ids), None, ids)
    try:
        return ids.cast(pa.int64())
    except pa.ArrowInvalid:
        return ids


def times_of(
    path: Path, column: pa.ChunkedArray, problems: Problems
) -> tuple[NDArray[np.int64 | np.uint64] | NDArray[np.float64], bool]:
    """(E,) numbers that sort as the times do, and whether every row has one.

    Whole numbers and times stay whole: nanoseconds since 1970 are too long for floats.
    """
    kind = column.type
    if pa.types.is_string(kind):
        column = pc.utf8_trim_whitespace(column)
        for target in KINDS:
            try:
                column = column.cast(target)
                break
            except pa.ArrowException:
                continue
        else:
            _add_first_unlike(path, column, problems)
            return np.zeros(len(column)), True
    elif pa.types.is_date(kind):
        column = column.cast(pa.timestamp("us"))
    if pa.types.is_uint64(column.type):
        return np.asarray(pc.fill_null(column, 0)), not column.null_count
    if pa.types.is_timestamp(column.type) or pa.types.is_integer(column.type):
        numbers = column.cast(pa.int64())
        times = np.asarray(pc.fill_null(numbers, np.iinfo(np.int64).min))
    else:
        try:
            times = np.asarray(column.cast(pa.float64()), np.float64)
        except (pa.ArrowException, NotImplementedError):
            problems.add(f"{path}: timestamp is {kind}; valid: {WHEN}")
            return np.zeros(len(column)), True
        _add_not_finite(path, "timestamp", column, times, problems, WHEN)
    return times, not column.null_count


def ratings_of(path: Path, column: pa.ChunkedArray, problems: Problems) -> NDArray[np.float64]:
    """(E,) numbers, NaN where there is none."""
    if pa.types.is_string(column.type):
        column = pc.utf8_trim_whitespace(column)
    with problems.gathered():
        column = cast(path, "rating", column, pa.float64())
        ratings = np.asarray(column, np.float64)
        _add_not_finite(path, "rating", column, ratings, problems, "a number, or nothing")
        return ratings
    return np.zeros(len(column))


def splits_of(path: Path, column: pa.ChunkedArray, problems: Problems) -> NDArray[np.int8]:
    """(E,) indices into `SPLITS`; labels in any case, and MMRec's 0, 1 and 2."""
    if not pa.types.is_dictionary(column.type):  # lists and the like
        problems.add(f"{path}: split is {column.type}; valid: {', '.join(SPLITS)} (or 0, 1, 2)")
        return np.zeros(len(column), np.int8)
    labels = column.unify_dictionaries().combine_chunks()
    values = labels.dictionary.to_pylist()
    values = [v.decode(errors="replace") if isinstance(v, bytes) else v for v in values]
    names = [str(value).strip().lower().removesuffix(".0") for value in values]
    names = [LABELS.get(name, name) for name in names]
    codes = [SPLITS.index(name) if name in SPLITS else -1 for name in names]
    indices = np.asarray(pc.fill_null(labels.indices, len(codes)))
    split = np.array([*codes, -1], np.int8)[indices]
    if (split < 0).any():
        row = int(np.argmax(split < 0))
        problems.add(
            f"{path}: {row_name(path, row)}: split {labels[row].as_py()!r} is not valid; valid: "
            f"{', '.join(SPLITS)} (or 0, 1, 2)"
        )
    return split


def _add_first_unlike(path: Path, column: pa.ChunkedArray, problems: Problems) -> None:
    """The first text that is neither what most are, nor anything else that is known."""
    first = None
    for row, value in enumerate(column):
        if not value.is_valid:
            continue
        fitting = [kind for kind in KINDS if _fits(value, kind)]
        shared = fitting if first is None else [kind for kind in first if kind in fitting]
        if not shared:
            problems.add(
                f"{path}: {row_name(path, row)}: timestamp {value.as_py()!r} is not valid"
                f"{' beside those above it' if fitting else ''}; valid: {WHEN}, all of one kind"
            )
            return
        first = shared


def _fits(value: pa.Scalar, kind: pa.DataType) -> bool:
    try:
        value.cast(kind)
    except pa.ArrowException:
        return False
    return True


def _add_not_finite(
    path: Path,
    name: str,
    column: pa.ChunkedArray,
    values: NDArray[np.float64],
    problems: Problems,
    valid: str,
) -> None:
    bad = ~np.isfinite(values) & np.asarray(column.is_valid())
    if bad.any():
        row = int(np.argmax(bad))
        problems.add(
            f"{path}: {row_name(path, row)}: {name} {values[row]} is not valid; valid: {valid}"
        )
