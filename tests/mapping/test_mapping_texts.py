"""Texts that people write in their own ways: null texts, spaces, numbers and dates."""

import unicodedata
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity import REMOVE, ConfigurationError, InvalidTraitsError, UserTraits
from replay_identity.mapping import CompiledMapping, FieldRule, RowMapping

NO_DATE = "does not determine a date; write the year as %Y, the month as %m and the day as %d, for example %d/%m/%Y"
PART_OF_NUMBER = (
    "strip: has a text that may be part of a number: a digit, a minus, a parenthesis or a decimal sign; "
    'list units, such as "€" or "%"'
)
# What would make another number if it were removed.
NUMBER_PARTS = ("5", "CO2", "\u0663", "-", "\u2212", "(", ")", "-€", "€-", "(€", "€)", ".", ", ")
BERLIN = ZoneInfo("Europe/Berlin")


def mapped(row: dict[str, Any], **settings: Any) -> UserTraits:
    """Return the user that a mapping with *settings* makes from *row*."""
    return CompiledMapping.compile(RowMapping(**settings)).to_user(row)


def cast(value: Any, **settings: Any) -> Any:
    """Return *value* as a rule with *settings* casts it in Berlin."""
    return FieldRule(**settings).find_cast(BERLIN)(value, "field")


def problem(value: Any, **settings: Any) -> str:
    """Return why a rule with *settings* rejects *value*."""
    with pytest.raises(InvalidTraitsError) as caught:
        cast(value, **settings)
    return caught.value.problem


def test_null_texts_are_nulls_everywhere() -> None:
    """In listed and unlisted fields, in objects, and in own fields; lists and numbers keep them."""
    row = {"id": "u1", "name": "NULL", "email": "n/a", "a": "NULL", "b": {"c": "n/a", "d": "x"}, "e": ["NULL"], "f": ""}

    user = mapped(row, nulls=["NULL", "n/a"], fields={"a": FieldRule(cast="int"), "b.c": FieldRule(cast="date")})

    assert user == UserTraits("u1", traits={"b": {"d": "x"}, "e": ["NULL"], "f": ""}, types={"a": "int", "b.c": "date"})


def test_a_field_has_its_own_null_texts() -> None:
    """They replace those of the mapping. A null text removes and defaults as a null does."""
    fields = {
        "a": FieldRule(nulls="-"),
        "b": FieldRule(nulls=[]),
        "c": FieldRule(null="remove"),
        "d": FieldRule(default="free"),
    }

    user = mapped({"a": "-", "b": "NULL", "c": "NULL", "d": "NULL", "e": "-"}, nulls=["NULL"], fields=fields)

    assert user.traits == {"b": "NULL", "c": REMOVE, "d": "free", "e": "-"}
    assert mapped({"a": "NULL"}, nulls=["NULL"], fields={"a": FieldRule(nulls=["-"])}).traits == {"a": "NULL"}


@pytest.mark.parametrize("settings", [{}, {"user_id": "id"}, {"fields": {"id": FieldRule(cast="str")}}])
def test_a_null_text_is_no_id(settings: dict[str, Any]) -> None:
    """It is an error, as a null id is."""
    with pytest.raises(InvalidTraitsError, match=r"^id: the id is null"):
        mapped({"id": "NULL"}, nulls=["NULL"], **settings)


def test_cleans_texts_on_request() -> None:
    """In every field, in objects and in lists; a field may differ."""
    row = {"id": " U1 ", "email": "A@B.C\u200b", "a": {"b": [" X "]}, "keep": " Y ", "n": 1}

    user = mapped(row, trim=True, lower=True, normalise=True, fields={"keep": FieldRule(trim=False, lower=False)})

    assert user == UserTraits("u1", email="a@b.c", traits={"a": {"b": ["x"]}, "keep": " Y ", "n": 1})
    with pytest.raises(InvalidTraitsError, match=r"^a: expected a whole number; set on_error"):
        mapped({"a": " x "}, fields={"a": FieldRule(trim=True, cast="int")})
    only = mapped({"a": " X ", "b": " X "}, fields={"a": FieldRule(trim=True)})
    assert only.traits == {"a": "X", "b": " X "}


def test_null_texts_are_compared_after_cleaning() -> None:
    """Before and after the change to lower case."""
    row = {"a": " NULL ", "b": "null\ufeff", "c": "Null"}

    assert mapped(dict(row), trim=True, normalise=True, nulls=["NULL", "null"]).traits == {"c": "Null"}
    assert mapped(dict(row), trim=True, normalise=True, lower=True, nulls=["null"]).traits == {}


def test_composes_characters_and_removes_invisible_ones() -> None:
    """Spaces that take room are left."""
    text = "\ufeffe\u0301\u200b\u2060\u00ad\u3164 \u00a0x\u200e"

    assert mapped({"a": text}, normalise=True).traits == {"a": "\u00e9 \u00a0x"}


@pytest.mark.parametrize(
    "text",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: "I want".
        "\u0915\u094d\u200d\u0937 \u0936\u094d\u200c\u0930",  # Hindi.
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308",  # A family, and a flag.
        "\U0001f469\U0001f3fd\u200d\u2695\ufe0f",
    ],
)
def test_keeps_joiners_that_words_and_emoji_need(text: str) -> None:
    """At the ends, next to other letters, and more than one after another, they mean nothing."""
    untidy = f"\u200c{text}\u200d a\u200db\u200c\u0645".replace("\u062e", "\u200d\u062e")

    assert mapped({"a": text}, normalise=True).traits == {"a": text}
    assert mapped({"a": untidy}, normalise=True).traits == {"a": f"{text} ab\u0645"}


@given(text=st.text() | st.text(alphabet="a\u0301\u0645\u200c\u200d\u2adc\U0001f468 \u200b"))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    """Whatever the text is."""
    settings = {"trim": True, "lower": True, "normalise": True}

    once = mapped({"a": text}, **settings).traits["a"]

    assert unicodedata.is_normalized("NFC", str(once))
    assert mapped({"a": once}, **settings).traits["a"] == once


def test_unreadable_values_may_be_left_out() -> None:
    """They are counted by field; a default fills in, and other fields still reject."""
    fields = {
        "since": FieldRule(cast="date", on_error="absent"),
        "a.seats": FieldRule(cast="int", on_error="absent", default=1),
        "score": FieldRule(cast="real"),
    }
    mapping = CompiledMapping.compile(RowMapping(fields=fields))

    users = [mapping.to_user({"since": since, "a": {"seats": "x"}}) for since in ("soon", "", "2026-11-21")]

    assert [user.traits for user in users] == [
        {"a": {"seats": 1}},
        {"a": {"seats": 1}},
        {"a": {"seats": 1}, "since": date(2026, 11, 21)},
    ]
    assert mapping.unreadable == {"since": 2, "a.seats": 3}
    with pytest.raises(InvalidTraitsError, match=r'^score: expected a number; set on_error = "absent"'):
        mapping.to_user({"score": "x"})


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        ("1234,5", {"decimal": ","}, 1234.5),
        ("-0,5", {"decimal": ","}, -0.5),
        ("1.234.567,89", {"decimal": ",", "thousands": "."}, 1234567.89),
        ("1234567,89", {"decimal": ",", "thousands": "."}, 1234567.89),
        ("1,234.5", {"thousands": ","}, 1234.5),
        ("1 234\u00a0567\u202f890", {"thousands": " "}, 1234567890.0),
        ("1'234\u2019567.5", {"thousands": "'"}, 1234567.5),
        ("1,5e3", {"decimal": ","}, 1500.0),
        ("€ 4.5", {"strip": "€"}, 4.5),
        ("-4.5\u00a0€", {"strip": ["€"]}, -4.5),
        ("-$4.50", {"strip": ["$", "US$"]}, -4.5),
        ("US$-4.50", {"strip": ["$", "US$"]}, -4.5),
        ("43 %", {"strip": ["%"]}, 43.0),
        ("Fr. 5.-", {"strip": ["Fr.", ".-"]}, 5.0),
        ("5 m\u00b2", {"strip": "m\u00b2"}, 5.0),
        ("EUR 1.234,50", {"strip": ["EUR"], "decimal": ",", "thousands": "."}, 1234.5),
        ("12", {"strip": ["%"]}, 12.0),
        (12, {"decimal": ","}, 12.0),
    ],
)
def test_reads_numbers_as_people_write_them(text: Any, settings: dict[str, Any], expected: float) -> None:
    """Only in the way that the rule says."""
    assert cast(text, cast="real", **settings) == expected


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("1.5", {"decimal": ","}),
        ("1.5", {"decimal": ",", "thousands": "."}),
        ("1.23.456", {"decimal": ",", "thousands": "."}),
        ("1,23", {"thousands": ","}),
        ("1234,567", {"thousands": ","}),
        ("0,123", {"thousands": ","}),
        ("1,234,", {"thousands": ","}),
        ("1.000,5", {"decimal": ","}),
        ("1,5", {"thousands": " "}),
        ("--4", {"strip": ["€"]}),
        ("-€-4", {"strip": ["€"]}),
        ("€", {"strip": ["€"]}),
        ("-€", {"strip": ["€"]}),
        ("4€5", {"strip": ["€"]}),
        ("$4", {"strip": ["€"]}),
        (" 4", {"strip": ["€"]}),
        ("", {"decimal": ","}),
        ("007", {"decimal": ","}),
    ],
)
def test_rejects_numbers_written_otherwise(text: str, settings: dict[str, Any]) -> None:
    """A point is not a decimal sign where the comma is, and groups have three digits."""
    expected = "expected a number that is written as decimal, thousands and strip say"

    assert problem(text, cast="real", **settings) == expected


def test_number_settings_apply_to_integers_and_lists() -> None:
    """A whole number may have a fraction of zeros, as elsewhere."""
    settings: dict[str, Any] = {"decimal": ",", "thousands": "."}

    assert cast("1.234,00", cast="int", **settings) == 1234
    assert cast('["1.234", "5,0"]', cast="ints", **settings) == [1234, 5]
    assert cast('{"1.234,5",6}', cast="reals", **settings) == [1234.5, 6.0]
    assert problem("1,5", cast="int", **settings).startswith("expected a whole number")


@given(number=st.integers(-(10**12), 10**12), cents=st.integers(0, 99))
def test_grouped_numbers_survive_a_round_trip(number: int, cents: int) -> None:
    """Whatever their length."""
    text = f"{number:,}".replace(",", ".") + f",{cents:02}"

    assert cast(text, cast="real", decimal=",", thousands=".") == float(f"{number}.{cents:02}")


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("21.11.2026", "%d.%m.%Y", date(2026, 11, 21)),
        ("11/21/2026", ["%m/%d/%Y"], date(2026, 11, 21)),
        ("20261121", ["%d.%m.%Y", "%Y%m%d"], date(2026, 11, 21)),
        ("Nov 21, 2026", "%b %d, %Y", date(2026, 11, 21)),
        ("2026-325", "%Y-%j", date(2026, 11, 21)),
        ("2026-W47-6", "%G-W%V-%u", date(2026, 11, 21)),
        ("21.11.2026 13:00", "%d.%m.%Y %H:%M", datetime(2026, 11, 21, 13, tzinfo=BERLIN)),
        ("11/21/2026 1:00 PM", "%m/%d/%Y %I:%M %p", datetime(2026, 11, 21, 13, tzinfo=BERLIN)),
        ("11/21/2026 1 PM", "%m/%d/%Y %I %p", datetime(2026, 11, 21, 13, tzinfo=BERLIN)),
        ("21.11.2026 12:00 +0000", "%d.%m.%Y %H:%M %z", datetime(2026, 11, 21, 12, tzinfo=UTC)),
        ("20261121T120000Z", "%Y%m%dT%H%M%SZ", datetime(2026, 11, 21, 12, tzinfo=UTC)),
        ("21.11.2026 12:00 UTC", "%d.%m.%Y %H:%M UTC", datetime(2026, 11, 21, 12, tzinfo=UTC)),
        ("100% 2026-11-21", "100%% %Y-%m-%d", date(2026, 11, 21)),
        (date(2026, 11, 21), "%d.%m.%Y", date(2026, 11, 21)),
        ("05/05/2026", ["%d/%m/%Y", "%m/%d/%Y"], date(2026, 5, 5)),
    ],
)
def test_reads_dates_in_the_formats_of_a_field(text: Any, form: str | list[str], expected: date) -> None:
    """A format without a time of day gives a date; one without an offset takes the mapping's time zone."""
    result = cast(text, cast="date", format=form)

    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize("text", ["2026-11-21", "31.02.2026", "21.11.2026 x", "", 20261121, None, ["21.11.2026"]])
def test_rejects_dates_of_another_format(text: Any) -> None:
    """ISO 8601 is one of them."""
    assert problem(text, cast="date", format="%d.%m.%Y").startswith("expected a date in the format of the mapping")


def test_rejects_dates_that_fit_two_formats() -> None:
    """Whether the day or the month comes first is not guessed."""
    both = ["%d/%m/%Y", "%m/%d/%Y"]

    assert problem("03/04/2026", cast="date", format=both) == "fits several formats of the mapping, as different dates"
    assert cast('["21.11.2026"]', cast="dates", format="%d.%m.%Y") == [date(2026, 11, 21)]


def test_a_format_needs_a_time_zone() -> None:
    """As other datetimes without one do, and for hours that clocks repeat."""
    rule = FieldRule(cast="date", format="%d.%m.%Y %H:%M")

    with pytest.raises(InvalidTraitsError, match="has no time zone; set timezone"):
        rule.find_cast(None)("21.11.2026 13:00", "field")
    assert problem("25.10.2026 02:30", cast="date", format="%d.%m.%Y %H:%M").startswith("is in an hour that the clocks")


@given(days=st.integers(61, 2_958_465), milliseconds=st.integers(0, 86_399_999))
def test_times_of_excel_survive_a_round_trip(days: int, milliseconds: int) -> None:
    """As Excel stores them: as 64-bit floats, to the millisecond."""
    moment = datetime(1899, 12, 30, tzinfo=UTC) + timedelta(days=days, milliseconds=milliseconds)

    result = FieldRule(cast="excel-date").find_cast(UTC)(days + milliseconds / 86_400_000, "field")

    assert result == (moment if milliseconds else moment.date())


def test_times_of_excel_are_in_the_time_zone() -> None:
    """Numbers may be texts."""
    assert cast("45293.5", cast="excel-date") == datetime(2024, 1, 2, 12, tzinfo=BERLIN)
    assert cast("45293.520833333336", cast="excel-date") == datetime(2024, 1, 2, 12, 30, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"format": "%d.%m.%Y"}, "format: is only for the casts date, dates; set cast"),
        ({"cast": "epoch", "format": "%Y-%m-%d"}, "format: is only for the casts date, dates; set cast"),
        ({"decimal": ","}, "decimal: is only for the casts int, ints, real, reals; set cast"),
        ({"cast": "str", "thousands": ","}, "thousands: is only for the casts int, ints, real, reals; set cast"),
        ({"strip": "%"}, "strip: is only for the casts int, ints, real, reals; set cast"),
        ({"on_error": "absent"}, "on_error: needs a cast; set cast, which tells what the value should be"),
        ({"cast": "int", "on_error": "skip"}, "on_error: expected one of reject, absent"),
        ({"cast": "int", "decimal": ";"}, 'decimal: expected one of "." ","'),
        ({"cast": "int", "thousands": "_"}, 'thousands: expected one of "," "." " " "\'"'),
        (
            {"cast": "int", "thousands": "."},
            "thousands: is also the decimal sign; set decimal to the other one",
        ),
        ({"cast": "int", "strip": [""]}, "strip: has an empty text"),
        ({"cast": "int", "strip": [" "]}, "strip: has an empty text"),
        *(({"cast": "int", "strip": ["%", text]}, PART_OF_NUMBER) for text in NUMBER_PARTS),
        *[
            ({"cast": "date", "format": form}, f"format: {expected}")
            for form, expected in [
                ("%d.%m.", NO_DATE),
                ("%Y-%m", NO_DATE),
                ("", NO_DATE),
                ("%d.%m.%y", "%y does not say the century; use %Y, and add the century in a query"),
                ("%x", "%x is not supported; use numbers for dates and times, and %z for the time zone"),
                ("%Y-%m-%d %Z", "%Z is not supported; use numbers for dates and times, and %z for the time zone"),
                ("%Y-%m-%d%", "% is not supported; use numbers for dates and times, and %z for the time zone"),
                ("%Y-%m-%d %I:%M", "does not determine the hour; use %H, or %I with %p"),
                ("%Y-%m-%d %M", "does not determine the hour; use %H, or %I with %p"),
                ("%Y-%m-%d %d", "has a directive twice; remove one of them"),
            ]
        ],
    ],
)
def test_settings_of_a_field_must_fit_together(settings: dict[str, Any], expected: str) -> None:
    """The error says what to set."""
    with pytest.raises(ConfigurationError) as caught:
        FieldRule(**settings)

    assert str(caught.value) == expected
