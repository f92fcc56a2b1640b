"""The vision transformer (Dosovitskiy et al., 2021), ViT-B/16, as transformers 5 names it.

`transformers` has it too, and is what the tests compare with; importing its models takes three
times as long as importing torch, which is what encoding one new image then waits for.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE, PATCH = 224, 16  # pixels
WIDTH, HEADS, INNER, LAYERS = 768, 12, 3072, 12
EPSILON = 1e-12


class VisionTransformer(nn.Module):
    """Pixels to states, the class token's first; no pooler, nothing is dropped out.

    A layer is pre-norm: x = x + attention(LN(x)), x = x + W_2 GELU(W_1 LN(x)).
    """

    def __init__(self, layers: int = LAYERS) -> None:
        super().__init__()
        self.embeddings = _Embeddings()
        self.layers = nn.ModuleList(_Layer() for _ in range(layers))
        self.layernorm = nn.LayerNorm(WIDTH, EPSILON)

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 3, 224, 224) → (n, 197, 768)."""
        x: Tensor = self.embeddings(pixels)
        for layer in self.layers:
            x = layer(x)
        made: Tensor = self.layernorm(x)
        return made


class _Embeddings(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        places = (SIDE // PATCH) ** 2 + 1
        self.position_embeddings = nn.Parameter(torch.zeros(1, places, WIDTH))
        self.patch_embeddings = nn.ModuleDict({"projection": nn.Conv2d(3, WIDTH, PATCH, PATCH)})

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embeddings["projection"](pixels).flatten(2).transpose(1, 2)
        first = self.cls_token.expand(len(pixels), -1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embeddings


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layernorm_before = nn.LayerNorm(WIDTH, EPSILON)
        self.attention = _Attention()
        self.layernorm_after = nn.LayerNorm(WIDTH, EPSILON)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(WIDTH, INNER), "fc2": nn.Linear(INNER, WIDTH)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.layernorm_before(x))
        inner = F.gelu(self.mlp["fc1"](self.layernorm_after(x)))
        made: Tensor = x + self.mlp["fc2"](inner)
        return made


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(WIDTH, WIDTH) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            linear(x).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for linear in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        made: Tensor = self.o_proj(mixed.transpose(1, 2).flatten(2))
        return made


def random_vit() -> VisionTransformer:
    """Weights normal with deviation 0.02, biases zero, as published."""
    return VisionTransformer().apply(_initialise)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.normal_(module.weight, std=0.02)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
    elif isinstance(module, _Embeddings):
        nn.init.normal_(module.cls_token, std=0.02)
        nn.init.normal_(module.position_embeddings, std=0.02)
