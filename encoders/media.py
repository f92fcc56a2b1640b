"""Decoders: a file → pixels or samples. MediaError says in plain words what is wrong with it."""

from __future__ import annotations

import contextlib
import math
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor


class MediaError(ValueError):
    """An item cannot be decoded. The message is the reason, for the catalogue's owner."""


@contextlib.contextmanager
def decoding(kind: str, path: Path) -> Iterator[None]:
    """Refuse what is no regular file; turn whatever a decoder raises into a MediaError."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise MediaError("no such file") from None
    except OSError as error:
        raise MediaError((error.strerror or str(error)).lower()) from None
    if stat.S_ISDIR(mode):
        raise MediaError("a folder, not a file")
    if not stat.S_ISREG(mode):
        raise MediaError("not a regular file")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise MediaError((error.strerror or str(error)).lower()) from None
    try:
        yield
    except (MediaError, MemoryError):
        raise
    except Exception as error:  # on garbage, decoders raise almost anything
        if "can't allocate memory" in str(error):  # torch's own kind of MemoryError
            raise MemoryError from error
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = reason.strip().splitlines()[0].replace(str(path), path.name)
        raise MediaError(f"not readable as {kind}: {reason}") from error


def open_av(path: Path) -> Any:
    """PyAV's container of a file."""
    import av

    # Playlists and the like may point elsewhere: nothing but the file itself is opened.
    only = {"protocol_whitelist": "file"}
    return av.open(str(path.resolve()), options=only, metadata_errors="ignore")


def read_image(path: Path) -> Image.Image:
    """The (first) image of a file in mode RGB: upright, 16 bits scaled to 8, alpha over white.

    Refuses what Pillow takes for a decompression bomb.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    with decoding("an image", path):
        try:
            with Image.open(path) as image:
                return to_rgb(ImageOps.exif_transpose(image))
        except Image.DecompressionBombError:
            raise MediaError(
                f"too large: more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
            ) from None
        except UnidentifiedImageError:
            raise MediaError("not an image of a known format") from None


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode → RGB. MediaError for floating-point pixels, whose range is unknown."""
    from PIL import Image

    if image.mode == "F":
        raise MediaError("floating-point pixels; save the image with 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):  # Pillow's convert would clip at 255
        pixels = np.asarray(image).astype(np.float64).clip(0, 65_535) / 257
        image = Image.fromarray(pixels.round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def read_audio(path: Path, rate: int, seconds: float) -> Tensor:
    """(s,) float32 in [-1, 1] at `rate` Hz: the mean of a file's own channels.

    At most the first `seconds`. FFmpeg's own downmix would scale stereo by √2.
    """
    import av
    import torch
    from torchaudio.functional import resample

    with decoding("audio", path), open_av(path) as container:
        if not container.streams.audio:
            raise MediaError("no audio in the file")
        converter = av.AudioResampler(format="fltp")  # sample format alone
        pieces: list[NDArray[np.float32]] = []
        native = left = 0
        for frame in container.decode(audio=0):
            if not native:
                native = frame.sample_rate
                left = math.ceil(seconds * native)
            pieces += [part.to_ndarray().mean(0) for part in converter.resample(frame)]
            left -= frame.samples
            if left <= 0:
                break
        pieces += [part.to_ndarray().mean(0) for part in converter.resample(None)]
        samples = np.concatenate([np.empty(0, np.float32), *pieces])
        if not len(samples):
            raise MediaError("no audio samples in the file")
        samples = samples[: math.ceil(seconds * native)]
        resampled: Tensor = resample(torch.from_numpy(samples), native, rate)
        return resampled


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
