"""Catalogues as people have them: names almost right, ids with blanks, ratings, times, links."""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.fuzz_tables import fuzz
from encoders.media import MediaError
from encoders.media.text import read_text
from model.embedding import COLLABORATION, CONSTANT
from pipeline.catalogue.feature_files import RESERVED
from pipeline.catalogue.names import clean_ids, near_misses, visible
from pipeline.common import paths
from pipeline.common.files import InputError
from pipeline.common.params import Prepare
from pipeline.prepare import prepare
from pipeline.recommending import similarity

PARAMS = Prepare(seed=0, split="random", validation=0.2, test=0.2)


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for a catalogue, and the current directory beside it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


def write(raw: Path, items: str, interactions: str) -> None:
    (raw / "items.csv").write_text(items)
    (raw / "interactions.csv").write_text(interactions)


def refused(raw: Path, params: Prepare = PARAMS) -> str:
    with pytest.raises(InputError) as error:
        prepare(raw, params)
    return str(error.value)


def pairs(*splits: str) -> set[tuple[str, str]]:
    """(user, item) ids of these splits, of all by default."""
    users = pq.read_table(paths.USERS)["user_id"].to_pylist()
    items = pq.read_table(paths.ITEMS)["item_id"].to_pylist()
    return {
        (users[row["user"]], items[row["item"]])
        for split in splits or paths.SPLITS
        for row in pq.read_table(paths.split_path(split)).to_pylist()
    }


def test_ids_that_look_the_same_are_the_same(raw: Path) -> None:
    write(
        raw,
        "item_id,text\n a ,x\n\ufeffcaf\u00e9,y\n",
        "user_id,item_id\nu1,a\nu1 ,cafe\u0301\n\u200bu1, a\n\u00a0u2,a\u200d\n",
    )
    prepare(raw, PARAMS)
    assert pairs() == {("u1", "a"), ("u1", "café"), ("u2", "a")}
    assert pq.read_table(paths.manifest_path("text"))["item_id"].to_pylist() == ["a", "café"]
    (raw / "features").mkdir()
    table = pa.table({"item_id": ["cafe\u0301 ", "a"], "embedding": [[1.0], [2.0]]})
    pq.write_table(table, raw / "features/tags.parquet")
    prepare(raw, PARAMS)
    found = pq.read_table(paths.FEATURES / "tags.parquet").to_pydict()
    assert found == {"item_id": ["a", "café"], "embedding": [[2.0], [1.0]]}


@pytest.mark.parametrize("blank", ["", " ", "\t ", "\u200b", "\ufeff", "\u00a0\u2003"])
def test_an_id_in_which_nothing_is_to_be_seen_is_empty(raw: Path, blank: str) -> None:
    write(raw, f'item_id,text\na,x\n"{blank}",y\n', f'user_id,item_id\nu,a\n"{blank}",a\n')
    message = refused(raw)
    assert "items.csv: row 3: item_id is empty" in message
    assert "interactions.csv: row 3: user_id is empty" in message


@pytest.mark.parametrize("control", ["\0", "\t", "\n", "\x1b"])
def test_control_characters_in_ids_are_refused(raw: Path, control: str) -> None:
    write(raw, "item_id\na\n", f'user_id,item_id\nv,a\n"u{control}1",a\n')
    assert "interactions.csv: row 3: user_id" in refused(raw)
    assert repr(f"u{control}1") in refused(raw)


def test_rows_that_only_blanks_tell_apart_stand_twice(raw: Path) -> None:
    write(raw, "item_id\nb\na\na \n", "user_id,item_id\nu,a\n")
    assert "row 3 and row 4: item_id 'a' stands in several rows" in refused(raw)


def test_clean_ids_and_visible() -> None:
    ids = pa.array([" a b ", "e\u0301", "\u2800", None, "0", "\ufeff\ufeffx"])
    assert clean_ids(ids).to_pylist() == ["a b", "é", None, None, "0", "x"]
    texts = pa.array(["a", " . ", "\u200b\ufeff", "\0\x07", None, "\u3164", "हिन्दी", "👩‍👧"])
    assert visible(texts).to_pylist() == [True, True, False, False, False, False, True, True]


@pytest.mark.parametrize("text", ["\u200b", "\0", "\x07\x1b", "\ufeff", "\u00ad\u2060", " \u3000 "])
def test_texts_in_which_nothing_is_to_be_seen_are_missing(raw: Path, text: str) -> None:
    write(raw, f'item_id,text\na,"{text}"\nb,word\n', "user_id,item_id\nu,a\n")
    prepare(raw, PARAMS)
    assert pq.read_table(paths.manifest_path("text"))["item_id"].to_pylist() == ["b"]


def test_columns_almost_right_are_asked_about(raw: Path) -> None:
    write(raw, "item_id,Text, image,txt\na,x,y,z\n", "userId,item_id,Rating\nu,a,1\n")
    message = refused(raw)
    for given, meant in (("Text", "text"), (" image", "image"), ("userId", "user_id"),
                         ("Rating", "rating")):  # fmt: skip
        assert f"column {given!r}: did you mean {meant}?" in message
    assert message.startswith("6 things are wrong:")  # txt, and that user_id is missing
    known = ("item_id", "text", "image", "audio", "video")
    for name in (
        "image_id",
        "video_id",
        "title",
        "context",
        "genre",
        "year",
        "next",
        "description",
        "image_url",
        "id",
    ):
        assert not near_misses([name], known)
    assert not near_misses(["text", "texts", "Text"], ("text",))  # it is there: these are others
    for name in ("item id", "ItemID", "ITEM-ID", "itemId "):
        assert near_misses([name], known) == {name: "item_id"}


def test_features_almost_right_are_asked_about(raw: Path) -> None:
    write(raw, "item_id\na\n", "user_id,item_id\nu,a\n")
    (raw / "features").mkdir()
    np.save(raw / "features/texts.npy", np.ones((1, 2)))
    assert "texts: did you mean text?" in refused(raw)
    (raw / "features/texts.npy").rename(raw / "features/genres.npy")
    for name in (".DS_Store", "._text.npy", ".gitignore", "genres.npy.dvc"):
        (raw / "features" / name).write_bytes(b"x")  # what systems and DVC put there
    prepare(raw, PARAMS)
    assert json.loads(paths.FEATURES_LIST.read_text()) == ["genres"]
    (raw / "features/image.pt").write_bytes(b"x")
    assert "image.pt: features are .parquet or .npy files" in refused(raw)


def test_everything_wrong_is_said_at_once(raw: Path) -> None:
    write(raw, "item_id\na\n", "user_id,item_id,split\nu,a,train\nu,b,holdout\n")
    message = refused(raw)
    assert "item_id 'b' is not among the items" in message and "split 'holdout'" in message


def likes(raw: Path, ratings: list[str], **changes: object) -> set[tuple[str, str]]:
    ids = [f"i{n}" for n in range(len(ratings))]
    rows = "".join(f"u,{i},{r}\n" for i, r in zip(ids, ratings, strict=True))
    write(raw, "\n".join(["item_id", *ids]) + "\n", f"user_id,item_id,rating\n{rows}")
    prepare(raw, replace(PARAMS, **changes))  # type: ignore[arg-type]
    return {item for _, item in pairs()}  # type: ignore[misc]


def test_ratings_below_the_threshold_are_no_likes(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ratings = ["1", "0", "-1", "5", " 4 ", "3.5"]
    assert likes(raw, ratings) == {f"i{n}" for n in range(6)}
    assert "ratings: not looked at: every row counts" in caplog.text  # it is said
    assert likes(raw, ratings, min_rating=3.5) == {"i3", "i4", "i5"}
    assert "at least 3.5: 3 of 6 rows count" in caplog.text
    assert likes(raw, ratings, min_rating=-1.0) == {f"i{n}" for n in range(6)}
    items = pq.read_table(paths.ITEMS)["item_id"].to_pylist()
    assert items == [f"i{n}" for n in range(6)]  # what nobody likes can still be recommended


@pytest.mark.parametrize("rating", ["nan", "inf", "-inf", "good"])
def test_ratings_that_are_no_numbers_are_refused(raw: Path, rating: str) -> None:
    with pytest.raises(InputError, match="row 3: rating"):
        likes(raw, ["1", rating])


def test_a_threshold_needs_ratings(raw: Path) -> None:
    with pytest.raises(InputError, match="min_rating: 3 needs a rating in every row; 1 have none"):
        likes(raw, ["5", ""], min_rating=3)
    assert likes(raw, ["5", ""]) == {"i0", "i1"}
    write(raw, "item_id\na\n", "user_id,item_id\nu,a\n")
    assert "min_rating: 3 needs a rating in every row" in refused(
        raw, replace(PARAMS, min_rating=3)
    )
    with pytest.raises(InputError, match="no interaction is left of 2"):
        likes(raw, ["1", "2"], min_rating=3)


def in_time(raw: Path, times: pa.Array | list[str]) -> list[str]:
    """The items of one user in the order of time, as a temporal split has them."""
    ids = [f"i{n}" for n in range(len(times))]
    write(raw, "\n".join(["item_id", *ids]) + "\n", "")
    (raw / "interactions.csv").unlink()
    if isinstance(times, list):
        rows = "".join(f"u,{i},{t}\n" for i, t in zip(ids, times, strict=True))
        (raw / "interactions.csv").write_text(f"user_id,item_id,timestamp\n{rows}")
    else:
        table = pa.table({"user_id": ["u"] * len(ids), "item_id": ids, "timestamp": times})
        pq.write_table(table, raw / "interactions.parquet")
    prepare(raw, replace(PARAMS, split="temporal", validation=0.34, test=0.34))
    return [next(iter(pairs(split)))[1] for split in paths.SPLITS]


NANO = 1_700_000_000_000_000_000


@pytest.mark.parametrize(
    "times",
    [
        [f"{NANO + 1}", f"{NANO + 2}", f"{NANO}"],  # a tie in float64
        ["1.5", "2", "0.25"],
        ["2024-02-01", "2024-03-01", "2023-12-31"],
        ["2024-05-31T10:00:00", "2024-05-31 18:00:00", "2024-05-30T23:59:59.5"],
        ["2024-05-31T10:00:00Z", "2024-05-31T10:00:00-01:00", "2024-05-31T10:00:00+01:00"],
        [" 20 ", "100", "3"],  # numbers, not texts
        ["1e9", "2e9", "1e8"],
        [f"2024-05-31T18:00:00.00000000{n}" for n in (2, 3, 1)],
        [f"2024-05-31T18:00:00.00000000{n}Z" for n in (2, 3, 1)],
    ],
)
def test_times_as_texts(raw: Path, times: list[str]) -> None:
    assert in_time(raw, times) == ["i2", "i0", "i1"]


@pytest.mark.parametrize(
    "times",
    [
        pa.array([NANO + 1, NANO + 2, NANO]),
        pa.array([NANO + 1, NANO + 2, NANO], pa.timestamp("ns")),
        pa.array([datetime(2024, 2, d, tzinfo=UTC) for d in (2, 3, 1)], pa.timestamp("ms", "UTC")),
        pa.array([date(2024, 2, d) for d in (2, 3, 1)]),
        pa.array([date(2024, 2, d) for d in (2, 3, 1)], pa.date64()),
        pa.array([1.5, 2.5, 0.5], pa.float32()),
        pa.array([2, 3, 1], pa.uint8()),
        pa.array(["2024-02-02", "2024-02-03", "2024-02-01"]),
        pa.array(["2024-02-02", "2024-02-03", "2024-02-01"], pa.large_string()),
        pa.array(["2024-02-02", "2024-02-03", "2024-02-01"]).dictionary_encode(),
        pa.array([" 20", "100 ", "3"], pa.large_string()),
    ],
)
def test_times_of_parquet(raw: Path, times: pa.Array) -> None:
    assert in_time(raw, times) == ["i2", "i0", "i1"]


@pytest.mark.parametrize(
    ("times", "row"),
    [
        (["1", "nan", "3"], "row 3: timestamp nan"),
        (["1.5", "2", "inf"], "row 4: timestamp inf"),
        (["2024-01-01", "soon", "2024-01-02"], "row 3: timestamp 'soon'"),
        (["1", "2024-01-01", "2"], "row 3: timestamp '2024-01-01'"),
        (["31/05/2024", "1", "2"], "row 2: timestamp '31/05/2024'"),
    ],
)
def test_times_that_are_none_are_refused(raw: Path, times: list[str], row: str) -> None:
    with pytest.raises(InputError, match=row):
        in_time(raw, times)


@pytest.mark.parametrize(
    "labels",
    [("Train", "VALIDATION ", " test"), ("0", "1", "2"), ("train", "val", "test"),
     ("train", "valid", "Test")],
)  # fmt: skip
def test_labels_of_splits(raw: Path, labels: tuple[str, ...]) -> None:
    rows = "".join(f"u,{i},{label}\n" for i, label in zip("abc", labels, strict=True))
    write(raw, "item_id\na\nb\nc\n", f"user_id,item_id,split\n{rows}")
    prepare(raw, PARAMS)
    assert [pairs(s) for s in paths.SPLITS] == [{("u", "a")}, {("u", "b")}, {("u", "c")}]
    if labels[0] == "0":
        table = pa.table({"user_id": list("uuu"), "item_id": list("abc"), "split": [0, 1, 2]})
        (raw / "interactions.csv").unlink()
        pq.write_table(table, raw / "interactions.parquet")
        prepare(raw, PARAMS)
        assert pairs("test") == {("u", "c")}


def test_links_in_the_folder_are_the_owners(raw: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As `cache.type: symlink` makes of every file."""
    store = raw.parent / "store"
    (store / "images").mkdir(parents=True)
    (store / "images/a.png").write_bytes(b"a")
    (store / "items.csv").write_text("item_id,image\na,images/a.png\nb,b.png\nc,loop.png\n")
    (store / "interactions.csv").write_text("user_id,item_id\nu,a\n")
    (store / "features").mkdir()
    np.save(store / "features/tags.npy", np.ones((3, 2)))
    for folder in ("images", "features"):
        (raw / folder).mkdir()
    for name in ("items.csv", "interactions.csv", "images/a.png", "features/tags.npy"):
        (raw / name).symlink_to(store / name)
    (raw / "b.png").symlink_to(store / "images/a.png")
    (raw / "loop.png").symlink_to("loop.png")
    prepare(raw, PARAMS)
    digests = pq.read_table(paths.manifest_path("image"))["sha256"].to_pylist()
    assert digests[0] == digests[1] != "" and digests[2] == ""
    assert len(pq.read_table(paths.FEATURES / "tags.parquet")) == 3
    assert "image: 1 of 3 files cannot be read" in caplog.text
    assert "row 4: image 'loop.png': too many levels of symbolic links" in caplog.text


def test_folders_that_are_links_are_refused(raw: Path) -> None:
    """DVC would notice no change behind them; the catalogue itself may be a link."""
    write(raw, "item_id,image\na,deep/images/a.png\n", "user_id,item_id\nu,a\n")
    (raw / "deep").mkdir()
    (raw.parent / "store").mkdir()
    (raw / "deep/images").symlink_to(raw.parent / "store")
    with pytest.raises(InputError, match=r"deep/images: a link to a folder, .* Link each file"):
        prepare(raw, PARAMS)
    (raw / "features").symlink_to(raw.parent / "store")
    with pytest.raises(InputError, match=r"features \(and 1 more\): a link to a folder"):
        prepare(raw, PARAMS)
    (raw / "features").unlink()
    (raw / "deep/images").unlink()
    (raw.parent / "shop").symlink_to(raw)
    prepare(raw.parent / "shop", PARAMS)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("b.png", "no such file"),
        ("../b.png", "the path leads out of the dataset folder"),
        ("/etc/passwd", "the path leads out of the dataset folder"),
        ("folder", "a folder, not a file"),
        ("pipe", "not a regular file"),
        ("A.PNG", "no such file; did you mean 'a.png'?"),
        ("pictures\\a.png", "no such file; write folders with /"),
        ("https://example.org/a.png", "an address; download it, and give the file's path"),
        ("x" * 300, "file name too long"),
    ],
)
def test_files_that_are_missing_are_said_to_be(
    raw: Path, caplog: pytest.LogCaptureFixture, source: str, why: str
) -> None:
    (raw / "folder").mkdir()
    os.mkfifo(raw / "pipe")
    (raw / "a.png").write_bytes(b"a")
    write(raw, f"item_id,image\na,a.png\nc,\nb,{source}\n", "user_id,item_id\nu,a\n")
    prepare(raw, PARAMS)
    assert "image: 1 of 2 files cannot be read, the first: " in caplog.text
    assert f"items.csv: row 4: image {source!r}: {why}" in caplog.text


def test_ready_made_rows_that_are_no_numbers_stop_the_stage(raw: Path) -> None:
    write(raw, "item_id\na\nb\nc\n", "user_id,item_id\nu,a\n")
    (raw / "features").mkdir()
    np.save(raw / "features/tags.npy", np.array([[1.0], [np.nan], [np.nan]]))
    message = refused(raw)
    assert "tags: 2 of 3 items could not be encoded" in message
    assert "prepare.max_failures: 0.5 allows" in message
    prepare(raw, replace(PARAMS, max_failures=0.7))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_bytes(b"PAR1"), "tags.parquet: not readable as Parquet"),
        (lambda p: pq.write_table(pa.table({"item_id": [["a"]], "embedding": [[1.0]]}), p),
         "item_id"),
        (lambda p: p.mkdir(), "tags.parquet: features are"),
        (lambda p: p.symlink_to(p), "tags.parquet: features are"),
    ],
)  # fmt: skip
def test_broken_features(raw: Path, make: Callable[[Path], None], message: str) -> None:
    write(raw, "item_id\na\n", "user_id,item_id\nu,a\n")
    (raw / "features").mkdir()
    make(raw / "features/tags.parquet")
    assert message in refused(raw)


def test_an_archive_of_arrays_is_no_array(raw: Path) -> None:
    write(raw, "item_id\na\n", "user_id,item_id\nu,a\n")
    (raw / "features").mkdir()
    np.savez(raw / "features/tags.npz", x=np.ones((1, 2)))
    os.rename(raw / "features/tags.npz", raw / "features/tags.npy")
    assert "tags.npy: an archive (.npz) of several arrays" in refused(raw)


def test_metadata_that_is_not_utf8(raw: Path) -> None:
    write(raw, "item_id\na\n", "user_id,item_id\nu,a\n")
    (raw / "features").mkdir()
    table = pa.table({"item_id": ["a"], "embedding": [[1.0, 2.0]]})
    pq.write_table(
        table.replace_schema_metadata({b"model": b"caf\xe9"}), raw / "features/tags.parquet"
    )
    prepare(raw, PARAMS)
    assert pq.read_table(paths.FEATURES / "tags.parquet")["embedding"].to_pylist() == [[1.0, 2.0]]


def test_nested_and_other_types_of_columns(raw: Path) -> None:
    write(raw, "item_id\n1\n2\n", "user_id,item_id\nu,1\n")
    (raw / "interactions.csv").unlink()
    table = pa.table({"user_id": pa.array([5, 6]).dictionary_encode(), "item_id": [1, 2]})
    pq.write_table(table, raw / "interactions.parquet")
    prepare(raw, PARAMS)
    assert pairs() == {("5", "1"), ("6", "2")}
    pq.write_table(pa.table({"user_id": [["u"]], "item_id": [1]}), raw / "interactions.parquet")
    assert "interactions.parquet" in refused(raw) and "user_id" in refused(raw)


def test_damaged_columns_of_parquet(raw: Path) -> None:
    """Texts and names that are none, behind a footer that is whole."""
    write(raw, "item_id\na\n", "user_id,item_id\nu,a\n")
    (raw / "items.csv").unlink()
    table = pa.table({"item_id": ["qqqq"], "title": ["zzzz"]})
    pq.write_table(table, raw / "items.parquet", use_dictionary=False, compression="none")
    whole = (raw / "items.parquet").read_bytes()
    for old in (b"qqqq", b"title"):
        (raw / "items.parquet").write_bytes(whole.replace(old, b"\xd1" * len(old)))
        assert "items.parquet: not readable as Parquet" in refused(raw)


def test_mutated_tables_end_with_a_message_or_a_result(raw: Path) -> None:
    ends = fuzz(150, 7)
    assert sum(ends.values()) == 150 and ends["taken"] and ends["refused"]


def test_columns_that_nobody_filled_are_as_if_not_there(raw: Path) -> None:
    rows = "".join(f"u,i{n},,,\n" for n in range(10))
    write(raw, "item_id\n" + "".join(f"i{n}\n" for n in range(10)),
          f"user_id,item_id,timestamp,rating,split\n{rows}")  # fmt: skip
    prepare(raw, PARAMS)
    assert len(pairs("test")) == 2 and len(pairs("train")) == 6
    nothing = pa.table({"user_id": ["u"], "item_id": ["i0"], "timestamp": pa.nulls(1),
                        "rating": pa.nulls(1), "split": pa.nulls(1)})  # fmt: skip
    (raw / "interactions.csv").unlink()
    pq.write_table(nothing, raw / "interactions.parquet")
    prepare(raw, PARAMS)
    assert pairs() == {("u", "i0")}


def test_times_of_day_are_no_times(raw: Path) -> None:
    with pytest.raises(InputError, match=r"timestamp is time32\[ms\]; valid: a number, or an ISO"):
        in_time(raw, pa.array([1, 2, 3], pa.time32("s")))


def test_dictionaries_that_differ_from_batch_to_batch(raw: Path) -> None:
    """As categories of pandas come, in files of several row groups."""
    write(raw, "", "user_id,item_id\nu,0\n")
    (raw / "items.csv").unlink()
    kind = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([("item_id", kind), ("text", kind), ("genre", kind)])
    with pq.ParquetWriter(raw / "items.parquet", schema) as writer:
        for group in range(3):
            ids = [str(10 * group + n) for n in range(10)]
            column = pa.array([f"value {i}" for i in ids]).dictionary_encode()
            arrays = [pa.array(ids).dictionary_encode(), column, column]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    prepare(raw, PARAMS)
    found = pq.read_table(paths.ITEMS).to_pydict()
    assert found["genre"] == [f"value {i}" for i in found["item_id"]]
    assert len(pq.read_table(paths.manifest_path("text"))) == 30


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"split": [["train"]]}, "split is list"),
        ({"split": [{"a": 1}]}, "split is struct"),
        ({"rating": [[5]]}, "rating"),
        ({"timestamp": [[5]]}, "timestamp is list"),
    ],
)
def test_nested_columns_are_refused(raw: Path, column: dict[str, list], message: str) -> None:
    write(raw, "item_id\na\n", "")
    (raw / "interactions.csv").unlink()
    table = pa.table({"user_id": ["u"], "item_id": ["a"], **column})
    pq.write_table(table, raw / "interactions.parquet")
    assert f"interactions.parquet: {message}" in refused(raw).replace(
        "row 0 (the first is 0): ", ""
    )


def test_whole_numbers_of_64_bits_are_times(raw: Path) -> None:
    assert in_time(raw, pa.array([2**63 + 1, 2**63 + 2, 5], pa.uint64())) == ["i2", "i0", "i1"]


def test_features_without_rows(raw: Path) -> None:
    write(raw, "item_id\na\n", "user_id,item_id\nu,a\n")
    (raw / "features").mkdir()
    kind = pa.list_(pa.float32())
    empty = pa.table({"item_id": pa.array([], pa.string()), "embedding": pa.array([], kind)})
    pq.write_table(empty, raw / "features/tags.parquet")
    assert "tags.parquet: no rows" in refused(raw)


@pytest.mark.parametrize("name", ["x" * 300, "loop/below"])
def test_a_folder_that_cannot_be_looked_at(raw: Path, name: str) -> None:
    Path("loop").symlink_to(Path("loop").absolute())
    assert "file name too long" in refused(Path(name)) or "symbolic links" in refused(Path(name))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
@pytest.mark.parametrize("encoded", [False, True])
def test_texts_of_every_kind(raw: Path, kind: pa.DataType, encoded: bool) -> None:
    def column(*values: str) -> pa.Array:
        array = pa.array(values, kind)
        return array.cast(pa.string()).dictionary_encode() if encoded else array

    items = pa.table({"item_id": column("a", "b"), "text": column("x", "y")})
    pq.write_table(items, raw / "items.parquet")
    interactions = pa.table({
        "user_id": column("u", "v"), "item_id": column("a", "b"), "rating": column(" 5", "1"),
        "timestamp": column("1", "2"), "split": column("Train", "test "),
    })  # fmt: skip
    pq.write_table(interactions, raw / "interactions.parquet")
    prepare(raw, replace(PARAMS, min_rating=0.5))
    assert pairs("train") == {("u", "a")} and pairs("test") == {("v", "b")}
    assert pq.read_table(paths.manifest_path("text"))["source"].to_pylist() == ["x", "y"]


def test_everything_wrong_is_said_though_a_table_cannot_be_read(raw: Path) -> None:
    write(raw, "itemId,text\na,x\n", "userId,item_id\nu,a\n")
    message = refused(raw)
    for part in ("column 'itemId': did you mean item_id?", "no column item_id",
                 "column 'userId': did you mean user_id?", "no column user_id"):  # fmt: skip
        assert part in message
    write(raw, "item_id\na\na\n", "")
    (raw / "interactions.csv").unlink()
    message = refused(raw)
    assert "stands in several rows" in message and "no table of interactions" in message


@pytest.mark.parametrize("kind", ["temporal", "temporal_global", "leave_one_out"])
def test_some_times_are_not_enough(raw: Path, kind: str) -> None:
    write(raw, "item_id\na\nb\n", "user_id,item_id,timestamp\nu,a,1\nu,b,\n")
    message = refused(raw, replace(PARAMS, split=kind))
    assert f"prepare.split: {kind}: some rows have a timestamp and some have none" in message
    prepare(raw, PARAMS)  # a random split needs none


def test_whole_numbers_that_a_gap_made_floats(raw: Path) -> None:
    """As pandas does: the ids are the whole numbers that they were."""
    pq.write_table(pa.table({"item_id": [10_000_000_000, 7]}), raw / "items.parquet")
    interactions = {"user_id": [1e15, 2.0], "item_id": [1e10, 7.0], "split": [0.0, 2.0]}
    pq.write_table(pa.table(interactions), raw / "interactions.parquet")
    prepare(raw, PARAMS)
    assert pairs("train") == {("1000000000000000", "10000000000")} and pairs("test") == {("2", "7")}
    gap = pa.table({"user_id": [1.0, float("nan")], "item_id": [7.0, 7.0]})
    pq.write_table(gap, raw / "interactions.parquet")
    assert "row 1 (the first is 0): user_id is empty" in refused(raw)


@pytest.mark.parametrize("first", [7, 100_000_000_001, 10**15 + 1])
def test_ids_that_are_floats_in_both_tables(raw: Path, first: int) -> None:
    ids = [float(first), first + 1.0]
    pq.write_table(pa.table({"item_id": ids}), raw / "items.parquet")
    pq.write_table(pa.table({"user_id": ["u", "u"], "item_id": ids}), raw / "interactions.parquet")
    prepare(raw, PARAMS)
    assert pairs() == {("u", str(first)), ("u", str(first + 1))}


def test_uuids_are_ids(raw: Path) -> None:
    ids = pa.array([bytes(range(16)), bytes(range(1, 17))], pa.binary(16))
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), ids)
    pq.write_table(pa.table({"item_id": uuids}), raw / "items.parquet")
    (raw / "interactions.csv").write_text(
        "user_id,item_id\nu,00010203-0405-0607-0809-0a0b0c0d0e0f\n"
    )
    prepare(raw, PARAMS)
    assert pairs() == {("u", "00010203-0405-0607-0809-0a0b0c0d0e0f")}


@pytest.mark.parametrize("name", ["feature", "Features"])
def test_a_folder_of_features_almost_right_is_asked_about(raw: Path, name: str) -> None:
    write(raw, "item_id\na\n", "user_id,item_id\nu,a\n")
    (raw / name).mkdir()
    assert f"{name}: did you mean features?" in refused(raw)


@pytest.mark.parametrize("name", RESERVED)
def test_names_of_other_things_are_no_modalities(raw: Path, name: str) -> None:
    """Parts of a score are listed by name, collaboration beside the modalities."""
    write(raw, "item_id\na\n", "user_id,item_id\nu,a\n")
    (raw / "features").mkdir()
    np.save(raw / f"features/{name}.npy", np.ones((1, 2)))
    message = refused(raw)
    assert f"features: {name}: a name that this project has a use for; rename the file" in message


def test_names_that_the_report_could_not_tell_apart(raw: Path) -> None:
    """Its files have no blanks in their names."""
    write(raw, "item_id\na\n", "user_id,item_id\nu,a\n")
    (raw / "features").mkdir()
    np.save(raw / "features/my-tags.npy", np.ones((1, 2)))
    prepare(raw, PARAMS)
    np.save(raw / "features/my tags.npy", np.ones((1, 2)))
    assert "features: my tags, my-tags: too much alike" in refused(raw)
    (raw / "features/my tags.npy").rename(raw / "features/trained model.npy")
    assert "trained model: a name that this project has a use for" in refused(raw)


def test_all_names_that_collide_with_modalities_are_reserved() -> None:
    ours = {COLLABORATION, CONSTANT, similarity.MODEL, similarity.COLLABORATION, similarity.CONTENT}
    assert ours <= {*RESERVED}


@pytest.mark.parametrize("text", ["\ufffd", "\u0301", "\ue000"])
def test_both_rules_of_what_shows_something_agree(raw: Path, text: str) -> None:
    assert not visible(pa.array([text]))[0].as_py()
    with pytest.raises(MediaError):
        read_text(text)
