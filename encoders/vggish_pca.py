"""VGGish as AudioSet publishes it: with the PCA, and quantised to 0-255.

tensorflow/models research/audioset/vggish, vggish_postprocess.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoders.vggish import VGGish
from encoders.weights import Layout, WeightsError

if TYPE_CHECKING:
    from torch import nn

LIMIT = 2.0  # beyond which a component is clipped
LEVELS = 255.0


def postprocessing(width: int) -> nn.Module:
    """(n, width) → (n, width): whole numbers from 0 to 255."""
    import torch
    from torch import Tensor, nn

    class Postprocessing(nn.Module):
        pca_eigen_vectors: Tensor
        pca_means: Tensor

        def __init__(self) -> None:
            super().__init__()
            rotation = nn.init.orthogonal_(torch.empty(width, width), gain=0.2)
            self.register_buffer("pca_eigen_vectors", rotation)
            self.register_buffer("pca_means", torch.zeros(width, 1))

        def forward(self, vectors: Tensor) -> Tensor:
            with torch.autocast(vectors.device.type, enabled=False):
                components = (vectors.float() - self.pca_means.T) @ self.pca_eigen_vectors.T
            clipped = components.clamp(-LIMIT, LIMIT)
            levels = (clipped + LIMIT) * (LEVELS / (2 * LIMIT))
            return levels.floor()  # the original casts to uint8

    return Postprocessing()


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
        model = super().build()
        model.add_module("pproc", postprocessing(cls.width))
        return model
