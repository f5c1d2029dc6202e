"""Adapter and emulator against a model of what LogRocket documents: the same users, whatever is called in any order."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from machines import World, differences, mishaps, run_machine, serving

from replay_identity import REMOVE, Accepted, LogRocket, Rejected, Skipped, UserTraits
from replay_identity.adapters.protocols import Comparison
from replay_identity.emulator import LogRocketEmulator
from replay_identity.outcomes import Outcome, lossy_adjustments
from replay_identity.testing import long_texts, texts

Texts = Mapping[str, str]


class Model:
    """LogRocket, by its documents: https://docs.logrocket.com/docs/user-identification-api and /gdpr, 2026-11-21."""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {}
        self.excluded: set[tuple[str, str]] = set()

    def put(self, user_id: str, own: Texts, traits: Texts, moment: int) -> dict[str, Any]:
        """Create the user or merge what is said of them, and show the whole user."""
        user = self.users.setdefault(user_id, {"own": {}, "traits": {}, "seen": []})
        # "If a trait is not present in the request, it will maintain its previous value."
        # "To remove a trait, the trait should be provided in the request and set to a blank value."
        user["traits"] = {name: text for name, text in {**user["traits"], **traits}.items() if text}
        # That is said of traits alone: a blank name or e-mail is policy, and changes nothing.
        user["own"].update({name: text for name, text in own.items() if text})
        # The timestamp is for "determining when the user was first and last seen".
        moments = [*user["seen"], moment]
        user["seen"] = [min(moments), max(moments)]
        return user


# "Max: 1024 characters", as JavaScript counts them.
MOST: Final = 1024


def is_long(text: str) -> bool:
    """Tell whether LogRocket refuses the text."""
    return len(text.encode("utf-16-le")) > 2 * MOST


def cut(text: str) -> str:
    """Return as much of a text as LogRocket takes."""
    return text.encode("utf-16-le")[: 2 * MOST].decode("utf-16-le", errors="ignore")


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


def both_ways(text: str) -> tuple[str, str]:
    """Return what is given and what is held of a text."""
    return text, text


VALUES: Final = st.one_of(
    st.sampled_from(WRITTEN),
    st.integers().map(lambda number: (number, str(number))),
    texts(min_size=1).map(both_ways),
    long_texts(MOST).map(both_ways),
    st.sampled_from(REMOVALS),
)
# Ids that look alike once they are encoded twice or not at all.
IDS: Final = ["u1", "u2", "a/b", "a%2Fb", "é?", "u" * MOST]
# No path can hold the first two, and LogRocket takes no longer one.
NO_IDS: Final = [".", "..", "u" * (MOST + 1)]
TRAITS: Final = ["plan", "seats", "company.size"]
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Milliseconds: some before 1970, some in the future.
MOMENTS: Final = st.integers(-(10**12), 2 * 10**12)
ADDRESSES: Final = ["ada@example.com", "grace@example.com"]


@attrs.frozen
class Said:
    """A user, and what LogRocket should make of what is said of them.

    Attributes:
        user: The user.
        own: The name and the e-mail as they are sent, where they are given.
        traits: The same of the traits, by dotted name.
        long: Paths of what is over a limit.
        moment: When it was true, in milliseconds, or None.
    """

    user: UserTraits
    own: Texts
    traits: Texts
    long: frozenset[str]
    moment: int | None


def leaves(own: Texts, traits: Texts) -> Texts:
    """Return everything that is not blank, by path."""
    said = {**own, **{f"traits.{name}": text for name, text in traits.items()}}
    return {path: text for path, text in said.items() if text}


def say(user_id: str, own: Texts, traits: Mapping[str, tuple[Any, str]], moment: int | None = None) -> Said:
    """Return a user of whom so much is said; each trait comes with the text that LogRocket should hold."""
    said = {**own, **{f"traits.{name}": text for name, (_, text) in traits.items()}}
    given = {name: value for name, (value, _) in traits.items() if "." not in name}
    nested = {name.partition(".")[2]: value for name, (value, _) in traits.items() if "." in name}
    return Said(
        UserTraits(
            user_id,
            name=own.get("name"),
            email=own.get("email"),
            traits={**given, "company": nested},
            observed_at=None if moment is None else EPOCH + timedelta(milliseconds=moment),
        ),
        {name: cut(text) for name, text in own.items()},
        {name: cut(text) for name, (_, text) in traits.items()},
        frozenset(path for path, text in said.items() if is_long(text)),
        moment,
    )


def anything_said() -> st.SearchStrategy[Said]:
    """Return users who share ids, names and addresses."""
    names = st.one_of(st.sampled_from(["Ada", "Grace", ""]), long_texts(MOST))
    own = st.fixed_dictionaries({}, optional={"name": names, "email": st.sampled_from([*ADDRESSES, ""])})
    traits = st.dictionaries(st.sampled_from(TRAITS), VALUES, max_size=3)
    return st.builds(say, st.sampled_from([*IDS, *IDS, *NO_IDS]), own, traits, st.none() | MOMENTS)


PEOPLE: Final = st.one_of(
    st.sampled_from(IDS).map(lambda user_id: ("user_id", user_id)),
    st.sampled_from(ADDRESSES).map(lambda email: ("email", email)),
)


class LogRocketMachine(RuleBasedStateMachine):
    """Calls of the adapter, each done to the model as well."""

    def __init__(self, world: World[LogRocketEmulator]) -> None:
        super().__init__()
        self.world = world
        self.model = Model()
        world.emulator.reset()

    def backend(self, *, adapt: bool = False) -> LogRocket:
        """Return an adapter that mends what breaks a limit, or refuses it."""
        return LogRocket(
            self.world.emulator.api_key, base_url=self.world.url, on_violation="adapt" if adapt else "reject"
        )

    @rule(said=anything_said(), adapt=st.booleans(), mishap=mishaps())
    def identify(self, said: Said, *, adapt: bool, mishap: str | None) -> None:
        """Say something of somebody."""
        asked = len(self.world.emulator.requests)
        outcome = self.world.ask(self.backend(adapt=adapt).identify(said.user), mishap)

        if said.user.user_id in NO_IDS or (said.long and not adapt):
            assert isinstance(outcome, Rejected)
            assert outcome.violations
        elif not (said.own or said.traits or said.moment is not None):
            assert isinstance(outcome, Skipped)
        else:
            self.check_accepted(outcome, said, self.put(said))
            return
        assert len(self.world.emulator.requests) == asked

    def put(self, said: Said) -> dict[str, Any]:
        """Tell the model what was said."""
        now = int(self.world.clock.now * 1000)
        moment = now if said.moment is None else said.moment
        return self.model.put(said.user.user_id or "", said.own, said.traits, moment)

    def check_accepted(self, outcome: Outcome, said: Said, held: dict[str, Any]) -> None:
        """Check that whatever was lost is told, and that the reply was read."""
        assert isinstance(outcome, Accepted)
        assert {adjustment.path for adjustment in lossy_adjustments(outcome.adjustments)} == said.long
        # The reply shows everything that was sent, but for a blank name of somebody who has one.
        assert outcome.verified == all(held["own"].get(name, "") == text for name, text in said.own.items())

    @precondition(lambda self: self.held_traits())
    @rule(data=st.data(), value=st.sampled_from([*WRITTEN, *REMOVALS]), mishap=mishaps())
    def retype_or_remove(self, data: st.DataObject, value: tuple[Any, str], mishap: str | None) -> None:
        """Say a trait that somebody has as another type, all of which are texts to LogRocket, or remove it."""
        user_id, name = data.draw(st.sampled_from(self.held_traits()))
        self.identify(say(user_id, {}, {name: value}), adapt=False, mishap=mishap)

        assert self.model.users[user_id]["traits"].get(name, "") == value[1]

    def held_traits(self) -> list[tuple[str, str]]:
        """Return whose traits there are."""
        return [(user_id, name) for user_id, user in self.model.users.items() for name in user["traits"]]

    @precondition(lambda self: self.model.users)
    @rule(said=anything_said(), adapt=st.booleans(), mishap=mishaps())
    def compare(self, said: Said, *, adapt: bool, mishap: str | None) -> None:
        """Ask how what LogRocket holds of somebody differs; it creates whoever is unknown, and says no more."""
        found = self.world.ask(self.backend(adapt=adapt).compare(said.user), mishap)

        if said.user.user_id in NO_IDS or (said.long and not adapt):
            assert isinstance(found, Rejected)
            return
        user = self.put(attrs.evolve(said, own={}, traits={}, moment=None))
        held, wanted = leaves(user["own"], user["traits"]), leaves(said.own, said.traits)
        expected = Comparison(
            "logrocket",
            missing=bool(wanted) and not held,
            differing=tuple(sorted(path for path in wanted.keys() & held.keys() if wanted[path] != held[path])),
            absent=tuple(sorted(wanted.keys() - held.keys())) if held else (),
            extra=tuple(sorted(held.keys() - wanted.keys())),
        )
        assert found == expected

    @precondition(lambda self: self.model.users)
    @rule(person=PEOPLE, excluded=st.booleans(), mishap=mishaps())
    def exclude_or_include(self, person: tuple[str, str], *, excluded: bool, mishap: str | None) -> None:
        """Have somebody never recorded, or recorded again; their traits stay."""
        backend, named = self.backend(), dict([person])
        outcome = self.world.ask(backend.exclude(**named) if excluded else backend.include(**named), mishap)
        if excluded:
            self.model.excluded.add(person)
        else:
            self.model.excluded.discard(person)

        assert outcome == Accepted("logrocket")

    @invariant()
    def logrocket_holds_what_the_model_holds(self) -> None:
        """Every user, every field, and nobody else."""
        users = {
            user_id: {
                "own": {name: text for name, text in (("name", user.name), ("email", user.email)) if text is not None},
                "traits": user.traits,
                "seen": [user.first_seen, user.last_seen],
            }
            for user_id, user in self.world.emulator.users.items()
        }
        assert not differences(users, self.model.users)
        assert self.world.emulator.excluded == self.model.excluded


@pytest.fixture(scope="module")
def world() -> Iterator[World[LogRocketEmulator]]:
    """Serve one LogRocket."""
    with serving(lambda clock: LogRocketEmulator(clock=clock)) as world:
        yield world


@pytest.mark.slow
def test_logrocket_does_as_documented_whatever_is_called(world: World[LogRocketEmulator]) -> None:
    """In any order of calls, with answers lost on the way, it holds what the model holds."""
    run_machine(lambda: LogRocketMachine(world))
