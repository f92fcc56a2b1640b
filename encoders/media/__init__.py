"""Decoders, a module a modality: a file → text, pixels or samples. MediaError says what is wrong.

What one modality's encoders import is in no other's vectors (`pipeline.fingerprint`).
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any


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
