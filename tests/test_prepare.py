"""`prepare`: ids, splits, manifests, and what it says of a broken catalogue."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import paths
from pipeline.files import InputError
from pipeline.params import Prepare
from pipeline.prepare import prepare, split_by_user

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


def test_split_column_is_used_as_it_stands(catalogue: Path) -> None:
    (catalogue / "interactions.csv").write_text(
        "user_id,item_id,split\nu,a,test\nu,b,train\nv,b,validation\nv,007,train\n"
    )
    prepare(catalogue, PARAMS)
    assert edges("test") == {(0, 1)}
    assert edges("validation") == {(1, 2)}
    assert edges("train") == {(0, 2), (1, 0)}


def test_a_repeat_counts_once_in_the_earliest_split(catalogue: Path) -> None:
    (catalogue / "interactions.csv").write_text(
        "user_id,item_id,split\nu,a,test\nu,a,train\nu,b,test\n"
    )
    prepare(catalogue, PARAMS)
    assert edges("train") == {(0, 1)} and edges("test") == {(0, 2)}


def test_same_seed_same_bytes(catalogue: Path) -> None:
    written = []
    for seed in (0, 0, 1):
        prepare(catalogue, replace(PARAMS, seed=seed, test=0.34))
        written.append(paths.split_path("test").read_bytes())
    assert written[0] == written[1] != written[2]


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


def test_a_path_that_leads_out_is_not_read(catalogue: Path) -> None:
    (catalogue.parent / "secret.png").write_bytes(b"secret")
    (catalogue / "items.csv").write_text(ITEMS.replace("b.png", "../secret.png"))
    prepare(catalogue, PARAMS)
    assert pq.read_table(paths.manifest_path("image"))["sha256"].to_pylist()[1] == ""


@pytest.mark.parametrize(
    ("file", "content", "messages"),
    [
        ("items.csv", "id,text\na,x\n", ["items.csv", "no column item_id", "id, text"]),
        ("items.csv", "item_id\na\nb\na\n007\n", ["items.csv", "'a'", "several rows"]),
        ("items.csv", "item_id,title\na,x\n,y\n", ["items.csv", "row 3", "item_id is empty"]),
        ("items.csv", "item_id\n", ["items.csv", "no rows"]),
        ("items.csv", "", ["items.csv"]),
        ("interactions.csv", "user_id\nu\n", ["interactions.csv", "no column item_id"]),
        ("interactions.csv", "user_id,item_id\nu,a\nu,zz\n", ["row 3", "'zz'", "1 rows"]),
        ("interactions.csv", "user_id,item_id\nu,\n", ["row 2", "item_id is empty"]),
        ("interactions.csv", "user_id,item_id,timestamp\nu,a,soon\n", ["timestamp", "soon"]),
        ("interactions.csv", "user_id,item_id,split\nu,a,dev\n", ["row 2", "'dev'", "train, "]),
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
    (catalogue / "interactions.csv").unlink()
    with pytest.raises(InputError, match="no table of interactions"):
        prepare(catalogue, PARAMS)
