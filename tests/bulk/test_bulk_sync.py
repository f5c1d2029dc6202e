"""Users from a source to both vendors, and the report."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from support.backends import Acme
from support.in_process import FAST, InProcessSender, World, assert_closed
from support.users import user, users

from replay_identity import Accepted, ConfigurationError, Rejected, Route, Skipped, Unavailable, UserTraits
from replay_identity.adapters import Response
from replay_identity.bulk import DeliveryOptions, Progress, deliver, sync
from replay_identity.bulk.outbox import LedgerOutbox
from replay_identity.emulator import Fault
from replay_identity.errors import SourceError
from replay_identity.ledger import Claim, Ledger
from replay_identity.outcomes import SkipReason
from replay_identity.sources import BadRow, Row

BOTH = ("fullstory", "logrocket")


def pro(count: int) -> dict[str, dict[str, str]]:
    """Return what vendors store after `users(count, plan="pro")`."""
    return {f"u{number}": {"plan": "pro"} for number in range(count)}


def test_syncs_all_users_to_both_vendors(world: World) -> None:
    """Every user is sent once to each vendor, and the report adds up."""
    report = world.sync(users(1234, plan="pro"))

    world.assert_stored(pro(1234))
    assert_closed(report)
    assert [backend.accepted for backend in report.backends] == [1234, 1234]
    assert (world.fullstory.total_applied, world.logrocket.total_applied) == (1234, 1234)


def test_sends_no_unchanged_users(world: World) -> None:
    """A second run with the same source sends nothing."""
    world.sync(users(50, plan="pro"))

    report = world.sync(users(50, plan="pro"))

    assert_closed(report)
    assert [backend.unchanged for backend in report.backends] == [50, 50]
    assert (world.fullstory.total_applied, world.logrocket.total_applied) == (50, 50)


def test_coalesces_updates_of_one_user(world: World) -> None:
    """Pending updates are merged into one request and counted as one user."""
    report = world.sync([user("u0", plan="free"), user("u0", plan="pro"), user("u0", role="admin")])

    assert_closed(report)
    world.assert_stored({"u0": {"plan": "pro", "role": "admin"}})
    assert [(backend.given, backend.as_dict()["coalesced"]) for backend in report.backends] == [(1, 2), (1, 2)]
    assert world.fullstory.total_applied == 1


def test_counts_users_read_after_a_backend_failed(world: World) -> None:
    """Rows read after the run gave up on a backend are pending there."""
    world.logrocket.faults.add(Fault(status=401, times=None))

    report = world.sync(users(5000, plan="pro"))

    assert_closed(report)
    assert (report["logrocket"].pending, report["fullstory"].accepted) == (5000, 5000)
    assert (report["logrocket"].problem or "").startswith("HTTP 401")
    assert (report.pending, report.rejected) == (5000, 0)


def test_delivers_rows_read_before_the_source_failed(world: World) -> None:
    """A source that fails after some rows loses none of them."""

    def source() -> Iterator[UserTraits]:
        yield from users(1007, plan="pro")
        raise SourceError("export.csv", "cannot be read")

    report = world.sync(source())

    assert report.stopped == "export.csv: cannot be read"
    assert (report.rows, report["fullstory"].accepted) == (1007, 1007)
    assert_closed(report)


def test_raises_if_the_source_cannot_be_read(world: World) -> None:
    """Without a single row there is nothing to report."""

    def source() -> Iterator[UserTraits]:
        yield from ()
        raise SourceError("export.csv", "cannot be read")

    with pytest.raises(SourceError, match="cannot be read"):
        world.sync(source())


def test_reports_bad_rows(world: World) -> None:
    """All bad rows are counted, and the first ones are listed with their lines."""
    bad = [BadRow(line, line, "not a JSON object") for line in range(2, 40)]
    rows = [Row(1, user("u0", plan="pro")), *bad, Row(77, UserTraits(name="Ann")), UserTraits(name="Bob")]

    report = world.sync([*rows[:1], *rows[-2:], *bad])

    assert (report.rows, report.bad_row_count, len(report.bad_rows)) == (41, 40, 20)
    assert [row.line for row in report.bad_rows[:3]] == [77, 3, 2]
    assert_closed(report)
    assert (
        report.as_dict()["bad_rows"][0]["problem"]
        == "the user has no id; anonymous users can only be sent without a ledger"
    )


def test_syncs_without_a_ledger(world: World) -> None:
    """Anonymous users are sent, too, and failures are retried, whole batches included."""
    for status in (503, 429, 500):
        world.fullstory.faults.add(Fault(status=status, times=5))
        world.logrocket.faults.add(Fault(status=status, times=3))

    report = world.sync([*users(100, plan="pro"), UserTraits(name="Ann")], ledger=None)

    assert_closed(report)
    assert (report["fullstory"].accepted, report["logrocket"].accepted, report["logrocket"].rejected) == (101, 100, 1)
    assert world.fullstory.jobs


def test_reports_pending_users_without_a_ledger(world: World) -> None:
    """Users of a backend with wrong settings are counted as pending."""
    world.fullstory.faults.add(Fault(status=401, times=None))

    report = world.sync(users(20, plan="pro"), ledger=None)

    assert_closed(report)
    assert (report["fullstory"].pending, report["logrocket"].accepted) == (20, 20)


def test_deliver_sends_users_of_earlier_runs(world: World) -> None:
    """`deliver` sends what an earlier run or another process upserted."""
    world.ledger.upsert(users(30, plan="pro"), BOTH)

    report = deliver(world.backends, ledger=world.ledger, options=world.options, transport=world.sender)

    world.assert_stored(pro(30))
    assert_closed(report)
    assert [(backend.carried, backend.accepted) for backend in report.backends] == [(30, 30), (30, 30)]


def test_stops_on_the_event_and_resumes_later(world: World) -> None:
    """Nothing more is sent, the report says so, and the next run resumes."""
    report = world.sync_until(5, users(3000, plan="pro"))

    assert report.stopped == "stopped"
    assert_closed(report)
    # At least the first 250 rows were read, and a few requests were in flight.
    assert report["logrocket"].pending > 200
    assert_closed(world.sync(users(3000, plan="pro")))
    world.assert_stored(pro(3000))


def test_does_not_set_the_stop_event(world: World) -> None:
    """The event is the caller's, who may use it for several runs."""
    stop = threading.Event()

    report = world.sync(users(3), stop=stop)

    assert (stop.is_set(), report.stopped) == (False, None)


def test_sends_nothing_if_stopped_beforehand(world: World) -> None:
    """Nothing is sent, and the users that were read are pending."""
    stop = threading.Event()
    stop.set()

    report = world.sync(users(3, plan="pro"), stop=stop)

    assert_closed(report)
    assert report.stopped == "stopped"
    assert not world.fullstory.requests


def test_ends_on_an_interrupt_while_reading(world: World) -> None:
    """The report says so and adds up, and the next run resumes."""

    def source() -> Iterator[UserTraits]:
        yield from users(1000, plan="pro")
        raise KeyboardInterrupt

    report = world.sync(source())

    assert report.stopped == "interrupted"
    assert_closed(report)
    world.sync(users(1000, plan="pro"))
    world.assert_stored(pro(1000))


def test_ends_on_an_interrupt_while_waiting(world: World) -> None:
    """The signal arrives after everything was read, during a long Retry-After."""
    world.logrocket.faults.add(Fault(status=429, headers={"retry-after": "60"}))
    started = time.monotonic()

    def interrupt() -> None:
        while not world.logrocket.requests and time.monotonic() - started < 30:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()

    report = world.sync(users(3, plan="pro"))

    assert (report.stopped, report["logrocket"].pending > 0) == ("interrupted", True)
    assert time.monotonic() - started < 50
    assert_closed(report)


def test_reports_progress(world: World) -> None:
    """Progress comes a few times a second and at the end, with what each backend waits for."""
    updates: list[Sequence[Progress]] = []
    world.logrocket.faults.add(Fault(status=429, headers={"retry-after": "0.9"}))

    world.sync(users(30, plan="pro"), on_progress=updates.append)

    assert [(one.backend, one.given, one.settled, one.problem) for one in updates[-1]] == [
        ("fullstory", 30, 30, None),
        ("logrocket", 30, 30, None),
    ]
    assert any(one.status_text == "a pause of 1 s" for progress in updates for one in progress)


def test_reports_running_jobs_as_progress(world: World) -> None:
    """The status text counts the jobs and their users."""
    status_texts: set[str] = set()
    world.backends = world.backends[:1]
    world.options = {"fullstory": attrs.evolve(FAST, batch_users=40, poll_initial=0.3, poll_max=0.3)}

    def on_progress(progress: Sequence[Progress]) -> None:
        status_texts.update(backend.status_text for backend in progress)

    world.sync(users(100, plan="pro"), on_progress=on_progress)
    world.sync([user("u0", plan="free")], on_progress=on_progress)

    assert "3 jobs with 100 users" in status_texts


def test_reports_committed_rows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The callback is called after each chunk and at the end."""
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 4)
    committed: list[int] = []

    world.sync(users(10), on_committed=committed.append)

    assert committed == [4, 8, 10, 10]


def test_rejects_options_of_unknown_backends(world: World) -> None:
    """They would have no effect."""
    with pytest.raises(ConfigurationError, match="no backend is named fullstry"):
        world.sync([], options={"fullstry": FAST})


@pytest.mark.parametrize("field", [field.name for field in attrs.fields(DeliveryOptions)])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_options_must_be_positive(field: str, value: Any) -> None:
    """Zero, negative numbers and NaN are rejected."""
    with pytest.raises(ConfigurationError, match="expected a number greater than 0"):
        DeliveryOptions(**{field: value})


# Routes


def test_applies_routes(world: World) -> None:
    """A route decides which users and traits a backend sees, and under which names."""
    fullstory, logrocket = world.backends
    assert not isinstance(fullstory, Route)
    assert not isinstance(logrocket, Route)
    world.backends = [
        Route(fullstory, exclude={"secret"}, rename={"plan": "tier"}),
        Route(logrocket, when=lambda one: one.traits.get("plan") == "pro", only={"plan"}),
    ]

    report = world.sync([user("u0", plan="pro", secret="x"), user("u1", plan="free", secret="y")])

    assert_closed(report)
    assert (world.properties("u0"), world.properties("u1")) == ({"tier": "pro"}, {"tier": "free"})
    assert (world.traits("u0"), world.traits("u1")) == ({"plan": "pro"}, None)
    assert report["logrocket"].unchanged == 1


def add_routes(world: World) -> None:
    """Route only users of one plan to both vendors."""
    world.backends = [
        Route(backend, when=lambda one: one.traits.get("plan") == "pro")
        for backend in world.backends
        if not isinstance(backend, Route)
    ]


def test_a_route_sees_the_full_state(world: World) -> None:
    """`when` is not only shown what has changed."""
    add_routes(world)
    world.sync([user("u0", plan="pro", city="Rome")])

    report = world.sync([user("u0", plan="pro", city="Oslo")])

    assert [backend.accepted for backend in report.backends] == [1, 1]
    world.assert_stored({"u0": {"plan": "pro", "city": "Oslo"}})


def test_sends_the_full_state_once_a_route_allows(world: World) -> None:
    """The vendor stores nothing of a user that was filtered out before."""
    add_routes(world)
    first = world.sync([user("u0", plan="free", city="Rome")])

    world.sync([user("u0", plan="pro", city="Rome")])

    assert [backend.unchanged for backend in first.backends] == [1, 1]
    world.assert_stored({"u0": {"plan": "pro", "city": "Rome"}})


def test_sends_filtered_users_once_the_route_is_gone(world: World) -> None:
    """The same rows are sent with other settings."""
    unrouted = world.backends
    add_routes(world)
    world.sync([user("u0", plan="free")])
    world.backends = unrouted

    world.sync([user("u0", plan="free")])

    world.assert_stored({"u0": {"plan": "free"}})


def test_does_not_send_reverted_changes(world: World) -> None:
    """A change that is reverted before delivery needs no request."""
    world.sync(users(600, plan="pro"))
    world.ledger.upsert(users(600, plan="free"), BOTH)
    world.ledger.upsert(users(600, plan="pro"), BOTH)

    report = world.sync()

    assert_closed(report)
    assert [backend.unchanged for backend in report.backends] == [600, 600]
    assert [backend.unchanged for backend in world.sync(users(600, plan="pro")).backends] == [600, 600]
    assert world.fullstory.total_applied == 600


# Rejections and failures


def test_a_rejected_user_fails_no_other(world: World) -> None:
    """A user who breaks a limit of one vendor reaches the other, and the reason is recorded."""
    report = world.sync([*users(20, plan="pro"), user("long", plan="x" * 2000)])

    assert_closed(report)
    assert (report["logrocket"].rejected, report["fullstory"].rejected) == (1, 0)
    assert [one.user.user_id for one in world.ledger.rejected("logrocket")] == ["long"]
    again = world.sync([*users(20, plan="pro"), user("long", plan="x" * 2000)])
    assert (again["logrocket"].rejected, again["logrocket"].unchanged) == (1, 20)


def test_a_failing_user_delays_no_other(world: World) -> None:
    """The others are settled; that user is pending when patience ends."""
    world.logrocket.faults.add(Fault(status=500, route="/v1/orgs/acme/apps/shop/users/u7", times=None))
    options = {"fullstory": FAST, "logrocket": attrs.evolve(FAST, patience=0.2)}

    report = world.sync(users(500, plan="pro"), options=options)

    assert_closed(report)
    assert (report["logrocket"].accepted, report["logrocket"].pending) == (499, 1)
    assert report["logrocket"].problem == "no successful response for 0.2 s; last failure: HTTP 500"


def test_a_long_retry_after_costs_no_patience(world: World) -> None:
    """The run waits as long as the vendor asks."""
    world.logrocket.faults.add(Fault(status=429, headers={"retry-after": "0.6"}))
    options = {"fullstory": FAST, "logrocket": attrs.evolve(FAST, patience=0.1)}
    started = time.monotonic()

    report = world.sync(users(1, plan="pro"), options=options)

    assert (report["logrocket"].accepted, report["logrocket"].problem) == (1, None)
    assert time.monotonic() - started >= 0.6


# Upserts while a request is in flight


def test_sends_upserts_made_during_a_request(tmp_path: Path) -> None:
    """The response to the older state does not confirm the newer one."""
    with Ledger(tmp_path / "ledger.db") as ledger:

        def act(one: UserTraits) -> Accepted:
            if one.traits["plan"] == "free":
                ledger.upsert([user("u0", plan="pro")], ["acme"])
            return Accepted("acme")

        backend = Acme(act=act)
        report = sync([user("u0", plan="free")], [backend], ledger=ledger, options={"acme": FAST})

        assert [one.traits for one in backend.identified] == [{"plan": "free"}, {"plan": "pro"}]
        assert_closed(report)
        assert ledger.upsert([user("u0", plan="pro")], ["acme"])["acme"].unchanged == 1
        assert ledger.upsert([user("u0", plan="free")], ["acme"])["acme"].pending == 1


def test_sends_upserts_made_during_a_batch(world: World) -> None:
    """The newer state goes into another batch, in the right order."""
    upserted: list[int] = []

    def upsert_newer(_: int) -> None:
        if not upserted and world.fullstory.jobs:
            upserted.append(1)
            world.ledger.upsert([user("u0", plan="pro")], ["fullstory"])

    world.backends = world.backends[:1]
    world.options = {"fullstory": FAST}
    world.fullstory_line.before = upsert_newer

    report = world.sync([user("u0", plan="free"), user("u1", plan="free")])

    assert_closed(report)
    assert [item["properties"] for item in world.fullstory.history("u0") if isinstance(item, dict)] == [
        {"plan": "free"},
        {"plan": "pro"},
    ]
    assert world.ledger.upsert([user("u0", plan="pro")], ["fullstory"])["fullstory"].unchanged == 1


def test_reverts_a_change_without_a_response(world: World) -> None:
    """From a to b without a response and back to a: a is sent again."""
    world.sync([user("u0", plan="a")])
    for emulator in (world.fullstory, world.logrocket):
        emulator.faults.add(Fault(drop="after"))
    world.sync_until(1, [user("u0", plan="b")])

    world.sync([user("u0", plan="a")])

    world.assert_stored({"u0": {"plan": "a"}})


# A ledger by its path


@pytest.mark.parametrize("as_path", [str, Path])
def test_sync_and_deliver_take_a_path(world: World, tmp_path: Path, as_path: Callable[[Path], str | Path]) -> None:
    """The ledger is opened for the run and closed after it."""
    path = tmp_path / "own.db"
    with Ledger(path) as ledger:
        ledger.upsert([user("u0", plan="pro")], ["logrocket"])

    delivered = deliver(world.backends, ledger=as_path(path), options=world.options, transport=world.sender)
    synced = world.sync(users(2, plan="pro"), ledger=as_path(path))

    assert (delivered["logrocket"].accepted, delivered["fullstory"].given) == (1, 0)
    assert (synced["logrocket"].accepted, synced["logrocket"].unchanged) == (1, 1)
    assert not (tmp_path / "own.db-wal").exists()


def test_leaves_a_ledger_open_that_it_was_given(world: World) -> None:
    """It is the caller's to close."""
    world.sync(users(1))

    assert world.ledger.pending_count("fullstory") == 0


def test_wrong_arguments_create_no_ledger(tmp_path: Path) -> None:
    """They are checked before the file is opened."""
    path = tmp_path / "own.db"

    with pytest.raises(ConfigurationError):
        sync([], [], ledger=path)

    assert not path.exists()


# More than one process


def test_waits_for_the_lease_of_another_process(world: World) -> None:
    """Each user is sent once, and the report adds up."""
    child = textwrap.dedent("""
        import sys
        from replay_identity.ledger import Claim, Ledger
        with Ledger(sys.argv[1]) as ledger, ledger.lease("fullstory") as one, ledger.lease("logrocket") as other:
            assert one and other
            print("ready", flush=True)
            sys.stdin.readline()
    """)
    updates: list[Sequence[Progress]] = []
    command = [sys.executable, "-c", child, str(world.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        end = process.stdin.close

        def on_progress(progress: Sequence[Progress]) -> None:
            updates.append(progress)
            if len(updates) == 3:
                end()

        report = world.sync(users(20, plan="pro"), on_progress=on_progress)

    assert {backend.status_text for backend in updates[1]} == {"another process that is delivering"}
    world.assert_stored(pro(20))
    assert_closed(report)


def test_two_concurrent_runs_send_each_user_once(world: World) -> None:
    """They share one ledger; what one has settled is not pending for the other."""
    other = Ledger(world.path)
    reports: list[Any] = []
    rows = users(400, plan="pro")
    thread = threading.Thread(target=lambda: reports.append(world.sync(rows[:250], ledger=other)))

    thread.start()
    reports.append(world.sync(rows[150:]))
    thread.join()
    other.close()

    world.assert_stored(pro(400))
    for report in reports:
        assert_closed(report)
        assert report.pending == 0
    assert (world.fullstory.total_applied, world.logrocket.total_applied) == (400, 400)
    for name in BOTH:
        assert sum(report[name].accepted for report in reports) == 400


def test_stops_while_another_process_delivers(world: World) -> None:
    """The upserted users stay pending, and the report adds up."""
    other = Ledger(world.path)
    stop = threading.Event()

    def on_progress(progress: Sequence[Progress]) -> None:
        if all(backend.given == 20 for backend in progress):
            stop.set()

    with other.lease("fullstory") as one, other.lease("logrocket") as two:
        assert one
        assert two
        report = world.sync(users(20, plan="pro"), stop=stop, on_progress=on_progress)
    other.close()

    assert_closed(report)
    assert (report.pending, report.stopped) == (40, "stopped")


def test_reads_small_chunks_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending begins soon; later chunks are larger, which is faster per user."""
    sizes: list[int] = []
    upsert = Ledger.upsert

    def record_size(ledger: Ledger, rows: Any, *args: Any, **options: Any) -> Any:
        chunk = list(rows)
        sizes.append(len(chunk))
        return upsert(ledger, chunk, *args, **options)

    monkeypatch.setattr(Ledger, "upsert", record_size)
    monkeypatch.setattr("replay_identity.bulk.run._FIRST_CHUNK_ROWS", 2)
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 5)

    assert_closed(world.sync(users(20)))
    assert sizes == [2, 4, 5, 5, 4, 0]


@pytest.mark.slow
def test_pauses_reading_while_all_workers_lag(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source waits as long as no worker takes any users."""
    monkeypatch.setattr("replay_identity.bulk.run._MAX_BACKLOG", 1000)
    next_claim, gate = LedgerOutbox.next, threading.Event()

    def next_once_open(outbox: LedgerOutbox) -> Claim | None:
        return next_claim(outbox) if gate.is_set() else None

    monkeypatch.setattr(LedgerOutbox, "next", next_once_open)
    read: list[UserTraits] = []
    read_before: list[int] = []

    def source() -> Iterator[UserTraits]:
        for one in users(9000, plan="pro"):
            read.append(one)
            yield one

    def open_the_gate() -> None:
        read_before.append(len(read))
        gate.set()

    threading.Timer(1.0, open_the_gate).start()

    report = world.sync(source())

    assert_closed(report)
    assert read_before[0] < 5000
    assert len(read) == 9000


def test_logs_nothing_in_a_normal_run(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """There is nothing to say."""
    caplog.set_level(logging.INFO)

    world.sync(users(3, plan="pro"))

    assert [record for record in caplog.records if record.name.startswith("replay_identity")] == []


def test_counts_every_kind_of_outcome(tmp_path: Path) -> None:
    """Unavailable users are sent again until they are settled."""
    outcomes: dict[str, list[Any]] = {
        "u0": [Accepted("acme")],
        "u1": [Skipped("acme", SkipReason.NOTHING_TO_SEND)],
        "u2": [Rejected("acme", code="HTTP 400")],
        "u3": [Unavailable("acme", "HTTP 503"), Unavailable("acme", "HTTP 503"), Accepted("acme")],
    }
    backend = Acme(act=lambda one: outcomes[one.user_id or ""].pop(0))

    with Ledger(tmp_path / "ledger.db") as ledger:
        report = sync(users(4), [backend], ledger=ledger, options={"acme": FAST})

    assert_closed(report)
    counts = report["acme"].as_dict()
    assert [counts[name] for name in ("given", "accepted", "unchanged", "rejected", "pending")] == [4, 2, 1, 1, 0]
    assert report.as_dict()["backends"] == {"acme": counts}


class SlowSender(InProcessSender):
    """A sender that has no response before it is waited for."""

    def completed(self, timeout: float) -> Sequence[tuple[int, Response]]:
        """Return all responses, but none at once."""
        return super().completed(timeout) if timeout else ()


@pytest.mark.parametrize("kind", [InProcessSender, SlowSender])
def test_writes_outcomes_while_waiting_for_responses(
    kind: type[InProcessSender], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Responses are handled first: until then their connections are idle."""
    waits: list[bool] = []

    def tick(_: LedgerOutbox, *, is_idle: bool) -> None:
        waits.append(is_idle)

    monkeypatch.setattr(LedgerOutbox, "tick", tick)
    logrocket = world.backends[1]

    report = sync(
        users(100, plan="pro"),
        [logrocket],
        ledger=world.ledger,
        transport=lambda _: kind({2: world.logrocket_line}),
        options=None,
    )

    assert report["logrocket"].accepted == 100
    busy = waits.count(False)
    assert busy > 3 if kind is InProcessSender else busy == 0
