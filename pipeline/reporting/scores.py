"""The numbers of a study, looked up by what they are of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from model.config import REFIT
from model.metrics import KS, SELECTION, Measure
from pipeline.experiments.results import Row
from pipeline.experiments.selection import selected_depth
from pipeline.reporting.estimates import Estimate, estimate

BASELINE = "none"
"""What gains are counted from."""


@dataclass(frozen=True)
class Setting:
    """A system at one depth, under a control or none."""

    system: str
    layers: int | None
    control: str | None = None

    def under(self, control: str) -> Setting:
        """The same with one thing changed."""
        return Setting(self.system, self.layers, control)


_Key = tuple[str, str | None, int | None, str, Measure]


class Scores:
    """Every number of a study by system, depth, split, measure and seed.

    Args:
        results: rows as `pipeline.experiments.results.Study` holds them.

    Attributes:
        depths: system → its depths, both in the order of the study; a system that reads no
            `layers` has the depth None.
        controls: system → the controls that it was studied under.
        ks: the cut-offs that the catalogue allows.
        split: the one that is compared: test, or validation where the data have no test split.
        refitted: whether there are numbers of one more fit (`protocol: refit`), split `refit`.
    """

    def __init__(self, results: Iterable[Row]) -> None:
        self._values: dict[_Key, dict[int | None, float]] = {}
        self.depths: dict[str, list[int | None]] = {}
        self.controls: dict[str, list[str]] = {}
        for row in results:
            system, control, layers = row["system"], row["control"], row["layers"]
            measure = Measure(row["metric"], row["k"])
            by_seed = self._values.setdefault((system, control, layers, row["split"], measure), {})
            by_seed[row["seed"]] = row["value"]
            found: list[Any]
            if control is None:
                found, one = self.depths.setdefault(system, []), layers
            else:
                found, one = self.controls.setdefault(system, []), control
            if one not in found:
                found.append(one)
        splits = {split for _, _, _, split, _ in self._values}
        ks = {measure.k for _, _, _, _, measure in self._values}
        self.ks = tuple(k for k in KS if k in ks)
        self.split = "test" if "test" in splits else "validation"
        self.validated = "validation" in splits
        self.refitted = REFIT in splits

    def by_seed(
        self,
        system: str,
        layers: int | None,
        measure: Measure = SELECTION,
        split: str | None = None,
        control: str | None = None,
    ) -> dict[int | None, float]:
        """The values by seed, on the compared split unless another is named.

        A system that reads no seed has one value, under None; what was not studied has none.
        """
        return self._values.get((system, control, layers, split or self.split, measure), {})

    def estimate(
        self,
        system: str,
        layers: int | None,
        measure: Measure = SELECTION,
        split: str | None = None,
        control: str | None = None,
    ) -> Estimate | None:
        """Their mean and interval, or None where there is no value."""
        values = self.by_seed(system, layers, measure, split, control)
        return estimate(list(values.values())) if values else None

    def paired(self, mine: Setting, other: Setting) -> Estimate | None:
        """NDCG@10 of one less that of another, paired by seed; None where there is no pair.

        A value without a seed is paired with every seed of the other side.
        """
        a, b = (self.by_seed(s.system, s.layers, control=s.control) for s in (mine, other))
        if None in a:
            a = dict.fromkeys(b, a[None])
        if None in b:
            b = dict.fromkeys(a, b[None])
        pairs = [value - b[seed] for seed, value in a.items() if seed in b]
        return estimate(pairs) if pairs else None

    def selected(self) -> dict[str, int | None]:
        """Each system's depth by `selected_depth`."""
        return {
            system: selected_depth(
                {
                    layers: list(self.by_seed(system, layers, split="validation").values())
                    for layers in depths
                }
            )
            for system, depths in self.depths.items()
        }
