"""Recommendations as plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.catalogue.titles import clipped
from pipeline.recommending.answers import Explanation, Recommendation
from pipeline.recommending.recommender import Recommender

WIDTH = 48  # of a title
SHOWN = 8  # titles of a history


def of_user(
    recommender: Recommender,
    name: str,
    history: Sequence[str],
    picks: Sequence[Recommendation],
    why: Sequence[Explanation] = (),
) -> Iterator[str]:
    """Who it is, what they liked, and a line a recommendation.

    Args:
        why: of every recommendation, if that is to be said.
    """
    titles = "; ".join(clipped(recommender.title(item), WIDTH) for item in history[:SHOWN])
    more = f"; and {len(history) - SHOWN} more" if len(history) > SHOWN else ""
    yield f"{name}, who liked {titles}{more}" if history else f"{name}, of whom nothing is known"
    yield from listed(picks, why)


def listed(picks: Sequence[Recommendation], why: Sequence[Explanation] = ()) -> Iterator[str]:
    """A line an item: place, score, title, id; below it, where the score comes from."""
    if not picks:
        yield "  nothing may be shown"
    ids = max((len(pick.item_id) for pick in picks), default=0)
    for place, pick in enumerate(picks, 1):
        title = "" if pick.title == pick.item_id else clipped(pick.title, WIDTH)
        yield f"{place:4}  {pick.score:10.4f}  {pick.item_id:{ids}}  {title}".rstrip()
        if why:
            yield f"      {'':10}  {'':{ids}}  {explained(why[place - 1])}".rstrip()


def explained(why: Explanation) -> str:
    """The terms of a score, and the liked items that carry it, in one line."""
    said = []
    if len(why.parts) > 1:
        shares = {name: share for name, share in why.shares.items() if share}
        said.append(", ".join(f"{share:.0%} {name}" for name, share in shares.items()))
    if why.liked:
        carried = (f"{clipped(one.title, WIDTH)} {one.score:+.4f}" for one in why.liked)
        said.append("liked: " + ", ".join(carried))
    return "; ".join(said) or "the system cannot tell"
