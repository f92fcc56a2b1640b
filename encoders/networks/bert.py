"""BERT (Devlin et al., 2019), as published files name it.

`transformers` has it too, and is what the tests compare with; importing its models takes three
times as long as importing torch, which is what encoding one new text then waits for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """What of a published `config.json` says what the network is made of."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float

    @classmethod
    def read(cls, path: Path) -> Shape:
        """From a `config.json`."""
        given = json.loads(path.read_text())
        return cls(**{name: given[name] for name in cls.__dataclass_fields__})


class Bert(nn.Module):
    """Token ids to states; nothing is dropped out, one kind of tokens, GELU by the error function.

    A layer is post-norm: x = LN(x + attention(x)), x = LN(x + W_2 GELU(W_1 x)).
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embeddings = _Embeddings(shape)
        layers = (_Layer(shape) for _ in range(shape.num_hidden_layers))
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(n, t) int64 and (n, t), 0 where there is no token → (n, t, width)."""
        x: Tensor = self.embeddings(ids)
        seen = mask[:, None, None, :] > 0
        for layer in self.encoder["layer"].children():
            x = layer(x, seen)
        return x


class _Embeddings(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.hidden_size
        self.word_embeddings = nn.Embedding(shape.vocab_size, width)
        self.position_embeddings = nn.Embedding(shape.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(shape.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, shape.layer_norm_eps)

    def forward(self, ids: Tensor) -> Tensor:
        places = self.position_embeddings.weight[: ids.shape[1]]
        x = self.word_embeddings(ids) + self.token_type_embeddings.weight[0] + places
        made: Tensor = self.LayerNorm(x)
        return made


class _Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = _Attention(shape)
        inner = nn.Linear(shape.hidden_size, shape.intermediate_size)
        self.intermediate = nn.ModuleDict({"dense": inner})
        self.output = _Added(shape.intermediate_size, shape)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        x = self.attention(x, seen)
        made: Tensor = self.output(F.gelu(self.intermediate["dense"](x)), x)
        return made


class _Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.hidden_size
        self.heads = shape.num_attention_heads
        self.self = nn.ModuleDict(
            {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        )
        self.output = _Added(width, shape)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        query, key, value = (
            linear(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for linear in self.self.children()
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        made: Tensor = self.output(mixed.transpose(1, 2).flatten(2), x)
        return made


class _Added(nn.Module):
    """LN(y + W x)."""

    def __init__(self, columns: int, shape: Shape) -> None:
        super().__init__()
        self.dense = nn.Linear(columns, shape.hidden_size)
        self.LayerNorm = nn.LayerNorm(shape.hidden_size, shape.layer_norm_eps)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        made: Tensor = self.LayerNorm(self.dense(x) + y)
        return made
