"""Properties of every LogRocket payload, checked on the JSON alone."""

import copy
import json
import pickle
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
from hypothesis import given

from replay_identity import REMOVE, LogRocket, UserTraits
from replay_identity._values import is_nested
from replay_identity.adapters import Plan
from replay_identity.adapters.id_rules import ID_RULES
from replay_identity.errors import printable
from replay_identity.testing import user_traits, valid_users

STRICT = LogRocket("acme:shop:key")
LENIENT = LogRocket("acme:shop:key", on_violation="adapt")
NEVER_MENDED = {"anonymous-user", "dot-segment", "user-id-length", "name-collision", "nothing-left"} | ID_RULES
LOSSLESS = {"coerced", "flattened", "lifted", "removed", "warned"}


def units(text: str) -> int:
    """Return the length in JavaScript."""
    return sum(2 if ord(char) > 0xFFFF else 1 for char in text)


def body_of(plan: Plan) -> dict[str, Any]:
    """Return the JSON that would be sent."""
    assert plan.request is not None
    content: dict[str, Any] = orjson.loads(plan.request.body or b"")
    return content


def leaves(traits: Mapping[str, Any], parents: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names and values of everything that is not nested."""
    for name, value in traits.items():
        if is_nested(value):
            yield from leaves(value, f"{parents}{name}.")
        else:
            yield parents + name, value


def assert_within_limits(plan: Plan, user: UserTraits) -> None:
    """Check LogRocket's published limits (https://docs.logrocket.com/docs/user-identification-api)."""
    assert plan.request is not None
    path = urlsplit(plan.request.url).path.split("/")
    assert path[:-1] == ["", "v1", "orgs", "acme", "apps", "shop", "users"]
    assert unquote(path[-1]) == user.user_id
    assert path[-1] not in {"", ".", ".."}
    assert units(unquote(path[-1])) <= 1024
    body = body_of(plan)
    assert body
    assert body.keys() <= {"name", "email", "timestamp", "traits"}
    assert type(body.get("timestamp", 0)) is int
    texts = {**body.get("traits", {}), **{field: body[field] for field in ("name", "email") if field in body}}
    for name, text in texts.items():
        assert isinstance(text, str)
        assert units(name) <= 1024
        assert units(text) <= 1024
    assert not {"name", "email", "userID"} & body.get("traits", {}).keys()


@given(user=user_traits())
def test_sends_nothing_over_a_limit(user: UserTraits) -> None:
    """This holds with both values of on_violation; all values are strings."""
    for plan in (STRICT.plan(user), LENIENT.plan(user)):
        if plan.request is not None:
            assert_within_limits(plan, user)
            assert plan.violations == ()


@given(user=user_traits())
def test_adapting_leaves_only_permanent_violations(user: UserTraits) -> None:
    """Rejecting records no loss."""
    strict, lenient = STRICT.plan(user), LENIENT.plan(user)

    assert {violation.rule for violation in lenient.violations} <= NEVER_MENDED
    assert [adjustment for adjustment in strict.adjustments if adjustment.lossy] == []
    assert bool(strict.violations) == (bool(lenient.violations) or any(each.lossy for each in lenient.adjustments))


@given(user=valid_users(STRICT.limits))
def test_a_user_within_all_limits_is_never_rejected(user: UserTraits) -> None:
    """There is no loss either, and adapting makes no difference."""
    plan = STRICT.plan(user)

    assert plan.violations == ()
    assert plan.request is not None
    assert {adjustment.kind for adjustment in plan.adjustments} <= LOSSLESS
    assert LENIENT.plan(user) == plan


def reads_as(text: str, value: Any) -> bool:
    """Return True if *text* means *value*."""
    if isinstance(value, bool):
        return text == ("true" if value else "false")
    if isinstance(value, str):
        return text == value
    if isinstance(value, datetime):
        return text.endswith("Z") and datetime.fromisoformat(text) == value
    if isinstance(value, date):
        return date.fromisoformat(text) == value
    if isinstance(value, int | Decimal):
        return "e" not in text and Decimal(text) == value
    if isinstance(value, float):
        return not text.endswith(".0") and float(text) == value
    if isinstance(value, tuple):
        return same_json(json.loads(text, parse_float=str, parse_int=str), value)  # pyright: ignore[reportUnknownArgumentType]
    return text == str(value)


def same_json(content: Any, value: Any) -> bool:
    """Return True if JSON *content*, its numbers as strings, means *value*."""
    if isinstance(value, tuple):
        return len(content) == len(value) and all(map(same_json, content, value))  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, dict):
        return content.keys() == value.keys() and all(same_json(content[name], value[name]) for name in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return content is value if isinstance(value, bool) else reads_as(content, value)


@given(user=user_traits())
def test_every_loss_is_recorded(user: UserTraits) -> None:
    """Every other field can be read back from the payload."""
    plan = LENIENT.plan(user)
    if plan.request is None:
        return
    body = body_of(plan)
    no_response = {adjustment.path for adjustment in plan.adjustments if adjustment.lossy}
    traits = dict(leaves(user.traits))

    assert body.get("name") == (user.name if user.name is not None else body.get("name")) or "name" in no_response
    assert body.get("email") == (user.email if user.email is not None else body.get("email")) or "email" in no_response
    if user.observed_at is not None:
        milliseconds = (user.observed_at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000
        assert abs(body["timestamp"] - milliseconds) < 2
    for path, value in traits.items():
        if printable(f"traits.{path}") in no_response:
            continue
        text = body[path] if path in {"name", "email"} else body["traits"][path]
        assert text == "" if value is REMOVE else reads_as(text, value)


@given(user=user_traits())
def test_sends_nothing_beyond_the_traits(user: UserTraits) -> None:
    """Every name is that of a trait."""
    plan = LENIENT.plan(user)
    if plan.request is not None:
        assert body_of(plan).get("traits", {}).keys() <= dict(leaves(user.traits)).keys()


@given(user=user_traits())
def test_records_every_value_that_is_not_a_string(user: UserTraits) -> None:
    """A value whose type or name changes has an adjustment, lossless or not."""
    plan = LENIENT.plan(user)
    if plan.request is None:
        return

    paths = {adjustment.path for adjustment in plan.adjustments}

    changed = {path for path, value in leaves(user.traits) if not isinstance(value, str) and value is not REMOVE}
    nested = {
        f"{name}.{path}" for name, value in user.traits.items() if isinstance(value, dict) for path, _ in leaves(value)
    }  # pyright: ignore[reportUnknownArgumentType]
    assert {printable(f"traits.{path}") for path in changed | nested} <= paths


@given(user=user_traits())
def test_a_plan_is_pure(user: UserTraits) -> None:
    """The same user gives the same bytes, and is not changed."""
    before = copy.deepcopy(user)

    plans = [LENIENT.plan(each) for each in (user, user, before, pickle.loads(pickle.dumps(user)))]  # noqa: S301

    assert plans[1:] == plans[:1] * 3
    assert user == before


@given(user=user_traits())
def test_the_order_of_traits_does_not_matter(user: UserTraits) -> None:
    """Equal users give equal JSON."""
    turned = UserTraits(
        user.user_id,
        name=user.name,
        email=user.email,
        traits=dict(reversed(list(user.traits.items()))),
        observed_at=user.observed_at,
        types=user.types,
        vendor_ids=user.vendor_ids,
    )
    one, other = STRICT.plan(user), STRICT.plan(turned)

    assert user == turned
    assert (one.request is None) == (other.request is None)
    if one.request is not None:
        assert body_of(one) == body_of(other)
