"""Casts to dates: ISO 8601, other formats, counts since 1970, and the serial numbers of Excel."""

import math
import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal, Self, TypeAlias

import attrs

from ..errors import ConfigurationError, InvalidTraitsError

Epoch: TypeAlias = Literal["epoch", "epoch-s", "epoch-ms"]

# No datetime needs more digits, and parsing more would be slow.
_MAX_DIGITS: Final = 400
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")

_DATETIME: Final = re.compile(
    r"""[0-9]{4}-[0-9]{2}-[0-9]{2}
        (?: [T ] [0-9]{2}:[0-9]{2} (?: :[0-9]{2} (?: \.[0-9]{1,6} (?P<finer>[0-9]*) )? )?
            (?: Z | [+-][0-9]{2}(?: :?[0-9]{2} )?
              | (?P<zone> [ ]?(?:UTC|GMT) | [ ](?: Z | [+-][0-9]{2}(?: :?[0-9]{2} )? ) ) )?
        )?""",
    re.VERBOSE,
)
_DATE_LENGTH: Final = len("2026-11-21")
_NOT_ISO: Final = "expected an ISO 8601 date, such as 2026-11-21 or 2026-11-21T08:30:00Z"
# The start of a date in another order, or with other separators.
_OTHER_DATE: Final = re.compile(
    r"(?![0-9]{4}-)[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]|[0-9]{8}$|[0-9]{0,2}[ .]*[A-Za-z]{3,9}[ .,]+[0-9]"
)

_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS: Final = {"epoch": "seconds or milliseconds", "epoch-s": "seconds", "epoch-ms": "milliseconds"}
_MICROSECONDS: Final = {"epoch-s": 1_000_000, "epoch-ms": 1_000}
# Seconds from the year 1840 to the year 2099, and milliseconds since 1973: no number is both.
_MAX_SECONDS: Final = 4_100_000_000
_MIN_MILLISECONDS: Final = 100_000_000_000
_MAX_MILLISECONDS: Final = 253_402_300_800_000  # The year 10000.
# A number of milliseconds this small is from January or February 1970; as seconds, it is from 2001 to 2099.
_MIN_SECONDS: Final = 1_000_000_000

# Day 60 of Excel is 29 February 1900, which did not exist, so the days before it count from another start.
_EXCEL_START: Final = datetime(1899, 12, 30)  # noqa: DTZ001  # Excel knows no time zones.
_FIRST_EXCEL_DAY: Final = 61
_DAY: Final = 86_400_000

_DIRECTIVES: Final = frozenset("aAwdbBmyYHIpMSfzjUWGuV%")
_TIME_DIRECTIVES: Final = frozenset("HIpMSf")
# Directives that determine a day.
_DAYS: Final = tuple(map(frozenset, ("Ymd", "Ybd", "YBd", "Yj", "GVu", "GVa", "GVA", "GVw")))


def with_timezone(moment: datetime, zone: tzinfo | None, path: str) -> datetime:
    """Return *moment* with its own time zone, or else with *zone*.

    Raises:
        InvalidTraitsError: There is no zone, or its clocks skip or repeat that hour.
    """
    if moment.tzinfo is not None:
        return moment
    if zone is None:
        raise InvalidTraitsError(path, "the datetime has no time zone; set timezone in the mapping")
    placed = moment.replace(tzinfo=zone)
    if zone is not UTC and placed.utcoffset() != placed.replace(fold=1).utcoffset():
        raise InvalidTraitsError(path, "is in an hour that the clocks of the time zone skip or repeat")
    return placed


def to_date(value: Any, path: str, zone: tzinfo | None) -> date:  # noqa: ANN401  # A row's value.
    """Return *value*, a string in the form of ISO 8601, as a date or a datetime."""
    if isinstance(value, date):
        return with_timezone(value, zone, path) if isinstance(value, datetime) else value
    match = _DATETIME.fullmatch(value) if type(value) is str else None
    if match is None:
        raise InvalidTraitsError(path, _NOT_ISO + _hint(value))
    if (match["finer"] or "").strip("0"):
        raise InvalidTraitsError(path, "is more precise than a microsecond")
    if match["zone"]:
        value = value[: match.start("zone")] + _as_offset(match["zone"])
    try:
        if len(value) == _DATE_LENGTH:
            return date.fromisoformat(value)
        return with_timezone(datetime.fromisoformat(value), zone, path)
    except ValueError:
        problem = "expected a date that exists in the calendar"
        raise InvalidTraitsError(path, problem) from None  # The cause may quote the value.


def _as_offset(zone: str) -> str:
    """Return *zone* in the form of ISO 8601."""
    return "Z" if zone.strip() in {"UTC", "GMT"} else zone.strip()


def _hint(value: object) -> str:
    if isinstance(value, str):
        return "; set format for dates of another form" if _OTHER_DATE.match(value) else ""
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return "; for a number, set the cast to epoch or excel-date" if is_number else ""


@attrs.frozen
class DateFormat:
    """A format of dates, in the directives of `datetime.strptime`.

    Attributes:
        text: The format.
        has_time: Whether it has a time of day.
        zone: UTC if the format ends with its name, else None.
    """

    text: str
    has_time: bool
    zone: tzinfo | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the format written as *text*.

        Raises:
            ConfigurationError: The format is not valid, or does not determine a date.
        """
        directives = re.findall("%(.?)", text, re.DOTALL)
        if "y" in directives:
            raise ConfigurationError("format", "%y does not say the century", "use %Y, and add the century in a query")
        unknown = sorted(set(directives) - _DIRECTIVES)
        if unknown:
            hint = "use numbers for dates and times, and %z for the time zone"
            raise ConfigurationError("format", f"%{unknown[0]} is not supported", hint)
        if not any(day <= set(directives) for day in _DAYS):
            raise ConfigurationError("format", "does not determine a date", "include the year, the month and the day")
        times = _TIME_DIRECTIVES.intersection(directives)
        if times and "H" not in times and not {"I", "p"} <= times:
            raise ConfigurationError("format", "does not determine the hour", "use %H, or %I with %p")
        if len(directives) != len({*directives} - {"%"}) + directives.count("%"):
            raise ConfigurationError("format", "has a directive twice", "remove one of them")
        is_utc = re.search("(?<!%)(?:Z|UTC|GMT)$", text) is not None and "z" not in directives
        return cls(text, bool(times), UTC if is_utc else None)

    def read(self, value: str) -> date | None:
        """Return the date or the datetime that *value* is in this format, or None."""
        try:
            moment = datetime.strptime(value, self.text)  # noqa: DTZ007  # The mapping has the time zone.
        except ValueError:
            return None
        if not self.has_time:
            return moment.date()
        return moment.replace(tzinfo=self.zone) if moment.tzinfo is None else moment


def to_date_by_format(value: object, path: str, *, zone: tzinfo | None, formats: tuple[DateFormat, ...]) -> date:
    """Return *value*, a string in one of *formats*, as a date or a datetime."""
    if isinstance(value, date):
        return to_date(value, path, zone)
    read = [form.read(value) for form in formats] if isinstance(value, str) else []
    found = {moment for moment in read if moment is not None}
    if not found:
        raise InvalidTraitsError(path, "expected a date in the format of the mapping")
    if len(found) > 1:
        raise InvalidTraitsError(path, "fits several formats of the mapping, as different dates")
    moment = found.pop()
    return with_timezone(moment, zone, path) if isinstance(moment, datetime) else moment


def to_datetime(value: object, path: str, cast: Epoch) -> datetime:
    """Return *value*, a count since 1970, as a datetime in UTC."""
    number = _number(value)
    if number is None:
        raise InvalidTraitsError(path, f"expected a number of {_UNITS[cast]} since 1970")
    if cast == "epoch-ms" and _MIN_SECONDS <= number <= _MAX_SECONDS:
        raise InvalidTraitsError(path, "looks like seconds instead of milliseconds; set the cast to epoch or epoch-s")
    unit = _plausible_unit(number, path) if cast == "epoch" else _MICROSECONDS[cast]
    exact = number * unit
    if exact.denominator != 1:
        raise InvalidTraitsError(path, "is more precise than a microsecond")
    try:
        return _START + timedelta(microseconds=exact.numerator)
    except OverflowError:
        raise InvalidTraitsError(path, "is outside the years 1 to 9999") from None


def _plausible_unit(number: int | Fraction, path: str) -> int:
    """Return the microseconds in the unit of *number*, which counts seconds or milliseconds."""
    if -_MAX_SECONDS <= number <= _MAX_SECONDS:
        return _MICROSECONDS["epoch-s"]
    if -_MIN_MILLISECONDS < number < _MIN_MILLISECONDS:
        raise InvalidTraitsError(path, "may be seconds or milliseconds; set the cast to epoch-s or epoch-ms")
    if number >= _MAX_MILLISECONDS:
        raise InvalidTraitsError(path, "is outside the years 1 to 9999")
    return _MICROSECONDS["epoch-ms"]


def to_excel_date(value: object, path: str, zone: tzinfo | None) -> date:
    """Return *value*, a serial number of Excel, as a date, or as a datetime if it has a time of day.

    Only the system that starts in 1900 is read. A time is rounded to a millisecond: Excel stores it no more precisely.
    """
    if isinstance(value, date):
        return to_date(value, path, zone)
    number = _number(value)
    if number is None:
        raise InvalidTraitsError(path, "expected a serial number of Excel, such as 45293 or 45293.5")
    if number < _FIRST_EXCEL_DAY:
        raise InvalidTraitsError(path, "is before March 1900, where Excel counts a day that did not exist")
    days = math.floor(number)
    try:
        moment = _EXCEL_START + timedelta(days=days, milliseconds=round((number - days) * _DAY))
    except OverflowError:
        raise InvalidTraitsError(path, "is outside the years 1 to 9999") from None
    return moment.date() if number == days else with_timezone(moment, zone, path)


def _number(value: object) -> int | Fraction | None:
    """Return *value* as an exact number, or None if it is none or too long for a datetime."""
    if type(value) is int:
        return value
    if isinstance(value, str) and len(value) < _MAX_DIGITS and _DECIMAL.fullmatch(value):
        return Fraction(value)
    if isinstance(value, float) and math.isfinite(value):
        return Fraction(repr(value))
    if isinstance(value, Decimal) and value.is_finite() and abs(int(value.as_tuple().exponent)) < _MAX_DIGITS:
        return Fraction(value)
    return None
