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
# What a text may be made of that keeps its length in any case of letters, and is no mask.
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


def said(text: str) -> UserTraits:
    """Return a user of whom *text* is known."""
    return UserTraits("u1", traits={"t": text})


@pytest.mark.parametrize("writing", WRITINGS)
@given(
    text=texts,
    before=st.sampled_from(["", "bad value: ", "İ ", 'x="']),
    after=st.sampled_from(["", ".", '" is bad', "ing"]),
)
def test_a_value_is_masked_however_it_is_written(writing: str, text: str, before: str, after: str) -> None:
    """Nothing of it is left, and what stands around it stays."""
    written = WRITINGS[writing](text)
    shown = " ".join(written.splitlines()) if "\n" in written else written

    masked = redact(f"{before}{written}{after}", said(text))

    assert shown.lower() not in masked.lower()
    assert REDACTED in masked


@given(
    text=texts.filter(lambda text: len(text) > 13),
    cut=st.integers(12, 40),
    rest=st.sampled_from(["…", "...", " is too long"]),
)
def test_a_value_cut_off_is_masked(text: str, cut: int, rest: str) -> None:
    """Twelve characters give it away."""
    masked = redact(f"value {text[:cut]}{rest}", said(text))

    assert masked.startswith(f"value {REDACTED}")
    assert text[:12] not in masked


@given(user=user_traits(), secret=texts, message=st.text(max_size=30))
def test_nothing_known_of_a_user_is_left(user: UserTraits, secret: str, message: str) -> None:
    """Whatever the user and wherever the vendor quotes it."""
    own = [user.user_id, user.name, user.email, *user.vendor_ids.values(), secret]
    quoted = [
        text for text in own if text and len(text) >= 4 and REDACTED[0] not in text and "".join(text.split()) == text
    ]

    masked = redact(message + " ; ".join(quoted), user, secret)

    assert [text for text in quoted if len(text) <= MAX_MESSAGE and text.isprintable() and text in masked] == []


@given(number=numbers())
def test_numbers_are_masked_as_they_are_sent(number: Any) -> None:
    """In the words of either vendor."""
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
    """Return the text of the number in *body* as it stands there."""
    _, found, rest = body.decode().partition('"t":')
    return rest.split("}")[0].split(",")[0].strip('"') if found else None


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
def test_a_value_is_masked_in_every_text_it_is_sent_as(value: Any, written: str) -> None:
    """Its type does not matter."""
    assert redact(f"value {written} is bad", UserTraits(traits={"t": value})) == f"value {REDACTED} is bad"


def test_the_users_own_fields_and_the_key_are_masked() -> None:
    """Ids, name, e-mail, the moment and whatever secret is named."""
    user = UserTraits(
        "u-4711", name="Ann Lee", email="a@x.org", observed_at=NOON, vendor_ids={"fullstory": "7449164135"}
    )

    masked = redact(
        f"u-4711, Ann Lee, a@x.org, {int(NOON.timestamp() * 1000)}, 7449164135, o:a:s3cret", user, "o:a:s3cret"
    )

    assert masked == ", ".join([REDACTED] * 6)


def test_a_short_value_is_masked_as_a_whole_word() -> None:
    """Else a trait of one letter would make every message unreadable."""
    user = UserTraits(traits={"grade": "a", "n": 5})

    assert (
        redact("a value of 5 is bad: a, 55, _a_", user)
        == f"{REDACTED} value of {REDACTED} is bad: {REDACTED}, 55, _{REDACTED}_"
    )


def test_a_value_inside_another_does_not_save_the_rest() -> None:
    """The longer is masked whole."""
    assert redact("Ann-Marie Lee", UserTraits(name="Ann-Marie Lee", traits={"first": "Marie"})) == REDACTED


def test_a_space_that_is_no_space_hides_nothing() -> None:
    """A vendor's page may write a name with a no-break space, which we show as a space."""
    assert redact("Ann\u00a0Marie Lee", UserTraits(name="Ann Marie Lee")) == REDACTED


def test_a_message_that_says_nothing_of_the_user_stays() -> None:
    """Word for word."""
    assert redact("uid is required", UserTraits("u1", traits={"plan": "pro"})) == "uid is required"
    assert redact("uid is required", None) == "uid is required"


def test_a_message_is_shown_on_one_line() -> None:
    """It cannot forge a line of a log."""
    assert redact("\tbad\r\nvalue\x1b[31m\n", None) == "bad  value [31m"


def test_a_long_message_is_cut() -> None:
    """Five hundred characters tell enough."""
    assert redact("b" * 501, None) == "b" * 499 + "…"
    assert redact("b" * 500, None) == "b" * 500
    assert len(redact("b" * 10_000_000, None)) == MAX_MESSAGE == 500


def test_masking_a_large_user_takes_no_time() -> None:
    """Ten megabytes of a value, and five hundred traits, in a message of a megabyte."""
    traits = {f"t{number}": f"value-{number}" for number in range(500)}
    user = UserTraits("u1", traits={**traits, "large": "é" * 5_000_000})

    began = time.perf_counter()
    redact("é" * 1_000_000, user)

    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("quoted", ["12345678", "12345678.0", "1.2345678e+07", "1.2345678e+7"])
def test_an_integer_is_masked_as_a_real_too(quoted: str) -> None:
    """A vendor that takes every number for a real quotes it as one."""
    assert redact(f"bad value {quoted}", UserTraits("u1", traits={"n": 12345678})) == f"bad value {REDACTED}"
