"""`weights: pretrained`: fetched once, resumed, checked; without a network, one helpful message."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save_file
from serving import CONTENT, SHA256, Server
from torch import nn

from encoders import encoder_class
from encoders.download import DownloadError, HubFile, UrlFile
from encoders.weights import Found, WeightsError, find_weights, load_weights, state_sha256


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with Server() as made:
        yield made


def test_a_file_is_fetched_once_and_only_a_whole_one_gets_its_name(server: Server) -> None:
    file = UrlFile(server.url("net.pth"), SHA256[:8])
    server.cut = 1
    assert file.fetch().read_bytes() == CONTENT
    assert server.ranges == ["bytes=0-", f"bytes={len(CONTENT) // 2}-"]  # resumed, not restarted
    assert [p.name for p in file.path.parent.iterdir()] == ["net.pth"]
    server.http.shutdown()
    assert file.fetch() == file.path
    assert len(server.ranges) == 2


@pytest.mark.parametrize("cut", [0, 1, 2])
@pytest.mark.parametrize("left", [b"", CONTENT[:1000], b"of another file"])
def test_a_server_without_ranges_starts_anew(server: Server, left: bytes, cut: int) -> None:
    """A whole file in answer to a request for its rest replaces what was there."""
    file = UrlFile(server.url("net.pth"), SHA256)
    file.path.parent.mkdir(parents=True)
    file.path.with_name("net.pth.part").write_bytes(left)
    server.whole, server.cut = True, cut
    assert file.fetch().read_bytes() == CONTENT
    assert len(server.ranges) == 1 + cut


def test_a_file_is_tried_for_three_times(server: Server) -> None:
    server.cut = 3
    with pytest.raises(DownloadError, match="broke off"):
        UrlFile(server.url("net.pth"), SHA256).fetch()
    assert len(server.ranges) == 3


def test_a_length_need_not_be_announced(server: Server) -> None:
    server.announced = False
    assert UrlFile(server.url("net.pth"), SHA256).fetch().read_bytes() == CONTENT
    assert len(server.ranges) == 1


@pytest.mark.parametrize("error", [404, 503])
def test_a_servers_refusal_is_said(server: Server, error: int) -> None:
    file = UrlFile(server.url("net.pth"), SHA256)
    server.error = error
    with pytest.raises(DownloadError, match=f"not to be had .HTTP Error {error}"):
        file.fetch()
    assert not file.path.exists()


def test_files_lie_where_torch_keeps_its_own(server: Server, tmp_path: Path) -> None:
    assert UrlFile(server.url("net.pth")).fetch() == tmp_path / "hub/checkpoints/net.pth"


def test_a_later_run_goes_on_where_one_broke_off(server: Server) -> None:
    file = UrlFile(server.url("net.pth"), SHA256)
    server.cut = 99
    with pytest.raises(DownloadError, match="broke off"):
        file.fetch()
    assert not file.path.exists()
    server.cut, before = 0, len(server.ranges)
    assert file.fetch().read_bytes() == CONTENT
    assert server.ranges[before:] != ["bytes=0-"]


def test_a_killed_run_that_had_everything_is_taken(server: Server) -> None:
    file = UrlFile(server.url("net.pth"), SHA256)
    file.path.parent.mkdir(parents=True)
    file.path.with_name("net.pth.part").write_bytes(CONTENT)
    assert file.fetch().read_bytes() == CONTENT


def test_a_wrong_file_is_refused_and_removed(server: Server) -> None:
    file = UrlFile(server.url("net.pth"), "0" * 64)
    with pytest.raises(DownloadError, match=f"sha256 is {SHA256}, not 0000"):
        file.fetch()
    assert list(file.path.parent.iterdir()) == []


def test_without_a_network_one_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for cls, published in (
        (encoder_class("vggish"), UrlFile("http://127.0.0.1:9/vggish.pth")),
        (encoder_class("vit"), HubFile("google/vit", "model.safetensors", "b" * 40)),
    ):
        monkeypatch.setattr(cls, "published", published)
        with pytest.raises(WeightsError, match="not cached and not to be had") as caught:
            cls("pretrained")
        assert "set `weights` to a folder" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_hub_files_come_from_the_cache_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    published = encoder_class("vit").published
    assert isinstance(published, HubFile)
    folder = tmp_path / f"models--{published.repository.replace('/', '--')}" / "snapshots"
    target = folder / published.revision / published.file
    target.parent.mkdir(parents=True)
    target.write_bytes(b"weights")
    assert published.fetch().read_bytes() == b"weights"


def tiny() -> nn.Module:
    return nn.Linear(2, 3)


def load_tiny(published: UrlFile | None) -> Found:
    found = find_weights("tiny", "pretrained", published=published)
    load_weights(tiny, found)
    return found


def test_an_unknown_hash_is_noted_and_then_held(tmp_path: Path, server: Server) -> None:
    save_file(tiny().state_dict(), tmp_path / "first.safetensors")
    server.content = (tmp_path / "first.safetensors").read_bytes()
    published = UrlFile(server.url("tiny.safetensors"))
    loaded = load_tiny(published)
    assert loaded.source == "pretrained"
    assert loaded.sha256 == hashlib.sha256(server.content).hexdigest()
    save_file(tiny().state_dict(), published.path)
    with pytest.raises(WeightsError, match="remove it, get it anew"):
        load_tiny(published)


def test_a_note_that_is_none_switches_no_check_off(tmp_path: Path, server: Server) -> None:
    """As a full disk may have left one."""
    save_file(tiny().state_dict(), tmp_path / "first.safetensors")
    server.content = (tmp_path / "first.safetensors").read_bytes()
    digest = hashlib.sha256(server.content).hexdigest()
    published = UrlFile(server.url("tiny.safetensors"), digest[:8])
    note = published.path.with_name(f"{published.path.name}.sha256")
    for noted in ("", "0123", "g" * 64, "0" * 64):
        load_tiny(published)
        note.write_text(noted)
        assert load_tiny(published).sha256 == digest and note.read_text() == f"{digest}\n"
        note.write_text(noted)
        save_file(tiny().state_dict(), published.path)
        with pytest.raises(WeightsError, match=f"not {digest[:8]}; remove it"):
            load_tiny(published)
        published.path.write_bytes(server.content)


def test_a_cache_that_cannot_be_written_is_read(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(tiny().state_dict(), tmp_path / "first.safetensors")
    server.content = (tmp_path / "first.safetensors").read_bytes()
    published = UrlFile(server.url("tiny.safetensors"))
    published.fetch()

    def refused(*_: object, **__: object) -> None:
        raise PermissionError("a cache that many share")

    monkeypatch.setattr(Path, "write_text", refused)
    assert load_tiny(published).sha256 == hashlib.sha256(server.content).hexdigest()


def test_a_wrong_file_in_its_place_is_refused(server: Server) -> None:
    """One that came there by other means than these."""
    published = UrlFile(server.url("tiny.safetensors"), "12345678")
    published.path.parent.mkdir(parents=True)
    save_file(tiny().state_dict(), published.path)
    for _ in range(2):
        with pytest.raises(WeightsError, match="sha256 is .*, not 12345678; remove it"):
            load_tiny(published)


def test_a_folder_is_not_pinned(tmp_path: Path) -> None:
    """The hashes of published and packaged files are theirs alone."""
    for bias in (1.0, 2.0):
        save_file({"weight": torch.ones(3, 2), "bias": torch.full((3,), bias)},
                  tmp_path / "tiny.safetensors")  # fmt: skip
        found = find_weights("tiny", str(tmp_path), encoder_class("minilm").packaged, UrlFile("x"))
        model = load_weights(tiny, found)
        assert model.bias.tolist() == [bias] * 3
        content = (tmp_path / "tiny.safetensors").read_bytes()
        assert found.sha256 == hashlib.sha256(content).hexdigest()


def test_bundled_is_never_fetched(server: Server) -> None:
    found = find_weights("tiny", "bundled", published=UrlFile(server.url("tiny.safetensors")))
    assert (found.source, found.revision) == ("random initialisation (seed 0)", "none")
    assert not server.ranges


def test_nothing_published_is_said() -> None:
    with pytest.raises(WeightsError, match="tiny has no published weights"):
        load_tiny(None)


@pytest.mark.parametrize("name", ["vggish", "r2plus1d", "r2plus1d_34"])
def test_public_checkpoints_load(
    name: str, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files in the published layouts, heads and all."""
    cls = encoder_class(name)
    torch.manual_seed(1)
    state = {key: torch.rand_like(value, dtype=torch.float32).to(value.dtype)
             for key, value in cls.build().state_dict().items()}  # fmt: skip
    if name == "vggish":
        public = {
            key.replace("features_network", "features").replace("embedding_network", "embeddings"):
            value for key, value in state.items()
        }  # fmt: skip
        public |= {"pproc.pca_eigen_vectors": torch.ones(128, 128)}
    else:
        public = state | {"fc.weight": torch.ones(400, 512), "fc.bias": torch.ones(400)}
    torch.save(public, tmp_path / "public.pth")
    server.content = (tmp_path / "public.pth").read_bytes()
    monkeypatch.setattr(cls, "published", UrlFile(server.url(f"{name}.pth")))
    encoder = encoder_class(name)("pretrained")
    assert state_sha256(encoder.model.state_dict()) == state_sha256(state)
    assert encoder.provenance["weights"] == "pretrained"


def test_a_pickle_that_is_more_than_tensors_is_refused(tmp_path: Path, server: Server) -> None:
    torch.save({"weight": Server}, tmp_path / "bad.pth")
    server.content = (tmp_path / "bad.pth").read_bytes()
    with pytest.raises(WeightsError, match="not readable as weights"):
        load_tiny(UrlFile(server.url("bad.pth")))


def test_minilm_is_packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_class("minilm")("pretrained")
    assert encoder.provenance["weights"] == "pretrained"
    assert encoder.packaged is not None
    assert encoder.provenance["weights_sha256"] == encoder.packaged.sha256
    assert encoder.provenance["revision"] == encoder.packaged.revision
