"""Slices of users and items: cases by hand, and what holds for any counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.evidence.slices import Slice, history_slices, popularity_slices


def repeated(sizes: dict[int, int]) -> np.ndarray:
    """Counts of interactions, shuffled: as many of each as `sizes` says."""
    counts = np.repeat(list(sizes), list(sizes.values())).astype(np.int64)
    return np.random.default_rng(0).permutation(counts)


def shown(slices: list[Slice]) -> list[tuple[str, int]]:
    return [(s.name, int(s.members.sum())) for s in slices]


def test_history_in_quarters_and_cold_apart() -> None:
    history = repeated({0: 7} | dict.fromkeys(range(1, 13), 10))
    assert shown(history_slices(history)) == [
        ("0 (cold)", 7),
        ("1–3", 30),
        ("4–6", 30),
        ("7–9", 30),
        ("10+", 30),
    ]
    cold, first, *_ = history_slices(history)
    np.testing.assert_array_equal(cold.members, history == 0)
    np.testing.assert_array_equal(first.members, (history >= 1) & (history <= 3))


def test_users_of_equal_history_stay_together() -> None:
    # Most have 5: they are one group, and what is left makes up equal ones.
    assert shown(history_slices(repeated({5: 60, 6: 20, 7: 20, 9: 20}))) == [
        ("5", 60),
        ("6", 20),
        ("7", 20),
        ("9", 20),
    ]


def test_a_remnant_makes_no_group() -> None:
    # An equal share is 25: 1 user, and 2, are fewer than half of it.
    assert shown(history_slices(repeated({1: 1, 2: 99}))) == [("1+", 100)]
    assert shown(history_slices(repeated({1: 98, 2: 2}))) == [("1+", 100)]
    assert shown(history_slices(repeated({1: 24, 2: 76}))) == [("1", 24), ("2", 76)]


def test_few_users_make_few_groups() -> None:
    assert shown(history_slices(np.arange(1, 40))) == [("1+", 39)]
    assert shown(history_slices(np.arange(1, 41))) == [("1–20", 20), ("21+", 20)]
    assert shown(history_slices(np.array([3, 3]))) == [("3", 2)]
    assert shown(history_slices(np.array([0, 0]))) == [("0 (cold)", 2)]
    assert history_slices(np.array([], np.int64)) == []


def test_popularity_in_thirds_of_the_interactions() -> None:
    # 40 + 20 of 180 interactions; 6 items of 10; 60 in items of up to 4.
    popularity = repeated({40: 1, 20: 1, 10: 6, 4: 10, 2: 5, 1: 10, 0: 3})
    slices = popularity_slices(popularity)
    assert shown(slices) == [
        ("cold: 0 users", 3),
        ("head: 20–40 users", 2),
        ("middle: 10 users", 6),
        ("tail: 1–4 users", 25),
    ]
    assert [popularity[s.members].sum() for s in slices] == [0, 60, 60, 60]


def test_few_popularities_make_few_slices() -> None:
    assert shown(popularity_slices(repeated({2: 5, 1: 10}))) == [
        ("head: 2 users", 5),
        ("tail: 1 user", 10),
    ]
    assert shown(popularity_slices(repeated({3: 9}))) == [("warm: 3 users", 9)]
    assert shown(popularity_slices(repeated({0: 4}))) == [("cold: 0 users", 4)]
    assert popularity_slices(np.array([], np.int64)) == []


def test_one_item_that_nearly_all_use_is_the_head() -> None:
    assert shown(popularity_slices(repeated({100: 1, 3: 10, 2: 10}))) == [
        ("head: 100 users", 1),
        ("tail: 2–3 users", 20),
    ]


@pytest.mark.parametrize("divide", [history_slices, popularity_slices])
def test_a_negative_count_is_an_error(divide) -> None:
    with pytest.raises(ValueError, match="at least 0, not -1"):
        divide(np.array([3, -1]))


@pytest.mark.parametrize("divide", [history_slices, popularity_slices])
@settings(deadline=None)
@given(counts=arrays(np.int64, st.integers(0, 200), elements=st.integers(0, 30)))
def test_every_one_is_in_one_slice_and_ties_are_together(divide, counts: np.ndarray) -> None:
    slices = divide(counts)
    assert all(s.members.any() for s in slices)
    assert len({s.name for s in slices}) == len(slices) <= 5
    belongs = sum((s.members.astype(int) for s in slices), np.zeros(len(counts), int))
    assert (belongs == 1).all()
    groups = [set(counts[s.members]) for s in slices]
    assert sum(map(len, groups)) == len(set(counts))
