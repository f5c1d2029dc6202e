"""The ledger against a model of vendors that may or may not have applied what they were sent.

What the ledger does not send, a vendor must certainly have: at that account, under the vendor's names and as encoded.
"""

import enum
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.ledgers import A, B, database_of, fields_of
from support.profiles import examples

from replay_identity import (
    REMOVE,
    Accepted,
    Broken,
    LedgerError,
    Misconfigured,
    Outcome,
    Rejected,
    Skipped,
    Unavailable,
    Unknown,
    UserTraits,
)
from replay_identity.ledger import Account, Batch, Claim, JobEntry, Ledger, Settlement, StoredJob
from replay_identity.ledger import database as opening
from replay_identity.outcomes import SkipReason

# The fields of one user by name, as JSON text: 1 == True in Python.
Fields: TypeAlias = dict[str, str]
Key: TypeAlias = tuple[str, str]

# The steps to run in all: 1,000,000 take about half an hour on one core.
STEPS: Final = int(os.environ.get("REPLAY_IDENTITY_LEDGER_STEPS", "0"))
STEPS_PER_EXAMPLE: Final = 50 if STEPS else 30
# Backends whose accounts have the same name deliver to one account at the vendor.
ACCOUNTS: Final[Sequence[Key]] = ((A, "first"), (A, "second"), (B, "only"), (B, "first"))
IDS: Final = ("u1", "u2", "u3")
ENCODINGS: Final = ("1", "2")
NOON: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
# Seconds since 1970 when the machine starts.
START: Final = 1_800_000_000.0
EVENTS: Final = ("requeue", "time", "settings", "invalidate", "forget", "reopen", "start job", "end job", "end job")
# The value of a field that may have been sent or not, or may have been changed by somebody else.
UNCERTAIN: Final = "uncertain"

values = st.sampled_from([1, 2, 1, 2, {"in": 1}, REMOVE])
users = st.builds(
    UserTraits,
    st.sampled_from(IDS),
    name=st.sampled_from([None, None, "Ann"]),
    traits=st.dictionaries(st.sampled_from(["x", "y"]), values, max_size=2),
    observed_at=st.one_of(st.none(), st.none(), st.integers(0, 3).map(lambda hours: NOON + timedelta(hours=hours))),
)
answers = st.sampled_from(
    [
        Accepted(A),
        Accepted(A),
        Skipped(A, SkipReason.FILTERED),
        Rejected(A, code="400"),
        Broken(A, "KeyError"),
        Unavailable(A, "503"),
        Unknown(A, "timeout"),
        Misconfigured(A, "401"),
    ]
)
keys = st.sampled_from(ACCOUNTS)
# Accounts of different backends.
chosen_keys = st.sampled_from(
    [[ACCOUNTS[index] for index in indices] for indices in ((0,), (0, 2), (1, 2), (0, 3), (3,))]
)


def encoded(user: UserTraits, encoding: str) -> Fields:
    """Return the fields of *user* as a backend with this *encoding* sends them; only the trait x depends on it."""
    fields = fields_of(user)
    if "traits.x" in fields:
        fields["traits.x"] = [encoding, fields["traits.x"]]
    return {name: orjson.dumps(value).decode() for name, value in fields.items()}


class Kind(enum.Enum):
    """What an upsert does with one user at one account."""

    ALREADY_PENDING = enum.auto()
    PENDING = enum.auto()
    NOT_PENDING = enum.auto()
    # Pending, unless the vendor certainly has the user: the ledger may send more than it has to.
    OPEN = enum.auto()


@attrs.frozen
class Desired:
    """The desired state of one user.

    Attributes:
        user: The user.
        removed: Paths of traits that were removed and set again, or that were nested in a removed one.
    """

    user: UserTraits
    removed: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        """Compare with the order of the traits, as bytes do."""
        return (
            isinstance(other, Desired)
            and self.user == other.user
            and [*self.user.traits] == [*other.user.traits]
            and self.user.observed_at == other.user.observed_at
            and self.removed == other.removed
        )

    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def updated(self, newer: UserTraits, *, may_replace: bool) -> "Desired":
        """Return this state updated with *newer*, or replaced by it but for the removals."""
        older = self.user
        moments = [each.observed_at for each in (older, newer) if each.observed_at is not None]
        is_older = len(moments) > 1 and moments[1] < moments[0]
        if may_replace and not is_older:
            user = attrs.evolve(newer, traits={**self._still_to_send(), **newer.traits})
            removed = dict.fromkeys(path for path in self.removed if not self._is_set_again(path))
        else:
            user = attrs.evolve(
                newer,
                name=newer.name or older.name,
                traits={**older.traits, **newer.traits},
                observed_at=max(moments, default=None),
            )
            removed = dict.fromkeys(self.removed)
        for name, value in newer.traits.items():
            before = older.traits.get(name)
            if before is REMOVE and value is not REMOVE:
                removed[name] = None
            elif isinstance(before, dict) and value is REMOVE:
                removed[f"{name}.in"] = None
        return Desired(user, tuple(removed))

    def _still_to_send(self) -> dict[str, Any]:
        """Return what a row cannot express: removals, and what is nested in a trait that was removed before."""
        removed = {path.partition(".")[0] for path in self.removed}
        removals = {name: value for name, value in self.user.traits.items() if value is REMOVE}
        nested = {name: value for name, value in self.user.traits.items() if isinstance(value, dict)}
        return {**removals, **{name: value for name, value in nested.items() if name in removed}}

    def _is_set_again(self, path: str) -> bool:
        """Return True if a trait that was removed has a value again that is not nested."""
        value = self.user.traits.get(path, REMOVE)
        return value is not REMOVE and not isinstance(value, dict)


@attrs.define
class AccountModel:
    """One account and its vendor, by user id."""

    encoding: str = ENCODINGS[0]
    # When each pending user may be claimed, in seconds since 1970.
    pending: dict[str, float] = attrs.field(factory=dict[str, float])
    # The desired state that was rejected, and the encoding it was rejected with, if that is known.
    rejected: dict[str, tuple[Desired, str | None]] = attrs.field(factory=dict[str, tuple[Desired, str | None]])
    # The values that each field may have at the vendor, which backends at the same account share.
    possible: dict[str, dict[str, set[str]]] = attrs.field(factory=dict[str, dict[str, set[str]]])

    def needs(self, user_id: str) -> bool:
        """Return True if the account still needs the user's values."""
        return user_id in self.pending or user_id in self.rejected

    def has(self, user_id: str, fields: Mapping[str, str]) -> bool:
        """Return True if the vendor certainly has *fields*."""
        known = self.possible.get(user_id, {})
        return all(known.get(name) == {value} for name, value in fields.items())

    def send(self, user_id: str, fields: Mapping[str, str]) -> None:
        """Send *fields*, which may arrive or not."""
        known = self.possible.setdefault(user_id, {})
        for name, value in fields.items():
            known[name] = known.get(name, {UNCERTAIN}) | {value}

    def apply(self, user_id: str, fields: Mapping[str, str]) -> None:
        """Apply *fields* for certain."""
        self.possible.setdefault(user_id, {}).update({name: {value} for name, value in fields.items()})

    def lose_certainty(self) -> None:
        """Let every value be another one."""
        for known in self.possible.values():
            for each in known.values():
                each.add(UNCERTAIN)


@attrs.define
class UserModel:
    """One user.

    Attributes:
        row_id: Key in the ledger.
        desired: The desired state while an account needs it, or None.
        version: Changes whenever claims become outdated.
        moments: When each field was observed.
    """

    row_id: int
    desired: Desired | None = None
    version: int = 0
    moments: dict[str, datetime] = attrs.field(factory=dict[str, datetime])

    def without_stale_fields(self, user: UserTraits) -> UserTraits:
        """Return *user* without what was observed later before."""
        moment = user.observed_at
        if moment is None:
            return user
        stale = {name for name, known in self.moments.items() if known > moment}
        traits = {name: value for name, value in user.traits.items() if f"traits.{name}" not in stale}
        return attrs.evolve(user, name=None if "name" in stale else user.name, traits=traits)

    def observe(self, user: UserTraits) -> None:
        """Record when the fields of *user* were observed; a field without a moment is always fresh."""
        for name in fields_of(user):
            self.moments.pop(name, None)
            if user.observed_at is not None:
                self.moments[name] = user.observed_at


@attrs.define
class UpsertPlan:
    """What an upsert of one user should do.

    Attributes:
        user_id: The user's id.
        user: The user in the model.
        fresh: What is upserted, without what was observed later before.
        desired: The new desired state, if an account needs it.
        kinds: What happens at each account.
        changed: Whether the desired state changes.
    """

    user_id: str
    user: UserModel
    fresh: UserTraits
    desired: Desired
    kinds: dict[Key, Kind]
    changed: bool = attrs.field(default=True, kw_only=True)


@attrs.frozen
class Delivery:
    """One claim in flight.

    Attributes:
        key: The account.
        encoding: Its encoding at the time of the claim.
        claim: The claim as compared.
        version: The user's version in the model.
        sent: The fields that were sent.
        is_unchanged: Whether nothing had to be sent.
    """

    key: Key
    encoding: str
    claim: Claim
    version: int
    sent: Fields
    is_unchanged: bool = attrs.field(kw_only=True)

    @property
    def account(self) -> Account:
        """Return the account as it was at the time of the claim."""
        return Account(*self.key, self.encoding)

    @property
    def user_id(self) -> str:
        """Return the user's id."""
        return self.claim.user.user_id or ""


class LedgerMachine(RuleBasedStateMachine):
    """Upserts, claims, outcomes in any order, changes of accounts and settings, crashes, jobs and deletions."""

    @initialize()
    def open(self) -> None:
        """Start with an empty ledger."""
        self.folder = tempfile.mkdtemp(dir=_fast_folder(), prefix="replay-identity-model-")
        self.path = Path(self.folder, "ledger.db")
        self.crashed: list[Ledger] = []
        self.ledger = Ledger(self.path)
        at_vendor: dict[str, dict[str, dict[str, set[str]]]] = {name: {} for _, name in ACCOUNTS}
        self.accounts: dict[Key, AccountModel] = {key: AccountModel(possible=at_vendor[key[1]]) for key in ACCOUNTS}
        self.users: dict[str, UserModel] = {}
        self.inserted = 0
        self.now = START
        self.held: set[int] = set()
        self.in_flight: list[Delivery] = []
        self.jobs: list[tuple[StoredJob, list[Delivery]]] = []
        self.owners: dict[int, Key] = {}
        self.given: list[UserTraits] = []
        are_new = [self.ledger.open_account(self.account(key)).is_new for key in ACCOUNTS]
        assert are_new == [True, True, True, False]

    def account(self, key: Key) -> Account:
        """Return an account with its present encoding."""
        return Account(*key, self.accounts[key].encoding)

    def teardown(self) -> None:
        """Close every ledger."""
        if hasattr(self, "ledger"):
            for ledger in [self.ledger, *self.crashed]:
                ledger.close()
            shutil.rmtree(self.folder)

    # Desired state.

    @rule(
        given=st.lists(users, min_size=1, max_size=3, unique_by=lambda user: user.user_id),
        chosen=chosen_keys,
        replace=st.booleans(),
        followed=st.none() | st.sets(st.sampled_from(IDS), max_size=1),
    )
    def upsert(self, given: list[UserTraits], chosen: list[Key], *, replace: bool, followed: set[str] | None) -> None:
        """Upsert users for some accounts; if *followed* is a set, rows about its users follow."""
        self.given += given
        self.upsert_users(given, chosen, replace=replace, followed=followed)

    def upsert_users(
        self, given: list[UserTraits], chosen: list[Key], *, replace: bool, followed: set[str] | None
    ) -> None:
        """Upsert users and compare what happens with the model."""
        plans = [self.plan_upsert(user, chosen, replace=replace, holds=followed is not None) for user in given]

        counts = self.ledger.upsert(
            given,
            [self.account(key) for key in chosen],
            replace=replace,
            held=None if followed is None else self.held,
            more_follow=None if followed is None else lambda user: user.user_id in followed,
        )

        for key in chosen:
            is_pending = self.pending_rows(key)
            before, became = 0, 0
            for plan in plans:
                before += plan.kinds[key] is Kind.ALREADY_PENDING
                became += plan.kinds[key] is not Kind.ALREADY_PENDING and plan.user.row_id in is_pending
                self.check_kind(key, plan, is_pending=plan.user.row_id in is_pending)
            assert (counts[key[0]].already_pending, counts[key[0]].pending) == (before, became)
        for plan in plans:
            self.finish_upsert(plan)
        if followed is not None:
            rows = {plan.user.row_id: plan.user_id in followed for plan in plans}
            assert {row_id: row_id in self.held for row_id in rows} == rows

    def plan_upsert(self, user: UserTraits, chosen: list[Key], *, replace: bool, holds: bool) -> "UpsertPlan":
        """Return what an upsert of *user* should do; only the moments are recorded at once."""
        user_id = user.user_id or ""
        known = self.users.get(user_id)
        if known is None:
            self.inserted += 1
            known = self.users[user_id] = UserModel(self.inserted)
            known.observe(user)
            return UpsertPlan(user_id, known, user, Desired(user), dict.fromkeys(chosen, Kind.PENDING))
        is_pending = any(user_id in account.pending for account in self.accounts.values())
        fresh = known.without_stale_fields(user)
        known.observe(fresh)
        is_whole = fields_of(fresh).keys() == fields_of(user).keys()
        may_replace = replace and is_whole and not is_pending and not (holds and known.row_id in self.held)
        desired = known.desired.updated(fresh, may_replace=may_replace) if known.desired else Desired(fresh)
        changed = desired != known.desired
        kinds = {key: self.kind(key, user_id, desired) for key in chosen}
        return UpsertPlan(user_id, known, fresh, desired, kinds, changed=changed)

    def kind(self, key: Key, user_id: str, desired: Desired) -> Kind:
        """Return what an upsert should do at one account."""
        account = self.accounts[key]
        if user_id in account.pending:
            return Kind.ALREADY_PENDING
        if user_id in account.rejected:
            is_same = account.rejected[user_id] == (desired, account.encoding)
            return Kind.NOT_PENDING if is_same else Kind.PENDING
        return Kind.OPEN

    def check_kind(self, key: Key, plan: "UpsertPlan", *, is_pending: bool) -> None:
        """Compare what an upsert did at one account with what it should do."""
        kind, account = plan.kinds[key], self.accounts[key]
        if kind is not Kind.OPEN:
            assert is_pending == (kind is not Kind.NOT_PENDING)
        elif is_pending:
            plan.kinds[key] = Kind.PENDING
        else:
            # Called unchanged, so the vendor certainly has it.
            assert account.has(plan.user_id, encoded(plan.fresh, account.encoding))

    def finish_upsert(self, plan: "UpsertPlan") -> None:
        """Apply an upsert to the model."""
        becomes_pending = [key for key, kind in plan.kinds.items() if kind is Kind.PENDING]
        if plan.changed and (becomes_pending or plan.user.desired is not None):
            plan.user.desired = plan.desired
            plan.user.version += 1
        for key in becomes_pending:
            self.accounts[key].pending[plan.user_id] = 0.0
            self.accounts[key].rejected.pop(plan.user_id, None)

    @precondition(lambda self: self.given)
    @rule(number=st.integers(0, 5), chosen=chosen_keys, replace=st.booleans())
    def upsert_again(self, number: int, chosen: list[Key], *, replace: bool) -> None:
        """Upsert one of the latest users again: a, b, a."""
        self.upsert_users([self.given[-1 - number % len(self.given)]], chosen, replace=replace, followed=None)

    # Claims and outcomes.

    @precondition(lambda self: any(account.pending for account in self.accounts.values()))
    @rule(key=keys, answer=st.just(Accepted(A)) | answers, is_answered=st.sampled_from([True, True, True, False]))
    def deliver(self, key: Key, answer: Outcome, *, is_answered: bool) -> None:
        """Claim every due user, and settle those that were in flight at the account, too, all with one outcome."""
        self.claim_users(key, 10, self.held | self.rows_in_jobs(key))
        mine = [delivery for delivery in self.in_flight if delivery.key == key]
        for delivery in mine if is_answered else ():
            self.in_flight.remove(delivery)
            self.settle_one(delivery, self.settlement(delivery, answer))

    @rule(key=keys, limit=st.integers(1, 3), skipped=st.sets(st.integers(1, 3), max_size=1))
    def claim(self, key: Key, limit: int, skipped: set[int]) -> None:
        """Claim and send what differs; what is not sent, the vendor certainly has."""
        self.claim_users(key, limit, self.held | skipped | self.rows_in_jobs(key))

    def claim_users(self, key: Key, limit: int, skip: set[int]) -> None:
        """Claim users, and send what differs; nobody else is delivering to the same account then."""
        self.in_flight = [each for each in self.in_flight if each.key == key or each.key[1] != key[1]]
        claims = self.ledger.claim(self.account(key), limit=limit, skip=skip, now=self.now)

        due = sorted(
            self.users[user_id].row_id
            for user_id, not_before in self.accounts[key].pending.items()
            if not_before <= self.now and self.users[user_id].row_id not in skip
        )
        assert [claim.row_id for claim in claims] == due[:limit]
        for claim in claims:
            self.send(key, claim)

    def send(self, key: Key, claim: Claim) -> None:
        """Compare *claim* and send what differs."""
        account, user_id = self.accounts[key], claim.user.user_id or ""
        user = self.users[user_id]
        assert user.desired is not None
        assert Desired(claim.user, user.desired.removed) == user.desired
        removed = [name for name, value in claim.user.traits.items() if value is REMOVE]
        assert {*claim.removed} == {*user.desired.removed, *removed}
        fields = encoded(claim.user, account.encoding)
        compared, changed = self.ledger.compare(claim, fields)
        sent = {name: value for name, value in fields.items() if changed is None or name in changed}
        assert account.has(user_id, {name: value for name, value in fields.items() if name not in sent})
        account.send(user_id, sent)
        is_unchanged = changed is not None and not changed
        self.in_flight.append(Delivery(key, account.encoding, compared, user.version, sent, is_unchanged=is_unchanged))

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), answer=answers, seconds=st.sampled_from([0, 0, 5]))
    def settle(self, data: st.DataObject, answer: Outcome, seconds: int) -> None:
        """Settle any claim, including one outdated by newer upserts or outcomes."""
        delivery = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        self.settle_one(delivery, self.settlement(delivery, answer, seconds))

    def settle_one(self, delivery: Delivery, settlement: Settlement) -> None:
        """Settle one claim."""
        settled = self.ledger.settle(delivery.account, [settlement])

        assert settled == self.model_settle([delivery], [settlement], delivery.encoding)

    def settlement(self, delivery: Delivery, answer: Outcome, seconds: int = 0) -> Settlement:
        """Return the settlement of *delivery*; a user who had not to be sent is skipped."""
        claim = delivery.claim
        outcome = Skipped(A, SkipReason.UNCHANGED) if delivery.is_unchanged else answer
        is_deferred = seconds and isinstance(outcome, Unavailable | Unknown | Misconfigured)
        not_before = self.now + seconds if is_deferred else 0
        return Settlement(claim.row_id, claim.version, outcome, claim.fields, claim.in_doubt, not_before=not_before)

    def model_settle(
        self, deliveries: Iterable[Delivery], settlements: Iterable[Settlement], encoding: str, key: Key | None = None
    ) -> set[int]:
        """Apply settlements to the model, and return the row ids that are no longer pending.

        Args:
            deliveries: The claims.
            settlements: Their settlements.
            encoding: The present encoding of the account.
            key: The account, if it is not that of the claims.
        """
        settled: set[int] = set()
        for delivery, settlement in zip(deliveries, settlements, strict=True):
            account, user_id = self.accounts[key or delivery.key], delivery.user_id
            user = self.users.get(user_id)
            if user is None or user.row_id != settlement.row_id or user_id not in account.pending:
                continue
            if settlement.not_before:
                account.pending[user_id] = settlement.not_before
            if delivery.version == user.version and self.is_settled(account, delivery, settlement, encoding):
                settled.add(settlement.row_id)
                del account.pending[user_id]
        self.drop_values()
        return settled

    def is_settled(self, account: AccountModel, delivery: Delivery, settlement: Settlement, encoding: str) -> bool:
        """Apply the outcome of a current claim; return True if it settles the user.

        What was sent with older settings is known to be at the vendor, and is compared with what the new ones send.
        """
        is_current = delivery.encoding == encoding
        match settlement.outcome:
            case Accepted():
                account.apply(delivery.user_id, delivery.sent)
                assert account.has(delivery.user_id, encoded(delivery.claim.user, delivery.encoding))
            case Skipped(reason=SkipReason.UNCHANGED):
                assert account.has(delivery.user_id, encoded(delivery.claim.user, delivery.encoding))
            case Skipped():
                pass
            case Rejected() | Broken() if is_current:
                desired = self.users[delivery.user_id].desired
                assert desired is not None
                account.rejected[delivery.user_id] = (desired, encoding)
            case _:
                return False
        return is_current

    def drop_values(self) -> None:
        """Drop the values of users that no account needs."""
        for user_id, user in self.users.items():
            if not any(account.needs(user_id) for account in self.accounts.values()):
                user.desired = None

    def requeue_rejected(self, key: Key) -> None:
        """Make the rejected users pending again."""
        account = self.accounts[key]

        number = self.ledger.requeue_rejected(self.account(key))

        assert number == len(account.rejected)
        account.pending.update(dict.fromkeys(account.rejected, 0.0))
        account.rejected.clear()

    # Accounts and settings.

    @rule(event=st.sampled_from(EVENTS), key=keys, answer=answers, number=st.integers(0, 5))
    def let_something_happen(self, event: str, key: Key, answer: Outcome, number: int) -> None:
        """Let one of the rarer things happen."""
        match event:
            case "requeue":
                self.requeue_rejected(key)
            case "time":
                self.now += number + 1
            case "settings":
                self.change_settings(key, ENCODINGS[number % 2])
            case "invalidate":
                self.invalidate(key)
            case "forget":
                self.forget(IDS[number % len(IDS)])
            case "reopen":
                self.reopen(is_clean=number % 2 == 0)
            case "start job":
                self.start_job(key)
            case _ if self.jobs:
                self.end_job(number, answer)
            case _:
                pass

    def change_settings(self, key: Key, encoding: str) -> None:
        """Begin another run; the claims of the previous one are never answered."""
        self.accounts[key].encoding = encoding
        self.in_flight = [delivery for delivery in self.in_flight if delivery.key != key]

        info = self.ledger.open_account(self.account(key))

        assert not info.is_new
        assert {each.account for each in info.others} == {
            name for backend, name in ACCOUNTS if backend == key[0] and name != key[1]
        }

    def invalidate(self, key: Key) -> None:
        """Let the vendor have anything; the claims in flight are outdated."""
        account = self.accounts[key]

        self.ledger.invalidate(self.account(key))

        account.lose_certainty()
        for user_id in {
            user_id for each, model in self.accounts.items() if each[1] == key[1] for user_id in model.pending
        }:
            self.users[user_id].version += 1

    def forget(self, user_id: str) -> None:
        """Erase a user, unless a job includes them."""
        user = self.users.get(user_id)
        is_in_job = any(delivery.user_id == user_id for _, deliveries in self.jobs for delivery in deliveries)
        assert self.ledger.is_in_flight(user_id) == is_in_job
        if is_in_job:
            with pytest.raises(LedgerError):
                self.ledger.forget(user_id)
            return

        assert self.ledger.forget(user_id) == (user is not None)

        if user is not None:
            del self.users[user_id]
            self.held.discard(user.row_id)
        for account in self.accounts.values():
            account.pending.pop(user_id, None)
            account.rejected.pop(user_id, None)

    # Jobs and crashes.

    def start_job(self, key: Key) -> None:
        """Turn the claims in flight into a job."""
        mine = {
            delivery.claim.row_id: delivery
            for delivery in self.in_flight
            if delivery.key == key and not delivery.is_unchanged
        }
        self.in_flight = [delivery for delivery in self.in_flight if delivery.key != key]
        claims = [delivery.claim for delivery in mine.values()]
        entries = [
            JobEntry(each.row_id, each.version, each.user.user_id, fields=each.fields, in_doubt=each.in_doubt)
            for each in claims
        ]

        job = self.ledger.start_job(self.account(key), Batch("key", entries, b"body"))

        self.jobs.append((job, [*mine.values()]))
        self.owners[job.id] = key

    def end_job(self, number: int, answer: Outcome) -> None:
        """End a job of this run or of an earlier one, under any name of a backend at the account."""
        job, deliveries = self.jobs.pop(number % len(self.jobs))
        owner = self.owners[job.id]
        key = [each for each in ACCOUNTS if each[1] == owner[1]][number % 2 - 1]
        account = self.account(key)
        entries = self.ledger.entries(job)
        assert [each.fields for each in entries] == [delivery.claim.fields for delivery in deliveries]
        settlements = [Settlement(each.row_id, each.version, answer, each.fields, each.in_doubt) for each in entries]

        settled = self.ledger.end_job(account, job, settlements)

        assert settled == self.model_settle(deliveries, settlements, account.encoding, key)

    def reopen(self, *, is_clean: bool) -> None:
        """Crash or close the ledger: claims in flight are never answered, and nobody is held."""
        if is_clean:
            self.ledger.close()
        else:
            self.crashed.append(self.ledger)
        self.in_flight.clear()
        self.held.clear()
        self.ledger = Ledger(self.path)

    # Invariants.

    @invariant()
    def the_ledger_equals_the_model(self) -> None:
        """Pending users, rejected users and jobs are the same at each account."""
        if not hasattr(self, "ledger"):
            return
        for key, account in self.accounts.items():
            assert self.pending_rows(key) == {
                self.users[user_id].row_id: not_before for user_id, not_before in account.pending.items()
            }
            assert {each.user.user_id for each in self.ledger.rejected(self.account(key))} == account.rejected.keys()
            jobs = [job.id for job, _ in self.jobs if self.owners[job.id][1] == key[1]]
            assert sorted(job.id for job in self.ledger.jobs(self.account(key))) == sorted(jobs)

    @invariant()
    def due_users_are_counted(self) -> None:
        """The number of due users, and when the next one is due, follow from the moments."""
        if not hasattr(self, "ledger"):
            return
        for key, account in self.accounts.items():
            moments = account.pending.values()
            later = [moment for moment in moments if moment > self.now]
            due = self.ledger.pending_count(self.account(key), due_at=self.now)
            assert (due, self.ledger.next_due(self.account(key), now=self.now)) == (
                len(moments) - len(later),
                min(later, default=None),
            )

    @invariant()
    def values_stay_only_while_needed(self) -> None:
        """Exactly the users that an account needs have values, and these are the model's."""
        if not hasattr(self, "ledger"):
            return
        stored = database_of(self.ledger).rows("SELECT row_id FROM desired ORDER BY row_id")
        needed = sorted(user.row_id for user in self.users.values() if user.desired is not None)
        assert [row_id for (row_id,) in stored] == needed
        for account in self.accounts.values():
            assert not account.pending.keys() & account.rejected.keys()

    def pending_rows(self, key: Key) -> dict[int, float]:
        """Return when each user who is pending may be claimed, by row id, as the file has it."""
        sql = (
            "SELECT row_id, not_before FROM pending JOIN accounts ON account = accounts.id"
            " WHERE backend = ? AND name = ?"
        )
        return dict(database_of(self.ledger).rows(sql, *key))

    def rows_in_jobs(self, key: Key) -> set[int]:
        """Return the row ids of the users in jobs of one account, who are not sent beside the job."""
        return {
            delivery.claim.row_id for _, deliveries in self.jobs for delivery in deliveries if delivery.key[1] == key[1]
        }


def _fast_folder() -> str | None:
    """Return a folder in memory, or None for the usual one: no test cuts the power."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


@pytest.fixture(autouse=True)
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip waiting for the disk."""
    pragmas = [each for each in opening._PRAGMAS if "synchronous" not in each]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(opening, "_PRAGMAS", (*pragmas, "PRAGMA synchronous = OFF"))


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(
    max_examples=STEPS // STEPS_PER_EXAMPLE or examples(60), stateful_step_count=STEPS_PER_EXAMPLE
)
