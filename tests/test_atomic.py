"""Files appear whole or not at all; what the user got wrong ends in one line."""

import os
import signal
import stat
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.common.command import run_stage
from pipeline.common.files import (
    InputError,
    atomic_folder,
    atomic_path,
    atomic_write,
    sha256_of,
)
from pipeline.common.tables import read_table

ROOT = Path(__file__).parents[1]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


WRITERS = {
    "text": "files.atomic_write(path, 'x' * 50_000)",
    "bytes": "files.atomic_write(path, bytes(50_000))",
    "csv": "files.write_csv(path, table)",
    "parquet": "files.write_parquet(path, table)",
    "embeddings": "embeddings.write_embeddings(path, ids, lambda part: vectors[part], 20, {})",
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("killed", [False, True])
def test_half_a_file_is_never_seen(writer: str, killed: bool, tmp_path: Path) -> None:
    """The kernel takes no byte beyond the 2000th, with an error or by ending the process."""
    path = tmp_path / "there"
    path.write_text("old")
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "import numpy as np, pyarrow as pa\nfrom pipeline.common import files\n"
        "from pipeline.catalogue import embeddings\n"
        "vectors = np.random.default_rng(0).normal(size=(500, 20)).astype('f4')\n"
        "ids = [f'{i:04}' for i in range(500)]\n"
        "table = pa.table({str(i): vectors[:, i] for i in range(20)})\n"
        "path = Path(sys.argv[1])\n"
        f"signal.signal(signal.SIGXFSZ, signal.{'SIG_DFL' if killed else 'SIG_IGN'})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        f"try:\n    {WRITERS[writer]}\nexcept OSError:\n    sys.exit(3)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, capture_output=True)
    assert done.returncode == (-signal.SIGXFSZ if killed else 3), done.stderr.decode()
    assert path.read_text() == "old"
    if not killed:
        assert names(tmp_path) == ["there"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_file_is_replaced_at_the_end_of_its_block(error: type, tmp_path: Path) -> None:
    path = tmp_path / "below" / "file"
    with atomic_path(path) as temporary:  # the folder is made
        temporary.write_text("first")
        assert temporary.parent == path.parent and not path.exists()
    assert path.read_text() == "first"
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "first" and names(path.parent) == ["file"]
    with atomic_path(path) as temporary:
        temporary.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second" and names(path.parent) == ["file"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_failed_replacement_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    for data, written in (("\u00fc\n", "\u00fc\n".encode()), (b"\xff\r\n", b"\xff\r\n")):
        atomic_write(path, data)
        assert path.read_bytes() == written

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    with pytest.raises(UnicodeEncodeError):
        atomic_write(path, "x" * 100 + "\ud800")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        atomic_write(path, "new")
    assert path.read_bytes() == b"\xff\r\n" and names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_folder_is_replaced_at_the_end_of_its_block(error: type, tmp_path: Path) -> None:
    path = tmp_path / "below" / "folder"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("1")
        (temporary / "b").write_text("1")
        assert temporary.parent == path.parent and not path.exists()
    assert names(path) == ["a", "b"]
    with pytest.raises(error), atomic_folder(path) as temporary:
        (temporary / "a").write_text("half")
        raise error
    assert names(path) == ["a", "b"] and (path / "a").read_text() == "1"
    with atomic_folder(path) as temporary:
        assert names(temporary) == []
        (temporary / "a").write_text("2")
        assert names(path) == ["a", "b"] and (path / "a").read_text() == "1"
    assert names(path) == ["a"] and (path / "a").read_text() == "2"  # nothing of the old one
    assert names(path.parent) == ["folder"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_a_folder_whose_writer_dies_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a").write_text("old")
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom pipeline.common.files import *\n"
        "with atomic_folder(Path(sys.argv[1])) as temporary:\n"
        "    (temporary / 'a').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "folder"], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert names(tmp_path / "folder") == ["a"] and (tmp_path / "folder/a").read_text() == "old"


def test_text_tables(tmp_path: Path) -> None:
    """As spreadsheets write them; what looks like a number is a text unless it is asked for."""
    text = '\ufeffid,text,n\n007,"a\nb",1\n1e3,,2\n12,"x,y",\n'
    for name, content in (("x.csv", text), ("x.tsv", text.replace(",", "\t"))):
        (tmp_path / name).write_text(content, encoding="utf-8")
        table = read_table(tmp_path / name, {"n": pa.int64()}, ("id",))
        assert table.to_pydict() == {
            "id": ["007", "1e3", "12"],
            "text": ["a\nb", None, "x,y" if name == "x.csv" else "x\ty"],
            "n": [1, 2, None],
        }


def test_long_cells_of_many_lines(tmp_path: Path) -> None:
    """Longer together than what Arrow reads at once."""
    cells = [f"{row}\n" * 100_000 for row in range(10)]
    (tmp_path / "x.csv").write_text("text,id\n" + "".join(f'"{cell}",a\n' for cell in cells))
    table = read_table(tmp_path / "x.csv", {}, ())
    assert table["text"].to_pylist() == cells and table["id"].to_pylist() == ["a"] * 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,n\na,1\nb,x\n", "x.csv: row 3: n 'x' is not a whole number$"),  # as in a spreadsheet
        ("id,n\na,1.5\n", "x.csv: row 2: n '1.5' is not"),
        ("id,n,id\na,1,b\n", "x.csv: a column name stands twice in id, n, id"),
        ("name,n\na,1\n", "x.csv: no column id; it has name, n"),
        ("id,n\na\n", "x.csv: "),
        (b"id,n\n\xff,1\n", "x.csv: "),
        ("", "x.csv: "),
    ],
)
def test_wrong_tables(content: str | bytes, message: str, tmp_path: Path) -> None:
    data = content.encode() if isinstance(content, str) else content
    (tmp_path / "x.csv").write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "x.csv", {"n": pa.int64()}, ("id",))


def test_hash_of_a_file(tmp_path: Path) -> None:
    for data in (b"", b"abc", bytes(3_000_000)):
        (tmp_path / "x").write_bytes(data)
        assert sha256_of(tmp_path / "x") == sha256(data).hexdigest()


def test_only_the_users_errors_are_short() -> None:
    def wrong() -> None:
        raise InputError("params.yaml: x is not valid")

    with pytest.raises(SystemExit) as caught:
        run_stage(wrong)
    assert caught.value.code == "error: params.yaml: x is not valid"  # and exit code 1
    with pytest.raises(ZeroDivisionError):
        run_stage(lambda: print(1 / 0))
    run_stage(lambda: None)
