"""Parameters sought by validation: from a start, step by step, as long as it gains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

Point = dict[str, float]
"""Parameter → value."""


def climbed(
    start: Mapping[str, float], factors: Mapping[str, float], value: Callable[[Point], float]
) -> Point:
    """The point from which no single step gains.

    A step multiplies or divides one parameter by its factor, an integer to another one, at least 1;
    a factor of 0 turns one that is 0 or 1 off or on. Of the steps from a point the first that gains
    is taken; no point is asked for twice.

    Args:
        start: all parameters.
        factors: of those that are sought; the others stay.
        value: of a point, the higher the better.
    """
    here = dict(start)
    best, seen = value(here), [here]
    gains = True
    while gains:
        gains = False
        for there in _steps(here, factors):
            if there in seen:
                continue
            seen.append(there)
            if (found := value(there)) > best:
                here, best, gains = there, found, True
                break
    return here


def _steps(here: Point, factors: Mapping[str, float]) -> Iterator[Point]:
    for name, factor in factors.items():
        value = here[name]
        others = [value * factor, value / factor] if factor else [1 - value]
        if factor and isinstance(value, int):
            others = [max(1, round(other)) for other in others]
        for other in others:
            yield here | {name: other}
