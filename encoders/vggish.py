"""VGGish: audio → 128, the mean over examples of 0.96 s.

https://arxiv.org/abs/1609.09430; the numbers follow tensorflow/models research/audioset/vggish,
the network torchaudio's port, whose last ReLU is on.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from encoders.base import PartsEncoder
from encoders.download import UrlFile
from encoders.media import MediaError
from encoders.media.audio import read_audio
from encoders.weights import Layout, he_initialise

if TYPE_CHECKING:
    from torch import Tensor, nn

RATE = 16_000  # Hz
SECONDS = 600.0  # only the first are heard: a day-long recording costs no more
WINDOW, HOP, FFT = 400, 160, 512  # samples: 25 ms, 10 ms, and the transform's length
BANDS, LOW, HIGH = 64, 125.0, 7500.0  # mel bands, Hz
OFFSET = 0.01
FRAMES = 96  # of an example
EXAMPLE = WINDOW + (FRAMES - 1) * HOP  # 15,600 samples


@cache
def mel_filterbank() -> NDArray[np.float64]:
    """(257, 64): HTK mel triangles, linear in mel, no norm, nothing from DC."""

    def mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127.0 * np.log1p(hertz / 700.0)

    bins = mel(np.linspace(0.0, RATE / 2, FFT // 2 + 1))[:, None]  # (257, 1)
    low_mel, high_mel = mel(np.array([LOW, HIGH]))
    edges = np.linspace(low_mel, high_mel, BANDS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]  # (64,) each
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    triangles = np.maximum(triangles, 0.0)
    triangles[0] = 0.0
    return triangles


def log_mel(samples: Tensor) -> Tensor:
    """(s,) at 16 kHz, s ≥ 400 → (frames, 64) float32: log of mel magnitudes + 0.01.

    In float64, like the original: beside a loud tone, a float32 transform's rounding alone moves
    the quiet bands by 4e-4.
    """
    import torch

    window = torch.hann_window(WINDOW, dtype=torch.float64)  # periodic
    frames = samples.double().unfold(0, WINDOW, HOP) * window  # (frames, 400)
    magnitudes = torch.fft.rfft(frames, n=FFT).abs()  # zero-padded on the right; (frames, 257)
    return torch.log(magnitudes @ torch.from_numpy(mel_filterbank()) + OFFSET).float()


def examples(samples: Tensor) -> Tensor:
    """(s,) at 16 kHz → (n, 1, 96, 64), n ≥ 1. The remainder of an example is dropped.

    Less than one example (15,600 samples) is padded to one with silence.
    """
    import torch
    from torch.nn import functional as F

    samples = F.pad(samples, (0, max(0, EXAMPLE - len(samples))))
    pieces = samples.unfold(0, EXAMPLE, FRAMES * HOP)  # (n, 15600), each 96 frames
    return torch.stack([log_mel(piece) for piece in pieces]).unsqueeze(1)


def network() -> nn.Module:
    """(n, 1, 96, 64) → (n, 128). State-dict keys are those of torchaudio."""
    from torch import nn

    class ChannelsLast(nn.Module):
        """As torchvision's `Permute`, whose import takes longer than all else that is here."""

        def forward(self, x: Tensor) -> Tensor:
            return x.permute(0, 2, 3, 1)

    layers: list[nn.Module] = []
    channels = 1
    for width in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M"):
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    embedding = nn.Sequential(
        nn.Linear(6 * 4 * 512, 4096), nn.ReLU(),
        nn.Linear(4096, 4096), nn.ReLU(),
        nn.Linear(4096, 128), nn.ReLU(),
    )  # fmt: skip
    return nn.Sequential(
        OrderedDict(
            features_network=nn.Sequential(*layers),  # (n, 512, 6, 4)
            channels_last=ChannelsLast(),  # as in the original
            flatten=nn.Flatten(),  # (n, 12288)
            embedding_network=embedding,
        )
    )


class VGGish(PartsEncoder):
    """VGGish without its optional PCA and quantisation."""

    name = "vggish"
    modality = "audio"
    width = 128
    model_id = "VGGish"
    preprocessing = (
        f"3: first {SECONDS:g} s, mean of channels, 16 kHz, 64 log-mel bands 125-7500 Hz, examples "
        "of 96 frames (less than one is padded to one), mean over examples"
    )
    license = "Apache-2.0"
    libraries = ("av", "numpy", "torch", "torchaudio")
    published: ClassVar[UrlFile | None] = UrlFile(  # the name carries the first digits of the hash
        "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
        "10086976",
    )
    layout = Layout(  # torchvggish's names, and the PCA that its file may hold
        renames=((r"^features\.", "features_network."), (r"^embeddings\.", "embedding_network.")),
        unused=("pproc.",),
    )
    chunk = {"cpu": 32, "cuda": 256}
    usual_parts = 60  # a minute

    @classmethod
    def build(cls) -> nn.Module:
        import torch

        # Channels last: 1.3 times as fast on a CPU.
        return he_initialise(network()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def prepare(cls, source: str | Path) -> NDArray[np.float32]:
        """(n, 1, 96, 64) float32, n ≥ 1 examples."""
        samples = read_audio(Path(source), RATE, SECONDS)
        if not samples.isfinite().all():
            raise MediaError("audio samples are not finite")
        prepared: NDArray[np.float32] = examples(samples).numpy()
        return prepared
