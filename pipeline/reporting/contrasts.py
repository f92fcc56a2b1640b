"""Systems against one another, paired by user: what may be said of a difference, and what not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from model.controls import AGGREGATE, CONTROLS
from model.metrics import Measure
from pipeline.evidence.significance import LEVEL, Comparison, Interval, compare, detectable
from pipeline.experiments.results import Row
from pipeline.reporting.estimates import Estimate, estimate
from pipeline.reporting.judgements import Judgements, Values
from pipeline.reporting.scores import BASELINE, Scores, Setting
from pipeline.reporting.table import SELECTED_BY, Table

DIFFERENCE = "difference (users)"
MARKS = 2_000  # resamples behind a column's bold type


@dataclass(frozen=True)
class Contrast:
    """One system less another, over the same users.

    Attributes:
        setting, other: which.
        mean, other_mean: their NDCG@10, over users and seeds.
        users: the comparison over users, each the mean over seeds.
        seeds: the difference over seeds, each the mean over users; None without pairs of seeds.
        limited: whether a fit of either ended at its limit of epochs.
        detectable: the difference that its family would find four times in five.
    """

    setting: Setting
    other: Setting
    mean: float
    other_mean: float
    users: Comparison
    seeds: Estimate | None
    limited: bool
    detectable: float

    @property
    def difference(self) -> Interval:
        """With its interval over users."""
        return self.users.interval

    @property
    def verdict(self) -> str:
        """`higher` or `lower` if both users and seeds tell, else `undecided` or `limited`.

        Of a placebo, a single seed tells nothing.

        Users tell if the sign-flip test does, Holm-corrected over its family; seeds, where there
        are several, if their interval excludes zero.
        """
        if self.limited:
            return "limited"
        # One shuffle is shared by all users, who then are no evidence about others.
        if self.other.control == "placebo" and (self.seeds is None or self.seeds.half is None):
            return "undecided"
        return verdict_of(self.users, self.seeds)


def verdict_of(users: Comparison, seeds: Estimate | None) -> str:
    """`higher` or `lower` if users and seeds tell, else `undecided`."""
    if users.adjusted >= LEVEL:
        return "undecided"
    higher = users.difference > 0
    if seeds and seeds.half is not None and not (seeds.low > 0 if higher else seeds.high < 0):
        return "undecided"
    return "higher" if higher else "lower"


class Evidence:
    """All comparisons of a study that its report speaks of.

    Args:
        scores: the study's means.
        judgements: its users, of the split that `scores` compares.
        models: rows as `pipeline.experiments.results.Study` holds them.
    """

    def __init__(self, scores: Scores, judgements: Judgements, models: Sequence[Row]) -> None:
        self.scores, self.judgements = scores, judgements
        self.selected = {s: Setting(s, layers) for s, layers in scores.selected().items()}
        self._limited = {
            Setting(row["system"], row["layers"], row["control"])
            for row in models
            if row["limited"]
        }

    def limited(self, setting: Setting) -> bool:
        """Whether a fit of it ended at its limit of epochs."""
        return setting in self._limited

    def family(self, pairs: Sequence[tuple[Setting, Setting]]) -> list[Contrast]:
        """Each first less its second; Holm corrects over all of them."""
        if not pairs:
            return []
        values = {setting: self.judgements.values(setting) for pair in pairs for setting in pair}
        less = [values[a] - values[b] for a, b in pairs]
        found = compare(np.stack(less, axis=1))
        return [
            Contrast(
                a, b, float(values[a].mean()), float(values[b].mean()), comparison,
                self.scores.paired(a, b), self.limited(a) or self.limited(b),
                detectable(differences, LEVEL / len(pairs)),
            )
            for (a, b), comparison, differences in zip(pairs, found, less, strict=True)
        ]  # fmt: skip

    def against(self, baseline: str) -> list[Contrast]:
        """All other systems less one, at their selected depths."""
        base = self.selected.get(baseline)
        others = [setting for system, setting in self.selected.items() if system != baseline]
        return self.family([(setting, base) for setting in others]) if base else []

    def under(self, control: str) -> list[Contrast]:
        """Every system that was studied under a control, less itself under it."""
        return self.family(
            [
                (setting, setting.under(control))
                for system, setting in self.selected.items()
                if control in self.scores.controls.get(system, ())
            ]
        )

    def gaps(
        self, systems: Sequence[str], depths: tuple[int, int]
    ) -> tuple[tuple[float, float], str, float]:
        """How much `systems` are above `none` on average, at two depths.

        Returns:
            Both means; the verdict on the first less the second, and its p over users.
        """

        def users(k: int) -> Values:
            values, base = self.judgements.values, self.judgements.values(Setting(BASELINE, k))
            return np.mean([values(Setting(s, k)) - base for s in systems], axis=0)

        def seeds(k: int) -> dict[int | None, float]:
            base, each = (
                self.scores.by_seed(BASELINE, k),
                [self.scores.by_seed(s, k) for s in systems],
            )
            return {
                s: fmean(of[s] for of in each) - base[s]
                for s in base
                if all(s in of for of in each)
            }

        first, last = map(users, depths)
        (found,) = compare((first - last)[:, None])
        by_seed = [seeds(k) for k in depths]
        pairs = [value - by_seed[1][s] for s, value in by_seed[0].items() if s in by_seed[1]]
        means = float(first.mean()), float(last.mean())
        return means, verdict_of(found, estimate(pairs) if pairs else None), found.adjusted

    def best(self, measure: Measure) -> set[str]:
        """The system of the highest mean, and those that users do not tell from it."""
        values = {
            s: self.judgements.values(setting, measure) for s, setting in self.selected.items()
        }
        highest = max(values, key=lambda system: float(values[system].mean()))
        others = [system for system in values if system != highest]
        if not others:
            return set()
        less = np.stack([values[highest] - values[system] for system in others], axis=1)
        found = zip(others, compare(less, resamples=MARKS), strict=True)
        return {highest} | {system for system, one in found if one.adjusted >= LEVEL}


def contrasts_table(
    name: str, caption: str, other: str, contrasts: Sequence[Contrast]
) -> Table | None:
    """A row a comparison, with all that its verdict rests on.

    Args:
        other: what the second sides are called.
    """
    if not contrasts:
        return None
    return Table(
        name,
        caption,
        (
            "system", "verdict", "layers", SELECTED_BY, other, DIFFERENCE, "difference (seeds)",
            "p, Holm", "p, sign flips", "p, t", "d_z", "users who gain", "users who lose",
        ),
        tuple(
            (
                c.setting.system, c.verdict, c.setting.layers, c.mean, c.other_mean, c.difference,
                c.seeds, c.users.adjusted, c.users.sign_flip, c.users.t, c.users.effect,
                c.users.gain, c.users.loss,
            )
            for c in contrasts
        ),
        signed=frozenset({DIFFERENCE, "difference (seeds)", "d_z"}),
    )  # fmt: skip


def ablations_table(evidence: Evidence, aggregate: str) -> Table | None:
    """Systems with parts left out, or with another function than `aggregate`, less themselves."""
    rows = []
    for system, setting in evidence.selected.items():
        known = {*CONTROLS, AGGREGATE + aggregate}
        names = [c for c in evidence.scores.controls.get(system, ()) if c not in known]
        for c in evidence.family([(setting.under(name), setting) for name in names]):
            changed = (c.setting.control or "").replace("_", " ")
            rows.append(
                (system, setting.layers, changed, c.mean, c.difference, c.seeds, c.users.adjusted,
                 c.verdict)
            )  # fmt: skip
    if not rows:
        return None
    seeds = "difference (seeds)"
    return Table(
        "ablations",
        f"{evidence.scores.split.capitalize()} {SELECTED_BY} with one thing changed, and less that "
        "of the system itself; Holm-corrected over a system's rows",
        ("system", "layers", "changed", SELECTED_BY, DIFFERENCE, seeds, "p, Holm", "verdict"),
        tuple(rows),
        signed=frozenset({DIFFERENCE, seeds}),
    )


def by_system(contrasts: Sequence[Contrast]) -> Mapping[str, Contrast]:
    """Looked up by the first side's name."""
    return {contrast.setting.system: contrast for contrast in contrasts}
