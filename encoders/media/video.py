"""Video files → frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoders.media import MediaError, decoding, open_av

if TYPE_CHECKING:
    from torch import Tensor


def read_video(
    path: Path, count: int, seconds: float, transform: Callable[[Tensor], Tensor]
) -> Tensor:
    """The first frames of a video, upright, each through `transform`: (3, h, w) uint8 → any.

    Returns (t, ...), 1 ≤ t ≤ `count`, none of them from after `seconds`. decord decodes; where it
    refuses (AV1, GIF, truncated files) or errs (transport streams), PyAV does.
    """
    import torch

    with decoding("a video", path):
        try:
            frames = [transform(_tensor(f)) for f in _decord_frames(path, count, seconds)]
        except Exception:  # decord's errors have no narrower common class
            frames = [transform(_tensor(f)) for f in _av_frames(path, count, seconds)]
        if not frames:
            raise MediaError("no video frames in the file")
        return torch.stack(frames)


def _tensor(frame: NDArray[np.uint8]) -> Tensor:
    """(h, w, 3) → (3, h, w)."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)


def _decord_frames(path: Path, count: int, seconds: float) -> Iterator[NDArray[np.uint8]]:
    import decord

    with open_av(path) as container:
        if container.format.name == "mpegts":
            raise ValueError("decord starts such a stream at a wrong frame")
    decord.logging.set_level(decord.logging.QUIET)  # FFmpeg's every remark; errors are raised
    # The reader goes with this generator: an idle one prefetches without bound.
    reader = decord.VideoReader(str(path.resolve()), ctx=decord.cpu(0), num_threads=1)
    for _ in range(min(count, len(reader), math.ceil(seconds * reader.get_avg_fps()))):
        yield reader.next().asnumpy()


def _av_frames(path: Path, count: int, seconds: float) -> Iterator[NDArray[np.uint8]]:
    with open_av(path) as container:
        if not container.streams.video:
            raise MediaError("no video in the file")
        start = None
        for index, frame in enumerate(container.decode(video=0)):
            time = frame.time or 0.0
            start = time if start is None else start
            if index == count or time - start >= seconds:
                return
            # PyAV leaves the rotation, in degrees counterclockwise, to its caller.
            yield np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
