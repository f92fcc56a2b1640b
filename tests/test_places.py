"""Catalogues that lie elsewhere: an S3-compatible server gives what a folder gives."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import boto3
import numpy as np
import pytest
import s3fs
from cloning import Clone, make_clone, set_params, stages_run, write_catalogue
from conftest import AWS
from moto.server import ThreadedMotoServer
from PIL import Image
from tiny_encoders import TINY
from upath import UPath

from encoders import encoder_class, modalities
from encoders.media import MediaError
from pipeline import check
from pipeline import encode as stage
from pipeline.browsing.media import Media
from pipeline.catalogue.embeddings import read_embeddings
from pipeline.catalogue.manifests import media_sha256
from pipeline.common import params, paths
from pipeline.common.files import InputError
from pipeline.common.places import fetched, mirrored, new_folder, place_of
from pipeline.encoding.decoding import Failed, decode, settled
from pipeline.encoding.manifest import Item, read_manifest
from pipeline.encoding.ray_engine import Decode, packed, unpacked
from pipeline.exporters import mmrec
from pipeline.exporters.prepared import export
from pipeline.prepare import prepare
from pipeline.reporting.thumbnails import thumbnails

ROOT = Path(__file__).parents[1]
BUCKET = "shops"
ADDRESS = f"s3://{BUCKET}/books"
COLOURS = {"a": "red", "b": "green", "c": "blue", "d": "white"}
BROKEN = {"cut": "images/cut.png", "gone": "images/gone.png", "folder": "images", "out": "../a.png"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An S3-compatible server, where AWS's configuration looks for it."""
    served = ThreadedMotoServer(port=0, verbose=False)
    served.start()
    host, port = served.get_host_and_port()
    url = f"http://{host}:{port}"
    (AWS / "config").write_text(f"[default]\nregion = us-east-1\nendpoint_url = {url}\n")
    keys = "aws_access_key_id = key\naws_secret_access_key = secret\n"
    (AWS / "credentials").write_text(f"[default]\n{keys}")
    s3fs.S3FileSystem.clear_instance_cache()
    yield url
    s3fs.S3FileSystem.clear_instance_cache()
    served.stop()


@pytest.fixture
def bucket(server: str) -> Iterator[UPath]:
    """An empty bucket."""
    resource = boto3.resource("s3")
    made = resource.create_bucket(Bucket=BUCKET)
    s3fs.S3FileSystem(anon=False).invalidate_cache()
    yield UPath(f"s3://{BUCKET}")
    made.objects.all().delete()
    made.delete()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of texts, images and ready-made features, some of its files broken."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    folder = tmp_path / "raw"
    (folder / "images").mkdir(parents=True)
    (folder / "features").mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (8, 8), colour).save(folder / f"images/{name}.png")
    whole = (folder / "images/a.png").read_bytes()
    (folder / "images/cut.png").write_bytes(whole[:40])
    sources = {name: f"images/{name}.png" for name in COLOURS} | BROKEN
    (folder / "items.csv").write_text(
        "item_id,text,image\n" + "".join(f"{n},a {n},{source}\n" for n, source in sources.items())
    )
    (folder / "interactions.csv").write_text(
        "user_id,item_id\n" + "".join(f"u{u},{item}\n" for u in range(3) for item in sources)
    )
    np.save(folder / "features/audio.npy", np.arange(16, dtype="f4").reshape(8, 2))
    np.save(folder / "features/genres.npy", np.eye(8, dtype="f4"))
    return folder


def upload(folder: Path, address: str = ADDRESS) -> UPath:
    place = UPath(address)
    place.fs.put(f"{folder}/", f"{place.path}/", recursive=True)
    place.fs.invalidate_cache()
    return place


def small(dataset: str) -> params.Params:
    return replace(params.load(ROOT / "params.yaml"), dataset=dataset, device="cpu")


def everything_of(dataset: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What `prepare` and `encode` write of a catalogue, by file."""
    shutil.rmtree("data", ignore_errors=True)
    shutil.rmtree(paths.VECTORS, ignore_errors=True)
    monkeypatch.setattr(stage, "encoder_class", lambda name: TINY.get(name) or encoder_class(name))
    chosen = small(dataset)
    prepare(place_of(dataset), chosen.prepare)
    for modality in modalities():
        stage.encode_modality(modality, chosen)
    files = sorted(path for path in Path("data").rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files if path != paths.SUMMARY}


def test_an_address_gives_what_a_folder_does(
    bucket: UPath, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(shop)
    here = everything_of(str(shop), monkeypatch)
    there = everything_of(ADDRESS, monkeypatch)
    assert here.keys() == there.keys() and len(here) > 12
    for name in here:  # a bucket has no folders
        assert here[name].replace(b"a folder, not a file", b"no such file") == there[name], name
    failures = paths.failures_path("image").read_text()
    assert 'gone.png","no such file' in failures and "leads out of the dataset folder" in failures
    assert 'cut.png","not readable as an image: cannot identify image file"\n' in failures
    summary = json.loads(paths.SUMMARY.read_text())
    assert summary["dataset"] == ADDRESS and summary["modalities"]["genres"]["items"] == 8


def test_a_file_that_has_changed_since_costs_its_item(
    bucket: UPath, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = upload(shop)
    prepare(place, small(ADDRESS).prepare)
    Image.new("RGB", (8, 8), "black").save(shop / "images/a.png")
    upload(shop)
    place.fs.rm((place / "images/b.png").path)
    monkeypatch.setattr(stage, "encoder_class", TINY.__getitem__)
    chosen = small(ADDRESS)
    chosen = replace(chosen, encode=chosen.encode | {
        "image": replace(chosen.encode["image"], max_failures=1.0)})  # fmt: skip
    stage.encode_modality("image", chosen)
    failures = paths.failures_path("image").read_text()
    assert "the file has changed since it was prepared" in failures
    assert '"b","images/b.png","no such file"' in failures
    assert '"c",' not in failures and '"d",' not in failures


def test_a_mirror_follows_its_address(
    bucket: UPath, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = upload(shop)
    got: list[str] = []
    get = place.fs.get_file

    def counted(path: str, *rest: object, **more: object) -> None:
        got.append(path.removeprefix(f"{BUCKET}/books/"))
        get(path, *rest, **more)

    monkeypatch.setattr(place.fs, "get_file", counted)
    folder = mirrored(place)
    assert folder == Path(".cache/mirrors/s3/shops/books")
    tables = ["features/audio.npy", "features/genres.npy", "interactions.csv", "items.csv"]
    assert sorted(got) == tables and not list(folder.glob("images/*"))
    assert (folder / "items.csv").read_bytes() == (shop / "items.csv").read_bytes()

    got.clear()
    mirrored(place)
    assert not got  # nothing has changed
    (shop / "items.csv").write_text("item_id\nz\n")
    (shop / "features/genres.npy").unlink()
    place.fs.rm((place / "features/genres.npy").path)
    upload(shop)
    mirrored(place)
    assert "items.csv" in got and (folder / "items.csv").read_text() == "item_id\nz\n"
    assert not (folder / "features/genres.npy").exists()
    (folder / "mirrored.json").write_text("{")  # damaged: fetched anew
    got.clear()
    mirrored(place)
    assert len(got) == 3


class Web(SimpleHTTPRequestHandler):
    """Serves a folder, but for what is out of reach."""

    unreachable: ClassVar[set[str]] = set()

    def send_head(self) -> Any:
        if self.path in self.unreachable:
            return self.send_error(503)
        return super().send_head()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(shop: Path) -> Iterator[str]:
    """The address of `shop` on a web server."""
    handler = partial(Web, directory=shop.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/raw"
        served.shutdown()
    Web.unreachable.clear()


def test_a_mirror_follows_addresses_that_do_not_tell_of_changes(shop: Path, web: str) -> None:
    """Those of HTTP: fsspec knows their files by the address alone."""
    before = (shop / "interactions.csv").read_text()
    for text in (before, before.replace("u0,a", "u9,a"), before + "u9,b\n"):
        (shop / "interactions.csv").write_text(text)
        folder = mirrored(place_of(web))
        assert (folder / "interactions.csv").read_text() == text
    assert np.load(folder / "features/genres.npy").shape == (8, 8)


def test_a_web_server_gives_what_a_folder_does(
    shop: Path, web: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    items = (shop / "items.csv").read_text()  # without a folder, which it would serve as a page
    (shop / "items.csv").write_text(items.replace(",images\n", ",\n"))
    there = everything_of(web, monkeypatch)
    assert "DVC sees no change of its files there; `dvc repro -f prepare`" in caplog.text
    caplog.clear()
    here = everything_of(str(shop), monkeypatch)
    assert "DVC sees no change" not in caplog.text
    assert here.keys() == there.keys() and len(here) > 12
    for name in here:
        assert here[name] == there[name], name


def test_a_folder_has_no_address(tmp_path: Path) -> None:
    for protocol in ("file", "local"):
        with pytest.raises(InputError, match=f"give the folder itself: {tmp_path}"):
            place_of(f"{protocol}://{tmp_path}")


def test_several_mirror_an_address_at_a_time(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes away what another is writing, nor takes that for a catalogue that is gone."""
    place = UPath(f"file://{shop}")
    mirrored(place)
    (shop / "items.csv").write_text("item_id\nz\n")
    get = place.fs.get_file

    def beside_another(source: str, target: str) -> None:
        get(source, target)
        with monkeypatch.context() as patch:
            patch.setattr(place.fs, "get_file", get)
            mirrored(place)

    monkeypatch.setattr(place.fs, "get_file", beside_another)
    folder = mirrored(place)
    assert (folder / "items.csv").read_text() == "item_id\nz\n"
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_what_vanishes_while_it_is_mirrored_is_said(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = UPath(f"file://{shop}")

    def gone(*_: object) -> None:
        raise FileNotFoundError("items.csv is gone")

    monkeypatch.setattr(place.fs, "get_file", gone)
    with pytest.raises(InputError, match="cannot be read: items.csv is gone"):
        mirrored(place)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("s3://nobody/books", "s3://nobody/books: no such folder"),
        (f"s3://{BUCKET}/nothing", "nothing: no such folder"),
        (f"s3://{BUCKET}/books/items.csv", "no such folder"),
        ("gs://shops/books", r"gs://shops/books: .*gcsfs.*; valid: a folder, or an address"),
        ("bogus://shops", r"bogus://shops: .*bogus.*; valid: a folder, or an address"),
    ],
)
def test_an_address_where_nothing_is(bucket: UPath, shop: Path, name: str, said: str) -> None:
    upload(shop)
    with pytest.raises(InputError, match=said):
        mirrored(place_of(name))


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"http://127.0.0.1:9/shop: cannot be read: "):
        mirrored(place_of("http://127.0.0.1:9/shop"))


def test_wrong_tables_are_named(
    bucket: UPath, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "items.csv").rename(shop / "Items.csv")
    with (shop / "interactions.csv").open("a") as file:
        file.write("u1\n")
    assert not check.check(upload(shop), small(ADDRESS))
    said = capsys.readouterr().out
    assert "no table of items" in said and "Items.csv" in said
    assert "shops/books/interactions.csv: row 26" in said


def test_check_measures_what_lies_elsewhere(
    bucket: UPath, shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.checking import costs

    monkeypatch.setattr(costs, "encoder_class", TINY.__getitem__)
    chosen = small(ADDRESS)
    study = replace(chosen.study, systems=("popularity",))
    assert check.check(upload(shop), replace(chosen, study=study, fusion="popularity"))
    said = capsys.readouterr().out
    assert said.startswith(f"{ADDRESS}\n") and "image: 8 of 8 items (100 %), 3 of them" in said
    assert "image 'images/gone.png': no such file" in said
    assert "audio: ready-made" in said and "image: 5 to encode by vit" in said


def test_pictures_and_files_are_fetched_to_be_shown(bucket: UPath, shop: Path) -> None:
    place = upload(shop)
    prepare(place, small(ADDRESS).prepare)
    items, _ = read_manifest(paths.manifest_path("image"))
    assert thumbnails(place, items) == thumbnails(shop, items)
    assert [*thumbnails(place, items)] == [*COLOURS]
    ids = [item.item_id for item in items]
    import pyarrow as pa

    with Media(place, pa.chunked_array([ids])) as media:
        path = media.path(ids.index("a"), "image")
        assert path.read_bytes() == (shop / "images/a.png").read_bytes() and path.suffix == ".png"
        assert media.path(ids.index("a"), "image") == path
        assert media.picture(ids.index("a")) == thumbnails(shop, items)["a"]
        with pytest.raises(MediaError, match="no file"):
            media.path(ids.index("gone"), "image")
    assert not path.exists()


def test_actors_of_ray_fetch_for_themselves(bucket: UPath, shop: Path) -> None:
    place = upload(shop)
    prepare(place, small(ADDRESS).prepare)
    items, _ = read_manifest(paths.manifest_path("image"))
    made = []
    for where in (place, shop):
        decoder = Decode(TINY["vit"], where, 60.0, 2)
        made.append(unpacked(decoder(packed(items))))
        decoder.pool.__exit__()
    for one, other in zip(*made, strict=True):
        assert one.item == other.item and type(one) is type(other)
        if hasattr(one, "reason"):
            assert other.reason in (one.reason, "a folder, not a file")
            assert one.of_content == other.of_content
        else:
            np.testing.assert_array_equal(one.input, other.input)


def test_copies_of_fetched_files_go(bucket: UPath, shop: Path) -> None:
    place = upload(shop)
    with fetched(place / "images/a.png") as path:
        assert path.name == "a.png" and path.read_bytes()
    assert not path.parent.exists()
    with pytest.raises(FileNotFoundError), fetched(place / "images/gone.png"):
        pass
    with fetched(shop / "images/a.png") as path:
        pass
    assert path.is_file()


def test_folders_are_written_to_addresses(bucket: UPath, tmp_path: Path) -> None:
    place = UPath(f"s3://{BUCKET}/made")
    with new_folder(place) as folder:
        (folder / "inner").mkdir()
        (folder / "inner/a.txt").write_text("a")
        assert not place.exists()
    assert (place / "inner/a.txt").read_text() == "a"
    with pytest.raises(InputError, match="s3://shops/made: is there already"), new_folder(place):
        pass
    with pytest.raises(KeyError), new_folder(UPath(f"s3://{BUCKET}/other")) as folder:
        (folder / "a.txt").write_text("a")
        raise KeyError
    assert not UPath(f"s3://{BUCKET}/other").exists()


def test_half_a_folder_does_not_stay(
    bucket: UPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = UPath(f"s3://{BUCKET}/made")
    put = place.fs.put

    def broken(*arguments: str, **more: bool) -> None:
        put(*arguments, **more)
        raise RuntimeError("connection reset")

    monkeypatch.setattr(place.fs, "put", broken)
    with pytest.raises(OSError, match="connection reset"), new_folder(place) as folder:
        (folder / "a.txt").write_text("a")
    place.fs.invalidate_cache()
    assert not place.exists()


def test_exports_to_an_address(bucket: UPath, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything_of(str(shop), monkeypatch)
    for target in (f"s3://{BUCKET}/exported", "exported"):
        monkeypatch.setattr("sys.argv", ["mmrec", target])
        export(mmrec.write, text=True)
    place, folder = UPath(f"s3://{BUCKET}/exported"), Path("exported")
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 2
    for name in files:
        assert (place / str(name)).read_bytes() == (folder / name).read_bytes()


def test_dvc_follows_an_address(bucket: UPath, tmp_path_factory: pytest.TempPathFactory) -> None:
    """`dvc repro` with a dataset in a bucket: nothing runs again until something changes there."""
    clone: Clone = make_clone(tmp_path_factory.mktemp("clone") / "repository")
    raw = tmp_path_factory.mktemp("raw") / "books"
    write_catalogue(raw)
    upload(raw)
    set_params(clone, [f"dataset={ADDRESS}"])
    assert stages_run(clone.run("dvc repro prepare")) == ["prepare"]
    assert not stages_run(clone.run("dvc repro prepare"))
    with (raw / "interactions.csv").open("a") as file:
        file.write("u0,i29\n")
    upload(raw)
    assert stages_run(clone.run("dvc repro prepare")) == ["prepare"]


def test_what_cannot_be_fetched_is_no_fault_of_its_content(
    bucket: UPath, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another item with the same content may still be read."""
    place = upload(shop)
    item = Item("a", "images/a.png", media_sha256(place, "images/a.png"))

    def reset(*_: object) -> None:
        raise OSError("connection reset")

    monkeypatch.setattr(place.fs, "get_file", reset)
    failed = settled(TINY["vit"], place, item, lambda: decode(TINY["vit"], place, item))
    assert isinstance(failed, Failed) and not failed.of_content
    assert failed.reason == "cannot be fetched: connection reset"


def test_what_is_out_of_reach_for_once_ends_the_stage_and_loses_nothing(
    web: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """DVC would not run again what has ended well: the item would be without content for good."""
    chosen = small(web)
    prepare(place_of(web), chosen.prepare)
    monkeypatch.setattr(stage, "encoder_class", TINY.__getitem__)
    Web.unreachable.add("/raw/images/b.png")
    with pytest.raises(InputError, match=r"1 items could .* b \(images/b.png\): cannot be .*503"):
        stage.encode_modality("image", chosen)
    assert not paths.embeddings_path("image").exists()
    Web.unreachable.clear()
    with caplog.at_level("INFO"):
        stage.encode_modality("image", chosen)
    assert {*"abcd"} == {*read_embeddings(paths.embeddings_path("image"))[0]}
    assert "1 encoded now, 3 known already" in caplog.messages[-1]
