"""What an address shows."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from flask import Blueprint, Response, abort, render_template, request, send_file, url_for

from encoders.media import MediaError
from pipeline.browsing import landing
from pipeline.browsing.asking import MOST, Asked, Browser
from pipeline.browsing.finding import LONGEST, with_part
from pipeline.browsing.media import OTHER
from pipeline.browsing.models import described
from pipeline.browsing.shelves import Shelf, bars
from pipeline.common.files import InputError

NEAR = 8  # neighbours of an item
FOUND = 40  # what a search shows
LIMITS = {"found": FOUND, "k": MOST, "words": LONGEST, "text": landing.CHARACTERS}  # for templates

views = Blueprint("views", __name__)


@views.app_template_global()
def to(asked: Asked, view: str, **changes: Any) -> str:
    """The address of a view that goes on with what is looked at."""
    return url_for(f"views.{view}", **asdict(asked) | changes)


def page(template: str, asked: Asked, **values: Any) -> str:
    """A template with what all of them need."""
    browser = Browser.here()
    shared = {"labels": browser.models.labels, "pictured": browser.media.pictured, "most": LIMITS}
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
        told = recommender.why(asked.user, item)
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
    ways = {"collaboration": "Liked by the same users", "content": "Alike in all they hold"}
    ways |= {name: f"Alike in {name}" for name in has}
    if len(has) < 2:
        del ways["content"]
    with browser.models.lock:
        near = []
        for key in asked.keys:
            r = browser.models[key]
            name = f"Neighbours by {described(r.description)}"
            near.append(browser.shelves(r).ranked(name, partial(r.similar, item_id, NEAR)))
        for by, name in ways.items():
            near.append(browser.shelves().ranked(name, partial(any_.similar, item_id, NEAR, by)))
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
            shelf, place = landing.landed(
                more, item_id, asked.user, NEAR, key, f"Neighbours by {label}"
            )
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
