from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.exchanges import run

from replay_identity import (
    Accepted,
    ConfigurationError,
    Fullstory,
    InvalidTraitsError,
    LogRocket,
    Rejected,
    Route,
    Skipped,
    UserTraits,
    Violation,
)
from replay_identity._values import is_nested
from replay_identity.adapters import Plan, Response
from replay_identity.outcomes import SkipReason
from replay_identity.testing import trait_maps, trait_names

FULLSTORY = Fullstory("na1.key")
LOGROCKET = LogRocket("o:a:s")
ANN = UserTraits(
    "u1",
    name="Ann",
    email="a@example.com",
    traits={"plan": "pro", "ssn": "123", "company": {"size": 5, "name": "Acme", "tax": {"id": "9", "rate": 0.2}}},
    types={"company.size": "real", "company.tax.rate": "real"},
    vendor_ids={"other": "7"},
)


def sent(route: Route, user: UserTraits = ANN) -> dict[str, Any]:
    """Return the payload that the route's backend would send."""
    plan = route.plan(user)
    assert isinstance(plan, Plan)
    assert plan.request is not None
    content: dict[str, Any] = orjson.loads(plan.request.body or b"")
    return content


def test_a_bare_route_sends_the_whole_user() -> None:
    """It has the backend's name."""
    route = Route(FULLSTORY)

    assert route.name == "fullstory"
    assert route.plan(ANN) == FULLSTORY.plan(ANN)


def test_identify_sends_what_the_plan_shows() -> None:
    """The outcome is the backend's."""
    route = Route(FULLSTORY, exclude={"ssn"})

    outcome, requests = run(route.identify(ANN), Response(200, body=b'{"id": "7"}'))

    assert isinstance(outcome, Accepted)
    assert orjson.loads(requests[0].body or b"") == sent(route)


@pytest.mark.parametrize(
    ("exclude", "properties"),
    [
        ({"ssn", "company"}, {"plan": "pro"}),
        ({"ssn", "company.tax", "company.size"}, {"plan": "pro", "company": {"name": "Acme"}}),
        ({"ssn", "plan", "company.size", "company.name", "company.tax.id"}, {"company": {"tax": {"rate": 0.2}}}),
        ({"ssn", "plan", "company.size", "company.name", "company.tax.id", "company.tax.rate"}, None),
    ],
)
def test_exclude_covers_nested_traits(exclude: set[str], properties: Any) -> None:
    """The rest of a mapping is sent, unless it is empty."""
    assert sent(Route(FULLSTORY, exclude=exclude)).get("properties") == properties


@pytest.mark.parametrize(
    ("only", "properties"),
    [
        ({"plan"}, {"plan": "pro"}),
        ({"company.tax"}, {"company": {"tax": {"id": "9", "rate": 0.2}}}),
        ({"company.size", "plan"}, {"plan": "pro", "company": {"size": 5}}),
        ({"size"}, None),
        (set[str](), None),
    ],
)
def test_only_covers_nested_traits(only: set[str], properties: Any) -> None:
    """A dotted name includes nothing else of its parents."""
    assert sent(Route(FULLSTORY, only=only)).get("properties") == properties


def test_a_name_with_dots_counts_as_nested() -> None:
    """A file's columns are named like that, and LogRocket receives the same name for either."""
    user = UserTraits("u1", traits={"company.tax": "9", "company.size": "5", "plan": "pro"})

    assert sent(Route(LOGROCKET, exclude={"company"}), user)["traits"] == {"plan": "pro"}
    assert sent(Route(LOGROCKET, only={"company"}), user)["traits"] == {"company.tax": "9", "company.size": "5"}


def test_name_and_email_are_filtered_like_traits() -> None:
    """The id is always sent, because nothing can be sent without it."""
    assert sent(Route(FULLSTORY, exclude={"name", "email", "company", "ssn", "plan"})) == {"uid": "u1"}
    assert sent(Route(FULLSTORY, only={"name"})) == {"uid": "u1", "display_name": "Ann"}
    assert sent(Route(FULLSTORY, only={"email"})) == {"uid": "u1", "email": "a@example.com"}


def test_an_excluded_email_trait_is_not_lifted() -> None:
    """The field and the trait have the same name."""
    user = UserTraits("u1", traits={"email": "a@example.com", "plan": "pro"})

    assert sent(Route(LOGROCKET, exclude={"email"}), user) == {"traits": {"plan": "pro"}}


def test_exclude_wins_over_only() -> None:
    """A name in both is not sent."""
    route = Route(FULLSTORY, only={"company", "plan"}, exclude={"company.tax", "plan"})

    assert sent(route)["properties"] == {"company": {"size": 5, "name": "Acme"}}


def test_renames_a_trait_in_place() -> None:
    """Its declared type is renamed, too."""
    route = Route(
        FULLSTORY, only={"plan", "company"}, rename={"plan": "tier", "company": "org", "company.size": "seats"}
    )

    body = sent(route)

    assert body["properties"] == {"tier": "pro", "org": {"seats": 5, "name": "Acme", "tax": {"id": "9", "rate": 0.2}}}
    assert body["schema"]["properties"] == {"org.seats": "real", "org.tax.rate": "real"}


def test_a_name_with_dots_is_renamed_like_a_nested_trait() -> None:
    """It is what is nested in the renamed trait; a rename of exactly that name comes first."""
    route = Route(LogRocket("acme:shop:secret"), rename={"a": "b", "c.d": "e"})

    routed = route.apply(UserTraits("u1", traits={"a.x": 1, "c.d": 2, "c": {"a.x": 3}, "f.g": 4}))

    assert isinstance(routed, UserTraits)
    assert routed.traits == {"b.x": 1, "e": 2, "c": {"a.x": 3}, "f.g": 4}
    assert route.removed_with("a.x") == ["b.x"]


@pytest.mark.parametrize("traits", [{"a": 1, "b": 2}, {"b": 2, "a": 1}])
def test_colliding_names_are_a_violation(traits: Mapping[str, int]) -> None:
    """Nothing is sent."""
    route = Route(FULLSTORY, rename={"a": "b"})
    user = UserTraits("u1", traits=traits)

    outcome, requests = run(route.identify(user))
    plan = route.plan(user)

    violations = (Violation(f"traits.{list(traits)[1]}", "name-collision"),)
    assert outcome == Rejected("fullstory", violations)
    assert plan == Plan("fullstory", None, violations=violations)
    assert requests == []


def test_names_can_be_swapped() -> None:
    """All names are replaced at once."""
    user = UserTraits("u1", traits={"a": "1", "b": "2"})

    assert sent(Route(FULLSTORY, rename={"a": "b", "b": "a"}), user)["properties"] == {"b": "1", "a": "2"}


def test_when_skips_a_user() -> None:
    """The outcome names the route as the reason."""
    route = Route(FULLSTORY, when=lambda user: user.traits.get("plan") == "pro")
    free = UserTraits("u2", traits={"plan": "free"})

    outcome, requests = run(route.identify(free))

    assert outcome == route.plan(free) == Skipped("fullstory", SkipReason.FILTERED)
    assert requests == []
    assert route.plan(ANN) == FULLSTORY.plan(ANN)


@pytest.mark.parametrize("setting", ["only", "exclude"])
def test_rejects_a_string_as_names(setting: str) -> None:
    """It would be a set of its letters, and filter nothing."""
    with pytest.raises(ConfigurationError) as caught:
        Route(FULLSTORY, **{setting: "ssn"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    assert str(caught.value) == f'{setting}: expected a set of names, got a string; write {setting}={{"plan"}}'


def paths(traits: Mapping[str, Any], parents: str = "") -> dict[str, Any]:
    """Return the values of *traits* by dotted path."""
    by_path: dict[str, Any] = {}
    for name, value in traits.items():
        if is_nested(value):
            by_path |= paths(value, f"{parents}{name}.")
        else:
            by_path[parents + name] = value
    return by_path


class RecordingBackend:
    """A backend that records the user it receives."""

    name = "recording"
    limits = FULLSTORY.limits
    account = "recording.example"
    encoding = "1"

    def __init__(self) -> None:
        self.user: UserTraits | None = None

    def plan(self, user: UserTraits, /) -> Plan:
        """Record *user*."""
        self.user = user
        return Plan(self.name, None)

    def identify(self, user: UserTraits, /) -> Any:
        """Raise NotImplementedError."""
        raise NotImplementedError


def is_under(path: str, name: str) -> bool:
    """Return True if *path* is *name* or nested in it."""
    return path == name or path.startswith(f"{name}.")


@given(traits=trait_maps(), data=st.data())
def test_filters_exactly_the_excluded_traits(traits: dict[str, Any], data: st.DataObject) -> None:
    """Neither an excluded nor an unnamed trait is sent, and everything else is."""
    try:
        given_paths = paths(UserTraits("u1", traits=traits).traits)
    except InvalidTraitsError:
        return
    known = st.one_of(
        st.sampled_from(sorted(given_paths) or ["a"]), st.sampled_from(sorted(traits) or ["a"]), trait_names()
    )
    exclude = data.draw(st.frozensets(known, max_size=3))
    only = data.draw(st.one_of(st.none(), st.frozensets(known, max_size=3)))
    backend = RecordingBackend()

    Route(backend, only=only, exclude=exclude).plan(UserTraits("u1", name="n", email="e", traits=traits))

    assert backend.user is not None
    received = paths(backend.user.traits)
    assert [path for path in received if any(is_under(path, name) for name in exclude)] == []
    assert only is None or [path for path in received if not any(is_under(path, name) for name in only)] == []
    allowed = {path for path in given_paths if not any(is_under(path, name) for name in exclude)}
    assert only is not None or received.keys() == allowed
    assert (backend.user.name is None) == ("name" in exclude or (only is not None and "name" not in only))
    assert (backend.user.email is None) == ("email" in exclude or (only is not None and "email" not in only))


def test_a_renamed_trait_keeps_its_own_type() -> None:
    """It wins over a type declared for the new name."""
    user = UserTraits("u1", traits={"a": 1}, types={"a": "int", "b": "str"})

    assert sent(Route(FULLSTORY, rename={"a": "b"}), user)["schema"] == {"properties": {"b": "int"}}
