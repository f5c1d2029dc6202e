"""The ledger against a model of it, and of vendors that may or may not have applied what they were sent."""

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
from support.ledgers import A, B, dropped
from support.profiles import examples

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
from replay_identity.ledger import Batch, JobEntry, StoredJob
from replay_identity.outcomes import SkipReason

BACKENDS: Final = (A, B)
NOON: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
FIELDS: Final = ("name", "traits.x", "traits.y", "traits.z")
# The value of a field that was never sent.
ABSENT: Final = object()
# A value that was sent without an answer and is no longer known.
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


def fields_of(user: UserTraits) -> dict[str, Any]:
    """Return the fields of *user*; nested traits as strings, which can be hashed."""
    own = {} if user.name is None else {"name": user.name}
    traits = {f"traits.{name}": str(value) if isinstance(value, dict) else value for name, value in user.traits.items()}
    return own | traits


@attrs.define
class BackendModel:
    """The model of one backend, by user id."""

    pending: set[str] = attrs.field(factory=set[str])
    rejected: dict[str, int] = attrs.field(factory=dict[str, int])
    # The values that each field may have at the vendor.
    possible: dict[str, dict[str, set[Any]]] = attrs.field(factory=dict[str, dict[str, set[Any]]])
    sure: set[str] = attrs.field(factory=set[str])
    confirmed: set[str] = attrs.field(factory=set[str])
    # What the vendor should have once nobody is pending or rejected.
    expected_state: dict[str, dict[str, Any]] = attrs.field(factory=dict[str, dict[str, Any]])
    lost: dict[str, set[str]] = attrs.field(factory=dict[str, set[str]])

    def has(self, user_id: str, fields: dict[str, Any]) -> bool:
        """Return True if the vendor certainly has *fields*."""
        known = self.possible.get(user_id, {})
        return all(known.get(field) == {value} for field, value in fields.items())


@attrs.define
class Delivery:
    """One claim in flight."""

    backend: str
    claim: Claim
    version: int


class LedgerMachine(RuleBasedStateMachine):
    """Upserts, claims, outcomes in any order, crashes and jobs."""

    @initialize()
    def open(self) -> None:
        """Start with an empty ledger."""
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "ledger.db")
        self.crashed: list[Ledger] = []
        self.ledger = Ledger(self.path)
        self.vendors = {name: BackendModel() for name in BACKENDS}
        self.desired: dict[str, dict[str, Any]] = {}
        self.moment: dict[str, datetime | None] = {}
        self.since: dict[str, dict[str, datetime | None]] = {}
        self.version: dict[str, int] = {}
        self.in_flight: list[Delivery] = []
        self.jobs: list[tuple[str, StoredJob, list[Delivery]]] = []

    def teardown(self) -> None:
        """Close every ledger."""
        for ledger in [self.ledger, *self.crashed]:
            ledger.close()
        self.folder.cleanup()

    # Desired state.

    @rule(given=st.lists(users, max_size=3), backends=st.sets(st.sampled_from(BACKENDS)))
    def upsert(self, given: list[UserTraits], backends: set[str]) -> None:
        """Upsert users for some backends; the counts add up, and equal those of the model."""
        counts = self.ledger.upsert(given, backends)

        expected = {name: attrs.asdict(UpsertCounts()) for name in backends}
        if backends:
            for user in given:
                for name, kind in self.model_upsert(user, backends).items():
                    expected[name][kind] += 1
        assert {name: attrs.asdict(count) for name, count in counts.items()} == expected
        assert all(sum(count.values()) == len(given) for count in expected.values())

    def model_upsert(self, user: UserTraits, backends: set[str]) -> dict[str, str]:
        """Apply an upsert to the model, and return its kind for each backend."""
        user_id = user.user_id or ""
        since = self.since.setdefault(user_id, {})
        fresh = {
            field: value for field, value in fields_of(user).items() if is_fresh(since.get(field), user.observed_at)
        }
        since.update(dict.fromkeys(fresh, user.observed_at))
        before = (self.desired.get(user_id), self.moment.get(user_id))
        desired = {**self.desired.get(user_id, {}), **fresh}
        moment = max([each for each in (self.moment.get(user_id), user.observed_at) if each], default=None)
        changed = (desired, moment) != before
        kinds = {name: self.kind(self.vendors[name], user_id, fresh, changed=changed) for name in backends}
        if "pending" in kinds.values() or before[0] is not None:
            self.desired[user_id], self.moment[user_id] = desired, moment
            self.version[user_id] = self.version.get(user_id, 0) + changed
        for name, kind in kinds.items():
            if kind == "pending":
                self.vendors[name].pending.add(user_id)
                self.vendors[name].rejected.pop(user_id, None)
                self.vendors[name].expected_state.setdefault(user_id, {}).update(desired)
        for vendor in self.vendors.values():
            if user_id in vendor.pending or user_id in vendor.rejected:
                vendor.expected_state.setdefault(user_id, {}).update(fresh)
        return kinds

    def kind(self, vendor: BackendModel, user_id: str, fresh: dict[str, Any], *, changed: bool) -> str:
        """Return the count that *fresh* adds to at one vendor."""
        if user_id in vendor.pending:
            return "already_pending"
        if user_id in vendor.rejected:
            return "rejected" if vendor.rejected[user_id] == self.version[user_id] and not changed else "pending"
        return "unchanged" if user_id in vendor.sure and vendor.has(user_id, fresh) else "pending"

    # Claims and outcomes.

    @rule(
        backend=st.sampled_from(BACKENDS),
        count=st.integers(1, 3),
        skipped=st.sets(st.integers(1, 3), max_size=1),
        full_state=st.booleans(),
    )
    def claim(self, backend: str, count: int, skipped: set[int], full_state: bool) -> None:  # noqa: FBT001  # Drawn.
        """Claim; exactly the fields that the vendor does not certainly have are sent."""
        claims = self.ledger.claim(backend, count=count, skip=skipped, full_state=full_state)

        vendor = self.vendors[backend]
        pending = [
            user_id
            for row_id, user_id in enumerate(self.since, 1)
            if user_id in vendor.pending and row_id not in skipped
        ]
        assert [claim.user.user_id for claim in claims] == pending[:count]
        for claim in claims:
            user_id, sent = claim.user.user_id or "", fields_of(claim.user)
            known = vendor.possible.setdefault(user_id, {})
            missing = {field: value for field, value in self.desired[user_id].items() if known.get(field) != {value}}
            is_sure = user_id in vendor.sure and user_id not in vendor.lost
            assert sent == (missing if is_sure and not full_state else self.desired[user_id])
            assert missing.items() <= sent.items()
            assert claim.unchanged == (is_sure and not missing)
            assert claim.user.observed_at == self.moment[user_id]
            if not claim.unchanged:
                vendor.sure.discard(user_id)
                for field, value in sent.items():
                    known[field] = known.get(field, {ABSENT}) | {value}
            self.in_flight.append(Delivery(backend, claim, self.version[user_id]))

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), outcome=outcomes, lossy=st.booleans())
    def settle(self, data: st.DataObject, outcome: Outcome, lossy: bool) -> None:  # noqa: FBT001  # Drawn.
        """Settle any claim, including one outdated by newer upserts or outcomes."""
        delivery = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        settlement = self.settlement(delivery, outcome, lossy=lossy)

        settled = self.ledger.settle(delivery.backend, [settlement])

        assert settled == self.model_settle([delivery], [settlement])

    def settlement(self, delivery: Delivery, outcome: Outcome, *, lossy: bool) -> Settlement:
        """Return a settlement, in which the first field sent is lost if it is *lossy*."""
        if isinstance(outcome, Accepted):
            adjustments = [dropped(field) for field in list(fields_of(delivery.claim.user))[:1]] if lossy else []
            outcome = Accepted(delivery.backend, adjustments=tuple(adjustments))
        return Settlement(delivery.claim.row_id, delivery.claim.version, outcome)

    def model_settle(self, in_flight: Iterable[Delivery], settlements: Iterable[Settlement]) -> set[int]:
        """Apply settlements to the model, and return the row ids that are no longer pending."""
        settled: set[int] = set()
        for delivery, settlement in zip(in_flight, settlements, strict=True):
            vendor, user_id = self.vendors[delivery.backend], delivery.claim.user.user_id or ""
            if user_id not in vendor.pending or delivery.version != self.version[user_id]:
                continue
            match settlement.outcome:
                case Accepted(adjustments=adjustments):
                    self.model_accept(vendor, user_id, {each.path for each in adjustments})
                case Skipped():
                    self.model_skip(vendor, user_id)
                case Rejected() | Broken():
                    vendor.rejected[user_id] = self.version[user_id]
                case _:
                    continue
            settled.add(delivery.claim.row_id)
            vendor.pending.discard(user_id)
        for user_id in [*self.desired]:
            if not any(user_id in vendor.pending or user_id in vendor.rejected for vendor in self.vendors.values()):
                del self.desired[user_id], self.moment[user_id]
        return settled

    def model_accept(self, vendor: BackendModel, user_id: str, lost: set[str]) -> None:
        """Apply an acceptance to the model, except for the lost fields."""
        vendor.sure.add(user_id)
        vendor.confirmed.add(user_id)
        vendor.possible.setdefault(user_id, {}).update(
            {field: {value} for field, value in self.desired[user_id].items()}
        )
        vendor.lost[user_id] = (vendor.lost.get(user_id, set()) - self.desired[user_id].keys()) | lost
        if not vendor.lost[user_id]:
            del vendor.lost[user_id]

    def model_skip(self, vendor: BackendModel, user_id: str) -> None:
        """Apply a skip to the model; something may have been sent before without an answer."""
        for field in self.desired[user_id]:
            vendor.expected_state[user_id].pop(field, None)
            if user_id not in vendor.sure:
                vendor.possible[user_id][field] = vendor.possible[user_id].get(field, {ABSENT}) | {FORGOTTEN}
        if user_id in vendor.confirmed:
            vendor.sure.add(user_id)

    @rule(backend=st.sampled_from(BACKENDS))
    def requeue_rejected(self, backend: str) -> None:
        """Make the rejected users pending again."""
        vendor = self.vendors[backend]

        number = self.ledger.requeue_rejected(backend)

        assert number == len(vendor.rejected)
        vendor.pending |= vendor.rejected.keys()
        vendor.rejected.clear()

    # Jobs and crashes.

    @rule(backend=st.sampled_from(BACKENDS))
    def start_job(self, backend: str) -> None:
        """Turn the claims in flight into a job."""
        mine = {delivery.claim.row_id: delivery for delivery in self.in_flight if delivery.backend == backend}
        self.in_flight = [delivery for delivery in self.in_flight if delivery.backend != backend]
        entries = [
            JobEntry(row_id, delivery.claim.version, delivery.claim.user.user_id) for row_id, delivery in mine.items()
        ]

        job = self.ledger.start_job(backend, Batch("key", entries, b"body"))

        self.jobs.append((backend, job, list(mine.values())))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), outcome=outcomes)
    def end_job(self, data: st.DataObject, outcome: Outcome) -> None:
        """End a job of this run or of one that crashed."""
        backend, job, in_flight = self.jobs.pop(data.draw(st.integers(0, len(self.jobs) - 1)))
        assert [entry.row_id for entry in self.ledger.entries(job)] == [delivery.claim.row_id for delivery in in_flight]
        settlements = [self.settlement(delivery, outcome, lossy=False) for delivery in in_flight]

        settled = self.ledger.end_job(backend, job, settlements)

        assert settled == self.model_settle(in_flight, settlements)

    @rule(is_clean=st.booleans())
    def reopen(self, is_clean: bool) -> None:  # noqa: FBT001  # Drawn.
        """Crash or close the ledger: claims in flight are never answered."""
        if is_clean:
            self.ledger.close()
        else:
            self.crashed.append(self.ledger)
        self.in_flight.clear()
        self.ledger = Ledger(self.path)

    # Invariants.

    @invariant()
    def the_ledger_equals_the_model(self) -> None:
        """Pending and rejected users, losses and jobs are the same."""
        for name, vendor in self.vendors.items():
            assert self.ledger.pending_count(name) == len(vendor.pending)
            assert {each.user.user_id for each in self.ledger.rejected(name)} == vendor.rejected.keys()
            assert all(
                fields_of(each.user) == self.desired[each.user.user_id or ""] for each in self.ledger.rejected(name)
            )
            lost = sorted(sorted(each.path for each in lost) for lost in self.ledger.losses(name))
            assert lost == sorted(sorted(each) for each in vendor.lost.values())
            assert [job.id for job in self.ledger.jobs(name)] == [
                job.id for owner, job, _ in self.jobs if owner == name
            ]

    @invariant()
    def nobody_is_lost(self) -> None:
        """A user that the vendor may not have is pending or rejected, never both."""
        for vendor in self.vendors.values():
            assert not vendor.pending & vendor.rejected.keys()
            for user_id, expected_state in vendor.expected_state.items():
                assert vendor.has(user_id, expected_state) or user_id in vendor.pending or user_id in vendor.rejected

    @invariant()
    def values_stay_only_while_needed(self) -> None:
        """Exactly the users who are pending or rejected somewhere have values."""
        needed = "SELECT row_id FROM pending UNION SELECT row_id FROM rejections"

        assert self.select(f"{needed} EXCEPT SELECT row_id FROM desired") == []  # noqa: S608  # Constant SQL.
        assert self.select(f"SELECT row_id FROM desired EXCEPT SELECT * FROM ({needed})") == []  # noqa: S608

    def select(self, sql: str, *parameters: object) -> list[Any]:
        """Return what *sql* selects from the file, as another program would see it."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql, parameters).fetchall()


def is_fresh(since: datetime | None, now: datetime | None) -> bool:
    """Return True if a field observed *now* replaces one known *since* a moment."""
    return now is None or since is None or now >= since


@pytest.fixture(autouse=True)
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip waiting for the disk: no test cuts the power."""
    pragmas = [each for each in opening._PRAGMAS if "synchronous" not in each]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(opening, "_PRAGMAS", (*pragmas, "PRAGMA synchronous = OFF"))


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=examples(60), stateful_step_count=30)
