"""How interactions are divided: nothing leaks, nothing is lost, and it is said what was done."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.catalogue.splits import core, leave_one_out, split_by_moment
from pipeline.common import paths
from pipeline.common.files import InputError
from pipeline.common.params import SPLIT_KINDS, Prepare
from pipeline.prepare import prepare

PARAMS = Prepare(seed=3, split="random", validation=0.2, test=0.2)
U, I, E = 40, 30, 600  # noqa: E741


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """600 interactions, many of them repeats, and the current directory beside their folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "raw"
    folder.mkdir()
    pq.write_table(pa.table({"item_id": [f"i{n:02}" for n in range(I)]}), folder / "items.parquet")
    rng = np.random.default_rng(0)
    columns = {
        "user_id": [f"u{n:02}" for n in rng.integers(0, U, E)],
        "item_id": [f"i{n:02}" for n in (rng.random(E) ** 2 * I).astype(int)],
        "timestamp": rng.integers(0, 400, E),  # with ties
    }
    pq.write_table(pa.table(columns), folder / "interactions.parquet")
    return folder


def rows(raw: Path) -> list[tuple[str, str, int]]:
    table = pq.read_table(raw / "interactions.parquet")
    return list(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))


def divided(raw: Path, **changes: object) -> dict[str, set[tuple[str, str]]]:
    """Split → (user, item) ids."""
    prepare(raw, replace(PARAMS, **changes))  # type: ignore[arg-type]
    users = pq.read_table(paths.USERS)["user_id"].to_pylist()
    items = pq.read_table(paths.ITEMS)["item_id"].to_pylist()
    return {
        split: {
            (users[row["user"]], items[row["item"]])
            for row in pq.read_table(paths.split_path(split)).to_pylist()
        }
        for split in paths.SPLITS
    }


@pytest.mark.parametrize("kind", SPLIT_KINDS)
def test_no_pair_is_in_two_splits_and_none_is_lost(raw: Path, kind: str) -> None:
    parts = divided(raw, split=kind)
    assert set.union(*parts.values()) == {(u, i) for u, i, _ in rows(raw)}
    assert sum(map(len, parts.values())) == len(set.union(*parts.values()))
    assert all(parts.values())
    before = {split: paths.split_path(split).read_bytes() for split in paths.SPLITS}
    divided(raw, split=kind)
    assert before == {split: paths.split_path(split).read_bytes() for split in paths.SPLITS}


def first_times(raw: Path) -> dict[tuple[str, str], int]:
    """When a user first met an item."""
    times: dict[tuple[str, str], int] = {}
    for user, item, time in rows(raw):
        times[user, item] = min(time, times.get((user, item), time))
    return times


def test_nothing_of_the_future_is_trained_on(raw: Path) -> None:
    times = first_times(raw)
    parts = divided(raw, split="temporal_global")
    of = {split: [times[pair] for pair in pairs] for split, pairs in parts.items()}
    assert max(of["train"]) < min(of["validation"]) and max(of["validation"]) < min(of["test"])
    assert len(of["test"]) <= 0.2 * len(times) < len(of["test"]) + 10  # ties stay together
    for kind in ("temporal", "leave_one_out"):
        parts = divided(raw, split=kind)
        for user in {user for user, _ in times}:
            own = [[times[p] for p in parts[s] if p[0] == user] for s in paths.SPLITS]
            for early, late in zip(own[:-1], own[1:], strict=True):
                assert not early or not late or max(early) <= min(late)


def test_a_repeat_counts_where_it_came_first(raw: Path) -> None:
    table = pa.table({
        "user_id": ["u"] * 4, "item_id": ["i01", "i02", "i03", "i01"], "timestamp": [1, 2, 3, 9],
    })  # fmt: skip
    pq.write_table(table, raw / "interactions.parquet")
    parts = divided(raw, split="leave_one_out")
    assert parts == {
        "train": {("u", "i01")}, "validation": {("u", "i02")}, "test": {("u", "i03")},
    }  # fmt: skip


def test_leave_one_out_leaves_one_out(raw: Path) -> None:
    parts = divided(raw, split="leave_one_out")
    users = [user for user, _ in parts["test"]]
    assert len(set(users)) == len(users) == len({u for u, _, _ in rows(raw)})
    few = np.array([0, 1, 1, 2, 2, 2, 2], np.int32)
    assert leave_one_out(few, np.arange(7.0)).tolist() == [0, 0, 2, 0, 0, 1, 2]
    table = pq.read_table(raw / "interactions.parquet").drop_columns("timestamp")
    pq.write_table(table, raw / "interactions.parquet")
    one, same, other = (divided(raw, split="leave_one_out", seed=seed) for seed in (1, 1, 2))
    assert one == same != other
    assert json.loads(paths.SUMMARY.read_text())["split"] == "leave one out, at random"


def test_cold_items_are_not_trained_on(raw: Path) -> None:
    parts = divided(raw, split="cold_items")
    items = {split: {item for _, item in pairs} for split, pairs in parts.items()}
    assert not items["train"] & items["test"] and not items["train"] & items["validation"]
    assert not items["validation"] & items["test"]
    present = {item for _, item, _ in rows(raw)}
    assert len(items["test"]) == len(items["validation"]) == len(present) // 5
    summary = json.loads(paths.SUMMARY.read_text())
    assert summary["cold_items"] == I - len(items["train"])
    assert items["test"] != {item for _, item in divided(raw, split="cold_items", seed=4)["test"]}


def test_one_moment_for_all() -> None:
    times = np.array([5, 1, 4, 4, 4, 2, 3, 9, 8, 7])
    # The last three; before them two would fit, but the three 4s stay together.
    assert split_by_moment(times, 0.2, 0.3).tolist() == [1, 0, 0, 0, 0, 0, 0, 2, 2, 2]
    assert split_by_moment(times, 0.4, 0.3).tolist() == [1, 0, 1, 1, 1, 0, 0, 2, 2, 2]
    assert split_by_moment(np.array([1.5, 0.5]), 0.0, 0.5).tolist() == [2, 0]
    with_same = split_by_moment(np.zeros(10), 0.2, 0.3)
    assert not with_same.any()  # nothing can be told apart


def test_a_core_has_no_user_and_no_item_of_fewer(raw: Path) -> None:
    parts = divided(raw, k_core=8)
    left = set.union(*parts.values())
    for place in (0, 1):
        counts = np.unique([pair[place] for pair in left], return_counts=True)[1]
        assert counts.min() >= 8
    # The largest such set, found by taking one away at a time.
    every = {(u, i) for u, i, _ in rows(raw)}
    while True:
        names, counts = np.unique([n for pair in every for n in pair], return_counts=True)
        few = {str(name) for name, n in zip(names, counts, strict=True) if n < 8}
        if not few:
            break
        every = {pair for pair in every if not few & {*pair}}
    assert left == every and 0 < len(every) < E
    assert pq.read_table(paths.ITEMS)["item_id"].to_pylist() == sorted({i for _, i in left})
    assert json.loads(paths.SUMMARY.read_text())["k_core"] == 8
    with pytest.raises(InputError, match=r"no interaction is left of 600; .* prepare\.k_core: 99"):
        divided(raw, k_core=99)
    pairs = np.array([0, 0, 1], np.int32), np.array([0, 1, 1], np.int32)
    assert core(*pairs, 1).all() and not core(*pairs, 2).any()


def test_a_core_of_one_has_no_item_without_interactions(raw: Path) -> None:
    items = pq.read_table(raw / "items.parquet")["item_id"].to_pylist()
    pq.write_table(pa.table({"item_id": [*items, "nobody"]}), raw / "items.parquet")
    for k, there in ((0, True), (1, False)):
        divided(raw, k_core=k)
        assert ("nobody" in pq.read_table(paths.ITEMS)["item_id"].to_pylist()) == there


def test_features_by_row_follow_the_items_that_are_left(raw: Path) -> None:
    (raw / "features").mkdir()
    np.save(raw / "features/tags.npy", np.arange(I, dtype=np.float32)[:, None])
    divided(raw, k_core=8)
    found = pq.read_table(paths.FEATURES / "tags.parquet").to_pydict()
    assert found["item_id"] == pq.read_table(paths.ITEMS)["item_id"].to_pylist()
    assert [f"i{int(v[0]):02}" for v in found["embedding"]] == found["item_id"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "random by user: 0.2 validation, 0.2 test"),
        ({"split": "temporal"}, "temporal by user: 0.2 validation, 0.2 test"),
        ({"split": "temporal_global"}, "temporal, one moment for all: 0.2 validation, 0.2 test"),
        ({"split": "leave_one_out"}, "leave one out, by time"),
        ({"split": "cold_items", "test": 0.3}, "cold items: 0.2 validation, 0.3 test"),
    ],
)
def test_what_was_done_is_said(raw: Path, changes: dict[str, object], words: str) -> None:
    divided(raw, **changes)
    assert json.loads(paths.SUMMARY.read_text())["split"] == words


@pytest.mark.parametrize("kind", ["temporal", "temporal_global"])
def test_splits_by_time_need_times(raw: Path, kind: str) -> None:
    table = pq.read_table(raw / "interactions.parquet").drop_columns("timestamp")
    pq.write_table(table, raw / "interactions.parquet")
    with pytest.raises(InputError, match=rf"prepare\.split: {kind} needs a timestamp in every row"):
        divided(raw, split=kind)
