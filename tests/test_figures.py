"""What the figures draw: read from the drawn axes, not from pixels."""

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure

from model.metrics import SELECTION, Measure
from pipeline.reporting import figures
from pipeline.reporting.estimates import Estimate
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


def spans(container: Any, axis: int = 1) -> list[tuple[float, float]]:
    """(low, high) of every error bar."""
    (lines,) = container.lines[2]
    return [tuple(np.sort(segment[:, axis])) for segment in lines.get_segments()]


def bars_of(axes: Axes) -> list[BarContainer]:
    return [c for c in axes.containers if isinstance(c, BarContainer)]


def lines_of(axes: Axes) -> list[ErrorbarContainer]:
    return [c for c in axes.containers if isinstance(c, ErrorbarContainer)]


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def ticks(axis: Any) -> list[str]:
    return [text.get_text() for text in axis.get_ticklabels()]


def test_bars_show_means_and_intervals(drawn: list[Figure]) -> None:
    svg = figures.bars(
        compared(Estimate(0.2, 0.05), Estimate(0.3, 0.1), Estimate(0.1, 0.02)), SELECTION
    )
    (axes,) = drawn[0].axes
    bars = bars_of(axes)
    assert [bar.patches[0].get_height() for bar in bars] == [0.2, 0.3, 0.1]
    assert [b.patches[0].get_x() + b.patches[0].get_width() / 2 for b in bars] == pytest.approx(
        [0, 1, 2]
    )
    found = [spans(bar.errorbar)[0] for bar in bars]
    assert np.allclose(found, [(0.15, 0.25), (0.2, 0.4), (0.08, 0.12)])
    assert ticks(axes.xaxis) == list(SYSTEMS)
    assert axes.get_title() == "NDCG@10" and axes.get_ylabel() == "mean over seeds"
    texts = [e.text for e in ET.fromstring(svg).iter() if e.tag.endswith("}text")]
    assert {"NDCG@10", *SYSTEMS} <= set(texts)  # text stays text


def test_one_seed_has_no_intervals(drawn: list[Figure]) -> None:
    single = [Estimate(0.2, None), Estimate(0.3, None), Estimate(0.1, None)]
    table = compared(*single, column=RECALL)
    figures.bars(table, RECALL)
    figures.bars_by_system([table], [RECALL])
    figures.differences(table, RECALL)
    rows = (("none", 0, single[0]), ("none", 1, single[1]))
    figures.depths(Table("t", "", ("system", "layers", RECALL), rows), RECALL)
    assert drawn[0].axes[0].get_title() == "Recall@10"
    for figure in drawn[:2]:
        assert all(bar.errorbar is None for bar in bars_of(figure.axes[0]))
    for figure in drawn[2:]:
        assert not any(line.has_yerr or line.has_xerr for line in lines_of(figure.axes[0]))


def test_grouped_bars_take_each_tables_own_column(drawn: list[Figure]) -> None:
    tables = [
        compared(Estimate(0.2, 0.05), Estimate(0.3, 0.1), Estimate(0.1, 0.02), column=RECALL),
        compared(Estimate(0.5, 0.01), Estimate(0.6, 0.03), Estimate(0.7, 0.04)),
    ]
    figures.bars_by_system(tables, [RECALL, SELECTION])
    (axes,) = drawn[0].axes
    bars = bars_of(axes)
    heights = [[p.get_height() for p in bar.patches] for bar in bars]
    assert heights == [[0.2, 0.3, 0.1], [0.5, 0.6, 0.7]]
    assert np.allclose(spans(bars[0].errorbar), [(0.15, 0.25), (0.2, 0.4), (0.08, 0.12)])
    assert np.allclose(spans(bars[1].errorbar), [(0.49, 0.51), (0.57, 0.63), (0.66, 0.74)])
    edges = [[(p.get_x(), p.get_x() + p.get_width()) for p in bar.patches] for bar in bars]
    for x, (first, second) in enumerate(zip(*edges, strict=True)):  # side by side around a tick
        assert x - 0.5 < first[0] < first[1] == pytest.approx(second[0])
        assert first[1] == pytest.approx(x) and second[1] < x + 0.5
    assert ticks(axes.xaxis) == list(SYSTEMS)
    assert labels(drawn[0]) == ["Recall@10", "NDCG@10"]
    assert len({to_hex(bar.patches[0].get_facecolor()) for bar in bars}) == 2


def test_depths_draw_a_line_a_system(drawn: list[Figure]) -> None:
    figures.depths(DEPTHS, SELECTION)
    (axes,) = drawn[0].axes
    none, alpha = lines_of(axes)
    for line, values, intervals in (
        (none, [0.2, 0.3], [(0.15, 0.25), (0.24, 0.36)]),
        (alpha, [0.4, 0.1], [(0.39, 0.41), (0.08, 0.12)]),
    ):
        assert list(line.lines[0].get_ydata()) == values
        assert np.allclose(line.lines[0].get_xdata(), [0, 3], atol=0.1)
        assert np.allclose(spans(line), intervals)
    assert list(axes.get_xticks()) == [0, 3]
    assert labels(drawn[0]) == ["none", "alpha"]
    assert axes.get_xlabel() == "propagation layers K" and axes.get_title() == "NDCG@10"


def test_differences_stand_from_top_to_bottom_around_zero(drawn: list[Figure]) -> None:
    table = compared(Estimate(0.2, 0.05), Estimate(-0.3, 0.1), Estimate(0.1, 0.02))
    figures.differences(table, SELECTION)
    (axes,) = drawn[0].axes
    points = lines_of(axes)
    assert [float(p.lines[0].get_xdata()[0]) for p in points] == [0.2, -0.3, 0.1]
    assert [float(p.lines[0].get_ydata()[0]) for p in points] == [0, 1, 2]
    assert np.allclose(
        [spans(p, axis=0)[0] for p in points], [(0.15, 0.25), (-0.4, -0.2), (0.08, 0.12)]
    )
    assert ticks(axes.yaxis) == list(SYSTEMS) and list(axes.get_yticks()) == [0, 1, 2]
    bottom, top = axes.get_ylim()
    assert top < 0 and bottom > 2  # the first system on top
    zero = [line for line in axes.lines if list(line.get_xdata()) == [0, 0]]
    assert len(zero) == 1


def test_a_system_has_one_colour_in_every_figure(drawn: list[Figure]) -> None:
    figures.bars(compared(*[Estimate(0.2, 0.05)] * 3), SELECTION)
    figures.differences(compared(*[Estimate(0.2, 0.05)] * 3), SELECTION)
    figures.depths(DEPTHS, SELECTION)
    rows = tuple((v, epoch, 0.5) for v in ("alpha", "none") for epoch in (1, 2))
    figures.curves(Table("t", "", ("system", "epoch", "loss"), rows), "loss", "Loss")
    bars, points, depths, curves = (figure.axes[0] for figure in drawn)
    colours = [to_hex(bar.patches[0].get_facecolor()) for bar in bars_of(bars)]
    assert len(set(colours)) == 3
    assert [to_hex(p.lines[0].get_color()) for p in lines_of(points)] == colours
    by_system = dict(zip(SYSTEMS, colours, strict=True))
    assert [to_hex(line.lines[0].get_color()) for line in lines_of(depths)] == [
        by_system["none"], by_system["alpha"],
    ]  # fmt: skip
    assert [to_hex(line.get_color()) for line in curves.lines] == [
        by_system["alpha"], by_system["none"],
    ]  # fmt: skip
    assert len({line.get_linestyle() for line in curves.lines}) == 2
    assert len({p.lines[0].get_marker() for p in lines_of(points)}) == 3


def test_one_value_beside_intervals_has_none(drawn: list[Figure]) -> None:
    """As of a system that reads no seed: neither a bar nor its caps."""
    table = compared(Estimate(0.2, 0.05), Estimate(0.3, None), Estimate(0.1, 0.02))
    figures.bars_by_system([table], [SELECTION])
    figures.bars(table, SELECTION)
    figures.differences(table, SELECTION)
    (grouped,) = bars_of(drawn[0].axes[0])
    (segments,) = (lines.get_segments() for lines in grouped.errorbar.lines[2])
    assert [len(segment) for segment in segments] == [2, 0, 2]
    assert [bar.errorbar is None for bar in bars_of(drawn[1].axes[0])] == [False, True, False]
    assert [p.has_xerr for p in lines_of(drawn[2].axes[0])] == [True, False, True]
    rows = (("none", 0, Estimate(0.2, None)), ("none", 1, Estimate(0.3, 0.1)))
    figures.depths(Table("t", "", ("system", "layers", SELECTION), rows), SELECTION)
    (line,) = lines_of(drawn[3].axes[0])
    assert [len(segment) for segment in line.lines[2][0].get_segments()] == [0, 2]


def test_32_systems_can_be_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"s{n}" for n in range(32)]
    monkeypatch.setattr(figures, "SYSTEMS", tuple(names))
    styles = [figures.style_of(name) for name in names]
    assert len({(s.colour, s.marker) for s in styles}) == 32
    assert len({(s.colour, s.line) for s in styles}) == 32
    assert len({s.colour for s in styles[:8]}) == 8 == len({s.marker for s in styles[:8]})


def test_curves_over_epochs(drawn: list[Figure]) -> None:
    rows = (
        (2, 1, 9.0, 0.5), (2, 2, 9.0, 0.4), (2, 3, 9.0, 0.3),
        (0, 1, 9.0, 0.9), (0, 2, 9.0, 0.8),
    )  # fmt: skip
    figures.curves(Table("t", "", ("layers", "epoch", "other", "alpha"), rows), "alpha", "α")
    (axes,) = drawn[0].axes
    found = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    assert found == [([1, 2, 3], [0.5, 0.4, 0.3]), ([1, 2], [0.9, 0.8])]
    assert labels(drawn[0]) == ["K = 2", "K = 0"]
    assert len({to_hex(line.get_color()) for line in axes.lines}) == 2
    assert axes.get_title() == "α" and axes.get_xlabel() == "epoch"
    rows = (("none", 1, 0.5), ("frozen", 1, 0.4))
    figures.curves(Table("t", "", ("system", "epoch", "loss"), rows), "loss", "Loss")
    assert labels(drawn[1]) == ["none", "frozen"]


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
    assert labels(drawn[0]) == ["train loss", "validation loss"]
    assert axes.get_title() == "Loss" and axes.get_xlabel() == "epoch"
    assert list(drawn[1].axes[0].lines[0].get_ydata()) == [0.1, 0.2]
    assert not drawn[1].legends  # the title names a single line


def test_equal_tables_give_equal_bytes() -> None:
    first, second = figures.depths(DEPTHS, SELECTION), figures.depths(DEPTHS, SELECTION)
    assert first == second != figures.depths(DEPTHS, Measure("recall", 5))
    assert "dc:date" not in first and "matplotlib.org/" not in first  # no date, no version


def test_a_drawing_on_a_page() -> None:
    svg = figures.depths(DEPTHS, SELECTION)
    assert figures.INK in svg and figures.PAPER in svg
    shown = figures.inline(svg, "depth", 'a < b & "c"')
    root = ET.fromstring(shown)
    assert root.get("role") == "img" and root.get("aria-label") == 'a < b & "c"'
    ids = [i for i in (element.get("id") for element in root.iter()) if i]
    assert ids and all(i.startswith("depth-") for i in ids)
    links = {v[1:] for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")}
    assert links and links <= set(ids)  # what is referred to is there under its new name
    clips = [e.get("clip-path") for e in root.iter() if e.get("clip-path")]
    assert clips and all(c[5:-1] in ids for c in clips)
    assert figures.INK not in shown and figures.PAPER not in shown and "currentColor" in shown
