"""`python -m pipeline.compare`: known answers of hand-made models, and revisions under DVC."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from dvc.repo import Repo

from pipeline.common import paths
from pipeline.common.files import InputError, write_parquet
from pipeline.compare import measure_of
from pipeline.comparing.paired import (
    Found,
    by_history,
    by_popularity,
    measures_of,
    paired,
    verdict,
)
from pipeline.comparing.sides import Side, aligned
from pipeline.comparing.text import WIDTH, described
from pipeline.evidence.significance import detectable

USERS = [f"u{n}" for n in range(8)]
ITEMS = ["jazz", "reef", "robot", "whale", "motor"]
TRAIN = [(f"u{n}", "jazz") for n in range(8)] + [("u0", "reef"), ("u1", "reef"), ("u0", "robot")]
TEST = [(f"u{n}", "robot" if n < 4 else "whale") for n in range(8)] + [("u7", "reef")]
FIRST = [0.5, 0.25, 0.0, 0.0, 0.75, 0.5, 0.25, 0.0]
GAINS = [0.25, 0.5, 0.125, 0.25, 0.125, 0.375, 0.25, 0.5]
BETTER = [value + gain for value, gain in zip(FIRST, GAINS, strict=True)]
LISTS = [["robot", "whale"]] * 8


def write_model(
    values: Sequence[float] = FIRST,
    lists: Sequence[list[str]] = LISTS,
    users: list[str] = USERS,
    items: list[str] = ITEMS,
    train: list[tuple[str, str]] = TRAIN,
    test: list[tuple[str, str]] = TEST,
    **summary: object,
) -> None:
    """A trained model as the stages leave it in the current directory.

    `values` (NDCG@10 and recall@10) and `lists` are of u0, u1, …; rows and codes follow `users` and
    `items`.
    """
    write_parquet(paths.USERS, pa.table({"user_id": users}))
    write_parquet(paths.ITEMS, pa.table({"item_id": items, "title": items}))
    for name, pairs in (("train", train), ("validation", []), ("test", test)):
        codes = sorted((users.index(user), items.index(item)) for user, item in pairs)
        columns = {
            name: pa.array([code[place] for code in codes], pa.int32())
            for place, name in enumerate(("user", "item"))
        }
        write_parquet(paths.split_path(name), pa.table(columns))
    order = [USERS.index(user) for user in users if user in dict(test)]
    key = {"system": "frozen", "control": pa.nulls(len(order), pa.string()), "layers": 1,
           "seed": pa.nulls(len(order), pa.int64()), "split": "test"}  # fmt: skip
    key = {n: [v] * len(order) if isinstance(v, (str, int)) else v for n, v in key.items()}
    key["user"] = pa.array([users.index(USERS[n]) for n in order], pa.int32())
    chosen = [values[n] for n in order]
    numbers = {"relevant": [1] * len(order), "ndcg@10": chosen, "recall@10": chosen}
    write_parquet(paths.TRAINED_USERS, pa.table(key | numbers))
    shown = [[items.index(item) for item in lists[n]] for n in order]
    write_parquet(
        paths.TRAINED_LISTS, pa.table(key | {"items": pa.array(shown, pa.list_(pa.int32()))})
    )
    about = {"dataset": "data/raw/shop", "split": "given", "ratings": "none", "k_core": 0}
    paths.SUMMARY.write_text(json.dumps(about | summary))
    mean = round(float(np.mean(values)), 6)
    paths.REPORTS.mkdir(exist_ok=True)
    paths.METRICS.write_text(json.dumps({"shop": {"test": {"ndcg@10": mean, "recall@10": mean}}}))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def side(*args: object, **changes: object) -> Side:
    """What `write_model` writes, read from the workspace."""
    write_model(*args, **changes)  # type: ignore[arg-type]
    return Side.read("workspace")


def test_a_measure_over_the_same_users() -> None:
    found = paired(side(), side(BETTER), "test", "ndcg@10")
    assert found.first == pytest.approx(np.mean(FIRST))
    assert found.second == pytest.approx(np.mean(BETTER))
    assert found.less.difference == pytest.approx(np.mean(GAINS))
    assert found.less.sign_flip == 2 / 2**8  # all eight gain
    assert (found.less.gain, found.less.loss) == (1.0, 0.0)


def test_users_and_items_are_paired_by_id() -> None:
    """The other has both in another order; what it found of whom stays the same."""
    lists = [["whale"]] * 4 + [["reef", "whale"]] * 4
    first, plain = side(), side(BETTER, lists)
    turned = side(BETTER, lists, users=USERS[::-1], items=ITEMS[2:] + ITEMS[:2])
    found = aligned(first, turned)
    assert paired(first, found, "test", "ndcg@10") == paired(first, plain, "test", "ndcg@10")
    for k in (1, 10):
        assert by_popularity(first, found, "test", k) == by_popularity(first, plain, "test", k)
    slices = [list(by_history(first, other, "test", "ndcg@10")) for other in (found, plain)]
    assert slices[0] == slices[1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": "data/raw/other"}, "dataset: data/raw/shop against data/raw/other"),
        ({"k_core": 5}, "k_core: 0 against 5"),
        ({"users": [*USERS[:7], "else"], "train": [], "test": TEST[:7]}, "their users are others"),
        ({"users": [*USERS, "u8"]}, "their users are others"),
        ({"items": ["jazz", "reef", "robot", "whale", "drum"]}, "their items are others"),
        ({"train": TRAIN[:8]}, "their train interactions are others"),
        ({"test": [*TEST[:8], ("u7", "motor")]}, "their test interactions are others"),
    ],
)
def test_what_cannot_be_paired_is_refused(changes: dict[str, object], said: str) -> None:
    first = side()
    with pytest.raises(InputError, match=f"cannot be compared user by user: {said}"):
        aligned(first, side(**changes))


def test_users_by_their_training_interactions() -> None:
    train = [pair for pair in TRAIN if pair[0] != "u7"]
    first, second = side(train=train), side(BETTER, train=train)
    cold, others = by_history(first, second, "test", "ndcg@10")
    assert [cold[0], others[0]] == ["0 (cold)", "1+"]
    assert (cold[1].first, cold[1].second, cold[1].less.users) == (FIRST[7], BETTER[7], 1)
    assert others[1].less.users == 7
    assert others[1].less.difference == pytest.approx(np.mean(GAINS[:7]))


def test_items_by_popularity() -> None:
    """jazz has 8 users, reef 2, robot 1, whale and motor none."""
    lists = [["robot"], ["robot"], ["whale", "robot"], [], ["whale"], ["robot"], [], ["reef"]]
    first, second = side(), side(BETTER, lists)
    assert by_popularity(first, second, "test", 10) == [
        Found("cold: 0 users", 4, 1.0, 1 / 4),
        Found("tail: 1–2 users", 5, 4 / 5, 4 / 5),  # all but u3's robot; with u7's reef
    ]
    at_one = by_popularity(first, second, "test", 1)
    assert [one.second for one in at_one] == [1 / 4, 3 / 5]


def test_verdicts() -> None:
    first, better = side(), side(BETTER)
    up = verdict(paired(first, better, "test", "ndcg@10"), "A", "B")
    assert up.startswith("B is better: test ndcg@10 is higher by 0.2969 (95 % interval 0.2")
    assert up.endswith("higher for 100 % of 8 users under B, for 0 % under A.")
    down = verdict(paired(better, first, "test", "ndcg@10"), "A", "B")
    assert down.startswith("A is better: test ndcg@10 is higher by 0.2969 (95 % interval 0.2")
    same = verdict(paired(first, side(), "test", "ndcg@10"), "A", "B")
    assert same == "A and B give each of 8 users the same test ndcg@10."


def test_a_difference_that_users_cannot_tell() -> None:
    mixed = [
        value + gain * (-1) ** n for n, (value, gain) in enumerate(zip(FIRST, GAINS, strict=True))
    ]
    found = paired(side(), side(mixed), "test", "ndcg@10")
    assert verdict(found, "A", "B") == (
        "These 8 users cannot tell A and B apart by test ndcg@10 (p = 0.44): they would show "
        f"differences of about {found.detectable:.2g} or more, not smaller ones."
    )


def test_few_users_decide_nothing() -> None:
    few = TEST[:5]
    found = paired(side(test=few), side(BETTER, test=few), "test", "ndcg@10")
    assert found.less.gain == 1.0
    assert verdict(found, "A", "B") == "5 users are too few to tell A and B apart."


def test_a_detectable_difference_is_shown_four_times_of_five() -> None:
    from scipy.stats import ttest_1samp

    generator = np.random.default_rng(0)
    drawn = generator.normal(0, 0.3, (4000, 40))
    typical = float(np.sqrt(np.mean([detectable(row) ** 2 for row in drawn])))
    shown = (ttest_1samp(drawn + typical, 0, axis=1).pvalue < 0.05).mean()
    assert shown == pytest.approx(0.8, abs=0.03)
    assert detectable(np.zeros(1)) == float("inf")


def test_measures() -> None:
    first, second = side(), side(BETTER)
    headlines = [("test", "ndcg@10"), ("test", "recall@10")]
    assert measures_of(first, second, "ndcg@10", "test") == headlines
    assert measures_of(first, second, "recall@10", "test") == headlines[::-1]
    with pytest.raises(InputError, match=r"no ndcg@7; every user's values are of ndcg@10, recall"):
        measures_of(first, second, "ndcg@7", "test")
    with pytest.raises(InputError, match=r"in validation; splits that can be compared: test$"):
        measures_of(first, second, "ndcg@10", "validation")
    assert str(measure_of("map@20")) == "map@20"
    for wrong in ("map", "map@", "map@0", "@x", "map@-5"):
        with pytest.raises(InputError, match="a metric is a name and a cut-off, such as ndcg@10"):
            measure_of(wrong)


def test_refits_are_compared_where_both_have_one() -> None:
    def refitted(values: Sequence[float]) -> Side:
        plain = side(values)
        more = plain.users.set_column(
            plain.users.column_names.index("split"), "split", pa.array(["refit"] * len(plain.users))
        )
        return replace(plain, users=pa.concat_tables([plain.users, more]))

    first, second = refitted(FIRST), refitted(BETTER)
    strict = [("test", "ndcg@10"), ("test", "recall@10")]
    both = measures_of(first, second, "ndcg@10", "test")
    assert both == [*strict, ("refit", "ndcg@10"), ("refit", "recall@10")]
    assert paired(first, second, *both[2]).less.difference == pytest.approx(np.mean(GAINS))
    assert measures_of(first, side(BETTER), "ndcg@10", "test") == strict
    # It is no split of the catalogue.
    with pytest.raises(InputError, match=r"in validation; splits that can be compared: test$"):
        measures_of(first, second, "ndcg@10", "validation")


def test_the_page() -> None:
    lines = list(described(side(), side(BETTER), measure_of("ndcg@10"), "test"))
    assert max(map(len, lines)) <= WIDTH
    assert lines[:3] == [
        "A  workspace: frozen, 1 layer",
        "B  workspace: frozen, 1 layer",
        "Of data/raw/shop, split given",
    ]
    rows = {line.split("  ")[0]: line.split()[-3:] for line in lines}
    assert ["test", "ndcg@10", "0.28125", "0.57812", "+0.29688"] in map(str.split, lines)
    assert rows["tail: 1–2 users"] == ["0.8000", "0.8000", "+0.0000"]
    assert any(line.startswith("B is better: ") for line in lines)


# --- revisions ---


def git(*arguments: str) -> None:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(elsewhere: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A commit without a model, one with, an experiment with a better one, one in the workspace."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.org")
    git("init", "-q", "-b", "main")
    with Repo.init(".") as repo:

        def save(values: Sequence[float]) -> None:
            write_model(values)
            repo.add(
                [
                    str(path)
                    for path in Path("data").rglob("*")
                    if path.suffix in (".parquet", ".json")
                ]
            )
            git("add", "--all")

        git("add", "--all")
        git("commit", "-q", "-m", "empty")
        git("tag", "older")
        save(FIRST)
        git("commit", "-q", "-m", "first")
        git("tag", "of-first")
        save(BETTER)
        repo.experiments.save(name="better")
    write_model([0.0] * 8)
    return Path.cwd()


def mean(revision: str) -> float:
    return float(np.mean(Side.read(revision).judged("test")["ndcg@10"].to_numpy()))


def test_experiments_commits_branches_tags_and_the_workspace(repository: Path) -> None:
    assert mean("main") == mean("HEAD") == mean("of-first") == np.mean(FIRST)
    assert mean("better") == np.mean(BETTER)
    assert mean("workspace") == 0
    first, second = Side.read("main"), Side.read("better")
    assert second.metrics["shop"]["test"]["ndcg@10"] == round(float(np.mean(BETTER)), 6)
    lines = list(described(first, second, measure_of("ndcg@10"), "test"))
    assert lines[0].startswith("A  main: ") and lines[1].startswith("B  better: ")


def test_what_cannot_be_read_is_said(repository: Path) -> None:
    with pytest.raises(InputError, match="^nobody: no experiment, commit, branch or tag"):
        Side.read("nobody")
    with pytest.raises(InputError, match="^older: there was no data/models/users.parquet then"):
        Side.read("older")
    shutil.rmtree(".dvc/cache")
    with pytest.raises(InputError, match=r"^better: its data/models/users.parquet is in no DVC"):
        Side.read("better")
    assert mean("workspace") == 0


def test_outside_of_a_repository() -> None:
    with pytest.raises(InputError, match="^main: "):
        Side.read("main")
    with pytest.raises(InputError, match="^an empty name is no revision"):
        Side.read("")
