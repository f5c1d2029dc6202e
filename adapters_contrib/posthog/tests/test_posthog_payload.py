"""Encode users for PostHog, and check the rules that are not limits."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_identity_posthog import LIMITS, PostHog

from replay_identity.adapters import REMOVE, Adjustment, OnViolation, UserTraits, Violation
from replay_identity.testing import numbers, trait_maps, user_traits

STRICT = PostHog("phc_key")
LENIENT = PostHog("phc_key", on_violation="adapt")
NIL = "00000000-0000-0000-0000-000000000000"
EVENT_LIMIT = 900 * 1024


def properties(user: UserTraits, backend: PostHog = STRICT) -> dict[str, Any]:
    """Return the properties of the event that would be sent."""
    request = backend.plan(user).request
    assert request is not None
    content: dict[str, Any] = orjson.loads(request.body or b"")["batch"][0]["properties"]
    # Else the user would be where our server is.
    assert content.pop("$geoip_disable") is True
    return content


def to_set(traits: dict[str, Any], backend: PostHog = STRICT) -> dict[str, Any]:
    """Return the properties that would be set for these traits."""
    content: dict[str, Any] = properties(UserTraits("u1", traits=traits), backend)["$set"]
    return content


# Each value, what is sent of it, and the rule by which that is another type.
VALUES: list[tuple[Any, Any, str | None]] = [
    ("pro", "pro", None),
    ("", "", None),
    ("None", "None", None),
    (True, True, None),
    (0, 0, None),
    (2**53 - 1, 9007199254740991, None),
    (-(2**53) + 1, -9007199254740991, None),
    (2**53, "9007199254740992", "inexact-number-as-text"),
    (-(2**53) - 1, "-9007199254740993", "inexact-number-as-text"),
    (10**399, "1" + "0" * 399, "inexact-number-as-text"),
    (9.75, 9.75, None),
    (1e307, 1e307, None),
    (-1.7e308, "-1.7e+308", "inexact-number-as-text"),
    (Decimal("9.99"), 9.99, "decimal-as-number"),
    (Decimal("1E+20"), 1e20, "decimal-as-number"),
    (Decimal("0.12345678901234567890"), "0.12345678901234567890", "inexact-number-as-text"),
    (Decimal("1E+309"), "1" + "0" * 309, "inexact-number-as-text"),
    (Decimal("1.5E+307"), "15" + "0" * 306, "inexact-number-as-text"),
    (datetime(2026, 11, 21, 8, 30, tzinfo=UTC), "2026-11-21T08:30:00Z", "date-as-iso8601"),
    (date(2026, 11, 21), "2026-11-21", "date-as-iso8601"),
    (UUID(int=0), NIL, "uuid-as-text"),
    (["a", 1, 2**53, 2**54], ["a", 1, str(2**53), str(2**54)], "inexact-number-as-text"),
    ([], [], None),
    ([["a"], {"b": [], "c": {}}], [["a"], {"b": []}], None),
    ({"size": 3, "tags": ["x"]}, {"size": 3, "tags": ["x"]}, None),
]


@pytest.mark.parametrize(("value", "word", "rule"), VALUES)
def test_each_value_becomes_json_without_loss(value: Any, word: Any, rule: str | None) -> None:
    """Numbers that a 64-bit float lacks become text; a changed type is recorded once."""
    plan = STRICT.plan(UserTraits("u1", traits={"t": value}))

    assert to_set({"t": value}) == {"t": word}
    assert type(to_set({"t": value})["t"]) is type(word)
    assert plan.adjustments == (() if rule is None else (Adjustment("traits.t", "coerced", rule),))


@given(number=numbers())
def test_no_number_loses_a_digit(number: float | Decimal) -> None:
    """Parsed as in JavaScript, into 64-bit floats, it is the original number."""
    plan = STRICT.plan(UserTraits("u1", traits={"t": number}))
    assert plan.request is not None
    body = orjson.loads(plan.request.body or b"")["batch"][0]["properties"]["$set"]["t"]

    read = body if isinstance(body, str) else repr(float(body))

    assert Decimal(read) == Decimal(repr(number) if isinstance(number, float) else number)


def test_a_removal_is_unset() -> None:
    """A whole property; PostHog takes its name."""
    user = UserTraits("u1", traits={"plan": REMOVE, "seats": 3, "name": REMOVE})

    assert properties(user) == {"$set": {"seats": 3}, "$unset": ["plan", "name"]}
    assert properties(UserTraits("u1", traits={"plan": REMOVE})) == {"$unset": ["plan"]}
    assert STRICT.plan(user).adjustments == ()


def test_nested_removals_are_not_sent() -> None:
    """PostHog replaces an object as a whole, so its other values would be lost."""
    user = UserTraits("u1", traits={"company": {"size": REMOVE, "name": "Acme"}})

    assert STRICT.plan(user).violations == (Violation("traits.company.size", "cannot-remove-nested"),)
    assert to_set(dict(user.traits), LENIENT) == {"company": {"name": "Acme"}}
    assert LENIENT.plan(user).adjustments == (Adjustment("traits.company.size", "dropped", "cannot-remove-nested"),)


@pytest.mark.parametrize(
    ("traits", "path", "rule"),
    [
        ({"$email": "x"}, "traits.$email", "reserved-name"),
        ({"$set": {"a": 1}}, "traits.$set", "reserved-name"),
        ({"$geoip_city_name": REMOVE}, "traits.$geoip_city_name", "reserved-name"),
        ({"__proto__": "x"}, "traits.__proto__", "reserved-name"),
        ({"a": {"__proto__": {"c": 1}}}, "traits.a.__proto__", "reserved-name"),
        ({"": 1}, "traits.", "empty-name"),
        ({"a\0": 1}, "traits.a\\u0000", "nul-character"),
        ({"a": "x\0"}, "traits.a", "nul-character"),
        ({"a": ["x", "\0", "\0"]}, "traits.a", "nul-character"),
        ({"a": {"b": "\0", "c": REMOVE}}, "traits.a.b", "nul-character"),
        ({"a": {"b\0": 1}}, "traits.a.b\\u0000", "nul-character"),
    ],
)
def test_traits_that_posthog_would_change_are_dropped(traits: dict[str, Any], path: str, rule: str) -> None:
    """Or rejected: names with a dollar are PostHog's own, and PostgreSQL stores no NUL."""
    strict, lenient = (backend.plan(UserTraits("u1", name="Ann", traits=traits)) for backend in (STRICT, LENIENT))

    assert strict.violations[0] == Violation(path, rule)
    assert len(set(strict.violations)) == len(strict.violations)
    assert strict.request is None
    assert lenient.adjustments[0] == Adjustment(path, "dropped", rule)
    assert properties(UserTraits("u1", name="Ann", traits=traits), LENIENT) == {"$set": {"name": "Ann"}}


def test_nested_names_may_begin_with_a_dollar() -> None:
    """Only names of whole properties are reserved."""
    assert to_set({"prices": {"$": 1}, "us$": 2}) == {"prices": {"$": 1}, "us$": 2}


def test_name_and_email_are_properties() -> None:
    """By convention, since PostHog has no fields; as traits they mean the same."""
    own = UserTraits("u1", name="Ann", email="ann@example.com")
    traits = UserTraits("u1", traits={"name": "Ann", "email": "ann@example.com"})

    assert properties(own) == properties(traits) == {"$set": {"name": "Ann", "email": "ann@example.com"}}
    assert STRICT.plan(own).adjustments == STRICT.plan(traits).adjustments == ()


@pytest.mark.parametrize("other", ["Bob", 7, REMOVE, {"first": "Ann"}])
@pytest.mark.parametrize("backend", [STRICT, LENIENT], ids=["reject", "adapt"])
def test_two_names_are_a_collision(other: Any, backend: PostHog) -> None:
    """Neither can be chosen."""
    user = UserTraits("u1", name="Ann", traits={"name": other})

    assert backend.plan(user).violations == (Violation("traits.name", "name-collision"),)


def test_the_same_name_twice_is_no_collision() -> None:
    """Both have one value."""
    assert properties(UserTraits("u1", name="Ann", traits={"name": "Ann"})) == {"$set": {"name": "Ann"}}


@pytest.mark.parametrize("field", ["name", "email"])
def test_a_nul_in_a_name_is_not_sent(field: str) -> None:
    """Nor in an e-mail address."""
    user = UserTraits("u1", traits={"t": 1}, **{field: "a\0b"})  # type: ignore[arg-type]  # A field that is a text.

    assert STRICT.plan(user).violations == (Violation(field, "nul-character"),)
    assert LENIENT.plan(user).adjustments == (Adjustment(field, "dropped", "nul-character"),)


OWN_ILLEGAL_IDS = ("distinctid", "DISTINCT_ID", "id", "email", "backend", "System", "user")
# Illegal at PostHog, and for every vendor.
SHARED_ILLEGAL_IDS = (
    *("anonymous", "Guest", "not_authenticated", "undefined", "true", "FALSE", "[object Object]", "NaN", "None"),
    *("none", "null", "0", NIL, "anonymous-user", '"null"', "'Anonymous'"),
)


@pytest.mark.parametrize("on_violation", ["reject", "adapt"])
@pytest.mark.parametrize(
    ("user_id", "rule"),
    [
        (None, "anonymous-user"),
        (" u1", "outer-blanks"),
        ("u1\u00a0", "outer-blanks"),
        ("\n", "placeholder-id"),
        ("u\0001", "nul-character"),
        *[(user_id, "illegal-distinct-id") for user_id in (*OWN_ILLEGAL_IDS, "'User'")],
        *[(user_id, "placeholder-id") for user_id in SHARED_ILLEGAL_IDS],
    ],
)
def test_an_illegal_id_is_always_rejected(user_id: str | None, rule: str, on_violation: OnViolation) -> None:
    """PostHog would trim it, change it, or create no person for it."""
    plan = PostHog("phc_key", on_violation=on_violation).plan(UserTraits(user_id, name="Ann"))

    assert plan.violations == (Violation("user_id", rule),)
    assert plan.request is None


@pytest.mark.parametrize("user_id", [*OWN_ILLEGAL_IDS, *SHARED_ILLEGAL_IDS])
def test_an_illegal_id_cannot_be_allowed(user_id: str) -> None:
    """PostHog would create no person for it."""
    plan = PostHog("phc_key", allow_ids={"placeholder-id"}).plan(UserTraits(user_id, name="Ann"))

    assert plan.violations == (Violation("user_id", "illegal-distinct-id"),)


@pytest.mark.parametrize("user_id", ["u 1", "007", "nobody", "null-1", "'null\"", '"', "'", "NaNa", "u" * 200])
def test_an_id_that_only_looks_illegal_is_sent(user_id: str) -> None:
    """Unchanged."""
    request = STRICT.plan(UserTraits(user_id, name="Ann")).request

    assert request is not None
    assert orjson.loads(request.body or b"")["batch"][0]["distinct_id"] == user_id


def test_an_id_is_measured_in_bytes() -> None:
    """As the server measures it."""
    violation = Violation("user_id", "distinct-id-length", 200, 201, "UTF-8 bytes")

    assert STRICT.plan(UserTraits("é" * 100, name="Ann")).violations == ()
    assert LENIENT.plan(UserTraits("é" * 100 + "a", name="Ann")).violations == (violation,)


def event_size(user: UserTraits, backend: PostHog = STRICT) -> int:
    """Return the size of the event that would be sent."""
    request = backend.plan(user).request
    assert request is not None
    match = re.search(rb'"batch":\[(.*)\]\}$', request.body or b"", re.DOTALL)
    assert match is not None
    return len(match[1])


def filled(size: int, **more: Any) -> UserTraits:
    """Return a user whose event has *size* bytes."""
    empty = event_size(UserTraits("u1", traits={**more, "t": ""}))
    return UserTraits("u1", traits={**more, "t": "x" * (size - empty)})


def test_an_event_can_be_exactly_at_the_limit() -> None:
    """900 KiB in all, and not a byte more."""
    assert event_size(filled(EVENT_LIMIT)) == EVENT_LIMIT
    assert STRICT.plan(filled(EVENT_LIMIT + 1)).violations == (
        Violation("traits.t", "event-size", EVENT_LIMIT, EVENT_LIMIT + 1, "UTF-8 bytes"),
    )
    assert LIMITS.user is not None
    assert LIMITS.user.maximum == EVENT_LIMIT


def test_the_largest_traits_are_dropped_first() -> None:
    """As few as possible, and recorded."""
    user = filled(EVENT_LIMIT + 1, small="y", large="z" * 300_000)

    assert LENIENT.plan(user).adjustments == (Adjustment("traits.t", "dropped", "event-size"),)
    assert set(to_set(dict(user.traits), LENIENT)) == {"small", "large"}


def test_the_name_can_be_too_large() -> None:
    """It is recorded by its own path, and nothing is left."""
    user = UserTraits("u1", name="x" * EVENT_LIMIT)

    assert [violation.path for violation in STRICT.plan(user).violations] == ["name"]
    assert LENIENT.plan(user).violations == (Violation("traits", "nothing-left"),)


@pytest.mark.parametrize("value", ["x" * 90, REMOVE])
def test_many_small_traits_can_be_too_large(value: Any) -> None:
    """As many are dropped as necessary; removals have a size as well."""
    user = UserTraits("u1", traits={f"{number:05}" + "n" * 90: value for number in range(11_000)})

    plan = LENIENT.plan(user)

    assert len(plan.adjustments) >= 1
    assert EVENT_LIMIT - 200 < event_size(user, LENIENT) <= EVENT_LIMIT
    assert len(STRICT.plan(user).violations) == len(plan.adjustments)


@given(user=user_traits(), capture=st.sampled_from(["v0", "v1"]))
def test_an_event_has_only_set_and_unset(user: UserTraits, capture: Any) -> None:
    """It never disables person processing, and has none of PostHog's own names."""
    request = attrs.evolve(LENIENT, capture=capture).plan(user).request
    if request is None:
        return
    (event,) = orjson.loads(request.body or b"")["batch"]

    assert event.pop("options", None) == ({} if capture == "v1" else None)
    assert event.keys() == {"event", "uuid", "distinct_id", "timestamp", "properties"}
    assert len(event["properties"]) > 1
    assert event["properties"].keys() <= {"$geoip_disable", "$set", "$unset"}
    names = [*event["properties"].get("$set", {}), *event["properties"].get("$unset", [])]
    assert [name for name in names if not name or name.startswith("$") or "\0" in name] == []
    assert len(names) == len(set(names))


@given(traits=trait_maps(), order=st.randoms(use_true_random=False))
def test_the_order_of_traits_does_not_matter(traits: dict[str, Any], order: Any) -> None:
    """Equal users have equal events."""
    shuffled = list(traits.items())
    order.shuffle(shuffled)
    plans = [LENIENT.plan(UserTraits("u1", traits=arranged)) for arranged in (traits, dict(shuffled))]

    contents = [
        None if plan.request is None else orjson.loads(plan.request.body or b"")["batch"][0]["properties"]
        for plan in plans
    ]

    for content in contents:
        if content is not None:
            content.get("$unset", []).sort()
    assert contents[0] == contents[1]
