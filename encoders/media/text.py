"""Texts, as they stand in a table."""

import unicodedata

from encoders.media import MediaError

# Letters and symbols that show nothing: the fillers of Hangul, Braille without a dot, and what
# stands where a character could not be decoded.
BLANK = "\u115f\u1160\u2800\u3164\uffa0\ufffd"


def read_text(source: str) -> str:
    """The text, stripped. MediaError if nothing of it shows: its vector would mean nothing.

    Control characters, byte-order marks, zero-width spaces and the like beside visible characters
    stay: tokenizers drop them.
    """
    text = source.strip()
    if not text:
        raise MediaError("empty text")
    if not shows(text):
        raise MediaError("no visible text")
    return text


def shows(text: str) -> bool:
    """Whether anything of a text is to be seen."""
    return any(map(_shows, text))


def _shows(character: str) -> bool:
    """Whether it is neither a control or format character, a mark, a space, nor blank."""
    return unicodedata.category(character)[0] not in "CMZ" and character not in BLANK
