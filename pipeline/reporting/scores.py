"""The numbers of a study, looked up by what they are of."""

from __future__ import annotations

from collections.abc import Iterable

from model.metrics import SELECTION, Measure
from pipeline.experiments.results import Row
from pipeline.reporting.estimates import Estimate, estimate

BASELINE = "none"
"""What gains are counted from."""


class Scores:
    """Every number of a study by system, depth, split, measure and seed.

    Args:
        results: rows as `pipeline.experiments.results.Study` holds them.

    Attributes:
        depths: system → its depths, both in the order of the study; a system that reads no
            `layers` has the depth None.
        split: the one that is compared: test, or validation where the data have no test split.
    """

    def __init__(self, results: Iterable[Row]) -> None:
        self._values: dict[tuple[str, int | None, str, Measure], dict[int | None, float]] = {}
        self.depths: dict[str, list[int | None]] = {}
        for row in results:
            system, layers, measure = row["system"], row["layers"], Measure(row["metric"], row["k"])
            by_seed = self._values.setdefault((system, layers, row["split"], measure), {})
            by_seed[row["seed"]] = row["value"]
            depths = self.depths.setdefault(system, [])
            if layers not in depths:
                depths.append(layers)
        splits = {split for _, _, split, _ in self._values}
        self.split = "test" if "test" in splits else "validation"
        self.validated = "validation" in splits

    def by_seed(
        self,
        system: str,
        layers: int | None,
        measure: Measure = SELECTION,
        split: str | None = None,
    ) -> dict[int | None, float]:
        """The values by seed, on the compared split unless another is named.

        A system that reads no seed has one value, under None; what was not studied has none.
        """
        return self._values.get((system, layers, split or self.split, measure), {})

    def estimate(
        self,
        system: str,
        layers: int | None,
        measure: Measure = SELECTION,
        split: str | None = None,
    ) -> Estimate | None:
        """Their mean and interval, or None where there is no value."""
        values = self.by_seed(system, layers, measure, split)
        return estimate(list(values.values())) if values else None

    def gain(self, system: str, layers: int | None, base_layers: int | None) -> Estimate | None:
        """NDCG@10 less that of `BASELINE`, paired by seed; None where there is no pair.

        A value without a seed is paired with every seed of the other side.
        """
        mine, base = self.by_seed(system, layers), self.by_seed(BASELINE, base_layers)
        if None in mine:
            mine = dict.fromkeys(base, mine[None])
        if None in base:
            base = dict.fromkeys(mine, base[None])
        pairs = [value - base[seed] for seed, value in mine.items() if seed in base]
        return estimate(pairs) if pairs else None

    def select(self, default: int) -> dict[str, int | None]:
        """Each system's depth with the highest mean validation NDCG@10, the smaller one if tied.

        Without a validation split nothing can be selected: `default`, or a system's smallest depth
        if it was not fitted with `default`. A system that reads no depth has None.
        """
        return {system: self._select(system, default) for system in self.depths}

    def _select(self, system: str, default: int) -> int | None:
        depths = sorted(k for k in self.depths[system] if k is not None)
        if not depths:
            return None
        if not self.validated:
            return default if default in depths else depths[0]

        def validation(layers: int) -> float:
            found = self.estimate(system, layers, split="validation")
            return found.mean if found else float("-inf")

        return max(depths, key=validation)  # the first of equals, so the smaller one
