"""The ledger against a model of it, and of vendors who applied what they were sent, or never did."""

import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ledger.delivering import A, B, dropped

from replay_identity import (
    REMOVE,
    Accepted,
    Broken,
    Misconfigured,
    Outcome,
    Rejected,
    Skipped,
    Unavailable,
    Unknown,
    UserTraits,
)
from replay_identity.ledger import Claim, Ledger, Settlement, UpsertCounts
from replay_identity.ledger import database as opening
from replay_identity.ledger.jobs import Batch, JobEntry, StoredJob
from replay_identity.outcomes import SkipReason

BACKENDS: Final = (A, B)
NOON: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
FIELDS: Final = ("name", "traits.x", "traits.y", "traits.z")
# What nothing was ever said of.
ABSENT: Final = object()
# What a vendor was sent without an answer, and nobody knows any more.
FORGOTTEN: Final = object()

values = st.sampled_from([1, 2, {"in": 1}, REMOVE])
users = st.builds(
    UserTraits,
    st.sampled_from(["u1", "u2", "u3"]),
    name=st.sampled_from([None, None, "Ann", "Bob"]),
    traits=st.dictionaries(st.sampled_from(["x", "y", "z"]), values, max_size=3),
    observed_at=st.one_of(st.none(), st.integers(0, 3).map(lambda hours: NOON + timedelta(hours=hours))),
)
outcomes = st.sampled_from(
    [
        Accepted(A),
        Accepted(A),
        Skipped(A, SkipReason.NOTHING_TO_SEND),
        Rejected(A, code="400"),
        Broken(A, "KeyError"),
        Unavailable(A, "503"),
        Unknown(A, "timeout"),
        Misconfigured(A, "401"),
    ]
)


def said(user: UserTraits) -> dict[str, Any]:
    """Return what *user* says, field by field; mappings as what can be compared and hashed."""
    own = {} if user.name is None else {"name": user.name}
    traits = {f"traits.{name}": str(value) if isinstance(value, dict) else value for name, value in user.traits.items()}
    return own | traits


@attrs.define
class Vendor:
    """What the model knows of one backend, by user id."""

    pending: set[str] = attrs.field(factory=set[str])
    rejected: dict[str, int] = attrs.field(factory=dict[str, int])
    # What each field may be at the vendor, as far as anyone here can know.
    may_hold: dict[str, dict[str, set[Any]]] = attrs.field(factory=dict[str, dict[str, set[Any]]])
    sure: set[str] = attrs.field(factory=set[str])
    confirmed: set[str] = attrs.field(factory=set[str])
    # What the vendor should hold once it is nobody's turn any more.
    wanted: dict[str, dict[str, Any]] = attrs.field(factory=dict[str, dict[str, Any]])
    lost: dict[str, set[str]] = attrs.field(factory=dict[str, set[str]])

    def holds(self, who: str, what: dict[str, Any]) -> bool:
        """Tell whether the vendor holds *what* for certain."""
        known = self.may_hold.get(who, {})
        return all(known.get(field) == {value} for field, value in what.items())


@attrs.define
class Flight:
    """One claim that has not been answered."""

    backend: str
    claim: Claim
    version: int


class LedgerMachine(RuleBasedStateMachine):
    """Puts, claims, answers in any order, crashes and batches."""

    @initialize()
    def open(self) -> None:
        """Begin with an empty ledger."""
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "ledger.db")
        self.crashed: list[Ledger] = []
        self.ledger = Ledger(self.path)
        self.vendors = {name: Vendor() for name in BACKENDS}
        self.desired: dict[str, dict[str, Any]] = {}
        self.moment: dict[str, datetime | None] = {}
        self.since: dict[str, dict[str, datetime | None]] = {}
        self.version: dict[str, int] = {}
        self.flights: list[Flight] = []
        self.jobs: list[tuple[str, StoredJob, list[Flight]]] = []

    def teardown(self) -> None:
        """Close whatever is open."""
        for ledger in [self.ledger, *self.crashed]:
            ledger.close()
        self.folder.cleanup()

    # What users should be.

    @rule(given=st.lists(users, max_size=3), backends=st.sets(st.sampled_from(BACKENDS)))
    def put(self, given: list[UserTraits], backends: set[str]) -> None:
        """Put users for some of the backends; the counts add up, and are those of the model."""
        counts = self.ledger.upsert(given, backends)

        expected = {name: attrs.asdict(UpsertCounts()) for name in backends}
        if backends:
            for user in given:
                for name, kind in self.take_in(user, backends).items():
                    expected[name][kind] += 1
        assert {name: attrs.asdict(count) for name, count in counts.items()} == expected
        assert all(sum(count.values()) == len(given) for count in expected.values())

    def take_in(self, user: UserTraits, backends: set[str]) -> dict[str, str]:
        """Do in the model what putting *user* means, and return what that is for each backend."""
        who = user.user_id or ""
        since = self.since.setdefault(who, {})
        fresh = {field: value for field, value in said(user).items() if is_fresh(since.get(field), user.observed_at)}
        since.update(dict.fromkeys(fresh, user.observed_at))
        before = (self.desired.get(who), self.moment.get(who))
        desired = {**self.desired.get(who, {}), **fresh}
        moment = max([each for each in (self.moment.get(who), user.observed_at) if each], default=None)
        changed = (desired, moment) != before
        kinds = {name: self.kind(self.vendors[name], who, fresh, changed=changed) for name in backends}
        if "pending" in kinds.values() or before[0] is not None:
            self.desired[who], self.moment[who] = desired, moment
            self.version[who] = self.version.get(who, 0) + changed
        for name, kind in kinds.items():
            if kind == "pending":
                self.vendors[name].pending.add(who)
                self.vendors[name].rejected.pop(who, None)
                self.vendors[name].wanted.setdefault(who, {}).update(desired)
        for vendor in self.vendors.values():
            if who in vendor.pending or who in vendor.rejected:
                vendor.wanted.setdefault(who, {}).update(fresh)
        return kinds

    def kind(self, vendor: Vendor, who: str, fresh: dict[str, Any], *, changed: bool) -> str:
        """Return what *fresh* means for one vendor."""
        if who in vendor.pending:
            return "already_pending"
        if who in vendor.rejected:
            return "rejected" if vendor.rejected[who] == self.version[who] and not changed else "pending"
        return "unchanged" if who in vendor.sure and vendor.holds(who, fresh) else "pending"

    # Towards the vendors and back.

    @rule(
        backend=st.sampled_from(BACKENDS),
        count=st.integers(1, 3),
        skipped=st.sets(st.integers(1, 3), max_size=1),
        full_state=st.booleans(),
    )
    def claim(self, backend: str, count: int, skipped: set[int], full_state: bool) -> None:  # noqa: FBT001  # Drawn.
        """Claim; nothing is left out that the vendor may not hold, and nothing is sent that it holds for certain."""
        claims = self.ledger.claim(backend, count=count, skip=skipped, full_state=full_state)

        vendor = self.vendors[backend]
        due = [who for row_id, who in enumerate(self.since, 1) if who in vendor.pending and row_id not in skipped]
        assert [claim.user.user_id for claim in claims] == due[:count]
        for claim in claims:
            who, sent = claim.user.user_id or "", said(claim.user)
            known = vendor.may_hold.setdefault(who, {})
            missing = {field: value for field, value in self.desired[who].items() if known.get(field) != {value}}
            is_sure = who in vendor.sure and who not in vendor.lost
            assert sent == (missing if is_sure and not full_state else self.desired[who])
            assert missing.items() <= sent.items()
            assert claim.unchanged == (is_sure and not missing)
            assert claim.user.observed_at == self.moment[who]
            if not claim.unchanged:
                vendor.sure.discard(who)
                for field, value in sent.items():
                    known[field] = known.get(field, {ABSENT}) | {value}
            self.flights.append(Flight(backend, claim, self.version[who]))

    @precondition(lambda self: self.flights)
    @rule(data=st.data(), outcome=outcomes, lossy=st.booleans())
    def settle(self, data: st.DataObject, outcome: Outcome, lossy: bool) -> None:  # noqa: FBT001  # Drawn.
        """Settle any claim, also one that newer puts or answers have overtaken."""
        flight = self.flights.pop(data.draw(st.integers(0, len(self.flights) - 1)))
        settlement = self.settlement(flight, outcome, lossy=lossy)

        settled = self.ledger.settle(flight.backend, [settlement])

        assert settled == self.land([flight], [settlement])

    def settlement(self, flight: Flight, outcome: Outcome, *, lossy: bool) -> Settlement:
        """Return an answer, in which the first field sent is lost if it is *lossy*."""
        if isinstance(outcome, Accepted):
            adjustments = [dropped(field) for field in list(said(flight.claim.user))[:1]] if lossy else []
            outcome = Accepted(flight.backend, adjustments=tuple(adjustments))
        return Settlement(flight.claim.row_id, flight.claim.version, outcome)

    def land(self, flights: Iterable[Flight], settlements: Iterable[Settlement]) -> set[int]:
        """Do in the model what these answers mean, and return the places of who is due no more."""
        settled: set[int] = set()
        for flight, settlement in zip(flights, settlements, strict=True):
            vendor, who, outcome = self.vendors[flight.backend], flight.claim.user.user_id or "", settlement.outcome
            if who not in vendor.pending or flight.version != self.version[who]:
                continue
            match outcome:
                case Accepted(adjustments=adjustments):
                    self.hold(vendor, who, {each.path for each in adjustments})
                case Skipped():
                    self.skip(vendor, who)
                case Rejected() | Broken():
                    vendor.rejected[who] = self.version[who]
                case _:
                    continue
            settled.add(flight.claim.row_id)
            vendor.pending.discard(who)
        for who in [*self.desired]:
            if not any(who in vendor.pending or who in vendor.rejected for vendor in self.vendors.values()):
                del self.desired[who], self.moment[who]
        return settled

    def hold(self, vendor: Vendor, who: str, lost: set[str]) -> None:
        """Do in the model what it means that a vendor has taken a user, but for what was lost."""
        vendor.sure.add(who)
        vendor.confirmed.add(who)
        vendor.may_hold.setdefault(who, {}).update({field: {value} for field, value in self.desired[who].items()})
        vendor.lost[who] = (vendor.lost.get(who, set()) - self.desired[who].keys()) | lost
        if not vendor.lost[who]:
            del vendor.lost[who]

    def skip(self, vendor: Vendor, who: str) -> None:
        """Do in the model what it means that a user is not to be sent, though something may have been sent before."""
        for field in self.desired[who]:
            vendor.wanted[who].pop(field, None)
            if who not in vendor.sure:
                vendor.may_hold[who][field] = vendor.may_hold[who].get(field, {ABSENT}) | {FORGOTTEN}
        if who in vendor.confirmed:
            vendor.sure.add(who)

    @rule(backend=st.sampled_from(BACKENDS))
    def retry(self, backend: str) -> None:
        """Try again with everyone refused."""
        vendor = self.vendors[backend]

        number = self.ledger.requeue_rejected(backend)

        assert number == len(vendor.rejected)
        vendor.pending |= vendor.rejected.keys()
        vendor.rejected.clear()

    # Batches and crashes.

    @rule(backend=st.sampled_from(BACKENDS))
    def start_job(self, backend: str) -> None:
        """Put all that is under way into a batch."""
        mine = {flight.claim.row_id: flight for flight in self.flights if flight.backend == backend}
        self.flights = [flight for flight in self.flights if flight.backend != backend]
        entries = [JobEntry(row_id, flight.claim.version, flight.claim.user.user_id) for row_id, flight in mine.items()]

        job = self.ledger.start_job(backend, Batch("key", entries, b"body"))

        self.jobs.append((backend, job, list(mine.values())))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), outcome=outcomes)
    def end_job(self, data: st.DataObject, outcome: Outcome) -> None:
        """End a batch, of this run or of one that crashed."""
        backend, job, flights = self.jobs.pop(data.draw(st.integers(0, len(self.jobs) - 1)))
        assert [entry.row_id for entry in self.ledger.entries(job)] == [flight.claim.row_id for flight in flights]
        settlements = [self.settlement(flight, outcome, lossy=False) for flight in flights]

        settled = self.ledger.end_job(backend, job, settlements)

        assert settled == self.land(flights, settlements)

    @rule(is_clean=st.booleans())
    def reopen(self, is_clean: bool) -> None:  # noqa: FBT001  # Drawn.
        """Crash, or end in good order: what is under way is never answered."""
        if is_clean:
            self.ledger.close()
        else:
            self.crashed.append(self.ledger)
        self.flights.clear()
        self.ledger = Ledger(self.path)

    # What always holds.

    @invariant()
    def the_ledger_stands_as_the_model_does(self) -> None:
        """Due, refused, lost and under way are the same."""
        for name, vendor in self.vendors.items():
            assert self.ledger.pending_count(name) == len(vendor.pending)
            assert {one.user.user_id for one in self.ledger.rejected(name)} == vendor.rejected.keys()
            assert all(said(one.user) == self.desired[one.user.user_id or ""] for one in self.ledger.rejected(name))
            lost = sorted(sorted(each.path for each in lost) for lost in self.ledger.losses(name))
            assert lost == sorted(sorted(each) for each in vendor.lost.values())
            assert [job.id for job in self.ledger.jobs(name)] == [
                job.id for owner, job, _ in self.jobs if owner == name
            ]

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """Whoever may not hold what was put is due or refused; and nobody is both."""
        for vendor in self.vendors.values():
            assert not vendor.pending & vendor.rejected.keys()
            for who, wanted in vendor.wanted.items():
                assert vendor.holds(who, wanted) or who in vendor.pending or who in vendor.rejected

    @invariant()
    def values_stay_only_as_long_as_they_are_needed(self) -> None:
        """There are values of exactly those who are due or refused somewhere."""
        needed = "SELECT row_id FROM pending UNION SELECT row_id FROM rejections"

        assert self.select(f"{needed} EXCEPT SELECT row_id FROM desired") == []  # noqa: S608  # Our own words.
        assert self.select(f"SELECT row_id FROM desired EXCEPT SELECT * FROM ({needed})") == []  # noqa: S608

    def select(self, sql: str, *parameters: object) -> list[Any]:
        """Return what *sql* selects from the file, as another program sees it."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql, parameters).fetchall()


def is_fresh(since: datetime | None, now: datetime | None) -> bool:
    """Tell whether what is said *now* replaces what is known *since* a moment."""
    return now is None or since is None or now >= since


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: no power is cut here."""
    pragmas = [each for each in opening._PRAGMAS if "synchronous" not in each]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(opening, "_PRAGMAS", (*pragmas, "PRAGMA synchronous = OFF"))


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=60, stateful_step_count=30)
