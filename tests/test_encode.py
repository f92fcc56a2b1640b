"""The stage `encode`: files in, files out, and no item at another's cost."""

import contextlib
import csv
import re
import sqlite3
import sys
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

from encoders.base import PartsEncoder
from encoders.media import MediaError
from encoders.media.image import read_image
from pipeline import encode as stage
from pipeline.catalogue.embeddings import Target, read_embeddings, schema, write_embeddings
from pipeline.catalogue.manifests import media_sha256
from pipeline.common import device, params, paths
from pipeline.common.files import InputError
from pipeline.encoding.batches import batches_of, missing_of
from pipeline.encoding.decoding import AHEAD, ahead, locate
from pipeline.encoding.manifest import Item
from pipeline.encoding.outputs import refuse_failures

ROOT = Path(__file__).parents[1]


class Brightness(PartsEncoder):
    """An image's mean colour; black has no red, not even 0."""

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
            mean[:, 0] /= mean.any()
        return mean


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
    assert reasons["null"].startswith("not a path: ")
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
    assert len(metadata.pop("fingerprint")) == 64
    assert metadata == Brightness.description() | {
        "count": "5",
        "device": "cpu",
        "precision": "fp32",
        "weights": "random initialisation (seed 0)",
        "weights_sha256": sha256(b"").hexdigest(),  # the network has none
        "revision": "none",
        "library:pillow": version("pillow"),
        "library:pyarrow": version("pyarrow"),
    }
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    assert column.compression == "ZSTD"
    assert "BYTE_STREAM_SPLIT" in column.encodings
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "image.failures.csv", "image.parquet", "image.remarks.csv",
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
    metadata = pq.read_schema(paths.embeddings_path(modality)).metadata
    for key, value in {"encoder": cls.name, "width": str(cls.width), "count": "0"}.items():
        assert metadata[key.encode()].decode() == value
    for library in (*cls.libraries, "pyarrow"):
        assert metadata[f"library:{library}".encode()].decode() == version(library)


def test_all_items_fail(images):
    write_manifest("image", {"a": "none.png"})
    entry = replace(images.encode["image"], max_failures=1.0)
    stage.encode_modality("image", replace(images, encode=images.encode | {"image": entry}))
    assert read_embeddings(paths.embeddings_path("image"))[1].shape == (0, 3)
    assert len(failures("image")) == 1


def test_items_with_the_same_bad_content_all_fail(images):
    for i in range(3):
        Path(f"raw/bad{i}.png").write_bytes(b"no image")
    bad = {f"b{i}": f"bad{i}.png" for i in range(3)}
    write_manifest("image", bad | {"a": "none.png", "c": "nor this.png", "item": "1.png"})
    entry = replace(images.encode["image"], batch_size=2, max_failures=1.0)
    stage.encode_modality("image", replace(images, encode=images.encode | {"image": entry}))
    assert read_embeddings(paths.embeddings_path("image"))[0] == ["item"]
    rows = failures("image")
    assert [row["item_id"] for row in rows] == ["a", "b0", "b1", "b2", "c"]
    assert [row["source"] for row in rows] == ["none.png", *bad.values(), "nor this.png"]
    reasons = [row["reason"] for row in rows]
    assert reasons == ["no such file", *["not an image of a known format"] * 3, "no such file"]


def test_what_was_done_is_logged(images, caplog):
    with caplog.at_level("INFO"):
        for now in (5, 0):
            stage.encode_modality("image", images)
            assert (
                f"5 items by vit (weights: random initialisation (seed 0)): {now} encoded now, "
                f"{5 - now} known already, 0 the same as another, 5 failed" in caplog.messages[-1]
            )


def test_the_most_common_reasons_are_shown(project):
    item = Item("x", "x", "")
    reasons = ["rare"] + ["common"] * 9 + ["second"] * 4 + ["third"] * 3
    found = [(item, reason) for reason in reasons]
    path = paths.failures_path("image")
    refuse_failures("image", 34, found, 0.5, "encode.image", path)
    refuse_failures("image", 0, [], 0.0, "encode.image", path)
    with pytest.raises(InputError) as caught:
        refuse_failures("image", 33, found, 0.5, "encode.image", path)
    assert "17 of 33 items" in str(caught.value)
    assert "allows: common (9); second (4); third (3). data/" in str(caught.value)


def test_a_dataset_may_be_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "here").symlink_to("there")
    (tmp_path / "there-too").mkdir()
    dataset = tmp_path / "here"
    assert locate(dataset, "a/../b.png") == dataset / "b.png"
    for outside in ("../there-too/x.png", "..", "/etc/passwd"):
        with pytest.raises(MediaError, match="leads out"):
            locate(dataset, outside)


def test_batches():
    """Texts by length, then by id; everything else as it comes; every item once."""
    sources = {"b": "xx", "a": "xx", "c": "x", "d": "xxxx", "e": "xxx"}
    items = [Item(item, source, "") for item, source in sources.items()]

    def ids(modality, size):
        return ["".join(i.item_id for i in b) for b in batches_of(items, modality == "text", size)]

    assert ids("text", 2) == ["ca", "be", "d"]
    assert ids("text", 5) == ["cabed"]
    assert ids("image", 3) == ["bac", "de"]
    assert ids("audio", 1) == list("bacde")


def test_each_content_is_encoded_once():
    batches = [[Item(item, "", item[0].strip("-")) for item in batch.split()]
               for batch in ("a1 b1 a2 -1", "b2 c1", "a3", "-2 d1")]  # fmt: skip
    todo = missing_of(batches, {"c"})
    assert [[item.item_id for item in batch] for batch in todo] == [
        ["a1", "b1", "-1"],
        ["-2", "d1"],
    ]


def test_device_and_precision(monkeypatch):
    monkeypatch.setattr(device, "_without_kernels", lambda: "")
    for there, automatic in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(device, "_has_cuda", lambda there=there: there)
        assert device.resolve_device("cpu") == "cpu"
        assert device.resolve_device("auto") == automatic
        with contextlib.nullcontext() if there else pytest.raises(InputError, match="no CUDA"):
            assert device.resolve_device("cuda") == "cuda"
    for where, automatic in (("cpu", "fp32"), ("cuda", "fp16")):
        assert device.resolve_precision("auto", where, "key") == automatic
        assert device.resolve_precision("bf16", where, "key") == "bf16"
    with pytest.raises(
        InputError, match="encode.x.precision: precision 'fp16' is not valid on cpu"
    ):
        device.resolve_precision("fp16", "cpu", "encode.x.precision")


@pytest.mark.parametrize(
    ("capability", "built", "usable"),
    [((9, 0), "sm_80 sm_90", True), ((8, 6), "sm_80 sm_90", True), ((8, 0), "sm_86 sm_90", False),
     ((7, 0), "sm_75 sm_80 compute_80", False), ((9, 0), "sm_80", False),
     ((9, 0), "sm_80 compute_80", True), ((12, 0), "sm_90 sm_120 compute_120", True),
     ((12, 1), "sm_90a sm_100a", False), ((10, 0), "compute_75", True), ((9, 0), "", False)],
)  # fmt: skip
def test_a_card_without_kernels_is_no_card(capability, built, usable, monkeypatch, caplog):
    for name, value in {
        "get_device_capability": capability,
        "get_arch_list": built.split(),
        "get_device_name": f"Card {capability}",
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(device, "_has_cuda", lambda: True)
    device._say_once.cache_clear()
    assert [device.resolve_device("auto") for _ in range(2)] == ["cuda" if usable else "cpu"] * 2
    said = rf"no kernels for {re.escape(f'Card {capability}')}.*{built.replace(' ', ', ')}"
    assert len(re.findall(said, caplog.text)) == (0 if usable else 1)
    with contextlib.nullcontext() if usable else pytest.raises(InputError, match=said):
        assert device.resolve_device("cuda") == "cuda"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_encoder_gets_the_precision_asked_for(precision, images, monkeypatch):
    seen = []
    monkeypatch.setattr(Brightness, "forward", lambda self, x: seen.append(self.precision) or x)
    entry = replace(images.encode["image"], precision=precision)
    stage.encode_modality("image", replace(images, encode=images.encode | {"image": entry}))
    assert set(seen) == {precision}
    metadata = pq.read_schema(paths.embeddings_path("image")).metadata
    assert metadata[b"precision"].decode() == precision


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

    batches = [[Item(str(i), str(i), "")] for i in range(20)]
    stream = ahead(batches, submit)
    for i in range(5):
        [(item, result)] = next(stream)
        assert item.item_id == result == str(i)
        assert len(submitted) <= i + 1 + AHEAD
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
    ours = schema(1, {}).empty_table()
    for other in (
        pa.table({"item_id": ["a"]}),
        pa.table({"item_id": ["a"], "embedding": pa.array([[1.0]], pa.list_(pa.float64(), 1))}),
        pa.table({"item_id": ["a"], "embedding": pa.array([[1.0]], pa.list_(pa.float32(), 1))}),
        ours.append_column("more", ours["item_id"]),
    ):
        pq.write_table(other, tmp_path / "y.parquet")
        with pytest.raises(InputError, match="columns must be"):
            read_embeddings(tmp_path / "y.parquet")


def test_many_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.catalogue.embeddings.ROW_GROUP", 4)
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


class Picky(Brightness):
    """A network that cannot take red images."""

    def encode(self, batch):
        if any(item[0, 1] == 0 and item[0, 2] == 0 for item in batch):
            raise RuntimeError("shape '[3]' is invalid\nfor this input")
        return super().encode(batch)


def test_what_the_network_cannot_take_costs_itself(project, monkeypatch):
    monkeypatch.setattr(stage, "encoder_class", lambda name: Picky)
    rows = {}
    for n in range(11):
        Image.new("RGB", (8, 8), (255, 0, 0) if n == 6 else (n, 9, 255)).save(f"raw/{n}.png")
        rows[f"item{n:02}"] = f"{n}.png"
    write_manifest("image", rows)
    stage.encode_modality("image", project)
    ids, _ = read_embeddings(paths.embeddings_path("image"))
    assert ids == [f"item{n:02}" for n in range(11) if n != 6]
    (failed,) = failures("image")
    assert failed["item_id"] == "item06"
    assert failed["reason"] == "the network failed: RuntimeError: shape '[3]' is invalid"


def test_remarks_come_with_the_vectors_warm_or_cold(project, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(stage, "encoder_class", lambda name: Brightness)
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    Image.fromarray(noise).save("raw/whole.jpg")
    Path("raw/cut.jpg").write_bytes(Path("raw/whole.jpg").read_bytes()[:-2])
    Path("raw/same.jpg").write_bytes(Path("raw/cut.jpg").read_bytes())
    write_manifest("image", {"a": "whole.jpg", "b": "cut.jpg", "c": "same.jpg"})
    written = []
    for _ in range(2):
        stage.encode_modality("image", project)
        target = Target.encoded("image")
        written.append((target.remarks.read_bytes(), target.embeddings.read_bytes()))
    assert written[0] == written[1]
    said = "the end of the JPEG is missing, none of its pixels are"
    with Target.encoded("image").remarks.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["item_id", "source", "remark"], ["b", "cut.jpg", said], ["c", "same.jpg", said],
        ]  # fmt: skip
    assert not failures("image")
    assert "image: 2 to encode of 3 items, 0 known, 1 the same as another" in caplog.text
    assert "2 encoded now, 0 known already, 1 the same as another, 0 failed, 2 with a remark" in (
        caplog.text
    )
    assert "0 encoded now, 3 known already" in caplog.messages[-1]


@pytest.mark.parametrize("changed", ["a", "b"])
def test_a_file_that_changes_costs_only_its_item(project, monkeypatch, changed):
    monkeypatch.setattr(stage, "encoder_class", lambda name: Brightness)
    for name in "ab":
        Image.new("RGB", (8, 8), (1, 2, 3)).save(f"raw/{name}.png")
    write_manifest("image", {"a": "a.png", "b": "b.png"})
    Image.new("RGB", (8, 8), (9, 9, 9)).save(f"raw/{changed}.png")
    stage.encode_modality("image", project)
    other = {"a": "b", "b": "a"}[changed]
    ids, vectors = read_embeddings(paths.embeddings_path("image"))
    assert other in ids and vectors[ids.index(other)].tolist() == [1, 2, 3]
    for failed in failures("image"):
        assert failed["item_id"] == changed and "has changed since" in failed["reason"]


@pytest.mark.parametrize("damage", ["garbage", "cut", "schema", "flipped", "empty"])
def test_a_broken_cache_is_set_aside(project, monkeypatch, caplog, damage):
    monkeypatch.setattr(stage, "encoder_class", lambda name: Brightness)
    rows = {}
    for n in range(200):
        Image.new("RGB", (4, 4), (n, 9, 255)).save(f"raw/{n}.png")
        rows[f"item{n:03}"] = f"{n}.png"
    write_manifest("image", rows)
    stage.encode_modality("image", project)
    expected = paths.embeddings_path("image").read_bytes()
    (kept,) = paths.VECTORS.glob("*.sqlite")
    content = bytearray(kept.read_bytes())
    match damage:
        case "garbage":
            kept.write_bytes(b"no database" * 500)
        case "cut":
            kept.write_bytes(content[: len(content) // 2])
        case "empty":
            kept.write_bytes(b"")
        case "schema":
            kept.unlink()
            with sqlite3.connect(kept) as connection:
                connection.execute("CREATE TABLE vectors (key TEXT, other TEXT)")
            connection.close()
        case "flipped":
            place = content.rindex(np.float32([199, 9, 255])[1:].tobytes())
            content[place] ^= 1
            kept.write_bytes(content)
    caplog.clear()
    stage.encode_modality("image", project)
    assert paths.embeddings_path("image").read_bytes() == expected
    if damage != "empty":  # an empty file is a new cache
        assert "is damaged" in caplog.text and "set aside as" in caplog.text
        assert [path.name for path in paths.VECTORS.glob("*.broken")] == [f"{kept.name}.broken"]
    caplog.clear()
    stage.encode_modality("image", project)
    assert "is damaged" not in caplog.text


def test_files_that_appear_after_prepare_are_no_known_content(project, monkeypatch):
    """Nothing tells them apart in the manifest: one's vector must not be the other's."""
    monkeypatch.setattr(stage, "encoder_class", lambda name: Brightness)
    Image.new("RGB", (8, 8), (1, 2, 3)).save("raw/there.png")
    rows = {"a": "a.png", "b": "b.png", "c": "there.png"}
    write_manifest("image", rows)  # a and b are not there yet
    for name, red in (("a", 50), ("b", 200)):
        Image.new("RGB", (8, 8), (red, 0, 9)).save(f"raw/{name}.png")
    entry = replace(project.encode["image"], max_failures=0.7)
    stage.encode_modality("image", replace(project, encode=project.encode | {"image": entry}))
    assert read_embeddings(paths.embeddings_path("image"))[0] == ["c"]
    assert [(f["item_id"], "has changed since it was prepared" in f["reason"])
            for f in failures("image")] == [("a", True), ("b", True)]  # fmt: skip
