import html
import json
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity import Fullstory, InvalidTraitsError, LogRocket, UserTraits
from replay_identity.adapters.redaction import MAX_MESSAGE, REDACTED, redact
from replay_identity.testing import numbers, user_traits

NOON = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
# Characters that keep their length when their case changes and that are not the redaction mark.
texts = st.text(st.sampled_from("abcXYZ019 _-@.+/\\\"'<>&éÄжЖ日😀\n\t"), min_size=4, max_size=40).filter(
    lambda text: len(" ".join(text.split())) >= 4 and text == text.strip()
)
WRITINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded path": quote,
    "form-encoded": quote_plus,
    "JSON": lambda text: orjson.dumps(text).decode()[1:-1],
    "ASCII JSON": lambda text: json.dumps(text)[1:-1],
    "Go's JSON": lambda text: (
        json.dumps(text, ensure_ascii=False)[1:-1]
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
    ),
    "HTML": html.escape,
}


def user_with(text: str) -> UserTraits:
    """Return a user with the trait *text*."""
    return UserTraits("u1", traits={"t": text})


@pytest.mark.parametrize("writing", WRITINGS)
@given(
    text=texts,
    before=st.sampled_from(["", "bad value: ", "İ ", 'x="']),
    after=st.sampled_from(["", ".", '" is bad', "ing"]),
)
def test_redacts_a_value_in_any_encoding(writing: str, text: str, before: str, after: str) -> None:
    """Nothing of it is left, and the text around it stays."""
    written = WRITINGS[writing](text)
    shown = " ".join(written.splitlines()) if "\n" in written else written

    redacted = redact(f"{before}{written}{after}", user_with(text))

    assert shown.lower() not in redacted.lower()
    assert REDACTED in redacted


@given(
    text=texts.filter(lambda text: len(text) > 13),
    cut=st.integers(12, 40),
    rest=st.sampled_from(["…", "...", " is too long"]),
)
def test_redacts_a_truncated_value(text: str, cut: int, rest: str) -> None:
    """Twelve characters are enough for a match."""
    redacted = redact(f"value {text[:cut]}{rest}", user_with(text))

    assert redacted.startswith(f"value {REDACTED}")
    assert text[:12] not in redacted


@given(user=user_traits(), secret=texts, message=st.text(max_size=30))
def test_redacts_everything_about_a_user(user: UserTraits, secret: str, message: str) -> None:
    """This holds for any user, wherever the vendor quotes them."""
    own = [user.user_id, user.name, user.email, *user.vendor_ids.values(), secret]
    quoted = [
        text for text in own if text and len(text) >= 4 and REDACTED[0] not in text and "".join(text.split()) == text
    ]

    redacted = redact(message + " ; ".join(quoted), user, secret)

    assert [text for text in quoted if len(text) <= MAX_MESSAGE and text.isprintable() and text in redacted] == []


@given(number=numbers())
def test_redacts_numbers_as_sent(number: Any) -> None:
    """The payload of either vendor shows how a number is written."""
    try:
        user = UserTraits("u1", traits={"t": number})
    except InvalidTraitsError:  # Too large a number.
        return
    plans = [LogRocket("o:a:s", on_violation="adapt").plan(user), Fullstory("k", on_violation="adapt").plan(user)]
    sent = [_value(plan.request.body) for plan in plans if plan.request and plan.request.body]

    for text in sent:
        if text and 4 <= len(text) <= 400:
            assert text not in redact(f"value {text} is bad", user)


def _value(body: bytes) -> str | None:
    """Return the number in *body* as text."""
    _, marker, rest = body.decode().partition('"t":')
    return rest.split("}")[0].split(",")[0].strip('"') if marker else None


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "true"),
        (True, "True"),
        (1.0, "1.0"),
        (123456.0, "123456"),
        (1e-7, "1e-7"),
        (1.5e22, "1.5e22"),
        (Decimal("1E+5"), "100000"),
        (Decimal("1E+400"), "1E+400"),
        (Decimal("-1E+400"), "-1E+400"),
        (Decimal("9.990"), "9.99"),
        (Decimal("0.1"), "0.1"),
        (NOON, "2026-11-21T12:30:00Z"),
        (NOON, "2026-11-21 12:30:00+00:00"),
        (date(2026, 11, 21), "2026-11-21"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (["canary-one", "x"], "canary-one"),
        ({"a": {"b": "canary"}}, "canary"),
    ],
)
def test_redacts_a_value_of_any_type(value: Any, written: str) -> None:
    """Every way of writing it is found."""
    assert redact(f"value {written} is bad", UserTraits(traits={"t": value})) == f"value {REDACTED} is bad"


def test_redacts_own_fields_and_secrets() -> None:
    """These are ids, name, e-mail address, time, and every secret passed in."""
    user = UserTraits(
        "u-4711", name="Ann Lee", email="a@x.org", observed_at=NOON, vendor_ids={"fullstory": "7449164135"}
    )

    redacted = redact(
        f"u-4711, Ann Lee, a@x.org, {int(NOON.timestamp() * 1000)}, 7449164135, o:a:s3cret", user, "o:a:s3cret"
    )

    assert redacted == ", ".join([REDACTED] * 6)


def test_redacts_a_short_value_as_a_whole_word() -> None:
    """Otherwise a trait of one letter would make every message unreadable."""
    user = UserTraits(traits={"grade": "a", "n": 5})

    assert (
        redact("a value of 5 is bad: a, 55, _a_", user)
        == f"{REDACTED} value of {REDACTED} is bad: {REDACTED}, 55, _{REDACTED}_"
    )


def test_redacts_overlapping_values_completely() -> None:
    """The longer value is redacted as a whole."""
    assert redact("Ann-Marie Lee", UserTraits(name="Ann-Marie Lee", traits={"first": "Marie"})) == REDACTED


def test_redacts_across_no_break_spaces() -> None:
    """A vendor may write a name with a no-break space, which we show as a space."""
    assert redact("Ann\u00a0Marie Lee", UserTraits(name="Ann Marie Lee")) == REDACTED


def test_keeps_a_message_without_personal_values() -> None:
    """The text stays word for word."""
    assert redact("uid is required", UserTraits("u1", traits={"plan": "pro"})) == "uid is required"
    assert redact("uid is required", None) == "uid is required"


def test_shows_a_message_on_one_line() -> None:
    """It cannot forge a line of a log."""
    assert redact("\tbad\r\nvalue\x1b[31m\n", None) == "bad  value [31m"


def test_truncates_a_long_message() -> None:
    """At most five hundred characters are kept."""
    assert redact("b" * 501, None) == "b" * 499 + "…"
    assert redact("b" * 500, None) == "b" * 500
    assert len(redact("b" * 10_000_000, None)) == MAX_MESSAGE == 500


def test_redacts_a_large_user_quickly() -> None:
    """The user has a value of ten megabytes and 500 traits, and the message has a megabyte."""
    traits = {f"t{number}": f"value-{number}" for number in range(500)}
    user = UserTraits("u1", traits={**traits, "large": "é" * 5_000_000})

    started = time.perf_counter()
    redact("é" * 1_000_000, user)

    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("quoted", ["12345678", "12345678.0", "1.2345678e+07", "1.2345678e+7"])
def test_redacts_an_integer_written_as_a_float(quoted: str) -> None:
    """A vendor that reads every number as a float quotes it as one."""
    assert redact(f"bad value {quoted}", UserTraits("u1", traits={"n": 12345678})) == f"bad value {REDACTED}"
