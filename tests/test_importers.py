"""Importers: a folder in the other format → the raw layout → prepared."""

from pathlib import Path

import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from pipeline import paths
from pipeline.files import InputError
from pipeline.importers import lightgcn
from pipeline.params import Prepare
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


def read(path: Path) -> list[dict[str, str]]:
    options = pc.ConvertOptions(column_types={"item_id": "string"}, strings_can_be_null=False)
    return pc.read_csv(path, convert_options=options).to_pylist()


def test_without_descriptions(source: Path, tmp_path: Path) -> None:
    (source / "items.tsv").unlink()
    (source / "validation.txt").unlink()
    lightgcn.convert(source, tmp_path / "raw")
    assert len(read(tmp_path / "raw" / "items.csv")) == 4


def test_what_is_wrong_is_named(source: Path, tmp_path: Path) -> None:
    (source / "train.txt").write_text("0 1\n1 x3\n")
    with pytest.raises(InputError, match="train.txt: line 2: 'x3'"):
        lightgcn.convert(source, tmp_path / "raw")
    (source / "train.txt").unlink()
    with pytest.raises(InputError, match="no train.txt"):
        lightgcn.convert(source, tmp_path / "raw")
