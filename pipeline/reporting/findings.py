"""Sentences that follow from the tables, each with the test and the figures it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import inf, isfinite
from statistics import median

from pipeline.evidence.significance import LEVEL
from pipeline.reporting.contrasts import Contrast, Evidence, by_system
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
        *_undecided(inputs, evidence, questions),
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
    able = [s for s in evidence.selected.values() if not evidence.limited(s)]
    text = (
        f"**What to use: {called(chosen)}**, `dvc exp run -S fusion={chosen.system}{depth}`. "
        f"Validation prefers it of {_count(able, 'system')}"
        + (" whose fits converged" if len(able) < len(evidence.selected) else "")
        + f" (validation {SELECTED_BY} {validation.mean:.4f})."
    )
    if scores.split == "validation":
        yield (
            f"{text} There is no test split: all that follows compares on the split that selected, "
            "which favours what was selected most."
        )
        return
    text += f" Its test {SELECTED_BY} is {_mean(evidence, chosen):.4f}."
    if others := questions.beside_preferred:
        verdicts = Counter(contrast.verdict for contrast in others)
        text += (
            f" Of the {_count(others, 'other')}, {verdicts['lower']} are below it on test, "
            f"{verdicts['higher']} above, {verdicts['undecided']} not told apart"
            + (f", {verdicts['limited']} at the limit of epochs." if verdicts["limited"] else ".")
        )
    yield text


def _does_content_help(inputs: Inputs, questions: Questions) -> Iterator[str]:
    asked = "Does content help (RQ1)?"
    if not any(map(inputs.reads_content, inputs.params.study.systems)):
        yield f"**{asked}** No system of the study reads content, or no item has any."
        return
    base = [c for c in questions.baseline if inputs.reads_content(c.setting.system)]
    if questions.content is None or not (base or questions.no_content):
        yield (
            f"**{asked}** The study does not say: that needs `{BASELINE}` or the control "
            "`no_content`, a system with content whose fits converged, and a validation split."
        )
        return
    name = questions.content.system
    families = {
        f"Beside `{BASELINE}`": base,
        "Beside themselves without content": questions.no_content,
        "Beside a placebo, themselves with every item's content at another item": questions.placebo,
    }
    found = [by_system(family).get(name) for family in families.values()]
    verdicts = [contrast.verdict if contrast else None for contrast in found]
    details = " ".join(f"{key}: {_tally(family)}." for key, family in families.items() if family)
    yield (
        f"**{asked} Of {called(questions.content)}, the best with content on validation: "
        f"{_conclusion(*verdicts)}.** {details}"
    )


def _conclusion(base: str | None, without: str | None, placebo: str | None) -> str:
    """What three verdicts say together: beside `none`, without content, and with another's."""
    if "limited" in (base, without, placebo):
        return "nothing is said, since a fit ended at its limit of epochs"
    without = without or base
    if placebo is None:
        return "whether a gain is content cannot be told without a placebo (`study.controls`)"
    if without == "higher" and placebo == "higher":
        beside = {
            "higher": f", and it is above `{BASELINE}`",
            "lower": f", but it is below `{BASELINE}`",
            "undecided": f"; whether that lifts it above `{BASELINE}`, these users do not tell",
        }
        return "it gains by content" + beside.get(base or "", "")
    if without == "higher":
        if placebo == "lower":
            return "it gains, but less than with shuffled content: that gain is not content"
        return "it gains, but whether that is what its content says, these users do not tell"
    if placebo == "higher":
        return (
            "its own content is better than shuffled content, but that it is better than none, "
            "these users do not tell"
        )
    if without == "lower":
        return "content harms it"
    return "no gain by content that these users and seeds can show"


def _which_architecture(inputs: Inputs, questions: Questions) -> Iterator[str]:
    rivals = [c for c in questions.beside_content if _is_architecture(inputs, c)]
    if rivals and questions.content:
        yield (
            "**Which architecture is best (RQ2)?** Validation prefers "
            f"{called(questions.content)}. Beside it: {_tally(rivals)}."
        )


def _against_baselines(inputs: Inputs, questions: Questions) -> Iterator[str]:
    rivals = [c for c in questions.beside_content if not _is_architecture(inputs, c)]
    if rivals and questions.content:
        yield (
            "**How does it do against baselines and closed forms (RQ3)?** Beside "
            f"{called(questions.content)}: {_tally(rivals)}."
        )


def _is_architecture(inputs: Inputs, contrast: Contrast) -> bool:
    system = contrast.setting.system
    return inputs.reads_content(system) and system not in OTHERS


def _magnitude(questions: Questions) -> Iterator[str]:
    if questions.unit_length:
        yield (
            "**Is it direction or length?** Beside themselves with items as long as their "
            "collaborative embeddings, which content can only turn: "
            f"{_tally(questions.unit_length)}."
        )


def _depth(inputs: Inputs, evidence: Evidence) -> Iterator[str]:
    """Whether systems with content differ from `none` more at one end of the depths."""
    base = [k for k in evidence.scores.depths.get(BASELINE, ()) if k is not None]
    systems = [
        s
        for s, depths in evidence.scores.depths.items()
        if inputs.reads_content(s) and {*base} <= {*depths}
    ]
    if len(base) < 2 or not systems:
        return
    ends = min(base), max(base)
    if any(evidence.limited(Setting(s, k)) for s in (BASELINE, *systems) for k in ends):
        return
    gaps, verdict, p = evidence.gaps(systems, ends)
    unknown = "not told apart by users" if p >= LEVEL else "told apart by users, but not by seeds"
    told = {
        "higher": f"it is larger at {at_depth(ends[0])}",
        "lower": f"it is larger at {at_depth(ends[1])}",
    }.get(verdict, unknown)
    yield (
        f"**Depth.** At equal depth, {_count(systems, 'system')} with content differ from "
        f"`{BASELINE}` by {_signed(gaps[0])} on average at {at_depth(ends[0])} and by "
        f"{_signed(gaps[1])} at {at_depth(ends[1])}: {told} (p {_p(p)})."
    )


def _balance(alpha: Table | None, evidence: Evidence) -> Iterator[str]:
    for system, layers, value in alpha.rows if alpha else ():
        setting = Setting(system, layers)
        if alpha and evidence.selected.get(system) == setting and not evidence.limited(setting):
            yield (
                f"**Balance.** {called(setting)} ends at α = {alpha.text(value)}: the "
                f"collaborative embedding weighs α, each modality 1 − α = {1 - value.mean:.4f}."
            )


def _undecided(inputs: Inputs, evidence: Evidence, questions: Questions) -> Iterator[str]:
    limits: dict[str, list[Setting]] = {}
    for setting in evidence.selected.values():
        if evidence.limited(setting):
            limits.setdefault(_limit_of(setting.system, inputs), []).append(setting)
    for key, limited in limits.items():
        yield (
            f"**At the limit of epochs:** {', '.join(map(called, limited))}. They may still have "
            f"improved, so nothing is concluded from them; raise `{key}`."
        )
    if not inputs.early_stopping:
        yield (
            "**Convergence is not known:** nothing stopped fits early (`protocol: published`, or "
            "no validation split), so each ended at its number of epochs."
        )
    contrasts = questions.beside_content or questions.baseline
    least = median(c.detectable for c in contrasts) if contrasts else inf
    if isfinite(least):
        yield (
            f"**What these data cannot decide.** With {_number(contrasts[0].users.users, 'user')} "
            f"and {_count(contrasts, 'comparison')}, a difference of {SELECTED_BY} of about "
            f"{least:.3f} is found four times in five, a smaller one less often."
        )
    seeds = inputs.params.study.seeds
    yield (
        "**A verdict takes two things:** the sign-flip test over users, each the mean over seeds, "
        f"Holm-corrected over its family at {LEVEL}, and an interval over seeds that excludes zero"
        + ("" if len(seeds) > 1 else "; here one seed was fitted, which cannot speak for others")
        + ". Neither covers another split of these data, nor another catalogue."
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


def _limit_of(system: str, inputs: Inputs) -> str:
    """The parameter that says for how long a system is fitted at most."""
    reads = inputs.params.systems[system].reads
    return "train.epochs" if "train.epochs" in reads else f"systems.{system}.iterations"


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


def _mean(evidence: Evidence, setting: Setting) -> float:
    return float(evidence.judgements.values(setting).mean())


def _count(things: Sequence[object], name: str) -> str:
    return _number(len(things), name)


def _number(n: int, name: str) -> str:
    return f"{n:,} {name}{'' if n == 1 else 's'}"


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
