"""What the report says first: sentences that follow planted values of users and seeds."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from studies import Model, model, without

from model.systems import options_class

SEEDS = (1, 2, 3)
CONTENT = "Does content help"
pytestmark = pytest.mark.usefixtures("undrawn")
Make = Callable[..., Path]


def planted(
    levels: Mapping[str, float | tuple[float, ...]],
    validation: Mapping[str, float] | None = None,
    *,
    layers: tuple[int, ...] = (2,),
    seeds: tuple[int, ...] = SEEDS,
    limited: tuple[str, ...] = (),
    alpha: float | None = None,
) -> list[Model]:
    """A study with these means of test NDCG@10 by "system", "system control" or "system K".

    Args:
        levels: a mean, or one a seed. Of several depths, each is named.
        validation: means of validation, by the same names; without one, that of the system, or 0.1.
        limited: the names of what has a fit that ended at its limit.
    """
    found = []
    for name, level in levels.items():
        system, *rest = name.split()
        control = next((part for part in rest if not part.isdigit()), None)
        depths: list[int | None] = [int(part) for part in rest if part.isdigit()] or [*layers]
        if system in ("ease", "popularity"):
            depths = [None]
        for depth in depths:
            for seed, one in zip(seeds, level if isinstance(level, tuple) else (level,) * 9,
                                 strict=False):  # fmt: skip
                known = validation or {}
                selects = known.get(name, known.get(system, 0.1))
                more: dict[str, Any] = {"alpha": alpha} if system == "alpha" and alpha else {}
                found.append(
                    model(
                        system, depth, None if depth is None else seed, control,
                        validation=selects, test=one, limited=name in limited and seed == seeds[-1],
                        **more,
                    )
                )  # fmt: skip
                if depth is None:
                    break
    return found


def findings(folder: Path) -> list[str]:
    section = (folder / "report.md").read_text().split("## Findings\n")[1].split("\n## ")[0]
    return [line.replace("**", "") for line in re.findall(r"^- (.+)$", section, re.M)]


def told(found: list[str], start: str) -> str:
    """The one sentence that begins so."""
    (sentence,) = (sentence for sentence in found if sentence.startswith(start))
    return sentence


GAINS = "it gains by content"
CASES = [
    # none, frozen, without content, with another item's: what is concluded
    (0.3, 0.5, 0.3, 0.3, f"{GAINS}, and it is above `none`"),
    (0.5, 0.5, 0.3, 0.3, f"{GAINS}; whether that lifts it above `none`, these users do not tell"),
    (0.6, 0.5, 0.3, 0.3, f"{GAINS}, but it is below `none`"),
    (0.3, 0.5, 0.3, 0.5, "it gains, but whether that is what its content says"),
    (0.3, 0.5, 0.3, 0.6, "it gains, but less than with shuffled content"),
    (0.3, 0.3, 0.3, 0.1, "its own content is better than shuffled content, but that it is better"),
    (0.3, 0.3, 0.3, 0.3, "no gain by content"),
    (0.3, 0.3, 0.5, 0.3, "content harms it"),
]


def sides(verdict: float) -> str:
    return "above" if verdict > 0 else "below" if verdict < 0 else "not told apart"


@pytest.mark.parametrize(("none", "frozen", "without", "placebo", "conclusion"), CASES)
def test_whether_content_helps(
    none: float, frozen: float, without: float, placebo: float, conclusion: str, make: Make
) -> None:
    levels = {"none": none, "frozen": frozen}
    levels |= {"frozen no_content": without, "frozen placebo": placebo}
    sentence = told(findings(make(planted(levels))), CONTENT)
    first, *families = re.split(r"(?<=\.) (?=Beside)", sentence)
    assert "Of `frozen` (K = 2)" in first
    assert {other for *_, other in CASES if other in first} == {conclusion}
    for other, said in zip((none, without, placebo), families, strict=True):
        assert f"{sides(frozen - other)} `frozen`" in said
        difference = f"{frozen - other:+.4f}".replace("-", "−")
        if frozen != other:
            assert f"({difference}, p < 0.001)" in said


def test_seeds_that_disagree_leave_it_undecided(make: Make) -> None:
    """Users tell the means apart, but that comes from a single seed."""
    found = findings(make(planted({"none": 0.3, "frozen": (0.29, 0.3, 0.7), "ease": 0.2})))
    against = told(found, CONTENT)
    assert "not told apart `frozen` (+0.1300)" in against and "above" not in against


def test_one_seed_is_judged_by_its_users_but_for_the_placebo(make: Make) -> None:
    levels = {"none": 0.3, "frozen": 0.5, "frozen placebo": 0.3}
    folder = make(planted(levels, seeds=(1,)))
    sentence = told(findings(folder), CONTENT)
    assert "above `frozen`" in sentence  # beside none
    assert "whether that is what its content says, these users do not tell" in sentence
    assert "one seed was fitted, which cannot speak" in told(findings(folder), "A verdict")
    text = (folder / "report.md").read_text()
    assert "; 1 seed." in text and "1 seeds" not in text and "nan" not in text


def test_without_a_placebo_nobody_can_tell_whether_a_gain_is_content(make: Make) -> None:
    sentence = told(findings(make(planted({"none": 0.3, "frozen": 0.5}))), CONTENT)
    assert "cannot be told without a placebo" in sentence and "study.controls" in sentence
    assert "above `frozen` (+0.2000, p < 0.001)" in sentence
    assert "it gains" not in sentence


@pytest.mark.parametrize("cut", ["none", "frozen placebo"])
def test_nothing_is_concluded_from_a_fit_at_its_limit(cut: str, make: Make) -> None:
    levels = {"none": 0.3, "frozen": 0.5, "frozen placebo": 0.3}
    found = findings(make(planted(levels, limited=(cut,))))
    assert "nothing is said, since a fit ended at its limit" in told(found, CONTENT)
    assert "at the limit `frozen`" in told(found, CONTENT)
    assert any(sentence.startswith("At the limit of epochs: `none`") for sentence in found) == (
        cut == "none"
    )


def test_a_system_at_its_limit_is_not_recommended(make: Make) -> None:
    levels = {"none": 0.3, "frozen": 0.6, "alpha": 0.4}
    levels |= {f"{s} placebo": 0.3 for s in ("frozen", "alpha")}
    validation = {"none": 0.1, "frozen": 0.9, "alpha": 0.2}
    found = findings(make(planted(levels, validation, limited=("frozen",))))
    assert "`alpha`" in told(found, "What to use") and "frozen" not in told(found, "What to use")
    assert "Of `alpha` (K = 2)" in told(found, CONTENT)
    assert "At the limit of epochs: `frozen` (K = 2)." in told(found, "At the limit")
    found = findings(make(planted(levels, validation)))
    assert "fusion=frozen" in told(found, "What to use")
    assert not any(sentence.startswith("At the limit") for sentence in found)


def test_the_limit_that_is_named_is_the_systems_own(make: Make) -> None:
    levels = {"none": 0.3, "ials": 0.5, "frozen": 0.4}
    found = findings(make(planted(levels, limited=("ials", "frozen"))))
    limits = [sentence for sentence in found if sentence.startswith("At the limit of epochs")]
    assert [sentence.rpartition("raise ")[2] for sentence in limits] == [
        "`systems.ials.iterations`.", "`train.epochs`."
    ]  # fmt: skip
    assert "`ials`" in limits[0] and "`frozen`" in limits[1]


def test_with_all_systems_at_their_limit_none_is_recommended(make: Make) -> None:
    levels = {"none": 0.3, "frozen": 0.6, "frozen placebo": 0.3}
    text = "\n".join(findings(make(planted(levels, limited=("none", "frozen")))))
    assert "dvc exp run" not in text and "none is recommended" in text
    assert "Without a validation split" not in text
    assert "The study does not say" in text


def test_what_to_use_is_what_validation_prefers(make: Make) -> None:
    levels = {"none": 0.5, "frozen 0": 0.2, "frozen 2": 0.3, "ease": 0.4}
    validation = {"none": 0.1, "frozen 0": 0.3, "frozen 2": 0.2, "ease": 0.15}
    sentence = told(findings(make(planted(levels, validation))), "What to use")
    assert "`dvc exp run -S fusion=frozen -S layers=0`" in sentence
    assert "validation NDCG@10 0.3000" in sentence and "of 3 systems" in sentence
    # Though test prefers others.
    assert "Its test NDCG@10 is 0.2000" in sentence
    assert "Of the 2 others, 0 are below it on test, 2 above, 0 not told apart" in sentence


def test_a_system_without_depth_is_used_without_one(make: Make) -> None:
    levels = {"none": 0.3, "frozen": 0.2, "ease": 0.4}
    sentence = told(findings(make(planted(levels, {"ease": 0.5}))), "What to use")
    assert "`dvc exp run -S fusion=ease`" in sentence and "2 are below it" in sentence


def test_without_validation_nothing_is_recommended(make: Make) -> None:
    levels = {"none": 0.3, "frozen": 0.5, "frozen placebo": 0.3}
    found = findings(make(without(planted(levels), "validation")))
    text = "\n".join(found)
    assert "no system is recommended" in text and "dvc exp run" not in text
    assert "The study does not say" in told(found, CONTENT)


def test_without_test_validation_is_compared(make: Make) -> None:
    levels = {"none": 0.0, "frozen": 0.0, "frozen placebo": 0.0}
    validation = {"none": 0.3, "frozen": 0.5, "frozen placebo": 0.3}
    found = findings(make(without(planted(levels, validation), "test")))
    sentence = told(found, "What to use")
    assert "validation NDCG@10 0.5000" in sentence and "There is no test split" in sentence
    assert "it gains by content" in told(found, CONTENT)


def test_a_study_without_the_two_sides_does_not_say(make: Make) -> None:
    found = findings(make(planted({"frozen": 0.5, "ease": 0.1})))
    assert "The study does not say" in told(found, CONTENT)
    found = findings(make(planted({"none": 0.3, "ease": 0.1})))
    assert "No system of the study reads content" in told(found, CONTENT)


def test_its_own_fit_without_content_stands_for_none(make: Make) -> None:
    levels = {"frozen": 0.5, "frozen no_content": 0.3, "frozen placebo": 0.3}
    sentence = told(findings(make(planted(levels))), CONTENT)
    assert "it gains by content." in sentence and "`none`" not in sentence


def test_rivals_are_told_by_kind(make: Make) -> None:
    """RQ2: architectures with content; RQ3: those of others, and systems without content."""
    levels = {"none": 0.3, "frozen": 0.5, "alpha": 0.4, "unfrozen": 0.5, "ease": 0.6, "vbpr 2": 0.2}
    found = findings(make(planted(levels, {"frozen": 0.9}, alpha=0.5)))
    architecture, others = told(found, "Which architecture"), told(found, "How does it do")
    assert "prefers `frozen` (K = 2)" in architecture
    assert "below `alpha` (−0.1000, p < 0.001); not told apart `unfrozen`" in architecture
    assert not re.search("ease|vbpr|none", architecture)
    assert "above `ease` (+0.1000, p < 0.001)" in others
    assert "below `vbpr` (−0.3000, p < 0.001), `none` (−0.2000, p < 0.001)" in others
    assert "alpha" not in others


def test_only_systems_that_read_content_say_whether_it_helps(make: Make) -> None:
    """`equal` stands for a system without content here: it gains most, and says nothing of it."""
    levels = {"none": 0.3, "frozen": 0.4, "equal": 0.9}
    models = planted(levels, {"none": 0.1, "frozen": 0.2, "equal": 0.9})
    assert "`equal`" in told(findings(make(models)), CONTENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options_class("equal"), "content", False)
        found = findings(make(models))
    assert "above `frozen`" in told(found, CONTENT) and "`equal`" not in told(found, CONTENT)
    assert "above `equal`" in told(found, "How does it do")


def test_direction_or_length(make: Make) -> None:
    levels = {"none": 0.3, "frozen": 0.5, "frozen unit_length": 0.4}
    sentence = told(findings(make(planted(levels))), "Is it direction or length?")
    assert "above `frozen` (+0.1000, p < 0.001)" in sentence


@pytest.mark.parametrize(
    ("shallow", "deep", "conclusion"),
    [
        (0.5, 0.31, "it is larger at K = 0"),
        (0.29, 0.4, "it is larger at K = 2"),
        (0.4, 0.4, "not told apart by users"),
    ],
)
def test_depth_and_content(shallow: float, deep: float, conclusion: str, make: Make) -> None:
    levels = {"none 0": 0.3, "none 2": 0.3, "frozen 0": shallow, "frozen 2": deep}
    sentence = told(findings(make(planted(levels))), "Depth.")
    assert conclusion in sentence
    first, last = (f"{v - 0.3:+.4f}".replace("-", "−") for v in (shallow, deep))
    assert f"{first} on average at K = 0" in sentence and f"{last} at K = 2" in sentence
    limited = findings(make(planted(levels, limited=("none 0",))))
    assert not any(sentence.startswith("Depth.") for sentence in limited)


def test_seeds_that_disagree_say_nothing_of_depth(make: Make) -> None:
    levels = {"none 0": 0.3, "none 2": 0.3, "frozen 0": (0.29, 0.3, 0.8), "frozen 2": 0.31}
    sentence = told(findings(make(planted(levels))), "Depth.")
    assert "told apart by users, but not by seeds" in sentence


def test_one_depth_says_nothing_of_depth(make: Make) -> None:
    found = findings(make(planted({"none": 0.3, "frozen": 0.5})))
    assert not any(sentence.startswith("Depth.") for sentence in found)


def test_the_balance_is_told_at_the_selected_depth(make: Make) -> None:
    levels = {"none": 0.3, "alpha 0": 0.3, "alpha 2": 0.3}
    models = planted(levels, {"alpha 0": 0.2, "alpha 2": 0.3}, alpha=0.9)
    models = [replace(m, alpha=0.624) if m.alpha and m.layers == 2 else m for m in models]
    balance = [sentence for sentence in findings(make(models)) if "α" in sentence]
    assert len(balance) == 1
    assert "`alpha` (K = 2) ends at α = 0.6240 ± 0.0000" in balance[0]
    assert "each modality 1 − α = 0.3760" in balance[0]
    cut = [replace(m, limited=m.system == "alpha") for m in models]
    assert not any("α" in sentence for sentence in findings(make(cut)))


def test_what_the_users_cannot_decide(make: Make) -> None:
    found = findings(make(planted({"none": 0.3, "frozen": 0.5})))
    assert "With 42 users and 1 comparison," in told(found, "What these data cannot decide")
    assert "Holm" in told(found, "A verdict takes two things")
