"""VGGish as AudioSet publishes it: with the PCA, and quantised to 0-255.

tensorflow/models research/audioset/vggish, vggish_postprocess.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoders.vggish import VGGish
from encoders.weights import Layout, WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

LIMIT = 2.0  # beyond which a component is clipped
LEVELS = 255.0


class VGGishPCA(VGGish):
    """VGGish, then a PCA, clipped to ±2 and quantised, an example at a time.

    The weights must hold the PCA, as the state of a whole torchvggish model does:
    `pproc.pca_eigen_vectors` (128, 128) and `pproc.pca_means` (128, 1). The published file of the
    network does not. Of `weights: bundled`, all is random: the PCA is a rotation about 0,
    scaled so that few components are clipped.
    """

    name = "vggish_pca"
    model_id = "VGGish, PCA"
    preprocessing = f"{VGGish.preprocessing}; PCA, clipped to 2, 0-255"
    published = None
    layout = Layout(renames=VGGish.layout.renames)

    def __init__(self, weights: str, device: str = "cpu", precision: str = "fp32") -> None:
        try:
            super().__init__(weights, device, precision)
        except WeightsError as error:
            if "pproc" in str(error):
                raise WeightsError(
                    f"{error}; the file lacks the PCA, which `vggish` does without"
                ) from error
            raise

    @classmethod
    def build(cls) -> nn.Module:
        import torch
        from torch import nn

        model = super().build()
        pca = nn.Module()
        rotation = nn.init.orthogonal_(torch.empty(cls.width, cls.width), gain=0.2)
        pca.register_buffer("pca_eigen_vectors", rotation)
        pca.register_buffer("pca_means", torch.zeros(cls.width, 1))
        model.add_module("pproc", pca)
        return model

    def forward(self, parts: Tensor) -> Tensor:
        import torch

        *_, pca = self.model.children()
        vectors = self.model[:-1](parts).float()  # (n, 128)
        with torch.autocast(self.device.type, enabled=False):
            components = (vectors - pca.pca_means.T) @ pca.pca_eigen_vectors.T
        clipped = components.clamp(-LIMIT, LIMIT)
        return ((clipped + LIMIT) * (LEVELS / (2 * LIMIT))).floor()  # the original casts to uint8
