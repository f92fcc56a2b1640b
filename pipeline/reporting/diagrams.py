"""Diagrams of the architecture and of each way to fuse, drawn for the systems of a study.

A solid thick frame is trained, a dashed one is fixed, a thin one computes; colour repeats that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.reporting.sections import Figure
from pipeline.reporting.sketch import FRAMES, LINE, MIDDLE, Sketch
from pipeline.reporting.svg import INK, NARROW

LONGEST = 17  # letters of an encoder's name


def diagrams(
    systems: Sequence[str],
    modalities: Mapping[str, str],
    *,
    aggregate: str = "mean",
    projection: str = "fixed",
) -> list[Figure]:
    """The architecture and LightGCN, where a system has them, then each fusion of the study.

    Args:
        systems: those of the study; one that is not among `FUSIONS` has no diagram.
        modalities: modality → its encoder's name.
        aggregate: the parameter, which the late fusions' formulas name.
        projection: the parameter: `fixed` or `learned`.
    """
    drawn = [
        Figure(f"diagram-{system}", *_fusion(system, aggregate, projection))
        for system in systems
        if system in FUSIONS
    ]
    general = []
    if drawn and modalities:
        general.append(_architecture(modalities, projection))
    if drawn or "none" in systems:
        general.append(_lightgcn())
    return general + drawn


def _architecture(modalities: Mapping[str, str], projection: str) -> Figure:
    sketch, bus, y = Sketch(), NARROW - 10, 4.0
    w = "trained" if projection == "learned" else "fixed"
    for modality, encoder in modalities.items():
        middle = y + 15
        sketch.box(34, y, 60, "step", modality)
        sketch.arrow((64, middle), (76, middle))
        sketch.box(142, y, 132, "fixed", _short(encoder))
        sketch.arrow((208, middle), (220, middle))
        sketch.box(262, y, 84, w, "L2norm, Wⱼ")
        sketch.parts.append(f'<path d="M304 {middle:g}H{bus}" stroke="{INK}"/>')
        y += 42
    sketch.box(34, y + 9, 60, "step", "graph")
    sketch.arrow((64, y + 24), (76, y + 24))
    sketch.box(142, y, 132, "trained", "users, items", "LightGCN, K layers")
    below = y + 84
    sketch.arrow((bus, 19), (bus, below))
    sketch.text(bus - 8, y + 66, "m₁ … mₙ", "end")
    sketch.arrow((184, y + 48), (184, below))
    sketch.text(192, y + 66, "eᵢ", "start")
    bottom = sketch.box(248, below, 170, "step", "fusion of eᵢ and mⱼ")
    sketch.arrow((104, y + 48), (104, bottom + 28))
    sketch.text(96, y + 66, "eᵤ", "end")
    sketch.arrow((248, bottom), (248, bottom + 28))
    sketch.text(256, bottom + 13, "hᵢ", "start")
    sketch.box(MIDDLE, bottom + 28, 328, "step", "score ŷᵤᵢ = eᵤ · hᵢ")
    sketch.key()
    named = ", ".join(f"{modality} by {encoder}" for modality, encoder in modalities.items())
    return Figure(
        "diagram-architecture",
        "Late fusion: what an item shows joins what its users say after propagation",
        f"Diagram. Encoders, fixed, read the items: {named}. Each output is normalised to length 1 "
        "and projected by W. LightGCN gives eᵤ and eᵢ; eᵢ is fused with the projected modalities "
        "to hᵢ; the score is the inner product of eᵤ and hᵢ.",
        sketch.svg(),
    )


def _lightgcn() -> Figure:
    sketch, users, items = Sketch(), (30, 66, 102), (18, 50, 82, 114)
    for u, i in ((0, 0), (0, 1), (1, 1), (1, 2), (1, 3), (2, 1), (2, 3)):
        line = f'<path d="M119 {users[u]}L218 {items[i]}" stroke="{INK}" stroke-width="0.9"/>'
        sketch.parts.append(line)
    for y in users:
        sketch.parts.append(f'<circle cx="108" cy="{y}" r="10" {FRAMES["trained"]}/>')
    for y in items:
        sketch.parts.append(
            f'<rect x="219" y="{y - 9}" width="18" height="18" rx="3" {FRAMES["trained"]}/>'
        )
    sketch.text(86, 66, "users", "end")
    sketch.text(248, 66, "items", "start")
    middles, texts = (38, 125, 211, 298), ("E⁽⁰⁾", "E⁽¹⁾", "…", "E⁽ᴷ⁾")
    for i, (x, text) in enumerate(zip(middles, texts, strict=True)):
        sketch.box(x, 150, 60, "step" if i else "trained", text)
        sketch.arrow((x, 180), (x, 208))
        if i:
            sketch.arrow((middles[i - 1] + 30, 165), (x - 30, 165))
            sketch.text(x - 43, 154, "Ã", "middle")
    sketch.box(MIDDLE, 208, 320, "step", "eᵤ, eᵢ: mean of the layers 0 … K")
    sketch.arrow((MIDDLE, 238), (MIDDLE, 264))
    sketch.box(MIDDLE, 264, 320, "step", "score ŷᵤᵢ = eᵤ · eᵢ")
    sketch.text(MIDDLE, 312, "Ã: the adjacency, normalised by degrees")
    sketch.key()
    return Figure(
        "diagram-lightgcn",
        "LightGCN: embeddings of users and items flow along their interactions",
        "Diagram. A graph of users and items, an edge an interaction. Trained embeddings E⁽⁰⁾ are "
        "propagated K times with the normalised adjacency Ã; the layers' mean gives eᵤ and eᵢ, "
        "whose inner product is the score.",
        sketch.svg(),
    )


class Fusion(NamedTuple):
    """One way to fuse: what happens to eᵢ and to mⱼ, each as (kind, text), then the formula."""

    caption: str
    e: tuple[str, str] | None
    m: tuple[str, str]
    joined: str
    formula: tuple[str, ...]


# {} is the aggregate.
FUSIONS = {
    "frozen": Fusion(
        "the content is constant",
        None,
        ("fixed", "mⱼ"),
        "{}",
        ("hᵢ = {}[eᵢ, m₁, …, mₙ]", "mⱼ = L2norm(xⱼ) Wⱼ, constant"),
    ),
    "alpha": Fusion(
        "a trained α balances collaboration and content",
        ("trained", "× α"),
        ("trained", "× (1 − α)"),
        "{}",
        ("hᵢ = {}[α eᵢ, (1 − α) m₁, …, (1 − α) mₙ]", "α = sigmoid(a), a trained from 0"),
    ),
    "unfrozen": Fusion(
        "the content is trained on",
        None,
        ("trained", "mⱼ, trained on"),
        "{}",
        ("hᵢ = {}[eᵢ, m₁, …, mₙ]", "mⱼ starts from L2norm(xⱼ) Wⱼ, then trained"),
    ),
    "normalized": Fusion(
        "both sides get the same length",
        ("step", "n eᵢ / ‖eᵢ‖"),
        ("step", "mⱼ / ‖mⱼ‖"),
        "{}",
        ("hᵢ = {}[n eᵢ/‖eᵢ‖, m₁/‖m₁‖, …, mₙ/‖mₙ‖]", "n: the modalities that item i has"),
    ),
    "equal": Fusion(
        "collaboration and content weigh the same",
        None,
        ("step", "mean over j"),
        "mean",
        ("hᵢ = (eᵢ + (m₁ + … + mₙ) / n) / 2",),
    ),
    "early": Fusion(
        "modalities are fused first, then with eᵢ",
        None,
        ("trained", "{} over j, W_agg"),
        "[eᵢ ‖ content] W_out",
        ("hᵢ = [eᵢ ‖ {}(x₁W₁, …, xₙWₙ) W_agg] W_out", "+ contrast · NCE(eᵢ, content) in the loss"),
    ),
    "mmlgcn": Fusion(
        "a LightGCN for each modality, fused after propagation",
        None,
        ("trained", "Wⱼ"),
        "[ … ‖ … ] W_out",
        ("hᵢ = [LGCN₁(e₁)W₁ ‖ … ‖ LGCNₙ(eₙ)Wₙ] W_out", "users the same; eⱼ starts from xⱼ"),
    ),
}


def _fusion(system: str, aggregate: str, projection: str) -> tuple[str, str, str]:
    """Caption, words and drawing of one fusion: collaboration to the left, content to the right."""
    fusion, sketch = FUSIONS[system], Sketch()
    left, right, width = 76.0, MIDDLE if system == "mmlgcn" else 250.0, 140.0
    trained = projection == "learned" or system == "early"
    sketch.box(right, 10, width, "fixed", "encoder: xⱼ", many=True)
    sketch.arrow((right, 40), (right, 66), dashed=system == "mmlgcn")
    if system == "mmlgcn":
        sketch.text(right - 10, 53, "start", "end")
        sketch.box(right, 66, width, "trained", "LightGCN j", many=True)
    else:
        e = sketch.box(left, 10, width, "trained", "LightGCN: eᵢ")
        w = "L2norm, Wⱼ"
        sketch.box(right, 66, width, "trained" if trained else "fixed", w, many=True)
        if fusion.e:
            sketch.arrow((left, e), (left, 122))
            e = sketch.box(left, 122, width, fusion.e[0], fusion.e[1])
        sketch.arrow((left, e), (left, 178))
    sketch.arrow((right, 96), (right, 122))
    pile = system not in ("equal", "early")
    sketch.box(right, 122, width, fusion.m[0], fusion.m[1].format(aggregate), many=pile)
    sketch.arrow((right, 152), (right, 178))
    if system == "early":
        sketch.arrow((left, 137), (right - width / 2, 137), dashed=True)
        sketch.text((left + right - width / 2) / 2 + 4, 126, "contrast")
    joined = "trained" if system in ("early", "mmlgcn") else "step"
    sketch.box(MIDDLE, 178, 320, joined, f"hᵢ: {fusion.joined.format(aggregate)}")
    formula = [line.format(aggregate) for line in fusion.formula]
    for i, line in enumerate(formula):
        sketch.text(MIDDLE, 226 + LINE * i, line)
    sketch.key()
    caption = f"{system}: {fusion.caption}"
    return caption, f"Diagram of {caption}. {'; '.join(formula)}.", sketch.svg()


def _short(encoder: str) -> str:
    """An encoder's name without its owner and input size."""
    name = encoder.split(",")[0]
    if len(name) > LONGEST:
        name = name.rsplit("/", 1)[-1]
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
