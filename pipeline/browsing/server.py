"""The page as a web application: what an address shows."""

from __future__ import annotations

import logging
import random
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Self

from flask import Blueprint, Flask, Response, abort, render_template, request, send_file, url_for
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException, InternalServerError, SecurityError

from encoders.media import MediaError
from pipeline.browsing import landing
from pipeline.browsing.finding import Finder, with_part
from pipeline.browsing.guarding import UPLOAD, guard
from pipeline.browsing.media import OTHER, Media
from pipeline.browsing.models import Models, described
from pipeline.browsing.shelves import Shelf, Shelves, bars
from pipeline.common.files import InputError
from pipeline.recommending import Recommender

log = logging.getLogger("browse")

LISTED = 10  # items of a list, unless the address says another number
MOST = 100  # that it may say
NEAR = 8  # neighbours of an item
FOUND = 40  # what a search shows


@dataclass(frozen=True)
class Asked:
    """What every page knows of what is looked at; it stands in the address."""

    user: str
    left: str
    right: str
    k: int

    @property
    def keys(self) -> list[str]:
        """The systems that are looked at, each once."""
        return list(dict.fromkeys(key for key in (self.left, self.right) if key))


class Browser:
    """What the views share.

    Args:
        models: the systems.
        media: what the catalogue's items hold.
    """

    def __init__(self, models: Models, media: Media) -> None:
        self.models, self.media = models, media
        self.any = models.any
        self.finder = Finder(self.any.items, self.any.titles)

    @classmethod
    def here(cls) -> Self:
        """That of the application that answers."""
        from flask import current_app

        found: Self = current_app.extensions["browser"]
        return found

    @cached_property
    def encodable(self) -> dict[str, bool]:
        """Modality → whether it is typed, of those that a new item may have."""
        return landing.encodable(self.any.encoders)

    def asked(self) -> Asked:
        """What the address, or the form, says. InputError if it cannot be."""
        given, first = request.values, next(iter(self.models.labels))
        right = given.get("right", self.models.other)
        k = given.get("k", str(LISTED))
        if not k.isdecimal() or len(k) > 4 or not 1 <= int(k) <= MOST:
            raise InputError(f"k: {k!r} is not valid; a whole number from 1 to {MOST} is")
        for key in filter(None, [left := given.get("left") or first, right]):
            if key not in self.models.labels:
                self.models[key]  # says which there are
        return Asked(given.get("user", "").strip(), left, right, int(k))

    def shelves(self, recommender: Recommender | None = None) -> Shelves:
        """Those of a system, or of any: the catalogue's items are the same."""
        return Shelves(recommender or self.any, self.media)


views = Blueprint("views", __name__)


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


@views.app_template_global()
def to(asked: Asked, view: str, **changes: Any) -> str:
    """The address of a view that goes on with what is looked at."""
    return url_for(f"views.{view}", **asdict(asked) | changes)


def page(template: str, asked: Asked, **values: Any) -> str:
    """A template with what all of them need."""
    browser = Browser.here()
    shared = {"labels": browser.models.labels, "pictured": browser.media.pictured}
    return render_template(f"{template}.html", asked=asked, **shared, **values)


@views.get("/")
def user() -> str | tuple[str, int]:
    """A user: what they liked, and what two systems recommend."""
    browser, asked = Browser.here(), Browser.here().asked()
    users = browser.any.users
    if not asked.user:
        asked = replace(asked, user=users[0])
    elif asked.user not in users:
        part = with_part(users, asked.user, FOUND)
        return page("users", asked, found=part, total=len(users)), 404
    row = users.row(asked.user)
    ways = {
        "Previous": users[row - 1] if row else None,
        "Next": users[row + 1] if row + 1 < len(users) else None,
        "Any": users[random.randrange(len(users))],
    }
    shelves = browser.shelves()
    with browser.models.lock:
        known = shelves.history("What they liked", asked.user)
        hidden = shelves.history("What they liked in test", asked.user, "test")
        lists = [
            browser.shelves(browser.models[key]).recommended(key, asked.user, asked.k)
            for key in asked.keys
        ]
    return page("user", asked, ways=ways, known=known, hidden=hidden, lists=lists)


@views.get("/why")
def why() -> str:
    """Where a score comes from: a page, or with `bare` only what stands in it."""
    browser, asked = Browser.here(), Browser.here().asked()
    item, key = request.args.get("item", ""), request.args.get("system", asked.left)
    with browser.models.lock:
        recommender = browser.models[key]
        told = recommender.why(item, asked.user)
        liked = browser.shelves(recommender).tiles(told.liked)
    return page(
        "why_bare" if "bare" in request.args else "why", asked, told=told, liked=liked,
        parts=bars(told.parts), system=described(recommender.description), key=key,
    )  # fmt: skip


@views.get("/find")
def find() -> str:
    """Items by a word of their title, or by their id."""
    browser, asked = Browser.here(), Browser.here().asked()
    words = request.args.get("words", "")
    rows, total = browser.finder.find(words, FOUND)
    tiles = tuple(map(browser.shelves().tile, rows))
    return page("find", asked, words=words, found=Shelf("Items", tiles, total=total))


@views.get("/item")
def item() -> str:
    """An item: what it holds, and its neighbours by all that tells items apart."""
    browser, asked = Browser.here(), Browser.here().asked()
    any_, item_id = browser.any, request.args.get("item", "")
    if item_id not in any_.items:
        abort(404, f"there is no item {item_id!r}")
    row = any_.items.row(item_id)
    has = [name for name, modality in any_.content.items() if modality.present[row]]
    ways = {"collaboration": "Who likes this one likes", "content": "Alike in all they hold"}
    ways |= {name: f"Alike in {name}" for name in has}
    if len(has) < 2:
        del ways["content"]
    with browser.models.lock:
        near = [
            browser.shelves(r := browser.models[key]).ranked(
                f"Near by {described(r.description)}",
                lambda r=r: r.similar(item_id, NEAR),  # type: ignore[misc]
            )
            for key in asked.keys
        ]
        near += [
            browser.shelves().ranked(
                name,
                lambda by=by: any_.similar(item_id, NEAR, by),  # type: ignore[misc]
            )
            for by, name in ways.items()
        ]
    splits = browser.models.workspace.splits
    liked = {name: int((split.items == row).sum()) for name, split in splits.items()}
    return page(
        "item", asked, item_id=item_id, title=any_.titles[row], texts=browser.media.texts(row),
        files=browser.media.files(row), liked=liked, near=near,
    )  # fmt: skip


@views.route("/new", methods=["GET", "POST"])
def new() -> str:
    """A text or a file as an item that the catalogue does not have: where it lands."""
    browser, asked = Browser.here(), Browser.here().asked()
    if asked.user and asked.user not in browser.any.users:
        raise InputError(f"there is no user {asked.user!r}")
    form = request.form
    given = {"modality": form.get("modality", ""), "text": form.get("text", "")}
    values: dict[str, Any] = {"kinds": browser.encodable, "given": given, "shelves": None}
    if request.method == "GET":
        return page("new", asked, **values)
    modality, any_ = given["modality"], browser.any
    if modality not in browser.encodable:
        valid = ", ".join(browser.encodable) or "none, since all vectors are ready-made"
        raise InputError(f"modality {modality!r} is not valid; valid: {valid}")
    item_id = landing.free_id(any_.items)
    file = request.files.get("file")
    name = "" if browser.encodable[modality] or file is None else file.filename or ""
    with landing.content_of(modality, given["text"], file) as source:
        made, content = landing.encoded(any_.encoders, item_id, modality, source, name)
    shelves, places, refused = [], {}, []
    with browser.models.lock:
        shelves.append(
            browser.shelves().ranked(
                f"Alike in {modality}", lambda: landing.alike(any_, content, NEAR)
            )
        )
        for key in asked.keys:
            recommender = browser.models[key]
            label = described(recommender.description)
            try:
                more = browser.shelves(recommender.with_items([made]))
            except InputError as error:
                refused.append(str(error))
                continue
            shelf, place = landing.landed(more, item_id, asked.user, NEAR, key, f"Near by {label}")
            shelves.append(shelf)
            if place:
                places[label] = place
    values |= {"shelves": shelves, "places": places, "refused": refused, "title": made.title}
    return page("new", asked, **values)


@views.get("/users")
def users() -> dict[str, list[str]]:
    """Ids that have a part, for the search box."""
    return {"users": with_part(Browser.here().any.users, request.args.get("part", ""), 20)}


@views.get("/picture")
def picture() -> Response:
    """An item's image, small."""
    made = Browser.here().media.picture(_row())
    if made is None:
        abort(404, "there is no picture of it")
    headers = {"Cache-Control": "private, max-age=300"}
    return Response(made.jpeg, mimetype="image/jpeg", headers=headers)


@views.get("/media")
def media() -> Response:
    """An item's file."""
    browser, row, modality = Browser.here(), _row(), request.args.get("modality", "")
    try:
        path = browser.media.path(row, modality)
    except MediaError as error:
        abort(404, str(error))
    kind = browser.media.files(row)[modality]
    return send_file(
        path.absolute(), mimetype=kind, as_attachment=kind == OTHER, conditional=True, max_age=300
    )


def _row() -> int:
    items, item_id = Browser.here().any.items, request.args.get("item", "")
    if item_id not in items:
        abort(404, f"there is no item {item_id!r}")
    return items.row(item_id)


def _refused(error: InputError) -> tuple[str, int]:
    return _said(str(error), 400)


def _failed(error: HTTPException) -> tuple[str, int]:
    if isinstance(error, SecurityError):  # of the name that this machine was asked by
        return "this page is asked as 127.0.0.1 or localhost alone", 400
    said = error.description or ""
    if isinstance(error, InternalServerError):
        said = "something went wrong; the terminal says what"
    elif error.code == 413:
        said = f"too large: a file may have {UPLOAD >> 20} MB, a text 10,000 characters"
    return _said(said, error.code or 500)


def _said(sentence: str, code: int) -> tuple[str, int]:
    return render_template("problem.html", sentence=sentence, code=code), code
