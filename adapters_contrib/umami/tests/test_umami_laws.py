"""Properties of every user: what is sent is within Umami's limits, and is stored unchanged."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, get_args

import orjson
from hypothesis import given
from hypothesis import strategies as st
from replay_identity_umami import Umami
from replay_identity_umami.emulator.properties import read_property

from replay_identity.adapters import IdRule, Plan, UserTraits, is_nested
from replay_identity.errors import printable
from replay_identity.testing import datetimes, numbers, scalars, user_traits

WEBSITE = "a2c1f0de-5b7e-4c7f-9d0a-3f1e2b4c5d6e"
STRICT = Umami(WEBSITE, base_url="https://umami.example.com")
LENIENT = Umami(WEBSITE, base_url="https://umami.example.com", on_violation="adapt")
NEVER_MENDED = {"anonymous-user", "user-id-length", "nul-byte", "name-collision", "nothing-left"} | set(
    get_args(IdRule)
)


def payload_of(plan: Plan) -> dict[str, Any]:
    """Return the payload that would be sent for the user."""
    assert plan.request is not None
    payload: dict[str, Any] = orjson.loads(plan.request.body or b"")["payload"]
    return payload


def leaves(traits: Mapping[str, Any], parents: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names and the values that are not nested."""
    for name, value in traits.items():
        if is_nested(value):
            yield from leaves(value, f"{parents}{name}.")
        else:
            yield parents + name, value


@given(user=user_traits())
def test_nothing_over_a_limit_is_ever_sent(user: UserTraits) -> None:
    """Whether rejecting or adapting; no null, object or array either."""
    for plan in (STRICT.plan(user), LENIENT.plan(user)):
        if plan.request is None:
            continue
        payload = payload_of(plan)
        assert payload["website"] == WEBSITE
        assert payload["id"] == user.user_id
        assert len(payload["id"]) <= 50
        assert payload["data"]
        for name, value in payload["data"].items():
            assert len(name) <= 500
            assert "\0" not in f"{name}{value}{payload['id']}"
            assert isinstance(value, str | int | float | bool)
            assert len(value) <= 500 if isinstance(value, str) else abs(value) < 10**15


@given(user=user_traits())
def test_adapting_leaves_only_unadaptable_violations(user: UserTraits) -> None:
    """An invalid id, and two names that become one."""
    assert {violation.rule for violation in LENIENT.plan(user).violations} <= NEVER_MENDED


@given(user=user_traits())
def test_a_timestamp_is_in_seconds(user: UserTraits) -> None:
    """A whole number, less than one second off."""
    plan = LENIENT.plan(user)
    if plan.request is None or user.observed_at is None:
        return

    timestamp = payload_of(plan)["timestamp"]

    assert type(timestamp) is int
    assert 0 <= Decimal(str(user.observed_at.timestamp())) - timestamp <= 1


@given(value=numbers())
def test_a_number_is_stored_to_the_last_digit(value: Decimal) -> None:
    """As a number if Umami stores it exactly, else as text."""
    plan = LENIENT.plan(UserTraits("u1", name="Ada", traits={"n": value}))
    if any(adjustment.lossy for adjustment in plan.adjustments):
        assert len(f"{Decimal(value):f}") > 500
        return

    stored = read_property(payload_of(plan)["data"]["n"])

    assert Decimal(stored.text) == Decimal(str(value))


@given(value=datetimes())
def test_a_datetime_is_stored_to_the_microsecond(value: datetime) -> None:
    """As a date if Umami stores it exactly, else as text."""
    stored = read_property(payload_of(STRICT.plan(UserTraits("u1", traits={"t": value})))["data"]["t"])

    assert datetime.fromisoformat(stored.text) == value
    assert (stored.kind == "date") == (value.microsecond % 1000 == 0)


@given(value=st.one_of(scalars(), st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}(Z|\+\d\d:\d\d))?")))
def test_text_is_stored_unchanged_or_with_a_warning(value: Any) -> None:
    """The warning means that it becomes a date; nothing sent fails midway."""
    plan = LENIENT.plan(UserTraits("u1", name="Ada", traits={"t": value}))
    sent = payload_of(plan)["data"].get("t")
    if not isinstance(sent, str):
        return

    stored = read_property(sent)

    is_warned = "date-like-text" in {adjustment.rule for adjustment in plan.adjustments}
    assert is_warned or stored.text == sent
    assert is_warned or stored.kind == "string" or isinstance(value, datetime)


@given(user=user_traits())
def test_every_change_is_recorded(user: UserTraits) -> None:
    """Each trait with another name or type, and each one not sent."""
    plan = LENIENT.plan(user)
    if plan.request is None:
        return
    data, on_record = payload_of(plan)["data"], {adjustment.path for adjustment in plan.adjustments}

    changed = {
        printable(f"traits.{name}")
        for name, value in leaves(user.traits)
        if name not in data or type(data[name]) is not type(value) or data[name] != value or name not in user.traits
    }

    assert changed <= on_record


@given(users=st.lists(user_traits(), max_size=4))
def test_a_batch_has_the_bytes_of_each_user(users: list[UserTraits]) -> None:
    """And no other users."""
    alone = [plan.request.body for user in users if (plan := LENIENT.plan(user)).request is not None]

    request = next(LENIENT.identify_many(users), None)

    assert (request is None) == (not alone)
    if request is not None:
        assert getattr(request, "body", None) == b"[" + b",".join(body or b"" for body in alone) + b"]"
