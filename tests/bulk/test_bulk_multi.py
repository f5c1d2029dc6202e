"""Several users in one request: each has an outcome, and none is lost, duplicated or overtaken."""

import contextlib
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.backends import AcmeBatch
from support.clock import Clock
from support.in_process import FAST, CrashError
from support.multi_vendor import OUTCOMES, AcmeMulti, MultiVendor, OneByOne, deliver_to, first_time, in_turn
from support.profiles import examples
from support.users import user, users

from replay_identity import Accepted, Broken, Misconfigured, Outcome, Route, UserTraits
from replay_identity.adapters import Exchange, IdentityBackend, NoResponse, Response
from replay_identity.bulk import BackendReport, DeliveryOptions, DurableRouter, Estimate, Progress, dry_run
from replay_identity.bulk.dispatch import MultiDispatcher
from replay_identity.bulk.memory_outbox import MemoryOutbox
from replay_identity.bulk.outbox import LedgerOutbox
from replay_identity.bulk.outcome_handler import OutcomeHandler
from replay_identity.ledger import Claim, Ledger
from replay_identity.retry import RetryPolicy
from replay_identity.transport import ConcurrentTransport
from replay_identity.transport.rate_limiter import AdaptiveLimiter

TENS: Final = [[f"u{number}" for number in range(start, start + 10)] for start in range(0, 30, 10)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Yield a ledger."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


@pytest.fixture(params=["ledger", "no ledger"])
def any_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger | None]:
    """Yield a ledger, or None."""
    with Ledger(tmp_path / "any.db") if request.param == "ledger" else contextlib.nullcontext() as ledger:
        yield ledger


# Outcomes.


def test_each_user_has_their_own_outcome(any_ledger: Ledger | None) -> None:
    """A request is accepted in part; deferred and lost users are sent again."""
    statuses = {"u1": "bad", "u2": "later", "u3": "lost"}
    vendor = MultiVendor(status_of=lambda user_id: statuses.pop(user_id, "ok"))
    rows = [*users(6), user("note", note="too long"), UserTraits("nobody", name="Nobody")]

    report = deliver_to(vendor, rows, ledger=any_ledger)

    assert vendor.requests[0] == ["u0", "u1", "u2", "u3", "u4", "u5"]
    assert sorted(user_id for ids in vendor.requests[1:] for user_id in ids) == ["u2", "u3"]
    assert sorted(vendor.stored) == ["u0", "u2", "u3", "u4", "u5"]
    assert all(len(states) == 1 for states in vendor.stored.values())
    counts = report["acme"]
    assert (counts.accepted, counts.unchanged, counts.rejected, counts.pending) == (5, 1, 2, 0)


def test_records_a_rejection_with_its_user(ledger: Ledger) -> None:
    """No other user of the request is rejected."""
    deliver_to(MultiVendor(status_of=first_time("bad", "u4")), users(10), ledger=ledger)

    (rejected,) = ledger.rejected("acme")
    assert (rejected.user.user_id, rejected.rejection) == ("u4", OUTCOMES["bad"])


@pytest.mark.parametrize(
    "response",
    [Response(0, no_response=NoResponse.CONNECTION_LOST), Response(502), Response(503)],
    ids=["lost", "502", "503"],
)
def test_a_failed_request_sends_all_users_again(any_ledger: Ledger | None, response: Response) -> None:
    """Whether the vendor applied it or not."""
    vendor = MultiVendor(respond=in_turn([response]))

    report = deliver_to(vendor, users(10, plan="pro"), ledger=any_ledger)

    assert vendor.requests[0] == TENS[0]
    assert sorted(user_id for ids in vendor.requests[1:] for user_id in ids) == sorted(TENS[0])
    assert report["acme"].accepted == 10
    assert vendor.newest == {one: {"plan": "pro"} for one in TENS[0]}


def test_a_crash_sends_the_request_again(tmp_path: Path) -> None:
    """No user is lost, and repeating an upsert is harmless."""

    def die(number: int) -> None:
        if number == 2:
            raise CrashError

    vendor = MultiVendor(after=die)
    with Ledger(tmp_path / "ledger.db") as ledger, pytest.raises(CrashError):
        deliver_to(vendor, users(30, plan="pro"), ledger=ledger, options=attrs.evolve(FAST, connections=1))
    vendor.close()
    vendor.after = lambda _: None
    with Ledger(tmp_path / "ledger.db") as ledger:
        pending = ledger.pending_count("acme")
        report = deliver_to(vendor, [], ledger=ledger)

    assert (pending, report["acme"].accepted) == (30, 30)
    assert vendor.requests == [*TENS[:2], *TENS]
    assert vendor.newest == {f"u{n}": {"plan": "pro"} for n in range(30)}


def test_sends_upserts_made_during_a_request(ledger: Ledger) -> None:
    """The response settles no user who was upserted since."""

    def put_more(number: int) -> None:
        if number == 1:
            ledger.upsert([user("u0", plan="pro")], ["acme"])

    vendor = MultiVendor(after=put_more)

    report = deliver_to(vendor, users(3, plan="free"), ledger=ledger)

    assert vendor.stored["u0"] == [{"plan": "free"}, {"plan": "pro"}]
    assert (report["acme"].accepted, vendor.requests) == (3, [["u0", "u1", "u2"], ["u0"]])


def test_rows_of_one_user_never_share_a_request(any_ledger: Ledger | None) -> None:
    """This also holds if the first row is deferred and sent again."""
    vendor = MultiVendor(status_of=first_time("later", "u0"))
    rows = [user("u0", plan="free"), user("u1"), user("u0", plan="pro")]

    report = deliver_to(vendor, rows, ledger=any_ledger)

    assert [traits["plan"] for traits in vendor.stored["u0"]] == ["pro"]
    assert all(len(set(ids)) == len(ids) for ids in vendor.requests)
    assert report["acme"].pending == 0


# Which users share a request.


@pytest.mark.parametrize(("batch_users", "sizes"), [(None, [10, 10, 5]), (4, [4] * 6 + [1]), (11, [10, 10, 5])])
def test_requests_are_as_large_as_allowed(any_ledger: Ledger | None, batch_users: int | None, sizes: list[int]) -> None:
    """The vendor and the options limit the size; only the last request is smaller."""
    vendor = MultiVendor()

    deliver_to(vendor, users(25), ledger=any_ledger, options=attrs.evolve(FAST, batch_users=batch_users))

    assert [len(ids) for ids in vendor.requests] == sizes


def test_filtered_users_take_no_room(any_ledger: Ledger | None) -> None:
    """They are settled at once; the vendor gets what the route allows of the others."""

    def when(one: UserTraits) -> bool:
        if one.user_id == "u3":
            raise ValueError("canary")
        return one.user_id not in {"u0", "u7"}

    vendor = MultiVendor()
    route = Route(AcmeMulti(), when=when, exclude={"secret"}, rename={"plan": "tariff"})

    report = deliver_to(vendor, users(20, plan="pro", secret="canary"), ledger=any_ledger, backend=route)

    assert [len(ids) for ids in vendor.requests] == [10, 7]
    assert sorted(vendor.stored) == sorted({f"u{number}" for number in range(20)} - {"u0", "u3", "u7"})
    assert {tuple(traits) for traits in vendor.stored["u1"]} == {("tariff",)}
    counts = report["acme"]
    assert (counts.accepted, counts.unchanged, counts.rejected) == (17, 2, 1)


def test_sends_no_empty_request(any_ledger: Ledger | None) -> None:
    """If a route filters out all users, nothing is sent."""
    vendor = MultiVendor()

    report = deliver_to(vendor, users(30), ledger=any_ledger, backend=Route(AcmeMulti(), when=lambda _: False))

    assert (report["acme"].unchanged, vendor.requests) == (30, [])


@attrs.define
class Driver:
    """A dispatcher that the test drives step by step.

    Attributes:
        vendor: The vendor.
        max_users: Maximum number of users in a request.
    """

    vendor: MultiVendor = attrs.field(factory=MultiVendor)
    max_users: int = 10
    clock: Clock = attrs.field(factory=Clock)
    options: DeliveryOptions = attrs.field(factory=DeliveryOptions)
    outbox: MemoryOutbox = attrs.field(init=False)
    problems: list[Outcome] = attrs.field(factory=list[Outcome])
    dispatcher: MultiDispatcher = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.outbox = MemoryOutbox(BackendReport("acme"), self.clock)
        backend = AcmeMulti(limit=self.max_users)
        policy = RetryPolicy(attempts=1, total=1e9)
        transport = ConcurrentTransport(self.vendor, AdaptiveLimiter(), retry=policy, clock=self.clock)
        handler = OutcomeHandler(self.outbox, transport, self.problems.append, self.options)
        self.dispatcher = MultiDispatcher(
            route=Route(backend),
            outbox=self.outbox,
            transport=transport,
            max_users=self.max_users,
            clock=self.clock,
            backend=backend,
            handler=handler,
        )

    def dispatch(self, *, is_last: bool = False) -> int:
        """Dispatch, and return the number of requests so far."""
        self.dispatcher.dispatch(is_last=is_last)
        return len(self.vendor.requests)

    def poll(self) -> None:
        """Handle the responses."""
        self.dispatcher.transport.poll(0.0)


def test_a_request_that_is_not_full_lingers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Since its first user was added; a full one is sent at once."""
    monkeypatch.setattr("replay_identity.bulk.dispatch._LINGER_S", 0.5)
    driver = Driver()
    driver.outbox.enqueue(users(14))
    assert driver.dispatch() == 1

    driver.clock.now += 0.375
    driver.outbox.enqueue([user("later")])
    assert driver.dispatch() == 1
    driver.clock.now += 0.125
    assert driver.dispatch() == 2

    assert driver.vendor.requests[1] == ["u10", "u11", "u12", "u13", "later"]


def test_the_last_request_does_not_linger() -> None:
    """No more users will come."""
    driver = Driver()
    driver.outbox.enqueue(users(3))

    assert driver.dispatch(is_last=False) == 0
    assert driver.dispatch(is_last=True) == 1
    assert driver.dispatch(is_last=True) == 1


def test_limits_the_users_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of connections does not matter; at least one request is sent."""
    monkeypatch.setattr("replay_identity.bulk.dispatch._MAX_USERS_IN_FLIGHT", 25)
    driver = Driver()
    driver.outbox.enqueue(users(100))
    assert [driver.dispatch(), driver.vendor.max_in_flight] == [3, 3]

    driver.poll()
    assert driver.dispatch() == 6
    assert driver.vendor.max_in_flight == 3


def test_respects_the_rate_limiter() -> None:
    """A run starts with eight requests."""
    driver = Driver(max_users=2)
    driver.outbox.enqueue(users(100))

    assert driver.dispatch() == 8


# The end of a run.


def test_a_stopped_run_is_resumed_by_the_next(ledger: Ledger) -> None:
    """Requests in flight are completed."""
    stop = threading.Event()
    vendor = MultiVendor(after=lambda _: stop.set())
    rows = users(200, plan="pro")

    report = deliver_to(vendor, rows, ledger=ledger, stop=stop)

    sent = sum(map(len, vendor.requests))
    assert 0 < sent < 200
    assert (report["acme"].accepted, report["acme"].pending) == (sent, 200 - sent)
    again = deliver_to(vendor, rows, ledger=ledger)
    assert again["acme"].accepted == 200 - sent
    assert vendor.times_sent == {f"u{number}": 1 for number in range(200)}


def test_wrong_settings_abort_the_run(any_ledger: Ledger | None) -> None:
    """They are reported once, and nothing else is sent."""
    vendor = MultiVendor(respond=lambda _: Response(401))

    report = deliver_to(vendor, users(200), ledger=any_ledger, options=attrs.evolve(FAST, connections=1))

    counts = report["acme"]
    assert (counts.pending, counts.problem, len(vendor.requests)) == (200, "HTTP 401. Check the key.", 1)
    assert counts.stats.as_dict()["causes"] == [{"outcome": "Misconfigured", "cause": counts.problem, "count": 1}]
    if any_ledger is not None:
        assert deliver_to(MultiVendor(), [], ledger=any_ledger)["acme"].accepted == 200


def test_sends_nothing_after_wrong_settings() -> None:
    """Buffered users are not sent either."""
    driver = Driver(vendor=MultiVendor(respond=lambda _: Response(401)))
    driver.outbox.enqueue(users(12))
    driver.dispatch()
    driver.poll()
    driver.outbox.enqueue(users(50))

    assert driver.dispatch(is_last=True) == 1
    assert driver.problems == [Misconfigured("acme", "HTTP 401", "Check the key.")]


def test_a_durable_router_sends_several_per_request(ledger: Ledger) -> None:
    """It does so in the background."""
    vendor = MultiVendor()
    with DurableRouter([AcmeMulti()], ledger=ledger, options={"acme": FAST}, transport=lambda _: vendor) as router:
        for one in users(30):
            router.identify(one)
        assert router.flush(60.0)

    assert sorted(vendor.stored) == sorted(f"u{number}" for number in range(30))
    assert len(vendor.requests) < 30


# Users deferred by a successful response.


@pytest.mark.parametrize(("headers", "seconds"), [({}, 0.5), ({"retry-after": "7"}, 7.0)])
def test_sends_deferred_users_later(headers: dict[str, str], seconds: float) -> None:
    """The vendor asks for the delay; the other users are settled at once."""
    driver = Driver(vendor=MultiVendor(status_of=first_time("later", "u0"), headers=headers))
    driver.outbox.enqueue(users(3))
    driver.dispatch(is_last=True)
    driver.poll()
    assert (driver.outbox.pending(), driver.dispatcher.status_text()) == (1, "1 user deferred")

    driver.clock.now += seconds - 0.125
    driver.poll()
    assert driver.dispatch(is_last=True) == 1
    driver.clock.now += 0.125
    driver.poll()
    assert driver.dispatch(is_last=True) == 2
    driver.poll()

    assert driver.vendor.requests == [["u0", "u1", "u2"], ["u0"]]
    assert (driver.outbox.pending(), driver.dispatcher.transport.in_flight, driver.dispatcher.status_text()) == (
        0,
        0,
        "",
    )


def test_a_failed_request_defers_no_user() -> None:
    """Its users are claimable at once; only the rate limiter waits."""
    driver = Driver(vendor=MultiVendor(respond=in_turn([Response(503)])))
    driver.outbox.enqueue(users(3))
    driver.dispatch(is_last=True)
    driver.poll()

    assert driver.dispatcher.transport.in_flight == 0
    assert driver.outbox.next() is not None


def test_a_user_rejected_by_a_limit_is_no_answer() -> None:
    """Nothing was sent of that user, so a response that settles none of the others is a failure."""
    driver = Driver(vendor=MultiVendor(status_of=lambda _: "lost"))
    driver.outbox.enqueue([*users(2), user("note", note="too long")])
    driver.dispatch(is_last=True)
    driver.poll()

    assert driver.dispatcher.transport.limiter.failure == "lost"


@pytest.mark.slow
@pytest.mark.parametrize("backend", [AcmeMulti(), OneByOne()], ids=["multi", "single"])
def test_abandons_users_deferred_too_often(
    any_ledger: Ledger | None, backend: IdentityBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 20 attempts the run continues without them; until then the progress says so."""
    monkeypatch.setattr(sys.modules["replay_identity.bulk.run"], "_PROGRESS_INTERVAL_S", 0.0)
    vendor = MultiVendor(status_of=lambda user_id: "later" if user_id == "u0" else "ok")

    status_texts: list[str] = []

    def listen(progress: Sequence[Progress]) -> None:
        status_texts.extend(backend.status_text for backend in progress)

    report = deliver_to(
        vendor,
        users(3),
        ledger=any_ledger,
        backend=backend,
        options=attrs.evolve(FAST, wait_initial=0.02),
        on_progress=listen,
    )

    assert (report["acme"].accepted, report["acme"].pending) == (2, 1)
    assert sum("u0" in ids for ids in vendor.requests) == 20
    assert "1 user deferred" in status_texts


def test_a_stopped_run_does_not_wait_for_deferred_users(any_ledger: Ledger | None) -> None:
    """They are pending."""
    stop = threading.Event()
    vendor = MultiVendor(status_of=lambda _: "later", headers={"retry-after": "1000"}, after=lambda _: stop.set())

    report = deliver_to(vendor, users(3), ledger=any_ledger, stop=stop)

    assert report["acme"].pending == 3


# Adapters with bugs.


class Raising(AcmeMulti):
    """Raises before it yields, without being a generator."""

    def identify_many(self, _users: Sequence[UserTraits], /) -> Any:
        """Raise."""
        raise ValueError("canary")


class RaisingLater(AcmeMulti):
    """Raises after the response."""

    def identify_many(self, users: Sequence[UserTraits], /) -> Any:
        """Send the users, and raise."""
        yield from super().identify_many(users)
        raise ValueError("canary")


class Odd(AcmeMulti):
    """Yields something that is not a request."""

    def identify_many(self, _users: Sequence[UserTraits], /) -> Any:
        """Yield a string."""
        yield "GET /"


@attrs.define
class Returning(AcmeMulti):
    """Returns what the test wants instead of the outcomes."""

    result_of: Callable[[Sequence[Outcome]], Any] = tuple

    def identify_many(self, users: Sequence[UserTraits], /) -> Any:
        """Send the users, and return the result that the test wants."""
        outcomes = yield from super().identify_many(users)
        return self.result_of(outcomes)


BROKEN: Final[dict[str, AcmeMulti]] = {
    "raises": Raising(),
    "raises later": RaisingLater(),
    "yields no request": Odd(),
    "returns None": Returning(result_of=lambda _: None),
    "returns no outcomes": Returning(result_of=lambda _: ()),
    "returns too few": Returning(result_of=lambda outcomes: outcomes[1:]),
    "returns too many": Returning(result_of=lambda outcomes: (*outcomes, Accepted("acme"))),
    "returns strings": Returning(result_of=lambda outcomes: ["canary"] * len(outcomes)),
    "returns outcomes of another": Returning(result_of=lambda outcomes: [Accepted("other")] * len(outcomes)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_records_a_bug_for_all_users_of_the_request(ledger: Ledger, what: str) -> None:
    """The outcome has the error's type, and the run continues."""
    report = deliver_to(MultiVendor(), users(25), ledger=ledger, backend=BROKEN[what])

    rejected = list(ledger.rejected("acme"))
    assert (report["acme"].rejected, len(rejected)) == (25, 25)
    assert {type(user.rejection) for user in rejected} == {Broken}
    assert "canary" not in str(rejected) + str(report.as_dict())


def test_records_a_wrong_number_of_outcomes(ledger: Ledger) -> None:
    """It helps to fix the adapter."""
    deliver_to(MultiVendor(), users(10), ledger=ledger, backend=BROKEN["returns too few"])

    assert {user.rejection for user in ledger.rejected("acme")} == {
        Broken("acme", "the adapter returned 9 outcomes for 10 users")
    }


def test_an_outcome_of_another_backend_fails_one_user(any_ledger: Ledger | None) -> None:
    """The other outcomes are used."""
    backend = Returning(result_of=lambda outcomes: [Accepted("other"), *outcomes[1:]])

    report = deliver_to(MultiVendor(), users(10), ledger=any_ledger, backend=backend)

    assert (report["acme"].accepted, report["acme"].rejected) == (9, 1)


# How users are sent.


class Both(AcmeBatch):
    """Takes batches and several users per request."""

    max_users = AcmeMulti().max_users
    requests = 0

    def identify_many(self, users: Sequence[UserTraits], /) -> Exchange[tuple[Outcome, ...]]:
        """Accept everyone."""
        self.requests += 1
        return (Accepted("acme"),) * len(users)
        yield  # Makes it a generator.


def test_prefers_batches(any_ledger: Ledger | None) -> None:
    """With and without a ledger."""
    backend = Both()

    report = deliver_to(MultiVendor(), users(20), ledger=any_ledger, backend=backend, name="acme")

    assert report["acme"].accepted == 20
    assert backend.requests == 0


def test_never_sends_single_users(any_ledger: Ledger | None) -> None:
    """Even the last user goes into a request for several."""
    backend = AcmeMulti()

    deliver_to(MultiVendor(), users(21), ledger=any_ledger, backend=backend)

    assert backend.identified == []


@pytest.mark.parametrize(("count", "batch_users", "requests"), [(0, None, 0), (20, None, 2), (21, None, 3), (21, 4, 6)])
def test_a_dry_run_counts_requests(count: int, batch_users: int | None, requests: int) -> None:
    """Users who are rejected without being sent need none."""
    rows = [*users(count), user("note", note="too long"), UserTraits("nobody", name="Nobody")]
    options = attrs.evolve(FAST, batch_users=batch_users, requests_per_minute=60)

    dry_run_report = dry_run(rows, [AcmeMulti()], ledger=None, options={"acme": options})

    assert dry_run_report.estimate["acme"] == Estimate(requests, 0, float(requests))
    assert (dry_run_report.report["acme"].accepted, dry_run_report.report["acme"].rejected) == (count, 1)


# Properties.


@attrs.define
class Statuses:
    """The statuses of each user: some failures first, then the final one."""

    by_user: dict[str, list[str]]
    accepted: set[str] = attrs.field(factory=set[str])

    def next_for(self, user_id: str) -> str:
        """Return the next status; an accepted user must not be sent again."""
        assert user_id not in self.accepted
        statuses = self.by_user[user_id]
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        self.accepted |= {user_id} if status == "ok" else set()
        return status


STATUSES: Final = st.lists(st.sampled_from(["later", "lost"]), max_size=3).flatmap(
    lambda failures: st.sampled_from(["ok", "ok", "bad"]).map(lambda end: [*failures, end])
)
NOT_ACCEPTED: Final = st.sampled_from([None, None, Response(503), Response(0, no_response=NoResponse.NOT_SENT)])
RESPONSES: Final = NOT_ACCEPTED | st.sampled_from([Response(502), Response(0, no_response=NoResponse.CONNECTION_LOST)])


@given(
    statuses_by_user=st.lists(STATUSES, max_size=40),
    max_users=st.integers(1, 12),
    responses=st.lists(NOT_ACCEPTED, max_size=12),
    with_ledger=st.booleans(),
)
@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_settles_each_user_once(
    statuses_by_user: list[list[str]], max_users: int, responses: list[Response | None], *, with_ledger: bool
) -> None:
    """This holds whatever happens to requests and users, with and without a ledger."""
    ends = {f"u{number}": statuses[-1] for number, statuses in enumerate(statuses_by_user)}
    statuses = Statuses({f"u{number}": list(each) for number, each in enumerate(statuses_by_user)})
    vendor = MultiVendor(status_of=statuses.next_for, respond=in_turn(responses))
    settled: list[tuple[str | None, str]] = []

    with (
        pytest.MonkeyPatch.context() as patch,
        Ledger(":memory:") if with_ledger else contextlib.nullcontext() as ledger,
    ):
        record_settlements(patch, settled)
        report = deliver_to(vendor, users(len(statuses_by_user)), ledger=ledger, backend=AcmeMulti(limit=max_users))

    assert sorted(settled) == sorted((user_id, SETTLED[end]) for user_id, end in ends.items())
    assert vendor.times_sent == dict.fromkeys(statuses.accepted, 1)
    assert (report["acme"].given, report["acme"].pending) == (len(statuses_by_user), 0)
    assert all(len(ids) <= max_users for ids in vendor.requests)


@attrs.define
class Rows:
    """The rows that are upserted: each has a number, and larger numbers are newer."""

    newest: dict[str, int] = attrs.field(factory=dict[str, int])
    count: int = 0

    def next(self, user_id: str) -> UserTraits:
        """Return the next row about a user."""
        self.count += 1
        self.newest[user_id] = self.count
        return user(user_id, number=self.count)


IDS: Final = st.lists(st.sampled_from(["u0", "u1", "u2", "u3"]), max_size=5)
STEPS: Final = st.lists(st.tuples(IDS, IDS, st.lists(RESPONSES, max_size=4), st.integers(1, 4)), max_size=6)


@pytest.mark.slow
@given(steps=STEPS, max_users=st.integers(1, 5))
@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_never_sends_older_state_after_newer(
    steps: list[tuple[list[str], list[str], list[Response | None], int]], max_users: int
) -> None:
    """This holds for any upserts before and during a run, and a crash at any request."""
    rows, vendor, backend = Rows(), MultiVendor(), AcmeMulti(limit=max_users)
    with tempfile.TemporaryDirectory(prefix="replay-identity-groups-") as folder:
        for before, during, responses, end in steps:
            with Ledger(Path(folder) / "ledger.db") as ledger, contextlib.suppress(CrashError):

                def after(number: int, ids: list[str] = during, end: int = end, ledger: Ledger = ledger) -> None:
                    if number == 1:
                        ledger.upsert([rows.next(user_id) for user_id in ids], ["acme"])
                    if number == end:
                        raise CrashError

                ledger.upsert([rows.next(user_id) for user_id in before], ["acme"])
                vendor.restart(after=after, respond=in_turn(responses))
                deliver_to(vendor, [], ledger=ledger, backend=backend)
        vendor.restart()
        with Ledger(Path(folder) / "ledger.db") as ledger:
            report = deliver_to(vendor, [], ledger=ledger, backend=backend)

    numbers = {user_id: [traits["number"] for traits in states if traits] for user_id, states in vendor.stored.items()}
    assert all(each == sorted(each) for each in numbers.values())
    assert {user_id: each[-1] for user_id, each in numbers.items()} == rows.newest
    assert report["acme"].pending == 0


SETTLED: Final = {"ok": "Accepted", "bad": "Rejected"}


def record_settlements(patch: pytest.MonkeyPatch, settled: list[tuple[str | None, str]]) -> None:
    """Record every outcome after which a user is not sent again."""
    for kind in (MemoryOutbox, LedgerOutbox):

        def settle(outbox: Any, claim: Claim, outcome: Outcome, original: Any = kind.settle) -> None:
            if type(outcome).__name__ in SETTLED.values():
                settled.append((claim.user.user_id, type(outcome).__name__))
            original(outbox, claim, outcome)

        patch.setattr(kind, "settle", settle)
