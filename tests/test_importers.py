"""Importers: a folder in another format → the raw layout → prepared."""

import gzip
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.common import paths
from pipeline.common.params import Prepare
from pipeline.prepare import prepare

Convert = Callable[..., Path]
IMPORTERS = ("amazon", "elliot", "lightgcn", "mmrec", "movielens", "recbole")
PREPARE = Prepare(seed=0, split="random", validation=0.1, test=0.1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def convert(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Convert:
    """Run an importer's command on `source`; each time into a new folder."""

    def run(name: str, *choices: str) -> Path:
        target = tmp_path / f"raw{len(list(tmp_path.glob('raw*')))}"
        module = f"pipeline.importers.{name}"
        monkeypatch.setattr("sys.argv", [name, str(source), str(target), *choices])
        runpy.run_module(module, run_name="__main__")
        return target

    return run


@pytest.fixture
def refusal(convert: Convert, tmp_path: Path) -> Callable[..., str]:
    """The one line that an importer's command ends with; it must leave no folder."""

    def run(name: str, *choices: str) -> str:
        before = {*tmp_path.iterdir()}
        with pytest.raises(SystemExit) as end:
            convert(name, *choices)
        assert {*tmp_path.iterdir()} == before
        assert isinstance(end.value.code, str) and "\n" not in end.value.code
        return end.value.code

    return run


def items(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "items.parquet").to_pylist()


def interactions(folder: Path) -> list[tuple[Any, ...]]:
    return [tuple(r.values()) for r in pq.read_table(folder / "interactions.parquet").to_pylist()]


def columns(folder: Path) -> dict[str, str]:
    schema = pq.read_schema(folder / "interactions.parquet")
    return {field.name: str(field.type) for field in schema}


def features(folder: Path, name: str) -> np.ndarray:
    """(items, d) in the order of the items; NaN where an item has none."""
    table = pq.read_table(folder / f"features/{name}.parquet").to_pydict()
    rows = {item: vector for item, vector in zip(*table.values(), strict=True)}
    ids = pq.read_table(folder / "items.parquet")["item_id"].to_pylist()
    width = len(next(iter(rows.values())))
    return np.array([rows.get(item, [np.nan] * width) for item in ids], np.float32)


def texts(folder: Path) -> dict[str, tuple[str | None, str | None]]:
    return {row["item_id"]: (row["title"], row["text"]) for row in items(folder)}


# Every format: the folder


def write_mmrec(source: Path) -> None:
    (source / "shop.inter").write_text(
        "userID\titemID\trating\ttimestamp\tx_label\n"
        "0\t1\t4.5\t1400000000\t0\n0\t0\t3.0\t1400000001\t1\n1\t1\t5.0\t1400000002\t2\n"
    )
    np.save(source / "text_feat.npy", np.array([[1, 2], [3, 4], [0, 0]], np.float64))
    np.save(source / "image_feat.npy", np.array([[1.5], [2.5], [3.5]], np.float32))


def test_an_existing_folder_is_left_alone(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mmrec(source)
    target = tmp_path / "mine"
    target.mkdir()
    (target / "items.csv").write_text("item_id\nprecious\n")
    monkeypatch.setattr("sys.argv", ["mmrec", str(source), str(target)])
    with pytest.raises(SystemExit, match="mine: is there already"):
        runpy.run_module("pipeline.importers.mmrec", run_name="__main__")
    assert [path.name for path in target.iterdir()] == ["items.csv"]


@pytest.mark.parametrize("name", IMPORTERS)
def test_the_command(
    name: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(*arguments: object) -> str:
        monkeypatch.setattr("sys.argv", [f"{name}.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_module(f"pipeline.importers.{name}", run_name="__main__")
        return str(end.value.code)

    target = tmp_path / "raw"
    usage = f"usage: python -m pipeline.importers.{name} <source> <dataset>"
    for arguments in ([], [source], [source, target, "text="], [source, target, "more"]):
        assert error(*arguments).startswith(f"error: {usage}")
    assert error(tmp_path / "none", target) == f"error: {tmp_path / 'none'}: no such folder"
    assert str(source) in error(source, target)  # which is empty
    assert not target.exists()


# LightGCN


@pytest.fixture
def lightgcn(source: Path) -> Path:
    (source / "train.txt").write_text("0 0 1 10\n1 2\n")
    (source / "validation.txt").write_text("1 0\n")
    (source / "test.txt").write_text("0 2\n1\n")
    (source / "items.tsv").write_text(
        'item\tid\ttitle\tgenres\n0\t7\tThe "Big" One\tDrama|War\n1\t8\t\t\n2\t9\tPlain, 1995\t\n'
    )
    return source


def test_lightgcn(
    lightgcn: Path, convert: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = convert("lightgcn")
    assert {path.name for path in folder.iterdir()} == {"items.parquet", "interactions.parquet"}
    assert texts(folder) == {
        "0": ('The "Big" One', 'The "Big" One. Drama, War'),
        "1": (None, None),
        "2": ("Plain, 1995", "Plain, 1995"),
        "10": (None, None),  # not described but interacted with
    }
    prepare(folder, PREPARE)
    assert [len(pq.read_table(paths.split_path(s))) for s in ("train", "validation", "test")] == [
        4, 1, 1,
    ]  # fmt: skip
    assert len(pq.read_table(paths.manifest_path("text"))) == 2


def test_lightgcn_every_interaction_with_its_split(lightgcn: Path, convert: Convert) -> None:
    (lightgcn / "train.txt").write_text("10 3 020 4\n\n9\n2 3\n")  # 9 has none, a line is empty
    (lightgcn / "test.txt").write_text("9 3\n")
    folder = convert("lightgcn")
    assert columns(folder) == {"user_id": "string", "item_id": "string", "split": "string"}
    assert interactions(folder) == [
        ("10", "3", "train"),
        ("10", "020", "train"),
        ("10", "4", "train"),
        ("2", "3", "train"),
        ("1", "0", "validation"),
        ("9", "3", "test"),
    ]


def test_lightgcn_a_text_goes_before_title_and_genres(lightgcn: Path, convert: Convert) -> None:
    # The first column is the item, whatever it is called; `id` is not.
    (lightgcn / "items.tsv").write_text(
        "remapped\tid\tgenres\ttitle\ttext\n"
        "0\t5\tA|B|C\tFirst\tIts own words\n"
        "1\t6\tA|B|C\tSecond\t\n"
        "2\t7\tA|B\t\t\n"
        "30\t8\t\tOnly described\t\n"
    )
    assert texts(convert("lightgcn")) == {
        "0": ("First", "Its own words"),
        "1": ("Second", "Second. A, B, C"),
        "2": (None, None),  # genres alone are no text
        "10": (None, None),
        "30": ("Only described", "Only described"),
    }


def test_lightgcn_without_descriptions(lightgcn: Path, convert: Convert) -> None:
    (lightgcn / "items.tsv").unlink()
    (lightgcn / "validation.txt").unlink()
    folder = convert("lightgcn")
    assert items(folder) == [{"item_id": i} for i in ("0", "1", "2", "10")]
    assert [row[2] for row in interactions(folder)] == ["train"] * 4 + ["test"]


def test_lightgcn_what_is_wrong_is_named(lightgcn: Path, refusal: Callable[..., str]) -> None:
    for word in ("x3", "-1", "1.5", "²", "٣"):
        (lightgcn / "train.txt").write_text(f"0 1\n\n1 2\n1 {word}\n", encoding="utf-8")
        assert f"train.txt: line 4: {word!r} is no id" in refusal("lightgcn")
    (lightgcn / "train.txt").write_bytes(b"0 1\n\xff 1\n")
    assert "train.txt: line 2" in refusal("lightgcn")
    (lightgcn / "train.txt").write_text("0 1\n")
    for item, what in (("", "'' is no id"), ("²", "'²' is no id"), ("1", "item 1 stands in sev")):
        (lightgcn / "items.tsv").write_text(f"item\ttitle\n1\tOne\n{item}\tTwo\n")
        assert f"items.tsv: row 3: {what}" in refusal("lightgcn")
        (lightgcn / "items.tsv").write_text(f"item\ttitle\n1\tOne\n\n{item}\tTwo\n")
        assert f"items.tsv: row 4: {what}" in refusal("lightgcn")
    (lightgcn / "train.txt").unlink()
    assert "no train.txt" in refusal("lightgcn")


# MMRec


def test_mmrec(source: Path, convert: Convert) -> None:
    write_mmrec(source)
    folder = convert("mmrec")
    assert items(folder) == [{"item_id": "0"}, {"item_id": "1"}, {"item_id": "2"}]
    assert columns(folder) == {
        "user_id": "string", "item_id": "string", "rating": "double", "timestamp": "int64",
        "split": "string",
    }  # fmt: skip
    assert interactions(folder) == [
        ("0", "1", 4.5, 1400000000, "train"),
        ("0", "0", 3.0, 1400000001, "validation"),
        ("1", "1", 5.0, 1400000002, "test"),
    ]
    text, image = (features(folder, name) for name in ("text", "image"))
    assert text.dtype == image.dtype == np.float32
    np.testing.assert_array_equal(text, [[1, 2], [3, 4], [np.nan, np.nan]])  # zeros: no text
    np.testing.assert_array_equal(image, [[1.5], [2.5], [3.5]])


@pytest.mark.parametrize("name", ["missed_image_itemIDs.csv", "missed_img_itemIDs.csv"])
def test_mmrec_items_without_an_image(
    source: Path, convert: Convert, refusal: Callable[..., str], name: str
) -> None:
    """Their rows hold the mean of the others, and a list says which they are."""
    write_mmrec(source)
    (source / name).write_text("0\n2\n")
    image = features(convert("mmrec"), "image")
    np.testing.assert_array_equal(image, [[np.nan], [2.5], [np.nan]])
    for line in ("3", "x", "-1"):
        (source / name).write_text(f"0\n{line}\n")
        assert f"{name}: line 2: {line!r} is no itemID from 0 to 2" in refusal("mmrec")


def test_mmrec_own_ids(source: Path, convert: Convert) -> None:
    write_mmrec(source)
    (source / "i_id_mapping.csv").write_text("asin\titemID\r\n007\t1\r\nB0,x\t0\r\nÜ\t2\r\n")
    (source / "u_id_mapping.csv").write_text("user_id\tuserID\nAnn\t0\nBob\t1\n")
    folder = convert("mmrec")
    assert [row["item_id"] for row in items(folder)] == ["B0,x", "007", "Ü"]
    assert [row[:2] for row in interactions(folder)] == [
        ("Ann", "007"), ("Ann", "B0,x"), ("Bob", "007"),
    ]  # fmt: skip


def test_mmrec_as_m3l_comes(
    source: Path, convert: Convert, refusal: Callable[..., str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """No timestamp, and a folder a modality with a file an encoder."""
    (source / "ml10m.inter").write_text(
        "userID\titemID\trating\tx_label\n0\t1\t1\t0\n0\t0\t0\t1\n1\t1\t1\t2\n"
    )
    for number, name in enumerate(("text/minilm", "text/mpnet", "audio/vggish"), 1):
        (source / name).parent.mkdir(exist_ok=True)
        np.save(source / f"{name}.npy", np.full((2, 3), number, np.float64))
    error = refusal("mmrec")
    assert "text has several sources of features" in error and "text/mpnet.npy" in error
    assert "valid: audio/vggish.npy, text/minilm.npy" in refusal("mmrec", "text=text/bert.npy")
    folder = convert("mmrec", "text=text/mpnet.npy", "sound=audio/vggish.npy")
    assert {path.name for path in (folder / "features").iterdir()} == {
        "text.parquet",
        "sound.parquet",
    }
    assert (features(folder, "text") == 2).all()
    assert interactions(folder)[1] == ("0", "0", 0.0, "validation")
    monkeypatch.chdir(tmp_path)
    prepare(folder, PREPARE)
    assert json.loads(paths.SUMMARY.read_text())["modalities"]["sound"] == {"items": 2}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("shop.inter", "userID\titemID\n0\tx\n", "row 2: itemID 'x' is no row number"),
        ("shop.inter", "userID\titemID\n0\t1\n-1\t1\n", "row 3: userID '-1' is no row number"),
        ("shop.inter", "userID\titemID\n\t1\n", "shop.inter: row 2: userID is empty"),
        ("shop.inter", "userID\titem\n0\t1\n", "shop.inter: no column itemID; it has userID, item"),
        ("shop.inter", "userID\titemID\tx_label\n0\t1\t0\n0\t0\t3\n", "row 3: x_label '3'"),
        ("shop.inter", "userID\titemID\tx_label\n\n0\t1\t0\n\n0\t0\t3\n", "row 5: x_label '3'"),
        ("shop.inter", "userID\titemID\n0\t1\n\nx\t1\n", "row 4: userID 'x' is no row number"),
        ("shop.inter", "userID\titemID\trating\n0\t1\tgood\n", "row 2: rating 'good' is no number"),
        ("shop.inter", "userID\titemID\n0\t1\n0\n", "shop.inter: CSV parse error: Row #"),
        ("shop.inter", "userID\titemID\n0\t3\n", "text has 3 rows"),
        ("shop.inter", "", "shop.inter: "),
        ("shop.inter", "userID\titemID\tx_label\n", "shop.inter: no rows"),
        ("b.inter", "userID\titemID\n0\t1\n", "b.inter, shop.inter ending in .inter"),
        ("i_id_mapping.csv", "asin\titemID\nA\t0\nB\t2\n", "itemID must count from 0"),
        ("i_id_mapping.csv", "asin\titemID\nA\t0\nB\t1\n", "i_id_mapping.csv has 2 rows"),
        ("i_id_mapping.csv", "itemID\n0\n", "i_id_mapping.csv: the columns are itemID"),
        ("u_id_mapping.csv", "user\tuserID\nA\t0\n", "u_id_mapping.csv has 1 rows; 2 are needed"),
        ("text_feat.npy", "no array", "text_feat.npy: not readable as a NumPy array"),
    ],
)
def test_mmrec_what_is_wrong_is_named(
    source: Path, refusal: Callable[..., str], name: str, content: str, message: str
) -> None:
    write_mmrec(source)
    (source / name).write_text(content)
    assert message in refusal("mmrec")


def test_mmrec_features_of_other_sizes(source: Path, refusal: Callable[..., str]) -> None:
    write_mmrec(source)
    np.save(source / "image_feat.npy", np.ones((4, 1)))
    error = refusal("mmrec")
    assert "text has 3 rows" in error and "image has 4 rows" in error
    np.save(source / "image_feat.npy", np.ones(3))
    assert "image_feat.npy: float64 of shape (3,)" in refusal("mmrec")
    np.savez(source / "several.npz", np.ones((3, 1)))
    (source / "several.npz").rename(source / "image_feat.npy")
    assert "image_feat.npy: an archive (.npz) of several arrays" in refusal("mmrec")
    (source / "image_feat.npy").write_bytes(b"\x93NUMPY\x01\x00\x06\x00{'a(: ")
    assert "image_feat.npy: not readable as a NumPy array of numbers" in refusal("mmrec")


# RecBole


def write_recbole(source: Path) -> None:
    (source / "shop.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "u1\t007\t4.5\t1400000000.0\nu1\t2\t3\t1400000001\n"
    )
    (source / "shop.item").write_text(
        "item_id:token\tmovie_title:token_seq\tyear:token\tclass:token_seq\ttext_emb:float_seq\n"
        "007\t\"Ünder\" fire\t1995\tDrama War\t0.1 -2e-3\n"
        "2\tPlain\t1996\t\t\n"
        "30\t\t\t\t1.0 3.5\n"
    )  # fmt: skip


def test_recbole(source: Path, convert: Convert) -> None:
    write_recbole(source)
    folder = convert("recbole")
    assert texts(folder) == {
        "2": ("Plain", "Plain"),
        "007": ('"Ünder" fire', '"Ünder" fire. Drama War'),
        "30": (None, None),
    }
    assert columns(folder)["timestamp"] == "int64"
    assert interactions(folder) == [
        ("u1", "007", 4.5, 1400000000),
        ("u1", "2", 3.0, 1400000001),
    ]
    found = features(folder, "text")
    assert found.dtype == np.float32 and np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1:], np.array([[0.1, -2e-3], [1.0, 3.5]], np.float32))


def test_recbole_a_split_goes_before_the_whole(source: Path, convert: Convert) -> None:
    write_recbole(source)
    for part, item in (("train", "007"), ("valid", "2"), ("test", "30")):
        (source / f"shop.{part}.inter").write_text(f"user_id:token\titem_id:token\nu1\t{item}\n")
    assert interactions(convert("recbole")) == [
        ("u1", "007", "train"), ("u1", "2", "validation"), ("u1", "30", "test"),
    ]  # fmt: skip
    (source / "shop.valid.inter").write_text("user_id:token\titem_id:token\n")
    (source / "shop.item").unlink()
    folder = convert("recbole")
    assert [row[2] for row in interactions(folder)] == ["train", "test"]
    assert items(folder) == [{"item_id": "007"}, {"item_id": "30"}]


def test_recbole_a_title_that_is_one_token(source: Path, convert: Convert) -> None:
    write_recbole(source)
    (source / "shop.item").write_text("item_id:token\ttitle:token\tprice:float\n2\tA pen\t1.5\n")
    assert texts(convert("recbole")) == {"2": ("A pen", "A pen"), "007": (None, None)}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("shop.inter", "user_id\titem_id\n1\t2\n", "shop.inter: no column user_id:token"),
        ("shop.inter", "user_id:token\titem_id:token\n1\t\n", "row 2: item_id:token is empty"),
        (
            "shop.inter",
            "user_id:token\titem_id:token\ttimestamp:float\n1\t2\t1\n1\t2\tnoon\n",
            "shop.inter: row 3: timestamp:float 'noon' is no number",
        ),
        ("b.inter", "", "b.inter, shop.inter: only one file may end in .inter"),
        ("shop.inter", "user_id:token\titem_id:token\n", "source: no interactions"),
        ("shop.item", "title:token_seq\nA\n", "shop.item: no column item_id:token"),
        ("shop.item", "item_id:token\n2\n2\n", "shop.item: row 3: item '2' stands twice"),
        ("shop.item", "item_id:token\te:float_seq\n2\t1 2\n007\t\n3\t1 x\n", "row 4: e:float_seq"),
        ("shop.item", "item_id:token\te:float_seq\n2\t1 2\n3\t1\n", "several widths: 1 (3), 2 (2)"),
    ],
)
def test_recbole_what_is_wrong_is_named(
    source: Path, refusal: Callable[..., str], name: str, content: str, message: str
) -> None:
    write_recbole(source)
    (source / name).write_text(content)
    assert message in refusal("recbole")


# MovieLens


def test_movielens_100k(source: Path, convert: Convert) -> None:
    (source / "u.data").write_text("196\t242\t3\t881250949\n186\t302\t4\t891717742\n")
    (source / "u.genre").write_text("unknown|0\nAction|1\nDrama|2\n\n")
    (source / "u.item").write_bytes(
        "242|Misérables, Les (1995)|01-Jan-1995||http://x|0|1|1\n"
        "302|Plain||||0|0|0\n9|unknown||||1|0|0\n".encode("latin-1")
    )
    folder = convert("movielens")
    assert texts(folder) == {
        "9": ("unknown", "unknown"),
        "242": ("Misérables, Les (1995)", "Misérables, Les (1995). Action, Drama"),
        "302": ("Plain", "Plain"),
    }
    assert columns(folder) == {
        "user_id": "string", "item_id": "string", "rating": "double", "timestamp": "int64",
    }  # fmt: skip
    assert interactions(folder) == [
        ("196", "242", 3.0, 881250949),
        ("186", "302", 4.0, 891717742),
    ]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_movielens_dat(source: Path, convert: Convert, encoding: str) -> None:
    """ml-1m is in Latin-1, ml-10m in UTF-8 and has halves of a star."""
    (source / "ratings.dat").write_text("1::1193::4.5::978300760\n2::7::3::978302109\n")
    (source / "movies.dat").write_text(
        "1193::Alien: Schön (1975)::Drama|War\n7::Cuckoo::Children's\n", encoding=encoding
    )
    folder = convert("movielens")
    assert texts(folder) == {
        "7": ("Cuckoo", "Cuckoo. Children's"),
        "1193": ("Alien: Schön (1975)", "Alien: Schön (1975). Drama, War"),
    }
    assert interactions(folder) == [("1", "1193", 4.5, 978300760), ("2", "7", 3.0, 978302109)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_movielens_with_lines_of_any_system(source: Path, convert: Convert, end: str) -> None:
    (source / "u.data").write_text("196\t2\t3\t881250949\n")
    (source / "u.genre").write_bytes(end.join(["unknown|0", "Action|1", "Drama|2", ""]).encode())
    (source / "u.item").write_bytes(end.join(["1|A|d||u|0|1|0", "2|B|d||u|0|1|1", ""]).encode())
    assert texts(convert("movielens")) == {"1": ("A", "A. Action"), "2": ("B", "B. Action, Drama")}


def test_movielens_csv(source: Path, convert: Convert) -> None:
    (source / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n1,1029,3.0,1260759179\n"
    )
    (source / "movies.csv").write_text(
        'movieId,title,genres\n31,"American, ""The"" (1995)",Drama\n'
        "1029,Dumbo,(no genres listed)\n5,Sabrina,Comedy|Romance\n"
    )
    folder = convert("movielens")
    assert texts(folder) == {
        "5": ("Sabrina", "Sabrina. Comedy, Romance"),
        "31": ('American, "The" (1995)', 'American, "The" (1995). Drama'),
        "1029": ("Dumbo", "Dumbo"),
    }
    assert interactions(folder) == [("1", "31", 2.5, 1260759144), ("1", "1029", 3.0, 1260759179)]


RATED = {"ratings.dat": "1::2::3::4\n", "movies.dat": "2::Two::Drama\n"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (RATED | {"ratings.csv": ""}, "ratings.csv and ratings.dat; exactly one"),
        ({"ratings.dat": "1::2::3::4\n"}, "movies.dat: no such file"),
        (RATED | {"ratings.dat": "1::2::3::4\n1::2::x::4\n"}, "ratings.dat: row 2: rating 'x'"),
        (RATED | {"ratings.dat": "1::2::3::4\n1::::3::4\n"}, "ratings.dat: row 2: movie is empty"),
        (RATED | {"ratings.dat": "1::2::3::4\n\n1::2::x::4\n"}, "ratings.dat: row 3: rating 'x'"),
        (
            {
                "ratings.csv": "userId,movieId,rating,timestamp\n1,2,3,4\n\n1,,3,4\n",
                "movies.csv": "movieId,title,genres\n2,T,G\n",
            },
            "ratings.csv: row 4: movieId is empty",
        ),
        (
            {
                "ratings.csv": "userId,movieId,rating,timestamp\n1,2,3,4\n",
                "movies.csv": "movieId,title,genres\n\n2,T,G\n2,U,G\n",
            },
            "movies.csv: row 4: item 2 stands in several",
        ),
        (RATED | {"ratings.dat": "1::2::3::4\n1::2\n"}, "rows of user, movie, rating, timestamp"),
        (RATED | {"movies.dat": "2::Two::Drama\n3::Three\n"}, "movies.dat: row 2: 2 cells"),
        (RATED | {"movies.dat": "2::Two::Drama\n2::Two::War\n"}, "row 2: item 2 stands in several"),
        (RATED | {"movies.dat": "::Two::Drama\n"}, "movies.dat: row 1: the item is empty"),
        (
            {
                "ratings.csv": "userId,movieId,rating,timestamp\n1,2,3,4\n",
                "movies.csv": "movieId,title\n2,T\n",
            },
            "movies.csv: no column genres; it has movieId, title",
        ),
        (
            {"u.data": "1\t2\t3\t4\n", "u.genre": "A|0\nB|1\n", "u.item": "2|T||||1\n"},
            "u.item: row 1: 1 flags; u.genre names 2 genres",
        ),
    ],
)
def test_movielens_what_is_wrong_is_named(
    source: Path, refusal: Callable[..., str], files: dict[str, str], message: str
) -> None:
    for name, content in files.items():
        (source / name).write_text(content)
    assert message in refusal("movielens")


# Amazon


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


OLD = [
    {"reviewerID": "A1", "asin": "0001", "overall": 5.0, "unixReviewTime": 1400000000,
     "helpful": [0, 1]},
    {"reviewerID": "A2", "asin": "B0", "overall": 3, "unixReviewTime": 1400000001,
     "style": {"a": 1}},
]  # fmt: skip


def test_amazon_2014(source: Path, convert: Convert) -> None:
    """Products are written as Python writes dicts."""
    (source / "reviews_Baby_5.json").write_text(lines(*OLD))
    products = [
        {"asin": "0001", "title": "Toy &amp; \"box\" don't", "description": "It\n rattles.",
         "imUrl": "http://x/1.jpg"},
        {"asin": "unreviewed", "title": "Nobody has it"},
    ]  # fmt: skip
    (source / "meta_Baby.json").write_text("".join(f"{product!r}\n" for product in products))
    folder = convert("amazon")
    assert items(folder) == [
        {"item_id": "0001", "title": 'Toy & "box" don\'t',
         "text": 'Toy & "box" don\'t It rattles.', "image_url": "http://x/1.jpg"},
        {"item_id": "B0", "title": None, "text": None, "image_url": None},
    ]  # fmt: skip
    assert columns(folder) == {
        "user_id": "string", "item_id": "string", "rating": "double", "timestamp": "int64",
    }  # fmt: skip
    assert interactions(folder) == [
        ("A1", "0001", 5.0, 1400000000), ("A2", "B0", 3.0, 1400000001),
    ]  # fmt: skip


def test_amazon_with_half_a_character(source: Path, convert: Convert) -> None:
    """As JSON has it of a title that was cut."""
    (source / "reviews_Baby_5.json").write_text(lines(*OLD))
    cut = {"asin": "B0", "title": "bad \ud83d", "imUrl": "http://x/\udc00.jpg"}
    (source / "meta_Baby.json").write_text(lines(cut))
    assert items(convert("amazon"))[1] == {
        "item_id": "B0", "title": "bad ?", "text": "bad ?", "image_url": "http://x/?.jpg",
    }  # fmt: skip


def test_amazon_2018_gzipped(source: Path, convert: Convert) -> None:
    product = {"asin": "B0", "title": "Füll", "feature": ["Soft", "Red"], "description": ["One."],
               "imageURLHighRes": ["http://x/h.jpg"], "imageURL": ["http://x/l.jpg"]}  # fmt: skip
    (source / "Baby_5.json.gz").write_bytes(gzip.compress(lines(*OLD).encode()))
    (source / "meta_Baby.json.gz").write_bytes(gzip.compress(lines(product).encode()))
    folder = convert("amazon")
    assert len(interactions(folder)) == 2
    assert items(folder)[1] == {
        "item_id": "B0", "title": "Füll", "text": "Füll Soft Red One.",
        "image_url": "http://x/h.jpg",
    }  # fmt: skip


def test_amazon_2023(source: Path, convert: Convert) -> None:
    review = {"rating": 4.0, "title": "Good", "asin": "variant", "parent_asin": "B1",
              "user_id": "AE", "timestamp": 1588687728923, "images": []}  # fmt: skip
    product = {"parent_asin": "B1", "title": "Brush", "features": [], "description": [],
               "images": [{"hi_res": None, "large": "http://x/L.jpg"}], "price": None}  # fmt: skip
    (source / "All_Beauty.jsonl").write_text(lines(review))
    (source / "meta_All_Beauty.jsonl").write_text(lines(product))
    folder = convert("amazon")
    assert interactions(folder) == [("AE", "B1", 4.0, 1588687728923)]
    assert items(folder) == [
        {"item_id": "B1", "title": "Brush", "text": "Brush", "image_url": "http://x/L.jpg"}
    ]


def test_amazon_without_products(source: Path, convert: Convert) -> None:
    (source / "reviews.json").write_text(lines(*OLD))
    assert items(convert("amazon")) == [{"item_id": "0001"}, {"item_id": "B0"}]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "reviews: none; products: none"),
        ({"b.jsonl": lines(*OLD)}, "reviews: b.jsonl, r.json; products: none"),
        ({"r.json": lines(*OLD) + "{'reviewerID': 'A'}\n"}, "r.json: line 3: no JSON: \"{'rev"),
        ({"r.json": lines(*OLD) + "\n[]\n"}, "r.json: line 4: '[]' is no object"),
        ({"r.json": lines({"reviewerID": "A", "overall": 1})}, "r.json: line 1: no asin"),
        ({"r.json": lines(*OLD, OLD[0] | {"asin": ""})}, "r.json: line 3: no asin; valid: "),
        ({"r.json": lines(OLD[0] | {"overall": "5"})}, "line 1: overall '5' is not valid; double"),
        ({"r.json": lines({"user_id": "A", "parent_asin": 7})}, "line 1: parent_asin 7 is not"),
        (
            {"r.json": lines(*OLD, {"user_id": "A", "parent_asin": "B", "rating": 1})},
            "r.json: reviews of both layouts",
        ),
        ({"meta_r.json": "{'asin': 'B0'}\nprint('no')\n"}, "meta_r.json: line 2: no JSON"),
        ({"meta_r.json": '{"title": "B0"}\n'}, "meta_r.json: line 1: no parent_asin and no asin"),
        ({"meta_r.json.gz": "no gzip"}, "meta_r.json.gz: not readable"),
    ],
)  # fmt: skip
def test_amazon_what_is_wrong_is_named(
    source: Path, refusal: Callable[..., str], files: dict[str, str], message: str
) -> None:
    if files:
        (source / "r.json").write_text(lines(*OLD))
    for name, content in files.items():
        (source / name).write_text(content)
    assert message in refusal("amazon")


# Elliot and Ducho


def write_elliot(source: Path, fold: Path) -> None:
    fold.mkdir(parents=True, exist_ok=True)
    (fold / "train.tsv").write_text("u1\t007\t5.0\t1400000000\nu2\tB0\t3.0\t1400000001\n")
    (fold / "val.tsv").write_text("u1\tB0\t4.0\t1400000002\n")
    (source / "test.tsv").write_text("u2\t007\t4.5\t1400000003\n")


@pytest.mark.parametrize("fold", ["", "0"])
def test_elliot(source: Path, convert: Convert, fold: str) -> None:
    write_elliot(source, source / fold)
    folder = convert("elliot")
    assert items(folder) == [{"item_id": "007"}, {"item_id": "B0"}]
    assert columns(folder)["timestamp"] == "int64"
    assert interactions(folder) == [
        ("u1", "007", 5.0, 1400000000, "train"),
        ("u2", "B0", 3.0, 1400000001, "train"),
        ("u1", "B0", 4.0, 1400000002, "validation"),
        ("u2", "007", 4.5, 1400000003, "test"),
    ]


def test_ducho_whose_folders_say_more(
    source: Path, convert: Convert, refusal: Callable[..., str]
) -> None:
    (source / "reviews.tsv").write_text("u1\t007\t5.0\nu2\tB0\t3.0\n")
    for name in ("visual_embeddings_32", "textual_embeddings_indexed_1"):
        (source / name / "torch/R/a").mkdir(parents=True)
        for item in ("007", "B0"):
            np.save(source / name / f"torch/R/a/{item}.npy", np.array([1, 2], np.float32))
    made = {path.name for path in (convert("elliot") / "features").iterdir()}
    assert made == {"image.parquet", "text.parquet"}
    (source / "visual_embeddings/torch/R/a").mkdir(parents=True)
    np.save(source / "visual_embeddings/torch/R/a/B0.npy", np.array([1, 2], np.float32))
    assert "visual_embeddings_32/torch/R/a" in refusal("elliot")  # one of two is to be chosen


def test_ducho(source: Path, convert: Convert, refusal: Callable[..., str]) -> None:
    """Reviews before a split, descriptions, and a file a vector."""
    (source / "reviews.tsv").write_text("u1\t007\t5.0\nu2\tB0\t3.0\n")
    (source / "meta.tsv").write_text('asin\tdescription\timUrl\n007\t"Says ""hi"", ünd"\tx\n')
    resnet = source / "visual_embeddings/torch/ResNet50/avgpool"
    mpnet = source / "textual_embeddings/sentence_transformers/sentence-transformers/mpnet/1"
    for folder in (resnet, mpnet):
        folder.mkdir(parents=True)
    np.save(resnet / "007.npy", np.array([[1, 2]], np.float32))
    np.save(resnet / "B0.npy", np.array([3, 4], np.float32))
    np.save(resnet / "other.npy", np.array([[5, 6]], np.float32))
    np.save(mpnet / "B0.npy", np.array([[7.0]], np.float32))
    folder = convert("elliot")
    described = texts(folder)
    assert described == {"007": (None, 'Says "hi", ünd'), "B0": (None, None)}
    assert interactions(folder) == [("u1", "007", 5.0), ("u2", "B0", 3.0)]
    image = dict(zip(described, features(folder, "image").tolist(), strict=True))
    assert image == {"007": [1, 2], "B0": [3, 4]}
    text = dict(zip(described, features(folder, "text")[:, 0], strict=True))
    assert text["B0"] == 7 and np.isnan(text["007"])

    second = source / "visual_embeddings/torch/VGG/fc"
    second.mkdir(parents=True)
    np.save(second / "B0.npy", np.array([9.0], np.float32))
    assert "visual_embeddings/torch/VGG/fc" in refusal("elliot")
    only = convert("elliot", "image=visual_embeddings/torch/VGG/fc")
    assert [path.name for path in (only / "features").iterdir()] == ["image.parquet"]
    assert np.nanmax(features(only, "image")) == 9

    np.save(second / "007.npy", np.array([9.0, 1.0], np.float32))
    assert "several widths: 1 (B0), 2 (007)" in refusal(
        "elliot", "image=visual_embeddings/torch/VGG/fc"
    )
    np.save(second / "007.npy", np.ones((2, 1), np.float32))
    assert "007.npy: shape (2, 1); one vector an item" in refusal(
        "elliot", "image=visual_embeddings/torch/VGG/fc"
    )


def test_elliot_what_is_wrong_is_named(source: Path, refusal: Callable[..., str]) -> None:
    assert "no train.tsv, and not exactly one of reviews.tsv and dataset.tsv" in refusal("elliot")
    write_elliot(source, source / "0")
    write_elliot(source, source / "1")
    error = refusal("elliot")
    assert "several folds" in error and str(source / "1") in error
    (source / "1/train.tsv").unlink()
    (source / "0/val.tsv").write_text("u1\tB0\t4.0\nu1\t\t4.0\n")
    assert "val.tsv: row 2: item_id is empty" in refusal("elliot")
    (source / "0/val.tsv").write_text("u1\tB0\t4.0\n")
    (source / "meta.tsv").write_text("asin\ttitle\nB0\tA\nB0\tB\n")
    assert "meta.tsv: row 3: item 'B0' stands twice" in refusal("elliot")
    (source / "meta.tsv").write_text('asin\ttitle\n\nB0\t"A\n\nof lines"\nB0\tB\n')
    assert "meta.tsv: row 4 (line 6): item 'B0' stands twice" in refusal("elliot")
    (source / "meta.tsv").unlink()
    vectors = source / "audio_embeddings/torchaudio/m/1"
    vectors.mkdir(parents=True)
    np.save(vectors / "elsewhere.npy", np.ones(3))
    assert "none of the 1 vectors is of an item" in refusal("elliot")


@pytest.mark.parametrize(
    "columns", ["../../evil_emb:float_seq", "image:float_seq\timage_emb:float_seq"]
)
def test_recbole_features_have_plain_names_once(
    source: Path, refusal: Callable[..., str], columns: str
) -> None:
    (source / "x.inter").write_text("user_id:token\titem_id:token\nu\ta\n")
    cells = "\t".join("1 2" for _ in columns.split("\t"))
    (source / "x.item").write_text(f"item_id:token\t{columns}\na\t{cells}\n")
    assert "is no name of a modality, or stands twice" in refusal("recbole")


def test_an_open_quotation_mark_in_a_csv_swallows_no_movies(
    source: Path, refusal: Callable[..., str]
) -> None:
    (source / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,5,9\n")
    (source / "movies.csv").write_text('movieId,title,genres\n1,"Heroes,War\n2,Lost,War\n')
    assert "movies.csv: row 2 (line 2): a quotation mark opens a cell here" in refusal("movielens")
