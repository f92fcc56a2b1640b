"""The engine `local`: decoders in processes of this machine, the network in this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from encoders.base import Encoder
from pipeline.common.places import Place
from pipeline.encoding.decoding import Failed, prepared, settled
from pipeline.encoding.filling import Engine
from pipeline.encoding.manifest import Item
from pipeline.encoding.network import Encoded, encode_batch


def local_engine(
    cls: type[Encoder], load: Callable[[], Encoder], dataset: Place, seconds: float
) -> Engine:
    """Encode here, one batch after the other.

    Args:
        cls: the encoder.
        load: its network; called once there is something to encode.
        dataset: where the catalogue lies.
        seconds: that decoding an item may take.
    """

    def run(batches: list[list[Item]]) -> Iterator[list[Encoded | Failed]]:
        for batch in prepared(batches, cls, dataset, seconds):
            encoder = load()  # while the workers start
            decoded = [settled(cls, dataset, item, future.result) for item, future in batch]
            yield encode_batch(encoder, decoded)

    return run
