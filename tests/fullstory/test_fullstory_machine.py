"""Adapter and emulator against a model of what Fullstory documents: the same users, whatever is called in any order."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from machines import World, differences, mishaps, run_machine, serving

from replay_identity import REMOVE, Accepted, Fullstory, Rejected, Skipped, UserTraits
from replay_identity.adapters.protocols import Comparison, Page, StoredUser
from replay_identity.emulator import FullstoryEmulator
from replay_identity.outcomes import Outcome, lossy_adjustments
from replay_identity.testing import long_texts, texts
from replay_identity.traits import TraitType


class Model:
    """Fullstory, by https://developer.fullstory.com/server/ (users, custom-properties, getting-started; 2026-11-21)."""

    def __init__(self) -> None:
        # By Fullstory's id, which "will remain stable".
        self.users: dict[str, dict[str, Any]] = {}

    def find(self, uid: str | None) -> str | None:
        """Return whom an upsert by that uid updates; without one it makes another anonymous user every time."""
        living = {user["uid"]: key for key, user in self.users.items() if not user["deleted"]}
        return living.get(uid) if uid else None

    def write(self, key: str, own: Mapping[str, Any], properties: Mapping[str, tuple[Any, str]]) -> None:
        """Create the user or merge what is said of them, each property with its type."""
        user = self.users.setdefault(key, {"uid": None, "own": {}, "properties": {}, "types": {}, "deleted": False})
        user["own"].update(own)
        for path, (value, kind) in properties.items():
            # They are merged, and collisions are resolved "by taking the most recent value".
            user["properties"][path] = value
            # No type is refused; "fields that are associated with multiple types" are told as type conflicts.
            user["types"][path] = list(dict.fromkeys([*user["types"].get(path, []), kind]))

    def finish_deletions(self) -> None:
        """Let those be gone who are only being deleted, since that takes a while."""
        self.users = {key: user for key, user in self.users.items() if not user["deleted"]}


# uid and display_name: at most 256 characters; email: 128; the value of a property: 8192 bytes.
MOST: Final = {"uid": 256, "name": 256, "email": 128, "value": 8192}


def _as_given(value: "Value") -> Any:
    return value.given


@attrs.frozen
class Value:
    """A property's value.

    Attributes:
        given: As it is given to the adapter.
        kind: The type that Fullstory should take it for; None where it can hold no such value.
        held: As Fullstory should hold it.
        declared: The type that the caller declares.
    """

    given: Any
    kind: str | None
    held: Any = attrs.field(default=attrs.Factory(_as_given, takes_self=True))
    declared: TraitType | None = None


MOMENT: Final = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
# "Fullstory will infer all Number types in request bodies as a real type", so an int has to be declared.
LOOK_ALIKES: Final = [
    Value("43", "str"),
    Value(43, "int"),
    Value(43, "real", 43.0, declared="real"),
    Value(43.0, "real"),
]
WRITTEN: Final = [
    *LOOK_ALIKES,
    Value("", "str"),
    Value(UUID(int=7), "str", "00000000-0000-0000-0000-000000000007"),
    Value(Decimal("2.50"), "real", 2.5),
    Value(given=True, kind="bool"),
    # "Dates are represented by strings that match the ISO-8601 format."
    Value(MOMENT, "date", "2026-11-21T08:30:00Z"),
    Value(date(2026, 11, 22), "date", "2026-11-22"),
    Value("2026-11-23", "date", declared="date"),
    Value("2026-11-23", "str"),
    Value(["a", ""], "strs"),
    Value([1, 2], "ints"),
    Value([1, 2.5], "reals", [1.0, 2.5]),
    Value([True], "bools"),
    Value([MOMENT], "dates", ["2026-11-21T08:30:00Z"]),
]
# "Properties cannot be deleted via the API."
REMOVAL: Final = Value(REMOVE, None)
IMPOSSIBLE: Final = [
    REMOVAL,
    # What a declared type that does not fit does is not documented; we do not try.
    Value("pro", None, declared="int"),
    Value(2.5, None, declared="int"),
    # The same goes for an int of more than 64 bits, and lists of several types.
    Value(2**63, None),
    Value(["a", 1], None),
]


# For a property that changes its type, mostly to one that looks like the one before.
CHANGES: Final = st.sampled_from([*WRITTEN, *LOOK_ALIKES, *LOOK_ALIKES])


def text_value(text: str) -> Value:
    """Return a text as Fullstory takes it, cut to as many bytes as a value may have."""
    return Value(text, "str", text.encode()[: MOST["value"]].decode(errors="ignore"))


def int_value(number: int) -> Value:
    """Return an int, which Fullstory takes as it is."""
    return Value(number, "int")


SHORT_VALUES: Final = st.one_of(
    st.sampled_from([*WRITTEN, *IMPOSSIBLE]),
    st.integers(-(2**63), 2**63 - 1).map(int_value),
    texts().map(text_value),
)
VALUES: Final = st.one_of(SHORT_VALUES, long_texts(MOST["value"]).map(text_value))
# "Nested" in the schema are dotted paths, and in the properties objects, which are values as a whole, too.
PATHS: Final = {"plan": VALUES, "seats": VALUES, "location.code": SHORT_VALUES}
UIDS: Final = ["u1", "a/b&c=d ", "é" * 256]
LONG_UID: Final = "u" * 257
# Seconds; no example takes as long.
DELETION: Final = 1000.0
ADDRESSES: Final = ["ada@example.com", "grace@example.com", "a" * 116 + "@example.com", "a" * 117 + "@example.com"]


@attrs.frozen
class Said:
    """A user, and what Fullstory should make of what is said of them.

    Attributes:
        user: The user.
        own: The name and the e-mail as they are sent, where they are.
        properties: Values and types by dotted path, of those that can be sent.
        no_response: Paths of what is cut or left out.
    """

    user: UserTraits
    own: Mapping[str, str]
    properties: Mapping[str, tuple[Any, str]]
    no_response: frozenset[str]


def say(uid: str | None, own: Mapping[str, str], values: Mapping[str, Value]) -> Said:
    """Return a user of whom so much is said."""
    name, email = own.get("name"), own.get("email")
    sent = {"name": None if name is None else name[: MOST["name"]], "email": email}
    if email is not None and len(email) > MOST["email"]:
        sent["email"] = None  # Half an address is another address.
    kept = {path: (value.held, value.kind) for path, value in values.items() if value.kind is not None}
    no_response = {f"traits.{path}" for path, value in values.items() if value.kind is None or is_cut(value)}
    traits: dict[str, Any] = {path: value.given for path, value in values.items() if "." not in path}
    traits["location"] = {path.partition(".")[2]: value.given for path, value in values.items() if "." in path}
    return Said(
        UserTraits(
            uid,
            name=name,
            email=email,
            traits=traits,
            types={path: value.declared for path, value in values.items() if value.declared is not None},
        ),
        {field: text for field, text in sent.items() if text is not None},
        kept,
        frozenset({*no_response, *(field for field, text in own.items() if sent[field] != text)}),
    )


def is_cut(value: Value) -> bool:
    """Tell whether a text is longer than Fullstory takes it."""
    return isinstance(value.given, str) and value.given != value.held


def anything_said() -> st.SearchStrategy[Said]:
    """Return users who share uids, names and addresses, and anonymous ones."""
    names = st.one_of(st.sampled_from(["Ada", "Grace"]), long_texts(MOST["name"]))
    own = st.fixed_dictionaries({}, optional={"name": names, "email": st.sampled_from(ADDRESSES)})
    values = st.fixed_dictionaries({}, optional=PATHS)
    return st.builds(say, st.sampled_from([*UIDS, *UIDS, None, None, LONG_UID]), own, values)


def flat(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties by dotted path."""
    nested = {f"location.{name}": value for name, value in properties.get("location", {}).items()}
    return {**{name: value for name, value in properties.items() if name != "location"}, **nested}


def leaves(own: Mapping[str, str], properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that is not blank, by path."""
    said = {**own, **{f"traits.{path}": value for path, value in properties.items()}}
    return {path: value for path, value in said.items() if value != ""}


class FullstoryMachine(RuleBasedStateMachine):
    """Calls of the adapter, each done to the model as well."""

    def __init__(self, world: World[FullstoryEmulator]) -> None:
        super().__init__()
        self.world = world
        self.model = Model()
        self.ids: list[str] = []  # Also of those who are gone.
        world.emulator.reset()

    def backend(self, *, adapt: bool = False) -> Fullstory:
        """Return an adapter that mends what breaks a limit, or refuses it."""
        return Fullstory("na1.emulator", base_url=self.world.url, on_violation="adapt" if adapt else "reject")

    @rule(said=anything_said(), adapt=st.booleans(), mishap=mishaps())
    def identify(self, said: Said, *, adapt: bool, mishap: str | None) -> None:
        """Say something of somebody, who may be new or anonymous."""
        asked = len(self.world.emulator.requests)
        outcome = self.world.ask(self.backend(adapt=adapt).identify(said.user), mishap)

        if self.is_refused(said, adapt=adapt):
            assert isinstance(outcome, Rejected)
            assert outcome.violations
            assert len(self.world.emulator.requests) == asked
            return
        known = self.model.find(said.user.user_id)
        vendor_id = self.check_accepted(outcome, said)
        assert vendor_id == known if known else vendor_id not in self.ids
        self.write(vendor_id, said)
        if said.user.user_id is not None:
            self.check_shown(self.world.ask(self.backend().get(said.user.user_id)), vendor_id)

    def is_refused(self, said: Said, *, adapt: bool) -> bool:
        """Tell whether the adapter is to send nothing."""
        return said.user.user_id == LONG_UID or bool(said.no_response and not adapt)

    def check_accepted(self, outcome: Outcome, said: Said) -> str:
        """Return the user's Fullstory id, having checked that whatever was lost is told."""
        assert isinstance(outcome, Accepted)
        assert {adjustment.path for adjustment in lossy_adjustments(outcome.adjustments)} == said.no_response
        # The reply shows the id and nothing else.
        assert not outcome.verified
        assert outcome.vendor_id is not None
        return outcome.vendor_id

    def write(self, vendor_id: str, said: Said) -> None:
        """Tell the model what was said."""
        self.model.write(vendor_id, said.own, said.properties)
        if said.user.user_id is not None:
            self.model.users[vendor_id]["uid"] = said.user.user_id
        self.ids = list(dict.fromkeys([*self.ids, vendor_id]))

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), said=anything_said(), mishap=mishaps())
    def update(self, data: st.DataObject, said: Said, mishap: str | None) -> None:
        """Say something of somebody by Fullstory's id; this may tell who an anonymous user is."""
        vendor_id = data.draw(st.sampled_from(self.ids))
        user, uid = self.model.users.get(vendor_id), said.user.user_id
        if self.is_refused(said, adapt=True) or (user and user["uid"] is None and self.model.find(uid)):
            return  # The latter become "one logical user" over time, how is not documented.

        named = attrs.evolve(said.user, vendor_ids={"fullstory": vendor_id})
        outcome = self.world.ask(self.backend(adapt=True).identify(named), mishap)

        if user is None or user["deleted"] or (uid and user["uid"] and uid != user["uid"]):
            # "User with that ID does not exist"; or a uid, which "is immutable", was to become another.
            assert isinstance(outcome, Rejected)
            assert outcome.code in {"user_not_found", "invalid_parameter"}
            return
        assert self.check_accepted(outcome, said) == vendor_id
        self.write(vendor_id, said)

    @rule(uid=st.sampled_from(UIDS), path=st.sampled_from(list(PATHS)), values=st.tuples(CHANGES, CHANGES))
    def retype(self, uid: str, path: str, values: tuple[Value, Value]) -> None:
        """Say a property as a value of one type, and of another."""
        for value in values:
            said = say(uid, {}, {path: value})
            self.compare(said, adapt=False, mishap=None)
            self.identify(said, adapt=False, mishap=None)

            assert value.kind in self.model.users[self.model.find(uid) or ""]["types"][path]

    @precondition(lambda self: self.held_properties())
    @rule(data=st.data(), adapt=st.booleans(), mishap=mishaps())
    def remove(self, data: st.DataObject, *, adapt: bool, mishap: str | None) -> None:
        """Try to remove a property that somebody has, which is refused, or told to be lost."""
        uid, path = data.draw(st.sampled_from(self.held_properties()))
        self.identify(say(uid, {}, {path: REMOVAL}), adapt=adapt, mishap=mishap)

        assert path in self.model.users[self.model.find(uid) or ""]["properties"]

    def held_properties(self) -> list[tuple[str, str]]:
        """Return whose properties there are, by uid and path."""
        known = {uid: self.model.find(uid) for uid in UIDS}
        return [(uid, path) for uid, key in known.items() if key for path in self.model.users[key]["properties"]]

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), by_id=st.booleans(), at_once=st.booleans(), returns=st.booleans(), mishap=mishaps())
    def delete(self, data: st.DataObject, *, by_id: bool, at_once: bool, returns: bool, mishap: str | None) -> None:
        """Delete somebody, who may be unknown or deleted already, at once or not, and who may return."""
        known = [user["uid"] for user in self.model.users.values() if user["uid"]]
        named = data.draw(st.sampled_from(self.ids if by_id else [*known, *UIDS]))
        user = self.model.users.get(named if by_id else self.model.find(named) or "")
        is_living = user is not None and not user["deleted"]
        backend = self.backend()
        outcome = self.world.ask(backend.delete_by_id(named) if by_id else backend.delete(named), mishap)

        # Whoever is deleted by a request whose answer is lost is nobody to the next.
        is_answered = mishap not in {"answer lost", "answer lost thrice"}
        assert isinstance(outcome, Accepted if is_living and is_answered else Skipped)
        if user is not None:
            user["deleted"] = True
        # No more than two of one uid at a time, since the adapter looks for it on the first page alone.
        if at_once or (user and known.count(user["uid"]) > 1):
            self.world.clock.now += DELETION
            self.model.finish_deletions()
        if returns and user and user["uid"] and not self.model.find(user["uid"]):
            self.identify(say(user["uid"], {"name": "Ada"}, {}), adapt=False, mishap=mishap)

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), uid=st.sampled_from(UIDS), mishap=mishaps())
    def read(self, data: st.DataObject, uid: str, mishap: str | None) -> None:
        """Look at somebody by uid and by Fullstory's id, and at everybody."""
        backend, vendor_id, known = self.backend(), data.draw(st.sampled_from(self.ids)), self.model.find(uid)
        by_uid, by_id = self.world.ask(backend.get(uid), mishap), self.world.ask(backend.get_by_id(vendor_id))
        pages = [self.world.ask(exchange) for exchange in backend.pages()]

        if known:
            self.check_shown(by_uid, known)
        else:
            # Whoever is being deleted may still be shown.
            assert by_uid is None or (isinstance(by_uid, StoredUser) and by_uid.being_deleted)
        if vendor_id in self.model.users:
            self.check_shown(by_id, vendor_id)
        else:
            assert by_id is None
        shown = [user for page in pages if isinstance(page, Page) for user in page.users]
        assert sorted(user.vendor_id for user in shown) == sorted(self.model.users)
        for user in shown:
            self.check_shown(user, user.vendor_id)

    def check_shown(self, shown: object, vendor_id: str) -> None:
        """Check that a user is shown as the model holds them."""
        user = self.model.users[vendor_id]
        assert isinstance(shown, StoredUser)
        assert (shown.vendor_id, shown.user_id, shown.being_deleted) == (vendor_id, user["uid"], user["deleted"])
        assert shown.types == {path: kinds[0] for path, kinds in user["types"].items()}
        assert shown.type_conflicts == {path: kinds for path, kinds in user["types"].items() if len(kinds) > 1}
        found = {"own": given(name=shown.name, email=shown.email), "properties": flat(shown.traits)}
        assert not differences({"": found}, {"": {"own": user["own"], "properties": user["properties"]}})

    @precondition(lambda self: self.ids)
    @rule(said=anything_said(), adapt=st.booleans(), mishap=mishaps())
    def compare(self, said: Said, *, adapt: bool, mishap: str | None) -> None:
        """Ask how what Fullstory holds of somebody differs."""
        found = self.world.ask(self.backend(adapt=adapt).compare(said.user), mishap)

        if said.user.user_id is None or self.is_refused(said, adapt=adapt):
            assert isinstance(found, Rejected)
            return
        known = self.model.find(said.user.user_id)
        if known is None:
            assert found == Comparison("fullstory", missing=True)
            return
        held = leaves(self.model.users[known]["own"], self.model.users[known]["properties"])
        wanted = leaves(said.own, {path: value for path, (value, _) in said.properties.items()})
        expected = Comparison(
            "fullstory",
            differing=tuple(sorted(path for path in wanted.keys() & held.keys() if wanted[path] != held[path])),
            absent=tuple(sorted(wanted.keys() - held.keys())),
            extra=tuple(sorted(held.keys() - wanted.keys())),
        )
        assert found == expected

    @invariant()
    def fullstory_holds_what_the_model_holds(self) -> None:
        """Every user, every field, and nobody else."""
        users = {
            key: {
                "uid": user.uid,
                "own": given(name=user.display_name, email=user.email),
                "properties": flat(user.properties),
                "types": user.types,
                "deleted": user.is_being_deleted,
            }
            for key, user in self.world.emulator.users.items()
        }
        assert not differences(users, self.model.users)


def given(**fields: str | None) -> dict[str, str]:
    """Return the fields that are not None."""
    return {name: text for name, text in fields.items() if text is not None}


@pytest.fixture(scope="module")
def world() -> Iterator[World[FullstoryEmulator]]:
    """Serve one Fullstory."""
    with serving(lambda clock: FullstoryEmulator(clock=clock, page_size=2, deletion_seconds=DELETION)) as world:
        yield world


@pytest.mark.slow
def test_fullstory_does_as_documented_whatever_is_called(world: World[FullstoryEmulator]) -> None:
    """In any order of calls, with answers lost on the way, it holds what the model holds."""
    run_machine(lambda: FullstoryMachine(world))
