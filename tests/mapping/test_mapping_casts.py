"""Exact type conversions."""

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity import InvalidTraitsError
from replay_identity._paths import MISSING
from replay_identity._values import iso8601
from replay_identity.mapping.casts import CAST_TYPES, find_cast
from replay_identity.mapping.rules import Cast, FieldRule
from replay_identity.testing import datetimes, scalars
from replay_identity.traits import TRAIT_TYPES

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
NAIVE = datetime(2026, 11, 21, 12)  # noqa: DTZ001
CASTS = get_args(Cast)
SOME_UUID = UUID("12345678-1234-5678-1234-567812345678")


REJECTS_BOOLEANS = {
    "int": "expected a whole number",
    "real": "expected a number",
    "date": "expected an ISO 8601 date, such as 2026-11-21 or 2026-11-21T08:30:00Z",
    "epoch": "expected a number of seconds or milliseconds since 1970",
    "ints": "expected a list",
}


SEVERAL_IDS = "has several ids that may be the user's; set user_id to another field that holds yours"
NO_OWN_ID = "has only ids that anonymous visitors may have; set user_id to another field that holds yours"


def each(cast: str, problem: str, /, *values: Any) -> list[tuple[str, Any, str]]:
    """Return a case for each of *values*, which *cast* rejects with *problem*."""
    return [(cast, value, problem) for value in values]


@pytest.mark.parametrize(
    ("cast", "value", "expected"),
    [
        ("any", "042", "042"),
        ("user-id", "u1", "u1"),
        ("user-id", 7, 7),
        ("user-id", str(SOME_UUID), str(SOME_UUID)),
        ("user-id", "anonymity", "anonymity"),
        ("user-id", ["u1"], "u1"),
        ("user-id", ("u1", None, "u1"), "u1"),
        ("user-id", [str(SOME_UUID).upper(), 7], "7"),
        ("user-id", ["anon-1", "$device:5", "u1"], "u1"),
        ("user-id", {"0": "u1", "1": SOME_UUID.hex, "2": None}, "u1"),
        ("user-id", '["u1", "Guest_7"]', "u1"),
        ("user-id", "{u1,anonymous}", "u1"),
        ("none", False, MISSING),
        ("str", "x", "x"),
        ("str", 42, "42"),
        ("str", True, "true"),
        ("str", False, "false"),
        ("str", 0.1, "0.1"),
        ("str", Decimal("1.50"), "1.50"),
        ("str", SOME_UUID, str(SOME_UUID)),
        ("str", date(2026, 11, 21), "2026-11-21"),
        ("str", NOON, "2026-11-21T12:00:00Z"),
        ("int", "42", 42),
        ("int", "-0", 0),
        ("int", "1.0", 1),
        ("int", "-43.00", -43),
        ("int", 42, 42),
        ("int", 42.0, 42),
        ("int", Decimal("42.00"), 42),
        ("int", str(2**63 - 1), 2**63 - 1),
        ("int", -(2**63), -(2**63)),
        ("int", float(-(2**63)), -(2**63)),
        ("real", "4.2", 4.2),
        ("real", "-4", -4.0),
        ("real", "1e3", 1000.0),
        ("real", "1E-2", 0.01),
        ("real", "3.141592653589793", math.pi),
        ("real", 4.2, 4.2),
        ("real", 42, 42.0),
        ("real", 2**60, float(2**60)),
        ("real", Decimal("0.1"), 0.1),
        ("real", Decimal(0.1), 0.1),  # noqa: RUF032  # Its very digits.
        ("bool", True, True),
        ("bool", "TRUE", True),
        ("bool", "Yes", True),
        ("bool", "1", True),
        ("bool", 1, True),
        ("bool", "false", False),
        ("bool", "No", False),
        ("bool", "0", False),
        *[("bool", word, True) for word in ("t", "T", "y", "Y", "on", "ON")],
        *[("bool", word, False) for word in ("f", "F", "n", "N", "off", "Off")],
        ("bool", 0, False),
        ("date", "2026-11-21", date(2026, 11, 21)),
        ("date", "2026-11-21T12:00Z", NOON),
        ("date", "2026-11-21 12:00:00.000000000Z", NOON),
        ("date", "2026-11-21T14:00:00+02:00", NOON),
        ("date", "2026-11-21T14:00:00+0200", NOON),
        ("date", "2026-11-21T14:00:00+02", NOON),
        ("date", "2026-11-21T12:00:00.5Z", NOON.replace(microsecond=500_000)),
        *[
            ("date", f"2026-11-21 12:00:00{zone}", NOON)
            for zone in (" UTC", " GMT", "UTC", "+00", " +00", " +0000", " Z", "+00:00", ".000 UTC")
        ],
        ("date", "2026-11-21T14:00 +0200", NOON),
        ("date", date(2026, 11, 21), date(2026, 11, 21)),
        ("date", NOON, NOON),
        ("epoch", 0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("epoch", "1795262400", NOON),
        ("epoch", 1795262400.25, NOON.replace(microsecond=250_000)),
        ("epoch", "1795262400.000001", NOON.replace(microsecond=1)),
        ("epoch", Decimal("1795262400.5"), NOON.replace(microsecond=500_000)),
        ("epoch", "-1", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("epoch", 1795262400000, NOON),
        ("epoch", "1795262400000", NOON),
        ("epoch", -(10**11), datetime(1966, 10, 31, 14, 13, 20, tzinfo=UTC)),
        ("epoch", 4_100_000_000, datetime(2099, 12, 3, 16, 53, 20, tzinfo=UTC)),
        ("epoch", 253_402_300_799_999, datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
        ("epoch-s", 4_100_000_001, datetime(2099, 12, 3, 16, 53, 21, tzinfo=UTC)),
        ("epoch-ms", 0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("epoch-ms", 1795262400000, NOON),
        ("excel-date", 45293, date(2024, 1, 2)),
        ("excel-date", "45293", date(2024, 1, 2)),
        ("excel-date", 45293.0, date(2024, 1, 2)),
        ("excel-date", 61, date(1900, 3, 1)),
        ("excel-date", 2958465, date(9999, 12, 31)),
        ("excel-date", NOON, NOON),
        ("epoch-ms", "1795262400000.5", NOON.replace(microsecond=500)),
        ("json", '{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}),
        ("json", "18446744073709551617", 2**64 + 1),
        ("json", {"a": 1}, {"a": 1}),
        ("strs", ["a", 1], ["a", "1"]),
        ("strs", '["a"]', ["a"]),
        ("ints", ["1", 2.0], [1, 2]),
        ("ints", [], []),
        ("reals", "[1, 2.5]", [1.0, 2.5]),
        ("bools", ["yes", 0], [True, False]),
        ("dates", ["2026-11-21"], [date(2026, 11, 21)]),
        ("strs", '{a,"b c"}', ["a", "b c"]),
        ("strs", r'{"NULL","a\"b","\\",d\,e, f g }', ["NULL", 'a"b', "\\", "d,e", "f g"]),
        ("strs", '{"a, {b}"}', ["a, {b}"]),
        ("strs", "{}", []),
        ("strs", "{ }", []),
        ("ints", "{1,2}", [1, 2]),
        ("bools", "{t,f}", [True, False]),
        ("dates", '{"2026-11-21 12:00:00+00"}', [NOON]),
    ],
)
def test_casts_a_value_exactly(cast: str, value: Any, expected: Any) -> None:
    """The result has exactly the requested type."""
    result = find_cast(cast, None)(value, "field")

    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("cast", "value", "problem"),
    [
        *each("str", "expected a string, or a number, boolean, date or UUID to write as one", [], {}, b"x"),
        *each("str", "expected a finite number", math.nan, math.inf, Decimal("sNaN")),
        *[(cast, True, problem) for cast, problem in REJECTS_BOOLEANS.items()],
        ("str", NAIVE, "the datetime has no time zone"),
        *each(
            "int",
            "expected a whole number",
            *("4.2", "042", "", " 42", "+1", "1e3", "٤", "1.", "1.01", ".0", "43.00x", "1" * 100 + ","),
            4.2,
            math.nan,
            math.inf,
            None,
            [],
            NOON,
        ),
        *each("int", "expected a whole number", "1,234", "4,5"),
        *each("real", "expected a number", "1.234,50", "-4,5", ",5", "43%", "€ 43", "12.5 EUR"),
        *each("int", "expected a whole number", Decimal("4.2"), Decimal("NaN"), Decimal("sNaN")),
        *each(
            "int",
            "expected an integer of at most 64 bits",
            2**63,
            -(2**63) - 1,
            "9" * 19,
            "9" * 5000,
            1e300,
            Decimal("1e300"),
        ),
        *each("real", "expected a number", "", "nan", "inf", ".5", "5.", "007", "1_0", None, []),
        *each("real", "expected a finite number", math.nan, math.inf, Decimal("NaN")),
        *each("real", "is too large for a 64-bit float", "1e999", "-1e309", 10**309, Decimal("1e999")),
        *each(
            "real",
            "has more digits than a 64-bit float can hold",
            "1e-999",
            "0.12345678901234567890",
            "0." + "1" * 400,
            2**53 + 1,
            Decimal("1." + "0" * 30 + "1"),
        ),
        *each(
            "bool",
            "expected one of true, false, yes, no, on, off, t, f, y, n, 1, 0",
            *("", "ja", "yess", 2, 1.0, None, [], Decimal(1)),
        ),
        *each(
            "date",
            "expected an ISO 8601 date, such as 2026-11-21 or 2026-11-21T08:30:00Z",
            *("", "2026-W47-6", "2026-11-21T", "2026-11-21 08:30 CET", "2026-11-21 UTC", "0045-01-01 (BC)"),
        ),
        *each(
            "date",
            "expected an ISO 8601 date, such as 2026-11-21 or 2026-11-21T08:30:00Z",
            *("21.11.2026", "03/04/2026", "3-4-26", "20261121", "21 Nov 2026", "November 21, 2026"),
        ),
        *each(
            "date",
            "expected an ISO 8601 date, such as 2026-11-21 or 2026-11-21T08:30:00Z",
            *(1795262400, 45293.5, Decimal(45293)),
        ),
        *each(
            "date",
            "expected an ISO 8601 date, such as 2026-11-21 or 2026-11-21T08:30:00Z",
            *("soon", True, [2026], {}),
        ),
        *each("date", "expected a date that exists in the calendar", "2026-02-30", "2026-11-21T25:00Z"),
        ("date", "2026-11-21T12:00:00.0000001Z", "is more precise than a microsecond"),
        ("date", "2026-11-21T12:00", "the datetime has no time zone"),
        ("date", NAIVE, "the datetime has no time zone"),
        *each(
            "epoch",
            "expected a number of seconds or milliseconds since 1970",
            "",
            "1e9",
            "2026-11-21",
            "1" * 400,
            math.nan,
            Decimal("NaN"),
            Decimal("1e-999"),
            None,
        ),
        ("epoch-ms", "", "expected a number of milliseconds since 1970"),
        ("epoch", "0.0000001", "is more precise than a microsecond"),
        ("epoch-s", "", "expected a number of seconds since 1970"),
        *each("epoch-s", "is outside the years 1 to 9999", 10**12, -(10**12), 10**30, "9" * 300),
        *each("epoch", "is outside the years 1 to 9999", 253_402_300_800_000, -(10**14), 10**18, "9" * 300),
        *each(
            "epoch",
            "may be seconds or milliseconds",
            *(4_100_000_001, "99999999999.9", -4_100_000_001, 10**10),
        ),
        *each(
            "epoch-ms",
            "looks like seconds instead of milliseconds",
            *(1795262400, "1000000000", 4_100_000_000),
        ),
        *each(
            "excel-date", "expected a serial number of Excel, such as 45293 or 45293.5", *("", "2026-11-21", None, True)
        ),
        *each("excel-date", "is before March 1900, where Excel counts a day that did not exist", 60, "60.9", 0, -1),
        *each("excel-date", "is outside the years 1 to 9999", 2958466, "2958465.9999999999", 10**30),
        ("excel-date", 45293.5, "the datetime has no time zone"),
        *each("json", "expected JSON", "", "{", "\ud800", "[" * 100_000),
        ("json", '{"a": 1, "a": 2}', "has a duplicate name in one object"),
        *each("user-id", "is the id of an anonymous visitor", "$device:1", "Anonymous", "visitor:7", "anon1"),
        *each("user-id", SEVERAL_IDS, ["u1", "u2"], '["u1", "u2"]', [str(SOME_UUID), "u1", 7], ["null", "u1"]),
        *each("user-id", NO_OWN_ID, [], [str(SOME_UUID)], [None], {}, "{}", ["anon-1", SOME_UUID.hex]),
        *each("user-id", "expected an id as text or as a whole number", [True], [["u1"]], [{}]),
        ("user-id", ["u1", ""], "the id is empty"),
        *each("user-id", "expected JSON", "[object Object]"),
        *each(
            "none",
            "has a value, which marks the row as deleted, or as something else than a user",
            "",
            "false",
            0,
            "2026-01-01",
        ),
        *each("ints", "expected a list", "1", 1, {}, "{1", '{"a": 1} '),
        *each(
            "strs",
            "expected a list, as JSON or as a PostgreSQL array without arrays inside",
            *('{"a": 1}', "{a,}", "{,a}", "{a,,b}", "{{a},{b}}", '{a"b}', '{"a}', "{a\\}", "{,}", "{a b{}"),
        ),
        ("ints", "1,2", "expected JSON"),
    ],
)
def test_rejects_inexact_casts(cast: str, value: Any, problem: str) -> None:
    """The error names the path, but not the value; what to set is tested below."""
    with pytest.raises(InvalidTraitsError) as caught:
        find_cast(cast, None)(value, "field")

    assert (caught.value.path, caught.value.problem) == ("field", problem)


@pytest.mark.parametrize(
    ("cast", "value", "hint"),
    [
        *each("int", 'set decimal = "," or thousands = ","', "1,234"),
        *each("real", 'set decimal = ","', "-4,5"),
        *each("real", 'set decimal = "," with thousands = "."', "1.234,50"),
        *each("int", 'set decimal = "," with thousands = "."', "1.234"),
        *each("int", 'set thousands = " "', "1 234", "1\u00a0234"),
        *each("real", "set strip to remove the currency or the percent sign", "43%", "€ 43", "12.5 EUR", "-$5"),
        *each("real", 'set strip to remove the currency or the percent sign and thousands = ","', "$1,200.50"),
        *each("int", "set nulls if this text means null", "", " ", "NULL", "\\N", "n/a", "NaN", "-", "#N/A"),
        *each("date", "set nulls if this text means null", "0000-00-00", "null"),
        *each("epoch", "set nulls if this text means null", "null"),
        *each("excel-date", "set nulls if this text means null", "null"),
        *each("bool", "set nulls if this text means null", "N/A"),
        *each("json", "set nulls if this text means null", "NULL"),
        *each("int", "set trim and normalise to remove what surrounds the text", " 42", "42\u200b"),
        *each("int", "", "042", "x", "1e3", "4,5,6", "ABC 1", "€5€", "1 234 567 890", "9" * 200 + ","),
        *each("bool", "", "ja"),
        *each("date", "", "2026-W47-6", "21 xyz 2026", "1.2.30", "21/11/2026 10:00 CET", "x" * 60),
        *each(
            "date",
            "set the cast to epoch or excel-date for a number",
            1795262400,
            45293.5,
            Decimal(45293),
            "45293",
            "2026",
        ),
        *each("date", 'set format = "%d.%m.%Y"', "21.11.2026"),
        *each("date", 'set format = "%d/%m/%Y" or format = "%m/%d/%Y"', "03/04/2026"),
        *each("date", 'set format = "%B %d, %Y"', "November 21, 2026"),
        *each("date", 'set format = "%d %b %Y %I:%M %p"', "21 Nov 2026 8:30 PM"),
        *each("date", 'set format = "%Y/%m/%dT%H:%M:%S.%fZ"', "2026/11/21T08:30:00.5Z"),
        *each("date", 'set format = "%a, %d %b %Y %H:%M:%S %z"', "Sat, 21 Nov 2026 08:30:00 +0100"),
        *each(
            "date",
            "add the century in a query: a year of two digits does not say it",
            *("03/04/26", "21-Nov-26", "21.11.26 08:30"),
        ),
        *each("int", "", None, 4.5),
        *each("date", "", [], None),
    ],
)
def test_errors_say_what_to_set(cast: str, value: Any, hint: str) -> None:
    """If there is a setting for such a value; the value itself is not shown."""
    with pytest.raises(InvalidTraitsError) as caught:
        find_cast(cast, None)(value, "field")

    assert caught.value.hint == hint


def test_number_settings_that_do_not_fit_say_what_to_set() -> None:
    """As casts without settings do."""
    cast = FieldRule(cast="int", thousands=",").find_cast(None)

    for text, hint in (("NULL", "set nulls if this text means null"), ("x", "")):
        with pytest.raises(InvalidTraitsError) as caught:
            cast(text, "field")
        assert caught.value.hint == hint


def test_names_list_items_by_index() -> None:
    """A null is not a valid item either."""
    with pytest.raises(InvalidTraitsError, match=r"^field\[1\]: expected a whole number$"):
        find_cast("ints", None)([1, None], "field")


def test_adds_the_time_zone_to_naive_datetimes() -> None:
    """This includes lists. Aware datetimes keep their own zone, and dates need none."""
    zone = timezone(timedelta(hours=2))
    to_date, to_dates = find_cast("date", zone), find_cast("dates", zone)

    assert to_date("2026-11-21T14:00", "field") == to_date("2026-11-21T12:00Z", "field") == NOON
    assert to_dates(["2026-11-21 14:00", "2026-11-21"], "field") == [NOON, date(2026, 11, 21)]


@pytest.mark.parametrize("items", ["{a,NULL}", "{a, null }", '["a", null]'])
def test_rejects_nulls_in_lists(items: str) -> None:
    """Vendors have no null in a list, and an item must not vanish."""
    with pytest.raises(InvalidTraitsError, match=r"^field\[1\]: expected a string"):
        find_cast("strs", None)(items, "field")


@pytest.mark.parametrize("text", ["2026-03-29T02:30:00", "2026-10-25T02:30:00"])
def test_rejects_skipped_and_repeated_hours(text: str) -> None:
    """Such a datetime is not a definite point in time."""
    with pytest.raises(InvalidTraitsError, match="in an hour that the clocks of the time zone skip or repeat"):
        find_cast("date", ZoneInfo("Europe/Berlin"))(text, "field")


def test_every_type_has_a_cast() -> None:
    """Those whose result may be of any type, or not a trait, declare none."""
    assert set(CASTS) - CAST_TYPES.keys() == {"any", "json", "user-id", "none"}
    assert set(CAST_TYPES.values()) == TRAIT_TYPES
    assert all(callable(find_cast(cast, None)) for cast in CASTS)


@given(number=st.integers(-(2**63), 2**63 - 1))
def test_integers_survive_a_round_trip(number: int) -> None:
    """They pass through a string, a float or a decimal."""
    to_int, to_str = find_cast("int", None), find_cast("str", None)

    assert to_int(to_str(number, "f"), "f") == to_int(Decimal(number), "f") == number


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_floats_survive_a_round_trip(number: float) -> None:
    """They pass through a string."""
    back = find_cast("real", None)(find_cast("str", None)(number, "f"), "f")

    assert repr(back) == repr(number)


@given(moment=st.one_of(datetimes(), st.dates()))
def test_dates_survive_a_round_trip(moment: date) -> None:
    """A time of day in the string is optional."""
    assert find_cast("date", None)(iso8601(moment), "f") == moment


@given(moment=datetimes())
def test_datetimes_survive_a_round_trip_as_seconds(moment: datetime) -> None:
    """They are exact to the microsecond."""
    seconds = Decimal((moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)).scaleb(-6)

    assert find_cast("epoch-s", None)(f"{seconds:f}", "f") == moment


@given(cast=st.sampled_from(CASTS), value=st.one_of(scalars(), st.text(), st.lists(scalars()), st.none(), st.floats()))
def test_casting_twice_changes_nothing(cast: str, value: Any) -> None:
    """Each cast returns a value or raises InvalidTraitsError, whatever the input."""
    cast_value = find_cast(cast, UTC)
    try:
        once = cast_value(value, "f")
    except InvalidTraitsError:
        return

    if cast not in {"epoch", "epoch-s", "epoch-ms", "json", "any", "none"}:
        assert repr(cast_value(once, "f")) == repr(once)
