"""Maps of items: places that do not depend on the machine, and what is drawn of them."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest

from pipeline.report import _label
from pipeline.reporting import maps
from pipeline.reporting import svg as look

RANDOM = np.random.default_rng(0)


def places(vectors: np.ndarray, labels: list[str | None] | None = None) -> np.ndarray:
    items = [f"i{n}" for n in range(len(vectors))]
    table = maps.coordinates("map", "A map", items, vectors, labels)
    return np.array([row[2:] for row in table.rows])


@pytest.mark.parametrize("shape", [(60, 7), (30, 200)], ids=["more items", "more columns"])
def test_the_two_widest_directions_are_found(shape: tuple[int, int]) -> None:
    """Planted: a plane in which x spreads three times as far as y, away from the origin."""
    n, d = shape
    plane, _ = np.linalg.qr(RANDOM.normal(size=(d, 2)))
    planted, _ = np.linalg.qr(RANDOM.normal(size=(n, 3)) + [[10, 0, 0]])
    inside = planted[:, 1:] - planted[:, 1:].mean(0)
    inside[:, 1] -= inside[:, 0] * (inside[:, 0] @ inside[:, 1]) / (inside[:, 0] @ inside[:, 0])
    inside *= [3, 1]
    found = places((inside @ plane.T + 5).astype(np.float32))
    expected = inside / inside[:, 0].std()
    assert np.allclose(abs(found), abs(expected), atol=2e-3)
    assert np.allclose(abs(np.corrcoef(found.T)[0, 1]), 0, atol=1e-3)
    assert all(column[abs(column).argmax()] > 0 for column in found.T)  # the sign is a rule


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        pytest.param(np.zeros((0, 4)), np.zeros((0, 2)), id="no item"),
        pytest.param(np.ones((1, 4)), np.zeros((1, 2)), id="one item"),
        pytest.param(np.ones((5, 4)), np.zeros((5, 2)), id="equal items"),
        pytest.param([[0.0], [2.0]], [[1.0, 0.0], [-1.0, 0.0]], id="one column"),
        pytest.param(
            np.outer([-1.0, 1.0, 3.0], [1.0, 1, 1, 1, 1]),
            np.outer([-1, 0, 1], [1.2247, 0]),
            id="one direction",
        ),
    ],
)
def test_what_has_no_plane_has_a_map(vectors: np.ndarray, expected: np.ndarray) -> None:
    found = places(np.asarray(vectors, dtype=np.float32)).reshape(-1, 2)
    assert np.allclose(found, expected) or np.allclose(found, -np.asarray(expected))


PROGRAM = """
import numpy as np
from pipeline.reporting import maps
for n, d in ((2500, 48), (300, 400)):
    x = np.random.default_rng(n).normal(size=(n, d)).astype(np.float32)
    t = maps.coordinates("m", "", [str(i) for i in range(n)], x, ["a|b", "c"] * (n // 2))
    print(t.rows, maps.drawing(t, "m"))
"""


def test_places_and_drawing_do_not_depend_on_threads() -> None:
    outputs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | {"OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n},
            capture_output=True,
            check=True,
        ).stdout
        for n in ("1", "2")
    ]
    assert len(outputs[0]) > 10_000 and outputs[0] == outputs[1]


def test_many_items_are_drawn_by_a_seeded_choice() -> None:
    items = [f"i{n}" for n in range(3000)]
    vectors = RANDOM.normal(size=(3000, 3)).astype(np.float32)
    first, again, other = (
        maps.coordinates("map", "", items, vectors, None, seed) for seed in (1, 1, 2)
    )
    assert len(first.rows) == maps.POINTS == len(set(first["item_id"]))
    assert first == again != other
    assert first["item_id"] == sorted(first["item_id"], key=lambda name: int(name[1:]))


def test_the_first_label_counts() -> None:
    labels = ["Drama|War", " War ", None, "", "|x"]
    table = maps.coordinates("map", "", list("abcde"), np.eye(5, dtype=np.float32), labels)
    assert table.columns == ("item_id", "label", "x", "y")
    assert table["label"] == ["Drama", "War", "", "", ""]
    assert maps.most_common(["b", "a", "c", "c", "", ""]) == ["c", "a", "b"]
    assert len(maps.most_common([str(n) for n in range(20)])) == 8


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        (pa.array([["Drama", "War"], [], None]), ["Drama", "", ""]),
        (pa.array([3, None, 40]), ["3", "", "40"]),
        (pa.array(["Drama|War", None, ""]), ["Drama", "", ""]),
        (pa.array([[None, "x"], ["y"], ["z"]]), ["", "y", "z"]),
    ],
)
def test_labels_of_any_type_that_parquet_has(column: pa.Array, shown: list[str]) -> None:
    assert [maps.first_of(_label(value)) for value in column.to_pylist()] == shown


@pytest.mark.parametrize("wrong", ["labels", "vectors", "nan"])
def test_what_does_not_fit_is_an_error(wrong: str) -> None:
    vectors = np.ones((3, 2), dtype=np.float32)
    if wrong == "nan":
        vectors[1, 1] = np.nan
    with pytest.raises(ValueError, match=r"^genres: "):
        maps.coordinates(
            "genres",
            "",
            ["a", "b", "c"],
            vectors[:2] if wrong == "vectors" else vectors,
            ["x"] * (2 if wrong == "labels" else 3),
        )


def keys(svg: str) -> list[str]:
    texts = [e.text or "" for e in ET.fromstring(svg[svg.index("<svg") :]).iter()
             if e.tag.endswith("}text")]  # fmt: skip
    return [t for t in texts if t not in ("Text", "first component", "second component")]


def test_labels_are_told_apart_by_mark_and_colour() -> None:
    labels: list[str | None] = [f"genre {n}" for n in range(10) for _ in range(20 - n)]
    n = len(labels)
    vectors = RANDOM.normal(size=(n, 5)).astype(np.float32)
    table = maps.coordinates("map", "", [str(i) for i in range(n)], vectors, labels)
    svg = maps.drawing(table, "Text")
    assert keys(svg) == [*(f"genre {n}" for n in range(8)), "other"]
    assert all(colour in svg for colour in look.PALETTE)
    assert len(re.findall(r"<use ", svg)) >= n  # a point an item
    some = maps.drawing(table, "Text", ["genre 9", "a rather long name of a genre"])
    assert keys(some) == ["genre 9", "other"]  # what has no point has no key
    unlabelled = maps.coordinates("map", "", [str(i) for i in range(n)], vectors)
    assert keys(maps.drawing(unlabelled, "Text")) == []
    assert look.width_of(svg) == look.NARROW


def test_a_label_named_other_is_no_trouble() -> None:
    vectors = RANDOM.normal(size=(4, 5)).astype(np.float32)
    table = maps.coordinates("map", "", list("abcd"), vectors, ["other", "other", "x", "y"])
    assert keys(maps.drawing(table, "Text", ["x", "other"])) == ["x", "other"]
