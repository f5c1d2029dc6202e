"""Adapter and emulator against a model of what LogRocket documents, with calls in any order."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.stateful import EmulatedVendor, differences, emulated_vendor, fault_names, run_machine

from replay_identity import REMOVE, Accepted, LogRocket, Rejected, Skipped, UserTraits
from replay_identity.adapters import Comparison
from replay_identity.emulator import LogRocketEmulator
from replay_identity.outcomes import Outcome, lossy_adjustments
from replay_identity.testing import long_texts, texts

Texts = Mapping[str, str]


class Model:
    """LogRocket as documented: https://docs.logrocket.com/docs/user-identification-api and /gdpr, 2026-11-21."""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {}
        self.excluded: set[tuple[str, str]] = set()

    def put(self, user_id: str, own: Texts, traits: Texts, moment: int) -> dict[str, Any]:
        """Create the user or merge the values, and return the whole user."""
        user = self.users.setdefault(user_id, {"own": {}, "traits": {}, "seen": []})
        # "If a trait is not present in the request, it will maintain its previous value."
        # "To remove a trait, the trait should be provided in the request and set to a blank value."
        user["traits"] = {name: text for name, text in {**user["traits"], **traits}.items() if text}
        # This is documented for traits only. A blank name or e-mail changes nothing, which is policy.
        user["own"].update({name: text for name, text in own.items() if text})
        # The timestamp is for "determining when the user was first and last seen".
        moments = [*user["seen"], moment]
        user["seen"] = [min(moments), max(moments)]
        return user


# "Max: 1024 characters", as JavaScript counts them.
MAX: Final = 1024


def is_long(text: str) -> bool:
    """Return True if LogRocket rejects the text."""
    return len(text.encode("utf-16-le")) > 2 * MAX


def cut(text: str) -> str:
    """Return as much of a text as LogRocket accepts."""
    return text.encode("utf-16-le")[: 2 * MAX].decode("utf-16-le", errors="ignore")


# "Integers or booleans will be converted to strings": all values are, as LogRocket's own SDK writes them in JavaScript.
WRITTEN: Final[list[tuple[Any, str]]] = [
    ("43", "43"),
    (43, "43"),
    (43.0, "43"),
    (9.99, "9.99"),
    (1e21, "1e+21"),
    (Decimal("9.90"), "9.90"),
    (True, "true"),
    (date(2026, 11, 21), "2026-11-21"),
    (datetime(2026, 11, 21, 8, 30, tzinfo=UTC), "2026-11-21T08:30:00Z"),
    (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    (["a", "é"], '["a","é"]'),
    ([1, True, 2.0], "[1,true,2]"),
]
REMOVALS: Final = [(REMOVE, ""), ("", "")]


def unchanged(text: str) -> tuple[str, str]:
    """Return a text as it is given and as it is stored."""
    return text, text


VALUES: Final = st.one_of(
    st.sampled_from(WRITTEN),
    st.integers().map(lambda number: (number, str(number))),
    texts(min_size=1).map(unchanged),
    long_texts(MAX).map(unchanged),
    st.sampled_from(REMOVALS),
)
# Ids that look the same if encoded twice or not at all.
IDS: Final = ["u1", "u2", "a/b", "a%2Fb", "é?", "u" * MAX]
# The first two cannot be part of a URL, and the last is too long.
INVALID_IDS: Final = [".", "..", "u" * (MAX + 1)]
TRAITS: Final = ["plan", "seats", "company.size"]
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Milliseconds: some before 1970, some in the future.
MOMENTS: Final = st.integers(-(10**12), 2 * 10**12)
ADDRESSES: Final = ["ada@example.com", "grace@example.com"]


@attrs.frozen
class Case:
    """A user, and what LogRocket should store.

    Attributes:
        user: The user.
        own: The name and the e-mail address as they are sent, where they are given.
        traits: The traits as they are sent, by dotted name.
        long: Paths of values over a limit.
        moment: When the user was observed, in milliseconds, or None.
    """

    user: UserTraits
    own: Texts
    traits: Texts
    long: frozenset[str]
    moment: int | None


def leaves(own: Texts, traits: Texts) -> Texts:
    """Return everything that is not blank, by path."""
    values = {**own, **{f"traits.{name}": text for name, text in traits.items()}}
    return {path: text for path, text in values.items() if text}


def make_case(user_id: str, own: Texts, traits: Mapping[str, tuple[Any, str]], moment: int | None = None) -> Case:
    """Return a user with these values; each trait comes with the string that LogRocket should store."""
    values = {**own, **{f"traits.{name}": text for name, (_, text) in traits.items()}}
    given = {name: value for name, (value, _) in traits.items() if "." not in name}
    nested = {name.partition(".")[2]: value for name, (value, _) in traits.items() if "." in name}
    return Case(
        UserTraits(
            user_id,
            name=own.get("name"),
            email=own.get("email"),
            traits={**given, "company": nested},
            observed_at=None if moment is None else EPOCH + timedelta(milliseconds=moment),
        ),
        {name: cut(text) for name, text in own.items()},
        {name: cut(text) for name, (_, text) in traits.items()},
        frozenset(path for path, text in values.items() if is_long(text)),
        moment,
    )


def cases() -> st.SearchStrategy[Case]:
    """Return users who share ids, names and addresses."""
    names = st.one_of(st.sampled_from(["Ada", "Grace", ""]), long_texts(MAX))
    own = st.fixed_dictionaries({}, optional={"name": names, "email": st.sampled_from([*ADDRESSES, ""])})
    traits = st.dictionaries(st.sampled_from(TRAITS), VALUES, max_size=3)
    return st.builds(make_case, st.sampled_from([*IDS, *IDS, *INVALID_IDS]), own, traits, st.none() | MOMENTS)


PEOPLE: Final = st.one_of(
    st.sampled_from(IDS).map(lambda user_id: ("user_id", user_id)),
    st.sampled_from(ADDRESSES).map(lambda email: ("email", email)),
)


class LogRocketMachine(RuleBasedStateMachine):
    """Calls of the adapter, each applied to the model as well."""

    def __init__(self, vendor: EmulatedVendor[LogRocketEmulator]) -> None:
        super().__init__()
        self.vendor = vendor
        self.model = Model()
        vendor.emulator.reset()

    def backend(self, *, adapt: bool = False) -> LogRocket:
        """Return a backend that adapts or rejects."""
        return LogRocket(
            self.vendor.emulator.api_key, base_url=self.vendor.url, on_violation="adapt" if adapt else "reject"
        )

    @rule(case=cases(), adapt=st.booleans(), fault=fault_names())
    def identify(self, case: Case, *, adapt: bool, fault: str | None) -> None:
        """Identify a user."""
        requests_before = len(self.vendor.emulator.requests)
        outcome = self.vendor.run(self.backend(adapt=adapt).identify(case.user), fault)

        if case.user.user_id in INVALID_IDS or (case.long and not adapt):
            assert isinstance(outcome, Rejected)
            assert outcome.violations
        elif not (case.own or case.traits or case.moment is not None):
            assert isinstance(outcome, Skipped)
        else:
            self.check_accepted(outcome, case, self.put(case))
            return
        assert len(self.vendor.emulator.requests) == requests_before

    def put(self, case: Case) -> dict[str, Any]:
        """Apply the user to the model."""
        now = int(self.vendor.clock.now * 1000)
        moment = now if case.moment is None else case.moment
        return self.model.put(case.user.user_id or "", case.own, case.traits, moment)

    def check_accepted(self, outcome: Outcome, case: Case, stored: dict[str, Any]) -> None:
        """Check that every loss is recorded, and that the response was read."""
        assert isinstance(outcome, Accepted)
        assert {adjustment.path for adjustment in lossy_adjustments(outcome.adjustments)} == case.long
        # The response shows everything that was sent, except a blank name of a user who has one.
        assert outcome.verified == all(stored["own"].get(name, "") == text for name, text in case.own.items())

    @precondition(lambda self: self.stored_traits())
    @rule(data=st.data(), value=st.sampled_from([*WRITTEN, *REMOVALS]), fault=fault_names())
    def retype_or_remove(self, data: st.DataObject, value: tuple[Any, str], fault: str | None) -> None:
        """Send a stored trait as another type, which LogRocket stores as a string, or remove it."""
        user_id, name = data.draw(st.sampled_from(self.stored_traits()))
        self.identify(make_case(user_id, {}, {name: value}), adapt=False, fault=fault)

        assert self.model.users[user_id]["traits"].get(name, "") == value[1]

    def stored_traits(self) -> list[tuple[str, str]]:
        """Return the stored traits as pairs of user id and name."""
        return [(user_id, name) for user_id, user in self.model.users.items() for name in user["traits"]]

    @precondition(lambda self: self.model.users)
    @rule(case=cases(), adapt=st.booleans(), fault=fault_names())
    def compare(self, case: Case, *, adapt: bool, fault: str | None) -> None:
        """Compare a user with what LogRocket stores, which creates an unknown user."""
        result = self.vendor.run(self.backend(adapt=adapt).compare(case.user), fault)

        if case.user.user_id in INVALID_IDS or (case.long and not adapt):
            assert isinstance(result, Rejected)
            return
        user = self.put(attrs.evolve(case, own={}, traits={}, moment=None))
        stored, desired = leaves(user["own"], user["traits"]), leaves(case.own, case.traits)
        expected = Comparison(
            "logrocket",
            missing=bool(desired) and not stored,
            differing=tuple(sorted(path for path in desired.keys() & stored.keys() if desired[path] != stored[path])),
            absent=tuple(sorted(desired.keys() - stored.keys())) if stored else (),
            extra=tuple(sorted(stored.keys() - desired.keys())),
        )
        assert result == expected

    @precondition(lambda self: self.model.users)
    @rule(person=PEOPLE, excluded=st.booleans(), fault=fault_names())
    def exclude_or_include(self, person: tuple[str, str], *, excluded: bool, fault: str | None) -> None:
        """Exclude or include a user; the traits stay."""
        backend, named = self.backend(), dict([person])
        outcome = self.vendor.run(backend.exclude(**named) if excluded else backend.include(**named), fault)
        if excluded:
            self.model.excluded.add(person)
        else:
            self.model.excluded.discard(person)

        assert outcome == Accepted("logrocket")

    @invariant()
    def logrocket_equals_the_model(self) -> None:
        """All users and fields are equal."""
        users = {
            user_id: {
                "own": {name: text for name, text in (("name", user.name), ("email", user.email)) if text is not None},
                "traits": user.traits,
                "seen": [user.first_seen, user.last_seen],
            }
            for user_id, user in self.vendor.emulator.users.items()
        }
        assert not differences(users, self.model.users)
        assert self.vendor.emulator.excluded == self.model.excluded


@pytest.fixture(scope="module")
def vendor() -> Iterator[EmulatedVendor[LogRocketEmulator]]:
    """Run a LogRocket emulator."""
    with emulated_vendor(lambda clock: LogRocketEmulator(clock=clock)) as vendor:
        yield vendor


@pytest.mark.slow
def test_logrocket_behaves_as_documented(vendor: EmulatedVendor[LogRocketEmulator]) -> None:
    """It equals the model after any calls, even if responses are lost."""
    run_machine(lambda: LogRocketMachine(vendor))
