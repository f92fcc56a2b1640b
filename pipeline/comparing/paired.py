"""Two models over the same users: differences with their uncertainty, slices, a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.metrics import SELECTION, Measure
from pipeline.common.files import InputError
from pipeline.comparing.sides import Side
from pipeline.evidence.significance import LEVEL, Comparison, compare, detectable
from pipeline.evidence.slices import history_slices, popularity_slices
from pipeline.experiments.results import HEADLINES

FEWEST = 6
"""Users below whom not even equal signs are unlikely: 2 / 2^5 > `LEVEL`."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """A measure of both models over the same users.

    Attributes:
        split, metric: which; `metric` is name@k.
        first, second: means over users.
        less: second - first, with all that says how sure it is.
        detectable: the smallest mean difference that these users would show `POWER` of the time.
    """

    split: str
    metric: str
    first: float
    second: float
    less: Comparison
    detectable: float


@dataclass(frozen=True)
class Found:
    """Of the interactions with a slice's items, the share among the first k of their users' lists.

    Attributes:
        name: of the slice.
        interactions: how many there were to be found.
        first, second: the shares.
    """

    name: str
    interactions: int
    first: float
    second: float


def measures_of(first: Side, second: Side, chosen: str, split: str) -> list[tuple[str, str]]:
    """(split, name@k) of what is compared: `chosen`, then the headlines that both have.

    Raises:
        InputError: one of them was not judged by `chosen` on `split`.
    """
    known = {side: _judged_by(side) for side in (first, second)}
    for side, judged in known.items():
        if split not in judged:
            there = ", ".join(name for name in judged if name in side.splits) or "none"
            raise InputError(f"{side.name}: no user has anything to be found in {split}; "
                             f"splits that can be compared: {there}")  # fmt: skip
        if chosen not in judged[split]:
            raise InputError(f"{side.name}: no {chosen}; every user's values are of "
                             + ", ".join(judged[split]))  # fmt: skip
    headlines = [
        (part, str(Measure(name, SELECTION.k))) for part in HEADLINES for name in HEADLINES[part]
    ]
    both = [
        (part, metric)
        for part, metric in headlines
        if all(metric in judged.get(part, ()) for judged in known.values())
    ]
    return list(dict.fromkeys([(split, chosen), *both]))


def _judged_by(side: Side) -> dict[str, list[str]]:
    """Split → the measures that its users have."""
    columns = side.users.column_names
    metrics = columns[columns.index("relevant") + 1 :]
    return {str(split): metrics for split in side.users["split"].unique().to_pylist()}


def paired(first: Side, second: Side, split: str, metric: str) -> Paired:
    """One measure over all users."""
    return _paired(split, metric, *_values(first, second, split, metric))


def by_history(first: Side, second: Side, split: str, metric: str) -> Iterator[tuple[str, Paired]]:
    """One measure over the users of each slice by training interactions, with the slice's name."""
    ours, theirs = _values(first, second, split, metric)
    users = first.judged(split)["user"].to_numpy()
    history = np.bincount(first.splits["train"][0], minlength=len(first.user_ids))
    for part in history_slices(history):
        members = part.members[users]
        if members.any():
            yield part.name, _paired(split, metric, ours[members], theirs[members])


def by_popularity(first: Side, second: Side, split: str, k: int) -> list[Found]:
    """What of each slice of items the first k hold; slices of which nothing was to be found not."""
    popularity = np.bincount(first.splits["train"][1], minlength=len(first.item_ids))
    found = []
    for part in popularity_slices(popularity):
        members = [part.members[side.splits[split][1]] for side in (first, second)]
        if members[0].any():
            shares = [
                float(side.found(split, k)[those].mean())
                for side, those in zip((first, second), members, strict=True)
            ]
            found.append(Found(part.name, int(members[0].sum()), *shares))
    return found


def verdict(found: Paired, first: str, second: str) -> str:
    """What the measure says of the two, in a sentence."""
    less, what = found.less, f"{found.split} {found.metric}"
    if not (less.gain or less.loss):
        return f"{first} and {second} give each of {less.users:,} users the same {what}."
    if less.users < FEWEST:
        return f"{less.users} users are too few to tell {first} and {second} apart."
    if less.sign_flip >= LEVEL:
        return (
            f"These {less.users:,} users cannot tell {first} and {second} apart by {what} "
            f"(p = {less.sign_flip:.2f}): they would show differences of about "
            f"{found.detectable:.2g} or more, not smaller ones."
        )
    better, sign = (second, 1) if less.difference > 0 else (first, -1)
    low, high = sorted((sign * less.low, sign * less.high))
    return (
        f"{better} is better: {what} is higher by {abs(less.difference):.4f} (95 % interval "
        f"{low:.4f} to {high:.4f}, p = {less.sign_flip:.2g}); it is higher for "
        f"{100 * less.gain:.0f} % of {less.users:,} users under {second}, for "
        f"{100 * less.loss:.0f} % under {first}."
    )


def _values(first: Side, second: Side, split: str, metric: str) -> tuple[Floats, Floats]:
    """(n,) each, of the same users.

    Raises:
        InputError: other users were judged, though there was the same to be found.
    """
    ours, theirs = first.judged(split), second.judged(split)
    if not ours["user"].equals(theirs["user"]):
        raise InputError(f"{first.name} and {second.name}: {split} judged other users in each")
    return ours[metric].to_numpy(), theirs[metric].to_numpy()


def _paired(split: str, metric: str, first: Floats, second: Floats) -> Paired:
    differences = second - first
    (found,) = compare(differences[:, None])
    return Paired(
        split, metric, float(first.mean()), float(second.mean()), found, detectable(differences)
    )
