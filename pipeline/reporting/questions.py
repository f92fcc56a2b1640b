"""The paper's three questions, and which comparisons answer them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.reporting.contrasts import Contrast, Evidence
from pipeline.reporting.inputs import Inputs
from pipeline.reporting.scores import BASELINE, Setting

OTHERS = ("vbpr", "mmgcn", "lattice", "blend", "contentknn", "ease")
"""Systems with content that the paper's are compared with (RQ3)."""


@dataclass(frozen=True)
class Questions:
    """The comparisons that answer the paper's questions.

    Attributes:
        preferred: the system of the best validation NDCG@10, or None without a validation split.
        content: the best with content.
        baseline: all others less `none`.
        placebo, no_content, unit_length: systems less themselves under that control.
        beside_preferred, beside_content: all others less that one.
    """

    preferred: Setting | None
    content: Setting | None
    baseline: list[Contrast]
    placebo: list[Contrast]
    no_content: list[Contrast]
    unit_length: list[Contrast]
    beside_preferred: list[Contrast]
    beside_content: list[Contrast]

    @classmethod
    def of(cls, inputs: Inputs, evidence: Evidence) -> Questions:
        """Every comparison, each family corrected for its own size."""
        with_content = [s for s in evidence.selected if inputs.reads_content(s)]
        preferred = preferred_of(evidence, list(evidence.selected))
        content = preferred_of(evidence, with_content)
        return cls(
            preferred,
            content,
            evidence.against(BASELINE),
            evidence.under("placebo"),
            evidence.under("no_content"),
            evidence.under("unit_length"),
            evidence.against(preferred.system) if preferred else [],
            evidence.against(content.system) if content else [],
        )


def preferred_of(evidence: Evidence, systems: Sequence[str]) -> Setting | None:
    """The one that validation prefers; one whose fits ended at their limit does not count."""

    def validation(system: str) -> float:
        setting = evidence.selected[system]
        found = evidence.scores.estimate(system, setting.layers, split="validation")
        return found.mean if found else float("-inf")

    able = [s for s in systems if not evidence.limited(evidence.selected[s])]
    if not able or not evidence.scores.validated:
        return None
    return evidence.selected[max(able, key=validation)]
