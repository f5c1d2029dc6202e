"""Nothing is called unchanged that differs at the vendor, by whatever names, types and settings it came."""

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from support.in_process import FAST, FULLSTORY_URL, LOGROCKET_URL, World, assert_closed
from support.profiles import examples
from support.users import user
from support.vendor_models import (
    FullstoryModel,
    LogRocketModel,
    RefusedError,
    RouteModel,
    VendorModel,
    is_mapping,
    merged,
)
from support.vendors import FULLSTORY_KEY, LOGROCKET_KEY

from replay_identity import REMOVE, Fullstory, LogRocket, Route, UserTraits
from replay_identity.bulk import DurableRouter, SyncReport, deliver, sync
from replay_identity.emulator import Fault
from replay_identity.ledger import Ledger

DAY: Final = date(2026, 11, 21)
# Longer than the values that LogRocket accepts.
LONG: Final = "l" * 2000


def backend(vendor: str, on_violation: Any = "reject") -> Fullstory | LogRocket:
    """Return the backend for an emulator of a `World`."""
    if vendor == "fullstory":
        return Fullstory(FULLSTORY_KEY, base_url=FULLSTORY_URL, on_violation=on_violation)
    return LogRocket(LOGROCKET_KEY, base_url=LOGROCKET_URL, on_violation=on_violation)


# Three ways to the vendor


def by_sync(world: World, row: UserTraits) -> None:
    """Send a row of a source, which is the whole desired state."""
    report = world.sync([row])
    assert_closed(report)
    assert report.pending == 0


def by_deliver(world: World, row: UserTraits) -> None:
    """Upsert into the ledger, then deliver."""
    world.ledger.upsert([row], [each.name for each in world.backends])
    report = deliver(world.backends, ledger=world.ledger, options=world.options, transport=world.sender)
    assert_closed(report)
    assert report.pending == 0


def by_durable_router(world: World, row: UserTraits) -> None:
    """Identify through an outbox."""
    with DurableRouter(world.backends, ledger=world.ledger, options=world.options, transport=world.sender) as router:
        router.identify(row)
        assert router.flush(30.0)


WAYS: Final[Mapping[str, Callable[[World, UserTraits], None]]] = {
    "sync": by_sync,
    "deliver": by_deliver,
    "durable": by_durable_router,
}
ways = pytest.mark.parametrize("way", WAYS)

MODELS: Final[Mapping[str, type[VendorModel]]] = {"fullstory": FullstoryModel, "logrocket": LogRocketModel}


def assert_never_stale(world: World, vendor: str, rows: Sequence[UserTraits], way: str) -> None:
    """Send *rows* one after the other, and check the vendor after each."""
    model = MODELS[vendor]()
    world.backends = [backend(vendor, "adapt")]
    world.options = {vendor: FAST}
    for row in rows:
        model.send(row, RouteModel(), adapt=True)
        WAYS[way](world, row)
        assert not model.differences(world)


# Two names for one field

ALIASES: dict[str, tuple[str, UserTraits, UserTraits]] = {
    "e-mail": (
        "logrocket",
        UserTraits("u1", email="old@example.com"),
        UserTraits("u1", traits={"email": "new@example.com"}),
    ),
    "name": ("logrocket", UserTraits("u1", name="Ann"), UserTraits("u1", traits={"name": "Bob"})),
    "dotted": ("logrocket", user("u1", a={"x": "old"}), UserTraits("u1", traits={"a.x": "new"})),
    "deeply dotted": (
        "logrocket",
        user("u1", a={"b": {"c": "old"}}),
        UserTraits("u1", traits={"a.b": {"c": "new"}}),
    ),
    "dotted below": ("logrocket", user("u1", a={"b": {"c": "old"}}), user("u1", a={"b.c": "new"})),
    "removed": ("logrocket", user("u1", a={"x": "old"}), UserTraits("u1", traits={"a.x": REMOVE})),
    "blank": ("logrocket", UserTraits("u1", traits={"a.x": "old"}), user("u1", a={"x": ""})),
    "space": ("fullstory", UserTraits("u1", traits={"my plan": "old"}), user("u1", my_plan="new")),
    "dash": ("fullstory", UserTraits("u1", traits={"my-plan": "old"}), UserTraits("u1", traits={"my plan": "new"})),
    "dot": ("fullstory", UserTraits("u1", traits={"a.x": "old"}), user("u1", a_x="new")),
    "nested space": ("fullstory", user("u1", a={"my plan": "old"}), user("u1", a={"my_plan": "new"})),
    "space above": ("fullstory", UserTraits("u1", traits={"my plan": {"x": "old"}}), user("u1", my_plan={"x": "new"})),
}


@ways
@pytest.mark.parametrize("case", ALIASES)
def test_other_name_and_back(world: World, case: str, way: str) -> None:
    """The vendor has the newest value, under whichever of the names it came."""
    vendor, old, new = ALIASES[case]

    assert_never_stale(world, vendor, [old, new, old, new, new, old], way)


# One name, several types

TYPES: dict[str, tuple[UserTraits, UserTraits]] = {
    "int and real": (user("u1", n=1), user("u1", n=1.0)),
    "int and text": (user("u1", n=1), user("u1", n="1")),
    "bool and text": (user("u1", n=True), user("u1", n="true")),
    "bool and int": (user("u1", n=True), user("u1", n=1)),
    "date and text": (user("u1", n=DAY), user("u1", n="2026-11-21")),
    "nested date and text": (user("u1", a={"n": DAY}), user("u1", a={"n": "2026-11-21"})),
    "nested int and real": (user("u1", a={"n": 1, "m": 1}), user("u1", a={"n": 1.0, "m": 1})),
}


@ways
@pytest.mark.parametrize("vendor", MODELS)
@pytest.mark.parametrize("case", TYPES)
def test_other_type_and_back(world: World, case: str, vendor: str, way: str) -> None:
    """The vendor has the newest type, even where the JSON of the value is the same."""
    one, other = TYPES[case]

    assert_never_stale(world, vendor, [one, other, one, other], way)


@ways
def test_declared_type_and_back(world: World, way: str) -> None:
    """A type that the user declares is sent when it changes, although the value does not."""
    plain = UserTraits("u1", traits={"since": "2026-11-21"})
    declared = attrs.evolve(plain, types={"since": "date"})
    world.backends, world.options = [backend("fullstory")], {"fullstory": FAST}

    for row in (plain, declared, plain, declared):
        WAYS[way](world, row)

    history: Any = world.fullstory.history("u1")
    schemas: list[Any] = [payload.get("schema", {}).get("properties", {}) for payload in history]
    # An app without a type merges into the declared one only while the user is pending.
    assert schemas == [{}, {"since": "date"}, {}, {"since": "date"}]


SAME: dict[str, tuple[UserTraits, UserTraits]] = {
    "int and text": (user("u1", n=1), user("u1", n="1")),
    "date and text": (user("u1", n=DAY), user("u1", n="2026-11-21")),
    "nested and dotted": (user("u1", a={"x": "1"}), UserTraits("u1", traits={"a.x": "1"})),
    "e-mail": (UserTraits("u1", email="a@example.com"), UserTraits("u1", traits={"email": "a@example.com"})),
    "removed and blank": (user("u1", n=REMOVE), user("u1", n="")),
    "order": (user("u1", a="1", b="2"), user("u1", b="2", a="1")),
}


@ways
@pytest.mark.parametrize("case", SAME)
def test_same_fields_send_nothing(world: World, case: str, way: str) -> None:
    """What LogRocket would store as the same strings is not sent again."""
    one, other = SAME[case]
    world.backends, world.options = [backend("logrocket")], {"logrocket": FAST}

    for row in (one, other, one):
        WAYS[way](world, row)

    assert len(world.logrocket.requests) == 1


# Partial updates


@ways
@pytest.mark.parametrize("vendor", MODELS)
def test_alternating_updates_send_nothing(world: World, vendor: str, way: str) -> None:
    """Rows with one half of the fields each send nothing once both halves are confirmed."""
    plan = UserTraits("u1", name="Ann", traits={"plan": "pro", "company": {"size": 5}})
    seats = UserTraits("u1", email="ann@example.com", traits={"seats": 3})
    world.backends, world.options = [backend(vendor)], {vendor: FAST}
    WAYS[way](world, plan)
    WAYS[way](world, seats)
    before = world.logrocket_line.count + world.fullstory_line.count

    for row in (plan, seats, plan, seats):
        WAYS[way](world, row)

    assert world.logrocket_line.count + world.fullstory_line.count == before


@ways
def test_only_what_differs_is_sent(world: World, way: str) -> None:
    """LogRocket gets the changed field alone."""
    world.backends, world.options = [backend("logrocket")], {"logrocket": FAST}

    for plan in ("pro", "free"):
        WAYS[way](world, UserTraits("u1", name="Ann", traits={"plan": plan, "seats": 3}))

    assert world.logrocket.history("u1")[-1] == {"traits": {"plan": "free"}}


# Settings that change between runs


def outcome_of(world: World, route: Fullstory | LogRocket | Route, row: UserTraits) -> str:
    """Sync *row* alone, and return how it was counted."""
    world.backends, world.options = [route], {route.name: FAST}
    report = world.sync([row])
    assert_closed(report)
    counts = report.backends[0].as_dict()
    (found,) = [name for name in ("accepted", "unchanged", "rejected", "pending") if counts[name]]
    return found


def test_stricter_policy_rejects_what_was_adapted(world: World) -> None:
    """A row that was accepted with a loss is not called unchanged by a run that rejects losses."""
    row = UserTraits("u1", traits={"my plan": "pro"})

    outcomes = [outcome_of(world, backend("fullstory", policy), row) for policy in ("adapt", "reject", "adapt")]

    assert outcomes[:2] == ["accepted", "rejected"]
    assert outcomes[2] in {"accepted", "unchanged"}


def test_milder_policy_sends_what_was_rejected(world: World) -> None:
    """A rejected user is sent as soon as the policy allows it."""
    row = user("u1", note=LONG)

    outcomes = [outcome_of(world, backend("logrocket", policy), row) for policy in ("reject", "adapt", "adapt")]

    assert outcomes[:2] == ["rejected", "accepted"]
    assert world.traits("u1") == {"note": LONG[:1024]}


def test_wider_route_sends_what_was_excluded(world: World) -> None:
    """A trait that a route kept back arrives without `--resend`."""
    row = UserTraits("u1", email="a@example.com", traits={"plan": "pro", "seats": "3"})
    inner = backend("logrocket")

    outcomes = [
        outcome_of(world, route, row)
        for route in (Route(inner, only={"plan"}), Route(inner, exclude={"email"}), inner, Route(inner, only={"plan"}))
    ]

    assert outcomes == ["accepted", "accepted", "accepted", "unchanged"]
    assert world.traits("u1") == {"plan": "pro", "seats": "3"}
    assert world.logrocket.users["u1"].email == "a@example.com"


@pytest.mark.parametrize("vendor", MODELS)
def test_renaming_route_and_back(world: World, vendor: str) -> None:
    """A field that a route filled from another trait gets its own value back."""
    inner = backend(vendor)
    renaming = Route(inner, exclude={"plan"}, rename={"role": "plan"})
    row = user("u1", plan="pro", role="admin")
    plans: list[str] = []

    for route in (inner, renaming, inner, renaming, renaming):
        outcome_of(world, route, row)
        stored = world.traits("u1") or world.properties("u1") or {}
        plans.append(stored["plan"])

    assert plans == ["pro", "admin", "pro", "admin", "admin"]


class Short(LogRocket):
    """A LogRocket backend that cuts plans to the length that its subclass sets."""

    length: ClassVar[int] = 100

    def plan(self, row: UserTraits, /, **options: Any) -> Any:
        """Plan a user whose plan is cut."""
        traits = {name: str(value)[: self.length] for name, value in row.traits.items()}
        return super().plan(attrs.evolve(row, traits=traits), **options)


class Shorter(Short):
    """The same with another limit."""

    LIMITS = attrs.evolve(LogRocket.LIMITS)
    length = 2


def test_other_limits_and_back(world: World) -> None:
    """A changed limit is a change, though the row is the same."""
    row = user("u1", plan="enterprise")
    plans: list[str] = []

    for kind in (Short, Shorter, Short, Shorter):
        outcome_of(world, kind(LOGROCKET_KEY, base_url=LOGROCKET_URL), row)
        plans.append((world.traits("u1") or {})["plan"])

    assert plans == ["enterprise", "en", "enterprise", "en"]


def test_changed_setting_without_effect_sends_nothing(world: World) -> None:
    """A user whose fields are the same under the new settings is not sent again."""
    row = user("u1", plan="pro")
    inner = backend("logrocket")

    outcomes = [
        outcome_of(world, route, row)
        for route in (inner, backend("logrocket", "adapt"), Route(inner, exclude={"role"}), inner)
    ]

    assert outcomes == ["accepted", "unchanged", "unchanged", "unchanged"]
    assert len(world.logrocket.requests) == 1


def test_lost_response_then_back(world: World) -> None:
    """What was sent without an answer is not taken for what was confirmed before."""
    world.backends, world.options = [backend("logrocket")], {"logrocket": FAST}
    by_sync(world, user("u1", plan="old"))
    world.logrocket.faults.add(Fault(drop="after"))
    world.sync_until(1, [user("u1", plan="new")])

    by_sync(world, user("u1", plan="old"))

    assert world.traits("u1") == {"plan": "old"}


def test_two_names_while_pending_are_on_record(world: World) -> None:
    """A user with two values for one field of LogRocket is rejected, and not called unchanged."""
    world.backends, world.options = [backend("logrocket")], {"logrocket": FAST}
    old, new = UserTraits("u1", email="old@example.com"), UserTraits("u1", traits={"email": "new@example.com"})
    by_sync(world, old)
    world.logrocket.faults.add(Fault(drop="after"))
    world.sync_until(1, [new])

    report = world.sync([old])["logrocket"]

    is_rejected = report.rejected == 1 and report.pending == 0
    assert is_rejected or world.logrocket.users["u1"].email == "old@example.com"


# The law

ROUTES: Final = [
    RouteModel(),
    RouteModel(),
    RouteModel(exclude=frozenset({"plan"})),
    RouteModel(only=frozenset({"plan", "a", "my plan"})),
    RouteModel(exclude=frozenset({"email"})),
    RouteModel(rename=(("plan", "my_plan"),)),
    RouteModel(exclude=frozenset({"plan"}), rename=(("my_plan", "plan"),)),
]
TEXTS: Final = st.sampled_from(["old", "new", "1", "true", "2026-11-21"])
VALUES: Final = st.one_of(TEXTS, st.sampled_from([1, 1.0, True, DAY, LONG]))
NAMES: Final = ["plan", "my plan", "my_plan", "my-plan", "a.x", "a_x"]


def users_of(values: st.SearchStrategy[Any], whole: st.SearchStrategy[Any]) -> st.SearchStrategy[UserTraits]:
    """Return a strategy for users with a few traits; *whole* is drawn for a nested trait as a whole."""
    # A name has either a value or further names below it: vendors disagree about both.
    below = st.dictionaries(st.just("z"), values, max_size=1)
    nested = st.fixed_dictionaries({}, optional={"x": values, "y": below | whole})
    traits = st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(NAMES, values),
            "email": TEXTS,
            "name": TEXTS,
            "a": nested | whole,
        },
    ).map(lambda drawn: dict(list(drawn.items())[:3]))
    traits = traits.filter(lambda drawn: not contradicts_itself(drawn))
    return st.builds(
        UserTraits,
        st.sampled_from(["u1", "u2"]),
        name=st.none() | TEXTS,
        email=st.none() | TEXTS,
        traits=traits,
    )


def contradicts_itself(traits: Mapping[str, Any]) -> bool:
    """Return True if *traits* remove a nested trait and set a part of it."""
    return traits.get("a") is REMOVE and "a.x" in traits


def without_removals(traits: Mapping[str, Any]) -> dict[str, Any]:
    """Return *traits* without those to remove."""
    return {
        name: without_removals(value) if is_mapping(value) else value
        for name, value in traits.items()
        if value is not REMOVE
    }


class Law(RuleBasedStateMachine):
    """After each delivery the vendor holds, for every field, the value of the newest upsert that named it."""

    vendor: ClassVar[str]
    rows: ClassVar[st.SearchStrategy[UserTraits]]

    @initialize()
    def start(self) -> None:
        """Start with an empty vendor and an empty ledger."""
        self.folder = tempfile.TemporaryDirectory(prefix="replay-identity-law-")
        self.world = World(Path(self.folder.name) / "ledger.db", options={self.vendor: FAST})
        self.model = MODELS[self.vendor]()
        # The ledger keeps the traits of a rejected user, and merges newer ones into them unless these come from a row.
        self.rejected: set[str] = set()
        self.change_settings(RouteModel(), adapt=False)

    @rule(route=st.sampled_from(ROUTES), adapt=st.booleans())
    def change_settings(self, route: RouteModel, *, adapt: bool) -> None:
        """Change the route and the policy; what was sent before stays as it is."""
        self.route, self.adapt = route, adapt
        inner = backend(self.vendor, "adapt" if adapt else "reject")
        self.world.backends = [
            Route(inner, only=route.only, exclude=route.exclude, rename=dict(route.rename))
            if route != RouteModel()
            else inner
        ]

    @rule(data=st.data(), way=st.sampled_from([*WAYS]))
    def send(self, data: st.DataObject, way: str) -> None:
        """Send one user."""
        row = data.draw(self.rows)
        if self.is_refused(row):
            row = attrs.evolve(row, traits=without_removals(row.traits))
        if row.user_id in self.rejected:
            way = "sync"

        WAYS[way](self.world, row)

        self.apply(row)
        assert not self.model.differences(self.world)

    @rule(data=st.data())
    def coalesce(self, data: st.DataObject) -> None:
        """Upsert one user twice before a delivery."""
        first, second = data.draw(self.rows), data.draw(self.rows)
        second = attrs.evolve(second, user_id=first.user_id)
        both = merge(first, second)
        if first.user_id in self.rejected or any(self.is_refused(each) for each in (first, second, both)):
            return
        self.world.ledger.upsert([first], [self.vendor])

        by_deliver(self.world, second)

        self.apply(first)
        self.apply(second)
        assert not self.model.differences(self.world)

    @rule(data=st.data())
    def lose_the_response(self, data: st.DataObject) -> None:
        """Sync one user whose response is lost, and then another state of the same user."""
        first, second = data.draw(self.rows), data.draw(self.rows)
        if first.user_id in self.rejected or self.is_refused(second):
            return
        first = attrs.evolve(first, traits=without_removals(first.traits))
        second = attrs.evolve(second, user_id=first.user_id)
        # Two names for one field are a collision while both are pending.
        if self.is_refused(merge(first, second)) and not self.is_refused(first):
            return
        emulator = self.world.fullstory if self.vendor == "fullstory" else self.world.logrocket
        emulator.faults.add(Fault(drop="after", method="PUT" if self.vendor == "logrocket" else "POST"))
        self.world.sync_until(1, [first])
        emulator.faults.clear()

        by_sync(self.world, second)

        self.apply(first)
        self.apply(second)
        assert not self.model.differences(self.world)

    @rule()
    def restart(self) -> None:
        """Open the ledger again, as a new process does."""
        self.world.restart()

    def is_refused(self, row: UserTraits) -> bool:
        """Return True if the vendor or a limit would reject *row*, or if it contradicts itself."""
        if contradicts_itself(row.traits):
            return True
        try:
            MODELS[self.vendor]().send(row, self.route, adapt=self.adapt)
        except RefusedError:
            return True
        return False

    def apply(self, row: UserTraits) -> None:
        """Apply *row* to the model."""
        user_id = row.user_id or ""
        self.rejected.discard(user_id)
        try:
            self.model.send(row, self.route, adapt=self.adapt)
        except RefusedError:
            self.rejected.add(user_id)

    def teardown(self) -> None:
        """Close the ledger."""
        if hasattr(self, "world"):
            self.world.close()
            self.folder.cleanup()


def merge(first: UserTraits, second: UserTraits) -> UserTraits:
    """Return *first* updated with *second*."""
    return UserTraits(
        first.user_id,
        name=second.name or first.name,
        email=second.email or first.email,
        traits=merged(first.traits, second.traits),
    )


SETTINGS: Final[dict[str, tuple[Callable[[], Any], Callable[[], Any], dict[str, Any]]]] = {
    "another route": (
        lambda: backend("fullstory"),
        lambda: Route(backend("fullstory"), rename={"plan": "tier"}),
        {"plan": "pro", "tier": "pro", "seats": 3},
    ),
    "another policy": (
        lambda: Route(backend("fullstory"), exclude={"seats"}),
        lambda: backend("fullstory", "adapt"),
        {"plan": "pro", "seats": 3},
    ),
}


@pytest.mark.parametrize("change", SETTINGS)
def test_settings_that_change_during_a_job_are_applied(world: World, change: str) -> None:
    """The job of the older settings ends after the same user was upserted with the newer ones."""
    before, after, expected = SETTINGS[change]
    world.options = {"fullstory": attrs.evolve(FAST, patience=0.02)}
    world.fullstory.faults.add(Fault(status=503, times=None, method="GET"))
    world.backends = [before()]
    assert world.sync([user("u0", plan="pro", seats=3)]).pending == 1
    world.fullstory.faults.clear()
    world.backends = [after()]

    report = world.sync([user("u0", plan="pro", seats=3)])["fullstory"]

    assert_closed(world.sync())
    assert (report.pending, report.rejected) == (0, 0)
    assert world.properties("u0") == expected


def test_halves_of_a_batch_have_its_settings(world: World) -> None:
    """A batch of older settings that was never accepted is split, and its users get what the newer ones send."""
    rows = [user(f"u{number}", plan="pro", seats=3) for number in range(2)]
    world.options = {"fullstory": attrs.evolve(FAST, patience=0.02)}
    world.fullstory.faults.add(Fault(drop="before", times=None, method="POST"))
    world.backends = [Route(backend("fullstory"), only={"plan"})]
    assert world.sync(rows).pending == 2
    world.fullstory.faults.clear()
    world.fullstory.faults.add(Fault(status=413, method="POST"))
    world.backends = [backend("fullstory")]

    report = world.sync(rows)["fullstory"]

    assert (report.pending, report.rejected) == (0, 0)
    assert [world.properties(f"u{number}") for number in range(2)] == [{"plan": "pro", "seats": 3}] * 2


def test_a_run_with_older_settings_leaves_the_rest(world: World) -> None:
    """A run that holds the lease ends once another one has begun with other settings, which sends what it left."""
    world.backends, world.options = [Route(backend("logrocket"), only={"plan"})], {"logrocket": FAST}
    started, reports = threading.Event(), list[SyncReport]()

    def rows() -> Iterator[UserTraits]:
        yield user("u0", plan="pro", seats=3)
        started.set()
        newer.join()

    def sync_newer() -> None:
        started.wait()
        with Ledger(world.path) as ledger:
            options: dict[str, Any] = {"ledger": ledger, "options": world.options, "transport": world.sender}
            reports.append(sync([user("u1", plan="pro", seats=3)], [backend("logrocket")], **options))

    newer = threading.Thread(target=sync_newer)
    newer.start()
    older = world.sync(rows())

    for report in (older, *reports):
        assert_closed(report)
        assert report.rejected == 0
    assert reports[0].pending == 0
    assert world.traits("u1") == {"plan": "pro", "seats": "3"}


def losses(world: World) -> list[str]:
    """Return the paths of all that is on record as lost."""
    return [loss.path for each in world.ledger.losses("logrocket") for loss in each]


def test_a_loss_of_a_renamed_trait_ends_with_it(world: World) -> None:
    """The record has the name that the backend received, and the next value is whole."""
    world.backends = [Route(backend("logrocket", "adapt"), rename={"plan": "tier"})]
    world.options = {"logrocket": FAST}
    world.sync([user("u0", plan=LONG)])
    assert losses(world) == ["traits.tier"]

    world.sync([user("u0", plan="pro")])

    assert losses(world) == []


def test_a_loss_stays_while_a_route_hides_its_trait(world: World) -> None:
    """What the route does not send changes nothing at the vendor."""
    world.backends = [Route(backend("logrocket", "adapt"), rename={"plan": "tier"}, exclude={"tier"})]
    world.options = {"logrocket": FAST}
    world.sync([user("u0", plan=LONG)])

    world.sync([user("u0", tier="pro", seats=3)])
    assert losses(world) == ["traits.tier"]
    world.backends = [Route(backend("logrocket", "adapt"), when=lambda _: False)]
    world.sync([user("u0", tier="pro")])

    assert losses(world) == ["traits.tier"]


def test_a_loss_below_a_trait_stays_beside_another_part(world: World) -> None:
    """LogRocket keeps a leaf that the newer value of the nested trait does not have; a removal ends it."""
    world.backends, world.options = [backend("logrocket", "adapt")], {"logrocket": FAST}
    world.sync([user("u0", a={"x": LONG})])

    world.sync([user("u0", a={"y": "1"})])
    assert losses(world) == ["traits.a.x"]
    world.sync([user("u0", a=REMOVE)])

    assert losses(world) == []


class FullstoryLaw(Law):
    """The law at Fullstory, where properties cannot be removed."""

    vendor = "fullstory"
    rows = users_of(VALUES, st.nothing())


class LogRocketLaw(Law):
    """The law at LogRocket."""

    vendor = "logrocket"
    rows = users_of(VALUES | st.just(REMOVE), st.just(REMOVE))


PROFILE: Final = settings(
    max_examples=examples(120),
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    # Shrinking takes minutes, since each step writes to a disk.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
TestFullstoryLaw = pytest.mark.slow(FullstoryLaw.TestCase)
TestFullstoryLaw.settings = PROFILE
TestLogRocketLaw = pytest.mark.slow(LogRocketLaw.TestCase)
TestLogRocketLaw.settings = PROFILE
