from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from exchanges import run
from hypothesis import given
from hypothesis import strategies as st

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
from replay_identity.adapters.exchange import Response
from replay_identity.adapters.protocols import Plan
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
    """Return what the route's backend would send."""
    plan = route.plan(user)
    assert isinstance(plan, Plan)
    assert plan.request is not None
    content: dict[str, Any] = orjson.loads(plan.request.body or b"")
    return content


def test_a_route_without_conditions_sends_the_user_as_they_are() -> None:
    """It has the backend's name, too."""
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
def test_an_excluded_name_is_not_sent_with_all_that_is_in_it(exclude: set[str], properties: Any) -> None:
    """What is left of a mapping is sent, and an empty one is not."""
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
def test_only_the_named_is_sent_with_all_that_is_in_it(only: set[str], properties: Any) -> None:
    """A dotted name opens its parents only as far as needed."""
    assert sent(Route(FULLSTORY, only=only)).get("properties") == properties


def test_a_name_with_dots_counts_as_nested() -> None:
    """Columns of a file are named so, and LogRocket is sent the same name for either."""
    user = UserTraits("u1", traits={"company.tax": "9", "company.size": "5", "plan": "pro"})

    assert sent(Route(LOGROCKET, exclude={"company"}), user)["traits"] == {"plan": "pro"}
    assert sent(Route(LOGROCKET, only={"company"}), user)["traits"] == {"company.tax": "9", "company.size": "5"}


def test_name_and_email_are_kept_back_like_traits() -> None:
    """Whether excluded or not named; the id stays, since nothing can be sent without it."""
    assert sent(Route(FULLSTORY, exclude={"name", "email", "company", "ssn", "plan"})) == {"uid": "u1"}
    assert sent(Route(FULLSTORY, only={"name"})) == {"uid": "u1", "display_name": "Ann"}
    assert sent(Route(FULLSTORY, only={"email"})) == {"uid": "u1", "email": "a@example.com"}


def test_an_excluded_email_is_not_lifted_out_of_the_traits_either() -> None:
    """It has one name wherever it stands."""
    user = UserTraits("u1", traits={"email": "a@example.com", "plan": "pro"})

    assert sent(Route(LOGROCKET, exclude={"email"}), user) == {"traits": {"plan": "pro"}}


def test_exclude_wins_over_only() -> None:
    """What is named in both is not sent."""
    route = Route(FULLSTORY, only={"company", "plan"}, exclude={"company.tax", "plan"})

    assert sent(route)["properties"] == {"company": {"size": 5, "name": "Acme"}}


def test_a_trait_is_renamed_where_it_stands() -> None:
    """Its declared type goes with it."""
    route = Route(
        FULLSTORY, only={"plan", "company"}, rename={"plan": "tier", "company": "org", "company.size": "seats"}
    )

    body = sent(route)

    assert body["properties"] == {"tier": "pro", "org": {"seats": 5, "name": "Acme", "tax": {"id": "9", "rate": 0.2}}}
    assert body["schema"]["properties"] == {"org.seats": "real", "org.tax.rate": "real"}


@pytest.mark.parametrize("traits", [{"a": 1, "b": 2}, {"b": 2, "a": 1}])
def test_two_names_that_become_one_are_a_violation(traits: Mapping[str, int]) -> None:
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
    """Renaming happens all at once."""
    user = UserTraits("u1", traits={"a": "1", "b": "2"})

    assert sent(Route(FULLSTORY, rename={"a": "b", "b": "a"}), user)["properties"] == {"b": "1", "a": "2"}


def test_when_keeps_a_user_from_a_backend() -> None:
    """The outcome says that it was the route."""
    route = Route(FULLSTORY, when=lambda user: user.traits.get("plan") == "pro")
    free = UserTraits("u2", traits={"plan": "free"})

    outcome, requests = run(route.identify(free))

    assert outcome == route.plan(free) == Skipped("fullstory", SkipReason.FILTERED)
    assert requests == []
    assert route.plan(ANN) == FULLSTORY.plan(ANN)


@pytest.mark.parametrize("setting", ["only", "exclude"])
def test_one_string_is_no_set_of_names(setting: str) -> None:
    """It would be a set of its letters, and let everything through."""
    with pytest.raises(ConfigurationError) as caught:
        Route(FULLSTORY, **{setting: "ssn"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    assert str(caught.value) == f'{setting}: expected a set of names, got a string; write {setting}={{"plan"}}'


def paths(traits: Mapping[str, Any], parents: str = "") -> dict[str, Any]:
    """Return the values of *traits* by dotted path, as LogRocket's words flatten them."""
    found: dict[str, Any] = {}
    for name, value in traits.items():
        if is_nested(value):
            found |= paths(value, f"{parents}{name}.")
        else:
            found[parents + name] = value
    return found


class Seen:
    """A backend that only looks."""

    name = "seen"
    limits = FULLSTORY.limits

    def __init__(self) -> None:
        self.user: UserTraits | None = None

    def plan(self, user: UserTraits, /) -> Plan:
        """Remember *user*."""
        self.user = user
        return Plan(self.name, None)

    def identify(self, user: UserTraits, /) -> Any:
        """Do nothing."""
        raise NotImplementedError


def is_under(path: str, name: str) -> bool:
    """Tell whether *path* is *name* or nested in it."""
    return path == name or path.startswith(f"{name}.")


@given(traits=trait_maps(), data=st.data())
def test_nothing_excluded_gets_through(traits: dict[str, Any], data: st.DataObject) -> None:
    """Neither what is excluded, nor what is not named, nor anything in it; and all the rest does."""
    try:
        given_paths = paths(UserTraits("u1", traits=traits).traits)
    except InvalidTraitsError:
        return
    known = st.one_of(
        st.sampled_from(sorted(given_paths) or ["a"]), st.sampled_from(sorted(traits) or ["a"]), trait_names()
    )
    exclude = data.draw(st.frozensets(known, max_size=3))
    only = data.draw(st.one_of(st.none(), st.frozensets(known, max_size=3)))
    backend = Seen()

    Route(backend, only=only, exclude=exclude).plan(UserTraits("u1", name="n", email="e", traits=traits))

    assert backend.user is not None
    seen = paths(backend.user.traits)
    assert [path for path in seen if any(is_under(path, name) for name in exclude)] == []
    assert only is None or [path for path in seen if not any(is_under(path, name) for name in only)] == []
    allowed = {path for path in given_paths if not any(is_under(path, name) for name in exclude)}
    assert only is not None or seen.keys() == allowed
    assert (backend.user.name is None) == ("name" in exclude or (only is not None and "name" not in only))
    assert (backend.user.email is None) == ("email" in exclude or (only is not None and "email" not in only))


def test_a_renamed_trait_keeps_its_own_type() -> None:
    """And not that of one which is declared for its new name and is not there."""
    user = UserTraits("u1", traits={"a": 1}, types={"a": "int", "b": "str"})

    assert sent(Route(FULLSTORY, rename={"a": "b"}), user)["schema"] == {"properties": {"b": "int"}}
