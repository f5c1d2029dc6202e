from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from replay_identity_openpanel import OpenPanel
from replay_identity_openpanel.emulator.payload import is_email
from replay_identity_openpanel.limits import EMAIL

from replay_identity.adapters import REMOVE, Adjustment, Plan, UserTraits, Violation
from replay_identity.testing import user_traits

CLIENT_ID = "3f2c9a10-1b7e-4c55-8a43-0d6f7b1e2a90"
STRICT = OpenPanel("sec", client_id=CLIENT_ID)
LENIENT = OpenPanel("sec", client_id=CLIENT_ID, on_violation="adapt")
# Characters of valid and of invalid addresses.
_IN_ADDRESSES = st.sampled_from([*"aZ0_'+-.@ é\n", "@a.", ".com", "@example.com"])


def payload_of(plan: Plan) -> dict[str, Any]:
    """Return the payload that would be sent."""
    assert plan.request is not None, plan.violations
    content: dict[str, Any] = orjson.loads(plan.request.body or b"")["payload"]
    return content


def properties_of(traits: dict[str, Any], backend: OpenPanel = STRICT) -> Any:
    """Return the properties that would be sent for *traits*."""
    return payload_of(backend.plan(UserTraits("u1", name="Ada Lovelace", traits=traits))).get("properties")


def plan_of(traits: dict[str, Any], backend: OpenPanel = STRICT) -> Plan:
    """Return the plan for a user with these *traits*."""
    return backend.plan(UserTraits("u1", name="Ada Lovelace", traits=traits))


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("Ada Lovelace", "Ada", "Lovelace"),
        ("Ada King Lovelace", "Ada King", "Lovelace"),
        ("Ada  Lovelace", "Ada ", "Lovelace"),
        ("  Ada Lovelace", "  Ada", "Lovelace"),
    ],
)
def test_a_name_is_split_at_its_last_blank(name: str, first: str, last: str) -> None:
    """Everything else in it stays unchanged, so there is nothing to record."""
    plan = STRICT.plan(UserTraits("u1", name=name))

    assert payload_of(plan) == {"profileId": "u1", "firstName": first, "lastName": last}
    assert plan.adjustments == ()


@pytest.mark.parametrize("name", ["Ada", "Ada ", " Ada", "Ada\u00a0Lovelace", "Ada\tLovelace", "  ", "Ada \t"])
def test_a_name_of_one_word_is_the_first_name(name: str) -> None:
    """With a warning that a stored last name stays."""
    plan = STRICT.plan(UserTraits("u1", name=name))

    assert payload_of(plan) == {"profileId": "u1", "firstName": name}
    assert plan.adjustments == (Adjustment("name", "warned", "last-name-stays"),)


@given(name=st.text(st.sampled_from("Ad \t\u00a0é"), min_size=1))
def test_both_names_joined_are_the_name(name: str) -> None:
    """Nothing is lost, and neither half is empty."""
    payload = payload_of(STRICT.plan(UserTraits("u1", name=name)))
    halves = [payload[half] for half in ("firstName", "lastName") if half in payload]

    assert " ".join(halves) == name
    assert all(halves)


def test_an_empty_name_clears_nothing() -> None:
    """The profile would keep the old one."""
    user = UserTraits("u1", name="", traits={"plan": "pro"})

    assert STRICT.plan(user).violations == (Violation("name", "blank-stays"),)
    assert LENIENT.plan(user).adjustments == (Adjustment("name", "dropped", "blank-stays"),)
    assert payload_of(LENIENT.plan(user)) == {"profileId": "u1", "properties": {"plan": "pro"}}


@pytest.mark.parametrize(
    "email",
    ["ada@example.com", "a.b+c'd-e_f@sub.ex-ample.co", "A@B.CD", "-@0-.aa", "1@1.aa", "_@a.a.aa"],
)
def test_a_valid_address_is_sent(email: str) -> None:
    """Unchanged, in its own case."""
    assert payload_of(STRICT.plan(UserTraits("u1", email=email))) == {"profileId": "u1", "email": email}


@pytest.mark.parametrize(
    "email",
    [
        *("", " ", "ada", "ada@", "@example.com", "ada@example", "ada@example.c", "ada@example.c0m"),
        *(".ada@example.com", "ada.@example.com", "a..da@example.com", "ada'@example.com", "ada@.com"),
        *("ada@-example.com", "ada@example..com", "ada@exa_mple.com", "é@example.com", "ada@exämple.de"),
        *("ada@example.com\n", " ada@example.com", "a b@example.com", "ada@b@example.com", '"ada"@example.com'),
        *("Ada <ada@example.com>", "ada@[127.0.0.1]", "ada@127.0.0.1", "ada!@example.com", "ada@example.com."),
    ],
)
def test_an_address_invalid_for_zod_is_not_sent(email: str) -> None:
    """It would fail the whole call, and a changed address is another address."""
    user = UserTraits("u1", name="Ada Lovelace", email=email)

    assert STRICT.plan(user).violations == (Violation("email", "email-form"),)
    assert LENIENT.plan(user).adjustments == (Adjustment("email", "dropped", "email-form"),)
    assert "email" not in payload_of(LENIENT.plan(user))


@given(email=st.lists(_IN_ADDRESSES, max_size=12).map("".join))
@example("a" * 100_000)
@example("a." * 50_000 + "@")
@example("a@" + "a." * 50_000)
def test_the_adapter_and_the_emulator_agree_on_addresses(email: str) -> None:
    """One is a pattern and the other a list of conditions; neither is slow."""
    assert (EMAIL.fullmatch(email) is not None) == is_email(email)


@pytest.mark.parametrize(
    ("value", "encoded", "rule"),
    [
        ("pro", "pro", None),
        (" ", " ", None),
        (True, True, None),
        (False, False, None),
        (0, 0, None),
        (-7, -7, None),
        (2**53 - 1, 2**53 - 1, None),
        (1 - 2**53, 1 - 2**53, None),
        (2**53, "9007199254740992", "large-int-as-text"),
        (-(2**53), "-9007199254740992", "large-int-as-text"),
        (10**399, f"1{'0' * 399}", "large-int-as-text"),
        (9.99, 9.99, None),
        (1e300, 1e300, None),
        (Decimal("9.990"), "9.990", "decimal-as-text"),
        (Decimal("1E+3"), "1000", "decimal-as-text"),
        (Decimal("1e-7"), "0.0000001", "decimal-as-text"),
        (date(2014, 3, 11), "2014-03-11", "date-as-iso8601"),
        (datetime(2014, 3, 11, 13, 19, tzinfo=UTC), "2014-03-11T13:19:00Z", "date-as-iso8601"),
        (
            datetime(2014, 3, 11, 15, 19, tzinfo=timezone(timedelta(hours=2))),
            "2014-03-11T13:19:00Z",
            "date-as-iso8601",
        ),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007", "uuid-as-text"),
        (["a", "", 1, True], ["a", "", 1, True], None),
        ([2**53, 2**54], ["9007199254740992", "18014398509481984"], "large-int-as-text"),
        ([[], {}, {"a": ""}, [{"b": Decimal("1.0")}]], [[], {}, {"a": ""}, [{"b": "1.0"}]], "decimal-as-text"),
        ({"size": 5, "tags": [], "tax": {"id": UUID(int=0)}}, None, None),
    ],
)
def test_each_value_becomes_json_without_loss(value: Any, encoded: Any, rule: str | None) -> None:
    """Types that JSON lacks, and numbers that a 64-bit float lacks, become recorded text."""
    plan = plan_of({"t": value})

    if encoded is None:
        encoded = {"size": 5, "tags": [], "tax": {"id": "00000000-0000-0000-0000-000000000000"}}
        assert plan.adjustments == (Adjustment("traits.t.tax.id", "coerced", "uuid-as-text"),)
    else:
        assert plan.adjustments == (() if rule is None else (Adjustment("traits.t", "coerced", rule),))
    sent = payload_of(plan)["properties"]["t"]
    assert sent == encoded
    assert type(sent) is type(encoded)


@pytest.mark.parametrize(
    ("value", "path", "rule"),
    [
        (REMOVE, "traits.t", "cannot-remove"),
        ("", "traits.t", "blank-stays"),
        ([], "traits.t", "blank-stays"),
        ({"a": REMOVE}, "traits.t.a", "cannot-remove"),
        ({"a": ""}, "traits.t.a", "blank-stays"),
        ({"a": {"b": ""}}, "traits.t.a.b", "blank-stays"),
    ],
)
def test_nothing_can_be_cleared(value: Any, path: str, rule: str) -> None:
    """A trait that would clear one is rejected or dropped; an object left empty is not sent."""
    traits = {"t": value, "plan": "pro"}

    assert plan_of(traits).violations == (Violation(path, rule),)
    assert plan_of(traits, LENIENT).adjustments == (Adjustment(path, "dropped", rule),)
    assert properties_of(traits, LENIENT) == {"plan": "pro"}


def test_empty_traits_are_not_sent() -> None:
    """`UserTraits` already leaves out None and empty objects."""
    assert properties_of({"a": None, "b": {}, "c": {"d": None}, "plan": "pro"}) == {"plan": "pro"}


@pytest.mark.parametrize(
    "name",
    [
        *("country", "city", "region", "longitude", "latitude", "os", "osVersion", "os_version", "browser"),
        *("browserVersion", "browser_version", "device", "isServer", "brand", "model"),
    ],
)
@pytest.mark.parametrize("value", ["x", {"code": "x"}, REMOVE])
def test_names_set_by_the_server_are_not_sent(name: str, value: Any) -> None:
    """Their values would be lost silently; nested names are free."""
    traits = {name: value, "home": {name: "x"}}

    assert plan_of(traits).violations == (Violation(f"traits.{name}", "set-by-server"),)
    assert plan_of(traits, LENIENT).adjustments == (Adjustment(f"traits.{name}", "dropped", "set-by-server"),)
    assert properties_of(traits, LENIENT) == {"home": {name: "x"}}


@pytest.mark.parametrize("name", ["__identify", "__ip", "__typename", "__", "__proto__"])
def test_names_that_are_commands_are_not_sent(name: str) -> None:
    """One of them would write everything to another profile."""
    traits = {name: {"profileId": "u2"}, "plan": "pro"}

    assert plan_of(traits).violations == (Violation(f"traits.{name}", "reserved-name"),)
    assert properties_of(traits, LENIENT) == {"plan": "pro"}


def test_only_proto_is_reserved_in_nested_traits() -> None:
    """JavaScript objects cannot have it, in an object or in a list."""
    traits = {"a": {"__ip": 1, "__proto__": 2}, "b": [{"__ip": 1, "__proto__": 2}]}

    assert plan_of(traits).violations == (
        Violation("traits.a.__proto__", "reserved-name"),
        Violation("traits.b", "reserved-name"),
    )
    assert properties_of(traits, LENIENT) == {"a": {"__ip": 1}, "b": [{"__ip": 1}]}


@pytest.mark.parametrize("backend", [STRICT, LENIENT])
@pytest.mark.parametrize("traits", [{"a.b": 1, "a": {"b": 2}}, {"a": {"b": 2}, "a.b": 1}])
def test_two_names_that_become_one_are_rejected(traits: dict[str, Any], backend: OpenPanel) -> None:
    """OpenPanel shows a dot in a name as nesting."""
    assert plan_of(traits, backend).violations == (Violation("traits.a.b", "name-collision"),)


def test_names_of_fields_are_ordinary_traits() -> None:
    """They are sent among the properties, next to the profile's fields."""
    traits = {"firstName": "A", "lastName": "L", "email": "no address", "name": "x", "profileId": "u2", "avatar": "y"}

    assert properties_of(traits) == traits


@given(user=user_traits())
def test_nothing_invalid_is_ever_sent(user: UserTraits) -> None:
    """No blank, no reserved name, no inexact number, and only keys of the schema."""
    plan = LENIENT.plan(user)
    if plan.request is None:
        return
    payload = payload_of(plan)

    assert payload["profileId"] == user.user_id
    assert payload.keys() <= {"profileId", "firstName", "lastName", "email", "properties"}
    assert all(payload.values())
    assert is_email(payload.get("email", "a@b.cd"))
    for name, value in payload.get("properties", {}).items():
        assert value not in ("", [], {}, None)
        assert not name.startswith("__")
        assert name not in {"country", "city", "device", "os", "browser"}
    assert all(abs(number) < 2**53 for number in _whole_numbers(payload))


def _whole_numbers(content: Any) -> list[int]:
    if isinstance(content, dict):
        return [number for value in content.values() for number in _whole_numbers(value)]  # pyright: ignore[reportUnknownVariableType]  # JSON.
    if isinstance(content, list):
        return [number for value in content for number in _whole_numbers(value)]  # pyright: ignore[reportUnknownVariableType]  # JSON.
    return [content] if isinstance(content, int) else []
