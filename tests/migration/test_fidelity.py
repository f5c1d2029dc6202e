"""Counts of what each backend's limits do to users and properties."""

from typing import Any

import attrs
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.profiles import examples

from replay_identity import Fullstory, LogRocket, Route, UserTraits
from replay_identity.migration.fidelity import BackendFidelity, Fidelity, PropertyFidelity
from replay_identity.outcomes import LOSSY_KINDS
from replay_identity.testing import user_traits

FULLSTORY = Route(Fullstory("na1.test"))
LOGROCKET = Route(LogRocket("a:b:c"))
ADAPTING = (Route(Fullstory("na1.test", on_violation="adapt")), Route(LogRocket("a:b:c", on_violation="adapt")))


def counted(route: Route, *given_users: UserTraits) -> BackendFidelity:
    """Return what happens to users at one backend."""
    fidelity = Fidelity([route])
    for user in given_users:
        fidelity.add(user)
    return fidelity.backends[route.name]


def numbers(counts: PropertyFidelity) -> dict[str, int]:
    """Return the numbers that are not zero."""
    return {name: number for name, number in attrs.asdict(counts).items() if number}


def user(**traits: Any) -> UserTraits:
    """Return a user."""
    return UserTraits("u1", traits=traits)


def test_counts_unchanged_values() -> None:
    """A string is a string at every vendor."""
    found = counted(LOGROCKET, user(plan="pro"), user(plan="free"), UserTraits("u2", name="Ada", email="a@b.c"))

    assert {path: numbers(counts) for path, counts in found.properties.items()} == {
        "traits.plan": {"users": 2, "as_is": 2},
        "name": {"users": 1, "as_is": 1},
        "email": {"users": 1, "as_is": 1},
    }
    assert (found.users, found.sent) == (3, 3)


def test_counts_each_way_a_value_is_changed() -> None:
    """A nested number is flattened and coerced, without loss."""
    found = counted(LOGROCKET, user(company={"size": 4, "city": "Köln"}))

    assert numbers(found.properties["traits.company.size"]) == {"users": 1, "lossless": 1, "flattened": 1, "coerced": 1}
    assert numbers(found.properties["traits.company.city"]) == {"users": 1, "lossless": 1, "flattened": 1}


def test_distinguishes_kinds_of_loss() -> None:
    """A truncated string, and a property that is renamed."""
    found = counted(ADAPTING[1], user(bio="b" * 2000))
    other = counted(ADAPTING[0], user(**{"sign-up": "x"}))

    assert numbers(found.properties["traits.bio"]) == {"users": 1, "lossy": 1, "truncated": 1}
    assert numbers(other.properties["traits.sign-up"]) == {"users": 1, "lossy": 1, "renamed": 1}
    assert other.sent_names == {"sign_up"}


def test_a_rejected_property_holds_back_the_others() -> None:
    """The user is not sent at all."""
    found = counted(LOGROCKET, user(bio="b" * 2000, plan="pro"))

    assert numbers(found.properties["traits.bio"]) == {"users": 1, "rejected": 1}
    assert numbers(found.properties["traits.plan"]) == {"users": 1, "held_back": 1}
    assert (found.users, found.rejected, found.sent) == (1, 1, 0)


def test_a_dropped_object_drops_its_fields() -> None:
    """It exceeds the size of one property."""
    found = counted(ADAPTING[0], user(company={"a": "x" * 5000, "b": "y" * 5000}))

    assert {path: numbers(counts) for path, counts in found.properties.items()} == {
        path: {"users": 1, "lossy": 1, "dropped": 1} for path in ("traits.company.a", "traits.company.b")
    }
    assert found.sent_names == set()


def test_a_list_is_one_property() -> None:
    """Adjustments of its items count for the list."""
    from datetime import date  # noqa: PLC0415

    found = counted(FULLSTORY, user(days=[date(2026, 11, 21), date(2026, 11, 22)]), user(tags=["a", 1]))

    assert numbers(found.properties["traits.days"]) == {"users": 1, "lossless": 1, "coerced": 1}
    assert numbers(found.properties["traits.tags"]) == {"users": 1, "rejected": 1}


def test_counts_collisions_by_property() -> None:
    """Two names become one."""
    found = counted(ADAPTING[0], user(**{"a-b": 1.5, "a_b": 2.5}))

    assert dict(found.collisions) == {"traits.a_b": 1}


def test_a_route_may_cause_a_collision() -> None:
    """It can rename one trait to another."""
    found = counted(Route(FULLSTORY.backend, rename={"a": "b"}), user(a="x", b="y"))

    assert (found.rejected, list(found.collisions)) == (1, ["traits.b"])


def test_counts_the_names_that_are_sent() -> None:
    """Nested fields one by one, under the adapted names of their objects."""
    found = counted(ADAPTING[0], user(**{"my company": {"size": 4.5, "the city": "x"}, "plan": "a"}))

    assert found.sent_names == {"my_company.size", "my_company.the_city", "plan"}
    assert found.unique_names == 3
    assert found.max_unique_names is not None
    assert found.max_unique_names.maximum == 500


def test_skips_users_without_anything_to_send() -> None:
    """Users that a route excludes are skipped, too."""
    found = counted(LOGROCKET, UserTraits("u1"))
    excluded = counted(Route(LOGROCKET.backend, when=lambda _: False), user(plan="pro"))

    assert (found.users, found.skipped, found.properties) == (1, 1, {})
    assert (excluded.users, excluded.skipped, excluded.properties) == (1, 1, {})


def test_counts_failures_of_an_adapter() -> None:
    """Other backends are not affected."""

    def fail(_: UserTraits) -> bool:
        raise RuntimeError

    fidelity = Fidelity([Route(LOGROCKET.backend, when=fail), FULLSTORY])
    fidelity.add(user(plan="pro"))

    assert (fidelity.backends["logrocket"].broken, fidelity.backends["fullstory"].sent) == (1, 1)


def test_bounds_the_number_of_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their names come from the data."""
    monkeypatch.setattr("replay_identity.migration.fidelity.MAX_PATHS", 3)
    monkeypatch.setattr("replay_identity.migration.fidelity._MAX_PATTERNS", 2)

    found = counted(LOGROCKET, *(user(**{f"t{number}": "x"}) for number in range(9)))

    assert numbers(found.properties["…other"]) == {"users": 6, "as_is": 6}
    assert (len(found.properties), found.unique_names) == (4, 3)


def test_restores_only_backends_with_a_route() -> None:
    """Stored counts of other backends are dropped."""
    both = Fidelity([FULLSTORY, LOGROCKET])
    both.add(user(plan="pro"))

    assert Fidelity.from_dict(both.as_dict(), [FULLSTORY]).as_dict() == {
        "fullstory": both.as_dict()["fullstory"],
    }
    assert Fidelity.from_dict({}, [FULLSTORY]).backends["fullstory"].users == 0


@settings(max_examples=examples(200))
@given(st.lists(user_traits(), max_size=4), st.sampled_from([(FULLSTORY, LOGROCKET), ADAPTING]))
def test_the_numbers_add_up(some: list[UserTraits], routes: tuple[Route, ...]) -> None:
    """Each user and each value counts once, and each loss has a kind."""
    fidelity = Fidelity(routes)
    for each in some:
        fidelity.add(each)

    for found in fidelity.backends.values():
        assert found.users == len(some)
        assert found.users == found.sent + found.rejected + found.skipped + found.broken
        for counts in found.properties.values():
            counted_once = counts.as_is, counts.lossless, counts.lossy, counts.rejected, counts.held_back
            assert counts.users == sum(counted_once)
            assert counts.lossy <= sum(getattr(counts, kind) for kind in LOSSY_KINDS)


@example([user(plan="pro")], [user(**{"a-b": 1.5, "a_b": 2.5})])
@given(st.lists(user_traits(), max_size=3), st.lists(user_traits(), max_size=3))
def test_merging_and_storing_lose_no_count(some: list[UserTraits], more: list[UserTraits]) -> None:
    """A resumed run continues the counts."""
    whole, first, second = (Fidelity(ADAPTING) for _ in range(3))
    for each in some:
        whole.add(each)
        first.add(each)
    for each in more:
        whole.add(each)
        second.add(each)

    resumed = Fidelity.from_dict(orjson.loads(orjson.dumps(first.as_dict())), ADAPTING)
    resumed.merge(second)

    assert resumed.as_dict() == whole.as_dict()
