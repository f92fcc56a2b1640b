"""The contract of every encoder."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders.download import HubFile, UrlFile
from encoders.weights import Found, Layout, Packaged, find_weights, load_weights


class Encoder(ABC):
    """A frozen network that turns items of one modality into vectors.

    `prepare` is CPU work on one item and needs no weights: it can run in a worker process.
    `encode` is the forward pass over a batch of what `prepare` returned. The loop that drives
    them is not here.

    Attributes:
        name: the parameter value, and this encoder's module.
        modality: text, image, audio or video.
        width: d, the length of a vector.
        model_id: the network, by its published name.
        preprocessing: version and content of `prepare`; a new version means new embeddings.
        license: of the published weights, else of the code that defines the network.
        libraries: distributions whose version can change a result.
        packaged: the weights file that `weights: bundled` stands for; None: seeded random.
        published: where `weights: pretrained` gets the weights from, unless they are packaged.
        layout: how published weights name their tensors.
    """

    name: ClassVar[str]
    modality: ClassVar[str]
    width: ClassVar[int]
    model_id: ClassVar[str]
    preprocessing: ClassVar[str]
    license: ClassVar[str]
    libraries: ClassVar[tuple[str, ...]]
    packaged: ClassVar[Packaged | None] = None
    published: ClassVar[HubFile | UrlFile | None] = None
    layout: ClassVar[Layout] = Layout()

    def __init__(self, weights: str, device: torch.device) -> None:
        """WeightsError (a ValueError) if `weights` cannot be used."""
        model, self.loaded = load_weights(self.build, self.find(weights), self.layout)
        self.model = model.to(device)
        self.device = device

    @classmethod
    def find(cls, weights: str) -> Found:
        """The weights that `weights` names, before any network is built. WeightsError if none."""
        return find_weights(cls.name, weights, cls.packaged, cls.published)

    @classmethod
    @abstractmethod
    def build(cls) -> nn.Module:
        """The network with its initial weights, drawn from torch's default generator."""

    @classmethod
    @abstractmethod
    def prepare(cls, source: str | Path) -> Any:
        """Decode and preprocess one item: a text, or a file. MediaError says why it cannot be."""

    @abstractmethod
    def encode(self, batch: list[Any]) -> NDArray[np.float32]:
        """(n, width) float32, C-contiguous; n ≥ 1 results of `prepare` in, in the same order."""

    @classmethod
    def description(cls) -> dict[str, str]:
        """What is known of the embeddings before any weights are loaded."""
        return {
            "encoder": cls.name,
            "modality": cls.modality,
            "model": cls.model_id,
            "width": str(cls.width),
            "preprocessing": cls.preprocessing,
            "license": cls.license,
        }

    @property
    def provenance(self) -> dict[str, str]:
        """Everything that says where the vectors come from."""
        return self.description() | {
            "revision": self.loaded.revision,
            "weights": self.loaded.source,
            "weights_sha256": self.loaded.sha256,
        }


class PartsEncoder(Encoder):
    """An encoder whose items are one or more equal tensors; an item's vector is their mean.

    `prepare` returns (parts, ...), parts ≥ 1; `chunk` parts go through the network at a time.
    """

    chunk: ClassVar[int]

    def forward(self, parts: Tensor) -> Tensor:
        """(n, ...) → (n, width)."""
        vectors: Tensor = self.model(parts)
        return vectors

    def encode(self, batch: list[Tensor]) -> NDArray[np.float32]:
        with torch.inference_mode():
            chunks = torch.split(torch.cat(batch), self.chunk)  # chunks of (c, ...)
            vectors = torch.cat([self.forward(chunk.to(self.device)).cpu() for chunk in chunks])
            items = torch.split(vectors, [len(parts) for parts in batch])
            return torch.stack([item.mean(0) for item in items]).float().numpy()
