"""Whenever nobody is pending, each vendor holds the newest of every user, whatever happened before."""

from collections.abc import Container, Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs
import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.ledgers import A, B, settlement
from support.profiles import examples

from replay_identity import (
    REMOVE,
    Accepted,
    Broken,
    Outcome,
    Rejected,
    Route,
    Skipped,
    Unavailable,
    Unknown,
    UserTraits,
)
from replay_identity._paths import leaves, prefixes
from replay_identity.adapters import Exchange, Limits, Plan, Request
from replay_identity.bulk import BackendReport
from replay_identity.bulk.changes import ChangePlanner, Unsent
from replay_identity.bulk.outbox import LedgerOutbox
from replay_identity.ledger import Account, Batch, Claim, JobEntry, Ledger, Settlement, StoredJob
from replay_identity.logrocket import LIMITS
from replay_identity.outcomes import SkipReason

IDS: Final = ("u1", "u2")
PATHS: Final = ("a", "b", "c.x", "c.y")
# Beyond the moments until which users are deferred.
LATE: Final = 1000.0

scalars = st.sampled_from([1, 2, 3, REMOVE])
nested = st.dictionaries(st.sampled_from(["x", "y"]), scalars, min_size=1)
rows = st.builds(
    UserTraits,
    st.sampled_from(IDS),
    traits=st.fixed_dictionaries({}, optional={"a": scalars, "b": scalars, "c": st.just(REMOVE) | nested}),
)


@attrs.define
class Vendor:
    """An account of a vendor of flat texts, in which an empty text removes a field.

    Attributes:
        users: The fields of each user.
        encodings: The encodings that were in use, with the number of the upsert that each was first used for.
        waived: Number of the upsert from which on a field matters again, by user and field.
    """

    users: dict[str, dict[str, str]] = attrs.field(factory=dict[str, dict[str, str]])
    encodings: list[tuple[int, str]] = attrs.field(factory=lambda: [(0, "plain")])
    waived: dict[tuple[str, str], int] = attrs.field(factory=dict[tuple[str, str], int])

    def apply(self, request: Request) -> None:
        """Apply a request."""
        content = orjson.loads(request.body or b"")
        self.users.setdefault(content.pop("id"), {}).update(content)

    def get(self, user_id: str, field: str) -> str:
        """Return a field, which is empty if the vendor does not have it."""
        return self.users.get(user_id, {}).get(field, "")


@attrs.define
class Adapter:
    """Sends users to a `Vendor`; the encoding ``capped`` knows no number above 2."""

    name: str
    account: str
    encoding: str = "plain"
    limits: Limits = LIMITS
    FLAT_TRAITS: ClassVar[bool] = True

    def plan(self, user: UserTraits, /, *, only: Container[str] | None = None) -> Plan:
        """Return a plan whose request holds the fields named in *only*."""
        fields = {f"traits.{'.'.join(path)}": encoded(value, self.encoding) for path, value in leaves(user.traits)}
        sent = {name: text for name, text in fields.items() if only is None or name in only}
        body = orjson.dumps({"id": user.user_id, **sent})
        return Plan(self.name, Request("identify", "POST", "https://vendor.example/", body=body), fields=fields)

    def send(self, user: UserTraits, plan: Plan, /) -> Exchange[Outcome]:
        """Not used: the test applies the requests."""
        raise NotImplementedError

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Not used: the test applies the requests."""
        raise NotImplementedError


def encoded(value: Any, encoding: str) -> str:
    """Return *value* as a vendor holds it."""
    if value is REMOVE:
        return ""
    return str(min(value, 2) if encoding == "capped" else value)


def changes(row: UserTraits) -> dict[str, Any]:
    """Return the value that *row* gives each path; a removal concerns all that is nested in the trait."""
    given = {".".join(path): value for path, value in leaves(row.traits)}
    return {path: given[parent] for path in PATHS for parent in prefixes(path) if parent in given}


@attrs.frozen
class Upserted:
    """One row that was upserted, at the vendors that it named."""

    number: int
    user_id: str
    changes: Mapping[str, Any]
    vendors: frozenset[str]


@attrs.frozen
class InFlight:
    """A claim with its plan's outcome, or None for one that was sent, and whether the vendor got it."""

    backend: str
    claim: Claim
    unsent: Outcome | None
    arrived: bool


class VendorMachine(RuleBasedStateMachine):
    """Rows, accounts, settings, answers that are lost, rejections, jobs and crashes."""

    @initialize()
    def open(self) -> None:
        """Start with an empty ledger, one account of each vendor."""
        self.ledger = Ledger(":memory:")
        self.adapters = {A: Adapter(A, "shop"), B: Adapter(B, "bolt.example key 1")}
        self.vendors = {"shop": Vendor(), "test": Vendor(), "bolt": Vendor()}
        self.log: list[Upserted] = []
        self.in_flight: list[InFlight] = []
        self.jobs: list[tuple[str, StoredJob, list[InFlight]]] = []
        # Users of jobs that were started with other settings, with these settings.
        self.outdated: set[tuple[str, str, str]] = set()
        # Users who may have nested traits at a vendor that it has not confirmed under the account's name.
        self.untracked: set[tuple[str, str]] = set()
        for backend in self.adapters:
            self.ledger.open_account(self.account(backend))

    def teardown(self) -> None:
        """Deliver everything, look at the vendors once more, and close the ledger."""
        try:
            self.drain()
            self.vendors_hold_the_newest()
        finally:
            self.ledger.close()

    def account(self, backend: str) -> Account:
        """Return the account that *backend* uses."""
        route = Route(self.adapters[backend])
        return Account(backend, route.account, route.encoding)

    def vendor_of(self, backend: str) -> str:
        """Return the key of the vendor's account that *backend* uses; it has one, whatever the key."""
        return self.adapters[backend].account if backend == A else "bolt"

    def accounts_of(self, vendor: str) -> set[str]:
        """Return the names of the ledger's accounts of a vendor's account."""
        names = {counts.account for counts in self.ledger.counts()}
        return {name for name in names if name == vendor or (vendor == "bolt" and name.startswith("bolt"))}

    def busy(self, user_id: str, *, pending: bool = True, rejected: bool = True) -> set[str]:
        """Return the names of the accounts at which a user is pending or rejected."""
        status = self.ledger.status_of(user_id)
        return {
            each.account
            for each in (status.accounts if status else ())
            if (pending and each.pending) or (rejected and each.rejection)
        }

    # Desired state.

    @rule(
        given=st.lists(rows, min_size=1, max_size=2),
        backends=st.sampled_from([(A,), (B,), (A, B)]),
        replace=st.booleans(),
    )
    def upsert(self, given: Sequence[UserTraits], backends: Sequence[str], replace: bool) -> None:  # noqa: FBT001
        """Upsert rows."""
        for row in given:
            number, user_id = len(self.log) + 1, row.user_id or ""
            given_changes = changes(row)
            rejected = self.busy(user_id, pending=False)
            if replace and rejected and not self.busy(user_id, rejected=False):
                # What the row does not repeat is dropped.
                for vendor in self.vendors:
                    if rejected & self.accounts_of(vendor):
                        self.waive(vendor, user_id, given_changes, number)
            self.log.append(Upserted(number, user_id, given_changes, frozenset(map(self.vendor_of, backends))))
            self.ledger.upsert([row], [self.account(backend) for backend in backends], replace=replace)

    def waive(self, vendor: str, user_id: str, kept: Container[str], number: int) -> None:
        """Expect of fields that are not *kept* only what rows from *number* on say."""
        for path in PATHS:
            if path not in kept:
                self.vendors[vendor].waived[user_id, path] = number

    # Sending.

    @rule(
        backend=st.sampled_from([A, B]),
        limit=st.integers(1, 2),
        now=st.sampled_from([0.0, LATE]),
        arrives=st.booleans(),
    )
    def claim(self, backend: str, limit: int, now: float, arrives: bool) -> None:  # noqa: FBT001
        """Claim and send; what is called unchanged is at the vendor."""
        self.send(backend, limit=limit, now=now, arrives=arrives)

    def send(self, backend: str, *, limit: int, now: float, arrives: bool) -> list[InFlight]:
        """Claim and send users who are not in flight."""
        account, adapter = self.account(backend), self.adapters[backend]
        vendor = self.vendors[self.vendor_of(backend)]
        busy = {each.claim.row_id for each in self.in_flight if each.backend == backend}
        busy |= {entry.row_id for job in self.ledger.jobs(account) for entry in self.ledger.entries(job)}
        outbox = LedgerOutbox(self.ledger, account, BackendReport(backend, account.name))
        planner = ChangePlanner(Route(adapter), outbox)
        sent: list[InFlight] = []
        for claim in self.ledger.claim(account, limit=limit, now=now, skip=busy):
            if claim.rejection is not None:
                sent.append(InFlight(backend, claim, claim.rejection, arrived=True))
                continue
            change = planner.change(claim)
            if isinstance(change, Unsent):
                assert change.outcome == Skipped(backend, SkipReason.UNCHANGED)
                fields = adapter.plan(claim.user).fields or {}
                assert {name: vendor.get(claim.user.user_id or "", name) for name in fields} == fields
                sent.append(InFlight(backend, change.claim, change.outcome, arrived=True))
                continue
            assert change.plan is not None
            assert change.plan.request is not None
            if arrives:
                vendor.apply(change.plan.request)
            sent.append(InFlight(backend, change.claim, None, arrived=arrives))
        self.in_flight = [*self.in_flight, *sent]
        return sent

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        """Settle one claim."""
        each = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        outcome = each.unsent or data.draw(answers(each))
        not_before = data.draw(st.sampled_from([0.0, 100.0])) if isinstance(outcome, Unavailable) else 0.0
        self.track(each, outcome)
        self.ledger.settle(self.account(each.backend), [settlement(each.claim, outcome, not_before=not_before)])

    def track(self, each: InFlight, outcome: Outcome) -> None:
        """Note a rejection of a user who may be at the vendor, although it has confirmed nothing."""
        if isinstance(outcome, Rejected | Broken) and not each.claim.confirmed:
            self.untracked.add((self.vendor_of(each.backend), each.claim.user.user_id or ""))

    @rule(backend=st.sampled_from([A, B]))
    def requeue_rejected(self, backend: str) -> None:
        """Make rejected users pending again."""
        self.ledger.requeue_rejected(self.account(backend))

    @rule()
    def drain(self) -> None:
        """Have the vendors accept everything that is pending at the accounts in use."""
        for backend in self.adapters:
            account = self.account(backend)
            ended = self.ledger.jobs(account)
            for job in ended:
                self.ledger.end_job(account, job)
            self.jobs = [each for each in self.jobs if each[1] not in ended]
            self.in_flight = others = [each for each in self.in_flight if each.backend != backend]
            self.ledger.requeue_rejected(account)
            while sent := self.send(backend, limit=5, now=LATE, arrives=True):
                self.in_flight = others
                self.ledger.settle(account, [settlement(each.claim, each.unsent or Accepted(backend)) for each in sent])
            assert self.ledger.pending_count(account) == 0

    # Jobs.

    @rule(backend=st.sampled_from([A, B]))
    def start_job(self, backend: str) -> None:
        """Turn the requests in flight into a job."""
        mine = [each for each in self.in_flight if each.backend == backend and each.unsent is None]
        self.in_flight = [each for each in self.in_flight if each not in mine]
        entries = [
            JobEntry(
                each.claim.row_id,
                each.claim.version,
                each.claim.user.user_id,
                None,
                (),
                each.claim.fields,
                each.claim.in_doubt,
            )
            for each in mine
        ]
        job = self.ledger.start_job(self.account(backend), Batch("key", entries, b""))
        self.jobs.append((backend, job, mine))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def end_job(self, data: st.DataObject) -> None:
        """End a job of the account in use, with or without outcomes."""
        backend, job, mine = data.draw(st.sampled_from(self.jobs))
        account = self.account(backend)
        if job.id not in {each.id for each in self.ledger.jobs(account)}:
            return
        settlements: list[Settlement] = []
        if data.draw(st.booleans()):
            entries = self.ledger.entries(job)
            for each, entry in zip(mine, entries, strict=True):
                outcome = data.draw(answers(each))
                self.track(each, outcome)
                settlements.append(Settlement(entry.row_id, entry.version, outcome, entry.fields, entry.in_doubt))
        self.ledger.end_job(account, job, settlements)
        self.jobs.remove((backend, job, mine))

    # Other processes, settings and accounts.

    @rule()
    def crash(self) -> None:
        """Go on in another process: claims in flight are never answered, jobs are."""
        self.in_flight.clear()

    def restart(self, backend: str) -> None:
        """Go on with another account or other settings."""
        self.in_flight = [each for each in self.in_flight if each.backend != backend]
        self.ledger.open_account(self.account(backend))

    @rule(encoding=st.sampled_from(["plain", "capped"]))
    def change_settings(self, encoding: str) -> None:
        """Encode users otherwise."""
        self.adapters[A].encoding = encoding
        for vendor in ("shop", "test"):
            self.vendors[vendor].encodings.append((len(self.log) + 1, encoding))
        self.restart(A)

    @rule(account=st.sampled_from(["shop", "test"]))
    def switch_account(self, account: str) -> None:
        """Use another account of the vendor, or go back."""
        self.adapters[A].account = account
        self.restart(A)

    @rule(adopt=st.booleans())
    def rotate_key(self, adopt: bool) -> None:  # noqa: FBT001
        """Use another key of the same account, and say so now or later."""
        number = int(self.adapters[B].account.rpartition(" ")[2]) + 1
        self.adapters[B].account = f"bolt.example key {number}"
        if adopt:
            self.ledger.adopt_account(self.account(B))
        else:
            self.untracked |= {("bolt", user_id) for user_id in IDS}
        self.restart(B)

    @rule()
    def adopt_late(self) -> None:
        """Say that the key was rotated, after it was used."""
        self.ledger.adopt_account(self.account(B))
        self.restart(B)

    @rule()
    def delete_users(self) -> None:
        """Delete the users at the vendor, and tell the ledger."""
        name = self.vendor_of(A)
        self.vendors[name].users.clear()
        self.ledger.invalidate(self.account(A))
        for user_id in IDS:
            status = self.ledger.status_of(user_id)
            desired = status.desired if status and name in self.busy(user_id) else None
            self.waive(name, user_id, changes(desired) if desired else (), len(self.log) + 1)

    # The law.

    @invariant()
    def vendors_hold_the_newest(self) -> None:
        """Each field has a value that was upserted when, or after, the vendor was last named."""
        for name, vendor in self.vendors.items():
            accounts = self.accounts_of(name)
            for user_id in IDS:
                if self.busy(user_id) & accounts:
                    continue
                for path in PATHS:
                    allowed = self.allowed(name, user_id, path)
                    held = vendor.get(user_id, f"traits.{path}")
                    assert allowed is None or held in allowed, (name, user_id, path, held, allowed)

    def allowed(self, name: str, user_id: str, path: str) -> set[str] | None:
        """Return the values that a vendor may hold in a field; None for any."""
        vendor = self.vendors[name]
        since = vendor.waived.get((user_id, path), 0)
        about = [each for each in self.log if each.user_id == user_id and path in each.changes]
        newest = max((each.number for each in about if name in each.vendors and each.number >= since), default=None)
        if newest is None:
            return None
        before = [encoding for number, encoding in vendor.encodings if number <= newest]
        encodings = {before[-1], *(encoding for number, encoding in vendor.encodings if number > newest)}
        values = [each.changes[path] for each in about if each.number >= newest]
        if (name, user_id) in self.untracked and REMOVE in values and "." in path:
            return None
        return {encoded(value, encoding) for value in values for encoding in encodings}


def answers(each: InFlight) -> st.SearchStrategy[Outcome]:
    """Return a strategy for the outcome of what was sent; any answer may be lost."""
    lost: list[Outcome] = [Unknown(each.backend, "timeout"), Unavailable(each.backend, "503")]
    refused: list[Outcome] = [Rejected(each.backend, code="400"), Broken(each.backend, "KeyError")]
    return st.sampled_from([Accepted(each.backend), *lost, *refused] if each.arrived else [*lost, *refused])


TestVendorMachine = VendorMachine.TestCase
TestVendorMachine.settings = settings(max_examples=examples(600), stateful_step_count=40, report_multiple_bugs=False)
