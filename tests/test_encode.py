"""The stage `encode`: files in, files out, and no item at another's cost."""

import csv
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

from encoders.base import PartsEncoder
from encoders.media import read_image
from pipeline import encode as stage
from pipeline import params, paths
from pipeline.embeddings import read_embeddings, schema, write_embeddings
from pipeline.files import InputError
from pipeline.prepare import media_sha256

ROOT = Path(__file__).parents[1]


class Brightness(PartsEncoder):
    """An image's mean colour; black gives no number."""

    name = "vit"
    modality = "image"
    width = 3
    model_id = "mean colour"
    preprocessing = "1: none"
    license = "none"
    libraries = ("pillow",)
    chunk = {"cpu": 2}

    @classmethod
    def build(cls):
        return nn.Identity()

    @classmethod
    def prepare(cls, source):
        mean = np.asarray(read_image(source)).mean((0, 1), dtype=np.float32)[None]
        with np.errstate(invalid="ignore"):
            return mean / mean.any()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project; returns its parameters."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    return replace(params.load(ROOT / "params.yaml"), dataset="raw", device="cpu")


def write_manifest(modality: str, rows: dict[str, str]) -> None:
    path = paths.manifest_path(modality)
    path.parent.mkdir(parents=True, exist_ok=True)
    digests = [
        sha256(source.encode()).hexdigest()
        if modality == "text"
        else media_sha256(Path("raw"), source)
        for source in rows.values()
    ]
    table = {"item_id": list(rows), "source": list(rows.values()), "sha256": digests}
    pq.write_table(pa.table(table, pa.schema([(name, pa.string()) for name in table])), path)


def failures(modality: str) -> list[dict[str, str]]:
    with paths.failures_path(modality).open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        assert reader.fieldnames == ["item_id", "source", "reason"]
    return rows


@pytest.fixture
def images(project, monkeypatch):
    """Five good images and one of each kind of bad one."""
    monkeypatch.setattr(stage, "encoder_class", lambda name: Brightness)
    rows = {}
    for i in (4, 2, 3, 1, 0):
        Image.new("RGB", (8, 8), (i + 1, 0, 255)).save(f"raw/{i}.png")
        rows[f"item{i}"] = f"{i}.png"
    Image.new("RGB", (8, 8)).save("raw/black.png")
    Image.new("RGB", (8, 8), "white").save("outside.png")
    Path("raw/corrupt.png").write_bytes(Path("raw/1.png").read_bytes()[:50])
    rows |= {"missing": "none.png", "corrupt": "corrupt.png", "outside": "../outside.png",
             "black": "black.png", "null": "a\0b.png"}  # fmt: skip
    write_manifest("image", rows)
    return project


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_bad_items_cost_no_others(images, batch_size):
    entry = replace(images.encode["image"], batch_size=batch_size)
    stage.encode_modality("image", replace(images, encode=images.encode | {"image": entry}))
    ids, vectors = read_embeddings(paths.embeddings_path("image"))
    assert ids == [f"item{i}" for i in range(5)]
    assert vectors.tolist() == [[i + 1.0, 0.0, 255.0] for i in range(5)]
    reasons = {row["item_id"]: row["reason"] for row in failures("image")}
    assert list(reasons) == ["black", "corrupt", "missing", "null", "outside"]
    assert reasons["black"] == "the vector is not finite"
    assert reasons["corrupt"].startswith("not ")
    assert reasons["missing"] == "no such file"
    assert reasons["outside"] == "the path leads out of the dataset folder"


def test_file(images):
    stage.encode_modality("image", images)
    path = paths.embeddings_path("image")
    first = path.read_bytes(), paths.failures_path("image").read_bytes()
    stage.encode_modality("image", images)
    assert first == (path.read_bytes(), paths.failures_path("image").read_bytes())
    table = pq.read_table(path)
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False), 3)
    assert table.schema.field("item_id") == pa.field("item_id", pa.string(), nullable=False)
    assert table.schema.field("embedding") == pa.field("embedding", vector, nullable=False)
    metadata = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    assert metadata["count"] == "5"
    assert metadata["weights"] == "random initialisation (seed 0)"
    assert metadata["preprocessing"] == Brightness.preprocessing
    assert {"library:pillow", "library:pyarrow", "weights_sha256", "device"} <= metadata.keys()
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    assert column.compression == "ZSTD"
    assert "BYTE_STREAM_SPLIT" in column.encodings
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "image.failures.csv", "image.parquet",
    ]  # fmt: skip


@pytest.mark.parametrize("modality", ["text", "image", "audio", "video"])
def test_empty_manifest_loads_no_model(modality, project):
    write_manifest(modality, {})
    stage.encode_modality(modality, replace(project, weights="not looked at"))
    ids, vectors = read_embeddings(paths.embeddings_path(modality))
    cls = stage.encoder_class(project.encode[modality].encoder)
    assert ids == []
    assert vectors.shape == (0, cls.width)
    assert pq.read_schema(paths.embeddings_path(modality)).equals(schema(cls.width, {}))
    assert failures(modality) == []


def test_all_items_fail(images):
    write_manifest("image", {"a": "none.png"})
    entry = replace(images.encode["image"], max_failures=1.0)
    stage.encode_modality("image", replace(images, encode=images.encode | {"image": entry}))
    assert read_embeddings(paths.embeddings_path("image"))[1].shape == (0, 3)
    assert len(failures("image")) == 1


def test_text(project):
    texts = {"b": "a long text about the sea, " * 9, "a": "cars", "c": " ", "d": 'a, "b"\nc'}
    write_manifest("text", texts)
    stage.encode_modality("text", project)
    ids, vectors = read_embeddings(paths.embeddings_path("text"))
    assert ids == ["a", "b", "d"]
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3), atol=1e-5)
    assert failures("text") == [{"item_id": "c", "source": " ", "reason": "empty text"}]
    encoder = stage.encoder_class("minilm")("bundled")
    alone = encoder.encode([encoder.prepare(texts[i]) for i in ids])
    assert np.abs(vectors.numpy() - alone).max() < 1e-6


def test_wrong_weights_are_the_users_error(images):
    with pytest.raises(InputError, match=r"params.yaml: weights: weights 'x' is not valid"):
        stage.encode_modality("image", replace(images, weights="x"))
    assert not paths.embeddings_path("image").exists()


def test_batches_are_prepared_ahead_but_not_far():
    submitted = []

    def submit(item):
        submitted.append(item)
        return item.source

    batches = [[stage.Item(str(i), str(i), "")] for i in range(20)]
    stream = stage.ahead(batches, submit)
    for i in range(5):
        [(item, result)] = next(stream)
        assert item.item_id == result == str(i)
        assert len(submitted) <= i + 1 + stage.AHEAD
    assert [item.item_id for [(item, _)] in stream] == [str(i) for i in range(5, 20)]


def test_write_embeddings_checks(tmp_path):
    path, pair = tmp_path / "x.parquet", np.zeros((2, 3), np.float32)
    for ids in (["a", "a"], ["b", "a"]):
        with pytest.raises(ValueError, match="must ascend"):
            write_embeddings(path, ids, lambda part: pair[part], 3, {})
    with pytest.raises(ValueError, match="1 ids of width 3"):
        write_embeddings(path, ["a"], lambda part: pair, 3, {})
    assert list(tmp_path.iterdir()) == []
    pq.write_table(pa.table({"item_id": ["a"], "embedding": [[1.0]]}), tmp_path / "y.parquet")
    with pytest.raises(InputError, match="columns must be"):
        read_embeddings(tmp_path / "y.parquet")


def test_many_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.embeddings.ROW_GROUP", 4)
    vectors = np.arange(30, dtype=np.float32).reshape(10, 3)
    ids = [f"{i}" for i in range(10)]
    write_embeddings(tmp_path / "x.parquet", ids, lambda part: vectors[part], 3, {})
    assert pq.read_metadata(tmp_path / "x.parquet").num_row_groups == 3
    found, read = read_embeddings(tmp_path / "x.parquet")
    assert found == ids
    assert torch.equal(read, torch.from_numpy(vectors))


def test_unknown_modality(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["encode", "smell"])
    with pytest.raises(SystemExit) as caught:
        stage.main()
    assert caught.value.code == 2
    assert "invalid choice: 'smell'" in capsys.readouterr().err
