"""CSV and TSV as people have them: what is read, and what is said of the rest."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.common import tables
from pipeline.common.files import InputError
from pipeline.common.tables import find_table, read_batches, read_table, row_name


def rows(path: Path) -> list[list[str | None]]:
    """All cells, row by row."""
    return [list(row.values()) for batch in read_batches(path) for row in batch.to_pylist()]


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        rows(path)
    return str(error.value)


@pytest.mark.parametrize(("suffix", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_an_open_quotation_mark_swallows_no_rows(
    tmp_path: Path, suffix: str, delimiter: str
) -> None:
    path = tmp_path / f"items.{suffix}"
    path.write_text('item_id,title\n1,"Heroes\n2,Lost\n3,Dark\n'.replace(",", delimiter))
    message = refused(path)
    assert f"items.{suffix}: row 2 (line 2): a quotation mark opens a cell here" in message
    assert '"""Heroes"""' in message  # what to write instead
    path.write_text('item_id,title\n1,"Heroes\n2,"Villains\n'.replace(",", delimiter))
    assert "row 2 (line 2): something follows the quotation mark" in refused(path)
    path.write_text('item_id,title\n1,"""Heroes"\n2,5" disk\n'.replace(",", delimiter))
    assert rows(path) == [["1", '"Heroes'], ["2", '5" disk']]


def test_a_file_that_was_cut_off_inside_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text('item_id,text\n1,"a"\n2,"b\nc"\n\n3,"cut he')
    assert "row 5 (line 6): a quotation mark opens" in refused(path)


def test_rows_as_spreadsheets_and_lines_as_editors_count_them(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text('item_id,text\n\n1,"a\nb"\n\n2,c\n3,d\n')
    assert [row_name(path, i) for i in range(3)] == ["row 3", "row 5 (line 6)", "row 6 (line 7)"]
    assert rows(path) == [["1", "a\nb"], ["2", "c"], ["3", "d"]]
    path.write_text("item_id,text\n1,a\n\n2\n")
    assert "row 4 (line 4) has 1 cells, the header 2" in refused(path)
    path.write_text("item_id,text\n1,a\n2,b,c\n")
    assert "row 3 (line 3) has 3 cells, the header 2" in refused(path)


@pytest.mark.parametrize("quote", ["", '"'])
def test_other_encodings_are_told_by_their_line(tmp_path: Path, quote: str) -> None:
    path = tmp_path / "items.csv"
    text = f"item_id,text\n1,{quote}a{quote}\n2,caf\u00e9\n"
    path.write_bytes(text.encode("latin-1"))
    assert "line 3 is not UTF-8 (byte 0xe9); save the file as UTF-8" in refused(path)
    path.write_bytes(text.encode("utf-16"))
    assert "line 1 is not UTF-8 (byte 0xff)" in refused(path)
    path.write_bytes(text.encode("utf-8-sig"))
    assert rows(path) == [["1", "a"], ["2", "café"]]


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_cell_may_be_longer_than_what_is_read_at_once(tmp_path: Path, quote: str) -> None:
    path = tmp_path / "items.csv"
    long = "word " * 2_000_000  # 10 MB
    path.write_text(f"item_id,text\n1,a\n2,{quote}{long}{quote}\n3,c\n")
    assert rows(path) == [["1", "a"], ["2", long], ["3", "c"]]


def test_line_ends_inside_cells_stay_as_they_are(tmp_path: Path) -> None:
    """Wherever a block of a parser may end between their two characters."""
    path = tmp_path / "items.csv"
    cells = [f"{'x' * (2**17 + n)}\r\nend" for n in range(40)]
    path.write_bytes(b"item_id,text\r\n" + b"".join(b'1,"%s"\r\n' % c.encode() for c in cells))
    assert [row[1] for row in rows(path)] == cells


@given(
    st.text(alphabet='ab,"\t\n\r\u00e9\x00\x0b\x1c\x85\u2028\ufeff ', max_size=40),
    st.sampled_from(["csv", "tsv"]),
    st.sampled_from([4, 1 << 20]),
)
@settings(max_examples=300, deadline=None)
def test_both_parsers_read_the_same(
    tmp_path_factory: pytest.TempPathFactory, text: str, suffix: str, block: int
) -> None:
    path = tmp_path_factory.mktemp("same") / f"x.{suffix}"
    path.write_bytes(text.encode())

    def read() -> object:
        try:
            return rows(path)
        except InputError as error:
            return str(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BLOCK", block)
        fast = read()
        patch.setattr(tables, "_unquoted_from", lambda _: None)
        assert fast == read()


def test_what_cannot_be_read_is_said_in_a_line(tmp_path: Path) -> None:
    broken = tmp_path / "items.parquet"
    broken.write_bytes(b"PAR1 no parquet")
    assert refused(broken).startswith(f"{broken}: not readable as Parquet: ")
    pq.write_table(pa.table({"item_id": ["a"] * 1000, "text": ["b"] * 1000}), broken)
    data = bytearray(broken.read_bytes())
    data[4:40] = bytes(36)  # a page's header, behind a footer that is whole
    broken.write_bytes(data)
    assert "not readable as Parquet" in refused(broken)
    assert "\n" not in refused(broken)
    nested = tmp_path / "nested.parquet"
    pq.write_table(pa.table({"item_id": [["a"], ["b"]]}), nested)
    with pytest.raises(InputError, match="item_id"):
        read_table(nested, {"item_id": pa.string()}, ("item_id",))
    with pytest.raises(InputError, match="no such folder"):
        find_table(tmp_path / "nowhere", "items")
    other = tmp_path / "other"
    other.mkdir()
    (other / "Items.CSV").write_text("item_id\na\n")
    with pytest.raises(
        InputError, match=r"one of items\.csv, .* is needed \(there is Items\.CSV\)"
    ):
        find_table(other, "items")


def test_a_table_without_rows_or_header(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    for content in ("", "\n\n", ",\n"):
        path.write_text(content)
        assert "no header" in refused(path)
    path.write_text("item_id,text\n")
    assert rows(path) == []
    assert read_table(path, {}, ("item_id",)).column_names == ["item_id", "text"]


def test_columns_without_a_name_are_nobodys(tmp_path: Path) -> None:
    """As spreadsheets leave them behind, and pandas its index."""
    path = tmp_path / "items.csv"
    path.write_text(",item_id,text,,\n0,a,x,,\n1,b,y,,\n")
    assert rows(path) == [["a", "x"], ["b", "y"]]
    path.write_text(',item_id,text,,\n0,a,"x",,\n1,b,y,,\n')
    assert rows(path) == [["a", "x"], ["b", "y"]]
    assert read_table(path, {}, ("item_id",)).column_names == ["item_id", "text"]


@pytest.mark.parametrize(
    ("name", "delimiter", "words"),
    [("items.csv", ";", "separated by ';', a .csv is by commas"),
     ("items.csv", "\t", r"separated by '\t', a .csv is by commas"),
     ("items.tsv", ",", "separated by ',', a .tsv is by tabs")],
)  # fmt: skip
def test_other_delimiters_are_told(tmp_path: Path, name: str, delimiter: str, words: str) -> None:
    path = tmp_path / name
    path.write_text("item_id,text\na,x\n".replace(",", delimiter))
    with pytest.raises(InputError) as error:
        read_table(path, {}, ("item_id",))
    assert words in str(error.value)
