"""Texts, as they stand in a table."""

from encoders.media import MediaError


def read_text(source: str) -> str:
    """The text, stripped. MediaError if nothing is left: its vector would mean nothing."""
    text = source.strip()
    if not text:
        raise MediaError("empty text")
    return text
