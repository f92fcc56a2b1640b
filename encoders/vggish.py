"""VGGish: audio → 128, the mean over examples of 0.96 s.

https://arxiv.org/abs/1609.09430; the numbers follow tensorflow/models research/audioset/vggish,
the network torchaudio's port, whose last ReLU is on.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.base import PartsEncoder
from encoders.download import UrlFile
from encoders.media import MediaError, read_audio
from encoders.weights import Layout, he_initialise

RATE = 16_000  # Hz
WINDOW, HOP, FFT = 400, 160, 512  # samples: 25 ms, 10 ms, and the transform's length
BANDS, LOW, HIGH = 64, 125.0, 7500.0  # mel bands, Hz
OFFSET = 0.01
FRAMES = 96  # of an example
EXAMPLE = WINDOW + (FRAMES - 1) * HOP  # 15,600 samples


@cache
def mel_filterbank() -> Tensor:
    """(257, 64) float64: HTK mel triangles, linear in mel, no norm, nothing from DC."""

    def mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127.0 * np.log1p(hertz / 700.0)

    bins = mel(np.linspace(0.0, RATE / 2, FFT // 2 + 1))[:, None]  # (257, 1)
    low_mel, high_mel = mel(np.array([LOW, HIGH]))
    edges = np.linspace(low_mel, high_mel, BANDS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]  # (64,) each
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    triangles = np.maximum(triangles, 0.0)
    triangles[0] = 0.0
    return torch.from_numpy(triangles)


def log_mel(samples: Tensor) -> Tensor:
    """(s,) at 16 kHz, s ≥ 400 → (frames, 64) float32: log of mel magnitudes + 0.01.

    In float64, like the original: beside a loud tone, a float32 transform's rounding alone moves
    the quiet bands by 4e-4.
    """
    window = torch.hann_window(WINDOW, dtype=torch.float64)  # periodic
    frames = samples.double().unfold(0, WINDOW, HOP) * window  # (frames, 400)
    magnitudes = torch.fft.rfft(frames, n=FFT).abs()  # zero-padded on the right; (frames, 257)
    return torch.log(magnitudes @ mel_filterbank() + OFFSET).float()


def examples(samples: Tensor) -> Tensor:
    """(s,) at 16 kHz → (n, 1, 96, 64), n ≥ 1. The remainder of an example is dropped.

    Less than one example (15,600 samples) is padded to one with silence.
    """
    samples = F.pad(samples, (0, max(0, EXAMPLE - len(samples))))
    pieces = samples.unfold(0, EXAMPLE, FRAMES * HOP)  # (n, 15600), each 96 frames
    return torch.stack([log_mel(piece) for piece in pieces]).unsqueeze(1)


class Network(nn.Module):
    """(n, 1, 96, 64) → (n, 128). State-dict keys are those of torchaudio."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for width in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M"):
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
        self.features_network = nn.Sequential(*layers)
        self.embedding_network = nn.Sequential(
            nn.Linear(6 * 4 * 512, 4096), nn.ReLU(),
            nn.Linear(4096, 4096), nn.ReLU(),
            nn.Linear(4096, 128), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.features_network(x)  # (n, 512, 6, 4)
        x = x.permute(0, 2, 3, 1).flatten(1)  # the original is channels-last: (n, 12288)
        x = self.embedding_network(x)
        return x


class VGGish(PartsEncoder):
    """VGGish without its optional PCA and quantisation."""

    name = "vggish"
    modality = "audio"
    width = 128
    model_id = "VGGish"
    preprocessing = (
        "1: mean of channels, 16 kHz, 64 log-mel bands 125-7500 Hz, examples of 96 frames "
        "(less than one is padded to one), mean over examples"
    )
    license = "Apache-2.0"
    libraries = ("av", "numpy", "torch", "torchaudio")
    published = UrlFile(  # the name carries the first digits of the hash
        "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
        "10086976",
    )
    layout = Layout(  # torchvggish's names, and the PCA that its file may hold
        renames=((r"^features\.", "features_network."), (r"^embeddings\.", "embedding_network.")),
        unused=("pproc.",),
    )
    chunk = 32

    @classmethod
    def build(cls) -> nn.Module:
        return he_initialise(Network())

    @classmethod
    def prepare(cls, source: str | Path) -> Tensor:
        """(n, 1, 96, 64) float32, n ≥ 1 examples."""
        samples = read_audio(Path(source), RATE)
        if not torch.isfinite(samples).all():
            raise MediaError("audio samples are not finite")
        return examples(samples)
