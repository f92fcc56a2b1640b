"""The page behind a web server that this machine alone reaches."""

from __future__ import annotations

from waitress import create_server
from waitress.server import BaseWSGIServer

from pipeline.browsing.guarding import UPLOAD
from pipeline.browsing.media import Media
from pipeline.browsing.models import Models
from pipeline.browsing.server import create_app

ADDRESS = "127.0.0.1"
THREADS = 8  # that answer; those that ask a model wait for one another
CONNECTIONS = 32  # open at a time; others wait


def serving(models: Models, media: Media, port: int) -> BaseWSGIServer:
    """A server that is bound and yet to `run`; port 0 is any that is free.

    OSError if the port is taken.
    """
    server: BaseWSGIServer = create_server(
        create_app(models, media), host=ADDRESS, port=port, threads=THREADS,
        connection_limit=CONNECTIONS, max_request_body_size=UPLOAD, ident=None,
    )  # fmt: skip
    return server
