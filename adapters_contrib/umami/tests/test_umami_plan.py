from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from replay_identity_umami import Umami

from replay_identity.adapters import (
    REMOVE,
    Adjustment,
    ConfigurationError,
    OnViolation,
    Plan,
    SupportsMultiIdentify,
    UserTraits,
    Violation,
)

WEBSITE = "a2c1f0de-5b7e-4c7f-9d0a-3f1e2b4c5d6e"
STRICT = Umami(WEBSITE, base_url="https://umami.example.com")
LENIENT = Umami(WEBSITE, base_url="https://umami.example.com", on_violation="adapt")
BOTH: tuple[OnViolation, ...] = ("reject", "adapt")


def payload_of(plan: Plan) -> dict[str, Any]:
    """Return the payload that would be sent for the user."""
    assert plan.request is not None
    content: dict[str, Any] = orjson.loads(plan.request.body or b"")
    assert content.keys() == {"type", "payload"}
    assert content["type"] == "identify"
    payload: dict[str, Any] = content["payload"]
    return payload


def data_of(**traits: Any) -> dict[str, Any]:
    """Return the data that would be sent for *traits*."""
    data: dict[str, Any] = payload_of(STRICT.plan(UserTraits("u1", traits=traits)))["data"]
    return data


def adjusted(plan: Plan) -> list[tuple[str, str, str]]:
    """Return the kind and the rule of each adjustment."""
    return [(adjustment.path, adjustment.kind, adjustment.rule) for adjustment in plan.adjustments]


def test_a_user_is_identified() -> None:
    """With one POST that has the website's id and the user's, and no credential."""
    user = UserTraits("u1", name="Ada", email="ada@example.com", traits={"plan": "pro", "seats": 7, "is_admin": True})
    agent = "Mozilla/5.0 (X11; Linux x86_64) replay-identity/0.1"

    plan = STRICT.plan(user)

    assert plan.request is not None
    assert (plan.request.method, plan.request.url) == ("POST", "https://umami.example.com/api/send")
    assert plan.request.headers == {
        "accept": "application/json",
        "content-type": "application/json",
        "user-agent": agent,
    }
    assert payload_of(plan) == {
        "website": WEBSITE,
        "id": "u1",
        "data": {"name": "Ada", "email": "ada@example.com", "plan": "pro", "seats": 7, "is_admin": True},
        "userAgent": agent,
    }
    assert plan.adjustments == ()


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://umami.example.com/", "https://umami.example.com"),
        ("https://example.com/stats", "https://example.com/stats"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
    ],
)
def test_base_url_can_be_anywhere(given: str, base: str) -> None:
    """With a path too, and plain http on loopback."""
    plan = Umami(WEBSITE, base_url=given).plan(UserTraits("u1", name="Ada"))

    assert plan.request is not None
    assert plan.request.url == f"{base}/api/send"


@pytest.mark.parametrize(
    ("key", "options", "setting"),
    [
        (WEBSITE, {}, "base_url"),
        (WEBSITE, {"base_url": ""}, "base_url"),
        (WEBSITE, {"base_url": "http://umami.example.com"}, "base_url"),
        (WEBSITE, {"base_url": "https://umami.example.com/api"}, "base_url"),
        (WEBSITE, {"base_url": "https://umami.example.com", "on_violation": "cut"}, "on_violation"),
        ("", {"base_url": "https://umami.example.com"}, "api_key"),
        (None, {"base_url": "https://umami.example.com"}, "api_key"),
        ("s3cret", {"base_url": "https://umami.example.com"}, "api_key"),
        (WEBSITE.replace("-", ""), {"base_url": "https://umami.example.com"}, "api_key"),
        (f"{{{WEBSITE}}}", {"base_url": "https://umami.example.com"}, "api_key"),
        (f"{WEBSITE}0", {"base_url": "https://umami.example.com"}, "api_key"),
        (f"{WEBSITE}\n", {"base_url": "https://umami.example.com"}, "api_key"),
    ],
)
def test_an_invalid_setting_is_named(key: Any, options: Any, setting: str) -> None:
    """The error names the setting, without its value."""
    with pytest.raises(ConfigurationError) as caught:
        Umami(key, **options)

    assert caught.value.setting == setting
    assert caught.value.problem
    assert "s3cret" not in str(caught.value)


def test_a_missing_url_has_a_hint() -> None:
    """Every Umami server is self-hosted."""
    with pytest.raises(ConfigurationError, match="UMAMI_BASE_URL"):
        Umami(WEBSITE)


def test_a_websites_id_may_be_in_capitals() -> None:
    """It is sent unchanged."""
    backend = Umami(WEBSITE.upper(), base_url="https://umami.example.com")

    assert payload_of(backend.plan(UserTraits("u1", name="Ada")))["website"] == WEBSITE.upper()


def test_plain_http_can_be_allowed() -> None:
    """Inside a private network."""
    backend = Umami(WEBSITE, base_url="http://umami.internal", allow_insecure=True)

    assert backend.base_url == "http://umami.internal"
    assert isinstance(backend, SupportsMultiIdentify)
    assert backend.max_users.maximum == 100


@pytest.mark.parametrize("on_violation", BOTH)
@pytest.mark.parametrize(
    ("user_id", "violation"),
    [
        (None, Violation("user_id", "anonymous-user")),
        ("u" * 51, Violation("user_id", "user-id-length", 50, 51, "characters")),
        ("😀" * 51, Violation("user_id", "user-id-length", 50, 51, "characters")),
        ("a\0b", Violation("user_id", "nul-byte")),
    ],
)
def test_an_id_umami_cannot_store_is_rejected(
    user_id: str | None, violation: Violation, on_violation: OnViolation
) -> None:
    """All users without an id would be one, and a truncated id is another user's."""
    backend = Umami(WEBSITE, base_url="https://umami.example.com", on_violation=on_violation)

    assert backend.plan(UserTraits(user_id, name="Ada")) == Plan("umami", None, (), (violation,))


def test_an_id_is_measured_in_code_points() -> None:
    """As in PostgreSQL."""
    assert payload_of(STRICT.plan(UserTraits("😀" * 50, name="Ada")))["id"] == "😀" * 50


@pytest.mark.parametrize("user", [UserTraits("u1"), UserTraits("u1", observed_at=datetime(2026, 11, 21, tzinfo=UTC))])
def test_a_user_without_data_is_skipped(user: UserTraits) -> None:
    """Umami would store nothing and respond as if it had (policy `empty-data`)."""
    assert STRICT.plan(user) == Plan("umami", None)


def test_a_user_with_nothing_left_is_rejected() -> None:
    """Skipping a user whose every trait was dropped would hide the loss."""
    plan = LENIENT.plan(UserTraits("u1", traits={"plan": REMOVE}))

    assert plan.violations == (Violation("traits", "nothing-left"),)


@pytest.mark.parametrize(
    ("moment", "seconds", "rules"),
    [
        (datetime(2026, 11, 21, 8, 30, tzinfo=UTC), 1795249800, []),
        (datetime(2026, 11, 21, 8, 30, 0, 999_999, tzinfo=UTC), 1795249800, ["timestamp-in-seconds"]),
        (datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC), -1, ["timestamp-in-seconds"]),
        (datetime(2026, 11, 21, 14, 15, tzinfo=timezone(timedelta(hours=5, minutes=45))), 1795249800, []),
    ],
)
def test_observed_at_is_sent_in_seconds(moment: datetime, seconds: int, rules: list[str]) -> None:
    """Umami takes milliseconds for a year beyond 50,000."""
    plan = STRICT.plan(UserTraits("u1", name="Ada", observed_at=moment))

    assert payload_of(plan)["timestamp"] == seconds
    assert [adjustment.rule for adjustment in plan.adjustments] == rules


def test_nested_traits_are_flattened() -> None:
    """Into dotted names, as at Umami, so that they can be measured."""
    plan = STRICT.plan(UserTraits("u1", traits={"company": {"name": "Acme", "address": {"city": "Paris"}}}))

    assert payload_of(plan)["data"] == {"company.name": "Acme", "company.address.city": "Paris"}
    assert plan.adjustments == (
        Adjustment("traits.company.name", "flattened", "flat-data", "company.name"),
        Adjustment("traits.company.address.city", "flattened", "flat-data", "company.address.city"),
    )


def test_an_empty_object_is_not_sent() -> None:
    """At Umami it would vanish; `UserTraits` already leaves it out."""
    assert data_of(plan="pro", company={}, address={"city": None}) == {"plan": "pro"}


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (0, 0),
        (-7, -7),
        (999_999_999_999_999, 999_999_999_999_999),
        (-999_999_999_999_999, -999_999_999_999_999),
        (9.99, 9.99),
        (0.0001, 0.0001),
        (1e14, 1e14),
        (12345678901.2345, 12345678901.2345),
    ],
)
def test_an_exact_number_is_sent_as_a_number(value: float, sent: float) -> None:
    """Below 10**15, with at most four decimals and 15 digits."""
    plan = STRICT.plan(UserTraits("u1", traits={"n": value}))

    assert payload_of(plan)["data"] == {"n": sent}
    assert plan.adjustments == ()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10**15, "1000000000000000"),
        (-(10**15), "-1000000000000000"),
        (2**63, "9223372036854775808"),
        (10**399, "1" + "0" * 399),
        (1e15, "1000000000000000"),
        (9.99999, "9.99999"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e-7, "0.0000001"),
        (100_000_000_000_000.5, "100000000000000.5"),
        (Decimal("0.00001"), "0.00001"),
        (Decimal("123456789012.3456"), "123456789012.3456"),
        (Decimal("1.0000000000000000000000000000000001"), "1.0000000000000000000000000000000001"),
    ],
)
def test_an_inexact_number_is_sent_as_text(value: float | Decimal, text: str) -> None:
    """With all its digits, and recorded (policy `number-as-text`)."""
    plan = STRICT.plan(UserTraits("u1", traits={"n": value}))

    assert payload_of(plan)["data"] == {"n": text}
    assert adjusted(plan) == [("traits.n", "coerced", "number-as-text")]


@pytest.mark.parametrize(
    ("value", "sent"), [(Decimal("9.99"), 9.99), (Decimal("1.00000000"), 1.0), (Decimal("1E+3"), 1000.0)]
)
def test_an_exact_decimal_is_sent_as_a_number(value: Decimal, sent: float) -> None:
    """Umami's column is a decimal, too; trailing zeros do not count."""
    plan = STRICT.plan(UserTraits("u1", traits={"n": value}))

    assert payload_of(plan)["data"] == {"n": sent}
    assert adjusted(plan) == [("traits.n", "coerced", "decimal-as-number")]


@pytest.mark.parametrize(
    ("value", "text", "rule"),
    [
        (datetime(2026, 11, 21, 8, 30, tzinfo=UTC), "2026-11-21T08:30:00.000Z", "date-as-iso8601"),
        (datetime(2026, 11, 21, 8, 30, 0, 123_000, tzinfo=UTC), "2026-11-21T08:30:00.123Z", "date-as-iso8601"),
        (datetime(2026, 11, 21, 8, 30, 0, 123_456, tzinfo=UTC), "2026-11-21T08:30:00.123456Z", "date-as-iso8601"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z", "date-as-iso8601"),
        (date(2026, 11, 21), "2026-11-21", "date-as-iso8601"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007", "uuid-as-text"),
        ([], "[]", "list-as-json"),
        (["a", "é", '"'], '["a","é","\\""]', "list-as-json"),
        ([1, 2.0, True, 9.99999, Decimal("9.990"), 10**20], f"[1,2,true,9.99999,9.990,{10**20}]", "list-as-json"),
        ([date(2026, 11, 21), [{"a": UUID(int=7)}]], f'["2026-11-21",[{{"a":"{UUID(int=7)}"}}]]', "list-as-json"),
        (["\0"], '["\\u0000"]', "list-as-json"),
    ],
)
def test_other_types_are_sent_as_text(value: Any, text: str, rule: str) -> None:
    """A datetime with milliseconds, which Umami stores as a date, or with microseconds."""
    plan = STRICT.plan(UserTraits("u1", traits={"t": value}))

    assert payload_of(plan)["data"] == {"t": text}
    assert adjusted(plan) == [("traits.t", "coerced", rule)]


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("2026-11-21T08:30:00", ["date-like-text"]),
        ("2026-11-21T08:30:00.123Z", ["date-like-text"]),
        ("2026-11-21T08:30:00.123+05:45", ["date-like-text"]),
        ("2026-11-21T08:30:00Z", ["date-like-text"]),
        ("2026-11-21T08:30:00.123", ["date-like-text"]),
        ("2026-11-21", []),
        ("2026-11-21T08:30", []),
        ("2026-11-21T08:30:00.123456Z", []),
        ("2026-11-21T08:30:00-05:00", []),
        ("2026-11-21T08:30:00\n", []),
        ("٢٠٢٦-11-21T08:30:00", []),
    ],
)
def test_date_like_text_has_a_warning(text: str, rules: list[str]) -> None:
    """It is sent unchanged. Formats of later releases are included."""
    plan = STRICT.plan(UserTraits("u1", traits={"t": text}))

    assert payload_of(plan)["data"] == {"t": text}
    assert adjusted(plan) == [("traits.t", "warned", rule) for rule in rules]


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("2026-13-21T08:30:00", "impossible-date"),
        ("2026-02-30T08:30:00.000Z", "impossible-date"),
        ("a\0b", "nul-byte"),
        (REMOVE, "cannot-remove"),
    ],
)
def test_values_umami_cannot_store_are_dropped(value: Any, rule: str) -> None:
    """Or rejected: Umami would fail midway, or store the text "null"."""
    user = UserTraits("u1", name="Ada", traits={"t": value})

    assert STRICT.plan(user) == Plan("umami", None, (), (Violation("traits.t", rule),))
    assert payload_of(LENIENT.plan(user))["data"] == {"name": "Ada"}
    assert adjusted(LENIENT.plan(user)) == [("traits.t", "dropped", rule)]


@pytest.mark.parametrize("field", ["name", "email"])
def test_name_and_email_follow_the_same_rules(field: str) -> None:
    """They are properties like any other."""
    wrong, looking = "a\0b", "2026-11-21T08:30:00"

    rejected = STRICT.plan(UserTraits("u1", **{field: wrong}))  # type: ignore[arg-type]  # One of the two.
    warned = STRICT.plan(UserTraits("u1", **{field: looking}))  # type: ignore[arg-type]  # As above.

    assert rejected.violations == (Violation(field, "nul-byte"),)
    assert adjusted(warned) == [(field, "warned", "date-like-text")]


def test_an_empty_text_is_a_value() -> None:
    """Umami stores it unchanged, so it is sent."""
    plan = STRICT.plan(UserTraits("u1", name="", email="", traits={"plan": ""}))

    assert payload_of(plan)["data"] == {"name": "", "email": "", "plan": ""}
    assert plan.adjustments == ()


def test_nothing_is_sent_as_null() -> None:
    """Umami would store the text "null"."""
    assert data_of(plan=None, company={"name": None, "size": 3}) == {"company.size": 3}


@pytest.mark.parametrize("name", ["", "__proto__", "a\0b", "n" * 501])
def test_unusable_names_are_rejected_or_dropped(name: str) -> None:
    """Two truncated names could become one."""
    user = UserTraits("u1", name="Ada", traits={name: 1})

    assert len(STRICT.plan(user).violations) == 1
    assert payload_of(LENIENT.plan(user))["data"] == {"name": "Ada"}
    assert [adjustment.kind for adjustment in LENIENT.plan(user).adjustments] == ["dropped"]


@pytest.mark.parametrize("on_violation", BOTH)
@pytest.mark.parametrize(
    ("user", "path"),
    [
        (UserTraits("u1", name="Ada", traits={"name": "Ada"}), "traits.name"),
        (UserTraits("u1", email="a@example.com", traits={"email": "b@example.com"}), "traits.email"),
        (UserTraits("u1", traits={"a.b": 1, "a": {"b": 2}}), "traits.a.b"),
        (UserTraits("u1", traits={"a": {"b": 2}, "a.b": 1}), "traits.a.b"),
    ],
)
def test_two_values_of_one_name_are_rejected(user: UserTraits, path: str, on_violation: OnViolation) -> None:
    """Neither could be chosen without losing the other."""
    backend = Umami(WEBSITE, base_url="https://umami.example.com", on_violation=on_violation)

    plan = backend.plan(user)

    assert plan.violations == (Violation(path, "name-collision"),)
    assert plan.request is None


def test_a_trait_can_be_the_name_or_email() -> None:
    """Umami has no fields for them."""
    assert data_of(name="Ada", email="ada@example.com") == {"name": "Ada", "email": "ada@example.com"}


@pytest.mark.parametrize(
    ("user", "rule"),
    [
        (UserTraits("u1", name="Ada", email="e" * 501), "email-length"),
        (UserTraits("u1", name="Ada", traits={"t": ["x" * 499]}), "trait-value-length"),
        (UserTraits("u1", name="Ada", traits={"t": Decimal(f"1{'0' * 300}.{'0' * 249}1")}), "trait-value-length"),
    ],
)
def test_only_text_is_truncated(user: UserTraits, rule: str) -> None:
    """Half an address, list or number is another one."""
    assert [violation.rule for violation in STRICT.plan(user).violations] == [rule]
    assert payload_of(LENIENT.plan(user))["data"] == {"name": "Ada"}
    assert [(adjustment.kind, adjustment.rule) for adjustment in LENIENT.plan(user).adjustments] == [("dropped", rule)]


def test_text_is_truncated_to_500_code_points() -> None:
    """Never inside a character."""
    user = UserTraits("u1", name="😀" * 501, traits={"t": "x" * 499 + "e\u0301"})

    data = payload_of(LENIENT.plan(user))["data"]

    assert data == {"name": "😀" * 500, "t": "x" * 499}
    assert [adjustment.kind for adjustment in LENIENT.plan(user).adjustments] == ["truncated", "truncated"]
