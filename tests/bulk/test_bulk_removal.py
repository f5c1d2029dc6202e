"""A removed nested trait is gone at a vendor of flat names, with everything that was ever sent below it."""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.in_process import FAST, FULLSTORY_URL, LOGROCKET_URL, World, assert_closed
from support.profiles import examples
from support.users import user
from support.vendors import FULLSTORY_KEY, LOGROCKET_KEY

from replay_identity import REMOVE, Fullstory, LogRocket, Route, UserTraits
from replay_identity.bulk import DurableRouter, deliver
from replay_identity.emulator import Fault

LOGROCKET: Final = LogRocket(LOGROCKET_KEY, base_url=LOGROCKET_URL)


@pytest.fixture
def world(world: World) -> World:
    """Return a world with LogRocket alone."""
    world.backends, world.options = [LOGROCKET], {"logrocket": FAST}
    return world


def by_sync(world: World, *rows: UserTraits) -> None:
    """Sync *rows*."""
    report = world.sync(rows)
    assert_closed(report)
    assert report.pending == 0
    assert report.rejected == 0


def by_deliver(world: World, *rows: UserTraits) -> None:
    """Upsert *rows* one by one into the ledger, then deliver."""
    for row in rows:
        world.ledger.upsert([row], ["logrocket"])
    report = deliver(world.backends, ledger=world.ledger, options=world.options, transport=world.sender)
    assert_closed(report)
    assert report.pending == 0
    assert report.rejected == 0


def by_durable_router(world: World, *rows: UserTraits) -> None:
    """Identify each of *rows* through an outbox."""
    with DurableRouter(world.backends, ledger=world.ledger, options=world.options, transport=world.sender) as router:
        for row in rows:
            router.identify(row)
        assert router.flush(30.0)


WAYS: Final[Mapping[str, Callable[..., None]]] = {
    "sync": by_sync,
    "deliver": by_deliver,
    "durable": by_durable_router,
}
ways = pytest.mark.parametrize("way", WAYS)


def dotted(path: str, value: Any) -> UserTraits:
    """Return an update of one trait under a dotted name."""
    return UserTraits("u1", traits={path: value})


# Deliveries, each of one or more upserts, and what LogRocket has after the last one.
CASES: dict[str, tuple[list[list[UserTraits]], dict[str, str]]] = {
    "one level": ([[user("u1", a={"x": "1", "y": "2"}, b="3")], [user("u1", a=REMOVE)]], {"b": "3"}),
    "three levels": (
        [[user("u1", a={"b": {"c": {"d": "1", "e": "2"}}, "f": "3"})], [user("u1", a=REMOVE)]],
        {},
    ),
    "a branch": (
        [[user("u1", a={"b": {"c": "1", "d": "2"}, "e": "3"})], [user("u1", a={"b": REMOVE})]],
        {"a.e": "3"},
    ),
    "a leaf": ([[user("u1", a={"b": {"c": "1", "d": "2"}})], [user("u1", a={"b": {"c": REMOVE}})]], {"a.b.d": "2"}),
    "leaves of several deliveries": (
        [
            [user("u1", a={"x": "1"})],
            [user("u1", a={"y": "2"})],
            [user("u1", a={"z": {"q": "3"}})],
            [user("u1", a=REMOVE)],
        ],
        {},
    ),
    "dotted names": ([[UserTraits("u1", traits={"a.x": "1", "a": {"y": "2"}})], [user("u1", a=REMOVE)]], {}),
    "a dotted name removes what is nested": (
        [[user("u1", a={"b": {"c": "1"}, "d": "2"})], [UserTraits("u1", traits={"a.b": REMOVE})]],
        {"a.d": "2"},
    ),
    "a name that only starts the same": (
        [[UserTraits("u1", traits={"a": {"x": "1"}, "ab": "2", "a_": {"x": "3"}})], [user("u1", a=REMOVE)]],
        {"ab": "2", "a_.x": "3"},
    ),
    "a value and what is nested below it": (
        [[user("u1", a={"x": "1"})], [user("u1", a="2")], [user("u1", a=REMOVE)]],
        {},
    ),
    "and again": (
        [[user("u1", a={"x": "1", "y": "2"})], [user("u1", a=REMOVE)], [user("u1", a={"x": "1"})]],
        {"a.x": "1"},
    ),
    "and again, twice": (
        [
            [user("u1", a={"x": "1"})],
            [user("u1", a=REMOVE)],
            [user("u1", a={"x": "1"})],
            [user("u1", a=REMOVE)],
        ],
        {},
    ),
    "nothing to remove": ([[user("u1", b="1")], [user("u1", a=REMOVE)]], {"b": "1"}),
    "coalesced with a later value": (
        [[user("u1", a={"x": "1", "y": "2"})], [user("u1", a=REMOVE), user("u1", a={"x": "5"})]],
        {"a.x": "5"},
    ),
    "coalesced with the same value": (
        [[user("u1", a={"x": "1", "y": "2"})], [user("u1", a=REMOVE), user("u1", a={"x": "1"})]],
        {"a.x": "1"},
    ),
    "coalesced with several later values": (
        [
            [user("u1", a={"x": "1", "y": "2", "z": {"q": "3"}})],
            [user("u1", a=REMOVE), user("u1", a={"x": "5"}), user("u1", a={"z": {"r": "6"}})],
        ],
        {"a.x": "5", "a.z.r": "6"},
    ),
    "coalesced below": (
        [
            [user("u1", a={"b": {"c": "1", "d": "2"}, "e": "3"})],
            [user("u1", a={"b": REMOVE}), user("u1", a={"b": {"c": "4"}})],
        ],
        {"a.b.c": "4", "a.e": "3"},
    ),
    "removed, set and removed": (
        [
            [user("u1", a={"x": "1", "y": "2"})],
            [user("u1", a=REMOVE), user("u1", a={"x": "5"}), user("u1", a=REMOVE)],
        ],
        {},
    ),
    "removed, set and a part removed": (
        [
            [user("u1", a={"x": "1", "y": "2"})],
            [user("u1", a=REMOVE), user("u1", a={"x": "5", "z": "6"}), user("u1", a={"x": REMOVE})],
        ],
        {"a.z": "6"},
    ),
    "set before the removal": (
        [[user("u1", a={"x": "1"})], [user("u1", a={"y": "2"}), user("u1", a=REMOVE)]],
        {},
    ),
    "never delivered before": (
        [[user("u1", a={"x": "1", "y": "2"}), user("u1", a=REMOVE), user("u1", b="3")]],
        {"b": "3"},
    ),
    "coalesced, and a delivery later": (
        [
            [user("u1", a={"x": "1", "y": "2"})],
            [user("u1", a=REMOVE), user("u1", a={"x": "5"})],
            [user("u1", a={"y": "7"})],
            [user("u1", a=REMOVE)],
        ],
        {},
    ),
    "replaced by a value": (
        [[user("u1", a={"x": "1"})], [user("u1", a=REMOVE), user("u1", a="5")]],
        {"a": "5"},
    ),
    "a value replaced by nested traits": (
        [[user("u1", a="5")], [user("u1", a=REMOVE), user("u1", a={"x": "1"})]],
        {"a.x": "1"},
    ),
    "a dotted name before the removal": ([[dotted("a.x", "1"), user("u1", a=REMOVE)]], {}),
    "a dotted name after the removal": ([[user("u1", a=REMOVE), dotted("a.x", "1")]], {"a.x": "1"}),
    "a dotted name before and after": (
        [[dotted("a.x", "1"), user("u1", a=REMOVE), dotted("a.x", "2")]],
        {"a.x": "2"},
    ),
    "a dotted name between two removals": (
        [[dotted("a.x", "1")], [user("u1", a=REMOVE), dotted("a.x", "2"), user("u1", a=REMOVE)]],
        {},
    ),
    "a dotted name below a nested removal": (
        [[user("u1", a={"k": "1"}), dotted("a.b.c", "2"), user("u1", a={"b": REMOVE})]],
        {"a.k": "1"},
    ),
    "nested traits removed by a dotted name": (
        [[user("u1", a={"b": {"c": "1"}, "d": "2"}), dotted("a.b", REMOVE), user("u1", a={"e": "3"})]],
        {"a.d": "2", "a.e": "3"},
    ),
}


@ways
@pytest.mark.parametrize("case", CASES)
def test_removal_leaves_nothing_below(world: World, case: str, way: str) -> None:
    """Only what was upserted after the removal is left."""
    deliveries, expected = CASES[case]

    for rows in deliveries:
        WAYS[way](world, *rows)

    assert world.traits("u1") == expected


# The paths that are set, each in one spelling: a vendor of flat names rejects a user who has both.
NESTED: Final = ("a.x", "a.b.c", "a.b.d", "d.x")
DOTTED: Final = ("a.k", "a.b.e", "d.y.z")
# A removal may be spelled either way.
PARENTS: Final = ("a", "a.b", "d", "d.y")

updates = st.one_of(
    st.tuples(st.sampled_from(NESTED), st.sampled_from(["1", "2", "3"])).map(lambda update: (*update, True)),
    st.tuples(st.sampled_from(DOTTED), st.sampled_from(["1", "2", "3"])).map(lambda update: (*update, False)),
    st.tuples(st.sampled_from(PARENTS), st.just(REMOVE), st.booleans()),
)


def update_of(path: str, value: Any, is_nested: bool) -> UserTraits:  # noqa: FBT001  # As drawn.
    """Return an update of one trait."""
    if not is_nested:
        return dotted(path, value)
    for name in reversed(path.split(".")):
        value = {name: value}
    return UserTraits("u1", traits=value)


def apply(flat: dict[str, str], path: str, value: object) -> None:
    """Apply an update to the traits of a vendor of flat names."""
    if value is REMOVE:
        for name in [name for name in flat if name == path or name.startswith(f"{path}.")]:
            del flat[name]
    else:
        flat[path] = str(value)


@settings(max_examples=examples(150))
@given(deliveries=st.lists(st.lists(updates, min_size=1, max_size=5), min_size=1, max_size=5))
def test_the_vendor_has_what_was_set_since_each_removal(deliveries: list[list[tuple[str, object, bool]]]) -> None:
    """However updates are spelled, and however many of them one delivery coalesces."""
    expected: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder, closing(World(Path(folder) / "ledger.db")) as world:
        world.backends, world.options = [LOGROCKET], {"logrocket": FAST}
        for rows in deliveries:
            for path, value, _ in rows:
                apply(expected, path, value)
            by_deliver(world, *(update_of(*row) for row in rows))
            assert (world.traits("u1") or {}) == expected


@ways
@pytest.mark.parametrize("case", CASES)
def test_delivered_removal_is_not_sent_again(world: World, case: str, way: str) -> None:
    """Once the removal is confirmed, a later change of another trait is sent alone."""
    deliveries, expected = CASES[case]
    for rows in deliveries:
        WAYS[way](world, *rows)

    WAYS[way](world, user("u1", other="1"))

    assert world.logrocket.history("u1")[-1] == {"traits": {"other": "1"}}
    assert world.traits("u1") == {**expected, "other": "1"}


@ways
def test_confirmed_removal_sends_nothing_again(world: World, way: str) -> None:
    """The leaves are known to be gone."""
    for row in (user("u1", a={"x": "1", "y": "2"}), user("u1", a=REMOVE)):
        WAYS[way](world, row)
    before = len(world.logrocket.requests)

    WAYS[way](world, user("u1", a=REMOVE))

    assert len(world.logrocket.requests) == before


# Leaves in doubt


@ways
@pytest.mark.parametrize("drop", ["after", "before"])
def test_leaf_in_doubt_is_removed(world: World, way: str, drop: Any) -> None:
    """A leaf whose response was lost may be at the vendor, so it is removed as well."""
    WAYS[way](world, user("u1", a={"x": "1"}))
    world.logrocket.faults.add(Fault(drop=drop))
    world.sync_until(1, [user("u1", a={"y": "2"})])

    WAYS[way](world, user("u1", a=REMOVE))

    assert world.traits("u1") == {}


@ways
def test_leaves_never_confirmed_are_removed(world: World, way: str) -> None:
    """The first request about the user, whose response was lost, counts too."""
    world.logrocket.faults.add(Fault(drop="after"))
    world.sync_until(1, [user("u1", a={"x": "1", "y": {"z": "2"}}, b="3")])

    WAYS[way](world, user("u1", a=REMOVE))

    assert world.traits("u1") == {"b": "3"}


@ways
def test_lost_removal_is_sent_again(world: World, way: str) -> None:
    """A removal whose response was lost, coalesced with later values, leaves only these."""
    WAYS[way](world, user("u1", a={"x": "1", "y": "2"}))
    world.logrocket.faults.add(Fault(drop="before"))
    world.sync_until(1, [user("u1", a=REMOVE)])

    WAYS[way](world, user("u1", a={"x": "5"}))

    assert world.traits("u1") == {"a.x": "5"}


@ways
def test_leaf_of_a_crash_is_removed(world: World, way: str) -> None:
    """What a killed process had sent without an answer is removed by the next one."""
    WAYS[way](world, user("u1", a={"x": "1"}))
    world.crash_at(1, world.logrocket_line, applied=True, users=[user("u1", a={"y": "2"})])
    assert world.traits("u1") == {"a.x": "1", "a.y": "2"}

    WAYS[way](world, user("u1", a=REMOVE))

    assert world.traits("u1") == {}


# Routes


@ways
def test_renamed_trait_is_removed_under_its_new_name(world: World, way: str) -> None:
    """The leaves are removed where the route sent them, and a trait of the old name stays."""
    WAYS[way](world, user("u1", company={"size": "1"}))
    world.backends = [Route(LOGROCKET, rename={"company": "employer"})]
    WAYS[way](world, user("u1", company={"size": "2", "city": {"name": "Bonn"}}))

    WAYS[way](world, user("u1", company=REMOVE))

    assert world.traits("u1") == {"company.size": "1"}


@ways
def test_removal_kept_back_by_a_route_removes_nothing(world: World, way: str) -> None:
    """A route that excludes the trait leaves it as it is; without the route the removal arrives."""
    WAYS[way](world, user("u1", a={"x": "1"}, b="2"))
    world.backends = [Route(LOGROCKET, exclude={"a"})]
    WAYS[way](world, user("u1", a=REMOVE, b="3"))
    kept = world.traits("u1")
    world.backends = [LOGROCKET]

    WAYS[way](world, user("u1", a=REMOVE))

    assert (kept, world.traits("u1")) == ({"a.x": "1", "b": "3"}, {"b": "3"})


@ways
def test_route_that_excludes_a_leaf_keeps_it(world: World, way: str) -> None:
    """What the route may not send is not removed either, though the trait above it is."""
    WAYS[way](world, user("u1", a={"x": "1", "y": "2"}))
    world.backends = [Route(LOGROCKET, exclude={"a.x"})]

    WAYS[way](world, user("u1", a=REMOVE))

    assert (world.traits("u1") or {}).get("a.y") is None


# Several users


def last_names(world: World, user_id: str) -> set[str]:
    """Return the names of the traits in the last request about a user."""
    payload: Any = world.logrocket.history(user_id)[-1]
    return set(payload["traits"])


@ways
def test_other_users_keep_their_leaves(world: World, way: str) -> None:
    """The removal concerns one user only, although both have the same names."""
    rows = [user(name, a={"x": "1", name: "2"}) for name in ("u1", "u2")]
    WAYS[way](world, *rows)

    WAYS[way](world, user("u1", a=REMOVE), user("u2", b="3"))

    assert world.traits("u1") == {}
    assert world.traits("u2") == {"a.x": "1", "a.u2": "2", "b": "3"}
    assert last_names(world, "u1") <= {"a", "a.x", "a.u1"}


def test_removal_sends_no_leaf_of_others(world: World) -> None:
    """A blank is sent only for the names that this user may have."""
    by_sync(world, *(user(f"u{number}", a={f"x{number}": "1"}) for number in range(20)))

    by_sync(world, user("u3", a=REMOVE))

    assert last_names(world, "u3") <= {"a", "a.x3"}


def test_removal_of_five_hundred_leaves(world: World) -> None:
    """Many leaves are removed in one request, and other users are not."""
    leaves = {f"x{number}": {"y": str(number)} for number in range(500)}
    by_sync(world, user("u1", a=leaves), user("u2", a=leaves))
    before = len(world.logrocket.requests)

    by_sync(world, user("u1", a=REMOVE))

    assert (world.traits("u1"), len(world.traits("u2") or {})) == ({}, 500)
    assert len(world.logrocket.requests) == before + 1


@pytest.mark.parametrize("again", [{"c.x": "2"}, {"c": {"x": "2"}}], ids=["dotted", "nested"])
def test_a_row_keeps_what_was_set_again(world: World, again: dict[str, Any]) -> None:
    """Another backend rejects the user, so that the removal is still known when the next row comes."""
    by_sync(world, user("u1", c={"x": "1"}))
    world.backends = [LOGROCKET, Fullstory(FULLSTORY_KEY, base_url=FULLSTORY_URL)]
    world.options = {"logrocket": FAST, "fullstory": FAST}
    world.fullstory.faults.add(Fault(status=400, times=None, method="POST"))
    for update in (user("u1", c=REMOVE), UserTraits("u1", traits=again)):
        world.ledger.upsert([update], ["logrocket", "fullstory"])
    assert world.sync()["logrocket"].accepted == 1

    world.sync([user("u1", a="1")])

    assert world.traits("u1") == {"a": "1", "c.x": "2"}


def test_a_route_lets_a_part_of_a_removal_through(world: World) -> None:
    """What the route sends of a removed trait is removed, and nothing else."""
    by_sync(world, user("u1", c={"x": {"y": "1"}, "z": "2"}))
    world.backends = [Route(LOGROCKET, only={"c.x", "c.x.y", "b"})]

    by_sync(world, user("u1", c=REMOVE, d=REMOVE, b="3"))

    assert world.traits("u1") == {"b": "3", "c.z": "2"}


# Fullstory


@pytest.mark.parametrize(("policy", "expected"), [("reject", (0, 0, 1)), ("adapt", (1, 1, 0))])
def test_fullstory_says_that_it_cannot_remove(world: World, policy: Any, expected: tuple[int, int, int]) -> None:
    """A removal is rejected, or recorded as a loss, and never called accepted without one."""
    world.backends = [Fullstory(FULLSTORY_KEY, base_url=FULLSTORY_URL, on_violation=policy)]
    world.options = {"fullstory": FAST}
    world.sync([user("u1", a={"x": "1"}, b="2")])

    report = world.sync([user("u1", a=REMOVE, b="3")])["fullstory"]

    assert (report.accepted, report.stats.lossy, report.rejected) == expected
