"""Whenever nobody is pending, each vendor holds the newest of every user, whatever happened before."""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
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
PATHS: Final = ("a", "c.x", "c.y")
# Beyond the moments until which users are deferred.
LATE: Final = 1000.0

# Few, so that a state often comes back.
values: st.SearchStrategy[Any] = st.sampled_from([1, 2, 1, 2, 3, REMOVE])
nested: st.SearchStrategy[dict[str, Any]] = st.one_of(
    values.map(lambda x: {"x": x}), st.tuples(values, values).map(lambda pair: {"x": pair[0], "y": pair[1]})
)
traits: st.SearchStrategy[dict[str, Any]] = st.one_of(
    values.map(lambda a: {"a": a}),
    nested.map(lambda c: {"c": c}),
    st.just({"c": REMOVE}),
    st.tuples(values, values).map(lambda pair: {"a": pair[0], "c": {"x": pair[1]}}),
)
rows = st.builds(UserTraits, st.sampled_from(["u1", "u1", "u1", "u2"]), traits=traits)


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


@attrs.define
class History:
    """Rows, accounts, settings, answers that are lost, rejections, jobs and crashes; *data* decides on all of them."""

    data: st.DataObject
    ledger: Ledger
    adapters: dict[str, Adapter] = attrs.field(
        factory=lambda: {A: Adapter(A, "shop"), B: Adapter(B, "bolt.example key 1")}
    )
    vendors: dict[str, Vendor] = attrs.field(factory=lambda: {"shop": Vendor(), "test": Vendor(), "bolt": Vendor()})
    log: list[Upserted] = attrs.field(factory=list[Upserted])
    in_flight: list[InFlight] = attrs.field(factory=list[InFlight])
    jobs: list[tuple[str, StoredJob, list[InFlight]]] = attrs.field(factory=list[tuple[str, StoredJob, list[InFlight]]])
    # Users who may have nested traits at a vendor that it has not confirmed under the account's name.
    untracked: set[tuple[str, str]] = attrs.field(factory=set[tuple[str, str]])

    def __attrs_post_init__(self) -> None:
        for backend in self.adapters:
            self.ledger.open_account(self.account(backend))

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

    def upsert(self) -> None:
        """Upsert a row at some backends."""
        row = self.data.draw(rows)
        backends = self.data.draw(st.sampled_from([(B,), (A,), (A, B)]))
        replace = self.data.draw(st.booleans())
        number, user_id, given_changes = len(self.log) + 1, row.user_id or "", changes(row)
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

    def backend(self) -> str:
        """Return one of the backends."""
        return self.data.draw(st.sampled_from([B, A]))

    def claim(self) -> None:
        """Claim and send without an outcome as yet."""
        self.send(self.backend(), limit=1, now=self.data.draw(st.sampled_from([LATE, 0.0])))

    def send(self, backend: str, *, limit: int, now: float, arrives: bool | None = None) -> list[InFlight]:
        """Claim and send users who are not in flight; what is called unchanged must be at the vendor."""
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
            arrived = self.data.draw(st.booleans()) if arrives is None else arrives
            if arrived:
                vendor.apply(change.plan.request)
            sent.append(InFlight(backend, change.claim, None, arrived=arrived))
        self.in_flight = [*self.in_flight, *sent]
        return sent

    def exchange(self) -> None:
        """Claim, send and settle at once."""
        for each in self.send(self.backend(), limit=2, now=LATE):
            self.in_flight.remove(each)
            self.record(each)

    def settle(self) -> None:
        """Settle one claim."""
        if self.in_flight:
            each = self.data.draw(st.sampled_from(self.in_flight))
            self.in_flight.remove(each)
            self.record(each)

    def record(self, each: InFlight) -> None:
        """Settle one claim with an outcome that fits."""
        outcome = each.unsent or self.data.draw(answers(each))
        not_before = self.data.draw(st.sampled_from([0.0, 100.0])) if isinstance(outcome, Unavailable) else 0.0
        self.track(each, outcome)
        self.ledger.settle(self.account(each.backend), [settlement(each.claim, outcome, not_before=not_before)])

    def track(self, each: InFlight, outcome: Outcome) -> None:
        """Note a rejection of a user who may be at the vendor, although it has confirmed nothing."""
        if isinstance(outcome, Rejected | Broken) and not each.claim.confirmed:
            self.untracked.add((self.vendor_of(each.backend), each.claim.user.user_id or ""))

    def requeue_rejected(self) -> None:
        """Make rejected users pending again."""
        self.ledger.requeue_rejected(self.account(self.backend()))

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

    def start_job(self) -> None:
        """Turn the requests in flight into a job."""
        backend = self.backend()
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

    def end_job(self) -> None:
        """End a job of an account in use, with or without outcomes."""
        running = {job for backend in self.adapters for job in self.ledger.jobs(self.account(backend))}
        ours = [each for each in self.jobs if each[1] in running]
        if not ours:
            return
        backend, job, mine = self.data.draw(st.sampled_from(ours))
        account = self.account(backend)
        settlements: list[Settlement] = []
        if self.data.draw(st.booleans()):
            entries = self.ledger.entries(job)
            for each, entry in zip(mine, entries, strict=True):
                outcome = self.data.draw(answers(each))
                self.track(each, outcome)
                settlements.append(Settlement(entry.row_id, entry.version, outcome, entry.fields, entry.in_doubt))
        self.ledger.end_job(account, job, settlements)
        self.jobs.remove((backend, job, mine))

    # Other processes, settings and accounts.

    def disturb(self) -> None:
        """Go on in another process, with other settings, another account or another key, or after a deletion."""
        self.data.draw(
            st.sampled_from(
                [
                    self.crash,
                    self.change_settings,
                    self.switch_account,
                    self.rotate_key,
                    self.use_another_key,
                    self.delete_users,
                ]
            )
        )()

    def crash(self) -> None:
        """Go on in another process: claims in flight are never answered, jobs are."""
        self.in_flight.clear()

    def restart(self, backend: str) -> None:
        """Go on with another account or other settings."""
        self.in_flight = [each for each in self.in_flight if each.backend != backend]
        self.ledger.open_account(self.account(backend))

    def change_settings(self) -> None:
        """Encode users otherwise."""
        encoding = self.adapters[A].encoding = "plain" if self.adapters[A].encoding == "capped" else "capped"
        for vendor in ("shop", "test"):
            self.vendors[vendor].encodings.append((len(self.log) + 1, encoding))
        self.restart(A)

    def switch_account(self) -> None:
        """Use another account of the vendor, or go back."""
        self.adapters[A].account = "test" if self.adapters[A].account == "shop" else "shop"
        self.restart(A)

    def rotate_key(self) -> None:
        """Use another key of the same account, and say so at once."""
        self.next_key()
        self.ledger.adopt_account(self.account(B))
        self.restart(B)

    def use_another_key(self) -> None:
        """Use another key of the same account without saying so; or say so if that was done before."""
        if any(counts.backend == B and counts.account != self.adapters[B].account for counts in self.ledger.counts()):
            self.ledger.adopt_account(self.account(B))
        else:
            self.next_key()
            self.untracked |= {("bolt", user_id) for user_id in IDS}
        self.restart(B)

    def next_key(self) -> None:
        """Use another key of the same account."""
        number = int(self.adapters[B].account.rpartition(" ")[2]) + 1
        self.adapters[B].account = f"bolt.example key {number}"

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
    return st.sampled_from([*[Accepted(each.backend)] * 4, *lost, *refused] if each.arrived else [*lost, *refused])


# What happens often comes often.
STEPS: Final[Sequence[Callable[[History], None]]] = (
    *[History.settle, History.claim] * 3,
    *[History.exchange, History.upsert] * 6,
    *[History.disturb, History.start_job, History.end_job] * 2,
    History.requeue_rejected,
)


@settings(max_examples=examples(600))
@given(st.data(), st.lists(st.sampled_from(STEPS), min_size=50, max_size=50))
def test_vendors_hold_the_newest_of_every_user(data: st.DataObject, steps: Sequence[Callable[[History], None]]) -> None:
    """This holds after each step for everyone who is not pending, and in the end for all."""
    with Ledger(":memory:") as ledger:
        history = History(data, ledger)
        for step in (History.upsert, History.drain, *steps, History.drain):
            step(history)
            history.vendors_hold_the_newest()
