"""The application, and the web server that this machine alone reaches."""

from __future__ import annotations

from flask import Flask, render_template
from jinja2 import StrictUndefined
from waitress import create_server
from waitress.server import BaseWSGIServer
from werkzeug.exceptions import HTTPException, InternalServerError, SecurityError

from pipeline.browsing.asking import Browser
from pipeline.browsing.guarding import UPLOAD, guard
from pipeline.browsing.landing import CHARACTERS
from pipeline.browsing.media import Media
from pipeline.browsing.models import Models
from pipeline.browsing.views import views
from pipeline.common.files import InputError

ADDRESS = "127.0.0.1"
THREADS = 8  # that answer; those that ask a model wait for one another
CONNECTIONS = 32  # open at a time; others wait


def create_app(models: Models, media: Media) -> Flask:
    """The application.

    Args:
        models: the systems.
        media: what the catalogue's items hold.
    """
    app = Flask("pipeline.browsing")
    app.jinja_options = {"autoescape": True, "undefined": StrictUndefined,
                         "trim_blocks": True, "lstrip_blocks": True}  # fmt: skip
    app.extensions["browser"] = Browser(models, media)
    guard(app)
    app.register_blueprint(views)
    app.register_error_handler(InputError, _refused)
    app.register_error_handler(HTTPException, _failed)
    return app


def serving(models: Models, media: Media, port: int) -> BaseWSGIServer:
    """A server that is bound and yet to `run`; port 0 is any that is free.

    OSError if the port is taken.
    """
    server: BaseWSGIServer = create_server(
        create_app(models, media), host=ADDRESS, port=port, threads=THREADS,
        connection_limit=CONNECTIONS, max_request_body_size=UPLOAD, ident=None,
    )  # fmt: skip
    return server


def _refused(error: InputError) -> tuple[str, int]:
    return _said(str(error), 400)


def _failed(error: HTTPException) -> tuple[str, int]:
    if isinstance(error, SecurityError):  # of the name that this machine was asked by
        return "this page is asked as 127.0.0.1 or localhost alone", 400
    said = error.description or ""
    if isinstance(error, InternalServerError):
        said = "something went wrong; the terminal says what"
    elif error.code == 413:
        said = f"too large: a file may have {UPLOAD >> 20} MB, a text {CHARACTERS:,} characters"
    return _said(said, error.code or 500)


def _said(sentence: str, code: int) -> tuple[str, int]:
    return render_template("problem.html", sentence=sentence, code=code), code
