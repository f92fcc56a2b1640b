"""The contract of every encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from encoders.download import HubFile, UrlFile
from encoders.precision import check_precision, keep_fp32
from encoders.weights import Found, Layout, Packaged, find_weights, load_weights, state_sha256

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class Encoder(ABC):
    """A frozen network that turns items of one modality into vectors.

    A subclass declares everything that tells its vectors from others': weights, preprocessing,
    width, licence. `prepare` is CPU work on one item and needs no weights: it can run in another
    process. `encode` is the forward pass over a batch of what `prepare` returned. The loop that
    drives them is not here.

    Attributes:
        name: the parameter value, and this encoder's module.
        modality: text, image, audio, video, or another; the column of `items.*`.
        takes_text: whether an item is a text, and not a file.
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
    takes_text: ClassVar[bool] = False
    width: ClassVar[int]
    model_id: ClassVar[str]
    preprocessing: ClassVar[str]
    license: ClassVar[str]
    libraries: ClassVar[tuple[str, ...]]
    packaged: ClassVar[Packaged | None] = None
    published: ClassVar[HubFile | UrlFile | None] = None
    layout: ClassVar[Layout] = Layout()

    def __init__(self, weights: str, device: str = "cpu", precision: str = "fp32") -> None:
        """Load the network.

        Args:
            weights: `bundled`, `pretrained`, or a folder with `<name>.safetensors`.
            device: `cpu` or `cuda`.
            precision: of matrix products and convolutions; what comes out is always float32.

        Raises:
            WeightsError: (a ValueError) `weights` cannot be used.
            ValueError: `precision` is none of `PRECISIONS`, or the device is too slow in it.
        """
        import torch

        check_precision(precision, device)
        if precision == "fp32":
            keep_fp32()
        self._found = self.find(weights)
        model = load_weights(self.build, self._found, self.layout)
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.precision = precision

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
    def batch_size(cls, asked: int, device: str) -> int:
        """Items that are encoded and stored together, where `asked` are asked for."""
        return asked

    def autocast(self) -> torch.autocast:
        """The context of a forward pass in this encoder's precision."""
        import torch

        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=self.precision != "fp32")

    def on_device(self, array: NDArray[Any]) -> Tensor:
        """A batch on the device, through pinned memory where that lets the copy overlap."""
        import torch

        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor

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

    @cached_property
    def loaded(self) -> Found:
        """The weights, whose sha256 is known also where they were drawn."""
        if self._found.sha256:
            return self._found
        return replace(self._found, sha256=state_sha256(self.model.state_dict()))

    @property
    def provenance(self) -> dict[str, str]:
        """Everything that says where the vectors come from."""
        return self.description() | {
            "precision": self.precision,
            "revision": self.loaded.revision,
            "weights": self.loaded.source,
            "weights_sha256": self.loaded.sha256,
        }


class PartsEncoder(Encoder):
    """An encoder whose items are one or more equal arrays; an item's vector is their mean.

    `prepare` returns (parts, ...), parts ≥ 1.

    Attributes:
        chunk: parts that go through the network together, by device. On a CPU few are faster:
            what lies between two layers then stays in the cache.
        usual_parts: that an item has; on a card a batch has items for a whole chunk.
    """

    chunk: ClassVar[dict[str, int]]
    usual_parts: ClassVar[int] = 1

    @classmethod
    def batch_size(cls, asked: int, device: str) -> int:
        return asked if device == "cpu" else max(asked, cls.chunk[device] // cls.usual_parts)

    def forward(self, parts: Tensor) -> Tensor:
        """(n, ...) as prepared, on the device → (n, width)."""
        vectors: Tensor = self.model(parts)
        return vectors

    def encode(self, batch: list[NDArray[Any]]) -> NDArray[np.float32]:
        import torch

        parts, step = np.concatenate(batch), self.chunk[self.device.type]
        with torch.inference_mode(), self.autocast():
            chunks = (parts[i : i + step] for i in range(0, len(parts), step))
            vectors = torch.cat([self.forward(self.on_device(chunk)).float() for chunk in chunks])
        items = vectors.cpu().split([len(parts) for parts in batch])
        return torch.stack([item.mean(0) for item in items]).numpy()


class PixelsEncoder(PartsEncoder):
    """One whose parts are frames, or several of them, of RGB bytes: (..., 3, height, width).

    Attributes:
        mean, deviation: of each channel, from 0 to 1, as the network learned to expect them.
    """

    mean: ClassVar[tuple[float, float, float]]
    deviation: ClassVar[tuple[float, float, float]]

    @cached_property
    def _scale(self) -> list[Tensor]:
        """(3, 1, 1) each, on the device; a copy a chunk would be a wait a chunk."""
        import torch

        values = (self.mean, self.deviation)
        return [torch.tensor(v, device=self.device)[:, None, None] for v in values]

    def normalised(self, parts: Tensor) -> Tensor:
        """Bytes on the device → float32, less the mean, over the deviation."""
        mean, deviation = self._scale
        return (parts.float() / 255 - mean) / deviation
