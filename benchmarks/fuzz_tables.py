"""Broken tables, features and parameters through `prepare`: a message or a result, nothing else.

    python -m benchmarks.fuzz_tables [mutations] [seed]

Good files are mutated as bytes (`benchmarks.fuzz.mutate`) and as tables: cells, names and rows are
replaced by what people have in theirs. `tests/test_catalogue.py` runs a short version.
"""

import collections
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks.fuzz import mutate
from pipeline.common import paths
from pipeline.common.files import InputError
from pipeline.common.params import load
from pipeline.prepare import prepare

ROOT = Path(__file__).parents[1]
SECONDS = 20
CELLS = (
    "", " ", "\u200b", "\ufeff", "\0", "\t", '"', '"x', 'x"y', "a,b", "a\nb", "\r\n", "nan", "inf",
    "-1", "1e400", "0", "train", "Test ", "2", "2024-13-45", "2024-05-31",
    "31/05/2024", "é", "e\u0301",
    "../../x", "/etc/passwd", "=1+1", "null", "None", "NaN", "x" * 5000, "👩‍👧", "i1 ", "I1",
)  # fmt: skip
NAMES = (
    "item_id",
    "user_id",
    "Item_ID",
    "text",
    "Text",
    "txt",
    "rating",
    "",
    " ",
    "split",
    "é",
    "x",
)
YAML = ("", "null", "[]", "{}", "-1", "1e999", "2.5", "'x'", "true", "[1, 1]", "!!int x", "&a",
        "*a", "99999999999999999999", ".nan", "0x1f", "{a: 1}", "\t", "'")  # fmt: skip


def tables() -> dict[str, pa.Table]:
    """A good catalogue of 40 items and 20 users."""
    rng = np.random.default_rng(0)
    ids = [f"i{n}" for n in range(40)]
    pairs = sorted(
        {
            (int(u), int(i))
            for u, i in zip(rng.integers(0, 20, 300), rng.integers(0, 40, 300), strict=True)
        }
    )
    return {
        "items": pa.table({"item_id": ids, "title": [f"Title, {i}" for i in ids],
                           "text": [f'words "of" {i}\nand more' for i in ids]}),
        "interactions": pa.table({
            "user_id": [f"u{u}" for u, _ in pairs], "item_id": [f"i{i}" for _, i in pairs],
            "timestamp": [str(1_700_000_000 + n) for n in range(len(pairs))],
            "rating": [str(1 + n % 5) for n in range(len(pairs))],
            "split": ["train" if n % 5 else "test" for n in range(len(pairs))],
        }),
    }  # fmt: skip


def changed(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """One to three cells, names, columns or rows replaced."""
    for _ in range(rng.integers(1, 4)):
        columns, names = [c.to_pylist() for c in table.columns], list(table.column_names)
        place, row = int(rng.integers(len(names))), int(rng.integers(max(1, len(table))))
        match rng.integers(5):
            case 0 | 1:
                if len(table):
                    columns[place][row] = str(rng.choice(CELLS))
            case 2:
                names[place] = str(rng.choice(NAMES))
            case 3 if len(names) > 1:
                del columns[place], names[place]
            case _:
                columns = [[*c[:row], *c[row : row + 1], *c[row:]] for c in columns]
        table = pa.table(
            dict(enumerate(columns)) and [pa.array(c, pa.string()) for c in columns], names=names
        )
    return table


def written(folder: Path, name: str, table: pa.Table, rng: np.random.Generator) -> Path:
    """The table in one of the three formats, sometimes broken as a file."""
    suffix = str(rng.choice(["csv", "tsv", "parquet"]))
    path = folder / f"{name}.{suffix}"
    if suffix == "parquet":
        pq.write_table(table, path)
    else:
        options = pyarrow.csv.WriteOptions(delimiter="," if suffix == "csv" else "\t")
        pyarrow.csv.write_csv(table, path, options)
    return path


def catalogue(folder: Path, rng: np.random.Generator) -> None:
    """A catalogue of which one thing or another is broken."""
    made = tables()
    broken = str(rng.choice(["items", "interactions", "features", "both"]))
    for name, table in made.items():
        if broken in (name, "both") and rng.random() < 0.6:
            table = changed(table, rng)
        path = written(folder, name, table, rng)
        if broken in (name, "both") and rng.random() < 0.5:
            path.write_bytes(mutate(path.read_bytes(), bytes(range(256)), rng))
    if broken == "features":
        (folder / "features").mkdir()
        path = folder / "features" / str(rng.choice(["text.npy", "tags.npy", "tags.parquet"]))
        matrix = rng.normal(size=(40, 3)).astype(rng.choice(["f2", "f4", "f8", "i4"]))
        if path.suffix == ".npy":
            np.save(path, matrix)
        else:
            ids = made["items"]["item_id"]
            pq.write_table(pa.table({"item_id": ids, "embedding": matrix.tolist()}), path)
        path.write_bytes(mutate(path.read_bytes(), bytes(range(256)), rng))


def parameters(rng: np.random.Generator) -> None:
    """params.yaml with a value or its bytes changed."""
    data = (ROOT / "params.yaml").read_bytes()
    if rng.random() < 0.5:
        lines = data.decode().splitlines()
        row = int(rng.integers(len(lines)))
        key = lines[row].split(":")[0]
        lines[row] = f"{key}: {rng.choice(YAML)}"
        data = "\n".join(lines).encode()
    else:
        data = mutate(data, bytes(range(256)), rng)
    Path("params.yaml").write_bytes(data)


def once(rng: np.random.Generator) -> str:
    """What became of one mutation: "taken", or the kind of message. Raises whatever is neither."""
    shutil.rmtree("raw", ignore_errors=True)
    Path("raw").mkdir()
    try:
        if rng.random() < 0.25:
            parameters(rng)
            load()
            return "parameters taken"
        catalogue(Path("raw"), rng)
        params = load(ROOT / "params.yaml").prepare
        prepare(Path("raw"), params)
    except InputError as error:
        assert str(error).strip()
        return "refused"
    split = {name: pq.read_table(paths.split_path(name)) for name in paths.SPLITS}
    users, items = pq.read_metadata(paths.USERS).num_rows, pq.read_metadata(paths.ITEMS).num_rows
    pairs = [
        pair
        for t in split.values()
        for pair in zip(*(c.to_pylist() for c in t.columns), strict=True)
    ]
    assert pairs and len(set(pairs)) == len(pairs)
    assert max(u for u, _ in pairs) < users and max(i for _, i in pairs) < items
    return "taken"


def fuzz(count: int, seed: int) -> collections.Counter[str]:
    """How `count` mutations in the working folder ended; AssertionError with the first that did
    not end in a message or a result."""
    ends: collections.Counter[str] = collections.Counter()

    def hang(*_: object) -> None:
        raise TimeoutError("a hang")

    before = signal.signal(signal.SIGALRM, hang)
    try:
        for index in range(count):
            signal.alarm(SECONDS)
            try:
                ends[once(np.random.default_rng((seed, index)))] += 1
            except Exception as error:
                shutil.copytree("raw", f"failed-{index}", dirs_exist_ok=True)
                raise AssertionError(f"mutation ({seed}, {index}): {error!r}") from error
            finally:
                signal.alarm(0)
    finally:
        signal.signal(signal.SIGALRM, before)
    return ends


def main() -> None:
    count = int(sys.argv[1]) if sys.argv[1:] else 1000
    seed = int(sys.argv[2]) if sys.argv[2:] else 0
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            ends = fuzz(count, seed)
        except AssertionError:
            traceback.print_exc()
            sys.exit(1)
        finally:
            os.chdir(ROOT)
    took = time.monotonic() - start
    print(f"{count} mutated tables and parameter files in {took:.0f} s: {dict(ends)}")


if __name__ == "__main__":
    main()
