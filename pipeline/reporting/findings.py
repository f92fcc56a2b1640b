"""Sentences that follow from the tables, each with the test and the figures it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np

from pipeline.evidence.significance import compare
from pipeline.reporting.contrasts import LEVEL, Contrast, Evidence, by_system
from pipeline.reporting.descriptions import is_random
from pipeline.reporting.inputs import Inputs
from pipeline.reporting.questions import OTHERS, Questions
from pipeline.reporting.scores import BASELINE, Setting
from pipeline.reporting.table import SELECTED_BY, Table, at_depth


def findings(
    inputs: Inputs, evidence: Evidence | None, questions: Questions | None, alpha: Table | None
) -> list[str]:
    """What the report says first."""
    if evidence is None or questions is None:
        nothing = (
            "The catalogue has neither test nor validation interactions: nothing was evaluated."
        )
        return [nothing, *_caveats(inputs)]
    return [
        *_what_to_use(evidence, questions),
        *_does_content_help(inputs, questions),
        *_which_architecture(inputs, questions),
        *_against_baselines(inputs, questions),
        *_magnitude(questions),
        *_depth(inputs, evidence),
        *_balance(alpha, evidence),
        *_undecided(evidence, questions),
        *_caveats(inputs),
    ]


def _what_to_use(evidence: Evidence, questions: Questions) -> Iterator[str]:
    chosen, scores = questions.preferred, evidence.scores
    if chosen is None:
        yield (
            "Every system has a fit that ended at its limit of epochs, so none is recommended."
            if scores.validated
            else "Without a validation split nothing is selected, so no system is recommended."
        )
        return
    depth = "" if chosen.layers is None else f" -S layers={chosen.layers}"
    validation = scores.estimate(chosen.system, chosen.layers, split="validation")
    assert validation is not None  # it was chosen by that
    values = {
        s: float(evidence.judgements.values(one).mean()) for s, one in evidence.selected.items()
    }
    place = 1 + sum(value > values[chosen.system] for value in values.values())
    yield (
        f"What to use: {called(chosen)}, which validation prefers of {len(values)} systems "
        f"(validation {SELECTED_BY} {validation.mean:.4f}): "
        f"`dvc exp run -S fusion={chosen.system}{depth}`. "
        f"Its {scores.split} {SELECTED_BY} is {values[chosen.system]:.4f}, "
        + ("the highest." if place == 1 else f"number {place} of {len(values)}.")
    )


def _does_content_help(inputs: Inputs, questions: Questions) -> Iterator[str]:
    asked = "Does content help (RQ1)?"
    base = [c for c in questions.baseline if inputs.reads_content(c.setting.system)]
    if not base or questions.content is None:
        yield (
            f"{asked} The study does not say: that needs `{BASELINE}`, a system with content whose "
            "fits end before their limit of epochs, and a validation split."
        )
        return
    against = f"Against `{BASELINE}`: {_tally(base)}."
    name = questions.content.system
    placebo = by_system(questions.placebo).get(name)
    if placebo is None:
        yield (
            f"{asked} Without a placebo it cannot be told whether a gain is content "
            f"(`study.controls`). {against}"
        )
        return
    conclusion = _conclusion(by_system(base)[name].verdict, placebo.verdict)
    yield (
        f"{asked} Of {called(questions.content)}, the best with content on validation: "
        f"{conclusion}. {against} Against a placebo, the same content shuffled among the items: "
        f"{_tally(questions.placebo)}."
    )


def _conclusion(base: str, placebo: str) -> str:
    match base, placebo:
        case ("limited", _) | (_, "limited"):
            return "nothing is said, since a fit ended at its limit of epochs"
        case "higher", "higher":
            return "it gains, and what it gains is content"
        case "higher", _:
            return f"it gains over `{BASELINE}`, but not over its placebo: that gain is not content"
        case "lower", "higher":
            return f"its content is worth something, but it is worse than `{BASELINE}`"
        case "lower", _:
            return f"it is worse than `{BASELINE}`"
        case _, "higher":
            return (
                "its content is worth something, but whether that is more than "
                f"`{BASELINE}` has without any, these users do not tell"
            )
        case _:
            return "no gain by content that these users and seeds can show"


def _which_architecture(inputs: Inputs, questions: Questions) -> Iterator[str]:
    rivals = [
        c
        for c in questions.rivals
        if inputs.reads_content(c.setting.system) and c.setting.system not in OTHERS
    ]
    if rivals and questions.content:
        yield (
            "Which architecture is best (RQ2)? Validation prefers "
            f"{called(questions.content)}. Beside it: {_tally(rivals)}."
        )


def _against_baselines(inputs: Inputs, questions: Questions) -> Iterator[str]:
    rivals = [
        c
        for c in questions.rivals
        if not inputs.reads_content(c.setting.system) or c.setting.system in OTHERS
    ]
    if rivals and questions.content:
        yield (
            "How does it do against baselines and closed forms (RQ3)? Beside "
            f"{called(questions.content)}: {_tally(rivals)}."
        )


def _magnitude(questions: Questions) -> Iterator[str]:
    if questions.unit_length:
        yield (
            "Is it direction or length? Against themselves with items as long as their "
            "collaborative embeddings, which content can only turn: "
            f"{_tally(questions.unit_length)}."
        )


def _depth(inputs: Inputs, evidence: Evidence) -> Iterator[str]:
    """Whether content gives more at the least depth than at the greatest: one test."""
    base = [k for k in evidence.scores.depths.get(BASELINE, ()) if k is not None]
    systems = [
        s
        for s, depths in evidence.scores.depths.items()
        if inputs.reads_content(s) and {*base} <= {*depths}
    ]
    if len(base) < 2 or not systems:
        return
    ends = min(base), max(base)
    settings = [Setting(s, k) for s in (BASELINE, *systems) for k in ends]
    if any(map(evidence.limited, settings)):
        return
    values = evidence.judgements.values
    first, last = (
        np.mean([values(Setting(s, k)) - values(Setting(BASELINE, k)) for s in systems], axis=0)
        for k in ends
    )
    (found,) = compare((first - last)[:, None])
    if found.sign_flip >= LEVEL:
        told = "depth makes no difference to it that these users can show"
    elif found.difference > 0:
        told = "propagation takes over part of what content gives"
    else:
        told = "propagation adds to what content gives"
    yield (
        f"At equal depth the {len(systems)} systems with content and depth differ from "
        f"`{BASELINE}` by {_signed(float(first.mean()))} on average at {at_depth(ends[0])} and by "
        f"{_signed(float(last.mean()))} at {at_depth(ends[1])} (p {_p(found.sign_flip)}): {told}."
    )


def _balance(alpha: Table | None, evidence: Evidence) -> Iterator[str]:
    for system, layers, value in alpha.rows if alpha else ():
        setting = Setting(system, layers)
        if evidence.selected.get(system) == setting and not evidence.limited(setting):
            yield (
                f"{called(setting)} ends at α = {value.mean:.4f}: {100 * value.mean:.0f} % of the "
                "weight on the collaborative embedding."
            )


def _undecided(evidence: Evidence, questions: Questions) -> Iterator[str]:
    if limited := [s for s in evidence.selected.values() if evidence.limited(s)]:
        yield (
            f"At the limit of epochs: {', '.join(map(called, limited))}. They may still have "
            "improved, so nothing is concluded from them; raise `train.epochs`."
        )
    if questions.rivals:
        half = median(c.difference.half for c in questions.rivals)
        yield (
            f"What these data cannot decide: with {questions.rivals[0].users.users:,} users, a "
            f"difference of {SELECTED_BY} below about {half:.4f} is within chance (half of the "
            "median 95 % interval over users)."
        )
    yield (
        "A verdict takes two things: the sign-flip test over users, each the mean over seeds, "
        f"Holm-corrected over its family at {LEVEL}, and an interval over seeds that excludes "
        "zero. Neither covers another split of these data, nor another catalogue."
    )


def _caveats(inputs: Inputs) -> Iterator[str]:
    if inputs.summary["synthetic"]:
        yield (
            "The catalogue is synthetic: its figures show that the pipeline works and finds a "
            "planted relation, not how good a recommender is elsewhere."
        )
    random = [m for m, metadata in inputs.embeddings.items() if is_random(metadata)]
    if random:
        yield (
            f"The encoders of {', '.join(random)} have random weights, not pretrained ones: their "
            "vectors hold little of what an item shows."
        )


def called(setting: Setting) -> str:
    """A system and its depth in a sentence."""
    depth = "" if setting.layers is None else f" ({at_depth(setting.layers)})"
    return f"`{setting.system}`{depth}"


def _tally(contrasts: Sequence[Contrast]) -> str:
    """Who is higher, who lower, and of whom that is not known."""
    parts = []
    for verdict, words in {"higher": "above", "lower": "below"}.items():
        if found := [c for c in contrasts if c.verdict == verdict]:
            shown = ", ".join(
                f"`{c.setting.system}` ({_signed(c.users.difference)}, p {_p(c.users.adjusted)})"
                for c in sorted(found, key=lambda c: -abs(c.users.difference))
            )
            parts.append(f"{words} {shown}")
    for verdict, words in {"undecided": "not told apart", "limited": "at the limit"}.items():
        if found := [c for c in contrasts if c.verdict == verdict]:
            shown = ", ".join(
                f"`{c.setting.system}` ({_signed(c.users.difference)})" for c in found
            )
            parts.append(f"{words} {shown}")
    return "; ".join(parts)


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
