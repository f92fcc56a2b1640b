"""Decoders, a module a modality: a file → text, pixels or samples.

MediaError says why a file gives nothing; a remark says what was done where it gives less than it
should. What one modality's encoders import is in no other's vectors
(`pipeline.common.fingerprint`).
"""

from __future__ import annotations

import contextlib
import logging
import re
import stat
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

log = logging.getLogger("encoders")

ADDRESSES = re.compile(r"\s*<[^<>]* at 0x[0-9a-fA-F]+>|\s*@ 0x[0-9a-fA-F]+")
_said: ContextVar[list[str] | None] = ContextVar("remarks", default=None)


class MediaError(ValueError):
    """An item cannot be decoded. The message is the reason, for the catalogue's owner."""


def remark(text: str) -> None:
    """Say what was done with a damaged item, to `remarks`; to the log where nobody listens."""
    said = _said.get()
    if said is None:
        log.warning("%s", text)
    else:
        said.append(text)


@contextlib.contextmanager
def remarks() -> Iterator[list[str]]:
    """Collect what decoders say of the item that is decoded in the block."""
    said: list[str] = []
    token = _said.set(said)
    try:
        yield said
    finally:
        _said.reset(token)


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
        reason = reason_of(error).replace(str(path), path.name)
        raise MediaError(f"not readable as {kind}: {reason}") from error


def reason_of(error: Exception) -> str:
    """What an error says, in one line, but for where in memory something was."""
    reason: str = ADDRESSES.sub("", getattr(error, "strerror", None) or str(error))
    return (reason.strip().splitlines() or [type(error).__name__])[0]
