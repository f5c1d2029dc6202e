"""Read the users in an events table of LogRocket's Streaming Data Export: the newest row of each identified user."""

import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import attrs

from .._paths import FieldPath
from .._values import checked_id, is_nested
from ..adapters.protocols import StoredUser
from ..errors import InvalidTraitsError, SourceError, printable
from ..ledger.codec import decode, encode, to_microseconds
from ..mapping import RowMapping
from ..mapping.casts import find_cast
from ..sources import BadRow, EventCounts, Format, Row, Rows, SourceNotes
from ..sources.conversion import RowConverter
from ..sources.files import Source
from ..sources.readers import read_converted
from ..traits import UserTraits, id_text, plain_name
from .conversion import Conversion

# The columns of a row that describe its user, and the values of the status (docs.logrocket.com/docs/
# logrocket-events-table-schema, read 2026-12-01). All other columns are about the session or the event.
_ID: Final = "user_id"
_STATUS: Final = "user_identity_status"
_NAME: Final = "user_name"
_EMAIL: Final = "user_email"
_TRAITS: Final = "user_traits"
# When LogRocket received the event, and when it happened by the clock of the user's device, which may be wrong.
_TIMES: Final = ("updated_at", "session_time")
_COLUMNS: Final[Mapping[str, str]] = {
    plain_name(column): column for column in (_ID, _STATUS, _NAME, _EMAIL, _TRAITS, *_TIMES)
}

_SELECT: Final = "select it in a query (--sql)"
# Digits beyond microseconds, and a number since 1970 written as text.
_FINER: Final = re.compile(r"(?<=\.[0-9]{6})[0-9]+")
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]+)?")
_NO_TIME: Final = "expected a time in ISO 8601, as a timestamp, or as a number since 1970"
# No number of milliseconds is this large before the year 5138; microseconds and nanoseconds since 1973 are larger.
_MAX_MILLISECONDS: Final = 10**14
_MAX_DIGITS: Final = 20
_MAX_SECONDS: Final = 10**11

# Nothing of it is left on disk, even after a crash: SQLite deletes the file of a database without a name when it opens
# it (sqlite.org/inmemorydb.html, read 2026-12-01), and pages in memory are limited by the size of the cache.
_DATABASE: Final = ""
_SETUP: Final = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA cache_size = -32768",
    """CREATE TABLE newest (
        row_id INTEGER PRIMARY KEY, user_id TEXT NOT NULL UNIQUE, moment INTEGER NOT NULL, line INTEGER NOT NULL,
        user BLOB
    )""",
    "BEGIN",
)
_PUT: Final = """
    INSERT INTO newest (user_id, moment, line, user) VALUES (?, ?, ?, ?)
    ON CONFLICT (user_id) DO UPDATE SET moment = excluded.moment, line = excluded.line, user = excluded.user
    WHERE excluded.moment >= moment
"""
_USERS: Final = "SELECT line, user FROM newest WHERE user IS NOT NULL ORDER BY row_id"


def read_logrocket_export(  # The arguments of `read_users` and `read_query`.
    source: Source | Sequence[Source] | None = None,
    *,
    sql: str | None = None,
    format: Format | None = None,  # noqa: A002  # As in `read_users`.
    mapping: RowMapping | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    path: str | None = None,
) -> Rows[Row | BadRow]:
    """Return the users in an events table of LogRocket's Streaming Data Export, each as their newest row has them.

    All rows are read before the first user is yielded, in constant memory: the newest row of each user is kept in a
    temporary database of SQLite, which has no name and is deleted when it is closed.

    Rows about visitors who are not identified are left out, and `Rows.notes` counts them. An identified row whose id,
    time or traits cannot be read, and a row with a status that LogRocket does not document, is yielded as a BadRow. If
    it is a user's newest row, no older one takes its place.

    Args:
        source: As for `read_users`; with *sql* a database, or None if the query names files.
        sql: A query that returns the columns of the table, as for `read_query`.
        format: As for `read_users`, and so for the others.
        mapping: Rules for the users, whose fields are ``user_id``, ``name``, ``email`` and their traits. It cannot
            have a filter (``where``).
        delimiter: The character between the cells of CSV.
        encoding: Encoding of text.
        path: Where the array of rows is in a JSON document, or the sheet of a workbook.

    Raises:
        SourceError: A file cannot be read, lacks a column that tells who the user is and when, or the query fails.
        ConfigurationError: An argument is invalid, or an extra is not installed.
    """
    conversion = Conversion(mapping)
    events = read_converted(
        _EventConverter, source, sql=sql, format=format, delimiter=delimiter, encoding=encoding, path=path
    )
    return Rows(_newest_users(events, conversion), notes=events.notes)


@attrs.frozen
class _BadEvent(BadRow):
    """A bad row of a known user at a known time."""

    user_id: str = attrs.field(kw_only=True, repr=False)
    moment: datetime = attrs.field(kw_only=True, repr=False)

    def as_bad_row(self) -> BadRow:
        return BadRow(self.line, self.last_line, self.problem, self.file)


@attrs.define
class _EventConverter(RowConverter):
    """Converts the rows of one file of events, each to its user at that time."""

    counts: EventCounts = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.counts = _event_counts(self.notes)

    @property
    def has_mapping(self) -> bool:
        """Return True, so that all readers leave the conversion to `convert`."""
        return True

    @property
    def id_paths(self) -> Collection[str]:
        """Return the name of the field with the user id."""
        return (_ID,)

    def columns(self, names: Sequence[str]) -> tuple[FieldPath, ...]:
        """Return where the value of each column goes.

        Raises:
            SourceError: A column occurs twice, or there is none for the user id, the status or the time.
        """
        self._check_duplicates(names)
        try:
            found = _columns_in(names)
        except InvalidTraitsError as error:
            raise SourceError(self.source, str(error)) from None
        if self.counts.time is None:
            self.counts.time = next((column for column in _TIMES if column in found), None)
        for column in (_ID, _STATUS, self.counts.time or _TIMES[0]):
            if column not in found:
                raise SourceError(self.source, f"has no column {column}; {_SELECT}")
        originals = {name: column for column, name in found.items()}
        return tuple(FieldPath.column(originals.get(name, name), is_flat=True) for name in names)

    def is_header(self, names: Iterable[str]) -> bool:
        """Return True if one of *names* is the name of the user id."""
        return any(_column(name) == _ID for name in names)

    def convert(self, fields: dict[str, Any], line: int, last_line: int | None = None) -> Row | BadRow | None:
        """Return the user in the row *fields*, or None if the visitor is not identified.

        Args:
            fields: The fields of a row.
            line: Number of its first line.
            last_line: Number of its last line, by default the same.
        """
        last_line = last_line or line
        self.counts.rows += 1
        try:
            event = {column: fields[name] for column, name in _columns_in(fields).items()}
            if not self._is_identified(event.get(_STATUS)):
                return None
            user_id, moment = checked_id(id_text(event.get(_ID), _ID)), self._moment(event)
        except InvalidTraitsError as error:
            return BadRow(line, last_line, str(error))
        try:
            return Row(line, _to_user(user_id, moment, event))
        except InvalidTraitsError as error:
            return _BadEvent(line, last_line, str(error), user_id=user_id, moment=moment)

    def _is_identified(self, status: object) -> bool:
        match status.strip().casefold() if isinstance(status, str) else status:
            case "identified":
                return True
            case "anonymous":
                self.counts.anonymous += 1
            case "unknown":
                self.counts.unknown += 1
            case _:
                raise InvalidTraitsError(_STATUS, "expected Identified, Anonymous or Unknown")
        return False

    def _moment(self, event: Mapping[str, Any]) -> datetime:
        if self.counts.time is None:
            self.counts.time = next((column for column in _TIMES if column in event), None)
        column = self.counts.time or _TIMES[0]
        return _to_moment(event.get(column), column)


def _event_counts(notes: SourceNotes) -> EventCounts:
    if notes.events is None:
        notes.events = EventCounts()
    return notes.events


@lru_cache(maxsize=4096)
def _column(name: str) -> str | None:
    """Return which column *name* spells, without regard to case, spaces, ``_`` and ``-``, or None."""
    return _COLUMNS.get(plain_name(name))


def _columns_in(names: Iterable[str]) -> dict[str, str]:
    """Return the columns among *names*, each with the name that it has there.

    Raises:
        InvalidTraitsError: Two are the same column, or the traits are spread over several.
    """
    found: dict[str, str] = {}
    for name in names:
        column = _column(name)
        if column is None:
            if _column(name.partition(".")[0]) == _TRAITS:
                raise InvalidTraitsError(printable(name), f"expected all traits in {_TRAITS}, as an object or as JSON")
        elif found.setdefault(column, name) != name:
            raise InvalidTraitsError(f"{printable(found[column])} and {printable(name)}", f"each could be {column}")
    return found


def _to_user(user_id: str, moment: datetime, event: Mapping[str, Any]) -> UserTraits:
    return UserTraits(
        user_id,
        name=_non_empty(event.get(_NAME)),
        email=_non_empty(event.get(_EMAIL)),
        traits=_to_traits(event.get(_TRAITS)),
        observed_at=moment,
    )


def _non_empty(value: Any) -> Any:  # noqa: ANN401  # UserTraits checks it.
    return None if value == "" else value


def _to_traits(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        value = find_cast("json", None)(value, _TRAITS) if value.strip() else None
    if value is None:
        return {}
    if not is_nested(value):
        raise InvalidTraitsError(_TRAITS, "expected an object, or one written as JSON")
    return value


def _to_moment(value: object, column: str) -> datetime:
    """Return the time *value* in UTC; one without a time zone is in UTC, and one finer than a microsecond is cut.

    Raises:
        InvalidTraitsError: It cannot be read as a time.
    """
    number = _to_number(value)
    text = _FINER.sub("", value.strip()) if isinstance(value, str) else value
    try:
        found = find_cast("date", UTC)(text, column) if number is None else find_cast("epoch", None)(number, column)
    except InvalidTraitsError:
        raise InvalidTraitsError(column, _NO_TIME) from None  # The hint would be for a mapping.
    return found if isinstance(found, datetime) else datetime.combine(found, time.min, UTC)


def _to_number(value: object) -> Decimal | None:
    """Return *value* as a number of seconds or milliseconds since 1970 in whole microseconds, or None if it is none.

    The size of a number tells its unit: seconds, milliseconds, microseconds or nanoseconds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    text = str(value).strip()
    number = Decimal(text) if _NUMBER.fullmatch(text) or not isinstance(value, str) else None
    if number is None or not number.is_finite() or number.adjusted() > _MAX_DIGITS:
        return None
    while abs(number) >= _MAX_MILLISECONDS:
        number /= 1000
    return round(number, 6 if abs(number) < _MAX_SECONDS else 3)


def _newest_users(events: Rows[Row | BadRow], conversion: Conversion) -> Iterator[Row | BadRow]:
    """Yield the bad rows of *events*, then each user as the newest row has them."""
    with closing(_Newest()) as newest:
        counts = _event_counts(events.notes)
        for event in events:
            match event:
                case Row(line, UserTraits(user_id=str(user_id), observed_at=datetime() as moment) as user):
                    newest.put(user_id, moment, line, encode(user))
                    counts.older += 1
                case _BadEvent():
                    newest.put(event.user_id, event.moment, event.line, None)
                    yield event.as_bad_row()
                case _:
                    yield event
        for line, user in newest.users():
            counts.older -= 1
            yield _converted(user, line, conversion)
    if counts.rows > counts.anonymous + counts.unknown:
        events.notes.add_unused(dict.fromkeys(sorted(conversion.unused)), ())


def _converted(user: UserTraits, line: int, conversion: Conversion) -> Row | BadRow:
    if conversion.mapping is None:
        return Row(line, user)
    stored = StoredUser(
        backend="logrocket", vendor_id="", user_id=user.user_id, name=user.name, email=user.email, traits=user.traits
    )
    return conversion.to_row(stored, line, user.observed_at)


@attrs.define(eq=False)
class _Newest:
    """The newest row of each user, in a temporary database."""

    _connection: sqlite3.Connection = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        # The thread that reads the rows may be another one in each run, but there is only one at a time.
        self._connection = sqlite3.connect(_DATABASE, isolation_level=None, check_same_thread=False)
        for statement in _SETUP:
            self._connection.execute(statement)

    def put(self, user_id: str, moment: datetime, line: int, user: bytes | None) -> None:
        """Keep a row if no newer one of its user is kept; of two at one time, the later is the newer one."""
        try:
            self._connection.execute(_PUT, (user_id, to_microseconds(moment), line, user))
        except sqlite3.OperationalError as error:
            problem = f"cannot be written: {error.sqlite_errorname}"
        else:
            return
        # Not inside the handler, and with the folder to change.
        raise SourceError("the temporary database of SQLite", f"{problem}; set SQLITE_TMPDIR to a folder with space")

    def users(self) -> Iterator[tuple[int, UserTraits]]:
        """Yield the line and the user of each newest row that is valid, in the order of the users' first rows."""
        for line, user in self._connection.execute(_USERS):
            yield line, decode(user)

    def close(self) -> None:
        """Delete the database."""
        self._connection.close()
