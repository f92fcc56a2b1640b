"""Maps of item vectors: their two principal components, coloured and marked by label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.linalg import eigh

from pipeline.reporting.svg import (
    INK,
    MARKERS,
    NARROW,
    PALETTE,
    canvas,
    styled,
    svg_of,
)
from pipeline.reporting.table import Table

POINTS = 2000
LABELS = len(PALETTE)
OTHER = "other"
LONGEST = 16  # letters of a label in the key


def coordinates(
    name: str,
    caption: str,
    items: Sequence[str],
    vectors: np.ndarray,
    labels: Sequence[str | None] | None = None,
    seed: int = 0,
) -> Table:
    """The items' places on a map: item_id, label, x, y.

    x and y are the first two principal components in units of x's standard deviation, rounded, so
    that neither the number of threads nor the sign of an eigenvector shows.

    Args:
        vectors: (n, d), finite.
        labels: one an item; of several, joined by `|`, the first counts. None: nobody has any.
        seed: of the choice, where there are more than `POINTS` items.

    Raises:
        ValueError: the lengths differ, or a vector is not finite.
    """
    if not len(items) == len(vectors) == len(items if labels is None else labels):
        raise ValueError(f"{name}: items, vectors and labels differ in number")
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name}: a vector is not finite")
    chosen = np.arange(len(items))
    named = [""] * len(items) if labels is None else [first_of(label) for label in labels]
    if len(items) > POINTS:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, POINTS, replace=False))
    places = np.round(_components(vectors[chosen].astype(np.float64)), 4) + 0.0  # no -0.0
    return Table(
        name,
        caption,
        ("item_id", "label", "x", "y"),
        tuple(
            (str(items[i]), named[i], x, y)
            for i, (x, y) in zip(chosen.tolist(), places.tolist(), strict=True)
        ),
    )


def first_of(label: str | None) -> str:
    """The first of an item's labels; an item without one has the empty text."""
    return (label or "").split("|")[0].strip()


def most_common(labels: Sequence[str]) -> list[str]:
    """The labels that a map tells apart, the most frequent first, equal ones by name."""
    counts = Counter(label for label in labels if label)
    return sorted(counts, key=lambda label: (-counts[label], label))[:LABELS]


@styled
def drawing(table: Table, name: str, shown: Sequence[str] | None = None) -> str:
    """The map of `coordinates`' table; what is not among the labels `shown` is drawn as other.

    Args:
        name: what stands above it.
        shown: at most `LABELS`, so that maps side by side agree; None: this map's most common.
    """
    shown = [
        label
        for label in (most_common(table["label"]) if shown is None else shown)
        if label != OTHER
    ]
    groups: dict[str, list[tuple[float, float]]] = {label: [] for label in (OTHER, *shown)}
    for _, label, x, y in table.rows:
        groups[label if label in groups else OTHER].append((x, y))
    rows = -(-len(groups) // 2) if shown else 0
    figure = canvas(NARROW, 330 + 19 * rows)
    axes = figure.add_subplot()
    axes.set_title(name)
    axes.set(xlabel="first component", ylabel="second component", xticks=[], yticks=[])
    for label, points in groups.items():
        place = shown.index(label) if label != OTHER else None
        axes.plot(
            [x for x, _ in points], [y for _, y in points], linestyle="none", alpha=0.85,
            marker="." if place is None else MARKERS[place], markersize=4.2, markeredgewidth=0,
            color=INK if place is None else PALETTE[place],
            label=label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…",
        )  # fmt: skip
    if shown:
        handles = dict(zip(groups, axes.get_lines(), strict=True))
        kept = [handles[label] for label in (*shown, OTHER) if groups[label]]
        figure.legend(handles=kept, loc="outside lower center", ncols=2, markerscale=1.5)
    return svg_of(figure)


def _components(x: np.ndarray) -> np.ndarray:
    """The first two principal components of x (n, d) float64, (n, 2); those it lacks are zero."""
    n, d = x.shape
    found = np.zeros((n, 2))
    if n < 2 or d < 1:
        return found
    x = x - x.mean(0)
    kept = min(2, n, d)
    if n < d:  # the smaller of the two problems
        squares, u = eigh(x @ x.T, subset_by_index=(n - kept, n - 1))
        scores = u * np.sqrt(squares.clip(min=0))
    else:
        _, v = eigh(x.T @ x, subset_by_index=(d - kept, d - 1))
        scores = x @ v
    scores = scores[:, ::-1]
    scale = scores[:, 0].std()
    if scale > 1e-12 * np.abs(x).max(initial=0):
        scores = scores / scale
        farthest = np.abs(scores).round(6).argmax(0)
        found[:, :kept] = scores * np.sign(scores[farthest, range(kept)])
    return found
