"""What the vendors' limits make of each property, counted over many users."""

from typing import Any

import attrs
import orjson
import pytest
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from replay_identity import Fullstory, LogRocket, Route, UserTraits
from replay_identity.migration.fidelity import BackendFidelity, Fidelity, PropertyFidelity
from replay_identity.outcomes import LOSSY_KINDS
from replay_identity.testing import user_traits

FULLSTORY = Route(Fullstory("na1.test"))
LOGROCKET = Route(LogRocket("a:b:c"))
ADAPTING = (Route(Fullstory("na1.test", on_violation="adapt")), Route(LogRocket("a:b:c", on_violation="adapt")))


def counted(route: Route, *given_users: UserTraits) -> BackendFidelity:
    """Return what becomes of users at one vendor."""
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


def test_what_is_sent_as_it_is_counts_as_that() -> None:
    """A text is a text at every vendor."""
    found = counted(LOGROCKET, user(plan="pro"), user(plan="free"), UserTraits("u2", name="Ada", email="a@b.c"))

    assert {path: numbers(one) for path, one in found.properties.items()} == {
        "traits.plan": {"users": 2, "as_is": 2},
        "name": {"users": 1, "as_is": 1},
        "email": {"users": 1, "as_is": 1},
    }
    assert (found.users, found.sent) == (3, 3)


def test_a_value_counts_in_each_way_in_which_it_is_changed() -> None:
    """A nested number is flattened and coerced, and nothing of it is lost."""
    found = counted(LOGROCKET, user(company={"size": 4, "city": "Köln"}))

    assert numbers(found.properties["traits.company.size"]) == {"users": 1, "lossless": 1, "flattened": 1, "coerced": 1}
    assert numbers(found.properties["traits.company.city"]) == {"users": 1, "lossless": 1, "flattened": 1}


def test_losses_are_told_apart() -> None:
    """A text that is cut, and a name that is mended."""
    found = counted(ADAPTING[1], user(bio="b" * 2000))
    other = counted(ADAPTING[0], user(**{"sign-up": "x"}))

    assert numbers(found.properties["traits.bio"]) == {"users": 1, "lossy": 1, "truncated": 1}
    assert numbers(other.properties["traits.sign-up"]) == {"users": 1, "lossy": 1, "renamed": 1}
    assert other.sent_names == {"sign_up"}


def test_one_refused_property_holds_the_others_back() -> None:
    """The user is not sent at all."""
    found = counted(LOGROCKET, user(bio="b" * 2000, plan="pro"))

    assert numbers(found.properties["traits.bio"]) == {"users": 1, "rejected": 1}
    assert numbers(found.properties["traits.plan"]) == {"users": 1, "held_back": 1}
    assert (found.users, found.rejected, found.sent) == (1, 1, 0)


def test_an_object_that_is_dropped_takes_all_that_is_in_it_along() -> None:
    """It is larger than one property's value may be."""
    found = counted(ADAPTING[0], user(company={"a": "x" * 5000, "b": "y" * 5000}))

    assert {path: numbers(one) for path, one in found.properties.items()} == {
        path: {"users": 1, "lossy": 1, "dropped": 1} for path in ("traits.company.a", "traits.company.b")
    }
    assert found.sent_names == set()


def test_a_list_is_one_property_however_long_it_is() -> None:
    """What is done to its items is done to it."""
    from datetime import date  # noqa: PLC0415

    found = counted(FULLSTORY, user(days=[date(2026, 11, 21), date(2026, 11, 22)]), user(tags=["a", 1]))

    assert numbers(found.properties["traits.days"]) == {"users": 1, "lossless": 1, "coerced": 1}
    assert numbers(found.properties["traits.tags"]) == {"users": 1, "rejected": 1}


def test_collisions_are_counted_by_property() -> None:
    """Two names that become one."""
    found = counted(ADAPTING[0], user(**{"a-b": 1.5, "a_b": 2.5}))

    assert dict(found.collisions) == {"traits.a_b": 1}


def test_a_route_may_make_the_collision() -> None:
    """By renaming one trait to another."""
    found = counted(Route(FULLSTORY.backend, rename={"a": "b"}), user(a="x", b="y"))

    assert (found.rejected, list(found.collisions)) == (1, ["traits.b"])


def test_unique_names_are_those_that_are_sent() -> None:
    """Nested ones one by one, under the names of their mended parents."""
    found = counted(ADAPTING[0], user(**{"my company": {"size": 4.5, "the city": "x"}, "plan": "a"}))

    assert found.sent_names == {"my_company.size", "my_company.the_city", "plan"}
    assert found.unique_names == 3
    assert found.max_unique_names is not None
    assert found.max_unique_names.maximum == 500


def test_nobody_is_sent_of_whom_there_is_nothing_to_send() -> None:
    """Neither is one whom a route keeps away."""
    found = counted(LOGROCKET, UserTraits("u1"))
    kept = counted(Route(LOGROCKET.backend, when=lambda _: False), user(plan="pro"))

    assert (found.users, found.skipped, found.properties) == (1, 1, {})
    assert (kept.users, kept.skipped, kept.properties) == (1, 1, {})


def test_a_bug_of_an_adapter_is_counted() -> None:
    """And what becomes of the user elsewhere is counted all the same."""

    def fail(_: UserTraits) -> bool:
        raise RuntimeError

    fidelity = Fidelity([Route(LOGROCKET.backend, when=fail), FULLSTORY])
    fidelity.add(user(plan="pro"))

    assert (fidelity.backends["logrocket"].broken, fidelity.backends["fullstory"].sent) == (1, 1)


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users bring them, so there is no end to them."""
    monkeypatch.setattr("replay_identity.migration.fidelity.MAX_PATHS", 3)
    monkeypatch.setattr("replay_identity.migration.fidelity._MAX_PATTERNS", 2)

    found = counted(LOGROCKET, *(user(**{f"t{number}": "x"}) for number in range(9)))

    assert numbers(found.properties["…other"]) == {"users": 6, "as_is": 6}
    assert (len(found.properties), found.unique_names) == (4, 3)


def test_a_count_knows_no_vendor_that_it_has_no_route_to() -> None:
    """What was stored of another is left out."""
    both = Fidelity([FULLSTORY, LOGROCKET])
    both.add(user(plan="pro"))

    assert Fidelity.from_dict(both.as_dict(), [FULLSTORY]).as_dict() == {
        "fullstory": both.as_dict()["fullstory"],
    }
    assert Fidelity.from_dict({}, [FULLSTORY]).backends["fullstory"].users == 0


@settings(max_examples=examples(200))
@given(st.lists(user_traits(), max_size=4), st.sampled_from([(FULLSTORY, LOGROCKET), ADAPTING]))
def test_the_numbers_add_up(some: list[UserTraits], routes: tuple[Route, ...]) -> None:
    """Every user and every value has one fate, and each way of changing it is told."""
    fidelity = Fidelity(routes)
    for one in some:
        fidelity.add(one)

    for found in fidelity.backends.values():
        assert found.users == len(some)
        assert found.users == found.sent + found.rejected + found.skipped + found.broken
        for counts in found.properties.values():
            fates = counts.as_is, counts.lossless, counts.lossy, counts.rejected, counts.held_back
            assert counts.users == sum(fates)
            assert counts.lossy <= sum(getattr(counts, kind) for kind in LOSSY_KINDS)


@example([user(plan="pro")], [user(**{"a-b": 1.5, "a_b": 2.5})])
@given(st.lists(user_traits(), max_size=3), st.lists(user_traits(), max_size=3))
def test_two_counts_are_merged_and_stored_without_a_loss(some: list[UserTraits], more: list[UserTraits]) -> None:
    """A run that goes on counts on."""
    whole, first, second = (Fidelity(ADAPTING) for _ in range(3))
    for one in some:
        whole.add(one)
        first.add(one)
    for one in more:
        whole.add(one)
        second.add(one)

    resumed = Fidelity.from_dict(orjson.loads(orjson.dumps(first.as_dict())), ADAPTING)
    resumed.merge(second)

    assert resumed.as_dict() == whole.as_dict()
