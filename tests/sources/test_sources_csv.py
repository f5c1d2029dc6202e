"""Users read from CSV."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity import UserTraits
from replay_identity.errors import ConfigurationError, SourceError
from replay_identity.sources import BadRow, Row, csv_reader, read_users

SQL_HINT = "a query with read_csv(…) can read other dialects (--sql)"
STRAY_QUOTE = f"has a quote or a line break where CSV allows none; {SQL_HINT}"

SET_DELIMITER = "set delimiter to the character between cells (--delimiter)"
QUOTED_WHOLE = "is in quotes as a whole, so that it is one cell; remove the quotes around each line"

CANARY = "canary-7Q"


def quote(line: int, count: object) -> str:
    """Return what is said of a quote that is opened in that *line*."""
    return f"; the quote that is opened in line {line} takes in {count} lines"


def read(content: bytes) -> list[Row | BadRow]:
    """Return the rows of *content*."""
    return list(read_users(io.BytesIO(content), format="csv"))


def shown(content: bytes) -> list[str]:
    """Return the ids of the valid rows and the text of the bad rows."""
    return [str(row) if isinstance(row, BadRow) else str(row.user.user_id) for row in read(content)]


def test_cells_are_strings_and_empty_cells_are_ignored() -> None:
    """CSV has no types; a guess would turn a postal code into a number."""
    rows = read(b"id,name,seats,plan\r\nu1,Ada,043,\r\n")

    assert rows == [Row(2, UserTraits("u1", name="Ada", traits={"seats": "043"}))]


def test_an_empty_id_is_a_bad_row() -> None:
    """Each run would create another anonymous user at Fullstory."""
    assert shown(b"id,plan\n,pro\nu2,free\n") == [
        "line 2: id: the id is empty",
        "u2",
    ]


def test_a_dotted_column_is_a_nested_trait() -> None:
    """The exports of both vendors have such columns."""
    rows = read(b"id,company.name,company.address.city,plan\nu1,Acme,Bern,pro\nu2,,Rome,\n")

    assert rows == [
        Row(2, UserTraits("u1", traits={"company": {"name": "Acme", "address": {"city": "Bern"}}, "plan": "pro"})),
        Row(3, UserTraits("u2", traits={"company": {"address": {"city": "Rome"}}})),
    ]


def test_ignores_marks_spaces_and_blank_lines() -> None:
    """Spreadsheets write all of these."""
    assert read(b"\xef\xbb\xbf\n id , plan\n\n \r\nu1,pro\n") == [Row(5, UserTraits("u1", traits={"plan": "pro"}))]


def test_cells_may_hold_commas_quotes_and_line_breaks() -> None:
    """The next row begins after them."""
    rows = read(b'id,bio\nu1,"a, ""b""\r\n\nc"\nu2,"x"\n')

    assert rows == [
        Row(2, UserTraits("u1", traits={"bio": 'a, "b"\r\n\nc'})),
        Row(5, UserTraits("u2", traits={"bio": "x"})),
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            b"id,a\nu1,\xff\nu2,x\n",
            ["line 2: a: not valid UTF-8; set encoding, perhaps to windows-1252 (--encoding)", "u2"],
        ),
        (
            b'id,a\nu1,"x\n\xff"\nu2,x\n',
            [
                f"lines 2 to 3: a: not valid UTF-8; set encoding, perhaps to windows-1252 (--encoding){quote(2, 2)}",
                "u2",
            ],
        ),
        (b"id,a\nu1\nu2,x\n", ["line 2: has 1 cell, but the header has 2", "u2"]),
        (b"id,a\nu1,canary-7Q,x\nu2,x\n", ["line 2: has 3 cells, but the header has 2", "u2"]),
        (b'id,a\nu1,"canary-7Q\nu2,x\n', [f"lines 2 to 3: has a quote that is never closed{quote(2, 2)}"]),
        (
            b'id,a\nu1,"canary-7Q" x\nu2,x\n',
            [f"line 2: {STRAY_QUOTE}", "u2"],
        ),
        (
            b'id,a\nu1,"canary-7Q\nu2,x\nu3,"x"\nu4,x\n',
            [f"lines 2 to 4: {STRAY_QUOTE}{quote(2, 3)}", "u4"],
        ),
        (b'id,a\nu1,5" screen\nu2,x\n', ["u1", "u2"]),
        (b'id,a\nu1,"x\ny","z\n1"\nu2,x\n', [f"lines 2 to 4: has 3 cells, but the header has 2{quote(3, 2)}", "u2"]),
        (b'id,a\nu1,"x""\n""y\n1\nu2,x\n', [f"lines 2 to 5: has a quote that is never closed{quote(2, 4)}"]),
    ],
)
def test_a_bad_row_does_not_affect_others(content: bytes, expected: list[str]) -> None:
    """It is reported by its lines, without its content."""
    assert shown(content) == expected
    assert CANARY not in repr(read(content))


@pytest.mark.slow
def test_a_cell_above_the_csv_limit_is_one_bad_row() -> None:
    """Its lines are not read as rows, and the limit, which is global, is not changed."""
    limit = csv.field_size_limit()
    text = b"u9,stolen\n" * 1_000_000

    assert shown(b'id,bio\nu1,"' + text + b'"\nu2,x\n') == [
        f"lines 2 to 1000002: has a cell of more than 131,072 characters{quote(2, '1,000,001')}",
        "u2",
    ]
    assert csv.field_size_limit() == limit


def test_an_oversized_row_is_one_bad_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is skipped to its end without filling the memory."""
    monkeypatch.setattr(csv_reader, "MAX_LINE", 30)

    assert shown(b'id,bio\nu1,"' + b"u9,stolen\n" * 9 + b'"\nu2,x\n') == [
        f"lines 2 to 11: is longer than 32 MiB{quote(2, 10)}",
        "u2",
    ]


def test_an_oversized_line_is_one_bad_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may stand on its own or inside a quoted cell."""
    monkeypatch.setattr("replay_identity.sources.csv_reader.MAX_LINE", 30)
    monkeypatch.setattr("replay_identity.sources.lines.MAX_LINE", 30)

    assert shown(b"id,bio\nu1," + b"x" * 50 + b"\nu2,x\n") == ["line 2: is longer than 32 MiB", "u2"]
    assert shown(b'id,bio\nu1,"x\n' + b"x" * 50 + b'\n"\nu2,x\n') == [
        f"lines 2 to 4: is longer than 32 MiB{quote(2, 3)}",
        "u2",
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty; expected a first line with the names of the columns"),
        (b"\n\n", "is empty; expected a first line with the names of the columns"),
        (b"id,plan,id,plan\n", "has the column id, plan more than once; rename or remove all but one"),
        ("\xa0,\n".encode(), "the header has no names"),
        (b"id,plan,,seats\nu1,,x,\n", "column 3 has values, but no name; name it in the header"),
        (b"id,,plan,x\n" + b"u1\n" * 19 + b"u2,x,,\n", "column 2 has values, but no name; name it in the header"),
        (
            b"id||plan\nu1|x|pro\n",
            f"column 2 has values, but no name; if the delimiter has several characters, {SQL_HINT}",
        ),
        (
            b",id\n1,u1\n",
            (
                "column 1 has values, but no name; name it in the header, or, if it is the index of a data frame, "
                "export without it"
            ),
        ),
        (b"id;plan,seats\nu1;pro\n", f"the header has commas and semicolons; {SET_DELIMITER}"),
        (b"id\tplan|seats\n", f"the header has tabs and vertical bars; {SET_DELIMITER}"),
        (b"id,company,company.id\n", "column company.id: cannot be nested in company, which has a value of its own"),
        (b"id,a.b.c,a.b\n", "column a.b.c: cannot be nested in a.b, which has a value of its own"),
        (b"id,\xff\n", "the header is not valid UTF-8; set encoding, perhaps to windows-1252 (--encoding)"),
        (b'id,"plan\n', "the header has a quote that is never closed"),
        (
            b'id, "plan"\n',
            f"the header has spaces before its quotes; {SQL_HINT}",
        ),
    ],
)
def test_an_invalid_header_fails_the_file(content: bytes, problem: str) -> None:
    """Otherwise every row would be bad."""
    with pytest.raises(SourceError) as caught:
        read(content)

    assert str(caught.value) == f"stream: {problem}"


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2, max_size=2),
        max_size=6,
    )
)
def test_reads_what_the_csv_module_writes(cells: list[list[str]]) -> None:
    """This holds for any text without zero bytes."""
    text = io.StringIO()
    csv.writer(text).writerows([["id", "a", "b"], *([f"u{number}", *pair] for number, pair in enumerate(cells))])

    rows = read(text.getvalue().encode())

    assert [row.user for row in rows if isinstance(row, Row)] == [
        UserTraits(f"u{number}", traits={name: cell for name, cell in zip("ab", pair, strict=True) if cell})
        for number, pair in enumerate(cells)
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_finds_the_delimiter_in_the_header(delimiter: str) -> None:
    """Delimiters in quoted names do not count."""
    text = f'id{delimiter}"a,b;c|d"{delimiter}plan\nu1{delimiter}"x{delimiter}\n"{delimiter}pro\n'

    (row,) = read_users(io.BytesIO(text.encode()), format="csv")

    assert isinstance(row, Row)
    assert row.user == UserTraits("u1", traits={"a,b;c|d": f"x{delimiter}\n", "plan": "pro"})


def test_takes_the_delimiter_that_it_is_given() -> None:
    """Also one that no header would show."""
    rows = list(read_users(io.BytesIO(b"id^plan,tier\nu1^pro\n"), format="csv", delimiter="^"))

    assert rows == [Row(2, UserTraits("u1", traits={"plan,tier": "pro"}))]


@pytest.mark.parametrize("delimiter", ["", "::", '"', "\n"])
def test_a_delimiter_is_one_character(delimiter: str) -> None:
    """Quotes and line breaks have another meaning."""
    with pytest.raises(ConfigurationError):
        read_users(io.BytesIO(b""), format="csv", delimiter=delimiter)


@pytest.mark.parametrize("line", ["sep=;\r\n", '"sep=;"\n', "\nsep=;\n"])
def test_reads_the_separator_line_of_excel(line: str) -> None:
    """It says what the header cannot."""
    rows = list(read_users(io.BytesIO(f"{line}id;plan,tier\nu1;pro\n".encode()), format="csv"))

    assert [row.user for row in rows if isinstance(row, Row)] == [UserTraits("u1", traits={"plan,tier": "pro"})]


def test_a_repeated_header_is_a_bad_row() -> None:
    """Files that were joined have several, also with byte order marks and empty cells at the end."""
    text = "id,plan\nu1,pro\n\ufeffid,plan\n\ufeffu2,free\nid, plan,\n"

    assert shown(text.encode()) == [
        "u1",
        "line 3: repeats the header; if files were joined, pass them one by one",
        "u2",
        "line 5: repeats the header; if files were joined, pass them one by one",
    ]


JOINED = "repeats the header; if files were joined, pass them one by one"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("marks", ["\ufeff", "\ufeff\ufeff"])
def test_a_byte_order_mark_is_in_no_cell(encoding: str, end: str, delimiter: str, marks: str) -> None:
    """In files that were joined it is before any line, also before quotes."""
    file = ['"id","plan"', '"u1","pro"', "u2,free"]
    text = "".join(f"{marks}{line}{end}" for line in [*file, *file]).replace(",", delimiter)

    assert shown(text.encode(encoding)) == ["u1", "u2", f"line 4: {JOINED}", "u1", "u2"]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_separator_line_further_down_is_no_user(mark: str) -> None:
    """It is above the header of each file that was joined."""
    file = f'{mark}sep=;\n"id";"plan"\nu1;pro\n'

    assert shown(f"{file}{file}".encode()) == [
        "u1",
        "line 4: is a line that belongs above the header; if files were joined, pass them one by one",
        f"line 5: {JOINED}",
        "u1",
    ]


def test_ids_joined_without_a_line_break_are_refused() -> None:
    """The file above had no line break at its end, and two ids would be one."""
    problem = "has a byte order mark inside; if files were joined, pass them one by one"

    assert shown("id\nu1\ufeffid\nu2\ufeff\n".encode()) == [f"line 2: {problem}", "u2\ufeff"]


def test_a_header_in_another_order_ends_the_file() -> None:
    """All rows below it would be misread."""
    rows = read_users(io.BytesIO(b"id,plan\nu1,pro\nplan,id\nfree,u2\n"), format="csv")

    assert next(rows) == Row(2, UserTraits("u1", traits={"plan": "pro"}))
    with pytest.raises(SourceError, match="has another header further down"):
        next(rows)


def test_a_cell_may_be_the_name_of_a_column() -> None:
    """Not every cell of the row is one, and "id" is also a country."""
    assert shown(b"id,plan\nplan,pro\nu1,id\n") == ["plan", "u1"]


def test_ignores_the_blank_cells_of_spreadsheets() -> None:
    """Rows of delimiters, and columns without a name at the end."""
    assert shown(b"id,plan,,\n,,,\nu1,pro,,\n,,\nu2,free\n") == ["u1", "u2"]


def test_a_value_without_a_column_is_a_bad_row() -> None:
    """Nothing says what it means."""
    assert shown(b"id,plan,\nu1,pro,x\n") == ["line 2: has 3 cells, but the header has 2"]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("id,,plan", "{},{},pro"),
        (",id,plan", "{1},{0},pro"),
        (" ,id,,plan,", ",{},{},pro"),
        ("id,plan,,", "{},pro,,{}"),
    ],
)
def test_an_empty_column_without_a_name_is_ignored(tmp_path: Path, header: str, row: str) -> None:
    """Below the first rows, a value in it is a bad row."""
    rows = [row.format(f"u{number}", "") for number in range(30)]
    path = tmp_path / "users.csv"
    path.write_text("\n".join([header, *rows, row.format("u30", "x"), header, ",,,", *rows]))

    found = list(read_users(path))

    users = [each.user for each in found if isinstance(each, Row)]
    assert users == [UserTraits(f"u{number}", traits={"plan": "pro"}) for number in range(30)] * 2
    assert [each.line for each in found if isinstance(each, BadRow)] == [32, 33]
    assert {*read_users(path).read_ids()} >= {user.user_id for user in users}


def test_names_the_cell_that_is_not_utf8() -> None:
    """Columns without a name count."""
    assert shown(b"id,,plan\nu1,,\xff\n") == [
        "line 2: plan: not valid UTF-8; set encoding, perhaps to windows-1252 (--encoding)"
    ]


@pytest.mark.parametrize("ruler", ["----+------", "|---|:---:|", "-----|-----"])
def test_a_table_for_people_is_refused(ruler: str) -> None:
    """Its cells are padded with spaces, and so are its ids."""
    rows = read_users(io.BytesIO(f" id | plan \n{ruler}\n u1 | pro\n".encode()), format="csv")

    with pytest.raises(SourceError, match="is a table printed for people"):
        next(rows)


@pytest.mark.parametrize("names", ["id,Phone No.", "id,Acct. Mgr", "id,.net", "id,a..b", "id,Sales (U.S.)", "id,v.-"])
def test_dots_that_do_not_nest_belong_to_the_name(names: str) -> None:
    """The column is one trait."""
    (row,) = read_users(io.BytesIO(f"{names}\nu1,x\n".encode()), format="csv")

    assert isinstance(row, Row)
    assert row.user.traits == {names.removeprefix("id,"): "x"}


@pytest.mark.parametrize("header", ["User ID,E-Mail", "user_id,email", " USER_ID , Email ,"])
def test_a_header_is_repeated_under_any_spelling(header: str) -> None:
    """The files that were joined came from different tools."""
    assert shown(f"user_id,email\nu1,a@example.com\n{header}\nu2,b@example.com\n".encode()) == [
        "u1",
        "line 3: repeats the header; if files were joined, pass them one by one",
        "u2",
    ]


@pytest.mark.parametrize("header", ["user_id,plan", "email,user_id", "plan,user_id", "User ID"])
def test_a_header_with_other_columns_ends_the_file(header: str) -> None:
    """All rows below it would be misread."""
    rows = read_users(io.BytesIO(f"user_id,email\nu1,a@example.com\n{header}\nu2,pro\n".encode()), format="csv")

    assert isinstance(next(rows), Row)
    with pytest.raises(SourceError, match="has another header further down"):
        next(rows)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# exported\nid,plan\nu1,pro\n", "begins with a comment"),
        ("Report: users\n2026-11-30\nid,plan\nu1,pro\n", "line 3 looks like the header"),
        ("Users\nfrom, to\n2026-11-01,2026-11-30\n", "has more cells below the first line than in it"),
        ('{"id":"canary-7Q"}\n', "is JSON instead of CSV; set format to jsonl or json"),
        ('[{"id":"canary-7Q"},\n', "is JSON instead of CSV; set format to jsonl or json"),
        ("[\n  {\n", "is JSON instead of CSV; set format to jsonl or json"),
        ("| id | plan |\n|----|------|\n| u1 | pro |\n", "is a table printed for people"),
        ("|id|plan|\n|:-|-:|\n|u1|pro|\n", "is a table printed for people"),
        ("+----+------+\n| id | plan |\n+----+------+\n", "is a table printed for people"),
    ],
)
def test_lines_before_the_header_are_refused(text: str, problem: str) -> None:
    """Also where no id is needed."""
    for anonymous in (False, True):
        with pytest.raises(SourceError, match=problem) as caught:
            next(read_users(io.BytesIO(text.encode()), format="csv", anonymous=anonymous))
        assert CANARY not in str(caught.value)


def test_a_header_below_titles_is_named_by_its_line() -> None:
    """Reports have such lines, and a title may have several cells."""
    with pytest.raises(SourceError) as caught:
        read(b"Report,2026-11-30,\n,,\nUser ID,Plan,Seats\nu1,pro,3\n")

    remedy = "remove the lines above it, or skip them with read_csv(…, skip=2) (--sql)"
    assert caught.value.problem == f"line 3 looks like the header; {remedy}"


def test_an_id_in_single_quotes_is_a_bad_row() -> None:
    """They would become a part of the id."""
    bad, good = shown(b"id,plan\n'u1','pro'\nO'Brien',x\n")

    assert bad.startswith("line 2: id: has single quotes around it, or one before it; a query with read_csv")
    assert good == "O'Brien'"


@pytest.mark.parametrize("header", ["user_id^plan", "id plan  seats", "id - plan", "id \u00a6 plan", "id\x1fplan"])
def test_a_header_without_known_delimiter_names_the_setting(header: str) -> None:
    """Its only column may be called so, too."""
    with pytest.raises(SourceError, match="has no column for the user id") as caught:
        read(f"{header}\nu1\n".encode())

    assert caught.value.problem.endswith(f"; if it is several columns, {SET_DELIMITER}")


def test_a_title_above_one_column_is_not_several() -> None:
    """It has nothing that could be a delimiter."""
    with pytest.raises(SourceError) as caught:
        read(b"Users\nu1\n")

    assert "delimiter" not in caught.value.problem


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.tsv", "id,plan\nu1,pro\n", "the header has commas instead of tabs"),
        ("a.psv", "id;plan\nu1;pro\n", "the header has semicolons instead of vertical bars"),
        ("a.csv", "sep=;\nid,plan\nu1,pro\n", "the header has commas instead of semicolons"),
        ("a.csv", "sep=^\nid,plan\nu1,pro\n", "the header has commas instead of ^"),
        ("a.csv", "id,plan,seats\nu1;pro;3\n", "line 2 has semicolons, and the header commas"),
        ("a.csv", "sep=^\nid^plan\nu1,pro\n", "line 3 has commas, and the header ^"),
    ],
)
def test_another_delimiter_is_one_error(tmp_path: Path, name: str, text: str, problem: str) -> None:
    """It names the setting, and no row is read."""
    path = tmp_path / name
    path.write_text(text)

    with pytest.raises(SourceError) as caught:
        list(read_users(path))

    assert caught.value.problem == f"{problem}; {SET_DELIMITER}"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b'"id,plan"\n"u1,pro"\n', "the header"),
        (b'"id;plan"\n"u1;pro"\n', "the header"),
        (b'id,plan\n"u1,""pro"""\n"u2,free"\n', "line 2"),
    ],
)
def test_lines_quoted_as_a_whole_are_one_error(text: bytes, place: str) -> None:
    """Spreadsheets write them when they save a file that they read as one column."""
    with pytest.raises(SourceError) as caught:
        read(text)

    assert caught.value.problem == f"{place} {QUOTED_WHOLE}"


def test_a_short_first_row_is_only_a_bad_row() -> None:
    """It has no delimiter of another file."""
    assert shown(b"id,plan\nu1\nu2,x\n") == ["line 2: has 1 cell, but the header has 2", "u2"]


def test_cells_in_other_quotes_name_the_remedy() -> None:
    """CSV knows only double quotes around single cells."""
    assert shown(b"id,plan\nu1,'a,b'\n\"u2,pro\"\n") == [
        f"line 2: has 3 cells, but the header has 2; {SQL_HINT}",
        f"line 3: {QUOTED_WHOLE}",
    ]


def test_blank_rows_may_come_before_the_header() -> None:
    """Spreadsheets begin with them."""
    assert shown(b",,\n\n,,\nid,email,plan\nu1,a@example.com,pro\n") == ["u1"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"id,a\n'00123,x\nu2,x\n", "id: has single quotes around it, or one before it"),
        (b'id,a\n"=""00123""",x\nu2,x\n', "id: is a formula of a spreadsheet"),
        (b"id,a\n=1+1,x\nu2,x\n", "id: is a formula of a spreadsheet"),
        (b"id\nu1;pro\nu2\n", f"id: has a delimiter that the header does not have; {SET_DELIMITER}"),
        (b"id\nu1\tpro\nu2\n", f"id: has a delimiter that the header does not have; {SET_DELIMITER}"),
        (b"sep=,\nid,a\nsep=,\nu2,x\n", "is a line that belongs above the header"),
    ],
)
def test_an_id_that_is_none_is_a_bad_row(text: bytes, problem: str) -> None:
    """Spreadsheets, other dialects and files that were joined write such things."""
    bad, good = shown(text)

    assert problem in bad
    assert good == "u2"
