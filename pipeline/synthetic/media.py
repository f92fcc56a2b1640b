"""Media as files: in which formats the sample has them, written so that no byte ever varies."""

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.synthetic.images import draw_image
from pipeline.synthetic.items import Item
from pipeline.synthetic.sounds import draw_sound
from pipeline.synthetic.videos import draw_video

FOLDERS = {"image": "images", "audio": "audio", "video": "video"}
# The files of a modality take turns in these, so that the sample has something of everything.
SUFFIXES = {"image": ("jpg", "png"), "audio": ("wav", "flac", "mp3"), "video": ("mp4",)}
AUDIO_FORMS = ((16000, "mono"), (22050, "stereo"), (44100, "mono"), (22050, "mono"))
VIDEO_RATES = (15, 20, 25)

AUDIO_CODECS = {".wav": "pcm_s16le", ".flac": "flac", ".mp3": "libmp3lame"}
BITEXACT = {"fflags": "+bitexact"}  # no library versions or dates in the containers
# In frames this small x264's mbtree reads uninitialised memory: the bytes would vary between runs.
X264 = {"crf": "26", "x264-params": "mbtree=0"}


def media_path(modality: str, item: Item, turn: int) -> str:
    """Where an item's file lies, relative to the sample's folder.

    It is the `turn`th file of its modality, counted from 0.
    """
    suffix = SUFFIXES[modality][turn % len(SUFFIXES[modality])]
    return f"{FOLDERS[modality]}/{item.item_id}.{suffix}"


def save_media(path: Path, modality: str, item: Item, turn: int, rng: np.random.Generator) -> None:
    """Draw an item's image, sound or video and write it to `path`, in its suffix's format."""
    if modality == "image":
        draw_image(item, rng).save(path)
    elif modality == "audio":
        rate, layout = AUDIO_FORMS[turn % len(AUDIO_FORMS)]
        _save_sound(path, draw_sound(item, rate, layout, rng), rate, layout)
    else:
        rate = VIDEO_RATES[turn % len(VIDEO_RATES)]
        _save_video(path, draw_video(item, rate, rng), rate)


def _save_sound(path: Path, samples: NDArray[np.int16], rate: int, layout: str) -> None:
    with av.open(str(path), "w", options=BITEXACT) as container:
        stream = container.add_stream(AUDIO_CODECS[path.suffix], rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = layout
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _save_video(path: Path, frames: list[Image.Image], rate: int) -> None:
    with av.open(str(path), "w", options=BITEXACT) as container:
        stream = container.add_stream("libx264", rate=rate, options=X264)
        assert isinstance(stream, av.VideoStream)
        stream.codec_context.thread_count = 1  # the bytes may depend on the number of threads
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
