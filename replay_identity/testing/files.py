"""A strategy for CSV and JSON Lines files of users, as messy as real exports, and what a reader must find in them."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import product
from typing import Any, Final

import attrs
from hypothesis import strategies as st

from ..traits import UserTraits


@attrs.frozen
class IdentityFile:
    """A file of users with valid and invalid rows.

    Attributes:
        name: ``users.csv`` or ``users.jsonl``.
        content: The bytes: UTF-8, with or without a byte order mark.
        users: The users in the valid rows, in order; an id may occur twice. In CSV all values are strings, and an empty
            cell is a missing value.
        bad_lines: Line numbers on which the invalid rows begin, starting at 1. Blank lines, and lines of empty cells,
            are not rows.
    """

    name: str
    content: bytes = attrs.field(repr=False)
    users: tuple[UserTraits, ...]
    bad_lines: tuple[int, ...]


def identity_files() -> st.SearchStrategy[IdentityFile]:
    """Return a strategy for CSV and JSON Lines files of users, from empty and plain to messy.

    Files have or lack a byte order mark and a final line break, and have either kind of line break, blank lines,
    duplicate ids, Unicode and rows without an id. CSV files have missing and nested columns, cells with commas, quotes
    and line breaks, and rows with too few or too many cells. JSON Lines files have truncated lines and lines that are
    not objects, but not before the first user, since a file that begins so may be in another format.
    """
    files = st.one_of([_files(layout) for layout in _layouts()])
    return files.filter(lambda file: file.name.endswith(".csv") or not file.bad_lines or _begins_with_object(file))


def _begins_with_object(file: IdentityFile) -> bool:
    first = file.content.decode("utf-8-sig").lstrip().partition("\n")[0].rstrip()
    return first.startswith("{") and first.endswith("}")


# Compared by identity, since Hypothesis hashes the elements that it draws from over and over.
@attrs.frozen(eq=False)
class _Piece:
    """A row, a blank line or a header, without its line break."""

    text: str
    user: UserTraits | None = None
    is_bad: bool = False


@attrs.frozen(eq=False)
class _Layout:
    """The header of a file and rows to draw from, the simplest first."""

    name: str
    header: tuple[_Piece, ...]
    rows: Sequence[_Piece]


@attrs.frozen
class _Style:
    """The byte order mark and the line breaks of a file."""

    mark: str
    line_break: str
    last_break: bool


_STYLES: Final = tuple(_Style(*style) for style in product(("", "\ufeff"), ("\n", "\r\n"), (True, False)))
_BLANK: Final = (_Piece(""), _Piece("  "))


@st.composite
def _files(draw: st.DrawFn, layout: _Layout) -> IdentityFile:
    # Whole rows are drawn, since drawing each cell would take most of the time.
    pieces = (*layout.header, *draw(st.lists(st.sampled_from(layout.rows), max_size=6)))
    style = draw(st.sampled_from(_STYLES))
    text = "".join(piece.text + style.line_break for piece in pieces)
    if not style.last_break:
        text = text.removesuffix(style.line_break)
    users = tuple(piece.user for piece in pieces if piece.user is not None)
    return IdentityFile(layout.name, (style.mark + text).encode(), users, tuple(_bad_lines(pieces)))


def _bad_lines(pieces: Iterable[_Piece]) -> Iterator[int]:
    line = 1
    for piece in pieces:
        if piece.is_bad:
            yield line
        line += 1 + piece.text.count("\n")


@cache
def _layouts() -> tuple[_Layout, ...]:
    return (_json_lines(), *(_csv(columns, quoting) for columns, quoting in _HEADERS))


# Line separators in Unicode but not in CSV or JSON, to catch readers that use str.splitlines.
_SEPARATORS: Final = "a\u2028b\x85c"
_IDS: Final = ("u1", "u2", "usr_0001526", "a,b", "山田")

# The cells of each column. The numbers of cells differ, so that rows differ.
_CELLS: Final[Mapping[str, Sequence[str]]] = {
    "id": _IDS,
    "name": ("", "Ada", "山田 太郎", 'Ada "the first" L.', "O'Brien, Jr.", "الآنسة روبا", "👩\u200d👩\u200d👧"),
    "email": ("", "ada@example.com", "grace@example.com"),
    "plan": ("", "pro", " free ", "=1+1"),
    "seats": ("", "043", "1e3", "12"),
    "company.id": ("", "36"),
    "company.name": ("", "Dobeš, Bärer & Co.", '5" screens'),
    "company.address.city": ("", "Bern"),
    "bio": ("", "two\nlines", 'two\r\nlines, and "quotes"', _SEPARATORS, "\n"),
}
_HEADERS: Final = (
    (("id", "plan"), csv.QUOTE_MINIMAL),
    (("uid", "company.name", "company.address.city", "email"), csv.QUOTE_MINIMAL),
    (("plan", "bio", "user_id"), csv.QUOTE_ALL),
    (("id", "name", "email", "plan", "seats", "company.id", "company.name", "bio"), csv.QUOTE_MINIMAL),
)
_FIELDS: Final = {"id": "user_id", "uid": "user_id", "user_id": "user_id", "name": "name", "email": "email"}


def _csv(columns: Sequence[str], quoting: int) -> _Layout:
    line = partial(_csv_line, quoting=quoting)
    pools = [_CELLS["id" if _FIELDS.get(column) == "user_id" else column] for column in columns]
    rows = [[pool[number % len(pool)] for pool in pools] for number in range(12)]
    without_id = [["" if pool is _IDS else cell for pool, cell in zip(pools, cells, strict=True)] for cells in rows[:2]]
    good = [_Piece(line(cells), _user_of_cells(columns, cells)) for cells in rows]
    # A row without any value is a blank one, as spreadsheets write them.
    bad = [_Piece(line(cells), is_bad=any(cells)) for cells in (*without_id, rows[1][:-1], [*rows[1], "more"])]
    return _Layout("users.csv", (_Piece(line(columns)),), (*good, *bad, *_BLANK))


def _csv_line(cells: Iterable[str], *, quoting: Any) -> str:  # noqa: ANN401  # A constant of the csv module.
    text = io.StringIO()
    csv.writer(text, quoting=quoting).writerow(cells)
    return text.getvalue().removesuffix("\r\n")


def _user_of_cells(columns: Sequence[str], cells: Sequence[str]) -> UserTraits:
    fields: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=True):
        *parents, name = column.split(".")
        if not cell:
            continue
        if column in _FIELDS:
            fields[_FIELDS[column]] = cell
            continue
        inner = traits
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = cell
    return UserTraits(**fields, traits=traits)


_OBJECTS: Final[Sequence[Mapping[str, Any]]] = (
    {},
    {"plan": "pro", "seats": 43},
    {"name": "山田 太郎", "email": "ada@example.com", "is_admin": False},
    {"mrr": 2413.2, "company": {"id": 36, "address": {"city": "Bern"}}},
    {"tags": ["beta", "partner"], "plan": None, "name": None},
    {"bio": f"two\nlines, {_SEPARATORS}", "number": 2**64},
    {"": 'a "quoted" \\ text', "created_at": "2025-06-28T04:21:24.924727Z"},
)
# No arrays: a file that begins with one is not JSON Lines.
_NOT_OBJECTS: Final = ("true", "null", "7", '"u1"', '7 [{"id": "u1"}]', '{"id": "u1"} {"id": "u2"}')


def _json_lines() -> _Layout:
    good = [_json_row(_IDS[number % len(_IDS)], _OBJECTS[number % len(_OBJECTS)], number % 2) for number in range(14)]
    halves = [piece.text[: len(piece.text) // 2] for piece in good[:4]]
    without_id = [json.dumps(row) for row in ({}, {"plan": "pro"}, {"id": None}, {"id": ""})]
    bad = [_Piece(text, is_bad=True) for text in (*_NOT_OBJECTS, *halves, *without_id)]
    # The good rows twice, since otherwise most rows would be bad.
    return _Layout("users.jsonl", (), (*good, *good, *bad, *_BLANK))


def _json_row(user_id: str, fields: Mapping[str, Any], is_escaped: int) -> _Piece:
    traits = {name: value for name, value in fields.items() if name not in {"name", "email"}}
    user = UserTraits(user_id, name=fields.get("name"), email=fields.get("email"), traits=traits)
    return _Piece(json.dumps({"id": user_id, **fields}, ensure_ascii=bool(is_escaped)), user)
