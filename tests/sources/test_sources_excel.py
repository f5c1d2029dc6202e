"""Users read from Excel workbooks."""

import datetime as dt
import io
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from replay_identity import UserTraits
from replay_identity.errors import ConfigurationError, SourceError
from replay_identity.mapping import FieldRule, RowMapping
from replay_identity.sources import BadRow, Row
from replay_identity.sources.conversion import RowConverter
from replay_identity.sources.excel_reader import BadCell, excel_ids, excel_rows, read_sheet
from replay_identity.sources.rows import SourceNotes

CANARY = "canary-7Q"
HEADER = ("user_id", "plan")
TOO_LONG = BadCell("has more than 15 digits, which Excel does not keep; store ids as text")
UNCALCULATED = BadCell("has a formula without a value; open the file in Excel and save it")


def write(path: Path, *sheets: Iterable[Iterable[Any]], prepare: Callable[[Any], None] | None = None) -> Path:
    """Write a workbook of *sheets*."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for number, rows in enumerate(sheets, 1):
        sheet = book.create_sheet(f"Sheet{number}")
        for row in rows:
            sheet.append(list(row))
    if prepare is not None:
        prepare(book)
    book.save(path)
    return path


def formatted(row: int, *formats: str) -> Callable[[Any], None]:
    """Return what gives the cells of a row their number formats."""

    def prepare(book: Any) -> None:
        for column, text in enumerate(formats, 1):
            book.worksheets[0].cell(row, column).number_format = text

    return prepare


def edit(path: Path, old: bytes, new: bytes, *, part: str = "xl/worksheets/sheet1.xml") -> Path:
    """Replace bytes in a part of a workbook, to write what openpyxl does not."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert old in parts[part]
    parts[part] = parts[part].replace(old, new)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def read(path: Path, sheet: str | None = None) -> list[tuple[int, tuple[object, ...]]]:
    """Return the rows of a sheet."""
    return list(read_sheet(path, "users.xlsx", sheet=sheet))


def cell(path: Path, column: str, *, value: bytes, attributes: bytes = b"") -> object:
    """Return the value of a cell whose XML is *value*."""
    write(path, [["placeholder"]])
    old = b'<c r="A1" t="inlineStr"><is><t>placeholder</t></is></c>'
    edit(path, old, b'<c r="%s1"%s>%s</c>' % (column.encode(), attributes, value))
    ((_, values),) = read(path)
    return values[-1]


def problem(path: Path, sheet: str | None = None) -> str:
    """Return the error of a workbook."""
    with pytest.raises(SourceError) as caught:
        read(path, sheet)
    assert caught.value.source == "users.xlsx"
    assert CANARY not in caught.value.problem
    return caught.value.problem


def rows(path: Path, mapping: RowMapping | None = None, *, anonymous: bool = False) -> list[Row | BadRow]:
    """Return the users and bad rows of a workbook."""
    converter = RowConverter("users.xlsx", mapping, SourceNotes(), anonymous=anonymous, has_datetimes=True)
    return list(excel_rows(path, "users.xlsx", converter, sheet=None))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the name of a workbook."""
    return tmp_path / "users.xlsx"


def _as_in_excel(number: float) -> float:
    return float(f"{number:.15g}")


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1)
NUMBERS = st.integers(-(10**15) + 1, 10**15 - 1) | st.floats(-1e14, 1e14).map(_as_in_excel).filter(
    lambda number: number % 1
)
DATES = st.dates(dt.date(1900, 3, 1)) | st.datetimes(dt.datetime(1900, 3, 1)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
CELLS = st.none() | st.booleans() | TEXT.filter(lambda text: text[0] != "=") | NUMBERS | DATES


@given(table=st.lists(st.lists(CELLS, max_size=4), min_size=1, max_size=4))
def test_values_are_those_that_were_written(tmp_path_factory: pytest.TempPathFactory, table: list[list[Any]]) -> None:
    """Whatever the cells hold; blank rows and empty cells at the end of a row are left out."""
    path = write(tmp_path_factory.mktemp("excel") / "users.xlsx", table)
    trimmed = [(number, tuple(_trim(row))) for number, row in enumerate(table, 1) if _trim(row)]

    found = read(path) if trimmed else []

    assert [(number, _typed(row)) for number, row in found] == [(number, _typed(row)) for number, row in trimmed]


def _trim(row: list[Any]) -> list[Any]:
    while row and row[-1] is None:
        row = row[:-1]
    return row


def _typed(row: tuple[Any, ...]) -> list[tuple[type, Any]]:
    """Return the values with their types; midnight that is shown as a datetime is one."""
    return [(type(value), value) for value in row]


def test_reads_values_as_python_values(path: Path) -> None:
    """A whole number is an integer, and a text of digits stays a text."""
    moment = dt.datetime(2024, 1, 2, 15, 30)  # noqa: DTZ001  # Excel has no time zones.
    write(path, [["user_id"], ["0012", 42, 42.0, 1.5, True, dt.date(2024, 1, 2), moment, "x"]])

    values = dict(read(path))[2]

    assert _typed(values) == _typed(("0012", 42, 42, 1.5, True, dt.date(2024, 1, 2), moment, "x"))


def test_formats_of_numbers_do_not_change_them(path: Path) -> None:
    """A per cent, a price and a number in scientific notation are shown differently, but are the same."""
    formats = ["@", "0.00%", '#,##0.00 "days"', "[$SEK] #,##0.00", "0.00E+00", "General", '"Y"0']
    names = [*"abcdef"]
    values = [0.25, 1234.5, 99, 123456789012345, 7, 8]
    write(path, [["id", *names], ["u1", *values]], prepare=formatted(2, *formats))

    assert rows(path) == [Row(2, UserTraits("u1", traits=dict(zip(names, values, strict=True))))]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (42, "00000"),
        (7, "000,000"),
        (42, "000-0000"),
        (120000, "0.00E+00"),
        (120000, "##0.0E+0"),
        (42, '"U"0'),
        (42, "\\U0"),
        (42, "0%"),
        (42000, "0,"),
        (42, "#,##0 [$kr.]"),
        (42, "[<=99]00;0"),
        (2, "# ?/?"),
    ],
)
def test_an_id_that_is_shown_in_another_way_is_refused(path: Path, number: int, text: str) -> None:
    """The id in the other system may be either of them."""
    write(path, [["id"], [number], ["u2"]], prepare=formatted(2, text))

    bad, good = rows(path)

    assert isinstance(bad, BadRow)
    assert bad.problem.startswith("id: the cell shows other text than the number it holds; store ids as text")
    assert good == Row(3, UserTraits("u2"))


@pytest.mark.parametrize(
    "text",
    [
        "General",
        "@",
        "0",
        "#",
        "#,##0",
        "00",
        "0.00",
        "0_);(0)",
        "_(* #,##0_);_(* (#,##0)",
        "[Red]0",
        "[$-409]0",
        "0\\ ",
    ],
)
def test_an_id_that_is_shown_by_its_digits_is_read(path: Path, text: str) -> None:
    """Grouping and decimals make no other number of it."""
    write(path, [["id"], [42]], prepare=formatted(2, text))

    assert rows(path) == [Row(2, UserTraits("42"))]


@pytest.mark.parametrize("value", [dt.date(2024, 3, 12), dt.datetime(2024, 3, 12, 9), dt.time(9)])  # noqa: DTZ001
def test_a_date_is_no_id(path: Path, value: object) -> None:
    """Excel makes dates of ids such as 3-12."""
    write(path, [["id"], [value]])

    (bad,) = rows(path)

    assert isinstance(bad, BadRow)
    assert bad.problem == "id: is a date or a time, which Excel may have made of an id; store ids as text"


def test_a_formatted_number_may_be_a_name(path: Path) -> None:
    """A column may be called by its year."""
    write(path, [["id", 24], ["u1", 3]], prepare=formatted(1, "General", "0000"))

    assert rows(path) == [Row(2, UserTraits("u1", traits={"24": 3}))]


def test_a_header_below_titles_is_named_by_its_row(path: Path) -> None:
    """Reports have such rows."""
    write(path, [["Users"], [], ["from", dt.date(2024, 1, 2)], ["User ID", "plan"], ["u1", "pro"]])

    with pytest.raises(SourceError) as caught:
        rows(path)

    assert caught.value.problem == "line 4 looks like the header; remove the lines above it"


def test_reads_dates_of_the_1904_system(path: Path) -> None:
    """Workbooks of old Excel for the Mac count days from 1904."""

    def prepare(book: Any) -> None:
        book.epoch = CALENDAR_MAC_1904

    write(path, [[dt.date(2024, 1, 2)]], prepare=prepare)

    assert read(path) == [(1, (dt.date(2024, 1, 2),))]


def test_a_date_with_a_hidden_time_of_day_keeps_it(path: Path) -> None:
    """The format of a cell may show only the date."""
    moment = dt.datetime(2024, 1, 2, 15, 30)  # noqa: DTZ001  # Excel has no time zones.

    def prepare(book: Any) -> None:
        book.worksheets[0]["A1"].number_format = "yyyy-mm-dd"

    write(path, [[moment]], prepare=prepare)

    assert read(path) == [(1, (moment,))]


@pytest.mark.parametrize(
    ("attributes", "value", "expected"),
    [
        (b"", b"<v>42</v>", 42),
        (b"", b"<v>42.0</v>", 42),
        (b"", b"<v>1.23456789012345E+14</v>", 123456789012345),
        (b"", b"<v>999999999999999</v>", 999999999999999),
        (b"", b"<v>1000000000000000</v>", TOO_LONG),
        (b"", b"<v>1.2345678901234499E+17</v>", TOO_LONG),
        (b"", b"<v>-12345678901234567</v>", TOO_LONG),
        (b"", b"<v>0.30000000000000004</v>", 0.30000000000000004),
        (b' t="b"', b"<v>0</v>", False),
        (b' t="e"', b"<v>#N/A</v>", BadCell("has the error #N/A")),
        (b' t="e"', b"<v>#REF!</v>", BadCell("has the error #REF!")),
        (b' t="e"', b"<v>canary-7Q</v>", BadCell("has an error")),
        (b' t="str"', b"<v>#N/A</v>", "#N/A"),
        (b' t="str"', b"<f>A2</f><v>pro</v>", "pro"),
        (b"", b"<f>A2+1</f><v>3</v>", 3),
        (b' t="b"', b"<f>A2</f><v>1</v>", True),
        (b' t="e"', b"<f>A2</f><v>#DIV/0!</v>", BadCell("has the error #DIV/0!")),
        (b"", b"<f>A2</f>", UNCALCULATED),
        (b"", b"<f>A2</f><v></v>", UNCALCULATED),
        (b' s="0"', b'<f t="array" ref="A1">A2</f><v/>', UNCALCULATED),
        (b' t="n"', b"\n <f>A2</f>\n <v />\n", UNCALCULATED),
        (b' t="inlineStr"', b"<is><r><t>a</t></r><r><t>b</t></r></is>", "ab"),
        (b' t="inlineStr"', b"<is><t>a_x000D_b_x005F_x0041_</t></is>", "a\rb_x0041_"),
        (b' t="d"', b"<v>2024-01-02T15:30:00</v>", dt.datetime(2024, 1, 2, 15, 30)),  # noqa: DTZ001
    ],
)
def test_reads_what_excel_stores(path: Path, attributes: bytes, value: bytes, expected: object) -> None:
    """The XML of a cell as Excel and other programs write it."""
    found = cell(path, "A", value=value, attributes=attributes)

    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    ("attributes", "value"),
    [
        (b' t="str"', b"<f>A2</f><v></v>"),
        (b' t="str"', b"<v></v>"),
        (b' t="inlineStr"', b"<is><t></t></is>"),
        (b"", b""),
    ],
)
def test_an_empty_text_is_an_empty_cell(path: Path, attributes: bytes, value: bytes) -> None:
    """A formula may return one, and an empty cell may have only a format."""
    write(path, [["a", "b", "c"], ["placeholder", 5]])
    old = b'<c r="A2" t="inlineStr"><is><t>placeholder</t></is></c>'
    edit(path, old, b'<c r="A2"%s>%s</c>' % (attributes, value))

    assert read(path)[1] == (2, (None, 5))


def test_reads_formulas_beside_those_without_a_value(path: Path) -> None:
    """The sheet is then read twice at once: its values, and its formulas."""
    write(path, [["a", "b"], ["=1", "x"], ["y", "=2"], ["=3", "z"]])
    edit(path, b'<c r="B3"><f>2</f><v', b'<c r="B3"><f>2</f><v>2</v><v')
    edit(path, b'<c r="A4"', b'<c r="A4" t="str"')

    assert read(path) == [(1, ("a", "b")), (2, (UNCALCULATED, "x")), (3, ("y", 2)), (4, (None, "z"))]


@pytest.mark.parametrize(
    ("serial", "expected"),
    [
        (b"-7", BadCell("is a date before 1900, which Excel does not have")),
        (b"99999999", BadCell("has the error #VALUE!")),
    ],
)
def test_a_date_that_does_not_exist_is_an_error_of_the_cell(path: Path, serial: bytes, expected: BadCell) -> None:
    """The library would warn, and quote the number."""
    write(path, [[dt.date(2024, 1, 2)]])
    edit(path, b"<v>45293</v>", b"<v>%s</v>" % serial)

    assert read(path) == [(1, (expected,))]


def test_skips_blank_rows_and_keeps_their_numbers(path: Path) -> None:
    """Rows may be missing in the file, or hold only formats."""
    write(path, [[None], HEADER, [None, None], ["u1", "pro", None, None], [], ["u2", None]])

    assert read(path) == [(2, HEADER), (4, ("u1", "pro")), (6, ("u2",))]


def test_leaves_out_formatted_cells_at_the_end(path: Path) -> None:
    """A colour may fill columns that hold nothing."""

    def prepare(book: Any) -> None:
        book.worksheets[0]["D1"].number_format = "0.00"
        book.worksheets[0]["B2"].number_format = "0.00"

    write(path, [HEADER], prepare=prepare)

    assert read(path) == [(1, HEADER)]


def test_a_wrong_dimension_loses_no_cells(path: Path) -> None:
    """Some programs write one that is too small."""
    write(path, [HEADER, ["u1", "pro"]])
    edit(path, b'<dimension ref="A1:B2"', b'<dimension ref="A1"')

    assert read(path) == [(1, HEADER), (2, ("u1", "pro"))]


def test_reads_the_only_visible_sheet_with_cells(path: Path) -> None:
    """Excel used to add two empty sheets, and lists are often hidden."""

    def prepare(book: Any) -> None:
        book.worksheets[1].sheet_state = "hidden"
        book.worksheets[3].sheet_state = "veryHidden"

    write(path, [], [["hidden"]], [HEADER], [["hidden"]], prepare=prepare)

    assert read(path) == [(1, HEADER)]
    assert read(path, "Sheet2") == [(1, ("hidden",))]


def test_several_sheets_need_a_choice(path: Path) -> None:
    """The error names the sheets and the setting."""
    write(path, [HEADER], [["legend"]])

    assert problem(path) == "has several sheets: Sheet1, Sheet2; set path to one of them (--path)"
    assert read(path, "Sheet1") == [(1, HEADER)]


def test_a_workbook_without_cells_is_an_error(path: Path) -> None:
    """A hidden sheet is read only by its name."""
    write(path, [[None]])

    assert problem(path) == "has no visible sheet with cells; set path to the name of a sheet (--path)"


def test_names_the_sheets_if_there_is_no_such_one(path: Path) -> None:
    """A similar name is shown alone."""
    write(path, [HEADER])

    assert problem(path, "Sheet") == "path: the workbook has no sheet Sheet; did you mean Sheet1?"
    assert problem(path, "users") == "path: the workbook has no sheet users; found Sheet1"


def test_merged_cells_have_one_value(path: Path) -> None:
    """The other cells are empty, as Excel stores them."""

    def prepare(book: Any) -> None:
        book.worksheets[0].merge_cells("A1:B1")

    write(path, [["a", None, "c"]], prepare=prepare)

    assert read(path) == [(1, ("a", None, "c"))]


def test_reads_more_rows_than_a_batch(path: Path) -> None:
    """Rows are read in batches."""
    write(path, [[number] for number in range(1, 2502)])

    assert [values for _, values in read(path)] == [(number,) for number in range(1, 2502)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "is an old Excel workbook (.xls), or one with a password"),
        (b"", "is damaged, or not an Excel workbook: BadZipFile"),
        (b"user_id,plan\ncanary-7Q,pro\n", "is damaged, or not an Excel workbook: BadZipFile"),
    ],
)
def test_a_file_that_is_not_a_workbook_is_an_error(path: Path, content: bytes, expected: str) -> None:
    """A workbook with a password is a file of another kind."""
    path.write_bytes(content)

    assert problem(path).startswith(expected)


def test_an_archive_without_a_workbook_is_an_error(path: Path) -> None:
    """A zip archive may hold anything."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("users.csv", "user_id\ncanary-7Q")

    assert problem(path) == "is damaged, or not an Excel workbook: KeyError"


def test_a_file_that_cannot_be_opened_is_an_error(path: Path) -> None:
    """The reason is that of the system."""
    assert problem(path) == "cannot be read: No such file or directory"


def test_rows_before_damage_are_read(path: Path) -> None:
    """The rest is not silently left out."""
    write(path, [HEADER, ["u1", "pro"], ["u2", "free"]])
    edit(path, b'<row r="3">', b'<row r="3"><c r="canary-7Q"><v>1</v></c>')
    found: list[Any] = []

    with pytest.raises(SourceError, match="is damaged, or not an Excel workbook: ValueError"):
        found.extend(read_sheet(path, "users.xlsx"))

    assert found == [(1, HEADER), (2, ("u1", "pro"))]


def test_a_row_beyond_the_end_of_a_sheet_is_damage(path: Path) -> None:
    """The rows between would be made up without end."""
    write(path, [HEADER, ["u1", "pro"]])
    edit(path, b'<row r="2">', b'<row r="99999999999">')

    assert problem(path) == "is damaged: a sheet has at most 1,048,576 rows"


def test_names_the_extra_that_is_missing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other formats need no extra."""
    monkeypatch.setitem(sys.modules, "openpyxl", None)

    with pytest.raises(ConfigurationError) as caught:
        read(path)

    assert "pip install 'replay-identity[files]'" in caught.value.hint


def test_another_missing_module_is_not_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What openpyxl itself misses is not a reason to install openpyxl."""
    for name in [name for name in sys.modules if name.partition(".")[0] in {"openpyxl", "et_xmlfile"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "et_xmlfile", None)

    with pytest.raises(ImportError):
        read(path)


def test_rows_below_the_header_are_users(path: Path) -> None:
    """The number of a row is that in the sheet."""
    since = dt.date(2024, 1, 2)
    write(path, [["User ID", "Company.Size", None, "since"], [], [42, 3, None, since], ["0012", 4]])

    assert rows(path) == [
        Row(3, UserTraits("42", traits={"Company": {"Size": 3}, "since": since})),
        Row(4, UserTraits("0012", traits={"Company": {"Size": 4}})),
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([None, "pro"], "user_id: "),
        (["u1", 12345678901234567], f"plan: {TOO_LONG.problem}"),
        (["u1", "=A2"], f"plan: {UNCALCULATED.problem}"),
        (["u1", "pro", "x"], "has a value in column C, which has no name in the header"),
        (["u1", "pro", *[None] * 26, "x"], "has a value in column AC, which has no name in the header"),
        (["user_id", "plan"], "repeats the header"),
        ([" user_id", "plan "], "repeats the header"),
        (["u1", dt.datetime(2024, 1, 2, 15, 30)], "plan: "),  # noqa: DTZ001
        (["u1", dt.time(15, 30)], "traits.plan: "),
    ],
)
def test_a_row_that_is_not_a_user_is_a_bad_row(path: Path, row: list[Any], expected: str) -> None:
    """The rows after it are read."""
    write(path, [HEADER, row, ["u2", "free"]])

    bad, good = rows(path, anonymous=True)

    assert isinstance(bad, BadRow)
    assert (bad.line, bad.last_line) == (2, 2)
    assert bad.problem.startswith(expected)
    assert good == Row(3, UserTraits("u2", traits={"plan": "free"}))


def test_empty_cells_are_nulls_with_a_mapping(path: Path) -> None:
    """A rule may have a default for them, as in CSV."""
    write(path, [HEADER, ["u1", None]])

    mapping = RowMapping(fields={"plan": FieldRule(default="free")})

    assert rows(path, mapping) == [Row(2, UserTraits("u1", traits={"plan": "free"}))]


def test_leaves_out_rows_that_the_mapping_leaves_out(path: Path) -> None:
    """The filter of a mapping works on rows of a sheet too."""
    write(path, [HEADER, ["u1", "pro"], ["u2", "free"]])

    assert [row.line for row in rows(path, RowMapping(where={"plan": "free"}))] == [3]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (["user_id", "=A1"], "the header, column B: has a formula without a value"),
        (["user_id", "plan", "plan"], "has the column plan more than once; rename or remove all but one"),
        (["plan", "tier"], "has no column for the user id; found plan, tier"),
    ],
)
def test_a_header_that_is_not_valid_is_an_error(path: Path, header: list[Any], expected: str) -> None:
    """No row can be read then."""
    write(path, [header, ["u1", "pro"]])

    with pytest.raises(SourceError) as caught:
        rows(path)

    assert caught.value.problem.startswith(expected)


def test_a_value_without_a_name_is_an_error(path: Path) -> None:
    """In the first rows; further down it is a bad row, and an empty column is ignored, as in CSV."""
    header, empty, full = [" ", "id", None, "plan "], [None, "u1", None, "pro"], [None, "u1", "x"]

    write(path, [header, *[empty] * 19, full])
    with pytest.raises(SourceError, match="column C has values, but no name; name it in the header"):
        rows(path)
    write(path, [header, *[empty] * 20, full])
    assert [str(row) for row in rows(path)[19:]] == [
        str(Row(21, UserTraits("u1", traits={"plan": "pro"}))),
        "line 22: has a value in column C, which has no name in the header",
    ]


def test_a_chosen_sheet_without_cells_is_an_error(path: Path) -> None:
    """It has no header."""
    write(path, [], [HEADER])
    converter = RowConverter("users.xlsx", None, SourceNotes())

    with pytest.raises(SourceError, match="is empty; expected a first row with the names of the columns"):
        list(excel_rows(path, "users.xlsx", converter, sheet="Sheet1"))


def test_reads_the_ids_alone(path: Path) -> None:
    """Rows without a valid id have none."""
    write(path, [["id", "plan"], ["u1", "pro"], [None, "pro"], [42], [1.5], ["id", "plan"], ["u3", "free"]])
    converter = RowConverter("users.xlsx", None, SourceNotes(), anonymous=True)

    assert list(excel_ids(path, "users.xlsx", converter, sheet=None)) == ["u1", "42", "u3"]


def test_a_reader_that_stops_early_closes_the_file(path: Path) -> None:
    """A check may read only the first rows."""
    write(path, [HEADER, ["u1", "pro"], ["u2", "pro"]])
    reader = read_sheet(path, "users.xlsx")

    assert next(reader) == (1, HEADER)
    reader.close()

    path.write_bytes(io.BytesIO().getvalue())
