"""What the figures draw: read from the drawn axes, not from pixels."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure

from model.metrics import SELECTION, Measure
from pipeline.evidence.significance import Interval
from pipeline.reporting import figures
from pipeline.reporting import svg as look
from pipeline.reporting.estimates import Estimate
from pipeline.reporting.pages import TEMPLATES
from pipeline.reporting.table import Column, Table

SYSTEMS = ("none", "frozen", "alpha")
RECALL = Measure("recall", 10)
ROWS = (
    ("none", 0, Estimate(0.2, 0.05), Estimate(0.7, 0.01)),
    ("none", 3, Estimate(0.3, 0.06), Estimate(0.8, 0.02)),
    ("alpha", 0, Estimate(0.4, 0.01), Estimate(0.6, 0.03)),
    ("alpha", 3, Estimate(0.1, 0.02), Estimate(0.5, 0.04)),
)
DEPTHS = Table("layers", "", ("system", "layers", SELECTION, Measure("recall", 5)), ROWS)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is saved, in order."""
    saved: list[Figure] = []
    save = Figure.savefig

    def spy(figure: Figure, *args: Any, **options: Any) -> None:
        saved.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", spy)
    return saved


def compared(*estimates: Estimate, column: Column = SELECTION) -> Table:
    """A row a system: the column of interest between two others."""
    rows = tuple(
        (v, Estimate(9.0, 9.0), e, Estimate(8.0, 8.0))
        for v, e in zip(SYSTEMS, estimates, strict=True)
    )
    return Table("t", "", ("system", Measure("ndcg", 5), column, Measure("ndcg", 20)), rows)


def many(count: int) -> Table:
    rows = tuple((f"system-{n:02}", Estimate(0.1 + n / 100, 0.02)) for n in range(count))
    return Table("t", "", ("system", SELECTION), rows)


def spans(container: Any, axis: int = 1) -> list[tuple[float, float]]:
    """(low, high) of every error bar."""
    (lines,) = container.lines[2]
    return [tuple(np.sort(segment[:, axis])) for segment in lines.get_segments()]


def bars_of(axes: Axes) -> list[BarContainer]:
    return [c for c in axes.containers if isinstance(c, BarContainer)]


def lines_of(axes: Axes) -> list[ErrorbarContainer]:
    return [c for c in axes.containers if isinstance(c, ErrorbarContainer)]


def points_of(line: Any) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def behind(axes: Axes) -> list[list[list[float]]]:
    """The lines of the others."""
    (found,) = [c for c in axes.collections if c.get_linewidths()[0] < 1]
    return [segment.tolist() for segment in found.get_segments()]


def ticks(axis: Any) -> list[str]:
    return [text.get_text() for text in axis.get_ticklabels()]


def words(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_bars_stand_by_height_with_name_interval_and_value(drawn: list[Figure]) -> None:
    svg = figures.bars(
        compared(Estimate(0.2, 0.05), Estimate(0.3, 0.1), Estimate(0.1, 0.02)), SELECTION
    )
    (axes,) = drawn[0].axes
    bars = bars_of(axes)
    assert [bar.patches[0].get_width() for bar in bars] == [0.3, 0.2, 0.1]
    assert [b.patches[0].get_y() + b.patches[0].get_height() / 2 for b in bars] == pytest.approx(
        [0, 1, 2]
    )
    found = [spans(bar.errorbar, axis=0)[0] for bar in bars]
    assert np.allclose(found, [(0.2, 0.4), (0.15, 0.25), (0.08, 0.12)])
    assert ticks(axes.yaxis) == ["frozen", "none", "alpha"]
    assert words(axes) == ["0.3000", "0.2000", "0.1000"]
    bottom, top = axes.get_ylim()
    assert top < 0 and bottom > 2  # the highest on top
    assert drawn[0].get_supxlabel() == "NDCG@10, mean over seeds"
    texts = [e.text for e in ET.fromstring(svg).iter() if e.tag.endswith("}text")]
    assert {"NDCG@10, mean over seeds", "0.3000", *SYSTEMS} <= set(texts)  # text stays text


def test_bars_tell_who_reads_content_without_colour(drawn: list[Figure]) -> None:
    table = compared(Estimate(0.2, 0.05), Estimate(0.3, 0.1), Estimate(0.1, 0.02))
    figures.bars(table, SELECTION, content={"frozen", "alpha"})
    figures.bars(table, SELECTION)
    filled, all_filled = (
        [bar.patches[0].get_facecolor()[3] > 0 for bar in bars_of(figure.axes[0])]
        for figure in drawn
    )
    assert filled == [True, False, True] and all(all_filled)
    assert "hollow: without" in drawn[0].get_supxlabel()


def test_one_seed_has_no_intervals(drawn: list[Figure]) -> None:
    single = [Estimate(0.2, None), Estimate(0.3, None), Estimate(0.1, None)]
    table = compared(*single, column=RECALL)
    figures.bars(table, RECALL)
    figures.bars_by_system([table], [RECALL])
    figures.differences(table, RECALL, "a difference")
    rows = (("none", 0, single[0]), ("none", 1, single[1]))
    figures.depths(Table("t", "", ("system", "layers", RECALL), rows), RECALL)
    assert "Recall@10" in drawn[0].get_supxlabel()
    for figure in drawn[:2]:
        assert all(bar.errorbar is None for axes in figure.axes for bar in bars_of(axes))
    for figure in drawn[2:]:
        assert not any(line.has_yerr or line.has_xerr for line in lines_of(figure.axes[0]))


def test_bars_by_system_take_each_tables_own_column(drawn: list[Figure]) -> None:
    tables = [
        compared(Estimate(0.2, 0.05), Estimate(0.3, 0.1), Estimate(0.1, 0.02), column=RECALL),
        compared(Estimate(0.5, 0.01), Estimate(0.6, None), Estimate(0.7, 0.04)),
    ]
    figures.bars_by_system(tables, [RECALL, SELECTION])
    assert titles(drawn[0]) == list(SYSTEMS)
    expected = [[0.2, 0.5], [0.3, 0.6], [0.1, 0.7]]
    for axes, values in zip(drawn[0].axes, expected, strict=True):
        bars = bars_of(axes)
        assert [bar.patches[0].get_width() for bar in bars] == values
        assert words(axes) == [f"{value:.4f}" for value in values]
        assert axes.get_xlim()[0] == 0 and axes.get_xlim()[1] > 0.74  # nothing is cut off
        bottom, top = axes.get_ylim()
        assert top < 0 and bottom > 1
    first, second, _ = (bars_of(axes) for axes in drawn[0].axes)
    assert np.allclose(spans(first[0].errorbar, axis=0), [(0.15, 0.25)])
    assert np.allclose(spans(first[1].errorbar, axis=0), [(0.49, 0.51)])
    assert second[1].errorbar is None
    assert ticks(drawn[0].axes[0].yaxis) == ["Recall@10", "NDCG@10"]


def test_depths_draw_a_panel_a_system(drawn: list[Figure]) -> None:
    figures.depths(DEPTHS, SELECTION)
    assert titles(drawn[0]) == ["none", "alpha"]
    none, alpha = drawn[0].axes
    for axes, values, intervals, others in (
        (none, [0.2, 0.3], [(0.15, 0.25), (0.24, 0.36)], [0.4, 0.1]),
        (alpha, [0.4, 0.1], [(0.39, 0.41), (0.08, 0.12)], [0.2, 0.3]),
    ):
        (line,) = lines_of(axes)
        assert points_of(line.lines[0]) == list(zip([0, 3], values, strict=True))
        assert np.allclose(spans(line), intervals)
        assert [y for segment in behind(axes) for _, y in segment[:2]] == others
        assert list(axes.get_xticks()) == [0, 3]
    assert none.get_ylim() == alpha.get_ylim()
    assert drawn[0].get_supxlabel() == "propagation layers K"
    assert drawn[0].get_supylabel() == "NDCG@10"


def test_differences_stand_from_the_highest_down_around_zero(drawn: list[Figure]) -> None:
    table = compared(Estimate(0.2, 0.05), Estimate(-0.3, 0.1), Estimate(0.1, 0.12))
    figures.differences(table, SELECTION, "a difference")
    (axes,) = drawn[0].axes
    points = lines_of(axes)
    assert [points_of(p.lines[0]) for p in points] == [[(0.2, 0)], [(0.1, 1)], [(-0.3, 2)]]
    assert np.allclose(
        [spans(p, axis=0)[0] for p in points], [(0.15, 0.25), (-0.02, 0.22), (-0.4, -0.2)]
    )
    assert ticks(axes.yaxis) == ["none", "alpha", "frozen"] and list(axes.get_yticks()) == [0, 1, 2]
    bottom, top = axes.get_ylim()
    assert top < 0 and bottom > 2
    zero = [line for line in axes.lines if list(line.get_xdata()) == [0, 0]]
    assert len(zero) == 1
    hollow = [to_hex(p.lines[0].get_markerfacecolor()) == look.PAPER for p in points]
    assert hollow == [False, True, False]  # whose interval includes zero
    assert drawn[0].get_supxlabel() == "a difference\nfilled: the interval excludes 0"


def test_both_losses_of_a_system_stand_in_its_panel(drawn: list[Figure]) -> None:
    rows = (
        ("none", 1, 0.9, 0.8), ("none", 2, 0.5, 0.7), ("alpha", 1, 9.0, None),
        ("alpha", 2, 8.0, None), ("alpha", 3, 7.0, None),
    )  # fmt: skip
    table = Table("curves", "", ("system", "epoch", "train_loss", "validation_loss"), rows)
    figures.losses(table, ["train_loss", "validation_loss"], "Loss (BPR)")
    none, alpha = drawn[0].axes
    assert [points_of(line) for line in none.lines] == [[(1, 0.9), (2, 0.5)], [(1, 0.8), (2, 0.7)]]
    assert points_of(alpha.lines[0]) == [(1, 9.0), (2, 8.0), (3, 7.0)]
    assert points_of(alpha.lines[1]) == []  # it has none
    assert none.get_ylim()[1] < 1 < alpha.get_ylim()[0]  # scales of their own
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["train loss", "validation loss"]
    styles = [(line.get_linestyle(), line.get_color()) for line in none.lines]
    assert styles[0][0] != styles[1][0]  # told apart without colour
    assert drawn[0].get_supylabel() == "Loss (BPR)"


def test_filled_is_what_is_told_apart_whatever_intervals_say(drawn: list[Figure]) -> None:
    table = compared(Estimate(0.2, 0.05), Estimate(-0.3, 0.1), Estimate(0.1, 0.12))
    figures.differences(table, SELECTION, "a difference", told={"frozen", "alpha"})
    figures.differences(table, SELECTION, "a difference", told=set())
    hollow = [
        [to_hex(p.lines[0].get_markerfacecolor()) == look.PAPER for p in lines_of(one.axes[0])]
        for one in drawn
    ]
    assert hollow == [[True, False, False], [True, True, True]]  # none, alpha, frozen
    for one in drawn:
        assert one.get_supxlabel() == "a difference\nfilled: told apart (see the verdicts)"


def test_differences_may_be_of_something_else(drawn: list[Figure]) -> None:
    rows = (("cold", Estimate(0.1, 0.05)), ("warm", Estimate(0.2, 0.3)))
    figures.differences(Table("t", "", ("slice", "gain"), rows), "gain", "gain of `frozen`")
    (axes,) = drawn[0].axes
    assert ticks(axes.yaxis) == ["warm", "cold"] and words(axes) == ["0.2000", "0.1000"]
    assert drawn[0].get_supxlabel().startswith("gain of `frozen`\n")


def test_differences_may_keep_the_order_of_their_table(drawn: list[Figure]) -> None:
    rows = (("0–4", Estimate(0.1, 0.05)), ("5–9", Estimate(0.3, 0.1)), ("10+", Estimate(0.2, 0.1)))
    table = Table("t", "", ("history", "gain"), rows)
    figures.differences(table, "gain", "gain", falling=False)
    (axes,) = drawn[0].axes
    assert ticks(axes.yaxis) == ["0–4", "5–9", "10+"]
    assert words(axes) == ["0.1000", "0.3000", "0.2000"]


def test_intervals_need_not_lie_evenly_about_their_means(drawn: list[Figure]) -> None:
    rows = (("a", Interval(0.1, -0.01, 0.15)), ("b", Interval(-0.2, -0.5, -0.19)))
    table = Table("t", "", ("system", "gain"), rows, signed=frozenset({"gain"}))
    figures.differences(table, "gain", "gain")
    (axes,) = drawn[0].axes
    points = lines_of(axes)
    assert np.allclose([spans(p, axis=0)[0] for p in points], [(-0.01, 0.15), (-0.5, -0.19)])
    hollow = [to_hex(p.lines[0].get_markerfacecolor()) == look.PAPER for p in points]
    assert hollow == [True, False]
    assert words(axes) == ["+0.1000", "−0.2000"]


def test_one_value_beside_intervals_has_none(drawn: list[Figure]) -> None:
    """As of a system that reads no seed: neither a bar nor its caps."""
    table = compared(Estimate(0.2, 0.05), Estimate(0.3, None), Estimate(0.1, 0.02))
    figures.bars(table, SELECTION)
    figures.differences(table, SELECTION, "a difference")
    assert [bar.errorbar is None for bar in bars_of(drawn[0].axes[0])] == [True, False, False]
    assert [p.has_xerr for p in lines_of(drawn[1].axes[0])] == [False, True, True]
    rows = (("none", 0, Estimate(0.2, None)), ("none", 1, Estimate(0.3, 0.1)))
    figures.depths(Table("t", "", ("system", "layers", SELECTION), rows), SELECTION)
    (line,) = lines_of(drawn[2].axes[0])
    assert [len(segment) for segment in line.lines[2][0].get_segments()] == [0, 2]


def test_curves_over_epochs(drawn: list[Figure]) -> None:
    rows = (
        (2, 1, 9.0, 0.5), (2, 2, 9.0, 0.4), (2, 3, 9.0, 0.3),
        (0, 1, 9.0, 0.9), (0, 2, 9.0, None), (0, 3, 9.0, 0.8),
    )  # fmt: skip
    figures.curves(Table("t", "", ("layers", "epoch", "other", "alpha"), rows), "alpha", "α")
    assert titles(drawn[0]) == ["K = 2", "K = 0"]
    first, second = drawn[0].axes
    (line,) = first.lines
    assert points_of(line) == [(1, 0.5), (2, 0.4), (3, 0.3)]
    assert [segment[0] for segment in behind(first)] == [[1, 0.9]]
    assert points_of(second.lines[0])[::2] == [(1, 0.9), (3, 0.8)]
    assert drawn[0].get_supylabel() == "α" and drawn[0].get_supxlabel() == "epoch"
    rows = (("none", 1, 0.5), ("frozen", 1, 0.4))
    figures.curves(Table("t", "", ("system", "epoch", "loss"), rows), "loss", "Loss")
    assert titles(drawn[1]) == ["none", "frozen"]


def test_long_names_stay_within_their_panels(drawn: list[Figure]) -> None:
    names = [f"a_system_of_ones_own_{n}" for n in range(6)]
    rows = tuple((name, layers, Estimate(0.1, 0.02)) for name in names for layers in (0, 1))
    figures.depths(Table("t", "", ("system", "layers", SELECTION), rows), SELECTION)
    figures.bars(
        Table("t", "", ("system", SELECTION), tuple((r[0], r[2]) for r in rows)), SELECTION
    )
    assert [title.replace("\n", "") for title in titles(drawn[0])] == names
    for figure in drawn:
        figure.draw_without_rendering()
        inside = figure.bbox.padded(1)
        for axes in figure.axes:
            box = axes.get_tightbbox()
            assert inside.x0 <= box.x0 and box.x1 <= inside.x1
    boxes = [axes.get_tightbbox() for axes in drawn[0].axes[:4]]
    assert all(one.x1 <= other.x0 for one, other in pairwise(boxes))


def test_what_stands_behind_keeps_its_ends(drawn: list[Figure]) -> None:
    rows = tuple((name, epoch, epoch / 10) for name in SYSTEMS[:2] for epoch in range(1, 500))
    figures.curves(Table("t", "", ("system", "epoch", "loss"), rows), "loss", "Loss")
    (line,) = behind(drawn[0].axes[0])
    assert line[0] == [1, 0.1] and line[-1] == [499, 49.9] and len(line) < 50
    assert len(drawn[0].axes[0].lines[0].get_xdata()) == 499


def test_the_history_of_one_model(drawn: list[Figure]) -> None:
    table = Table(
        "t", "", ("epoch", "train_loss", "validation_loss", "ndcg@10"),
        ((1, 0.5, 0.6, 0.1), (2, 0.4, 0.7, 0.2)),
    )  # fmt: skip
    figures.history(table, ["train_loss", "validation_loss"], "Loss")
    figures.history(table, ["ndcg@10"], "NDCG")
    (axes,) = drawn[0].axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.5, 0.4], [0.6, 0.7]]
    assert all(list(line.get_xdata()) == [1, 2] for line in axes.lines)
    assert len({line.get_linestyle() for line in axes.lines}) == 2
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert labels == ["train loss", "validation loss"]
    assert titles(drawn[0]) == ["Loss"] and axes.get_xlabel() == "epoch"
    assert list(drawn[1].axes[0].lines[0].get_ydata()) == [0.1, 0.2]
    assert not drawn[1].legends  # the title names a single line


@pytest.mark.parametrize("count", [1, 2, 3, 5, 14, 16])
def test_any_number_of_systems_is_named_in_readable_letters(
    count: int, drawn: list[Figure]
) -> None:
    table = many(count)
    deep = replace(
        table,
        columns=("system", "layers", SELECTION),
        rows=tuple((name, k, value) for name, value in table.rows for k in (0, 1, 2)),
    )
    epochs = replace(deep, columns=("system", "epoch", "loss"))
    drawings = [
        figures.bars(table, SELECTION),
        figures.differences(table, SELECTION, "a difference"),
        figures.bars_by_system([table] * 6, [SELECTION] * 6),
        figures.depths(deep, SELECTION),
        figures.curves(epochs, "loss", "Loss"),
    ]
    for svg in drawings:
        root = ET.fromstring(svg[svg.index("<svg") :])
        texts = [element for element in root.iter() if element.tag.endswith("}text")]
        assert set(table["system"]) <= {element.text for element in texts}
        for element in texts:
            size = re.search(r"([\d.]+)px", element.get("style", ""))
            assert size and float(size[1]) * 96 / 72 >= 12
        assert look.width_of(svg) in (look.NARROW, look.WIDE)
    for figure in drawn:
        width, height = figure.get_size_inches() * 96
        for axes in figure.axes:  # nothing overlaps, nothing is squeezed to nothing
            box = axes.get_position()
            assert box.width * width > 60 and box.height * height > 15


def luminance(colour: str) -> float:
    """WCAG 2's relative luminance."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_colour_stands_out_on_light_and_dark_cards() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    cards = re.findall(r"--panel: (#\w{6})", (TEMPLATES / "report.css").read_text())
    assert len(cards) == 2 and contrast(*cards) > 10
    assert len(set(look.PALETTE)) == len(look.MARKERS) == 8
    for colour in look.PALETTE:
        assert min(contrast(colour, card) for card in (*cards, "#ffffff")) >= 3


def test_equal_tables_give_equal_bytes() -> None:
    first, second = figures.depths(DEPTHS, SELECTION), figures.depths(DEPTHS, SELECTION)
    assert first == second != figures.depths(DEPTHS, Measure("recall", 5))
    assert "dc:date" not in first and "matplotlib.org/" not in first  # no date, no version


def test_a_drawing_on_a_page() -> None:
    svg = figures.depths(DEPTHS, SELECTION)
    assert look.INK in svg and look.PAPER in svg
    shown = look.inline(svg, "depth", 'a < b & "c"')
    root = ET.fromstring(shown)
    assert root.get("role") == "img" and root.get("aria-label") == 'a < b & "c"'
    ids = [i for i in (element.get("id") for element in root.iter()) if i]
    assert ids and all(i.startswith("depth-") for i in ids)
    links = {v[1:] for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")}
    assert links and links <= set(ids)  # what is referred to is there under its new name
    clips = [e.get("clip-path") for e in root.iter() if e.get("clip-path")]
    assert clips and all(c[5:-1] in ids for c in clips)
    assert look.INK not in shown and look.PAPER not in shown and "currentColor" in shown
