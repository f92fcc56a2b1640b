"""Files as they are: the frames and samples that they show, and what is said of the damaged."""

import math
import resource
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from test_encoders import CHINA

from benchmarks.media_files import cut, tone, write_audio, write_greys
from encoders.media import MediaError, remarks
from encoders.media.audio import read_audio
from encoders.media.image import read_image
from encoders.media.text import read_text
from encoders.media.video import read_video

RATE = 16_000


def seen(path: Path, count: int = 80, seconds: float = 30.0) -> list[int]:
    """The grey level of every frame."""
    frames = read_video(path, count, seconds, torch.clone)
    return [round(float(level)) for level in frames.float().mean((1, 2, 3))]


def close(found: list[int], expected: list[int]) -> bool:
    return len(found) == len(expected) and all(
        abs(a - b) <= 2 for a, b in zip(found, expected, strict=True)
    )


def test_what_an_edit_list_hides_is_not_seen(tmp_path: Path) -> None:
    levels = [10 + 7 * n % 230 for n in range(300)]
    whole = write_greys(tmp_path / "long.mp4", levels)
    for first, last in ((200, 225), (50, 175), (10, 15), (3, 299)):
        path = cut(whole, tmp_path / f"cut{first}.mp4", first, last)
        assert close(seen(path), levels[first:last][:80])


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_frames_count_by_their_own_times(tmp_path: Path, suffix: str) -> None:
    """Sixty in two seconds, then one every ten: the average would say 0.4 a second."""
    times = [33 * n for n in range(60)] + [2000 + 10_000 * n for n in range(20)]
    levels = [10 + 3 * n for n in range(80)]
    path = write_greys(tmp_path / f"vfr.{suffix}", levels, milliseconds=times)
    assert close(seen(path), [x for x, t in zip(levels, times, strict=True) if t < 30_000])
    assert close(seen(path, seconds=1.0), levels[:31])
    assert close(seen(path, count=7), levels[:7])


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
def test_a_cover_is_no_video(tmp_path: Path, suffix: str) -> None:
    path = write_greys(tmp_path / f"film.{suffix}", [40, 80, 120, 160], cover=True)
    assert close(seen(path), [40, 80, 120, 160])


@pytest.mark.parametrize("width", [2, 4, 6, 8, 12, 16, 24, 36, 48, 72, 98])
def test_narrow_videos(tmp_path: Path, width: int) -> None:
    for size in ((64, width), (width, 64)):
        path = write_greys(tmp_path / f"{size}.mp4", [60, 90, 150], size=size)
        assert read_video(path, 80, 30.0, torch.clone).shape == (3, 3, *size)
        assert close(seen(path), [60, 90, 150])


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("mp4", "libx264", {}), ("mkv", "libx264", {"x264-params": "open-gop=1:keyint=12"}),
        ("mov", "libx264", {"bf": "3"}), ("flv", "libx264", {}), ("ts", "libx264", {}),
        ("mp4", "libx265", {}), ("mkv", "libx265", {"x265-params": "open-gop=1:keyint=10"}),
        ("webm", "libvpx-vp9", {}), ("webm", "libvpx", {}), ("avi", "mpeg4", {"bf": "2"}),
        ("avi", "mjpeg", {}), ("mpg", "mpeg2video", {"bf": "2"}), ("mp4", "libsvtav1", {}),
        ("mkv", "ffv1", {}),
    ],
)  # fmt: skip
def test_containers_and_codecs(
    tmp_path: Path, suffix: str, codec: str, options: dict[str, str]
) -> None:
    levels = [20 + 5 * n for n in range(40)]
    path = write_greys(tmp_path / f"x.{suffix}", levels, codec=codec, options=options)
    with remarks() as said:
        assert close(seen(path), levels)
    assert not said


def heard(path: Path) -> tuple[float, float, float, list[str]]:
    """Seconds, level (root mean square), pitch in Hz, and remarks."""
    with remarks() as said:
        samples = read_audio(path, RATE, 600.0).numpy()
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    level = float(np.sqrt(np.mean(samples.astype(float) ** 2)))
    return len(samples) / RATE, level, float(spectrum.argmax() * RATE / len(samples)), said


LEVEL = 0.5 / math.sqrt(2)


@pytest.mark.parametrize("channels", [1, 2, 6, 8])
@pytest.mark.parametrize(
    ("suffix", "codec"), [("wav", "pcm_s16le"), ("flac", "flac"), ("opus", "libopus"),
                          ("wav", "pcm_f32le"), ("mka", "pcm_s24le")]
)  # fmt: skip
def test_any_number_of_channels(tmp_path: Path, channels: int, suffix: str, codec: str) -> None:
    path = write_audio(tmp_path / f"x.{suffix}", tone(1.0, 48_000, channels), 48_000, codec)
    seconds, level, pitch, said = heard(path)
    assert seconds == pytest.approx(1.0, abs=0.01) and not said
    assert level == pytest.approx(LEVEL, rel=0.02) and pitch == pytest.approx(440, abs=1.1)


@pytest.mark.parametrize("rate", [5512, 7350, 11_127, 16_001, 22_051, 44_101, 47_999, 192_000])
def test_any_rate(tmp_path: Path, rate: int) -> None:
    path = write_audio(tmp_path / "x.wav", tone(2.0, rate), rate, "pcm_s16le")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, level, pitch, _ = heard(path)
    # The kernel for 44,101 Hz would take more than 4 GiB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20
    assert seconds == pytest.approx(2.0, abs=1 / RATE)
    assert level == pytest.approx(LEVEL, rel=0.02) and pitch == pytest.approx(440, abs=0.6)


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000])
def test_usual_rates_are_torchaudios(tmp_path: Path, rate: int) -> None:
    from torchaudio.functional import resample

    samples = np.random.default_rng(0).integers(-9000, 9000, (rate, 1)).astype(np.float32) / 32_768
    path = write_audio(tmp_path / "x.wav", samples, rate, "pcm_s16le")
    expected = resample(torch.from_numpy(samples[:, 0]), rate, RATE)
    assert torch.equal(read_audio(path, RATE, 600.0), expected)


@pytest.fixture
def mp3(tmp_path: Path) -> Callable[[int, int], bytes]:
    """The bytes of two seconds of a tone, by channels and rate."""

    def made(channels: int, rate: int) -> bytes:
        samples = tone(2.0, rate, channels)
        return write_audio(tmp_path / "made.mp3", samples, rate, "libmp3lame").read_bytes()

    return made


def test_joined_and_damaged_sounds_are_heard(
    tmp_path: Path, mp3: Callable[[int, int], bytes]
) -> None:
    one, mono, slow = mp3(2, 44_100), mp3(1, 44_100), mp3(1, 22_050)
    middle = bytearray(one)
    middle[len(one) // 2 : len(one) // 2 + 3000] = bytes(3000)
    page = b"<html><body>404 Not Found</body></html>" * 200
    path = tmp_path / "x.mp3"
    for content, seconds in (
        (one, 2.0), (one + page, 2.0), (one + one, 4.0), (mono + one, 4.0), (one + slow, 4.0),
        (bytes(middle), 1.8),
    ):  # fmt: skip
        path.write_bytes(content)
        found, level, pitch, said = heard(path)
        assert found == pytest.approx(seconds, abs=0.1)
        assert level == pytest.approx(LEVEL, rel=0.1) and pitch == pytest.approx(440, abs=1)
        assert bool(said) == (content != one)
        assert all(text.startswith(f"damaged: {found:.1f} s were heard, ") for text in said)


def test_a_hole_that_no_decoder_complains_of(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "x.flac", tone(2.0, 48_000, 2), 48_000, "flac")
    content = bytearray(path.read_bytes())
    place = len(content) // 2
    content[place : place + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(content)
    seconds, _, pitch, said = heard(path)
    assert 1.4 < seconds < 1.9 and pitch == pytest.approx(440, abs=1)
    assert said == [f"damaged: {seconds:.1f} of 2.0 s were heard"]


SCRIPTS = {
    "ffconcat": "ffconcat version 1.0\nfile 'secret.wav'\n",
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsecret.wav\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 1 RTP/AVP 0\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
            "<Period><AdaptationSet><Representation><BaseURL>secret.wav</BaseURL>"
            "</Representation></AdaptationSet></Period></MPD>",
    "text": "Once upon a time\n" * 500,
    "srt": "1\n00:00:00,000 --> 00:00:02,000\nHello\n",
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("suffix", ["wav", "mp4", "m3u8", "ffconcat", "txt"])
def test_scripts_are_not_followed(tmp_path: Path, script: str, suffix: str) -> None:
    write_audio(tmp_path / "secret.wav", tone(1.0, RATE), RATE, "pcm_s16le")
    path = tmp_path / f"x.{suffix}"
    path.write_text(SCRIPTS[script])
    for read in (lambda: read_audio(path, RATE, 60.0), lambda: seen(path)):
        with pytest.raises(MediaError, match="not a media file|not readable as|no video|no audio"):
            read()


def read_with_remarks(data: bytes, path: Path) -> tuple[Image.Image, list[str]]:
    path.write_bytes(data)
    with remarks() as said:
        return read_image(path), said


def jpeg(**options: object) -> bytes:
    buffer = BytesIO()
    Image.open(CHINA).resize((320, 200)).save(buffer, "jpeg", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}, {"quality": 98}])
def test_a_jpeg_without_its_end_has_all_its_pixels(tmp_path: Path, options: dict) -> None:
    data = jpeg(**options)
    whole, said = read_with_remarks(data, tmp_path / "a.jpg")
    assert not said
    for short in (data[:-2], data[:-1]):
        image, said = read_with_remarks(short, tmp_path / "b.jpg")
        assert np.array_equal(np.asarray(image), np.asarray(whole))
        assert said == ["the end of the JPEG is missing, none of its pixels are"]
    for short in (data[: len(data) // 2], data[:-200]):
        with pytest.raises(MediaError, match="truncated"):
            read_with_remarks(short, tmp_path / "c.jpg")


BROKEN_EXIF = (
    b"II*\0" + b"\xff" * 60,
    b"MM\0*\0\0\0\x08\xff\xff",
    b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0",
    b"II+\0",
    b"garbage",
)


@pytest.mark.parametrize("exif", BROKEN_EXIF)
def test_exif_that_cannot_be_read_is_no_picture_lost(tmp_path: Path, exif: bytes) -> None:
    plain, _ = read_with_remarks(jpeg(), tmp_path / "a.jpg")
    image, said = read_with_remarks(jpeg(exif=b"Exif\0\0" + exif), tmp_path / "b.jpg")
    assert np.array_equal(np.asarray(image), np.asarray(plain))
    assert said == ["its EXIF cannot be read: taken as upright"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_pillows(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(exif=exif)
    image, said = read_with_remarks(data, tmp_path / "a.jpg")
    expected = ImageOps.exif_transpose(Image.open(BytesIO(data)))
    assert np.array_equal(np.asarray(image), np.asarray(expected)) and not said


def test_a_png_with_a_long_text(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    info = PngImagePlugin.PngInfo()
    info.add_text("history", "x" * 3_000_000, zip=True)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "png", pnginfo=info)
    image, said = read_with_remarks(buffer.getvalue(), tmp_path / "a.png")
    assert np.array_equal(np.asarray(image), pixels)
    assert len(said) == 1 and said[0].startswith("read without what the PNG says beside its pixels")
    with pytest.raises(MediaError):
        read_with_remarks(buffer.getvalue()[:-300], tmp_path / "b.png")


@pytest.mark.parametrize(
    "text", ["\u200b", "\0", "\x07\x1b", "\ufeff", "\u00ad\u2060", "\u3164\u2800"]
)
def test_texts_that_show_nothing_are_refused(text: str) -> None:
    with pytest.raises(MediaError, match="no visible text"):
        read_text(f" {text} ")
    assert read_text(f"{text}word") in (f"{text}word", "word")
