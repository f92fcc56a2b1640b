"""The gallery: who and what is shown, what a picture costs and cannot break, both pages."""

import csv
import hashlib
import io
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from pipeline.catalogue.titles import clipped, plain
from pipeline.common import paths
from pipeline.common.files import InputError, write_csv
from pipeline.encoding.manifest import Item
from pipeline.reporting.gallery import Gallery, chosen, gallery
from pipeline.reporting.pages import TEMPLATES
from pipeline.reporting.thumbnails import SIDE, thumbnails
from pipeline.reporting.tiles import escaped

DATASET = Path("data/raw/shop")
ITEMS = 30
LISTS = pa.schema(
    [("system", pa.string()), ("control", pa.string()), ("layers", pa.int64()),
     ("seed", pa.int64()), ("split", pa.string()), ("user", pa.int32()),
     ("items", pa.list_(pa.int32()))]
)  # fmt: skip
SHOWN = [("ease", None), ("frozen", 2)]
HOSTILE = {
    3: "</style><script>alert('x')</script>",
    4: "long " * 60,
    5: "שלום \u202eevil\u202c | pipe",
    6: "two\nlines\tand\0more",
    7: "👩‍🚀 *star* [link](javascript:x) `code` $x$ &amp;",
    8: None,
    9: " \u200b ",
}


def picture(path: Path, size: tuple[int, int] = (300, 200), **options: Any) -> str:
    """Write a noisy image below the dataset folder; its sha256."""
    file = DATASET / path
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).integers(0, 255, (8, 8, 3), np.uint8)
    Image.fromarray(noise).resize(size).save(file, **options)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def manifest(modality: str, rows: list[tuple[str, str, str]], **metadata: str) -> None:
    columns = [[row[place] for row in rows] for place in range(3)]
    schema = pa.schema([(n, pa.string()) for n in ("item_id", "source", "sha256")], metadata)
    paths.MANIFESTS.mkdir(parents=True, exist_ok=True)
    table = pa.table([pa.array(c, pa.string()) for c in columns], schema=schema)
    pq.write_table(table, paths.manifest_path(modality))


def interactions(split: str, pairs: list[tuple[int, int]]) -> None:
    users, items = zip(*pairs, strict=True) if pairs else ((), ())
    table = pa.table({"user": pa.array(users, pa.int32()), "item": pa.array(items, pa.int32())})
    pq.write_table(table, paths.split_path(split))


def ranked(system: str, layers: int | None, seed: int | None, users: range) -> list[dict[str, Any]]:
    """Lists for both splits that differ by seed and depth, with a placebo's beside them."""
    start = (layers or 0) + 3 * (seed or 0)
    return [
        {"system": system, "control": control, "layers": layers, "seed": seed, "split": split,
         "user": user, "items": [(start + user + n + bool(control)) % ITEMS for n in range(20)]}
        for control in ("placebo", None)
        for split in ("validation", "test")
        for user in users
    ]  # fmt: skip


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path | pa.Table]:
    """A prepared catalogue of 9 users and 30 items. User u has u + 1 training items."""
    monkeypatch.chdir(tmp_path)
    paths.PREPARED.mkdir(parents=True)
    ids = [f"i{n:02}" for n in range(ITEMS)]
    titles = [HOSTILE.get(n, f"Title {n}") for n in range(ITEMS)]
    pq.write_table(pa.table({"item_id": ids, "title": titles}), paths.ITEMS)
    pq.write_table(pa.table({"user_id": [f"u<{n}>" for n in range(9)]}), paths.USERS)
    interactions("train", [(user, item) for user in range(9) for item in range(user + 1)])
    interactions("validation", [(user, 10 + user) for user in range(9)])
    interactions("test", [(user, 7 + user) for user in range(9)] + [(2, 20), (2, 21)])
    good = picture(Path("images/good.jpg"))
    manifest("text", [("i08", "one two three four five six seven eight nine ten", "x")])
    manifest("image", [("i10", "images/good.jpg", good)])
    manifest("audio", [("i10", "a.wav", "x"), ("i11", "b.wav", "x")])
    manifest("video", [("i11", "b.mp4", "x")])
    ease = pa.Table.from_pylist(ranked("ease", None, None, range(9)), LISTS)
    rows = [row for k in (0, 2) for s in (1, 5) for row in ranked("frozen", k, s, range(9))]
    pq.write_table(pa.Table.from_pylist(rows, LISTS), "frozen.parquet")
    return {"ease": ease, "frozen": Path("frozen.parquet")}


def shown(study: dict[str, Path | pa.Table], **options: Any) -> Gallery:
    given = {"shown": SHOWN, "seed": 5, "split": "test", "dataset": DATASET} | options
    found = gallery(study, **given)
    assert found is not None
    return found


def page(found: Gallery, template: str = "gallery.html.j2") -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made = environment.get_template(template).make_module()
    return str(made.gallery_of(found))  # type: ignore[attr-defined]


def codes(tiles: Any) -> list[int]:
    return [int(tile.item_id[1:]) for tile in tiles]


def histories(study: dict[str, Path | pa.Table]) -> list[list[int]]:
    """What tells the users apart."""
    return [codes(person.history.first) for person in shown(study).people]


def test_each_row_is_of_the_system_depth_seed_and_split_that_were_asked_for(study):
    person = shown(study).people[0]
    ease, frozen = person.recommendations
    assert (ease.label, frozen.label) == ("ease", "frozen, K = 2")
    assert codes(pick.tile for pick in ease.picks) == list(range(10))  # user 0, no placebo
    assert codes(pick.tile for pick in frozen.picks) == list(range(17, 27))  # 2 + 3 · 5
    shallow = shown(study, shown=[("frozen", 0)], seed=1).people[0].recommendations[0]
    assert codes(pick.tile for pick in shallow.picks) == list(range(3, 13))


def test_what_was_liked_in_the_compared_split_alone_is_marked(study):
    person = shown(study).people[0]
    assert person.name == "User 1"
    assert [pick.liked for pick in person.recommendations[0].picks] == [n == 7 for n in range(10)]
    assert person.recommendations[0].hits == 1
    assert codes(person.history.first) == [0, 10]  # train, then validation
    assert codes(person.relevant.first) == [7]
    before = shown(study, split="validation").people[0]
    assert (codes(before.history.first), codes(before.relevant.first)) == ([0], [10])


def test_a_long_history_says_how_much_of_it_is_not_shown(study):
    interactions("train", [(0, item) for item in range(20)])
    history = next(p for p in shown(study).people if p.history.total > 20).history
    assert (codes(history.first), history.total, history.more) == (list(range(12)), 21, 9)


def test_users_are_spread_over_the_lengths_of_histories():
    lengths = np.arange(120)[::-1].copy()  # user 119 has the shortest
    assert chosen(np.arange(120), lengths) == [109, 89, 69, 49, 29, 9]
    assert chosen(np.arange(12), np.ones(12, int)) == [1, 3, 5, 7, 9, 11]  # ties: by code
    assert chosen(np.array([4, 8]), np.array([0, 0, 0, 0, 3])) == [8, 4]  # user 8 has none
    assert chosen(np.array([], int), lengths) == []


def test_users_are_chosen_whatever_is_recommended_to_them(study):
    before = histories(study)
    assert len(before) == 6
    rows = [row | {"items": row["items"][::-1]} for row in study["ease"].to_pylist()]
    study["ease"] = pa.Table.from_pylist(rows, LISTS)
    assert histories(study) == before


def test_only_users_with_something_to_be_found_and_a_list_of_every_system_are_shown(study):
    interactions("test", [(1, 2), (6, 3), (8, 4)])
    study["ease"] = pa.Table.from_pylist(ranked("ease", None, None, range(7)), LISTS)
    assert histories(study) == [[0, 1, 11], [0, 1, 2, 3, 4, 5, 6, 16]]  # users 1 and 6
    assert [person.name for person in shown(study).people] == ["User 1", "User 2"]


def test_nothing_to_show_is_no_gallery_and_lists_that_are_missing_are_an_error(study):
    assert gallery(study, [], 5, "test", DATASET) is None
    with pytest.raises(InputError, match=r"frozen: no ranked lists of K = 3, seed 5, test"):
        shown(study, shown=[("frozen", 3)])
    interactions("test", [])
    assert gallery(study, SHOWN, 5, "test", DATASET) is None


def test_a_title_is_the_columns_else_the_first_words_of_the_text_else_the_id(study):
    tiles = {
        pick.tile.item_id: pick.tile.title
        for person in shown(study).people
        for pick in person.recommendations[0].picks
    }
    assert tiles["i01"] == "Title 1"
    assert tiles["i08"] == "one two three four five six seven eight…"
    assert tiles["i09"] == "i09"  # a title in which nothing is to be seen
    assert tiles["i06"] == "two lines and more"
    pq.write_table(pa.table({"item_id": [f"i{n:02}" for n in range(ITEMS)]}), paths.ITEMS)
    assert shown(study).people[0].history.first[0].title == "i00"


def test_vectors_without_media_are_neither_title_nor_picture(study):
    manifest("text", [("i08", "17", "")], features="features/text.npy")
    manifest("image", [("i10", "17", "")], features="features/image.npy")
    found = shown(study)
    titles = [p.tile.title for person in found.people for p in person.recommendations[0].picks]
    assert "i08" in titles and "17" not in titles
    assert found.pictures == {}


def test_a_picture_is_embedded_once_and_other_modalities_are_said(study):
    found = shown(study)
    assert list(found.pictures) == ["picture-1"]
    html = page(found)
    uri = found.pictures["picture-1"].uri
    assert html.count(uri) == 1 and html.count('href="#picture-1"') > 1
    tiles = {p.tile.item_id: p.tile for x in found.people for p in x.recommendations[0].picks}
    assert (tiles["i10"].picture, tiles["i10"].modalities) == ("picture-1", ("audio",))
    assert (tiles["i11"].picture, tiles["i11"].modalities) == ("", ("audio", "video"))
    assert "audio, video" in html


def test_thumbnails_are_small_upright_deterministic_jpegs(study):
    exif = Image.Exif()
    exif[0x0112] = 6  # held on its side
    sources = {
        "wide.jpg": picture(Path("wide.jpg"), (900, 300)),
        "turned.jpg": picture(Path("turned.jpg"), (900, 300), exif=exif),
        "tiny.png": picture(Path("tiny.png"), (20, 10)),
    }
    Image.new("RGBA", (400, 400), (0, 0, 0, 0)).save(DATASET / "clear.png")
    sources["clear.png"] = hashlib.sha256((DATASET / "clear.png").read_bytes()).hexdigest()
    items = [Item(name, name, digest) for name, digest in sources.items()]
    found = thumbnails(DATASET, items)
    sizes = {name: (made.width, made.height) for name, made in found.items()}
    assert sizes == {"wide.jpg": (SIDE, 37), "turned.jpg": (37, SIDE), "tiny.png": (20, 10),
                     "clear.png": (SIDE, SIDE)}  # fmt: skip
    assert thumbnails(DATASET, items) == found
    for made in found.values():
        with Image.open(io.BytesIO(made.jpeg)) as image:
            assert (image.format, image.size) == ("JPEG", (made.width, made.height))
            assert not image.getexif() and len(made.jpeg) < 5000
    with Image.open(io.BytesIO(found["clear.png"].jpeg)) as image:
        assert image.convert("L").getextrema() == (255, 255)


def test_an_image_that_is_bad_gone_changed_or_elsewhere_costs_its_picture_alone(study):
    good = picture(Path("good.png"))
    changed = picture(Path("changed.png"))
    picture(Path("changed.png"), (30, 30))
    (DATASET / "bad.jpg").write_bytes(b"no image")
    bad = hashlib.sha256(b"no image").hexdigest()
    (DATASET.parent / "outside.png").write_bytes((DATASET / "good.png").read_bytes())
    os.mkfifo(DATASET / "pipe.png")
    (DATASET / "link.png").symlink_to("../outside.png")
    items = [
        Item("bad", "bad.jpg", bad),
        Item("gone", "gone.png", good),
        Item("changed", "changed.png", changed),
        Item("outside", "../outside.png", good),
        Item("absolute", str((DATASET / "good.png").resolve()), good),
        Item("pipe", "pipe.png", good),
        Item("unread", "good.png", ""),
        Item("folder", ".", good),
        Item("null", "a\0b", good),
        Item("link", "link.png", good),  # the owner's
        Item("good", "good.png", good),
    ]
    assert list(thumbnails(DATASET, items)) == ["link", "good"]


class Tags(HTMLParser):
    """The tags of a page, and the texts of its titles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.titles: dict[str, str] = {}
        self.named: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        assert not any(name.startswith("on") for name in values)
        self.named = values["title"] if values.get("class") == "title" else None

    def handle_data(self, data: str) -> None:
        if self.named is not None:
            self.titles[self.named] = data
            self.named = None


def test_hostile_titles_are_text_in_html(study):
    tags = Tags(page(shown(study)))
    assert "script" not in tags.tags and "style" not in tags.tags
    assert all(name == text for name, text in tags.titles.items())  # in full for everybody
    assert HOSTILE[3] in tags.titles
    assert plain(HOSTILE[4]) in tags.titles and len(plain(HOSTILE[4])) == 299
    assert not any("\u202e" in title or "\n" in title for title in tags.titles)


def test_hits_are_said_in_words_and_rows_in_lists(study):
    found = shown(study)
    html = page(found)
    hits = sum(row.hits for person in found.people for row in person.recommendations)
    assert hits and html.count("✓ liked") == hits == html.count('"tile text liked"') + html.count(
        '"tile liked"'
    )
    assert html.count("<ol") == len(found.people) * len(SHOWN)


def test_who_the_users_are_is_in_no_page_and_no_table(study):
    found = shown(study)
    pages = page(found), page(found, "gallery.md.j2"), str(found.table().to_arrow().to_pydict())
    for text in pages:
        assert "User 1" in text and "User 6" in text and "User 7" not in text
        assert not re.search(r"u(<|&lt;|\\<)\d", text)


def test_pictures_that_are_lost_are_counted_and_said(study, caplog):
    assert shown(study).lost == 0 and "could not be read" not in shown(study).note
    bad = hashlib.sha256(b"no image").hexdigest()
    (DATASET / "images/bad.jpg").write_bytes(b"no image")
    good = hashlib.sha256((DATASET / "images/good.jpg").read_bytes()).hexdigest()
    rows = [("i10", "images/good.jpg", good), ("i11", "images/bad.jpg", bad)]
    manifest("image", [*rows, ("i29", "images/gone.jpg", bad), ("i99", "not/shown.jpg", bad)])
    caplog.clear()
    found = shown(study)
    shown_codes = {n for person in found.people for row in person.recommendations
                   for n in codes(pick.tile for pick in row.picks)}  # fmt: skip
    assert {10, 11, 29} <= shown_codes
    assert (list(found.pictures), found.lost) == (["picture-1"], 2)
    assert found.note.endswith(" 2 pictures could not be read.")
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "2 of the gallery's pictures" in record.getMessage()


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_the_markdown_has_a_table_a_user_with_hostile_titles_as_text(study):
    found = shown(study)
    lines = page(found, "gallery.md.j2").splitlines()
    tables = [cells_of(line) for line in lines if line.startswith("|")]
    assert len(tables) == len(found.people) * 12 and {len(cells) for cells in tables} == {3}
    assert tables[0] == ["rank", "ease", "frozen, K = 2"]
    assert tables[4] == ["3", "Title 2", "Title 19"]
    assert tables[9] == [
        "8", r"✓ 👩‍🚀 \*star\* \[link\](javascript:x) \`code\` \$x\$ \&amp;", "Title 24",
    ]  # fmt: skip
    assert r"\</style\>\<script\>alert('x')\</script\>" in tables[5][1]
    assert tables[6][1].endswith("…") and len(tables[6][1]) <= 60
    assert lines[lines.index("### User 1") + 1] == ""
    assert "History (2): Title 0, Title 10." in lines


def test_a_list_that_is_short_leaves_cells_empty(study):
    rows = [row | {"items": row["items"][:1]} for row in study["ease"].to_pylist()]
    study["ease"] = pa.Table.from_pylist(rows, LISTS)
    lines = page(shown(study), "gallery.md.j2").splitlines()
    assert cells_of(next(line for line in lines if line.startswith("| 2 |")))[1] == ""


def test_the_table_holds_what_the_page_shows(study, tmp_path):
    found = shown(study)
    write_csv(tmp_path / "gallery.csv", found.table().to_arrow())
    with (tmp_path / "gallery.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["user", "system", "layers", "rank", "item_id", "title", "liked"]
    assert rows[1] == ["User 1", "ease", "", "1", "i00", "Title 0", "false"]
    assert len(rows) == 1 + len(found.people) * len(SHOWN) * 10
    assert sum(row[-1] == "true" for row in rows) == page(found).count("✓ liked")


def test_equal_inputs_give_equal_pages(study):
    assert page(shown(study)) == page(shown(study))


def test_text_in_one_line():
    assert plain(" a\r\n b\u2028c\x85\u202d d ") == "a b c d"
    assert clipped("abcdef", 6) == "abcdef" and clipped("abc defg", 5) == "abc…"
    assert escaped(r"a\|b_c") == r"a\\\|b\_c"
