"""Casts to dates: ISO 8601, other formats, counts since 1970, and the serial numbers of Excel."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, Literal, Self, TypeAlias

import attrs

from ..errors import ConfigurationError, InvalidTraitsError
from .cleaning import text_hint

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

# The parts of a date in another form, as it is written by people and programs.
_TOKEN: Final = re.compile(
    r"""(?P<time> [0-9]{1,2} :[0-9]{2} (?P<seconds> :[0-9]{2} )? (?P<fraction> \.[0-9]{1,6} )? (?![0-9:])
            (?: (?P<gap>[ ]?) (?P<half>[AaPp][Mm]) )?
            (?P<zone> [ ]?(?:UTC|GMT|Z)$ | [ ]?[+-][0-9]{2}:?[0-9]{2}$ )? )
      | (?P<year> [0-9]{4} ) (?![0-9])
      | (?P<number> [0-9]{1,2} ) (?![0-9])
      | (?P<word> [A-Za-z]+ )
      | (?P<other> [ ,/.-]+ )""",
    re.VERBOSE,
)
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WORDS: Final = {
    **dict.fromkeys(_MONTHS, "%B"),
    **{word[:3]: "%b" for word in _MONTHS},
    **dict.fromkeys(_WEEKDAYS, "%A"),
    **{word[:3]: "%a" for word in _WEEKDAYS},
    "t": "T",
}
_NUMBERS_OF_DATE: Final = 3
_MAX_DATE_LENGTH: Final = 50
_MAX_FORMS: Final = 16

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
        raise InvalidTraitsError(path, "the datetime has no time zone", "set timezone in the mapping")
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
        raise InvalidTraitsError(path, _NOT_ISO, text_hint(value, date_hint(value)))
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
        raise InvalidTraitsError(path, problem, text_hint(value)) from None  # The cause may quote the value.


def _as_offset(zone: str) -> str:
    """Return *zone* in the form of ISO 8601."""
    return "Z" if zone.strip() in {"UTC", "GMT"} else zone.strip()


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
            hint = "write the year as %Y, the month as %m and the day as %d, for example %d/%m/%Y"
            raise ConfigurationError("format", "does not determine a date", hint)
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


@attrs.frozen
class DateForm:
    """The formats in which one text is a date.

    Attributes:
        mark: What separates the day and the month if either may come first, else an empty string.
        day_first: The format if the day comes first, or None.
        month_first: The format if the month comes first, or None.
    """

    mark: str
    day_first: str | None
    month_first: str | None

    @classmethod
    def of(cls, text: str) -> Self | None:
        """Return the form of *text*, or None if it is not a date with a year of four digits."""
        day_first, month_first = _formats(text, "%d", "%m"), _formats(text, "%m", "%d")
        if day_first is None or month_first is None:
            return None
        if day_first == month_first:
            return cls("", day_first, day_first) if _reads(day_first, text) else None
        can_be_day, can_be_month = _reads(day_first, text), _reads(month_first, text)
        if not can_be_day and not can_be_month:
            return None
        return cls(day_first[2], day_first if can_be_day else None, month_first if can_be_month else None)


@lru_cache(maxsize=256)
def _parse(text: str) -> DateFormat:
    return DateFormat.parse(text)


def _reads(form: str, text: str) -> bool:
    moment = _parse(form).read(text)
    if isinstance(moment, datetime) and moment.tzinfo is not None:
        try:
            moment.astimezone(UTC)
        except OverflowError:
            return False
    return moment is not None


def _tokens(text: str) -> list[re.Match[str]] | None:
    """Return the parts of a date in *text*, or None if there is anything else."""
    tokens: list[re.Match[str]] = []
    position = 0
    while position < len(text) <= _MAX_DATE_LENGTH:
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        tokens.append(match)
        position = match.end()
    return tokens


def _formats(text: str, first: str, second: str) -> str | None:
    """Return the format of *text* if, of two numbers before the year, *first* comes first."""
    tokens = _tokens(text) or []
    words = [_WORDS.get(token["word"].lower(), "") for token in tokens if token["word"]]
    kinds = [token.lastgroup for token in tokens if token["year"] or token["number"]]
    if any(word in {"%b", "%B"} for word in words):
        numbers = ["%d"]
    else:
        numbers = ["%m", "%d"] if kinds[:1] == ["year"] else [first, second]
    if "" in words or kinds.count("year") != 1 or kinds.count("number") != len(numbers):
        return None
    left = {"word": iter(words), "number": iter(numbers), "year": iter(["%Y"])}
    return "".join(next(left[kind]) if (kind := token.lastgroup or "") in left else _literal(token) for token in tokens)


def _literal(token: re.Match[str]) -> str:
    if token["time"] is None:
        return re.sub(" +", " ", token[0])
    clock = (
        f"{'%I' if token['half'] else '%H'}:%M{':%S' if token['seconds'] else ''}{'.%f' if token['fraction'] else ''}"
    )
    half = f"{token['gap']}%p" if token["half"] else ""
    return f"{clock}{half}{re.sub('[+-].*', '%z', token['zone'] or '')}"


def has_short_year(text: str) -> bool:
    """Return True if *text* is a date whose year has two digits, so that its century is unknown."""
    tokens = _tokens(text) or []
    numbers = [token for token in tokens if token["number"]]
    if any(token["year"] for token in tokens) or len(numbers) < 2 or len(numbers[-1][0]) < 2:  # noqa: PLR2004  # Digits.
        return False
    if len(numbers) > 2 and "/" not in text and any(len(number[0]) < 2 for number in numbers):  # noqa: PLR2004  # As above.
        return False
    start = numbers[-1].start()
    return DateForm.of(f"{text[:start]}20{text[start:]}") is not None


@attrs.define
class DateForms:
    """The formats in which all texts of a field are dates.

    Attributes:
        are_dates: Whether all texts are dates.
        are_short: Whether all texts are dates with a year of two digits.
    """

    are_dates: bool = attrs.field(init=False, default=True)
    are_short: bool = attrs.field(init=False, default=True)
    _forms: set[DateForm] = attrs.field(init=False, factory=set[DateForm])

    def add(self, text: str) -> None:
        """Add one text."""
        self.are_short = self.are_short and has_short_year(text)
        form = DateForm.of(text) if self.are_dates else None
        self.are_dates = form is not None and len(self._forms) < _MAX_FORMS
        if form is not None:
            self._forms.add(form)

    @property
    def are_mixed(self) -> bool:
        """Whether the day comes first in some texts, and the month in others of the same kind."""
        return not self._day_marks.isdisjoint(self._month_marks)

    @property
    def choices(self) -> list[tuple[str, ...]]:
        """The formats of the texts; two choices if a person must say whether the day or the month comes first."""
        return [*dict.fromkeys((self._choose(is_day_first=True), self._choose(is_day_first=False)))]

    @property
    def _day_marks(self) -> set[str]:
        return {form.mark for form in self._forms if form.month_first is None}

    @property
    def _month_marks(self) -> set[str]:
        return {form.mark for form in self._forms if form.day_first is None}

    def _choose(self, *, is_day_first: bool) -> tuple[str, ...]:
        """Return the formats, of which those that nothing decides have the day first or not."""
        surely_day, surely_month = self._day_marks - self._month_marks, self._month_marks - self._day_marks
        chosen = {
            form.day_first
            if form.mark in surely_day or (is_day_first and form.mark not in surely_month)
            else form.month_first
            for form in self._forms
        }
        return tuple(sorted(filter(None, chosen)))


def lacks_zone(formats: Sequence[str]) -> bool:
    """Return True if one of *formats* has a time of day and no time zone."""
    parsed = map(_parse, formats)
    return any(form.has_time and form.zone is None and "%z" not in form.text for form in parsed)


def date_hint(value: object) -> str:
    """Return the setting with which *value* can be read as a date, or an empty string."""
    if _number(value) is not None and not isinstance(value, bool):
        return "set the cast to epoch or excel-date for a number"
    if not isinstance(value, str):
        return ""
    if has_short_year(value):
        return "add the century in a query: a year of two digits does not say it"
    form = DateForm.of(value)
    formats = [] if form is None else [*filter(None, dict.fromkeys((form.day_first, form.month_first)))]
    choices = " or ".join(f'format = "{text}"' for text in formats)
    return f"set {choices}" if choices else ""


def to_date_by_format(value: object, path: str, *, zone: tzinfo | None, formats: tuple[DateFormat, ...]) -> date:
    """Return *value*, a string in one of *formats*, as a date or a datetime."""
    if isinstance(value, date):
        return to_date(value, path, zone)
    read = [form.read(value) for form in formats] if isinstance(value, str) else []
    found = {moment for moment in read if moment is not None}
    if not found:
        raise InvalidTraitsError(path, "expected a date in the format of the mapping", text_hint(value))
    if len(found) > 1:
        raise InvalidTraitsError(path, "fits several formats of the mapping, as different dates")
    moment = found.pop()
    return with_timezone(moment, zone, path) if isinstance(moment, datetime) else moment


def to_datetime(value: object, path: str, cast: Epoch) -> datetime:
    """Return *value*, a count since 1970, as a datetime in UTC."""
    number = _number(value)
    if number is None:
        raise InvalidTraitsError(path, f"expected a number of {_UNITS[cast]} since 1970", text_hint(value))
    if cast == "epoch-ms" and _MIN_SECONDS <= number <= _MAX_SECONDS:
        raise InvalidTraitsError(path, "looks like seconds instead of milliseconds", "set the cast to epoch or epoch-s")
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
        raise InvalidTraitsError(path, "may be seconds or milliseconds", "set the cast to epoch-s or epoch-ms")
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
        problem = "expected a serial number of Excel, such as 45293 or 45293.5"
        raise InvalidTraitsError(path, problem, text_hint(value))
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
