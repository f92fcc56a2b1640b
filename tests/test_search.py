"""The search for parameters on functions whose best point is known."""

from math import log2

import pytest

from model.search import Point, climbed

DOUBLED = {"a": 2.0, "b": 2.0}


class Asked:
    """A function that keeps what it was asked."""

    def __init__(self, value: object) -> None:
        self.value, self.points = value, list[Point]()

    def __call__(self, point: Point) -> float:
        self.points.append(dict(point))
        return float(self.value(point))  # type: ignore[operator]


def hill(point: Point) -> float:
    """Highest at a = 8, b = 1/4; what is best of the one depends on the other."""
    a, b = log2(point["a"]) - 3, log2(point["b"]) + 2
    return -(a * a) - b * b - a * b / 2


@pytest.mark.parametrize("start", [(1.0, 1.0), (64.0, 2.0), (8.0, 0.25), (0.5, 0.03125)])
def test_the_top_is_found_and_no_point_is_asked_for_twice(start: tuple[float, float]) -> None:
    asked = Asked(hill)
    assert climbed(dict(zip("ab", start, strict=True)), DOUBLED, asked) == {"a": 8.0, "b": 0.25}
    assert len({tuple(p.values()) for p in asked.points}) == len(asked.points)
    # All that surrounds the top was looked at.
    for around in ((16.0, 0.25), (4.0, 0.25), (8.0, 0.5), (8.0, 0.125)):
        assert dict(zip("ab", around, strict=True)) in asked.points


def test_it_ends_on_the_first_hill() -> None:
    heights = {1.0: 0.0, 2.0: 1.0, 4.0: 0.5, 8.0: 9.0, 0.5: -1.0}
    asked = Asked(lambda point: heights[point["a"]])
    assert climbed({"a": 1.0}, {"a": 2.0}, asked) == {"a": 2.0}
    assert [p["a"] for p in asked.points] == [1.0, 2.0, 4.0]


def test_the_first_step_that_gains_is_taken() -> None:
    asked = Asked(lambda point: {1.0: 0, 3.0: 1, 9.0: 0}.get(point["a"], 0) + 5 * point["b"])
    assert climbed({"a": 1.0, "b": 0.0}, {"a": 3.0, "b": 0.0}, asked) == {"a": 3.0, "b": 1.0}
    assert [tuple(p.values()) for p in asked.points] == [
        (1.0, 0.0), (3.0, 0.0), (9.0, 0.0), (3.0, 1.0), (9.0, 1.0), (1.0, 1.0),
    ]  # fmt: skip


@pytest.mark.parametrize(("best", "found"), [(1, 1), (5, 5), (60, 80)])
def test_an_integer_stays_one(best: int, found: int) -> None:
    asked = Asked(lambda point: -abs(point["k"] - best))
    assert climbed({"k": 20}, {"k": 4.0}, asked) == {"k": found}
    assert all(type(point["k"]) is int and point["k"] >= 1 for point in asked.points)


@pytest.mark.parametrize("start", [0, 0.0, 1.0])
@pytest.mark.parametrize("best", [0.0, 1.0])
def test_a_flag_is_turned_if_that_gains(start: float, best: float) -> None:
    asked = Asked(lambda point: -abs(point["flag"] - best))
    assert climbed({"flag": start}, {"flag": 0.0}, asked) == {"flag": best}
    assert [p["flag"] for p in asked.points] == [start, 1 - start]


def test_what_is_as_good_does_not_move_it_and_what_is_not_sought_stays() -> None:
    asked = Asked(lambda point: 1.0)
    start = {"a": 1.0, "kept": 5.0, "flag": 1.0}
    assert climbed(start, {"a": 2.0, "flag": 0.0}, asked) == start
    assert asked.points == [
        start, start | {"a": 2.0}, start | {"a": 0.5}, start | {"flag": 0.0},
    ]  # fmt: skip
    assert climbed(start, {}, asked) == start
