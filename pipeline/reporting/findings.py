"""Sentences that follow from the tables, each with its figures."""

from collections.abc import Iterator
from statistics import fmean

from pipeline.reporting.comparisons import SELECTED
from pipeline.reporting.descriptions import is_random
from pipeline.reporting.estimates import Estimate
from pipeline.reporting.inputs import Inputs
from pipeline.reporting.scores import BASELINE, Scores
from pipeline.reporting.table import SELECTED_BY, Table, at_depth


def findings(
    inputs: Inputs,
    scores: Scores,
    selected: dict[str, int | None],
    gains: Table | None,
    alpha: Table | None,
) -> list[str]:
    """What the report says first."""
    with_content = gains and gains.where(
        "system", *(system for system in gains["system"] if inputs.reads_content(system))
    )
    if not selected:
        return [
            "The catalogue has neither test nor validation interactions: nothing was evaluated.",
            *_caveats(inputs),
        ]
    return [
        *_does_content_help(scores, selected, with_content),
        *_who_gains(gains),
        *_depth_and_gain(with_content),
        *_balance(alpha, selected),
        *_caveats(inputs),
    ]


def _does_content_help(
    scores: Scores, selected: dict[str, int | None], gains: Table | None
) -> Iterator[str]:
    if not gains:
        yield f"There is nothing to compare: the study needs `{BASELINE}` and another system."
    elif gains.rows and scores.validated:

        def mean(system: str, split: str) -> float:
            found = scores.estimate(system, selected[system], split=split)
            return found.mean if found else float("-inf")

        best = max(gains["system"], key=lambda system: mean(system, "validation"))
        (gain,) = gains.where("system", best)[SELECTED]
        yield (
            f"Of the systems with content, validation prefers {_called(best, selected[best])}. "
            f"Its {scores.split} {SELECTED_BY} is {mean(best, scores.split):.4f}, that of "
            f"{_called(BASELINE, selected[BASELINE])} {mean(BASELINE, scores.split):.4f}: "
            f"a difference of {_signed(gain)}, so content {_verdict(gain)}."
        )


def _who_gains(gains: Table | None) -> Iterator[str]:
    if not gains:
        return
    compared = list(zip(gains["system"], gains[SELECTED], strict=True))
    for verdict, side in (("helps", "above"), ("hurts", "below")):
        names = [f"`{s}` ({_signed(g)})" for s, g in compared if _verdict(g).startswith(verdict)]
        if names:
            yield f"Intervals that lie wholly {side} `{BASELINE}`: {', '.join(names)}."
    yield (
        "An interval covers the seeds (initialisation, negatives, projections), not the choice of "
        "users or of this split, and is not corrected for the number of systems."
    )


def _verdict(gain: Estimate) -> str:
    if gain.half is None:
        return "cannot be judged: one seed gives no interval"
    if gain.low > 0:
        return "helps here: the interval lies above zero"
    if gain.high < 0:
        return "hurts here: the interval lies below zero"
    return "makes no difference that these seeds can show: the interval includes zero"


def _signed(gain: Estimate) -> str:
    shown = f"{gain.mean:+.4f}"
    if gain.half is not None:
        shown += f", 95 % interval [{gain.low:+.4f}, {gain.high:+.4f}]"
    return shown.replace("-", "−")


def _called(system: str, layers: int | None) -> str:
    return f"`{system}`" + (f" ({at_depth(layers)})" if layers is not None else "")


def _depth_and_gain(gains: Table | None) -> Iterator[str]:
    if not gains:
        return
    means = {
        str(column): fmean(gain.mean for gain in present)
        for column in gains.columns[2:]
        if (present := [gain for gain in gains[column] if gain is not None])
    }
    if len(means) > 1:
        first, last = list(means)[0], list(means)[-1]
        taken = means[last] < means[first]
        yield (
            f"At equal depth the systems with content gain {means[first]:+.4f} on average at "
            f"{first} and {means[last]:+.4f} at {last}: propagation "
            f"{'takes over part of what content gives' if taken else 'adds to content'}."
        ).replace("-", "−")


def _balance(alpha: Table | None, selected: dict[str, int | None]) -> Iterator[str]:
    if alpha:
        for system, layers, value in alpha.rows:
            if layers == selected[system]:
                yield (
                    f"{_called(system, layers)} ends at α = {alpha.text(value)}: "
                    f"{100 * value.mean:.0f} % of the weight on the collaborative embedding."
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
