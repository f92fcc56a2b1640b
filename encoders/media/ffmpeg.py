"""FFmpeg by way of PyAV: what sounds and videos have in common."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from encoders.media import MediaError, reason_of, remark

# FFmpeg's demuxers that read a file, and nothing but that file. Playlists and scripts (concat, hls,
# dash, sdp, ...), number patterns (image2), devices and what plays any text (tty) are not among
# them: whatever a file is named and says, it is data.
FORMATS = (
    "3g2", "aa", "aac", "ac3", "ac4", "adx", "aiff", "amr", "amrnb", "amrwb", "ape", "apng",
    "aptx", "asf", "ast", "au", "avi", "av1", "bink", "binka", "bmp_pipe", "caf", "cavsvideo",
    "dirac", "dnxhd", "dsf", "dts", "dtshd", "dv", "eac3", "ea", "evc", "film_cpk", "flac", "flic",
    "flv", "gif", "gif_pipe", "gsm", "gxf", "h261", "h263", "h264", "hevc", "iamf", "iff", "ircam",
    "ivf", "j2k_pipe", "jpeg_pipe", "jpegxl_anim", "jpegxl_pipe", "kux", "lc3", "loas", "m4v",
    "matroska", "mjpeg", "mlp", "mlv", "mmf", "mov", "mp3", "mpc", "mpc8", "mpeg", "mpegts",
    "mpegvideo", "mxf", "nistsphere", "nsv", "nut", "nuv", "obu", "ogg", "oma", "osq", "png_pipe",
    "pva", "qcp", "qoa", "r3d", "rka", "rl2", "rm", "roq", "shn", "sln", "smjpeg", "smk", "sox",
    "swf", "tak", "thp", "tiff_pipe", "truehd", "tta", "ty", "vc1", "vc1test", "viv", "vivo", "voc",
    "vqf", "vvc", "w64", "wav", "wavarc", "webp", "webp_pipe", "wsaud", "wsvqa", "wtv", "wv", "xa",
    "xmv", "xwma", "yuv4mpegpipe",
)  # fmt: skip


def open_av(path: Path) -> Any:
    """PyAV's container of a file. MediaError if the file is in none of `FORMATS`."""
    import av

    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS)}
    try:
        return av.open(str(path.resolve()), options=options, metadata_errors="ignore")
    except av.ArgumentError:  # FFmpeg's word for a format that is not on the list
        raise MediaError("not a media file of a known format") from None


def decoded(container: Any, stream: Any, damage: list[Exception]) -> Generator[Any]:
    """The frames of a stream as they are shown.

    Like FFmpeg, it goes on behind what cannot be decoded; `damage` gets an error for each such
    packet.
    """
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)  # after an error of the container there is none
            frames = packet.decode() if packet is not None else []
        except MemoryError:
            raise
        except av.FFmpegError as error:
            damage.append(error)
            continue
        if packet is None:
            return
        yield from frames


def remark_damage(was: str, damage: Sequence[Exception]) -> None:
    """Say that packets of a file could not be decoded, and what was made of it all the same."""
    packets = "1 packet" if len(damage) == 1 else f"{len(damage)} packets"
    remark(f"damaged: {was}, {packets} could not be decoded ({reason_of(damage[0])})")
