"""Ready-made features in place of raw media."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import encode as stage
from pipeline.catalogue.embeddings import Target, read_embeddings
from pipeline.catalogue.ready_made import read_features
from pipeline.common import params, paths
from pipeline.common.files import InputError, sha256_of
from pipeline.encoding import ready_made
from pipeline.encoding.manifest import Item
from pipeline.prepare import prepare

ROOT = Path(__file__).parents[1]
IDS = ["9", "10", "2", "x"]  # not in the order of their names


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("raw/features").mkdir(parents=True)
    rows = "".join(f"{item},words of {item}\n" for item in IDS)
    Path("raw/items.csv").write_text(f"item_id,text\n{rows}")
    Path("raw/interactions.csv").write_text("user_id,item_id\nu,9\n")
    return replace(params.load(ROOT / "params.yaml"), dataset="raw", device="cpu")


def encode(project, modality="image"):
    prepare(Path("raw"), project.prepare)
    stage.encode_modality(modality, project)
    return read_embeddings(paths.embeddings_path(modality))


def metadata(modality="image"):
    pairs = pq.read_schema(paths.embeddings_path(modality)).metadata
    return {k.decode(): v.decode() for k, v in pairs.items()}


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8"])
def test_a_row_an_item_in_the_order_of_the_items(project, dtype):
    np.save("raw/features/image.npy", np.arange(8).reshape(4, 2).astype(dtype))
    ids, vectors = encode(project)
    assert ids == ["10", "2", "9", "x"]
    assert vectors.tolist() == [[2, 3], [4, 5], [0, 1], [6, 7]]
    found = metadata()
    assert found["weights"] == "ready-made features: features/image.npy"
    assert len(found["features_sha256"]) == 64
    assert (found["width"], found["count"], found["modality"]) == ("2", "4", "image")


def test_rows_that_are_not_finite_are_missing(project):
    matrix = np.ones((4, 2))
    matrix[1, 0], matrix[2, 1], matrix[3, 1] = np.nan, np.inf, 1e60
    np.save("raw/features/image.npy", matrix)
    entry = replace(project.encode["image"], max_failures=0.75)
    assert encode(replace(project, encode=project.encode | {"image": entry}))[0] == ["9"]
    with pytest.raises(InputError, match=r"3 of 4 .* than encode\.image\.max_failures: 0\.7"):
        fewer = replace(entry, max_failures=0.7)
        encode(replace(project, encode=project.encode | {"image": fewer}))
    assert paths.failures_path("image").read_text().splitlines()[1:] == [
        f'"{item}","features/image.npy, row {row}","a value is not finite"'
        for item, row in (("10", 1), ("2", 2), ("x", 3))
    ]


def test_features_come_before_raw_media(project):
    np.save("raw/features/text.npy", np.eye(4))
    assert encode(project, "text")[1].shape == (4, 4)


def test_features_go_wherever_they_are_sent(project):
    matrix = np.ones((4, 2))
    matrix[3] = np.nan
    np.save("raw/features/smell.npy", matrix)
    digest = sha256_of(Path("raw/features/smell.npy"))
    items = [Item(name, str(row), "") for row, name in enumerate("abd")] + [Item("e", "3", "")]
    manifest = {"features": "features/smell.npy", "features_sha256": digest}
    target = Target(Path("there/x.parquet"), Path("elsewhere/y.csv"))
    ready_made.take_features("smell", items, manifest, Path("raw"), target, 0.5)
    assert read_embeddings(target.embeddings)[0] == ["a", "b", "d"]
    assert '"e","features/smell.npy, row 3"' in target.failures.read_text()
    assert pq.read_schema(target.embeddings).metadata[b"modality"] == b"smell"


def test_rows_are_looked_at_in_steps(project, monkeypatch):
    monkeypatch.setattr(ready_made, "STEP", 3)
    matrix = np.arange(8.0).reshape(4, 2)
    matrix[3] = np.nan
    np.save("raw/features/image.npy", matrix)
    ids, vectors = encode(project)
    assert ids == ["10", "2", "9"] and vectors.tolist() == [[2, 3], [4, 5], [0, 1]]
    assert metadata()["count"] == "3"


def test_ids_may_be_numbers(project):
    write_table(item_id=pa.array([2, 10]), embedding=[[1, 2], [3, 4]])
    ids, vectors = encode(project)
    assert ids == ["10", "2"] and vectors.tolist() == [[3, 4], [1, 2]]
    found = metadata()
    found.pop("features_sha256")
    assert found == {
        "encoder": "ready-made",
        "model": "ready-made",
        "license": "unknown",
        "weights": "ready-made features: features/image.parquet",
        "modality": "image",
        "width": "2",
        "count": "2",
        "library:pyarrow": pa.__version__,
    }


def test_a_missing_number_is_a_missing_row(project):
    write_table(item_id=["x", "9"], embedding=[[1.0, None], [3.0, 4.0]])
    assert encode(project)[0] == ["9"]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float64()), pa.list_(pa.float32(), 2), pa.large_list(pa.float32())]
)
def test_parquet(project, kind):
    table = pa.table(
        {
            "item_id": ["x", "2", "10"],
            "embedding": pa.array([[1, 2], None, [3, np.nan]], kind),
            "more": [1, 2, 3],
        }
    ).replace_schema_metadata({"model": "ResNet-50", "license": "MIT", "pandas": "{}"})
    pq.write_table(table, "raw/features/image.parquet")
    ids, vectors = encode(project)
    assert ids == ["x"] and vectors.tolist() == [[1, 2]]
    failures = paths.failures_path("image").read_text().splitlines()[1:]
    assert failures == ['"10","features/image.parquet, row 2","a value is not finite"']
    absent = np.isnan(read_features(Path("raw/features/image.parquet")))
    assert absent.tolist() == [[False, False], [True, True], [False, True]]
    assert metadata()["model"] == "ResNet-50" and metadata()["license"] == "MIT"
    assert "pandas" not in metadata()  # it describes other columns


def test_our_own_embeddings_go_in_again(project):
    Path("raw/items.csv").write_text("item_id,text\na,cars\nb,the sea\n")
    Path("raw/interactions.csv").write_text("user_id,item_id\nu,a\n")
    ids, vectors = encode(project, "text")
    paths.embeddings_path("text").rename("raw/features/text.parquet")
    again = encode(project, "text")
    assert again[0] == ids and (again[1] == vectors).all()
    assert metadata("text")["model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert metadata("text")["weights"] == "ready-made features: features/text.parquet"
    assert "fingerprint" not in metadata("text")


def write(array):
    np.save("raw/features/image.npy", array, allow_pickle=True)


def write_table(**columns):
    pq.write_table(pa.table(columns), "raw/features/image.parquet")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: write(np.ones((3, 2))), r"image\.npy: 3 rows for 4 items"),
        (lambda: write(np.ones(4)), r"float64 of shape \(4,\); numbers of shape"),
        (lambda: write(np.ones((4, 0))), r"of shape \(4, 0\)"),
        (lambda: write(np.array([["a"]] * 4)), "<U1 of shape"),
        (lambda: write(np.ones((4, 2), bool)), "bool of shape"),
        (lambda: write(np.ones((4, 2), complex)), "complex128 of shape"),
        (lambda: write(np.ones((5, 2))), r"image\.npy: 5 rows for 4 items"),
        (lambda: write_table(item_id=["x"], embedding=[[]]), r"of lengths \[0\]; one length"),
        (lambda: write_table(item_id=[None], embedding=[[1.0]]), "row 0 .*: item_id is empty"),
        (lambda: write(np.array([[{}]] * 4)), "not readable as a NumPy array of numbers"),
        (lambda: Path("raw/features/image.npy").write_bytes(b"x"), "not readable as a NumPy"),
        (lambda: Path("raw/features/image.npy").touch(), "not readable as a NumPy"),
        (lambda: Path("raw/features/image.parquet").write_bytes(b"x"), "not readable as Parquet"),
        (lambda: write_table(item=["x"]), "the columns are item; item_id and embedding are"),
        (lambda: write_table(item_id=["x"], embedding=["y"]), "embedding is string; a list of"),
        (lambda: write_table(item_id=["x"], embedding=[["y"]]), "a list of numbers is needed"),
        (lambda: write_table(item_id=["x", "9"], embedding=[[1.0], [1.0, 2.0]]),
         r"embeddings of lengths \[1, 2\]; one length"),
        (lambda: write_table(item_id=["z"], embedding=[[1.0]]),
         "row 0 .*: item_id 'z' is not among"),
        (lambda: write_table(item_id=["x", "x"], embedding=[[1.0], [2.0]]),
         "row 1 .*: item_id 'x' stands twice"),
        (lambda: (write(np.ones((4, 2))), write_table(item_id=["x"], embedding=[[1.0]])),
         r"image\.parquet, image\.npy: only one may be there"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(project, make, message):
    make()
    with pytest.raises(InputError, match=message):
        encode(project)


def test_a_file_that_changed_behind_the_manifest_is_not_taken(project):
    write(np.ones((4, 2)))
    encode(project)
    write(np.zeros((4, 2)))
    for change in (lambda: None, Path("raw/features/image.npy").unlink):
        change()
        with pytest.raises(InputError, match="has changed since it was prepared"):
            stage.encode_modality("image", project)
