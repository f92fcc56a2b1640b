"""An encoder whose vectors betray the batch that they were made in, and that counts its passes."""

import time

import numpy as np
from torch import nn

from encoders.base import Encoder
from encoders.media.image import read_image


class Colour(Encoder):
    """An image's mean colour. Worker processes import it, so it has a module of its own."""

    name, modality, width, model_id = "vit", "image", 3, "mean colour"
    preprocessing, license, libraries = "1: none", "none", ("pillow",)
    seconds = 0.0  # that a batch takes
    encoded: list[int] = []  # the sizes of the batches

    @classmethod
    def build(cls):
        return nn.Identity()

    @classmethod
    def prepare(cls, source):
        return np.asarray(read_image(source)).mean((0, 1)).astype("f4")

    def encode(self, batch):
        if self.seconds:
            print("a batch", flush=True)
            time.sleep(self.seconds)
        self.encoded.append(len(batch))
        return np.stack(batch) + np.float32(0.001 * len(batch) + 0.01 * batch[0].sum())


class Unhurried(Colour):
    """Takes a while over a file and over a batch, in whatever process."""

    seconds = 0.2

    @classmethod
    def prepare(cls, source):
        time.sleep(0.1)
        return super().prepare(source)
