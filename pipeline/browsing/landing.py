"""A new item from a text or a file: among which items it lands."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import ServiceUnavailable

from encoders import encoders_of, takes_text
from model.dataset import Modality
from model.ranking import rank
from pipeline.browsing.shelves import Bar, Shelf, Shelves, bars
from pipeline.common.files import InputError
from pipeline.recommending import NewItem, Recommendation, Recommender
from pipeline.recommending.ids import Ids
from pipeline.recommending.new_items import ContentEncoders, joined
from pipeline.recommending.similarity import by_content, unit_vectors

CHARACTERS = 10_000  # of a text, at most
PATIENCE = 5.0  # seconds that a request waits while another item is encoded

_encoding = threading.Lock()  # one item at a time: weights are loaded once, memory is bounded


@dataclass(frozen=True)
class Place:
    """Where a system ranks a new item for a user.

    Attributes:
        rank: from 1, of `among` items that may be recommended to them.
        parts: of its score.
    """

    rank: int
    among: int
    score: float
    parts: list[Bar]


def encodable(encoders: ContentEncoders) -> dict[str, bool]:
    """Modality → whether it is typed, of those that a new item can be encoded in."""
    found = {}
    for modality in encoders.workspace.modalities:
        if encoders.metadata(modality).get("encoder") in encoders_of(modality):
            found[modality] = takes_text(modality)
    return found


def free_id(items: Ids) -> str:
    """An id that the catalogue does not have."""
    name = "a new item"
    while name in items:
        name += "'"
    return name


@contextmanager
def content_of(modality: str, text: str, file: FileStorage | None) -> Iterator[str | Path]:
    """What was typed, or a copy of the file that was sent, for as long as the block runs.

    Raises:
        InputError: nothing was sent, or a text that is too long.
    """
    if takes_text(modality):
        if not text.strip():
            raise InputError("the text is empty; type one")
        if len(text) > CHARACTERS:
            raise InputError(f"the text has {len(text):,} characters; at most {CHARACTERS:,} are")
        yield text
        return
    if file is None or not file.filename:
        raise InputError(f"no file was sent; choose one of {modality}")
    with tempfile.TemporaryDirectory(prefix="browse-") as folder:
        path = Path(folder) / "file"  # what it was called does not matter
        file.save(path)
        yield path


def encoded(
    encoders: ContentEncoders, item_id: str, modality: str, source: str | Path, name: str
) -> tuple[NewItem, list[Modality]]:
    """A new item with its vector in place of its content, so that it is encoded once; and that.

    Raises:
        InputError: it cannot be read, or encoded.
        ServiceUnavailable: others are being encoded.
    """
    raw = NewItem(item_id, {modality: source}, name)
    if not _encoding.acquire(timeout=PATIENCE):
        raise ServiceUnavailable("another new item is being encoded; try again in a moment")
    try:
        content = encoders.encode([raw])
    finally:
        _encoding.release()
    return NewItem(item_id, {modality: content[0].vectors[0].numpy()}, raw.shown), content


def alike(recommender: Recommender, content: Sequence[Modality], k: int) -> list[Recommendation]:
    """The items of the catalogue whose content is most like a new one's, whatever the system."""
    names = {modality.name for modality in content}
    whole = joined(lambda: list(recommender.content.values()), content)
    n, device = len(recommender.items), recommender.device
    scorer = by_content([unit_vectors(m, device) for m in whole if m.name in names])
    allowed = torch.arange(n + 1, device=device) < n
    with torch.inference_mode():
        one = torch.tensor([n], device=device)
        best, scores = rank(scorer, one, k, allowed=allowed)
    pairs = zip(best[0].tolist(), scores[0].tolist(), strict=True)
    return [
        Recommendation(recommender.items[row], recommender.titles[row], score)
        for row, score in pairs
        if row >= 0
    ]


def place_of(recommender: Recommender, item_id: str, user: str) -> Place:
    """Where an item stands in a user's whole list."""
    [(_, ranked, _)] = recommender.ranked([user], len(recommender.items))
    listed = ranked[0][ranked[0] >= 0]
    row = recommender.items.row(item_id)
    why = recommender.why(user, item_id)
    position = int((listed == row).nonzero()[0, 0]) + 1
    return Place(position, len(listed), why.item.score, bars(why.parts))


def landed(
    shelves: Shelves, item_id: str, user: str, k: int, key: str, name: str
) -> tuple[Shelf, Place | None]:
    """A new item's neighbours by a system that took it, and its place in a user's list."""
    r = shelves.recommender
    place = place_of(r, item_id, user) if user else None
    return shelves.ranked(name, lambda: r.similar(item_id, k), key=key), place
