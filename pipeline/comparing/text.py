"""A comparison as plain text of at most `WIDTH` columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from model.metrics import Measure
from pipeline.comparing.paired import (
    Found,
    Paired,
    by_history,
    by_popularity,
    measures_of,
    paired,
    verdict,
)
from pipeline.comparing.sides import Side, aligned

WIDTH = 100
INTERVAL = "95 % interval"
NOTE = (
    "Interval: BCa bootstrap over users. p: paired t-test and sign-flip randomisation, not "
    "corrected. d_z: mean / standard deviation of the differences. gain, loss: users with a higher "
    "and a lower value under B."
)
ONE_SEED = "Each is one fit: what another seed would give is for a study to say."


def described(first: Side, second: Side, measure: Measure, split: str) -> Iterator[str]:
    """The lines of a comparison: what is compared, its figures, users, slices, the verdict.

    Raises:
        InputError: as `aligned` and `measures_of`.
    """
    second = aligned(first, second)
    measures = measures_of(first, second, str(measure), split)
    for letter, side in zip("AB", (first, second), strict=True):
        yield _short(f"{letter}  {side.name}: {side.label}")
    about = f"Of {first.summary['dataset']}, split {first.summary['split']}"
    yield from textwrap.wrap(about, WIDTH)
    yield ""
    yield from _lines(_figures(first.metrics, second.metrics))
    found = [paired(first, second, *one) for one in measures]
    yield from ("", "Over users, B - A")
    yield from _lines(_over_users(found))
    yield from textwrap.wrap(NOTE, WIDTH)
    yield from ("", f"{split} {measure}, of users by their training interactions")
    yield from _lines(_users_slices(by_history(first, second, split, str(measure))))
    yield from ("", f"Share of the {split} interactions that the first {measure.k} hold, by item")
    yield from _lines(_items_slices(by_popularity(first, second, split, measure.k)))
    yield ""
    yield from textwrap.wrap(f"{verdict(found[0], 'A', 'B')} {ONE_SEED}", WIDTH)


def _figures(first: dict[str, Any], second: dict[str, Any]) -> Iterator[Sequence[str]]:
    """What `dvc metrics diff` shows, under the catalogue that both are of."""
    yield "", "A", "B", "B - A"
    a, b = dict(_flat(first)), dict(_flat(second))
    for name in dict.fromkeys([*a, *b]):
        values = [side.get(name) for side in (a, b)]
        shown = ["-" if value is None else f"{value:.5f}" for value in values]
        change = "-" if None in values else f"{b[name] - a[name]:+.5f}"
        yield name, *shown, change


def _flat(metrics: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for splits in metrics.values():
        for split, numbers in splits.items():
            for name, value in numbers.items():
                yield f"{split} {name}", value


def _over_users(found: Sequence[Paired]) -> Iterator[Sequence[str]]:
    yield "", "users", "B - A", INTERVAL, "p, t", "p, flips", "d_z", "gain", "loss"
    for one in found:
        less = one.less
        yield (
            f"{one.split} {one.metric}", f"{less.users:,}", *_difference(one), _p(less.t),
            _p(less.sign_flip), "-" if less.effect is None else f"{less.effect:+.2f}",
            f"{less.gain:.0%}", f"{less.loss:.0%}",
        )  # fmt: skip


def _users_slices(slices: Iterator[tuple[str, Paired]]) -> Iterator[Sequence[str]]:
    yield "", "users", "A", "B", "B - A", INTERVAL, "gain", "loss"
    for name, one in slices:
        less = one.less
        yield (
            name, f"{less.users:,}", f"{one.first:.4f}", f"{one.second:.4f}", *_difference(one),
            f"{less.gain:.0%}", f"{less.loss:.0%}",
        )  # fmt: skip


def _items_slices(slices: Sequence[Found]) -> Iterator[Sequence[str]]:
    yield "", "interactions", "A", "B", "B - A"
    for one in slices:
        shares = f"{one.first:.4f}", f"{one.second:.4f}", f"{one.second - one.first:+.4f}"
        yield one.name, f"{one.interactions:,}", *shares


def _difference(one: Paired) -> tuple[str, str]:
    less = one.less
    return f"{less.difference:+.4f}", f"{less.low:+.4f} to {less.high:+.4f}"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "<0.0001"


def _lines(rows: Iterator[Sequence[str]]) -> Iterator[str]:
    """Rows with their columns aligned: names to the left, numbers to the right."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for name, *cells in table:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        yield "  ".join([name.ljust(widths[0]), *numbers]).rstrip()


def _short(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"
