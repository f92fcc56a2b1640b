"""Importers: a folder in the other format → the raw layout → prepared."""

from pathlib import Path

import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from pipeline.common import paths
from pipeline.common.files import InputError
from pipeline.common.params import Prepare
from pipeline.importers import lightgcn
from pipeline.prepare import prepare


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "train.txt").write_text("0 0 1 10\n1 2\n")
    (folder / "validation.txt").write_text("1 0\n")
    (folder / "test.txt").write_text("0 2\n1\n")
    (folder / "items.tsv").write_text(
        'item\tid\ttitle\tgenres\n0\t7\tThe "Big" One\tDrama|War\n1\t8\t\t\n2\t9\tPlain, 1995\t\n'
    )
    return folder


def test_lightgcn(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lightgcn.convert(source, Path("raw"))
    items = {row["item_id"]: row for row in read(Path("raw/items.csv"))}
    assert list(items) == ["0", "1", "2", "10"]  # 10 is not described but interacted with
    assert items["0"]["text"] == 'The "Big" One. Drama, War'
    assert items["2"]["text"] == "Plain, 1995"
    assert not items["1"]["text"] and not items["10"]["text"]
    prepare(Path("raw"), Prepare(seed=0, split="random", validation=0.1, test=0.1))
    assert [len(pq.read_table(paths.split_path(s))) for s in ("train", "validation", "test")] == [
        4, 1, 1,
    ]  # fmt: skip
    assert len(pq.read_table(paths.manifest_path("text"))) == 2


def texts(folder: Path, source: Path) -> dict[str, tuple[str, str]]:
    lightgcn.convert(source, folder)
    return {row["item_id"]: (row["title"], row["text"]) for row in read(folder / "items.csv")}


def test_every_interaction_with_its_split(source: Path, tmp_path: Path) -> None:
    (source / "train.txt").write_text("10 3 20 4\n\n9\n2 3\n")  # 9 has none, a line is empty
    (source / "test.txt").write_text("9 3\n")
    lightgcn.convert(source, tmp_path / "raw")
    assert (tmp_path / "raw/interactions.csv").read_text().replace('"', "").splitlines() == [
        "user_id,item_id,split",
        "10,3,train",
        "10,20,train",
        "10,4,train",
        "2,3,train",
        "1,0,validation",
        "9,3,test",
    ]


def test_items_in_the_order_of_numbers_interacted_with_or_described(
    source: Path, tmp_path: Path
) -> None:
    (source / "items.tsv").write_text("item\ttitle\n30\tOnly described\n2\tTwo\n")
    found = texts(tmp_path / "raw", source)
    assert list(found) == ["0", "1", "2", "10", "30"]
    assert found["30"] == ("Only described",) * 2 and found["2"] == ("Two", "Two")
    assert found["10"] == ("", "")


def test_a_text_goes_before_title_and_genres(source: Path, tmp_path: Path) -> None:
    # The first column is the item, whatever it is called; `id` is not.
    (source / "items.tsv").write_text(
        "remapped\tid\tgenres\ttitle\ttext\n"
        "0\t5\tA|B|C\tFirst\tIts own words\n"
        "1\t6\tA|B|C\tSecond\t\n"
        "2\t7\tA|B\t\t\n"
        "10\t8\t\tLast\t\n"
    )
    assert texts(tmp_path / "raw", source) == {
        "0": ("First", "Its own words"),
        "1": ("Second", "Second. A, B, C"),
        "2": ("", ""),  # genres alone are no text
        "10": ("Last", "Last"),
    }


def test_the_command(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "raw"
    monkeypatch.setattr("sys.argv", ["lightgcn", str(source), str(folder)])
    lightgcn.main()
    assert {path.name for path in folder.iterdir()} == {"items.csv", "interactions.csv"}
    for arguments in ([], ["one"], ["one", "two", "three"]):
        monkeypatch.setattr("sys.argv", ["lightgcn", *arguments])
        with pytest.raises(InputError, match="usage"):
            lightgcn.main()


def read(path: Path) -> list[dict[str, str]]:
    options = pc.ConvertOptions(column_types={"item_id": "string"}, strings_can_be_null=False)
    return pc.read_csv(path, convert_options=options).to_pylist()


def test_without_descriptions(source: Path, tmp_path: Path) -> None:
    (source / "items.tsv").unlink()
    (source / "validation.txt").unlink()
    lightgcn.convert(source, tmp_path / "raw")
    items = read(tmp_path / "raw" / "items.csv")
    assert len(items) == 4 and not any(row["title"] or row["text"] for row in items)
    splits = pc.read_csv(tmp_path / "raw" / "interactions.csv")["split"].to_pylist()
    assert splits == ["train"] * 4 + ["test"]


def test_what_is_wrong_is_named(source: Path, tmp_path: Path) -> None:
    (source / "train.txt").write_text("0 1\n1 x3\n")
    with pytest.raises(InputError, match="train.txt: line 2: 'x3'"):
        lightgcn.convert(source, tmp_path / "raw")
    for line in ("-1 2", "1.5 2", "u 2"):
        (source / "train.txt").write_text(f"0 1\n\n1 2\n{line}\n")
        with pytest.raises(InputError, match=f"train.txt: line 4: '{line.split()[0]}' is no id"):
            lightgcn.convert(source, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
    (source / "train.txt").unlink()
    with pytest.raises(InputError, match="no train.txt"):
        lightgcn.convert(source, tmp_path / "raw")
