"""Several users in one request: each has an outcome of their own, and none is lost, doubled or overtaken."""

import contextlib
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from bulk.adapters import AcmeBatch
from bulk.crowds import SAID, Crowd, Vendor, deliver_to, first_time, one_after_another
from bulk.worlds import FAST, Clock, CrashError, user, users
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replay_identity import Accepted, Broken, Misconfigured, Outcome, Route, UserTraits
from replay_identity.adapters.exchange import Exchange, NoResponse, Response
from replay_identity.adapters.limits import Limits
from replay_identity.adapters.protocols import IdentityBackend, Plan
from replay_identity.bulk import BackendReport, DurableRouter, Estimate, Progress, dry_run
from replay_identity.bulk.dispatch import MultiDispatcher, OutcomeHandler
from replay_identity.bulk.memory_outbox import MemoryOutbox
from replay_identity.bulk.outbox import LedgerOutbox
from replay_identity.ledger import Claim, Ledger
from replay_identity.retry import RetryPolicy
from replay_identity.transport import ConcurrentTransport
from replay_identity.transport.rate_limiter import AdaptiveLimiter

TENS: Final = [[f"u{number}" for number in range(start, start + 10)] for start in range(0, 30, 10)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Give a ledger."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


@pytest.fixture(params=["ledger", "no ledger"])
def any_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger | None]:
    """Give a ledger, or none."""
    with Ledger(tmp_path / "any.db") if request.param == "ledger" else contextlib.nullcontext() as ledger:
        yield ledger


# Outcomes.


def test_everyone_has_an_outcome_of_their_own(any_ledger: Ledger | None) -> None:
    """One request is taken in part; whom the vendor could not take just then, or lost, is sent again."""
    said = {"u1": "bad", "u2": "later", "u3": "lost"}
    vendor = Vendor(says=lambda user_id: said.pop(user_id, "ok"))
    rows = [*users(6), user("note", note="too long"), UserTraits("nobody", name="Nobody")]

    report = deliver_to(vendor, rows, ledger=any_ledger)

    assert vendor.groups[0] == ["u0", "u1", "u2", "u3", "u4", "u5"]
    assert sorted(user_id for group in vendor.groups[1:] for user_id in group) == ["u2", "u3"]
    assert sorted(vendor.held) == ["u0", "u2", "u3", "u4", "u5"]
    assert all(len(held) == 1 for held in vendor.held.values())
    counts = report["crowd"]
    assert (counts.accepted, counts.unchanged, counts.rejected, counts.pending) == (5, 1, 2, 0)


def test_a_refusal_is_on_record_with_whom_it_is_about(ledger: Ledger) -> None:
    """And with nobody else of the group."""
    deliver_to(Vendor(says=first_time("bad", "u4")), users(10), ledger=ledger)

    (rejected,) = ledger.rejected("crowd")
    assert (rejected.user.user_id, rejected.rejection) == ("u4", SAID["bad"])


@pytest.mark.parametrize(
    "response",
    [Response(0, no_response=NoResponse.CONNECTION_LOST), Response(502), Response(503)],
    ids=["lost", "502", "503"],
)
def test_a_request_without_an_answer_has_everyone_sent_again(any_ledger: Ledger | None, response: Response) -> None:
    """Whether the vendor acted on it or not."""
    vendor = Vendor(replies_to=one_after_another([response]))

    report = deliver_to(vendor, users(10, plan="pro"), ledger=any_ledger)

    assert vendor.groups[0] == TENS[0]
    assert sorted(user_id for group in vendor.groups[1:] for user_id in group) == sorted(TENS[0])
    assert report["crowd"].accepted == 10
    assert {user_id: told[-1] for user_id, told in vendor.held.items()} == {one: {"plan": "pro"} for one in TENS[0]}


def test_a_crash_after_the_vendor_acted_has_the_group_sent_again(tmp_path: Path) -> None:
    """Nobody is lost, and an upsert twice is an upsert."""

    def die(number: int) -> None:
        if number == 2:
            raise CrashError

    vendor = Vendor(after=die)
    with Ledger(tmp_path / "ledger.db") as ledger, pytest.raises(CrashError):
        deliver_to(vendor, users(30, plan="pro"), ledger=ledger, options=attrs.evolve(FAST, connections=1))
    vendor.close()
    vendor.after = lambda _: None
    with Ledger(tmp_path / "ledger.db") as ledger:
        due = ledger.pending_count("crowd")
        report = deliver_to(vendor, [], ledger=ledger)

    assert (due, report["crowd"].accepted) == (30, 30)
    assert vendor.groups == [*TENS[:2], *TENS]
    assert {user_id: told[-1] for user_id, told in vendor.held.items()} == {f"u{n}": {"plan": "pro"} for n in range(30)}


def test_what_is_put_while_a_group_is_under_way_is_sent_after_it(ledger: Ledger) -> None:
    """Its answer settles nobody who was put since."""

    def put_more(number: int) -> None:
        if number == 1:
            ledger.upsert([user("u0", plan="pro")], ["crowd"])

    vendor = Vendor(after=put_more)

    report = deliver_to(vendor, users(3, plan="free"), ledger=ledger)

    assert vendor.held["u0"] == [{"plan": "free"}, {"plan": "pro"}]
    assert (report["crowd"].accepted, vendor.groups) == (3, [["u0", "u1", "u2"], ["u0"]])


def test_rows_about_one_user_share_no_request_and_none_overtakes_another(any_ledger: Ledger | None) -> None:
    """Also where the first one is put off, and sent again."""
    vendor = Vendor(says=first_time("later", "u0"))
    rows = [user("u0", plan="free"), user("u1"), user("u0", plan="pro")]

    report = deliver_to(vendor, rows, ledger=any_ledger)

    told = [each["plan"] for each in vendor.held["u0"]]
    assert told == (["pro"] if any_ledger else ["free", "pro"])
    assert all(len(set(group)) == len(group) for group in vendor.groups)
    assert report["crowd"].pending == 0


# Who is in a group.


@pytest.mark.parametrize(("batch_users", "sizes"), [(None, [10, 10, 5]), (4, [4] * 6 + [1]), (11, [10, 10, 5])])
def test_a_group_is_as_large_as_both_the_vendor_and_the_options_allow(
    any_ledger: Ledger | None, batch_users: int | None, sizes: list[int]
) -> None:
    """Only the last one is smaller."""
    vendor = Vendor()

    deliver_to(vendor, users(25), ledger=any_ledger, options=attrs.evolve(FAST, batch_users=batch_users))

    assert [len(group) for group in vendor.groups] == sizes


def test_whom_a_route_keeps_away_takes_no_place_in_a_group(any_ledger: Ledger | None) -> None:
    """They are settled at once; of the others the vendor gets what the route shows."""

    def when(one: UserTraits) -> bool:
        if one.user_id == "u3":
            raise ValueError("canary")
        return one.user_id not in {"u0", "u7"}

    vendor = Vendor()
    route = Route(Crowd(), when=when, exclude={"secret"}, rename={"plan": "tariff"})

    report = deliver_to(vendor, users(20, plan="pro", secret="canary"), ledger=any_ledger, backend=route)

    assert [len(group) for group in vendor.groups] == [10, 7]
    assert sorted(vendor.held) == sorted({f"u{number}" for number in range(20)} - {"u0", "u3", "u7"})
    assert {tuple(told) for told in vendor.held["u1"]} == {("tariff",)}
    counts = report["crowd"]
    assert (counts.accepted, counts.unchanged, counts.rejected) == (17, 2, 1)


def test_a_run_in_which_a_route_keeps_everyone_away_asks_nothing(any_ledger: Ledger | None) -> None:
    """There is no empty request."""
    vendor = Vendor()

    report = deliver_to(vendor, users(30), ledger=any_ledger, backend=Route(Crowd(), when=lambda _: False))

    assert (report["crowd"].unchanged, vendor.groups) == (30, [])


@attrs.define
class Hand:
    """A launcher driven by hand.

    Attributes:
        vendor: The vendor.
        most: Most users in a request.
    """

    vendor: Vendor = attrs.field(factory=Vendor)
    most: int = 10
    clock: Clock = attrs.field(factory=Clock)
    outbox: MemoryOutbox = attrs.field(factory=lambda: MemoryOutbox(BackendReport("crowd")))
    problems: list[Outcome] = attrs.field(factory=list[Outcome])
    groups: MultiDispatcher = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        backend = Crowd(most=self.most)
        policy = RetryPolicy(attempts=1, total=1e9)
        transport = ConcurrentTransport(self.vendor, AdaptiveLimiter(), retry=policy, clock=self.clock)
        handler = OutcomeHandler(self.outbox, transport, self.problems.append, 0.5)
        self.groups = MultiDispatcher(
            route=Route(backend),
            outbox=self.outbox,
            transport=transport,
            max_users=self.most,
            clock=self.clock,
            backend=backend,
            handler=handler,
        )

    def dispatch(self, *, is_last: bool = False) -> int:
        """Launch, and return how many requests there were so far."""
        self.groups.dispatch(is_last=is_last)
        return len(self.vendor.groups)

    def poll(self) -> None:
        """Take in the answers."""
        self.groups.transport.poll(0.0)


def test_a_group_that_is_not_full_waits_a_little_for_more_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """From when its first one was taken; one that is full does not wait."""
    monkeypatch.setattr("replay_identity.bulk.dispatch._LINGER_S", 0.5)
    hand = Hand()
    hand.outbox.enqueue(users(14))
    assert hand.dispatch() == 1

    hand.clock.now += 0.375
    hand.outbox.enqueue([user("later")])
    assert hand.dispatch() == 1
    hand.clock.now += 0.125
    assert hand.dispatch() == 2

    assert hand.vendor.groups[1] == ["u10", "u11", "u12", "u13", "later"]


def test_the_last_group_waits_for_nobody() -> None:
    """There is nobody else to come."""
    hand = Hand()
    hand.outbox.enqueue(users(3))

    assert hand.dispatch(is_last=False) == 0
    assert hand.dispatch(is_last=True) == 1
    assert hand.dispatch(is_last=True) == 1


def test_no_more_users_are_under_way_than_memory_is_good_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many connections there are; and one group at the least."""
    monkeypatch.setattr("replay_identity.bulk.dispatch._MAX_USERS_IN_FLIGHT", 25)
    hand = Hand()
    hand.outbox.enqueue(users(100))
    assert [hand.dispatch(), hand.vendor.most_at_once] == [3, 3]

    hand.poll()
    assert hand.dispatch() == 6
    assert hand.vendor.most_at_once == 3


def test_no_more_requests_are_under_way_than_the_pace_allows() -> None:
    """A run begins with eight."""
    hand = Hand(most=2)
    hand.outbox.enqueue(users(100))

    assert hand.dispatch() == 8


# The end of a run.


def test_a_run_that_is_stopped_leaves_the_rest_pending_and_the_next_one_goes_on(ledger: Ledger) -> None:
    """What was sent is heard out."""
    stop = threading.Event()
    vendor = Vendor(after=lambda _: stop.set())
    rows = users(200, plan="pro")

    report = deliver_to(vendor, rows, ledger=ledger, stop=stop)

    sent = sum(map(len, vendor.groups))
    assert 0 < sent < 200
    assert (report["crowd"].accepted, report["crowd"].pending) == (sent, 200 - sent)
    again = deliver_to(vendor, rows, ledger=ledger)
    assert again["crowd"].accepted == 200 - sent
    assert {user_id: len(told) for user_id, told in vendor.held.items()} == {f"u{number}": 1 for number in range(200)}


def test_wrong_settings_end_a_run_and_lose_nobody(any_ledger: Ledger | None) -> None:
    """It is told once, however many share the request, and nothing else is sent."""
    vendor = Vendor(replies_to=lambda _: Response(401))

    report = deliver_to(vendor, users(200), ledger=any_ledger, options=attrs.evolve(FAST, connections=1))

    counts = report["crowd"]
    assert (counts.pending, counts.problem, len(vendor.groups)) == (200, "HTTP 401. Check the key.", 1)
    assert counts.stats.as_dict()["causes"] == [{"outcome": "Misconfigured", "cause": counts.problem, "count": 1}]
    if any_ledger is not None:
        assert deliver_to(Vendor(), [], ledger=any_ledger)["crowd"].accepted == 200


def test_nobody_is_sent_once_the_settings_are_known_to_be_wrong() -> None:
    """Neither the group that fills nor another one."""
    hand = Hand(vendor=Vendor(replies_to=lambda _: Response(401)))
    hand.outbox.enqueue(users(12))
    hand.dispatch()
    hand.poll()
    hand.outbox.enqueue(users(50))

    assert hand.dispatch(is_last=True) == 1
    assert hand.problems == [Misconfigured("crowd", "HTTP 401", "Check the key.")]


def test_the_router_of_an_app_groups_what_it_delivers(ledger: Ledger) -> None:
    """In the background, too."""
    vendor = Vendor()
    with DurableRouter([Crowd()], ledger=ledger, options={"crowd": FAST}, transport=lambda _: vendor) as router:
        for one in users(30):
            router.identify(one)
        assert router.flush(10.0)

    assert sorted(vendor.held) == sorted(f"u{number}" for number in range(30))
    assert len(vendor.groups) < 30


# Users whom the vendor puts off in an answer that is no failure.


@pytest.mark.parametrize(("headers", "seconds"), [({}, 0.5), ({"retry-after": "7"}, 7.0)])
def test_who_is_put_off_is_sent_again_after_a_while(headers: dict[str, str], seconds: float) -> None:
    """Nobody hammers the vendor, which may say how long it wants; the others of the request are settled at once."""
    hand = Hand(vendor=Vendor(says=first_time("later", "u0"), headers=headers))
    hand.outbox.enqueue(users(3))
    hand.dispatch(is_last=True)
    hand.poll()
    assert (hand.outbox.pending(), hand.groups.status_text()) == (1, "1 user deferred by the vendor")

    hand.clock.now += seconds - 0.125
    hand.poll()
    assert hand.dispatch(is_last=True) == 1
    hand.clock.now += 0.125
    hand.poll()
    assert hand.dispatch(is_last=True) == 2
    hand.poll()

    assert hand.vendor.groups == [["u0", "u1", "u2"], ["u0"]]
    assert (hand.outbox.pending(), hand.groups.transport.in_flight, hand.groups.status_text()) == (0, 0, "")


def test_after_a_failed_request_only_the_pace_makes_users_wait() -> None:
    """Who was in it is to be had at once, for when the pace lets somebody go."""
    hand = Hand(vendor=Vendor(replies_to=one_after_another([Response(503)])))
    hand.outbox.enqueue(users(3))
    hand.dispatch(is_last=True)
    hand.poll()

    assert hand.groups.transport.in_flight == 0
    assert hand.outbox.next() is not None


@attrs.define
class OneByOne:
    """The same adapter without several users in one request."""

    crowd: Crowd = attrs.field(factory=Crowd)
    name: str = "crowd"

    @property
    def limits(self) -> Limits:
        """Return none."""
        return self.crowd.limits

    def plan(self, one: UserTraits, /) -> Plan:
        """Return what would be sent."""
        return self.crowd.plan(one)

    def identify(self, one: UserTraits, /) -> Exchange[Outcome]:
        """Send one user."""
        return self.crowd.identify(one)


@pytest.mark.slow
@pytest.mark.parametrize("backend", [Crowd(), OneByOne()], ids=["groups", "singles"])
def test_who_is_put_off_for_ever_is_left_pending(
    any_ledger: Ledger | None, backend: IdentityBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one without an answer is: after so many times the run goes on without them, and meanwhile it says so."""
    monkeypatch.setattr(sys.modules["replay_identity.bulk.run"], "_PROGRESS_INTERVAL_S", 0.0)
    vendor = Vendor(says=lambda user_id: "later" if user_id == "u0" else "ok")

    told: list[str] = []

    def listen(progress: Sequence[Progress]) -> None:
        told.extend(one.status_text for one in progress)

    report = deliver_to(
        vendor,
        users(3),
        ledger=any_ledger,
        backend=backend,
        options=attrs.evolve(FAST, wait_initial=0.02),
        on_progress=listen,
    )

    assert (report["crowd"].accepted, report["crowd"].pending) == (2, 1)
    assert sum("u0" in group for group in vendor.groups) == 20
    assert "1 user deferred by the vendor" in told


def test_a_run_that_is_stopped_does_not_wait_for_who_is_put_off(any_ledger: Ledger | None) -> None:
    """However long the vendor wants; they are pending."""
    stop = threading.Event()
    vendor = Vendor(says=lambda _: "later", headers={"retry-after": "1000"}, after=lambda _: stop.set())

    report = deliver_to(vendor, users(3), ledger=any_ledger, stop=stop)

    assert report["crowd"].pending == 3


# Adapters with bugs.


class Raising(Crowd):
    """Raises before it asks, without being a generator."""

    def identify_many(self, _users: Sequence[UserTraits], /) -> Any:
        """Have a bug."""
        raise ValueError("canary")


class RaisingLater(Crowd):
    """Raises once it was answered."""

    def identify_many(self, users: Sequence[UserTraits], /) -> Any:
        """Have a bug."""
        yield from super().identify_many(users)
        raise ValueError("canary")


class Odd(Crowd):
    """Yields what is no request."""

    def identify_many(self, _users: Sequence[UserTraits], /) -> Any:
        """Have a bug."""
        yield "GET /"


@attrs.define
class Answering(Crowd):
    """Asks, and answers what the test wants instead of the outcomes."""

    answer: Callable[[Sequence[Outcome]], Any] = tuple

    def identify_many(self, users: Sequence[UserTraits], /) -> Any:
        """Have a bug."""
        outcomes = yield from super().identify_many(users)
        return self.answer(outcomes)


BROKEN: Final[dict[str, Crowd]] = {
    "raises": Raising(),
    "raises later": RaisingLater(),
    "yields no request": Odd(),
    "answers nothing": Answering(answer=lambda _: None),
    "answers nobody": Answering(answer=lambda _: ()),
    "answers too few": Answering(answer=lambda outcomes: outcomes[1:]),
    "answers too many": Answering(answer=lambda outcomes: (*outcomes, Accepted("crowd"))),
    "answers no outcomes": Answering(answer=lambda outcomes: ["canary"] * len(outcomes)),
    "answers for another": Answering(answer=lambda outcomes: [Accepted("other")] * len(outcomes)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_bug_of_an_adapter_is_on_record_for_everyone_it_concerns(ledger: Ledger, what: str) -> None:
    """By type and place, and the run comes to its end."""
    report = deliver_to(Vendor(), users(25), ledger=ledger, backend=BROKEN[what])

    rejected = list(ledger.rejected("crowd"))
    assert (report["crowd"].rejected, len(rejected)) == (25, 25)
    assert {type(one.rejection) for one in rejected} == {Broken}
    assert "canary" not in str(rejected) + str(report.as_dict())


def test_how_many_outcomes_were_answered_is_told(ledger: Ledger) -> None:
    """For whoever mends the adapter."""
    deliver_to(Vendor(), users(10), ledger=ledger, backend=BROKEN["answers too few"])

    assert {one.rejection for one in ledger.rejected("crowd")} == {
        Broken("crowd", "the adapter returned 9 outcomes for 10 users")
    }


def test_one_outcome_of_another_backend_concerns_one_user(any_ledger: Ledger | None) -> None:
    """The others are believed."""
    backend = Answering(answer=lambda outcomes: [Accepted("other"), *outcomes[1:]])

    report = deliver_to(Vendor(), users(10), ledger=any_ledger, backend=backend)

    assert (report["crowd"].accepted, report["crowd"].rejected) == (9, 1)


# Which way users are sent.


class Both(AcmeBatch):
    """Takes batches, and several users in one request."""

    max_users = Crowd().max_users
    groups = 0

    def identify_many(self, users: Sequence[UserTraits], /) -> Exchange[tuple[Outcome, ...]]:
        """Take everyone."""
        self.groups += 1
        return (Accepted("acme"),) * len(users)
        yield  # Makes it a generator.


def test_batches_go_before_groups_where_there_is_a_ledger(any_ledger: Ledger | None) -> None:
    """They need one."""
    backend = Both()

    report = deliver_to(Vendor(), users(20), ledger=any_ledger, backend=backend, name="acme")

    assert report["acme"].accepted == 20
    assert backend.groups == (0 if any_ledger else 2)


def test_nobody_is_sent_alone_where_several_share_a_request(any_ledger: Ledger | None) -> None:
    """Neither the last one."""
    backend = Crowd()

    deliver_to(Vendor(), users(21), ledger=any_ledger, backend=backend)

    assert backend.identified == []


@pytest.mark.parametrize(("count", "batch_users", "requests"), [(0, None, 0), (20, None, 2), (21, None, 3), (21, 4, 6)])
def test_a_rehearsal_counts_requests_and_not_users(count: int, batch_users: int | None, requests: int) -> None:
    """At the least: who is refused without being sent needs none."""
    rows = [*users(count), user("note", note="too long"), UserTraits("nobody", name="Nobody")]
    options = attrs.evolve(FAST, batch_users=batch_users, requests_per_minute=60)

    is_dry_run = dry_run(rows, [Crowd()], ledger=None, options={"crowd": options})

    assert is_dry_run.estimate["crowd"] == Estimate(requests, 0, float(requests))
    assert (is_dry_run.report["crowd"].accepted, is_dry_run.report["crowd"].rejected) == (count, 1)


# The law.


@attrs.define
class Fates:
    """What the vendor says of each user, request by request: some trouble first, then the same for good."""

    by_user: dict[str, list[str]]
    taken: set[str] = attrs.field(factory=set[str])

    def say(self, user_id: str) -> str:
        """Say the next word; whom the vendor took is not sent again."""
        assert user_id not in self.taken
        words = self.by_user[user_id]
        word = words.pop(0) if len(words) > 1 else words[0]
        self.taken |= {user_id} if word == "ok" else set()
        return word


FATES: Final = st.lists(st.sampled_from(["later", "lost"]), max_size=3).flatmap(
    lambda trouble: st.sampled_from(["ok", "ok", "bad"]).map(lambda end: [*trouble, end])
)
NOT_TAKEN: Final = st.sampled_from([None, None, Response(503), Response(0, no_response=NoResponse.NOT_SENT)])
REPLIES: Final = NOT_TAKEN | st.sampled_from([Response(502), Response(0, no_response=NoResponse.CONNECTION_LOST)])


@given(
    fates=st.lists(FATES, max_size=40),
    most=st.integers(1, 12),
    responses=st.lists(NOT_TAKEN, max_size=12),
    with_ledger=st.booleans(),
)
@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_everybody_is_settled_once_and_nobody_is_lost(
    fates: list[list[str]], most: int, responses: list[Response | None], *, with_ledger: bool
) -> None:
    """However many they are, and whatever becomes of requests and of users; with a ledger and without."""
    ends = {f"u{number}": fate[-1] for number, fate in enumerate(fates)}
    told = Fates({f"u{number}": list(fate) for number, fate in enumerate(fates)})
    vendor = Vendor(says=told.say, replies_to=one_after_another(responses))
    settled: list[tuple[str | None, str]] = []

    with (
        pytest.MonkeyPatch.context() as patch,
        Ledger(":memory:") if with_ledger else contextlib.nullcontext() as ledger,
    ):
        note_settlements(patch, settled)
        report = deliver_to(vendor, users(len(fates)), ledger=ledger, backend=Crowd(most=most))

    assert sorted(settled) == sorted((user_id, SETTLED[end]) for user_id, end in ends.items())
    assert {user_id: len(told) for user_id, told in vendor.held.items()} == dict.fromkeys(told.taken, 1)
    assert (report["crowd"].given, report["crowd"].pending) == (len(fates), 0)
    assert all(len(group) <= most for group in vendor.groups)


@attrs.define
class Story:
    """What is put, step by step: each row has a number of its own, and later ones are newer."""

    wanted: dict[str, int] = attrs.field(factory=dict[str, int])
    count: int = 0

    def row(self, user_id: str) -> UserTraits:
        """Return the next row about a user."""
        self.count += 1
        self.wanted[user_id] = self.count
        return user(user_id, number=self.count)


IDS: Final = st.lists(st.sampled_from(["u0", "u1", "u2", "u3"]), max_size=5)
STEPS: Final = st.lists(st.tuples(IDS, IDS, st.lists(REPLIES, max_size=4), st.integers(1, 4)), max_size=6)


@pytest.mark.slow
@given(steps=STEPS, most=st.integers(1, 5))
@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_older_is_told_after_something_newer(
    steps: list[tuple[list[str], list[str], list[Response | None], int]], most: int
) -> None:
    """Whatever is put before and under way, whatever fails, and though each run dies at some request."""
    story, vendor, backend = Story(), Vendor(), Crowd(most=most)
    with tempfile.TemporaryDirectory(prefix="replay-identity-groups-") as folder:
        for before, meanwhile, responses, end in steps:
            with Ledger(Path(folder) / "ledger.db") as ledger, contextlib.suppress(CrashError):

                def go_on(number: int, rows: list[str] = meanwhile, end: int = end, ledger: Ledger = ledger) -> None:
                    if number == 1:
                        ledger.upsert([story.row(user_id) for user_id in rows], ["crowd"])
                    if number == end:
                        raise CrashError

                ledger.upsert([story.row(user_id) for user_id in before], ["crowd"])
                vendor.start_over(after=go_on, replies_to=one_after_another(responses))
                deliver_to(vendor, [], ledger=ledger, backend=backend)
        vendor.start_over()
        with Ledger(Path(folder) / "ledger.db") as ledger:
            report = deliver_to(vendor, [], ledger=ledger, backend=backend)

    numbers = {user_id: [told["number"] for told in held if told] for user_id, held in vendor.held.items()}
    assert all(each == sorted(each) for each in numbers.values())
    assert {user_id: each[-1] for user_id, each in numbers.items()} == story.wanted
    assert report["crowd"].pending == 0


SETTLED: Final = {"ok": "Accepted", "bad": "Rejected"}


def note_settlements(patch: pytest.MonkeyPatch, settled: list[tuple[str | None, str]]) -> None:
    """Note every outcome after which a user is not sent again."""
    for kind in (MemoryOutbox, LedgerOutbox):

        def settle(outbox: Any, claim: Claim, outcome: Outcome, settle_it: Any = kind.settle) -> None:
            if type(outcome).__name__ in SETTLED.values():
                settled.append((claim.user.user_id, type(outcome).__name__))
            settle_it(outbox, claim, outcome)

        patch.setattr(kind, "settle", settle)
