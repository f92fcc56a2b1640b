"""Diagrams: which are drawn, that each fits its frame, and what it says."""

import re
import xml.etree.ElementTree as ET

import pytest

from model.systems import SYSTEMS, options_class
from pipeline.reporting import svg as look
from pipeline.reporting.diagrams import FUSIONS, diagrams
from pipeline.reporting.sections import Figure

MODALITIES = {
    "text": "sentence-transformers/all-MiniLM-L6-v2",
    "image": "ViT-B/16, 224 pixels",
    "audio": "VGGish",
    "video": "R(2+1)D-18",
}
DRAWN = diagrams(SYSTEMS, MODALITIES)


def names(systems: list[str], modalities: dict[str, str]) -> list[str]:
    return [diagram.name.removeprefix("diagram-") for diagram in diagrams(systems, modalities)]


def texts(svg: str) -> list[ET.Element]:
    return [e for e in ET.fromstring(svg).iter() if e.tag.endswith("}text")]


def words(diagram: Figure) -> str:
    return "\n".join(text.text or "" for text in texts(diagram.svg))


def test_only_what_the_study_has_is_drawn() -> None:
    assert names(["none", "alpha", "vbpr"], MODALITIES) == ["architecture", "lightgcn", "alpha"]
    assert names(["none"], MODALITIES) == ["lightgcn"]
    assert names(["popularity", "ease"], MODALITIES) == []
    assert names(["frozen"], {}) == ["lightgcn", "frozen"]  # no encoder, no architecture
    assert names(list(SYSTEMS), MODALITIES)[2:] == [s for s in SYSTEMS if s in FUSIONS]


def test_every_fusion_is_a_system_that_reads_content() -> None:
    assert set(FUSIONS) <= set(SYSTEMS)
    assert all(options_class(system).content for system in FUSIONS)


@pytest.mark.parametrize("diagram", DRAWN, ids=[diagram.name for diagram in DRAWN])
def test_a_diagram_fits_its_frame_and_can_be_read(diagram: Figure) -> None:
    root = ET.fromstring(diagram.svg)
    assert look.width_of(diagram.svg) == look.NARROW
    assert float(re.sub("px", "", root.get("font-size", ""))) >= 12
    height = float(root.get("height", ""))
    ends = {"start": (0, 1), "middle": (0.5, 0.5), "end": (1, 0)}
    for text in texts(diagram.svg):
        assert text.text and 10 < float(text.get("y", "")) < height
        x, length = float(text.get("x", "")), 6.7 * len(text.text)  # of a letter, on average
        left, right = ends[text.get("text-anchor", "")]
        assert x - left * length >= 0 and x + right * length <= look.NARROW, text.text
    for box in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y = float(box.get("x", "0")), float(box.get("y", "0"))
        assert x >= 0 and x + float(box.get("width", "")) <= look.NARROW
        assert y >= 0 and y + float(box.get("height", "")) <= height
    frames = {e.get("stroke-dasharray") for e in root.iter() if e.get("stroke")}
    widths = {e.get("stroke-width") for e in root.iter() if e.get("stroke")}
    assert "4 3" in frames and {"2.4", "1.3", "0.8"} <= widths  # without colour vision too
    assert {"trained", "fixed", "computed"} <= set(words(diagram).splitlines())
    colours = set(re.findall(r"#\w{6}", diagram.svg))
    assert colours == {look.INK, look.PAPER, look.PALETTE[0]}
    shown = look.inline(diagram.svg, diagram.name, diagram.alt)
    assert "currentColor" in shown and f"--natural: {look.NARROW}px" in shown
    assert diagram.caption and diagram.alt


def test_the_architecture_names_modalities_and_encoders() -> None:
    said = words(DRAWN[0])
    for word in ("text", "video", "all-MiniLM-L6-v2", "ViT-B/16", "VGGish", "R(2+1)D-18"):
        assert word in said.splitlines()
    assert all(encoder in DRAWN[0].alt for encoder in MODALITIES.values())
    one = diagrams(["frozen"], {"smell": "an-encoder-with-a-very-long-name <b>"})[0]
    assert "an-encoder-with-…" in words(one) and "VGGish" not in words(one)


def test_formulas_follow_the_parameters() -> None:
    mean, total = (
        {d.name: d for d in diagrams(SYSTEMS, MODALITIES, aggregate=a)} for a in ("mean", "sum")
    )
    assert "hᵢ = mean[eᵢ, m₁, …, mₙ]" in words(mean["diagram-frozen"])
    assert "hᵢ = sum[eᵢ, m₁, …, mₙ]" in words(total["diagram-frozen"])
    assert mean["diagram-equal"] == total["diagram-equal"]  # it reads no aggregate
    learned = {d.name: d for d in diagrams(SYSTEMS, MODALITIES, projection="learned")}
    for system in ("frozen", "architecture"):
        fixed = mean[f"diagram-{system}"].svg.count("stroke-dasharray")
        assert learned[f"diagram-{system}"].svg.count("stroke-dasharray") < fixed
    assert learned["diagram-early"] == mean["diagram-early"]  # its W are trained either way
