"""Tables in three formats, files that are whole or not there, errors in one line."""

import errno
import hashlib
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.common import files
from pipeline.common.command import run_stage
from pipeline.common.files import InputError, write_csv, write_parquet
from pipeline.common.places import new_folder
from pipeline.common.tables import find_table, read_table

TYPES = {"item_id": pa.string(), "timestamp": pa.float64()}


def test_one_table_of_three_formats_is_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of items.csv, items.tsv, items.parquet is needed"):
        find_table(tmp_path, "items")
    (tmp_path / "items.csv").mkdir()  # a folder is no table
    for suffix in ("tsv", "parquet"):
        (tmp_path / f"items.{suffix}").write_text("")
        assert find_table(tmp_path, "items") == tmp_path / f"items.{suffix}"
        (tmp_path / f"items.{suffix}").unlink()
    for suffix in ("tsv", "parquet"):
        (tmp_path / f"items.{suffix}").write_text("")
    with pytest.raises(InputError, match="items.tsv, items.parquet: only one may be there"):
        find_table(tmp_path, "items")


@pytest.mark.parametrize(("suffix", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_text_tables_hold_texts(tmp_path: Path, suffix: str, delimiter: str) -> None:
    path = tmp_path / f"items.{suffix}"
    rows = [
        ["item_id", "title", "timestamp"],
        ["007", '"two\nlines, ""quoted"""', "1"],
        ["1e3", "NA", "2.5"],
        ["true", "null", ""],
        ["", "2024-01-01", "-3"],
    ]
    text = "\n".join(delimiter.join(row) for row in rows)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())  # with a mark of the byte order
    assert read_table(path, TYPES, ("item_id",)).to_pydict() == {
        "item_id": ["007", "1e3", "true", None],
        "title": ['two\nlines, "quoted"', "NA", "null", "2024-01-01"],
        "timestamp": [1.0, 2.5, None, -3.0],
    }


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_numbers_in_text_tables_are_texts(tmp_path: Path, mark: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(mark + b"item_id,price\n007,1.50\n008,2\n")
    found = read_table(tmp_path / "t.csv", TYPES, ("item_id",)).to_pydict()
    assert found == {"item_id": ["007", "008"], "price": ["1.50", "2"]}


def test_long_tables_of_texts_in_several_lines(tmp_path: Path) -> None:
    text = "first line,\n" + "second line, " * 10
    rows = "".join(f'{n},"{text}"\n' for n in range(12_000))  # several blocks of the reader
    (tmp_path / "t.csv").write_text(f"item_id,text\n{rows}")
    table = read_table(tmp_path / "t.csv", TYPES, ("item_id",))
    assert table["text"].to_pylist() == [text] * 12_000


def test_parquet_keeps_its_types_but_for_known_columns(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"price": [1, 2], "item_id": [7, 8], "timestamp": [1, None]}), path)
    table = read_table(path, TYPES, ("item_id",))
    assert table.column_names == ["price", "item_id", "timestamp"]
    assert table.to_pydict() == {
        "price": [1, 2], "item_id": ["7", "8"], "timestamp": [1.0, None],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"a,b\n1,2\n", "no column item_id; it has a, b"),
        ("t.csv", b"item_id,a,a\n1,2,3\n", "a column name stands twice in item_id, a, a"),
        ("t.csv", b"item_id,timestamp\n1,2\n2,\n3,x\n", "row 4: timestamp 'x' is not a number"),
        ("t.csv", b"item_id,a\n1\n", "t.csv"),
        ("t.csv", b"item_id\n\xff\xfe\n", "t.csv"),
        ("t.csv", b"\xff\xfe\n", "t.csv"),
        ("t.parquet", b"no parquet", "t.parquet"),
    ],
)
def test_broken_tables(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        read_table(tmp_path / name, TYPES, ("item_id",))
    assert str(tmp_path / name) in str(error.value) and message in str(error.value)


def test_missing_columns_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(InputError, match="no column user_id, item_id; it has a"):
        read_table(tmp_path / "t.csv", {}, ("user_id", "a", "item_id"))


def test_written_tables(tmp_path: Path) -> None:
    table = pa.table({"a": ["x, y", 'say "z"', None], "b": [0.1, 1e-9, None]})
    write_csv(tmp_path / "deep/t.csv", table)
    text = (tmp_path / "deep/t.csv").read_text()
    assert text.splitlines() == ['"a","b"', '"x, y",0.1', '"say ""z""",1e-9', ","]
    write_parquet(tmp_path / "t.parquet", table)
    write_parquet(tmp_path / "u.parquet", table)
    assert pq.read_table(tmp_path / "t.parquet").equals(table)
    assert (tmp_path / "t.parquet").read_bytes() == (tmp_path / "u.parquet").read_bytes()


def fail(place: Path) -> None:
    (place / "part" if place.is_dir() else place).write_text("half")
    raise RuntimeError("interrupted")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep/file"
    files.atomic_write(path, "first é")
    assert path.read_bytes() == "first é".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        assert temporary.parent == path.parent  # so that replacing it is atomic
        fail(temporary)
    assert path.read_bytes() == "first é".encode()
    files.atomic_write(path, b"\0second")
    assert path.read_bytes() == b"\0second"
    assert list(path.parent.iterdir()) == [path]  # nothing temporary is left


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep/folder"
    with files.atomic_folder(path) as temporary:
        (temporary / "a").write_text("a")
        assert not path.exists() and temporary.parent == path.parent
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    with pytest.raises(RuntimeError), files.atomic_folder(path) as temporary:
        fail(temporary)
    assert [p.name for p in path.iterdir()] == ["a"]
    with files.atomic_folder(path) as temporary:
        assert not list(temporary.iterdir())
        (temporary / "b").write_text("b")
    assert [p.name for p in path.iterdir()] == ["b"]
    assert list(path.parent.iterdir()) == [path]


def test_what_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    with pytest.raises(InputError, match="mine: is there already"), new_folder(path) as temporary:
        (temporary / "made").write_text("made")
        path.mkdir()
        (path / "precious").write_text("x")
    assert [p.name for p in path.iterdir()] == ["precious"]
    assert list(tmp_path.iterdir()) == [path]


def test_sha256_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"bytes" * 100_000)
    expected = hashlib.sha256(b"bytes" * 100_000).hexdigest()
    assert files.sha256_of(tmp_path / "file") == expected


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


def test_what_the_user_got_wrong_ends_with_one_message() -> None:
    with pytest.raises(SystemExit) as error:
        run_stage(raising(InputError("layers: -1")))
    assert error.value.code == "error: layers: -1"  # Python prints it and exits with 1
    with pytest.raises(ValueError, match="ours"):
        run_stage(raising(ValueError("ours")))
    done: list[int] = []
    run_stage(lambda: done.append(1))
    assert done == [1]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "data/x"), "data/x: no space left"),
        (OSError(errno.EROFS, "Read-only file system", "data/x"), "data/x: read-only file"),
        (PermissionError(errno.EACCES, "Permission denied", "data"), "data: permission denied"),
        (sqlite3.OperationalError("database or disk is full"), ".cache: database or disk is full"),
        (MemoryError("Unable to allocate 3 TiB"), "out of memory: Unable to allocate 3 TiB"),
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
         "out of memory: DefaultCPUAllocator"),
    ],
)  # fmt: skip
def test_what_the_machine_refuses_ends_with_one_line(error: Exception, message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        run_stage(raising(error))
    assert str(caught.value.code).startswith(f"error: {message}")
    assert "\n" not in str(caught.value.code)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file", "data/prepared/items.parquet"),
        FileNotFoundError("data/prepared/items.parquet"),
        FileNotFoundError("[Errno 2] Failed to open local file 'data/prepared/items.parquet'."),
    ],
)
def test_what_an_earlier_stage_makes_is_asked_for(error: Exception) -> None:
    with pytest.raises(SystemExit) as caught:
        run_stage(raising(error))
    assert caught.value.code == (
        "error: data/prepared/items.parquet is not there; `dvc repro` runs the stages that make it"
    )


def test_who_reads_no_more_gets_no_traceback() -> None:
    code = (
        "from pipeline.common.command import run_stage\n"
        "run_stage(lambda: [print('x' * 999) for _ in range(9999)])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_an_interruption_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run_stage(raising(KeyboardInterrupt()))
    assert caught.value.code == 130  # as shells say of a process that Ctrl-C ended
    assert capsys.readouterr().err == "interrupted; what was finished is kept\n"


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "No such file", "x"), RuntimeError("x")])
def test_our_own_faults_keep_their_traceback(error: Exception) -> None:
    with pytest.raises(type(error)):
        run_stage(raising(error))


def test_what_a_table_names_lies_in_its_folder(tmp_path: Path) -> None:
    """By its words; a link in the folder is its owner's."""
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    (folder / "loop").symlink_to("loop")
    (folder / "elsewhere").symlink_to(tmp_path)
    assert files.inside("images/../a.png") == "a.png"
    assert files.inside("./a.png") == "a.png"
    assert files.inside("elsewhere/a.png") == "elsewhere/a.png"
    assert files.inside("loop/a.png") == "loop/a.png"  # opening it will fail
    assert files.inside("..a.png") == "..a.png"
    for name, why in {"../a.png": "leads out", "images/../../a.png": "leads out",
                      str(tmp_path): "leads out", "..": "leads out",
                      "elsewhere/../../a.png": "leads out",
                      "a\0.png": "null character"}.items():  # fmt: skip
        with pytest.raises(ValueError, match=why):
            files.inside(name)
