"""Properties of every Fullstory payload, checked on the JSON alone."""

import copy
import pickle
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from replay_identity import REMOVE, Adjustment, Fullstory, UserTraits
from replay_identity._values import is_nested
from replay_identity.adapters import Plan
from replay_identity.adapters.id_rules import ID_RULES
from replay_identity.errors import printable
from replay_identity.fullstory.payload import encode_user
from replay_identity.testing import scalars, trait_maps, trait_names, user_traits, valid_users

STRICT = Fullstory("na1.key")
LENIENT = Fullstory("na1.key", on_violation="adapt")
NAME = re.compile(r"\A[A-Za-z][A-Za-z0-9_]*\Z")
# Violations that cannot be adapted: another id is another user, and of two values with one name one would be lost.
NEVER_MENDED = {"uid-length", "dot-segment", "name-collision"} | ID_RULES | ID_RULES
LOSSLESS = {"coerced"}


def body_of(plan: Plan) -> dict[str, Any]:
    """Return the JSON that would be sent."""
    assert plan.request is not None
    content: dict[str, Any] = orjson.loads(plan.request.body or b"")
    return content


def leaves(properties: Mapping[str, Any], parents: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names and values of everything but objects."""
    for name, value in properties.items():
        if is_nested(value):
            yield from leaves(value, f"{parents}{name}.")
        else:
            yield parents + name, value


def parts(properties: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every name and value at every level."""
    for name, value in properties.items():
        yield name, value
        if is_nested(value):
            yield from parts(value)


def assert_within_limits(body: dict[str, Any]) -> None:
    """Check Fullstory's published limits (https://developer.fullstory.com/server/users/create-user)."""
    assert body.keys() <= {"uid", "display_name", "email", "properties", "schema"}
    assert 0 < len(body.get("uid", "x")) <= 256
    assert len(body.get("display_name", "")) <= 256
    assert len(body.get("email", "")) <= 128
    properties = body.get("properties", {})
    values = dict(leaves(properties))
    assert len(values) <= 500
    for name, value in parts(properties):
        assert NAME.match(name)
        assert value is not None
        size = len(value.encode()) if isinstance(value, str) else len(orjson.dumps(value))
        assert size <= 8192
    for path, value in values.items():
        assert len(path) <= 512
        if isinstance(value, list):
            assert {type(item) for item in value} & {dict, list} == set()  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    declared = body.get("schema", {}).get("properties", {})
    assert declared.keys() <= values.keys()
    assert set(declared.values()) <= {
        f"{kind}{s}" for kind in ("str", "int", "real", "bool", "date") for s in ("", "s")
    }


@given(user=user_traits())
def test_sends_nothing_over_a_limit(user: UserTraits) -> None:
    """This holds with both values of on_violation."""
    for plan in (STRICT.plan(user), LENIENT.plan(user)):
        if plan.request is not None:
            assert_within_limits(body_of(plan))
        assert (plan.request is None) == bool(plan.violations)


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
    assert {adjustment.kind for adjustment in plan.adjustments} <= LOSSLESS
    assert LENIENT.plan(user) == plan


def lossy_paths(plan: Plan) -> set[str]:
    """Return the paths of the plan's lossy adjustments."""
    return {adjustment.path for adjustment in plan.adjustments if adjustment.lossy}


def reads_as(encoded: Any, value: Any) -> bool:
    """Return True if *encoded* in the JSON means *value*, by its JSON type alone."""
    if isinstance(value, bool):
        return encoded is value
    if isinstance(value, tuple):
        return isinstance(encoded, list) and len(encoded) == len(value) and all(map(reads_as, encoded, value))  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, datetime):
        return isinstance(encoded, str) and encoded.endswith("Z") and datetime.fromisoformat(encoded) == value
    if isinstance(value, date):
        return bool(encoded == value.isoformat())
    if isinstance(value, Decimal):
        return isinstance(encoded, float) and Decimal(repr(encoded)) == value
    if isinstance(value, int | float | str):
        return type(encoded) is type(value) and bool(encoded == value)
    return bool(encoded == str(value))


@given(user=user_traits())
def test_every_loss_is_recorded(user: UserTraits) -> None:
    """Every other field can be read back from the payload."""
    plan = LENIENT.plan(user)
    if plan.request is None:
        return
    body, no_response = body_of(plan), lossy_paths(plan)

    assert body.get("uid") == user.user_id
    assert body.get("display_name") == user.name or "name" in no_response
    assert body.get("email") == user.email or "email" in no_response
    sent = dict(leaves(body.get("properties", {})))
    for path, value in leaves(user.traits):
        names = path.split(".")
        is_lost = {printable(f"traits.{'.'.join(names[: index + 1])}") for index in range(len(names))} & no_response
        assert is_lost or (value is not REMOVE and reads_as(sent[path], value))


@given(user=user_traits())
def test_sends_nothing_beyond_the_traits(user: UserTraits) -> None:
    """There are no more properties than traits."""
    plan = LENIENT.plan(user)
    if plan.request is not None:
        assert len(dict(leaves(body_of(plan).get("properties", {})))) <= len(list(leaves(user.traits)))


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
        types=user.types,
        vendor_ids=user.vendor_ids,
        observed_at=user.observed_at,
    )
    one, other = STRICT.plan(user), STRICT.plan(turned)

    assert user == turned
    assert (one.request is None) == (other.request is None)
    if one.request is not None:
        assert body_of(one) == body_of(other)


@given(user=user_traits())
def test_repr_of_a_plan_shows_no_value(user: UserTraits) -> None:
    """Its repr and its records contain only names and rules."""
    texts = [text for text in (user.user_id, user.name, user.email) if text and len(text) > 30]

    plans = repr(LENIENT.plan(user)) + repr(STRICT.plan(user))

    names = "".join(f"{path}." for path, _ in parts(user.traits))
    assert [text for text in texts if text in plans and text not in names] == []


def nearly_too_large() -> st.SearchStrategy[Any]:
    """Return lists and objects a little smaller and a little larger, as JSON, than the limit."""
    text = st.builds(str.__mul__, st.just("x"), st.integers(8150, 8200))
    quoted = st.builds(str.__mul__, st.just('"'), st.integers(4070, 4100))
    accented = st.builds(str.__mul__, st.just("é"), st.integers(4070, 4100))
    one_of_them = st.one_of(text, quoted, accented)
    return st.one_of(
        one_of_them.map(lambda text: [text]),
        one_of_them.map(lambda text: {"text": text, "number": 1}),
        one_of_them.map(lambda text: {"a": {"list": [text], "number": 1}, "é": [1]}),
    )


@given(
    user=user_traits(
        traits=st.dictionaries(trait_names(), st.one_of(nearly_too_large(), scalars(), trait_maps()), max_size=4)
    ),
    adapt=st.booleans(),
)
def test_measuring_large_users_only_changes_nothing(user: UserTraits, adapt: bool) -> None:  # noqa: FBT001
    """A user with a very long id is measured item by item, with the same result."""
    padding = "x" * 8192

    payload = encode_user(user, adapt=adapt, vendor_id="")
    padded = encode_user(user, adapt=adapt, vendor_id=padding)

    assert padded.content.replace(padding.encode() + b'"}', b'"}') == payload.content
    assert padded.adaptation == payload.adaptation


def test_lossless_kinds_are_lossless() -> None:
    """The other tests rely on this."""
    assert Adjustment("a", "dropped", "r").lossy
    assert not Adjustment("a", "coerced", "r").lossy
