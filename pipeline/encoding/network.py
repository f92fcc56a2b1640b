"""A batch through the network: an item that the network cannot take costs itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.base import Encoder
from encoders.media import reason_of
from pipeline.encoding.decoding import Failed, Prepared
from pipeline.encoding.manifest import Item


@dataclass(frozen=True)
class Encoded:
    """An item's (width,) vector, and what its decoder remarked."""

    item: Item
    vector: NDArray[np.float32]
    remark: str


def encode_batch(encoder: Encoder, batch: Sequence[Prepared | Failed]) -> list[Encoded | Failed]:
    """What becomes of a decoded batch, an outcome an item."""
    good = [one for one in batch if isinstance(one, Prepared)]
    vectors = encode_each(encoder, [one.input for one in good])
    made = [
        Failed(one.item, vector, of_content=True)
        if isinstance(vector, str)
        else Encoded(one.item, vector, one.remark)
        for one, vector in zip(good, vectors, strict=True)
    ]
    return made + [one for one in batch if isinstance(one, Failed)]


def encode_each(encoder: Encoder, inputs: list[Any]) -> list[NDArray[np.float32] | str]:
    """Each input's vector, or why it has none.

    An input that the network cannot take costs itself: halves of its batch are tried without it.
    """
    if not inputs:
        return []
    try:
        vectors = encoder.encode(inputs)
    except Exception as error:  # whatever a network raises
        if len(inputs) == 1:
            return [f"the network failed: {type(error).__name__}: {reason_of(error)}"]
        half = len(inputs) // 2
        return encode_each(encoder, inputs[:half]) + encode_each(encoder, inputs[half:])
    return [v if np.isfinite(v).all() else "the vector is not finite" for v in vectors]
