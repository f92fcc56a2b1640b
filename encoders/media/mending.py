"""Image files that are broken where no pixel is: mended, and nothing else is."""

from __future__ import annotations

import struct
from io import BytesIO

END = b"\xff\xd9"  # of a JPEG
JUNK = b"\x35\xa9\x4c\xd2" * 16
# What may have stood before it: nothing, bits of several kinds, the next interval.
BEFORE_END = (
    b"",
    bytes(64),
    b"\xfe" * 64,
    b"\x7a\x11\xc3\x5b\x90" * 16,
    *(b"".join(bytes([0xFF, 0xD0 + (n + k) % 8]) + JUNK for k in range(8)) for n in range(8)),
)
PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND")  # chunks of a PNG


def ended_jpeg(data: bytes) -> bytes | None:
    """A JPEG that lacks its end marker, with it. None if `data` are no such JPEG.

    Image data are all there if every coefficient's last scan is, and if what follows makes no
    difference to the pixels: a decoder that still needed data would take it for them.
    """
    from PIL import Image

    if not data.startswith(b"\xff\xd8\xff") or not _all_scans(data):
        return None
    data = data.removesuffix(b"\xff")  # the marker's first half
    pixels = set()
    for rest in BEFORE_END:
        with Image.open(BytesIO(data + rest + END)) as image:
            pixels.add(image.tobytes())
        if len(pixels) > 1:
            return None
    return data + END


def _all_scans(jpeg: bytes) -> bool:
    """Whether each component's 64 coefficients have begun a scan that gives their last bit."""
    at, components = 2, b""
    while jpeg[at : at + 1] == b"\xff" and jpeg[at + 1 : at + 2] != b"\xda":
        kind, length = jpeg[at + 1 : at + 2], int.from_bytes(jpeg[at + 2 : at + 4])
        if kind in (b"\xc0", b"\xc1", b"\xc2"):  # baseline, extended, progressive
            components = jpeg[at + 10 : at + 2 + length : 3]
        at += 2 + length
    missing = {(component, k) for component in components for k in range(64)}
    while (at := jpeg.find(b"\xff\xda", at)) >= 0:
        head = jpeg[at + 5 : at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])]
        if len(head) > 3:
            first, last, bits = head[-3:]
            if not bits & 15:  # the bits that a later scan gives
                chosen = head[:-3:2]
                missing -= {(c, k) for c in chosen for k in range(first, last + 1)}
        at += 2
    return bool(components) and not missing


def lean_png(data: bytes) -> bytes | None:
    """A PNG with nothing but its pixels and its orientation. None if there is nothing else."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    at, kept = 8, [data[:8]]
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind in PIXELS:
            kept.append(data[at : at + 12 + length])
        at += 12 + length
    lean = b"".join(kept)
    return lean if len(lean) < len(data) else None
