"""`prepare`: ids, splits, manifests, and what it says of a broken catalogue."""

import hashlib
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.catalogue.splits import split_by_user
from pipeline.common import paths
from pipeline.common.files import InputError
from pipeline.common.params import Prepare
from pipeline.prepare import prepare

PARAMS = Prepare(seed=0, split="random", validation=0.2, test=0.2)
ITEMS = "item_id,title,text,image\nb,Bee,a bee,b.png\na,Ant,,a.png\n007,Bond,spy,\n"
INTERACTIONS = "user_id,item_id,timestamp\n" + "".join(
    f"u{u},{item},{100 * u + t}\n" for u in range(3) for t, item in enumerate(["b", "a", "007"])
)


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small catalogue, and the current directory beside it."""
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "items.csv").write_text(ITEMS)
    (folder / "interactions.csv").write_text(INTERACTIONS)
    (folder / "a.png").write_bytes(b"picture")
    monkeypatch.chdir(tmp_path)
    return folder


def edges(split: str) -> set[tuple[int, int]]:
    table = pq.read_table(paths.split_path(split))
    return set(zip(table["user"].to_pylist(), table["item"].to_pylist(), strict=True))


def test_ids_manifests_and_summary(catalogue: Path) -> None:
    prepare(catalogue, PARAMS)
    items = pq.read_table(paths.ITEMS)
    assert items["item_id"].to_pylist() == ["007", "a", "b"]  # sorted, and never a number
    assert items.column_names == ["item_id", "title"]
    text = pq.read_table(paths.manifest_path("text")).to_pylist()
    assert [row["item_id"] for row in text] == ["007", "b"]  # empty means lacking
    assert text[1]["sha256"] == hashlib.sha256(b"a bee").hexdigest()
    image = pq.read_table(paths.manifest_path("image")).to_pylist()
    assert [row["source"] for row in image] == ["a.png", "b.png"]
    assert image[0]["sha256"] == hashlib.sha256(b"picture").hexdigest()
    assert image[1]["sha256"] == ""  # no such file: the encoder records it
    audio = pq.read_table(paths.manifest_path("audio"))
    assert len(audio) == 0 and audio.schema.names == ["item_id", "source", "sha256"]
    summary = json.loads(paths.SUMMARY.read_text())
    assert summary["users"] == 3 and summary["items"] == 3 and not summary["synthetic"]
    assert sum(summary["interactions"].values()) == 9


def test_splits_share_nothing_and_lose_nothing(catalogue: Path) -> None:
    prepare(catalogue, replace(PARAMS, validation=0.34, test=0.34))
    parts = [edges(s) for s in ("train", "validation", "test")]
    assert [len(p) for p in parts] == [3, 3, 3]
    assert len(set.union(*parts)) == 9


def test_temporal_split_tests_the_last(catalogue: Path) -> None:
    prepare(catalogue, replace(PARAMS, split="temporal", test=0.34, validation=0.34))
    assert edges("test") == {(u, 0) for u in range(3)}  # 007 came last
    assert edges("train") == {(u, 2) for u in range(3)}  # b came first


def temporal(catalogue: Path, rows: list[tuple[str, int]], seed: int) -> list[set[str]]:
    """The items of each split, a quarter in validation and in test, of one user's rows."""
    ids = sorted(item for item, _ in rows)
    (catalogue / "items.csv").write_text("item_id\n" + "".join(f"{i}\n" for i in ids))
    lines = "".join(f"u,{item},{time}\n" for item, time in rows)
    (catalogue / "interactions.csv").write_text(f"user_id,item_id,timestamp\n{lines}")
    prepare(catalogue, Prepare(seed=seed, split="temporal", validation=0.25, test=0.25))
    return [{ids[item] for _, item in edges(s)} for s in ("train", "validation", "test")]


def test_ties_in_time_fall_in_random_but_repeatable_order(catalogue: Path) -> None:
    rows = [(f"i{n:02}", 0) for n in range(80)]  # in the file's and the ids' order alike
    found = temporal(catalogue, rows, 0)
    assert [len(part) for part in found] == [40, 20, 20]
    assert temporal(catalogue, rows, 0) == found != temporal(catalogue, rows, 1)
    # Were it the file's order, or its reverse, these means would be 19.5 or 59.5.
    assert all(30 < np.mean([int(i[1:]) for i in part]) < 50 for part in (found[0], found[2]))


def test_ties_do_not_break_the_order_of_time(catalogue: Path) -> None:
    times = np.random.default_rng(0).permutation(np.repeat([5, 50, 500], 20))  # 500 > 50 > 5
    rows = [(f"i{n:02}", int(time)) for n, time in enumerate(times)]
    time_of = dict(rows)
    train, validation, test = (
        sorted(time_of[item] for item in part) for part in temporal(catalogue, rows, 0)
    )
    assert train == [5] * 20 + [50] * 10
    assert validation == [50] * 10 + [500] * 5 and test == [500] * 15


def test_random_splits_follow_neither_the_file_nor_time(catalogue: Path) -> None:
    ids = [f"i{n:02}" for n in range(80)]
    (catalogue / "items.csv").write_text("item_id\n" + "".join(f"{i}\n" for i in ids))
    lines = "".join(f"u,{item},{n}\n" for n, item in enumerate(ids))
    (catalogue / "interactions.csv").write_text(f"user_id,item_id,timestamp\n{lines}")
    prepare(catalogue, replace(PARAMS, validation=0.25, test=0.25))
    for split, size in (("train", 40), ("validation", 20), ("test", 20)):
        items = [item for _, item in edges(split)]
        assert len(items) == size and 30 < np.mean(items) < 50


def test_split_column_is_used_as_it_stands(catalogue: Path) -> None:
    (catalogue / "interactions.csv").write_text(
        "user_id,item_id,split\nu,a,test\nu,b,train\nv,b,validation\nv,007,train\n"
    )
    prepare(catalogue, replace(PARAMS, split="temporal"))  # and needs no timestamps then
    assert edges("test") == {(0, 1)}
    assert edges("validation") == {(1, 2)}
    assert edges("train") == {(0, 2), (1, 0)}


def test_a_repeat_counts_once_in_the_earliest_split(catalogue: Path) -> None:
    (catalogue / "interactions.csv").write_text(
        "user_id,item_id,split\nu,a,test\nu,a,train\nu,b,test\n"
        "v,b,test\nv,b,validation\nv,a,train\nv,a,train\n"
    )
    prepare(catalogue, PARAMS)
    assert edges("train") == {(0, 1), (1, 1)} and edges("test") == {(0, 2)}
    assert edges("validation") == {(1, 2)}
    counts = json.loads(paths.SUMMARY.read_text())["interactions"]
    assert counts == {"train": 2, "validation": 1, "test": 1}


def test_the_summary_counts_what_is_there(catalogue: Path) -> None:
    (catalogue / "interactions.csv").write_text(
        "user_id,item_id,split\nu,b,train\nv,b,train\nu,007,train\nv,a,test\nv,a,test\n"
    )
    prepare(catalogue, PARAMS)
    summary = json.loads(paths.SUMMARY.read_text())
    assert summary == {
        "dataset": str(catalogue),
        "synthetic": False,
        "users": 2,
        "items": 3,
        "interactions": {"train": 3, "validation": 0, "test": 1},
        "sparsity": pytest.approx(1 / 3),  # 4 of 2 x 3 are there
        "cold_items": 1,  # a is only in test
        "cold_users": 0,
        "split": "given with the data",
        "ratings": "none in the data: every row counts",
        "k_core": 0,
        "modalities": {
            "text": {"items": 2}, "image": {"items": 2}, "audio": {"items": 0},
            "video": {"items": 0},
        },
    }  # fmt: skip


def test_the_bundled_catalogue_is_called_synthetic(catalogue: Path) -> None:
    paths.SAMPLE.parent.mkdir(parents=True)
    catalogue.rename(paths.SAMPLE)
    prepare(paths.SAMPLE, PARAMS)
    assert json.loads(paths.SUMMARY.read_text())["synthetic"] is True


def test_codes_are_places_among_sorted_ids(catalogue: Path) -> None:
    """In the order of strings: 10 before 9."""
    (catalogue / "items.csv").write_text("item_id,price\n9,07\n10,NA\nB,\na,1\n")
    pairs = [("u9", "a"), ("u9", "9"), ("u10", "B"), ("U", "10"), ("u10", "10")]
    lines = "".join(f"{user},{item},train\n" for user, item in pairs)
    (catalogue / "interactions.csv").write_text(f"user_id,item_id,split\n{lines}")
    prepare(catalogue, PARAMS)
    users, items = ["U", "u10", "u9"], ["10", "9", "B", "a"]
    assert pq.read_table(paths.USERS).to_pydict() == {"user_id": users}
    found = pq.read_table(paths.ITEMS)
    assert found["item_id"].to_pylist() == items
    assert found["price"].to_pylist() == ["NA", "07", None, "1"]  # texts, as they stand
    table = pq.read_table(paths.split_path("train"))
    rows = list(zip(table["user"].to_pylist(), table["item"].to_pylist(), strict=True))
    assert rows == sorted((users.index(u), items.index(i)) for u, i in pairs)
    assert table.schema.types == [pa.int32(), pa.int32()]


def test_the_order_of_the_file_changes_nothing(catalogue: Path) -> None:
    """But for random splits, which draw by row."""
    lines = ["u,a,train", "u,b,test", "v,b,train", "v,007,validation"]
    written = []
    for rows in (lines, lines[::-1]):
        (catalogue / "interactions.csv").write_text("\n".join(["user_id,item_id,split", *rows]))
        header, *items = (catalogue / "items.csv").read_text().splitlines()
        (catalogue / "items.csv").write_text("\n".join([header, *items[::-1]]))
        prepare(catalogue, PARAMS)
        written.append({p: p.read_bytes() for p in paths.PREPARED.rglob("*.*")})
    assert len(written[0]) == 11 and written[0] == written[1]


def test_same_seed_same_bytes(catalogue: Path) -> None:
    written = []
    for seed in (0, 0, 1):
        prepare(catalogue, replace(PARAMS, seed=seed, test=0.34))
        written.append(paths.split_path("test").read_bytes())
    assert written[0] == written[1] != written[2]


@pytest.mark.parametrize("percent", [5, 10, 29, 30, 35, 57, 58, 70, 82, 90])
def test_shares_are_rounded_down_but_not_by_the_rounding_of_floats(percent: int) -> None:
    counts = np.arange(1, 201)
    users = np.repeat(np.arange(200), counts)
    # 29 % of 100 is 29, though 0.29 * 100 is 28.999999999999996 in floats.
    expected = [Fraction(percent, 100) * int(n) // 1 for n in counts]
    for part, shares in ((2, (0.0, percent / 100)), (1, (percent / 100, 0.0))):
        split = split_by_user(users, np.zeros(len(users)), *shares)
        assert [int((split[users == u] == part).sum()) for u in range(200)] == expected
        assert not (split == 3 - part).any()


def test_each_user_is_split_by_their_own_order() -> None:
    # Users and their order are interleaved: the last of a user is not the last in the file.
    users = np.array([1, 0, 1, 0, 1, 0, 1, 0, 3])
    order = np.array([0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.4, 0.0])
    split = split_by_user(users, order, 0.25, 0.5)
    assert split.tolist() == [2, 0, 2, 1, 1, 2, 0, 2, 0]


def test_split_by_user_rounds_down() -> None:
    users = np.array([0] * 10 + [1])
    split = split_by_user(users, np.arange(11.0), 0.1, 0.2)
    assert split.tolist() == [0] * 7 + [1] + [2, 2] + [0]


@pytest.mark.parametrize("suffix", ["tsv", "parquet"])
def test_other_formats(catalogue: Path, suffix: str) -> None:
    (catalogue / "interactions.csv").unlink()
    if suffix == "tsv":
        (catalogue / "interactions.tsv").write_text(INTERACTIONS.replace(",", "\t"))
    else:
        rows = [line.split(",")[:2] for line in INTERACTIONS.splitlines()[1:]]
        table = pa.table({"user_id": [r[0] for r in rows], "item_id": [r[1] for r in rows]})
        pq.write_table(table, catalogue / "interactions.parquet")
    prepare(catalogue, PARAMS)
    assert sum(len(edges(s)) for s in ("train", "validation", "test")) == 9


def test_manifests_name_the_bytes_that_will_be_encoded(catalogue: Path) -> None:
    (catalogue / "folder").mkdir()
    (catalogue / "folder/c.png").write_bytes(b"other")
    (catalogue.parent / "secret.png").write_bytes(b"secret")
    (catalogue / "link.png").symlink_to(catalogue.parent / "secret.png")
    rows = {
        "1": (" spaced ", "folder/../a.png"), "2": ("  ", "folder"), "3": ("", "folder/c.png"),
        "4": ("NA", "link.png"), "5": ("x", str(catalogue.parent / "secret.png")),
        "6": ("x", " "),
    }  # fmt: skip
    text = "".join(f"{i},{words},{image}\n" for i, (words, image) in rows.items())
    (catalogue / "items.csv").write_text(f"item_id,text,image\n{text}")
    (catalogue / "interactions.csv").write_text("user_id,item_id\nu,1\n")
    prepare(catalogue, PARAMS)

    def digests(modality: str) -> dict[str, tuple[str, str]]:
        table = pq.read_table(paths.manifest_path(modality)).to_pylist()
        return {row["item_id"]: (row["source"], row["sha256"]) for row in table}

    def sha256(data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    assert digests("text") == {
        "1": (" spaced ", sha256(b" spaced ")),
        "4": ("NA", sha256(b"NA")),
        "5": ("x", sha256(b"x")),
        "6": ("x", sha256(b"x")),
    }
    assert digests("image") == {
        "1": (rows["1"][1], sha256(b"picture")),
        "2": ("folder", ""),
        "3": ("folder/c.png", sha256(b"other")),
        "4": ("link.png", sha256(b"secret")),  # links are the owner's
        "5": (rows["5"][1], ""),
    }


def test_ready_made_features_come_before_raw_media(catalogue: Path) -> None:
    (catalogue / "features").mkdir()
    file = catalogue / "features/image.npy"
    np.save(file, np.ones((3, 2), np.float32))
    prepare(catalogue, PARAMS)
    table = pq.read_table(paths.manifest_path("image"))
    # The rows of items.csv: b, a, 007.
    assert table.to_pydict() == {
        "item_id": ["007", "a", "b"], "source": ["2", "1", "0"], "sha256": ["", "", ""],
    }  # fmt: skip
    assert table.schema.metadata == {
        b"features": b"features/image.npy",
        b"features_sha256": hashlib.sha256(file.read_bytes()).hexdigest().encode(),
    }
    assert json.loads(paths.SUMMARY.read_text())["modalities"]["image"] == {"items": 3}
    assert not pq.read_table(paths.manifest_path("text")).schema.metadata


def test_a_path_that_leads_out_is_not_read(catalogue: Path) -> None:
    (catalogue.parent / "secret.png").write_bytes(b"secret")
    (catalogue / "items.csv").write_text(ITEMS.replace("b.png", "../secret.png"))
    prepare(catalogue, PARAMS)
    assert pq.read_table(paths.manifest_path("image"))["sha256"].to_pylist()[1] == ""


@pytest.mark.parametrize(
    ("file", "content", "messages"),
    [
        ("items.csv", "id,text\na,x\n", ["items.csv", "no column item_id", "id, text"]),
        (
            "items.csv",
            "item_id\nb\na\nc\na\n007\n",
            ["row 3 and row 5: item_id 'a'", "several"],
        ),
        ("items.csv", "item_id,title\na,x\n,y\n", ["items.csv", "row 3", "item_id is empty"]),
        ("items.csv", "item_id\n", ["items.csv", "no rows"]),
        ("items.csv", "", ["items.csv"]),
        ("interactions.csv", "user_id\nu\n", ["interactions.csv", "no column item_id"]),
        ("interactions.csv", "item_id\na\n", ["interactions.csv", "no column user_id"]),
        ("interactions.csv", "user_id,item_id\n", ["interactions.csv", "no rows"]),
        ("interactions.csv", "user_id,item_id\nu,a\nu,zz\n", ["row 3", "'zz'", "1 rows"]),
        (
            "interactions.csv",
            "user_id,item_id\nu,a\nu,b\nu,yy\nu,a\nu,zz\n",
            ["row 4: item_id 'yy'", "2 rows"],
        ),
        ("interactions.csv", "user_id,item_id\nu,\n", ["row 2", "item_id is empty"]),
        ("interactions.csv", "user_id,item_id\nu,a\n,a\n", ["row 3", "user_id is empty"]),
        (
            "interactions.csv",
            "user_id,item_id,timestamp\nu,a,1.5\nu,b,soon\n",
            ["row 3: timestamp 'soon'"],
        ),
        (
            "interactions.csv",
            "user_id,item_id,split\nu,a,train\nu,b,holdout\n",
            ["row 3: split 'holdout'", "valid: train, validation, test"],
        ),
        ("interactions.csv", "user_id,item_id,split\nu,b,\nu,a,test\n", ["row 2", "split None"]),
        ("interactions.csv", "user_id,item_id,split\nu,a,test\n", ["left for training"]),
        ("items.tsv", "item_id\na\n", ["items.csv, items.tsv", "only one"]),
    ],
)
def test_broken_catalogues(catalogue: Path, file: str, content: str, messages: list[str]) -> None:
    (catalogue / file).write_text(content)
    with pytest.raises(InputError) as error:
        prepare(catalogue, PARAMS)
    for message in messages:
        assert message in str(error.value)


def test_missing_table_and_timestamps(catalogue: Path) -> None:
    (catalogue / "interactions.csv").write_text("user_id,item_id\nu,a\nu,b\n")
    with pytest.raises(InputError, match="temporal needs a timestamp"):
        prepare(catalogue, replace(PARAMS, split="temporal"))
    (catalogue / "interactions.csv").write_text("user_id,item_id,timestamp\nu,a,1\nu,b,\nv,a,3\n")
    with pytest.raises(InputError, match="some rows have a timestamp and some have none"):
        prepare(catalogue, replace(PARAMS, split="temporal"))
    prepare(catalogue, PARAMS)  # a random split needs none
    (catalogue / "interactions.csv").unlink()
    with pytest.raises(InputError, match="no table of interactions"):
        prepare(catalogue, PARAMS)
