"""How the pages lay out what a report holds."""

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from model.metrics import SELECTION, Measure
from pipeline.reporting.gallery import Gallery, Person, Pick, Recommendations, Tiles
from pipeline.reporting.pages import TEMPLATES, render
from pipeline.reporting.sections import Figure, Report, Section
from pipeline.reporting.svg import NARROW, WIDE
from pipeline.reporting.table import Table
from pipeline.reporting.tiles import Tile

NUMBERS = Table(
    "numbers",
    "Numbers by depth",
    ("layers", SELECTION, Measure("ndcg", 20), Measure("recall", 10), "note"),
    ((0, 0.1, 0.2, 0.3, "a"), (1, 0.4, 0.5, 0.6, "b")),
)
SENTENCES = Table(
    "sentences",
    "What became of each",
    ("modality", "items", "weights", "licence"),
    (("text", 400, "random initialisation, not pretrained", "Apache-2.0"),),
)
PAIRS = Table("pairs", "Keys", ("key", "value"), (("a", "a text of more than a few letters"),))


def section(**parts: Any) -> Section:
    return Section("A section", **parts)


def shown(*sections: Section, template: str = "report.html.j2") -> str:
    report = Report("a catalogue", list(sections), [NUMBERS])
    return render(report, template)


def figure(name: str, width: int) -> Figure:
    return Figure(name, f"Caption of {name}", "alt", f'<svg width="{width}" height="9"></svg>')


def table_of(page: str) -> ET.Element:
    (found,) = re.findall(r"<table.*?</table>", page, re.S)
    return ET.fromstring(found)


def test_every_column_has_a_heading_and_spans_add_up() -> None:
    table = table_of(shown(section(tables=[NUMBERS])))
    groups, headings = ([*row] for row in table.findall("thead/tr"))
    assert [(th.text, th.get("rowspan"), th.get("colspan")) for th in groups] == [
        ("layers", "2", None), ("NDCG", None, "2"), ("recall", None, None), ("note", "2", None),
    ]  # fmt: skip
    assert [th.text for th in headings] == ["@10", "@20", "@10"]
    assert all(th.text for th in table.iter("th"))
    assert [[cell.text for cell in row] for row in table.findall("tbody/tr")] == [
        ["0", "0.1000", "0.2000", "0.3000", "a"], ["1", "0.4000", "0.5000", "0.6000", "b"],
    ]  # fmt: skip


def test_tables_of_sentences_stay_tables_when_their_rows_are_blocks() -> None:
    table = table_of(shown(section(tables=[SENTENCES])))
    assert table.get("role") == "table" and "prose" in table.get("class", "").split()
    assert {row.get("role") for row in table.iter("tr")} == {"row"}
    cells = [*table.iter("td")]
    assert [cell.get("data-label") for cell in cells] == ["items", "weights", "licence"]
    assert {cell.get("role") for cell in cells} == {"cell"}
    for other in (NUMBERS, PAIRS):
        table = table_of(shown(section(tables=[other])))
        assert table.get("role") is None and "prose" not in table.get("class", "")


@pytest.mark.parametrize("template", ["report.html.j2", "report.md.j2"])
def test_a_table_links_to_its_file_where_there_is_one(template: str) -> None:
    page = shown(section(tables=[NUMBERS, SENTENCES]), template=template)
    assert re.findall(r"tables/(\w+)\.csv", page) == ["numbers"]


@pytest.mark.parametrize("template", ["report.html.j2", "report.md.j2"])
def test_folded_tables_stand_in_details(template: str) -> None:
    page = shown(section(tables=[SENTENCES], folded=[NUMBERS, PAIRS]), template=template)
    before, inside = page.split("<details>")
    inside, after = inside.split("</details>")
    assert re.findall(r"<summary>(.*?)</summary>", inside) == ["2 more tables: numbers, pairs"]
    assert NUMBERS.caption in inside and PAIRS.caption in inside and "tables/numbers.csv" in inside
    assert SENTENCES.caption in before and PAIRS.caption not in before + after
    assert "<details" not in shown(section(tables=[NUMBERS]), template=template)
    assert "<summary>1 more table: pairs</summary>" in shown(
        section(folded=[PAIRS]), template=template
    )


def test_names_and_leads_of_sentences_are_marked_and_nothing_else_is() -> None:
    text = ["**Does `a<b>` help?** 2 * 3 ** 2 & more.", "**One.** Two. **Three.**"]
    page = shown(section(text=text))
    assert "<strong>Does <code>a&lt;b&gt;</code> help?</strong> 2 * 3 ** 2 &amp; more." in page
    assert "<strong>One.</strong> Two. <strong>Three.</strong>" in page
    assert all(line in shown(section(text=text), template="report.md.j2") for line in text)


def test_measures_are_called_as_people_do_in_markdown() -> None:
    page = shown(section(tables=[NUMBERS]), template="report.md.j2")
    assert "| layers | NDCG@10 | NDCG@20 | Recall@10 | note |\n" in page


@pytest.mark.parametrize(("columns", "left_out"), [(24, False), (25, True)])
def test_what_no_paper_holds_is_left_out_of_print(columns: int, left_out: bool) -> None:
    table = Table("t", "", tuple(f"c{n}" for n in range(columns)), ((1,) * columns,))
    page = shown(section(tables=[table]))
    assert ('<figure class="table paperless">' in page) == left_out
    assert page.count("<td") == columns - 1


@pytest.mark.parametrize("template", ["report.html.j2", "report.md.j2"])
def test_a_gallery_stands_in_its_section(template: str) -> None:
    tile = Tile("i1", "A <title>", "", ())
    rows = (Recommendations("frozen", 2, (Pick(tile, True),)),)
    person = Person("User 7", Tiles((tile,), 1), Tiles((tile,), 3), rows)
    page = shown(
        section(tables=[NUMBERS], gallery=Gallery("test", (person,), {})), template=template
    )
    assert page.index("Numbers by depth") < page.index("frozen, K = 2")
    assert "<title>" not in page.split("</head>")[-1] and "User 7" in page
    assert "frozen" not in shown(section(tables=[NUMBERS]), template=template)


def test_wide_drawings_take_a_row_and_can_be_scrolled() -> None:
    page = shown(section(figures=[figure("a", NARROW), figure("b", WIDE)]))
    narrow, wide = re.findall(r"<figure.*?</figure>", page, re.S)
    assert 'class="wide"' in wide and 'tabindex="0"' in wide and f"--natural: {WIDE}px" in wide
    assert "class" not in narrow.split(">")[0] and "tabindex" not in narrow
    assert f"--natural: {NARROW}px" in narrow


@pytest.mark.parametrize(
    ("text", "widths", "beside"),
    [
        (["words"], [NARROW], True),
        ([], [NARROW], False),
        (["words"], [WIDE], False),
        (["words"], [NARROW] * 2, False),
    ],
)
def test_a_lone_drawing_stands_beside_its_text(
    text: list[str], widths: list[int], beside: bool
) -> None:
    drawings = [figure(f"f{i}", width) for i, width in enumerate(widths)]
    page = shown(section(text=text, figures=drawings))
    assert ('<div class="beside">' in page) == beside
    assert page.count("<svg") == len(widths)


def test_dark_is_for_screens_alone() -> None:
    style = (TEMPLATES / "report.css").read_text()
    assert re.findall(r"@media ([^{]*dark[^{]*)\{", style) == [
        "screen and (prefers-color-scheme: dark) "
    ]
    assert style in shown(section())  # the page stands alone
