"""Adapter and emulator against a model of what Fullstory documents, with calls in any order."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.stateful import EmulatedVendor, differences, emulated_vendor, fault_names, run_machine

from replay_identity import REMOVE, Accepted, Fullstory, Rejected, Skipped, UserTraits
from replay_identity.adapters import Comparison, Page, StoredUser
from replay_identity.emulator import FullstoryEmulator
from replay_identity.outcomes import Outcome, lossy_adjustments
from replay_identity.testing import long_texts, texts
from replay_identity.traits import TraitType


class Model:
    """Fullstory as documented (https://developer.fullstory.com/server/, read 2026-11-21).

    The pages are users, custom-properties and getting-started.
    """

    def __init__(self) -> None:
        # By Fullstory's id, which "will remain stable".
        self.users: dict[str, dict[str, Any]] = {}

    def find(self, uid: str | None) -> str | None:
        """Return the id of the user that an upsert updates; without a uid each one creates an anonymous user."""
        living = {user["uid"]: key for key, user in self.users.items() if not user["deleted"]}
        return living.get(uid) if uid else None

    def write(self, key: str, own: Mapping[str, Any], properties: Mapping[str, tuple[Any, str]]) -> None:
        """Create the user or merge the properties, each with its type."""
        user = self.users.setdefault(key, {"uid": None, "own": {}, "properties": {}, "types": {}, "deleted": False})
        user["own"].update(own)
        for path, (value, kind) in properties.items():
            # They are merged, and collisions are resolved "by taking the most recent value".
            user["properties"][path] = value
            # No type is rejected; "fields that are associated with multiple types" are reported as type conflicts.
            user["types"][path] = list(dict.fromkeys([*user["types"].get(path, []), kind]))

    def finish_deletions(self) -> None:
        """Remove the users who are being deleted, which takes a while."""
        self.users = {key: user for key, user in self.users.items() if not user["deleted"]}


# uid and display_name: at most 256 characters; email: 128; the value of a property: 8192 bytes.
MAX: Final = {"uid": 256, "name": 256, "email": 128, "value": 8192}


def _as_given(value: "Value") -> Any:
    return value.given


@attrs.frozen
class Value:
    """A property's value.

    Attributes:
        given: The value passed to the adapter.
        kind: The type that Fullstory should infer or be told; None for a value that cannot be stored.
        stored: The value that Fullstory should store.
        declared: The type that the caller declares.
    """

    given: Any
    kind: str | None
    stored: Any = attrs.field(default=attrs.Factory(_as_given, takes_self=True))
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
    # What a wrong declared type does is not documented, so nothing is sent.
    Value("pro", None, declared="int"),
    Value(2.5, None, declared="int"),
    # The same goes for an int of more than 64 bits, and lists of several types.
    Value(2**63, None),
    Value(["a", 1], None),
]


# For a property that changes its type, mostly to a similar one.
CHANGES: Final = st.sampled_from([*WRITTEN, *LOOK_ALIKES, *LOOK_ALIKES])


def text_value(text: str) -> Value:
    """Return a text, and as many of its bytes as a value may have."""
    return Value(text, "str", text.encode()[: MAX["value"]].decode(errors="ignore"))


def int_value(number: int) -> Value:
    """Return an int, which is stored unchanged."""
    return Value(number, "int")


SHORT_VALUES: Final = st.one_of(
    st.sampled_from([*WRITTEN, *IMPOSSIBLE]),
    st.integers(-(2**63), 2**63 - 1).map(int_value),
    texts().map(text_value),
)
VALUES: Final = st.one_of(SHORT_VALUES, long_texts(MAX["value"]).map(text_value))
# Nested values are dotted paths in the schema, and objects in the properties.
PATHS: Final = {"plan": VALUES, "seats": VALUES, "location.code": SHORT_VALUES}
UIDS: Final = ["u1", "a/b&c=d ", "é" * 256]
LONG_UID: Final = "u" * 257
# Seconds; longer than any example takes.
DELETION: Final = 1000.0
ADDRESSES: Final = ["ada@example.com", "grace@example.com", "a" * 116 + "@example.com", "a" * 117 + "@example.com"]


@attrs.frozen
class Case:
    """A user, and what Fullstory should store.

    Attributes:
        user: The user.
        own: The name and the e-mail address, where they are sent.
        properties: Values and types by dotted path, where they can be sent.
        lossy_paths: Paths of what is truncated or dropped.
    """

    user: UserTraits
    own: Mapping[str, str]
    properties: Mapping[str, tuple[Any, str]]
    lossy_paths: frozenset[str]


def make_case(uid: str | None, own: Mapping[str, str], values: Mapping[str, Value]) -> Case:
    """Return a user with these fields and values."""
    name, email = own.get("name"), own.get("email")
    sent = {"name": None if name is None else name[: MAX["name"]], "email": email}
    if email is not None and len(email) > MAX["email"]:
        sent["email"] = None  # Half an address is another address.
    sent_properties = {path: (value.stored, value.kind) for path, value in values.items() if value.kind is not None}
    lossy_paths = {f"traits.{path}" for path, value in values.items() if value.kind is None or is_cut(value)}
    traits: dict[str, Any] = {path: value.given for path, value in values.items() if "." not in path}
    traits["location"] = {path.partition(".")[2]: value.given for path, value in values.items() if "." in path}
    return Case(
        UserTraits(
            uid,
            name=name,
            email=email,
            traits=traits,
            types={path: value.declared for path, value in values.items() if value.declared is not None},
        ),
        {field: text for field, text in sent.items() if text is not None},
        sent_properties,
        frozenset({*lossy_paths, *(field for field, text in own.items() if sent[field] != text)}),
    )


def is_cut(value: Value) -> bool:
    """Return True if a text is too long for a value."""
    return isinstance(value.given, str) and value.given != value.stored


def cases() -> st.SearchStrategy[Case]:
    """Return users who share uids, names and addresses, and anonymous users."""
    names = st.one_of(st.sampled_from(["Ada", "Grace"]), long_texts(MAX["name"]))
    own = st.fixed_dictionaries({}, optional={"name": names, "email": st.sampled_from(ADDRESSES)})
    values = st.fixed_dictionaries({}, optional=PATHS)
    return st.builds(make_case, st.sampled_from([*UIDS, *UIDS, None, None, LONG_UID]), own, values)


def flat(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties by dotted path."""
    nested = {f"location.{name}": value for name, value in properties.get("location", {}).items()}
    return {**{name: value for name, value in properties.items() if name != "location"}, **nested}


def leaves(own: Mapping[str, str], properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that is not blank, by path."""
    values = {**own, **{f"traits.{path}": value for path, value in properties.items()}}
    return {path: value for path, value in values.items() if value != ""}


class FullstoryMachine(RuleBasedStateMachine):
    """Calls of the adapter, each applied to the model as well."""

    def __init__(self, vendor: EmulatedVendor[FullstoryEmulator]) -> None:
        super().__init__()
        self.vendor = vendor
        self.model = Model()
        self.ids: list[str] = []  # Also of deleted users.
        vendor.emulator.reset()

    def backend(self, *, adapt: bool = False) -> Fullstory:
        """Return a backend that adapts or rejects."""
        return Fullstory("na1.emulator", base_url=self.vendor.url, on_violation="adapt" if adapt else "reject")

    @rule(case=cases(), adapt=st.booleans(), fault=fault_names())
    def identify(self, case: Case, *, adapt: bool, fault: str | None) -> None:
        """Identify a user, who may be new or anonymous."""
        requests_before = len(self.vendor.emulator.requests)
        outcome = self.vendor.run(self.backend(adapt=adapt).identify(case.user), fault)

        if self.is_rejected(case, adapt=adapt):
            assert isinstance(outcome, Rejected)
            assert outcome.violations
            assert len(self.vendor.emulator.requests) == requests_before
            return
        known = self.model.find(case.user.user_id)
        vendor_id = self.check_accepted(outcome, case)
        assert vendor_id == known if known else vendor_id not in self.ids
        self.write(vendor_id, case)
        if case.user.user_id is not None:
            self.check_shown(self.vendor.run(self.backend().get(case.user.user_id)), vendor_id)

    def is_rejected(self, case: Case, *, adapt: bool) -> bool:
        """Return True if the adapter should send nothing."""
        return case.user.user_id == LONG_UID or bool(case.lossy_paths and not adapt)

    def check_accepted(self, outcome: Outcome, case: Case) -> str:
        """Check that every loss is recorded, and return the Fullstory id."""
        assert isinstance(outcome, Accepted)
        assert {adjustment.path for adjustment in lossy_adjustments(outcome.adjustments)} == case.lossy_paths
        # The response shows only the id.
        assert not outcome.verified
        assert outcome.vendor_id is not None
        return outcome.vendor_id

    def write(self, vendor_id: str, case: Case) -> None:
        """Apply the user to the model."""
        self.model.write(vendor_id, case.own, case.properties)
        if case.user.user_id is not None:
            self.model.users[vendor_id]["uid"] = case.user.user_id
        self.ids = list(dict.fromkeys([*self.ids, vendor_id]))

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), case=cases(), fault=fault_names())
    def update(self, data: st.DataObject, case: Case, fault: str | None) -> None:
        """Update a user by Fullstory id, which may identify an anonymous user."""
        vendor_id = data.draw(st.sampled_from(self.ids))
        user, uid = self.model.users.get(vendor_id), case.user.user_id
        if self.is_rejected(case, adapt=True) or (user and user["uid"] is None and self.model.find(uid)):
            return  # Two users with one uid become "one logical user" over time; how is not documented.

        named = attrs.evolve(case.user, vendor_ids={"fullstory": vendor_id})
        outcome = self.vendor.run(self.backend(adapt=True).identify(named), fault)

        if user is None or user["deleted"] or (uid and user["uid"] and uid != user["uid"]):
            # "User with that ID does not exist"; or a uid, which "is immutable", was to become another.
            assert isinstance(outcome, Rejected)
            assert outcome.code in {"user_not_found", "invalid_parameter"}
            return
        assert self.check_accepted(outcome, case) == vendor_id
        self.write(vendor_id, case)

    @rule(uid=st.sampled_from(UIDS), path=st.sampled_from(list(PATHS)), values=st.tuples(CHANGES, CHANGES))
    def retype(self, uid: str, path: str, values: tuple[Value, Value]) -> None:
        """Send a property as a value of one type, then of another."""
        for value in values:
            case = make_case(uid, {}, {path: value})
            self.compare(case, adapt=False, fault=None)
            self.identify(case, adapt=False, fault=None)

            assert value.kind in self.model.users[self.model.find(uid) or ""]["types"][path]

    @precondition(lambda self: self.stored_properties())
    @rule(data=st.data(), adapt=st.booleans(), fault=fault_names())
    def remove(self, data: st.DataObject, *, adapt: bool, fault: str | None) -> None:
        """Try to remove a stored property, which is rejected or recorded as a loss."""
        uid, path = data.draw(st.sampled_from(self.stored_properties()))
        self.identify(make_case(uid, {}, {path: REMOVAL}), adapt=adapt, fault=fault)

        assert path in self.model.users[self.model.find(uid) or ""]["properties"]

    def stored_properties(self) -> list[tuple[str, str]]:
        """Return the stored properties as pairs of uid and path."""
        known = {uid: self.model.find(uid) for uid in UIDS}
        return [(uid, path) for uid, key in known.items() if key for path in self.model.users[key]["properties"]]

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), by_id=st.booleans(), at_once=st.booleans(), returns=st.booleans(), fault=fault_names())
    def delete(self, data: st.DataObject, *, by_id: bool, at_once: bool, returns: bool, fault: str | None) -> None:
        """Delete a user, who may be unknown or deleted already, and may be created again."""
        known = [user["uid"] for user in self.model.users.values() if user["uid"]]
        named = data.draw(st.sampled_from(self.ids if by_id else [*known, *UIDS]))
        user = self.model.users.get(named if by_id else self.model.find(named) or "")
        is_living = user is not None and not user["deleted"]
        backend = self.backend()
        outcome = self.vendor.run(backend.delete_by_id(named) if by_id else backend.delete(named), fault)

        # If the response to a deletion is lost, the retry finds no such user.
        is_answered = fault not in {"response lost", "response lost three times"}
        assert isinstance(outcome, Accepted if is_living and is_answered else Skipped)
        if user is not None:
            user["deleted"] = True
        # No more than two users with one uid at a time, since the adapter reads only the first page.
        if at_once or (user and known.count(user["uid"]) > 1):
            self.vendor.clock.now += DELETION
            self.model.finish_deletions()
        if returns and user and user["uid"] and not self.model.find(user["uid"]):
            self.identify(make_case(user["uid"], {"name": "Ada"}, {}), adapt=False, fault=fault)

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), uid=st.sampled_from(UIDS), fault=fault_names())
    def read(self, data: st.DataObject, uid: str, fault: str | None) -> None:
        """Read a user by uid and by Fullstory id, and all users."""
        backend, vendor_id, known = self.backend(), data.draw(st.sampled_from(self.ids)), self.model.find(uid)
        by_uid, by_id = self.vendor.run(backend.get(uid), fault), self.vendor.run(backend.get_by_id(vendor_id))
        pages = [self.vendor.run(exchange) for exchange in backend.pages()]

        if known:
            self.check_shown(by_uid, known)
        else:
            # A user who is being deleted may still be listed.
            assert by_uid is None or (isinstance(by_uid, StoredUser) and by_uid.being_deleted)
        if vendor_id in self.model.users:
            self.check_shown(by_id, vendor_id)
        else:
            assert by_id is None
        listed = [user for page in pages if isinstance(page, Page) for user in page.users]
        assert sorted(user.vendor_id for user in listed) == sorted(self.model.users)
        for user in listed:
            self.check_shown(user, user.vendor_id)

    def check_shown(self, listed: object, vendor_id: str) -> None:
        """Check that a user is returned as the model has them."""
        user = self.model.users[vendor_id]
        assert isinstance(listed, StoredUser)
        assert (listed.vendor_id, listed.user_id, listed.being_deleted) == (vendor_id, user["uid"], user["deleted"])
        assert listed.types == {path: kinds[0] for path, kinds in user["types"].items()}
        assert listed.type_conflicts == {path: kinds for path, kinds in user["types"].items() if len(kinds) > 1}
        result = {"own": without_none(name=listed.name, email=listed.email), "properties": flat(listed.traits)}
        assert not differences({"": result}, {"": {"own": user["own"], "properties": user["properties"]}})

    @precondition(lambda self: self.ids)
    @rule(case=cases(), adapt=st.booleans(), fault=fault_names())
    def compare(self, case: Case, *, adapt: bool, fault: str | None) -> None:
        """Compare a user with what Fullstory stores."""
        result = self.vendor.run(self.backend(adapt=adapt).compare(case.user), fault)

        if case.user.user_id is None or self.is_rejected(case, adapt=adapt):
            assert isinstance(result, Rejected)
            return
        known = self.model.find(case.user.user_id)
        if known is None:
            assert result == Comparison("fullstory", missing=True)
            return
        stored = leaves(self.model.users[known]["own"], self.model.users[known]["properties"])
        desired = leaves(case.own, {path: value for path, (value, _) in case.properties.items()})
        expected = Comparison(
            "fullstory",
            differing=tuple(sorted(path for path in desired.keys() & stored.keys() if desired[path] != stored[path])),
            absent=tuple(sorted(desired.keys() - stored.keys())),
            extra=tuple(sorted(stored.keys() - desired.keys())),
        )
        assert result == expected

    @invariant()
    def fullstory_equals_the_model(self) -> None:
        """All users and fields are equal."""
        users = {
            key: {
                "uid": user.uid,
                "own": without_none(name=user.display_name, email=user.email),
                "properties": flat(user.properties),
                "types": user.types,
                "deleted": user.is_being_deleted,
            }
            for key, user in self.vendor.emulator.users.items()
        }
        assert not differences(users, self.model.users)


def without_none(**fields: str | None) -> dict[str, str]:
    """Return the fields that are not None."""
    return {name: text for name, text in fields.items() if text is not None}


@pytest.fixture(scope="module")
def vendor() -> Iterator[EmulatedVendor[FullstoryEmulator]]:
    """Run a Fullstory emulator."""
    with emulated_vendor(
        lambda clock: FullstoryEmulator(clock=clock, page_size=2, deletion_seconds=DELETION)
    ) as vendor:
        yield vendor


@pytest.mark.slow
def test_fullstory_behaves_as_documented(vendor: EmulatedVendor[FullstoryEmulator]) -> None:
    """It equals the model after any calls, even if responses are lost."""
    run_machine(lambda: FullstoryMachine(vendor))
