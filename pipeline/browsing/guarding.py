"""Who may ask, and what a browser may do with the answer.

The page is for the person at this machine. Other web pages open in their browser must not reach it:
not by a name of their own for this machine (DNS rebinding), not by a form or a script. Nothing that
a catalogue says is run.
"""

from __future__ import annotations

import re

from flask import Flask, Response, abort, request

HOSTS = ["127.0.0.1", "localhost"]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
UPLOAD = 64 << 20  # bytes of a request, at most
TYPED = 1 << 20  # bytes of a form beside its file
PIECE = 4 << 20  # bytes of a file that are sent at a time: a paused player holds no thread


def guard(app: Flask) -> None:
    """Refuse what other pages ask for, and what is too large; send `HEADERS` with every answer."""
    app.config.update(
        TRUSTED_HOSTS=HOSTS, MAX_CONTENT_LENGTH=UPLOAD, MAX_FORM_MEMORY_SIZE=TYPED,
        MAX_FORM_PARTS=20,
    )  # fmt: skip
    app.before_request(_check)
    app.after_request(_secure)


def _check() -> None:
    reads = request.method in ("GET", "HEAD")
    followed = reads and request.headers.get("Sec-Fetch-Mode") == "navigate"  # a link
    site = request.headers.get("Sec-Fetch-Site", "none")
    origin = request.headers.get("Origin")
    foreign = origin is not None and origin != request.host_url.rstrip("/")
    if (site not in ("same-origin", "none") and not followed) or foreign:
        abort(403, "this page is not asked by other pages")
    typed = request.mimetype != "multipart/form-data"
    if typed and (request.content_length or 0) > TYPED:
        abort(413)
    wanted = re.fullmatch(r"bytes=(\d{1,15})-(\d{0,15})", request.headers.get("Range", ""))
    if wanted:
        start = int(wanted[1])
        end = min(int(wanted[2] or start + PIECE), start + PIECE - 1)
        request.environ["HTTP_RANGE"] = f"bytes={start}-{end}"


def _secure(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")
    return response
