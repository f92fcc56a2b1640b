"""Video files → frames.

decord reads ordinary files. It opens them by itself, counts packets where it should count frames
and knows nothing of what a file hides: PyAV looks at the packets first, and reads all other files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders.media import MediaError, decoding
from encoders.media.ffmpeg import decoded, open_av, remark_damage

if TYPE_CHECKING:
    from torch import Tensor

# A packet of these is a frame, wherever it comes from; in others some are two, or none.
PLAIN_CODECS = ("h264", "hevc", "mjpeg", "mpeg4", "vp9")
PLAIN_FORMATS = ("mov", "matroska", "avi", "flv")  # by the first of FFmpeg's names
STILL_CODECS = ("mjpeg", "png", "bmp", "gif", "webp", "tiff", "jpeg2000")
REORDERED = 16  # frames that a codec may decode before an earlier one


def read_video(
    path: Path, count: int, seconds: float, transform: Callable[[Tensor], Tensor]
) -> Tensor:
    """The first frames of a video, upright, each through `transform`: (3, h, w) uint8 → any.

    Returns (t, ...), 1 ≤ t ≤ `count`: frames that the file shows less than `seconds` after its
    first, by their own times. Pictures that come with a video, such as covers, are no video. What
    cannot be decoded is left out, with a remark.
    """
    import torch

    with decoding("a video", path):
        with open_av(path) as container:
            stream = _stream(container)
            plain = _plain_frames(container, stream, count, seconds)
            size = {stream.height, stream.width}
        frames: list[Tensor] = []
        if plain:
            with contextlib.suppress(Exception):  # decord's errors have no narrower common class
                frames = [transform(_tensor(f)) for f in _decord_frames(path, plain, size)]
        # Where decord finds fewer frames than packets, it repeats the last one.
        if len(frames) < plain or len(frames) > 1 and torch.equal(frames[-2], frames[-1]):
            frames = []
        if not frames:
            frames = [transform(_tensor(f)) for f in _av_frames(path, count, seconds)]
        if not frames:
            raise MediaError("no video frames in the file")
        return torch.stack(frames)


def _tensor(frame: NDArray[np.uint8]) -> Tensor:
    """(h, w, 3) → (3, h, w)."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)


def _stream(container: Any) -> Any:
    """The first video stream that is no picture beside the content. MediaError if there is none."""
    from av.stream import Disposition

    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if not s.disposition & pictures]
    if not streams:
        raise MediaError("no video in the file")
    # Matroska does not mark a cover that was muxed as a track.
    moving = [s for s in streams if s.codec_context.name not in STILL_CODECS]
    return (moving or streams)[0]


def _plain_frames(container: Any, stream: Any, count: int, seconds: float) -> int:
    """How many frames decord is to read, by the times of the packets; 0 if it had better not."""
    if (
        container.format.name.split(",")[0] not in PLAIN_FORMATS
        or stream.codec_context.name not in PLAIN_CODECS
        or len(container.streams.video) > 1
    ):
        return 0
    times: list[int] = []
    for packet in container.demux(stream):
        if not packet.size:  # PyAV's last
            break
        if packet.pts is None or packet.pts < 0 or packet.is_discard or packet.is_corrupt:
            return 0
        times.append(packet.pts)
        if len(times) == count + REORDERED:
            break
    if not times or len({*times}) < len(times):
        return 0
    end = min(times) + Fraction(seconds) / stream.time_base
    return min(count, sum(time < end for time in times))


def _decord_frames(path: Path, count: int, size: set[int]) -> Iterator[NDArray[np.uint8]]:
    """The first `count`, (h, w, 3) each. ValueError if decord makes something else of them."""
    import decord

    decord.logging.set_level(decord.logging.QUIET)  # FFmpeg's every remark; errors are raised
    # The reader goes with this generator: an idle one prefetches without bound.
    reader = decord.VideoReader(str(path.resolve()), ctx=decord.cpu(0), num_threads=1)
    for _ in range(count):
        frame = reader.next().asnumpy()
        # decord counts the padding of narrow frames as channels.
        if {*frame.shape[:2]} != size or frame.shape[2:] != (3,):
            raise ValueError(f"a frame of shape {frame.shape}")
        yield frame


def _av_frames(path: Path, count: int, seconds: float) -> Iterator[NDArray[np.uint8]]:
    """The first `count` within `seconds`, (h, w, 3) each, and a remark on what is damaged."""
    damage: list[Exception] = []
    with open_av(path) as container:
        start, index = None, 0
        with contextlib.closing(decoded(container, _stream(container), damage)) as frames:
            for frame in frames:
                time = frame.time or 0.0
                start = time if start is None else start
                if time - start >= seconds:
                    break
                # PyAV leaves the rotation, in degrees counterclockwise, to its caller.
                yield np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                index += 1
                if index == count:
                    break
    if damage and not index:
        raise damage[0]
    if damage:
        remark_damage(f"{index} frames were seen", damage)
