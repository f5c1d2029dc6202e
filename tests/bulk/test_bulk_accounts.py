"""A ledger knows what each account has confirmed, and never takes one account for another."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest
from support.accounts import (
    FULLSTORY_KEYS,
    FULLSTORY_PORTS,
    LOGROCKET_KEYS,
    LOGROCKET_PORTS,
    ROTATED_FULLSTORY_KEY,
    ROTATED_LOGROCKET_KEY,
    Accounts,
    fast,
    fullstory,
    logrocket,
)
from support.in_process import assert_closed
from support.users import user, users

from replay_identity import Fullstory, LogRocket, Route
from replay_identity.bulk import BackendReport, DurableRouter, Mirror, SyncReport, deliver, sync
from replay_identity.emulator import Fault, JobFault
from replay_identity.ledger import Ledger

Backend: TypeAlias = Fullstory | LogRocket
ROWS = users(3, plan="pro")
STORED = {f"u{number}": {"plan": "pro"} for number in range(3)}


@pytest.fixture
def accounts() -> Iterator[Accounts]:
    """Yield all accounts, without users."""
    with Accounts() as accounts:
        yield accounts


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Yield an empty ledger."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


@attrs.frozen
class Move:
    """The same backend before and after its account has changed."""

    before: Backend
    after: Backend

    def stored(self, accounts: Accounts, backend: Backend) -> Mapping[str, Mapping[str, Any]]:
        """Return what the account of *backend* stores."""
        port = int((backend.base_url or "").rpartition(":")[2])
        if isinstance(backend, Fullstory):
            emulator = accounts.fullstory[port, backend.api_key]
            return {each.uid or "": each.properties for each in emulator.users.values()}
        return {each.user_id: each.traits for each in accounts.logrocket[port, backend.api_key].users.values()}


MOVES: dict[str, Move] = {
    "LogRocket at another URL": Move(logrocket(), logrocket(port=LOGROCKET_PORTS[1])),
    "another app in LogRocket's key": Move(logrocket(), logrocket(LOGROCKET_KEYS[1])),
    "another organisation in LogRocket's key": Move(logrocket(), logrocket(LOGROCKET_KEYS[2])),
    "Fullstory at another URL": Move(fullstory(), fullstory(port=FULLSTORY_PORTS[1])),
    "another key of Fullstory": Move(fullstory(), fullstory(FULLSTORY_KEYS[1])),
}
moves = pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)


def run_sync(accounts: Accounts, ledger: Ledger, *backends: Backend, rows: Any = ROWS, **options: Any) -> SyncReport:
    """Sync *rows* to *backends*."""
    names = [backend.name for backend in backends]
    settings: dict[str, Any] = {**accounts.settings, "options": fast(*names), **options}
    report = sync(rows, backends, ledger=ledger, **settings)
    assert_closed(report)
    return report


def run_deliver(accounts: Accounts, ledger: Ledger, *backends: Backend, **options: Any) -> SyncReport:
    """Deliver pending users to *backends*."""
    names = [backend.name for backend in backends]
    settings: dict[str, Any] = {**accounts.settings, "options": fast(*names), **options}
    report = deliver(backends, ledger=ledger, **settings)
    assert_closed(report)
    return report


def counts(report: BackendReport) -> tuple[int, int, int, int]:
    """Return how many users were accepted, unchanged, rejected and pending."""
    return report.accepted, report.unchanged, report.rejected, report.pending


# Another account


@moves
def test_new_account_gets_everything(accounts: Accounts, ledger: Ledger, move: Move) -> None:
    """Nobody is called unchanged because of what another account confirmed."""
    run_sync(accounts, ledger, move.before)

    (report,) = run_sync(accounts, ledger, move.after).backends

    assert counts(report) == (3, 0, 0, 0)
    assert move.stored(accounts, move.after) == STORED


@moves
def test_report_names_the_new_account(accounts: Accounts, ledger: Ledger, move: Move) -> None:
    """The first run to an account says so, and later ones do not."""
    (first,) = run_sync(accounts, ledger, move.before).backends
    (second,) = run_sync(accounts, ledger, move.after).backends
    (third,) = run_sync(accounts, ledger, move.after).backends

    assert [each.new_account for each in (first, second, third)] == [True, True, False]
    names = [ledger.stored_name(each.account) for each in (move.before, move.after)]
    assert [each.account for each in (first, second)] == names
    assert first.account != second.account
    assert second.as_dict()["account"] == names[1]


@moves
def test_going_back_sends_nothing(accounts: Accounts, ledger: Ledger, move: Move) -> None:
    """The state that the first account confirmed is found again."""
    run_sync(accounts, ledger, move.before)
    run_sync(accounts, ledger, move.after)
    before = accounts.request_count

    (report,) = run_sync(accounts, ledger, move.before).backends

    assert (counts(report), accounts.request_count) == ((0, 3, 0, 0), before)
    assert not report.new_account


@moves
def test_going_back_sends_what_changed(accounts: Accounts, ledger: Ledger, move: Move) -> None:
    """The first account gets a change that only the other one has confirmed."""
    run_sync(accounts, ledger, move.before)
    run_sync(accounts, ledger, move.after, rows=[user("u0", plan="free")])

    (report,) = run_sync(accounts, ledger, move.before, rows=[user("u0", plan="free")]).backends

    assert counts(report) == (1, 0, 0, 0)
    assert move.stored(accounts, move.before)["u0"] == {"plan": "free"}


@moves
def test_pending_users_stay_at_their_account(accounts: Accounts, ledger: Ledger, move: Move) -> None:
    """A run to another account does not send them; going back does."""
    ledger_before(accounts, ledger, move.before, ROWS)

    (report,) = run_sync(accounts, ledger, move.after, rows=[user("u9", plan="pro")]).backends
    there = move.stored(accounts, move.after)
    back = run_deliver(accounts, ledger, move.before)[move.before.name]

    assert counts(report) == (1, 0, 0, 0)
    assert there == {"u9": {"plan": "pro"}}
    assert counts(back) == (3, 0, 0, 0)
    assert move.stored(accounts, move.before) == STORED


@moves
def test_pending_users_elsewhere_are_reported(accounts: Accounts, ledger: Ledger, move: Move) -> None:
    """The report names the other account and how many users are pending there."""
    ledger_before(accounts, ledger, move.before, ROWS)

    (report,) = run_sync(accounts, ledger, move.after, rows=[user("u9", plan="pro")]).backends

    assert move.before.account in str(report.as_dict()["other_accounts"])
    assert "3" in str(report.as_dict()["other_accounts"])


def ledger_before(accounts: Accounts, ledger: Ledger, backend: Backend, rows: Any) -> None:
    """Let *rows* become pending at the account of *backend*, which is down."""
    down = Fault(status=503, times=None)
    emulators = [*accounts.fullstory.values(), *accounts.logrocket.values()]
    for emulator in emulators:
        emulator.faults.add(down)
    options = {backend.name: attrs.evolve(fast("x")["x"], patience=0.02)}
    report = run_sync(accounts, ledger, backend, rows=rows, options=options)
    assert report.pending == len(rows)
    for emulator in emulators:
        emulator.faults.clear()


@moves
def test_rejections_belong_to_their_account(accounts: Accounts, ledger: Ledger, move: Move) -> None:
    """A user that one account has rejected is sent to another one."""
    rows = [user("u0", plan="pro")]
    for emulator in (*accounts.fullstory.values(), *accounts.logrocket.values()):
        emulator.faults.add(Fault(status=400, path="/v"))
    (first,) = run_sync(accounts, ledger, move.before, rows=rows).backends
    for emulator in (*accounts.fullstory.values(), *accounts.logrocket.values()):
        emulator.faults.clear()

    (second,) = run_sync(accounts, ledger, move.after, rows=rows).backends
    (third,) = run_sync(accounts, ledger, move.before, rows=rows).backends

    assert [counts(each) for each in (first, second, third)] == [(0, 0, 1, 0), (1, 0, 0, 0), (0, 0, 1, 0)]


def test_running_job_belongs_to_its_account(accounts: Accounts, ledger: Ledger) -> None:
    """Another account is not asked for the job; going back asks, and imports nothing again."""
    move = MOVES["another key of Fullstory"]
    first_emulator, second_emulator = (accounts.fullstory[FULLSTORY_PORTS[0], key] for key in FULLSTORY_KEYS)
    first_emulator.faults.add(Fault(status=503, times=None, method="GET"))
    impatient = {"fullstory": attrs.evolve(fast("x")["x"], patience=0.02)}

    first = run_sync(accounts, ledger, move.before, options=impatient)
    second = run_sync(accounts, ledger, move.after)
    first_emulator.faults.clear()
    third = run_deliver(accounts, ledger, move.before)

    assert (first.pending, second.pending, third.pending) == (3, 0, 0)
    assert {request.status for request in second_emulator.requests} <= {200}
    assert (len(first_emulator.jobs), len(second_emulator.jobs)) == (1, 1)
    assert move.stored(accounts, move.before) == STORED


# Names


def test_renamed_backend_loses_nobody(accounts: Accounts, ledger: Ledger) -> None:
    """Users pending under the old name stay pending there, and the new name delivers what it is given."""
    ledger_before(accounts, ledger, logrocket(), users(1, plan="free"))

    report = run_sync(accounts, ledger, logrocket(name="replay"))
    pending = {each.backend: each.pending for each in ledger.counts()}

    assert report["replay"].accepted == 3
    assert pending == {"logrocket": 1, "replay": 0}
    assert MOVES["LogRocket at another URL"].stored(accounts, logrocket()) == STORED


def test_one_vendor_at_two_accounts(accounts: Accounts, ledger: Ledger) -> None:
    """Each of two backends has its own state."""
    shop, blog = logrocket(name="shop"), logrocket(LOGROCKET_KEYS[1], LOGROCKET_PORTS[1], name="blog")
    run_sync(accounts, ledger, shop)

    report = run_sync(accounts, ledger, shop, blog)

    assert counts(report["shop"]) == (0, 3, 0, 0)
    assert counts(report["blog"]) == (3, 0, 0, 0)
    assert [each.new_account for each in report.backends] == [False, True]


# The same account


def refuse_to_verify(accounts: Accounts) -> None:
    """Let Fullstory answer no request for the organisation of a key."""
    for emulator in accounts.fullstory.values():
        emulator.faults.add(Fault(status=403, times=None, path="/me"))


def test_rotated_key_with_same_account_sends_nothing(accounts: Accounts, ledger: Ledger) -> None:
    """From then on, the new key needs no flag, even if the vendor says to nobody whose key it is."""
    refuse_to_verify(accounts)
    run_sync(accounts, ledger, fullstory())
    before = accounts.request_count
    rotated = fullstory(ROTATED_FULLSTORY_KEY)

    first = run_sync(accounts, ledger, rotated, same_account=True)["fullstory"]
    second = run_sync(accounts, ledger, rotated)["fullstory"]

    assert (counts(first), counts(second), accounts.request_count) == ((0, 3, 0, 0), (0, 3, 0, 0), before)
    assert (first.new_account, second.new_account) == (False, False)
    assert first.account == rotated.account


def test_rotated_key_without_an_answer_sends_everything(accounts: Accounts, ledger: Ledger) -> None:
    """Nobody can know that it is the same account."""
    refuse_to_verify(accounts)
    run_sync(accounts, ledger, fullstory())

    report = run_sync(accounts, ledger, fullstory(ROTATED_FULLSTORY_KEY))["fullstory"]

    assert (counts(report), report.new_account) == ((3, 0, 0, 0), True)


def test_deliver_continues_with_a_rotated_key(accounts: Accounts, ledger: Ledger) -> None:
    """Users pending under the old key are delivered with the new one."""
    ledger_before(accounts, ledger, fullstory(), ROWS)

    report = run_deliver(accounts, ledger, fullstory(ROTATED_FULLSTORY_KEY), same_account=True)["fullstory"]

    assert counts(report) == (3, 0, 0, 0)
    assert MOVES["another key of Fullstory"].stored(accounts, fullstory()) == STORED


def test_same_account_of_an_unused_ledger(accounts: Accounts, ledger: Ledger) -> None:
    """The flag means nothing where no account was used before."""
    report = run_sync(accounts, ledger, fullstory(), logrocket(), same_account=True)

    assert [counts(each) for each in report.backends] == [(3, 0, 0, 0)] * 2


def test_a_durable_router_warns_of_users_pending_elsewhere(
    accounts: Accounts, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """It delivers them once it is told that the account is the same."""
    rotated = fullstory(ROTATED_FULLSTORY_KEY)
    options: dict[str, Any] = {"options": fast("fullstory"), **accounts.settings}
    with DurableRouter([fullstory()], ledger=ledger, deliver=False) as router:
        router.identify(ROWS[0])
    caplog.clear()

    with DurableRouter([rotated], ledger=ledger, **options) as router:
        assert router.flush(60.0)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
    with DurableRouter([rotated], ledger=ledger, same_account=True, **options) as router:
        assert router.flush(60.0)

    assert [(each.account, each.pending, each.confirmed) for each in ledger.counts()] == [
        ("127.0.0.1:1 org FIRST", 0, 1)
    ]


def test_rotated_secret_of_logrocket_needs_no_flag(accounts: Accounts, ledger: Ledger) -> None:
    """Organisation and app tell the accounts apart, and the secret does not."""
    run_sync(accounts, ledger, logrocket())
    before = accounts.request_count

    report = run_sync(accounts, ledger, logrocket(ROTATED_LOGROCKET_KEY))["logrocket"]

    assert (counts(report), accounts.request_count) == ((0, 3, 0, 0), before)
    assert not report.new_account


SPELLINGS: dict[str, tuple[Callable[..., Backend], str, str]] = {
    "LogRocket, trailing slash": (logrocket, "http://localhost:2", "http://localhost:2/"),
    "LogRocket, case of the host": (logrocket, "http://localhost:2", "http://LOCALHOST:2"),
    "LogRocket, case of the scheme": (logrocket, "http://localhost:2", "HTTP://localhost:2"),
    "Fullstory, trailing slash": (fullstory, "http://localhost:1", "http://localhost:1/"),
    "Fullstory, case of the host": (fullstory, "http://localhost:1", "http://LocalHost:1"),
}


@pytest.mark.parametrize(("make", "one", "other"), SPELLINGS.values(), ids=SPELLINGS)
def test_spelling_of_the_url_is_the_same_account(
    make: Callable[..., Backend], one: str, other: str, accounts: Accounts, ledger: Ledger
) -> None:
    """A trailing slash and the case of the host change nothing."""
    run_sync(accounts, ledger, make(base_url=one))
    before = accounts.request_count

    (report,) = run_sync(accounts, ledger, make(base_url=other)).backends

    assert (counts(report), accounts.request_count) == ((0, 3, 0, 0), before)


def test_default_url_is_the_same_account() -> None:
    """It does not matter whether the vendor's own URL is a setting or the default."""
    assert LogRocket("acme:shop:x").account == LogRocket("acme:shop:y", base_url="https://api.logrocket.com").account
    assert Fullstory("na1.x").account == Fullstory("na1.x", base_url="https://api.fullstory.com:443/").account
    assert Fullstory("eu1.x").account != Fullstory("na1.x").account


def test_explicit_organisation_is_the_same_account() -> None:
    """Settings win over the key, and only the result matters."""
    whole = LogRocket("acme:shop:secret")

    assert LogRocket("other:app:secret", org="acme", app="shop").account == whole.account
    assert LogRocket("acme:shop:secret", app="blog").account != whole.account


@pytest.mark.parametrize(
    "backend", [fullstory("na1.canarykey"), logrocket("acme:shop:canarykey")], ids=lambda b: b.name
)
def test_account_shows_no_key(backend: Backend, accounts: Accounts, ledger: Ledger) -> None:
    """The account's name is printed, so it holds no part of a secret."""
    del accounts, ledger

    assert backend.account
    assert backend.account.isprintable()
    assert "canarykey" not in backend.account


# Deletion


@moves
def test_forget_erases_at_all_accounts(accounts: Accounts, ledger: Ledger, move: Move) -> None:
    """Neither account is called unchanged afterwards, and nobody else is affected."""
    for backend in (move.before, move.after):
        run_sync(accounts, ledger, backend)

    was_known = ledger.forget("u0")
    reports = [run_sync(accounts, ledger, backend).backends[0] for backend in (move.before, move.after)]

    assert was_known
    assert [counts(report) for report in reports] == [(1, 2, 0, 0)] * 2


@moves
def test_forget_leaves_nothing_pending_elsewhere(accounts: Accounts, ledger: Ledger, move: Move) -> None:
    """A user who was pending at another account is not sent there later."""
    ledger_before(accounts, ledger, move.before, ROWS)
    run_sync(accounts, ledger, move.after)

    ledger.forget("u0")
    (report,) = run_deliver(accounts, ledger, move.before).backends

    assert counts(report) == (2, 0, 0, 0)
    assert "u0" not in move.stored(accounts, move.before)


# Without an account


def test_ledger_of_names_adopts_the_first_account(accounts: Accounts, ledger: Ledger) -> None:
    """Users upserted under a name alone are delivered to the first account of that name, and stay confirmed there."""
    ledger.upsert(ROWS, ["logrocket"])

    first = run_deliver(accounts, ledger, logrocket())["logrocket"]
    second = run_sync(accounts, ledger, logrocket())["logrocket"]

    assert [counts(each) for each in (first, second)] == [(3, 0, 0, 0), (0, 3, 0, 0)]
    assert not second.new_account


# One account under several names of a backend


def test_renaming_back_leaves_nothing_stale(accounts: Accounts, ledger: Ledger) -> None:
    """What one name sent to the account is not called unchanged under the other name."""
    for name, plan in (("logrocket", "a"), ("replay", "b"), ("logrocket", "a")):
        run_sync(accounts, ledger, logrocket(name=name), rows=[user("u0", plan=plan)])

    assert MOVES["LogRocket at another URL"].stored(accounts, logrocket()) == {"u0": {"plan": "a"}}


@pytest.mark.parametrize("backend", [logrocket, fullstory])
def test_a_renamed_backend_sends_nothing_again(
    accounts: Accounts, ledger: Ledger, backend: Callable[..., Backend]
) -> None:
    """The vendor knows the users already."""
    run_sync(accounts, ledger, backend())
    before = accounts.request_count

    report = run_sync(accounts, ledger, backend(name="replay"))["replay"]

    assert (counts(report), report.new_account, accounts.request_count) == ((0, 3, 0, 0), False, before)


def test_two_accounts_change_places(accounts: Accounts, ledger: Ledger) -> None:
    """Backends that exchange their keys send everything that the other account has, and find it again later."""
    first = [logrocket(name="a"), logrocket(LOGROCKET_KEYS[1], LOGROCKET_PORTS[1], name="b")]
    exchanged = [logrocket(LOGROCKET_KEYS[1], LOGROCKET_PORTS[1], name="a"), logrocket(name="b")]
    run_sync(accounts, ledger, *first, rows=[user("u0", plan="pro")])
    run_sync(accounts, ledger, *exchanged, rows=[user("u0", plan="free")])

    run_sync(accounts, ledger, *first, rows=[user("u0", plan="pro")])

    for backend in first:
        assert MOVES["LogRocket at another URL"].stored(accounts, backend) == {"u0": {"plan": "pro"}}


def test_two_routes_to_an_account_take_turns(accounts: Accounts, ledger: Ledger) -> None:
    """Each sends its part, and nothing the second time."""
    routes = [Route(logrocket(), only={"plan"}), Route(logrocket(name="replay"), only={"seats"})]
    rows = users(3, plan="pro", seats=3)
    settings: dict[str, Any] = {**accounts.settings, "options": fast("logrocket", "replay")}

    reports = [sync(rows, routes, ledger=ledger, **settings) for _ in range(2)]

    assert [[counts(each) for each in report.backends] for report in reports] == [
        [(3, 0, 0, 0)] * 2,
        [(0, 3, 0, 0)] * 2,
    ]
    stored = MOVES["LogRocket at another URL"].stored(accounts, logrocket())
    assert stored == {f"u{number}": {"plan": "pro", "seats": "3"} for number in range(3)}


def test_a_route_waits_for_the_job_of_another_one(accounts: Accounts, ledger: Ledger) -> None:
    """However little patience it has: the other one is in the same run, and goes on by itself."""
    emulator = accounts.fullstory[FULLSTORY_PORTS[0], FULLSTORY_KEYS[0]]
    emulator.job_faults.add(JobFault(seconds=0.5, reported_status="QUEUED", reported_polls=20))
    routes = [Route(fullstory(name="a"), only={"plan"}), Route(fullstory(name="b"), only={"seats"})]
    # The job makes progress after 20 polls, and ends later than the patience of the other one.
    options: dict[str, Any] = dict.fromkeys("ab", attrs.evolve(fast("a")["a"], patience=0.4, poll_max=0.01))

    report = sync(users(3, plan="pro", seats=3), routes, ledger=ledger, options=options, **accounts.settings)

    assert_closed(report)
    assert [each.problem for each in report.backends if "another process" in (each.problem or "")] == []


def test_a_router_delivers_to_an_account_by_two_names(accounts: Accounts, ledger: Ledger) -> None:
    """Neither name waits for the other without end."""
    backends = [logrocket(), logrocket(name="replay")]
    with DurableRouter(
        backends, ledger=ledger, options=fast("logrocket", "replay"), transport=accounts.sender
    ) as router:
        for plan in ("pro", "free"):
            router.identify(user("u0", plan=plan))
            assert router.flush(30.0)

    assert MOVES["LogRocket at another URL"].stored(accounts, logrocket()) == {"u0": {"plan": "free"}}


def test_a_renamed_backend_goes_on_with_the_jobs(accounts: Accounts, ledger: Ledger) -> None:
    """The vendor's jobs belong to the account, and are not repeated under another name."""
    emulator = accounts.fullstory[FULLSTORY_PORTS[0], FULLSTORY_KEYS[0]]
    down = Fault(status=503, times=None, method="GET")
    emulator.faults.add(down)
    impatient = {"fullstory": attrs.evolve(fast("fullstory")["fullstory"], patience=0.02)}
    assert run_sync(accounts, ledger, fullstory(), options=impatient).pending == 3
    emulator.faults.clear()

    report = run_sync(accounts, ledger, fullstory(name="replay"))["replay"]

    assert report.pending == 0
    assert ledger.jobs("replay") == ledger.jobs("fullstory") == []
    assert run_deliver(accounts, ledger, fullstory()).pending == 0
    assert MOVES["Fullstory at another URL"].stored(accounts, fullstory()) == STORED


def test_a_loss_belongs_to_the_account(accounts: Accounts, ledger: Ledger) -> None:
    """It is on record for every name, and ends when any of them sends the trait whole."""
    names = ("a", "b")
    backends = [logrocket(name=name, on_violation="adapt") for name in names]
    for backend in backends:
        run_sync(accounts, ledger, backend, rows=[user("u0", plan="x" * 2000)])
    assert [len([*ledger.losses(name)]) for name in names] == [1, 1]

    run_sync(accounts, ledger, backends[1], rows=[user("u0", plan="pro")])

    assert [len([*ledger.losses(name)]) for name in names] == [0, 0]


def test_the_other_account_is_asked_to_delete(accounts: Accounts, ledger: Ledger) -> None:
    """Backends exchange their accounts between two runs of a mirror."""
    first, second = fullstory(name="a"), fullstory(FULLSTORY_KEYS[1], FULLSTORY_PORTS[1], name="b")
    exchanged = fullstory(FULLSTORY_KEYS[1], FULLSTORY_PORTS[1], name="a"), fullstory(name="b")
    emulators = [accounts.fullstory[pair] for pair in zip(FULLSTORY_PORTS, FULLSTORY_KEYS, strict=True)]
    mirror = Mirror("forget", max_deletions=10)
    run_sync(accounts, ledger, first, second, mirror=mirror)
    emulators[1].faults.add(Fault(status=503, times=None, method="DELETE"))
    run_sync(accounts, ledger, first, second, rows=ROWS[:2], mirror=mirror)
    emulators[1].faults.clear()

    run_sync(accounts, ledger, *exchanged, rows=ROWS[:2], mirror=mirror)

    assert [emulator.by_uid("u2") for emulator in emulators] == [None, None]
    assert all(emulator.by_uid("u1") for emulator in emulators)


# One account that turns out to be another one


def test_the_older_key_may_have_been_used_last(accounts: Accounts, ledger: Ledger) -> None:
    """What the newer key has confirmed before is not called unchanged."""
    old, new = fullstory(), fullstory(ROTATED_FULLSTORY_KEY)
    for backend, plan in ((old, "a"), (new, "a"), (old, "b")):
        run_sync(accounts, ledger, backend, rows=[user("u0", plan=plan)])

    run_sync(accounts, ledger, new, rows=[user("u0", plan="a")], same_account=True)

    assert MOVES["Fullstory at another URL"].stored(accounts, old) == {"u0": {"plan": "a"}}


def test_a_key_becomes_that_of_another_name(accounts: Accounts, ledger: Ledger) -> None:
    """What the other name has sent without an answer is in doubt for both."""
    run_sync(accounts, ledger, fullstory(name="a"), rows=[user("u0", plan="a")])
    emulator = accounts.fullstory[FULLSTORY_PORTS[0], FULLSTORY_KEYS[0]]
    emulator.faults.add(Fault(status=503, times=None, method="GET"))
    other = fullstory(ROTATED_FULLSTORY_KEY, name="c")
    impatient = {"c": attrs.evolve(fast("c")["c"], patience=0.02)}
    assert run_sync(accounts, ledger, other, rows=[user("u0", plan="b")], options=impatient).pending == 1
    emulator.faults.clear()

    renamed = fullstory(ROTATED_FULLSTORY_KEY, name="a")
    run_sync(accounts, ledger, renamed, rows=[user("u0", plan="a")], same_account=True)
    run_deliver(accounts, ledger, other)

    assert MOVES["Fullstory at another URL"].stored(accounts, fullstory()) == {"u0": {"plan": "a"}}


def test_a_backend_without_a_new_key_keeps_its_account(accounts: Accounts, ledger: Ledger) -> None:
    """`same_account` is about the rotated key of another backend."""
    blog, shop = logrocket(LOGROCKET_KEYS[1]), logrocket()
    run_sync(accounts, ledger, blog, fullstory(), rows=[user("u1", plan="pro")])
    run_sync(accounts, ledger, shop, fullstory(), rows=[user("u2", plan="pro")])
    rows = [user("u1", plan="pro"), user("u2", plan="pro")]

    report = run_sync(accounts, ledger, shop, fullstory(ROTATED_FULLSTORY_KEY), rows=rows, same_account=True)

    assert counts(report["logrocket"]) == (1, 1, 0, 0)
    assert counts(report["fullstory"]) == (0, 2, 0, 0)
    assert MOVES["LogRocket at another URL"].stored(accounts, shop).keys() == {"u1", "u2"}
