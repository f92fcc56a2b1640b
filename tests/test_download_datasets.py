"""`python -m pipeline.download`: fetched once, resumed, checked, and the right titles."""

import io
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from serving import Server

from pipeline import download
from pipeline.common.files import InputError


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"ml-1m/{name}.dat", content)
    return file.getvalue()


SPLITS = {"train.txt": b"0 0 1\n1 2 1\n", "validation.txt": b"1 0\n", "test.txt": b"0 3\n"}
# Entities in the order in which somebody likes them: 70, 50, 60, 80; nobody likes 90.
BOOKS = SPLITS | {
    "likings.tsv": b"0\t90\t0\n0\t70\t1\n0\t50\t1\n1\t60\t1\n1\t90\t0\n1\t70\t1\n0\t80\t1\n",
    "entities.tsv": (
        "0\tuser0\n50\tTwo;http://x/Two\n60\tThree; or Drei;http://x/Three\n"
        "70\tÉin;http://x/One;y\n80\tFour;http://x/Four\n90\tNone;http://x/None\n"
    ).encode(),
}
# Users 3597 and 3599 are the splits' 0 and 1; 3598 likes nothing, 3 stars are no liking.
RATINGS = [
    (3597, 2, 4), (3597, 5, 5), (3597, 9, 4), (3597, 7, 3), (3597, 8, 4),
    (3598, 2, 1), (3599, 2, 4), (3599, 5, 4), (3599, 7, 5), (3599, 9, 3),
]  # fmt: skip
FILMS = SPLITS | {
    "ml-1m.zip": zipped(
        movies=(
            "2::Été: A Film (1995)::Drama|War\n5::Second\x85 (1996)::Comedy\n"
            "7::Third (1997)::Drama\n8::Left Out (1998)::Drama\n9::Fourth (1999)::Drama\n"
        ).encode("latin-1"),
        ratings="".join(f"{u}::{f}::{stars}::978\n" for u, f, stars in RATINGS).encode(),
    )
}
CONTENTS = {"dbbook": BOOKS, "ml1m": FILMS}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Small data sets of the same shape, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    with Server() as made:
        for name, contents in CONTENTS.items():
            assert list(contents) == list(download.DATASETS[name].files)
            made.files |= {f"{name}/{file}": content for file, content in contents.items()}
            files = {
                file: (made.url(f"{name}/{file}"), sha256(content).hexdigest())
                for file, content in contents.items()
            }
            small = replace(download.DATASETS[name], files=files)
            monkeypatch.setitem(download.DATASETS, name, small)
        yield made


def texts(name: str) -> list[tuple[str, str]]:
    table = pq.read_table(f"data/raw/{name}/items.parquet")
    return [(row["item_id"], row["text"] or "") for row in table.to_pylist()]


def test_books_have_the_titles_of_the_entities(server: Server) -> None:
    download.download("dbbook")
    assert texts("dbbook") == [("0", "Éin"), ("1", "Two"), ("2", "Three; or Drei"), ("3", "Four")]
    table = pq.read_table("data/raw/dbbook/interactions.parquet")
    rows = zip(*(table[c].to_pylist() for c in ("user_id", "item_id", "split")), strict=True)
    interactions = "".join(",".join(row) + "\n" for row in rows)
    assert interactions.splitlines() == [
        "0,0,train", "0,1,train", "1,2,train", "1,1,train", "1,0,validation", "0,3,test",
    ]  # fmt: skip


def test_films_are_known_by_who_likes_them(server: Server) -> None:
    """Items 0 and 1 have the same users and so have films 2 and 5: in the order of their ids.
    Item 3 is film 8 or film 9."""
    download.download("ml1m")
    assert texts("ml1m") == [
        ("0", "Été: A Film (1995). Drama, War"),
        ("1", "Second\x85 (1996). Comedy"),
        ("2", "Third (1997). Drama"),
        ("3", ""),
    ]


def test_other_ratings_than_the_splits_are_refused(server: Server) -> None:
    for name, content in FILMS.items():
        Path(name).write_bytes(content)
    Path("ml-1m.zip").write_bytes(zipped(movies=b"2::A::B\n", ratings=b"1::2::5::9\n2::2::4::9\n"))
    with pytest.raises(InputError, match="no film of the splits is one of ml-1m.zip's"):
        download.films(Path())


def test_the_terms_come_first_and_nothing_is_fetched_twice(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.error = 404
    caplog.set_level("INFO")
    with pytest.raises(InputError, match="train.txt is not cached and not to be had .HTTP Error"):
        download.download("ml1m")
    assert "neither passed on nor used commercially" in caplog.text
    assert "ml-1m-README.txt" in caplog.text and not Path("data").exists()
    server.error = 0
    server.asked.clear()
    download.download("ml1m")
    assert server.asked == [f"ml1m/{file}" for file in FILMS]
    download.download("ml1m")
    assert "data/raw/ml1m is there already; remove it" in caplog.text
    for file in Path("data/raw/ml1m").iterdir():
        file.unlink()
    Path("data/raw/ml1m").rmdir()
    download.download("ml1m")
    assert len(server.asked) == len(FILMS) and len(texts("ml1m")) == 4


def test_a_transfer_that_breaks_off_goes_on_with_the_next_run(server: Server) -> None:
    server.cut = 4  # three tries, and the first of the next run
    with pytest.raises(InputError, match="broke off.*the same command goes on where it was"):
        download.download("dbbook")
    part = Path(".cache/downloads/dbbook/train.txt.part")
    had = part.stat().st_size
    assert 0 < had < len(SPLITS["train.txt"]) and not Path("data").exists()
    server.ranges.clear()
    download.download("dbbook")
    assert server.ranges[0] == f"bytes={had}-" and server.ranges[1] != "bytes=0-"
    assert len(texts("dbbook")) == 4 and not part.exists()


def test_a_server_without_ranges_starts_anew(server: Server) -> None:
    server.whole, server.cut = True, 2
    download.download("dbbook")
    assert server.asked[:3] == ["dbbook/train.txt"] * 3 and len(texts("dbbook")) == 4


@pytest.mark.parametrize("wrong", FILMS)
def test_a_wrong_file_is_refused_and_removed(server: Server, wrong: str) -> None:
    right = server.files[f"ml1m/{wrong}"]
    server.files[f"ml1m/{wrong}"] = b"an error page"
    with pytest.raises(InputError, match=f"{wrong}: sha256 is .*, not {sha256(right).hexdigest()}"):
        download.download("ml1m")
    assert not list(Path(".cache/downloads/ml1m").glob(f"{wrong}*")) and not Path("data").exists()
    server.files[f"ml1m/{wrong}"] = right
    download.download("ml1m")
    assert len(texts("ml1m")) == 4


def test_what_fails_later_leaves_no_catalogue(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as broken:
        broken.setattr(download, "write_dataset", fails)
        with pytest.raises(OSError, match="no space"):
            download.download("dbbook")
    assert list(Path("data/raw").iterdir()) == []
    download.download("dbbook")
    assert len(texts("dbbook")) == 4


def test_every_file_is_pinned() -> None:
    for dataset in download.DATASETS.values():
        for url, digest in dataset.files.values():
            assert len(digest) == 64 and url.startswith("https://")
            # A commit's address never changes; GroupLens has its archive at one place.
            assert any(len(part) == 40 for part in url.split("/")) or "grouplens.org" in url


@pytest.mark.parametrize("arguments", [[], ["ml10m"], ["dbbook", "ml1m"]])
def test_the_command_says_what_is_valid(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["download", *arguments])
    with pytest.raises(InputError, match=r"pipeline.download dbbook\|ml1m$"):
        download.main()


def test_the_command(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["download", "dbbook"])
    download.main()
    assert len(texts("dbbook")) == 4
