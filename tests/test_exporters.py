"""Exporters: a prepared workspace → another format, and back through the importer."""

import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small import ITEMS, USERS, write_workspace
from test_importers import features

from encoders import modalities
from pipeline.catalogue.embeddings import read_embeddings
from pipeline.common import paths
from pipeline.common.params import Prepare
from pipeline.encoding.manifest import Item
from pipeline.encoding.outputs import write_failures
from pipeline.prepare import prepare

COLD = ("i00", "i29")  # nobody has them


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One where nobody has the first item and the last; no item has a video."""
    monkeypatch.chdir(tmp_path)
    write_workspace(tmp_path)
    paths.SUMMARY.write_text('{"dataset": "data/raw/small"}')
    for name in paths.SPLITS:
        table = pq.read_table(paths.split_path(name)).to_pylist()
        warm = [row for row in table if row["item"] not in (0, ITEMS - 1)]
        pq.write_table(pa.Table.from_pylist(warm), paths.split_path(name))
    as_prepared()
    return tmp_path


def as_prepared() -> None:
    """Manifests of what is encoded; the last image cannot be."""
    paths.MANIFESTS.mkdir(exist_ok=True)
    for modality in modalities():
        ids = read_embeddings(paths.embeddings_path(modality))[0]
        failed = ["of-image"] if modality == "image" else []
        pq.write_table(pa.table({"item_id": [*ids, *failed]}), paths.manifest_path(modality))
        rows = [(Item(name, "x.png", ""), 'no "image",\nof course') for name in failed]
        write_failures(paths.failures_path(modality), rows)


def run(monkeypatch: pytest.MonkeyPatch, module: str, *arguments: str) -> None:
    monkeypatch.delitem(sys.modules, f"pipeline.{module}", raising=False)  # as a new process would
    monkeypatch.setattr("sys.argv", [module.rpartition(".")[2], *arguments])
    runpy.run_module(f"pipeline.{module}", run_name="__main__")


def prepared() -> dict[str, set[tuple[str, str]]]:
    """Split → its pairs of ids, as the workspace has them."""
    users = pq.read_table(paths.USERS)["user_id"].to_pylist()
    items = pq.read_table(paths.ITEMS)["item_id"].to_pylist()
    return {
        name: {
            (users[row["user"]], items[row["item"]])
            for row in pq.read_table(paths.split_path(name)).to_pylist()
        }
        for name in paths.SPLITS
    }


def vectors() -> dict[str, dict[str, list[float]]]:
    """Modality → item → its vector, as the workspace has them."""
    result = {}
    for modality in ("text", "image", "audio"):
        ids, rows = read_embeddings(paths.embeddings_path(modality))
        result[modality] = dict(zip(ids, rows.tolist(), strict=True))
    return result


@pytest.mark.parametrize("name", ["mmrec", "recbole"])
def test_there_and_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same interactions, splits, items and vectors, to the last bit."""
    before, content = prepared(), vectors()
    run(monkeypatch, f"exporters.{name}", "out")
    run(monkeypatch, f"importers.{name}", "out/small", "back")
    ids = pq.read_table("back/items.parquet")["item_id"].to_pylist()
    assert sorted(ids) == [f"i{n:02}" for n in range(ITEMS)]
    found = {
        modality: {
            item: row.tolist()
            for item, row in zip(ids, features(Path("back"), modality), strict=True)
            if np.isfinite(row).all()
        }
        for modality in content
    }
    assert found == content
    assert not Path("back/features/video.parquet").exists()
    prepare(Path("back"), Prepare(seed=0, split="random", validation=0.1, test=0.1))
    assert prepared() == before


def test_mmrec(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "exporters.mmrec", "out")
    folder = Path("out/small")
    assert {path.name for path in folder.iterdir()} == {
        "small.inter", "small.yaml", "i_id_mapping.csv", "u_id_mapping.csv",
        "text_feat.npy", "image_feat.npy", "audio_feat.npy",
        "missed_image_itemIDs.csv", "missed_audio_itemIDs.csv",
    }  # fmt: skip
    lines = (folder / "small.inter").read_text().splitlines()
    assert lines[0] == "userID\titemID\tx_label"
    rows = np.array([line.split("\t") for line in lines[1:]], int)
    sizes = [pq.read_metadata(paths.split_path(name)).num_rows for name in paths.SPLITS]
    assert np.bincount(rows[:, 2]).tolist() == sizes
    mapping = [line.split("\t") for line in (folder / "i_id_mapping.csv").read_text().splitlines()]
    assert mapping[0] == ["asin", "itemID"]
    row_of = {item: int(row) for item, row in mapping[1:]}
    # MMRec takes the highest itemID + 1 for the number of items, and of rows.
    assert rows[:, 1].max() + 1 == ITEMS == len(row_of) and rows[:, 0].max() + 1 == USERS
    assert {row_of[item] for item in COLD} == {0, 1}
    for modality, items in vectors().items():
        matrix = np.load(folder / f"{modality}_feat.npy")
        assert matrix.dtype == np.float32 and len(matrix) == ITEMS
        # A row of zeros would be divided by its length, and LATTICE's first loss be NaN.
        mean = np.mean(list(items.values()), 0, np.float64).astype(np.float32).tolist()
        for item, row in row_of.items():
            assert matrix[row].tolist() == pytest.approx(items.get(item, mean), abs=0, rel=1e-6)
    missed = (folder / "missed_image_itemIDs.csv").read_text().splitlines()
    assert missed == [str(row_of[f"i{n:02}"]) for n in range(3)]
    config = (folder / "small.yaml").read_text().splitlines()
    assert "inter_file_name: 'small.inter'" in config and 'field_separator: "\\t"' in config


def test_recbole(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "exporters.recbole", "out")
    folder = Path("out/small")
    header = "user_id:token\titem_id:token"
    whole = (folder / "small.inter").read_text().splitlines()
    assert whole[0] == header
    parts = []
    for part, split in zip(("train", "valid", "test"), prepared().values(), strict=True):
        first, *rows = (folder / f"small.{part}.inter").read_text().splitlines()
        assert first == header and {tuple(row.split("\t")) for row in rows} == split
        parts += rows
    assert parts == whole[1:]
    first, *rows = (folder / "small.item").read_text().splitlines()
    assert first.split("\t") == [
        "item_id:token", "text_emb:float_seq", "image_emb:float_seq", "audio_emb:float_seq",
    ]  # fmt: skip
    assert len(rows) == ITEMS
    assert rows[0].split("\t")[2:] == ["", ""]  # the first item has no image and no audio
    config = (folder / "small.yaml").read_text()
    assert "benchmark_filename: [train, valid, test]" in config
    assert "item: [item_id, text_emb, image_emb, audio_emb]" in config


def error(monkeypatch: pytest.MonkeyPatch, module: str, *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, module, *arguments)
    return str(end.value.code)


@pytest.mark.parametrize("name", ["mmrec", "pyg", "recbole"])
def test_what_is_wrong_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(*arguments: str) -> str:
        return error(monkeypatch, f"exporters.{name}", *arguments)

    assert said() == f"error: usage: python -m pipeline.exporters.{name} <folder>"
    Path("out/small").mkdir(parents=True)
    Path("out/small/mine.txt").write_text("mine")
    assert "out/small: is there already" in said("out")
    assert [path.name for path in Path("out/small").iterdir()] == ["mine.txt"]
    paths.embeddings_path("audio").unlink()
    assert "data/embeddings/audio.parquet: no such file; run `dvc repro`" in said("new")
    paths.ITEMS.unlink()
    assert "data/prepared/items.parquet: no such file" in said("new")
    assert not Path("new").exists()


@pytest.mark.parametrize("name", ["mmrec", "pyg", "recbole"])
def test_vectors_of_another_catalogue_are_not_exported(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when `prepare` has run again, and `encode` has not."""
    manifest = paths.manifest_path("text")
    ids = pq.read_table(manifest)["item_id"].to_pylist()
    for others, item in (([*ids, "new"], "new"), (ids[1:], ids[0])):
        pq.write_table(pa.table({"item_id": others}), manifest)
        said = error(monkeypatch, f"exporters.{name}", "new")
        assert f"text.parquet: was not encoded from the prepared catalogue: item {item!r}" in said
        assert not Path("new").exists()


def test_a_modality_that_is_no_field_of_recbole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its configuration would name two fields, `a` and `b_emb`."""
    paths.FEATURES.mkdir(exist_ok=True)
    shutil.copy(paths.embeddings_path("text"), paths.FEATURES / "a,b.parquet")
    paths.FEATURES_LIST.write_text('["a,b"]')
    said = error(monkeypatch, "exporters.recbole", "new")
    assert "features/a,b: no name of a field of RecBole" in said and not [*Path("new").iterdir()]


@pytest.mark.parametrize("name", ["mmrec", "recbole"])
@pytest.mark.parametrize(("path", "column"), [(paths.USERS, "user_id"), (paths.ITEMS, "item_id")])
def test_ids_that_text_cannot_hold(
    name: str, path: Path, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = pq.read_table(path)[column].to_pylist()
    pq.write_table(pa.table({column: [*ids[:-1], 'z "b"']}), path)
    for modality in ("text", "image", "audio"):  # no item goes by its old id
        table = pq.read_table(paths.embeddings_path(modality))
        pq.write_table(table.slice(0, 5), paths.embeddings_path(modality))
    as_prepared()
    assert f"{path.name}: id 'z \"b\"' has a tab, a quote" in error(
        monkeypatch, f"exporters.{name}", "new"
    )
    assert not Path("new").exists()
