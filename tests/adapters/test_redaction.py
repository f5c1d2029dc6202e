import base64
import codecs
import html
import json
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from replay_identity import UserTraits
from replay_identity.adapters.redaction import MAX_MESSAGE, REDACTED, readable_code, redact
from replay_identity.adapters.vocabulary import VOCABULARY
from replay_identity.testing import user_traits

NOON: Final = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
# The vendors' documents and sources, read 2026-11-21, and what the emulators say beside them.
DOCUMENTED: Final = (
    "uid is required",
    "events must have a non-empty name",
    "The provided uid parameter can not be empty",
    "access is unauthorized",
    "insufficient permissions",
    "Requested resource does not exist",
    "User with that ID does not exist",
    "Too many requests. Client has exceeded the rate limit for this endpoint.",
    "Server error was encountered",
    "Missing request body",
    "Malformed request",
    "userID too large (max 1024 characters)",
    "email too large (max 1024 characters)",
    "name too large (max 1024 characters)",
    "user trait value too large (max 1024 characters)",
    "user trait key too large",
    "Error processing user data",
    "token signature is invalid",
    "Missing or invalid API key",
    "Organization or application not found",
    "request holds no event",
    "event submitted with an empty event name",
    "event submitted with an empty distinct_id",
    "event submitted without a distinct_id",
    "maximum event size exceeded",
    "invalid event could not be processed",
    "event submitted without an api_key",
    "batch submitted with inconsistent api_key values",
    "billing limit reached",
    "rate limited",
    "transient error, please retry",
    "Server error",
    "Website not found.",
    "expected string, received number",
    "Ingestion: Missing client id",
    "Ingestion: Client ID must be a valid UUIDv4",
    "Ingestion: Invalid client id",
    "Ingestion: Client has no project",
    "Ingestion: IP address is blocked by project filter",
    "Ingestion: Profile id is blocked by project filter",
    "Ingestion: Invalid cors or secret",
    "Alias is not supported",
    "You have exceeded the rate limit for this endpoint.",
    "Internal server error",
    "Duplicate event",
    "The request is invalid.",
    "The request conflicts with another one.",
    "The request is too large.",
    "Only one auth mechanism allowed",
    "type must be TYPE_INDIVIDUAL",
    "format is unknown",
    "timezone must be a string",
    "id must be a Fullstory id",
    "The Idempotency-Key was used with another body",
    "The request conflicted with a concurrent one",
    "requests is required",
    "The body must hold requests, a list of users, and nothing else",
    "requests must have at most 50000 items",
    "requests must have at most 50,000 items",
    "Each of the requests must be an object",
    "The body is not JSON, or nested too deeply",
    "The body must be an object",
    "properties must be an object",
    "Up to 500 unique properties are allowed",
    "We don't currently support arrays of objects.",
    "The array plan_type must hold values of one type: string, number or boolean",
    "The value of plan_type is larger than 8192 bytes",
    "The property name company.plan-type is invalid",
    "schema must hold properties",
    "The value of plan_type is not of type real",
)
CODES: Final = (
    *("required_field", "invalid_argument", "invalid_parameter", "unauthorized", "forbidden", "resource_not_found"),
    *("user_not_found", "too_many_requests", "server_error", "bad-request", "server-error", "P2000", "invalid_batch"),
)

LETTERS: Final = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyzABCÄÖüéñłßжЖ日"), min_size=3, max_size=12)
NAMES: Final = st.builds("{} O'{}-{}".format, LETTERS, LETTERS, LETTERS)
VALUES: Final = st.one_of(
    LETTERS,
    NAMES,
    st.builds("{}@{}.example".format, LETTERS, LETTERS),
    st.integers(100, 10**15).map(str),
    st.builds("+{} {} {}".format, st.integers(1, 99), st.integers(100, 999), st.integers(100_000, 9_999_999)),
    st.dates().map(date.isoformat),
    st.datetimes().map(datetime.isoformat),
    st.text("abc XYZ019_-@.+/\\\"'<>&%#é😀\n\t\u200b", min_size=3, max_size=200),
    st.lists(st.sampled_from(sorted(VOCABULARY)), min_size=1, max_size=9).map(" ".join),
)
QUOTINGS: Final[dict[str, Callable[[str], str]]] = {
    "plain": str,
    "in upper case": str.upper,
    "in title case": str.title,
    "in JSON": json.dumps,
    "in JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded twice": lambda text: quote(quote(text)),
    "form-encoded": quote_plus,
    "in HTML": html.escape,
    "in XML": lambda text: html.escape(text).replace("&#x27;", "&apos;"),
    "in decimal entities": lambda text: html.escape(text).replace("&#x27;", "&#39;"),
    "all in entities": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "composed": lambda text: unicodedata.normalize("NFC", text),
    "without accents": lambda text: unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode(),
    "in SQL": lambda text: "'{}'".format(text.replace("'", "''")),
    "in a shell": lambda text: text.replace("'", "\\'"),
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "in hex": lambda text: text.encode().hex(),
    "in rot13": lambda text: codecs.encode(text, "rot13"),
    "backwards": lambda text: text[::-1],
    "with words backwards": lambda text: " ".join(reversed(text.split())),
    "spaced out": " ".join,
    "with zero-width spaces": "\u200b".join,
    "without spaces": lambda text: "".join(text.split()),
    "with underscores": lambda text: "_".join(text.split()),
    "without its head": lambda text: text[2:],
    "without its tail": lambda text: text[:-2],
    "without both": lambda text: text[2:-2],
    "cut with dots": lambda text: f"{text[: len(text) // 2 + 1]}…",
    "with thousands separators": lambda text: re.sub(r"(?<=\d)(?=(\d{3})+$)", ",", text),
    "with slashes": lambda text: text.replace("-", "/"),
}
PLACES: Final = ("{}", 'value "{}" is invalid', "uid={} not found", "[{}] must be an object", "bad:{}", "<{}>", "{}s")


def surviving(redacted: str, quoted: str) -> list[str]:
    """Return the pieces of *quoted*, of three and more letters or digits, that *redacted* still has."""
    return [piece for piece in re.findall(r"[^\W_]{3,}", quoted) if piece.casefold() in redacted.casefold()]


@pytest.mark.parametrize("quoting", QUOTINGS)
@given(value=VALUES, place=st.sampled_from(PLACES))
def test_no_quoting_of_a_value_survives(quoting: str, value: str, place: str) -> None:
    """What is left of the message is also there with another value, so that it tells nothing of this one."""
    quoted = QUOTINGS[quoting](value)

    redacted = redact(place.format(quoted), UserTraits("u1", traits={"t": value}))

    frame = set(re.findall(r"\w+", place.casefold()))
    coincidences = {piece for piece in surviving(redacted, quoted) if piece.casefold() in VOCABULARY}
    assert [piece for piece in surviving(redacted, quoted) if piece not in coincidences and piece not in frame] == []


@given(words=st.lists(st.sampled_from(sorted(VOCABULARY)), min_size=1, max_size=9), data=st.data())
def test_a_value_beats_the_vocabulary(words: list[str], data: st.DataObject) -> None:
    """A word of a value is hidden in any case and place, even if it is a word of errors."""
    value = " ".join(words)
    word = data.draw(st.sampled_from(words))
    message = f"{word.upper()} {word}, ({word}) not-{word} {word.title()}."

    redacted = redact(message, UserTraits("u1", traits={"t": value}))

    assert redacted == REDACTED


@given(word=st.sampled_from(sorted(word for word in VOCABULARY if len(word) >= 4 and word.isalpha())))
def test_a_part_of_a_value_is_hidden(word: str) -> None:
    """A vendor may cut a value in the middle of a word."""
    assert redact(f"a {word} b", UserTraits("u1", traits={"t": f"x{word}ié"})) == f"a {REDACTED}"


@pytest.mark.parametrize("message", DOCUMENTED)
def test_documented_messages_stay_readable(message: str) -> None:
    """This holds for a user whose values they do not quote, and without a user."""
    user = UserTraits("u-77", name="Ann Lee", email="ann@x.org", traits={"plan_type": "pro", "company": {"x": 73}})

    assert redact(message, user, "na1.k7") == message
    if "plan" not in message:
        assert redact(message, None, "na1.k7") == message


@pytest.mark.parametrize("code", CODES)
def test_documented_codes_stay_readable(code: str) -> None:
    """Codes consist of the same words."""
    assert readable_code(code, UserTraits("u-77"), "na1.k7") == code


@pytest.mark.parametrize(
    "code",
    ["", " ", "not found", "seán", "invalid_pro", "invalid__field", "_invalid", "invalid\n", "•••", "bad" * 200],
)
def test_other_codes_are_dropped(code: str) -> None:
    """A code with a value or an unknown word may be personal."""
    assert readable_code(code, UserTraits("u-77", traits={"plan": "pro"})) is None


def test_terms_of_a_vendor_are_shown() -> None:
    """An adapter can pass further words and numbers, which values beat."""
    user = UserTraits("u1", traits={"plan": "noTarget"})

    assert redact("tooMany seats: 77", user, terms=("tooMany", "seats", "77")) == "tooMany seats: 77"
    assert redact("noTarget", user, terms=("noTarget",)) == REDACTED


def test_names_of_traits_are_shown() -> None:
    """They may be nested, also in lists, and a vendor may write them with dots or a suffix."""
    traits: dict[str, Any] = {"companyInfo": {"seat_count": 7}, "visits": [{"browser": "x"}]}

    message = "companyInfo.seat_count is invalid: seat_count_int, visits[browser]"

    assert redact(message, UserTraits("u1", traits=traits)) == message


@given(user=user_traits(), secret=VALUES, message=st.text(max_size=30))
def test_redacts_everything_about_a_user(user: UserTraits, secret: str, message: str) -> None:
    """This holds for any user, wherever the vendor quotes them."""
    own = [text for text in (user.user_id, user.name, user.email, *user.vendor_ids.values(), secret) if text]
    assume(not any(set(re.findall(r"\w+", text.casefold())) & set(map(str.casefold, user.traits)) for text in own))

    redacted = redact(message + " ; ".join(own), user, secret)

    assert [text for text in own if len(text) >= 4 and text.strip("•") and text in redacted] == []


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "true"),
        (True, "True"),
        (512, "512"),
        (512, "512.0"),
        (512.0, "512"),
        (2000.0, "2,000"),
        (Decimal("1E+3"), "1000"),
        (Decimal("5E+4"), "50,000"),
        (Decimal("1E+400"), "1E+400"),
        (1e300, "1e+300"),
        (12345678, "1.2345678e+07"),
        ("+49 1024-2000", "1024/2000"),
        (NOON, "2026-11-21 12:30:00+00:00"),
        (NOON, "Nov/21/2026"),
        (date(2000, 11, 21), "21.11.2000"),
        (("canary-one", "x"), "canary-one"),
        ({"a": {"b": "canary"}}, "canary"),
    ],
)
def test_redacts_a_value_of_any_type(value: Any, written: str) -> None:
    """Every way of writing it is hidden."""
    assert redact(f"value {written} is bad", UserTraits(traits={"t": value})) == f"value {REDACTED} is bad"


def test_redacts_own_fields_and_secrets() -> None:
    """These are ids, name, e-mail address, time, and every secret passed in."""
    user = UserTraits("bad", name="Long", email="key@x.org", observed_at=NOON, vendor_ids={"fullstory": "field"})

    assert redact("bad, long key field; limited token: valid", user, "limited", "token") == f"{REDACTED} valid"


def test_redacts_a_short_word_as_a_whole_word() -> None:
    """Otherwise a long text would make every message unreadable."""
    user = UserTraits(traits={"t": "A tool, an onion and nothing"})

    assert redact("a value is not to be an id on it", user) == f"{REDACTED} value is not to be {REDACTED} id on it"


def test_redacts_punctuation() -> None:
    """A value may consist of it."""
    assert redact("value ??? -- ((([[ is invalid", None) == f"value {REDACTED} is invalid"


def test_redacts_what_is_redacted_once() -> None:
    """A message can be redacted for one user after another."""
    redacted = redact("uid pro-7 invalid", UserTraits("u1", traits={"t": "uid"}))

    assert redact(redacted, UserTraits("u2")) == redacted == f"{REDACTED} invalid"


def test_shows_a_message_on_one_line() -> None:
    """It cannot forge a line of a log."""
    assert redact("\tbad\r\nvalue \x1b[31m\u202e\n", None) == f"bad value {REDACTED}"


def test_truncates_a_long_message() -> None:
    """At most five hundred characters are kept."""
    assert redact(" ".join(["bad"] * 125), None) == " ".join(["bad"] * 125)
    assert redact(" ".join(["bad"] * 126), None) == f"{' '.join(['bad'] * 125)}…"
    assert len(redact("bad " * 1_000_000, None)) <= MAX_MESSAGE == 500


@pytest.mark.parametrize("piece", ["a,", "1,000", "'a", "a'b", "é", "((", "a.a:", "bad "])
def test_a_hostile_message_takes_linear_time(piece: str) -> None:
    """Exponential time would never end."""
    user = UserTraits("u1", traits={"large": "é" * 5_000_000})

    assert len(redact(piece * 1_000_000 + "%", user)) <= MAX_MESSAGE
