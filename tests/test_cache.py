"""The vector cache: nothing is encoded twice, nothing finished is lost, nothing stale is used."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from colour_encoder import Colour
from PIL import Image
from safetensors.numpy import save_file

from encoders import encoder_class
from encoders.weights import Found
from pipeline import cache as cli
from pipeline import encode as stage
from pipeline.catalogue.embeddings import Target, read_embeddings
from pipeline.common import params, paths
from pipeline.common.files import InputError
from pipeline.encoding import outputs, raw_media
from pipeline.encoding.raw_media import description_of, encode_nothing, fingerprint_of
from pipeline.encoding.vectors import VectorCache, count_in, present_in
from pipeline.experiments import kept
from pipeline.experiments.kept import prune
from pipeline.prepare import prepare

ROOT = Path(__file__).parents[1]


def keys(count: int) -> list[str]:
    return [sha256(str(n).encode()).hexdigest() for n in range(count)]


def test_vectors_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(1200, 3)).astype(np.float32)
    names = keys(1200)
    with VectorCache(tmp_path / "x.sqlite", 3) as cache:
        cache.put(names[:1000], vectors[:1000])
        cache.put(names[990:], vectors[990:])
    with VectorCache(tmp_path / "x.sqlite", 3) as cache:
        order = np.random.default_rng(1).permutation(1200)
        assert (cache.get([names[i] for i in order]) == vectors[order]).all()
        assert cache.get([]).shape == (0, 3)
        assert cache.present([*names, "ff"]) == set(names)
        with pytest.raises(KeyError, match="ff"):
            cache.get(["ff"])
        cache.put(names[3:5], vectors[:2])  # the newer ones count
        assert (cache.get(names[2:6]) == vectors[[2, 0, 1, 5]]).all()
        assert len(cache) == 1200
        assert cache.keep_only([*names[5:9], names[5], "ff"]) == 1196
        assert cache.present(names) == set(names[5:9])
        assert cache.keep_only(names[5:7]) == 2
        assert len(cache) == 2


def test_notes(tmp_path: Path) -> None:
    with VectorCache(tmp_path / "x.sqlite", 3) as cache:
        assert cache.noted("a") is None
        cache.note("a", "1")
        cache.note("b", "2")
        cache.note("a", "3")
    with VectorCache(tmp_path / "x.sqlite", 3) as cache:
        assert (cache.noted("a"), cache.noted("b")) == ("3", "2")


def test_wrong_shapes_are_refused(tmp_path: Path) -> None:
    with VectorCache(tmp_path / "x.sqlite", 3) as cache:
        for wrong in (np.zeros((1, 2), np.float32), np.zeros((2, 3), np.float32), np.zeros((1, 3))):
            with pytest.raises(ValueError, match="1 keys"):
                cache.put(keys(1), wrong)
        cache.put(keys(1), np.zeros((1, 3), np.float32))
    with pytest.raises(InputError, match="width 3, not 4"):
        VectorCache(tmp_path / "x.sqlite", 4)


def test_looking_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even what is broken: `python -m pipeline.cache` and `check` only say what is there."""
    monkeypatch.setattr(paths, "VECTORS", tmp_path)
    path, broken = tmp_path / "a 50% ?#.sqlite", tmp_path / "b.sqlite"
    with VectorCache(path, 3) as cache:
        cache.put(keys(2), np.zeros((2, 3), np.float32))
        assert present_in(path, keys(3)) == {*keys(2)}  # while another process writes it
    broken.write_bytes(b"no database at all, however long it may be")
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    assert present_in(path, keys(3)) == {*keys(2)}
    assert present_in(broken, keys(3)) == present_in(tmp_path / "none", keys(3)) == set()
    assert (count_in(path), count_in(broken)) == (2, None)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_fingerprint_covers_what_changes_a_vector() -> None:
    def fingerprint(described: dict[str, str], *found: str) -> str:
        return fingerprint_of(Colour, Found(*(found or ("folder", "1", "a"))), described)

    base = description_of(Colour, "cpu", "fp32")
    assert {"encoder", "preprocessing", "device", "precision", "library:pillow"} < base.keys()
    relevant = {key: base | {key: "other"} for key in (*base, "library:new") if key != "license"}
    prints = {fingerprint(base), *map(fingerprint, relevant.values())}
    assert len(prints) == 1 + len(relevant)
    assert fingerprint(base) == fingerprint(base | {"license": "other"})
    assert fingerprint(base) == fingerprint(base, "elsewhere", "2", "a")
    assert fingerprint(base) != fingerprint(base, "folder", "1", "b")
    assert fingerprint(base) == fingerprint(dict(reversed(base.items())))
    assert len(bytes.fromhex(fingerprint(base))) == 32


class Project:
    """A catalogue of coloured images, encoded by `Colour`."""

    def __init__(self, folder: Path) -> None:
        self.colours = {f"i{n:02}": (n, 2 * n, 255 - n) for n in range(20)}
        self.encoder = Colour
        loaded = params.load(ROOT / "params.yaml")
        entry = replace(loaded.encode["image"], batch_size=4)
        encode = loaded.encode | {"image": entry}
        study = replace(loaded.study, systems=["popularity"])
        self.params = replace(loaded, dataset="raw", device="cpu", encode=encode, study=study)
        (folder / "raw").mkdir()

    def write(self) -> None:
        for item, colour in self.colours.items():
            Image.new("RGB", (4, 4), colour).save(f"raw/{item}.png")
        rows = "".join(f"{item},{item}.png\n" for item in self.colours)
        Path("raw/items.csv").write_text(f"item_id,image\n{rows}")
        Path("raw/interactions.csv").write_text("user_id,item_id\n" + "u,i00\n")
        prepare(Path("raw"), self.params.prepare)

    def encode(self) -> list[int]:
        """The sizes of the batches that went through the network."""
        self.encoder.encoded.clear()
        stage.encode_modality("image", self.params)
        return list(self.encoder.encoded)

    def encode_nothing(self) -> None:
        """As the stages of all modalities that no item has."""
        for modality in ("text", "audio", "video"):
            cls = encoder_class(self.params.encode[modality].encoder)
            encode_nothing(cls, Target.encoded(modality))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    made = Project(tmp_path)
    monkeypatch.setattr(stage, "encoder_class", lambda name: made.encoder)
    monkeypatch.setattr(Colour, "preprocessing", Colour.preprocessing)
    monkeypatch.setattr(kept, "load", lambda: made.params)
    made.write()
    return made


def test_exactly_what_is_new_is_encoded(project: Project) -> None:
    path = paths.embeddings_path("image")
    assert project.encode() == [4, 4, 4, 4, 4]
    first = path.read_bytes()
    assert project.encode() == [] and path.read_bytes() == first
    project.colours["new"] = (200, 0, 0)
    project.write()
    assert project.encode() == [1]
    project.colours["i07"] = (0, 200, 0)  # changed
    del project.colours["i03"]  # removed
    project.colours["same"] = project.colours["new"]  # another item, the same bytes
    project.write()
    assert project.encode() == [1]
    ids, vectors = read_embeddings(path)
    assert ids == sorted(project.colours)
    assert (vectors[ids.index("same")] == vectors[ids.index("new")]).all()
    assert vectors[ids.index("i07")].argmax() == 1


def test_no_network_is_built_for_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.encode()
    first = paths.embeddings_path("image").read_bytes()
    monkeypatch.setattr(project.encoder, "build", None)
    assert project.encode() == []
    assert paths.embeddings_path("image").read_bytes() == first


def weigh(folder: Path, version: str) -> str:
    """A weights file of a network without weights: other bytes, no other tensors."""
    folder.mkdir(exist_ok=True)
    save_file({}, folder / "vit.safetensors", {"version": version})
    return str(folder)


@pytest.mark.parametrize("what", ["preprocessing", "weights", "file", "library", "precision",
                                  "device"])  # fmt: skip
def test_another_fingerprint_encodes_anew(
    what: str, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever may change a vector; and back again nothing is encoded a third time."""
    entry = project.params.encode["image"]
    if what == "file":
        project.params = replace(project.params, weights=weigh(tmp_path / "w", "1"))
    before = project.params
    assert sum(project.encode()) == 20 and project.encode() == []
    with monkeypatch.context() as patch:
        match what:
            case "preprocessing":
                patch.setattr(project.encoder, "preprocessing", "2: other")
            case "weights":
                project.params = replace(before, weights=weigh(tmp_path / "w", "1"))
            case "file":
                weigh(tmp_path / "w", "2")
            case "library":
                patch.setattr(outputs, "version", lambda name: "99")
            case "precision":
                encode = before.encode | {"image": replace(entry, precision="bf16")}
                project.params = replace(before, encode=encode)
            case "device":  # there is no other real one
                patch.setattr(raw_media, "resolve_device", lambda name: "meta")
        assert sum(project.encode()) == 20 and project.encode() == []
        assert len(list(paths.VECTORS.glob("*.sqlite"))) == 2
    project.params = before
    if what == "file":
        weigh(tmp_path / "w", "1")
    assert project.encode() == []


def test_weights_that_moved_are_the_same(project: Project, tmp_path: Path) -> None:
    for folder, encoded in (("a", 20), ("b", 0)):
        weights = weigh(tmp_path / folder, "1")
        project.params = replace(project.params, weights=weights)
        assert sum(project.encode()) == encoded
        metadata = pq.read_schema(paths.embeddings_path("image")).metadata
        assert metadata[b"weights"].decode() == f"{weights}/vit.safetensors"
        content = Path(weights, "vit.safetensors").read_bytes()
        assert metadata[b"weights_sha256"].decode() == sha256(content).hexdigest()


def test_encoders_and_widths_share_no_vectors(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.encode()
    for attribute, value in (("name", "clip"), ("model_id", "other")):
        monkeypatch.setattr(project.encoder, attribute, value)
        assert sum(project.encode()) == 20
    names = sorted(path.name.split("-")[0] for path in paths.VECTORS.glob("*.sqlite"))
    assert names == ["clip", "clip", "vit"]


def test_a_file_that_changed_behind_the_manifest_is_not_taken(project: Project) -> None:
    Image.new("RGB", (4, 4), "white").save("raw/i05.png")
    project.encode()
    assert "i05" not in read_embeddings(paths.embeddings_path("image"))[0]
    assert "has changed" in paths.failures_path("image").read_text()
    project.write()
    assert project.encode() == [1]


def test_prune_keeps_what_is_used(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    project.encode()
    project.encoder.preprocessing = "2: other"
    project.encode()
    del project.colours["i03"]
    project.write()
    project.encode()
    files = list(paths.VECTORS.glob("*.sqlite"))
    assert len(files) == 2
    for file in files:
        Path(f"{file}-wal").touch()  # as a killed run leaves one
    with pytest.raises(InputError, match=r"\.parquet is not there"):
        prune()
    project.encode_nothing()
    prune()
    [kept] = paths.VECTORS.glob("*.sqlite")
    with VectorCache(kept, 3) as cache:
        assert len(cache) == 19
    assert {path.name.split(".")[0] for path in paths.VECTORS.iterdir()} == {kept.stem}
    assert project.encode() == []


def test_prune_leaves_ready_made_features_alone(project: Project) -> None:
    project.encode()
    Path("raw/features").mkdir()
    np.save("raw/features/image.npy", np.ones((20, 3)))
    prepare(Path("raw"), project.params.prepare)
    stage.encode_modality("image", project.params)
    project.encode_nothing()
    prune()  # they come from no cache
    assert list(paths.VECTORS.iterdir()) == []


def test_what_is_there_is_listed(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    project.encode()
    project.encoder.preprocessing = "2: other"
    project.colours.popitem()
    project.write()
    project.encode()
    project.encode_nothing()
    monkeypatch.setattr(sys, "argv", ["cache"])
    broken = paths.VECTORS / "zzz.sqlite"
    broken.write_bytes(b"no database")
    with caplog.at_level("INFO"):
        caplog.clear()
        cli.main()
    *others, last = caplog.messages
    assert last == f"{broken}: broken, 0.0 MB, unused" and broken.read_bytes() == b"no database"
    used = {"unused" in line: line for line in others}
    assert len(others) == len(used) == 2
    assert ": 20 vectors, 0." in used[True] and ": 19 vectors, 0." in used[False]
    monkeypatch.setattr(sys, "argv", ["cache", "prune"])
    cli.main()
    assert len(list(paths.VECTORS.glob("*.sqlite"))) == 1
    for wrong in (["clear"], ["prune", "all"]):
        monkeypatch.setattr(sys, "argv", ["cache", *wrong])
        with pytest.raises(InputError, match="usage"):
            cli.main()


def test_a_killed_run_loses_nothing_and_ends_the_same(project: Project) -> None:
    path = paths.embeddings_path("image")
    project.encode()
    expected = path.read_bytes()
    rng = np.random.default_rng(0)
    script = (
        "from dataclasses import replace\nfrom pathlib import Path\n"
        "from colour_encoder import Colour\nfrom pipeline import encode\n"
        "from pipeline.common import params\n"
        f"p = params.load(Path({str(ROOT / 'params.yaml')!r}))\n"
        "e = p.encode | {'image': replace(p.encode['image'], batch_size=4)}\n"
        "p = replace(p, dataset='raw', device='cpu', encode=e)\n"
        "encode.encoder_class = lambda name: Colour\nColour.seconds = 0.05\n"
        "if __name__ == '__main__':\n"
        "    encode.encode_modality('image', p)\n"
    )
    Path("encode_it.py").write_text(script)
    for _ in range(2):
        path.unlink()
        for file in paths.VECTORS.iterdir():
            file.unlink()
        for delay in (rng.uniform(0, 0.25), None):
            process = subprocess.Popen(
                [sys.executable, "encode_it.py"], stdout=subprocess.PIPE, text=True,
                env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "", "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            assert process.stdout and process.stdout.readline() == "a batch\n"
            if delay is not None:
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
            process.wait()
        assert path.read_bytes() == expected
