"""One call to every backend, and one outcome from each."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import httpx
import pytest
import respx
from support.vendors import Vendors

from replay_identity import (
    Accepted,
    AsyncRouter,
    Broken,
    ConfigurationError,
    Fullstory,
    IdentifyReport,
    InvalidTraitsError,
    LogRocket,
    Misconfigured,
    Outcome,
    Rejected,
    RetryPolicy,
    Route,
    Router,
    Skipped,
    Unavailable,
    Unknown,
    UserTraits,
)
from replay_identity.adapters import Exchange, IdentityBackend, Limits, Plan
from replay_identity.emulator import Fault
from replay_identity.logrocket import LIMITS

ONCE = RetryPolicy(attempts=1)
ANN = UserTraits("u1", name="Ann", traits={"plan": "pro"})
Identify = Callable[..., IdentifyReport]


def identify_blocking(
    backends: Iterable[IdentityBackend | Route], user: Any, *, fields: Mapping[str, Any] | None = None, **options: Any
) -> IdentifyReport:
    """Identify with a `Router`."""
    with Router(backends, **options) as router:
        return router.identify(user, **(fields or {}))


def identify_awaiting(
    backends: Iterable[IdentityBackend | Route], user: Any, *, fields: Mapping[str, Any] | None = None, **options: Any
) -> IdentifyReport:
    """Identify with an `AsyncRouter`."""

    async def main() -> IdentifyReport:
        async with AsyncRouter(backends, **options) as router:
            return await router.identify(user, **(fields or {}))

    return asyncio.run(main())


@pytest.fixture(params=[identify_blocking, identify_awaiting], ids=["Router", "AsyncRouter"])
def identify(request: pytest.FixtureRequest) -> Identify:
    """Return a function that identifies with either router."""
    way: Identify = request.param
    return way


@attrs.frozen
class Acme:
    """An invented backend."""

    name: str = "acme"
    act: Callable[[], Outcome] = lambda: Accepted("acme")
    limits: Limits = LIMITS
    account: str = "acme.example"
    encoding: str = "1"

    def plan(self, _user: UserTraits, /) -> Plan:
        """Return an empty plan."""
        return Plan(self.name, None)

    def identify(self, _user: UserTraits, /) -> Exchange[Outcome]:
        """Return what the test wants."""
        return self.act()
        yield  # Makes it a generator.


def test_sends_one_user_to_both_vendors(identify: Identify, vendors: Vendors) -> None:
    """One call, and both vendors have the user."""
    report = identify(vendors.backends, ANN)

    stored = vendors.fullstory.by_uid("u1")
    assert report.status == "ok"
    assert stored is not None
    assert stored.properties == {"plan": "pro"}
    assert vendors.logrocket.users["u1"].traits == {"plan": "pro"}


@pytest.mark.parametrize("turn", [1, -1])
def test_returns_outcomes_in_configured_order(identify: Identify, vendors: Vendors, turn: int) -> None:
    """It does not matter which vendor responds first."""
    vendors.fullstory.faults.add(Fault(latency=0.2))

    report = identify(vendors.backends[::turn], ANN)

    assert [outcome.backend for outcome in report.outcomes] == ["fullstory", "logrocket"][::turn]


@pytest.mark.slow
def test_sends_to_all_vendors_at_once(identify: Identify, vendors: Vendors) -> None:
    """Two slow vendors take as long as one."""
    for emulator in vendors.emulators:
        emulator.faults.add(Fault(latency=2.5))
    started = time.monotonic()

    report = identify(vendors.backends, ANN)

    assert report.status == "ok"
    assert time.monotonic() - started < 4.9


def test_an_adapters_bug_hides_no_other_outcome(identify: Identify, vendors: Vendors) -> None:
    """The exception becomes Broken, with its type and place and without its text."""

    def fail() -> Outcome:
        raise ValueError("canary")

    report = identify([Acme(act=fail), vendors.logrocket_backend], ANN)

    broken = report["acme"]
    assert isinstance(broken, Broken)
    assert broken.error.startswith("ValueError at test_router.py:")
    assert isinstance(report["logrocket"], Accepted)
    assert report.status == "partial"


@pytest.mark.slow
def test_a_silent_vendor_hides_no_other_outcome(identify: Identify, vendors: Vendors) -> None:
    """It costs the deadline, and the other vendor's outcome is there."""
    vendors.fullstory.faults.add(Fault(hang=True, times=None))
    started = time.monotonic()

    report = identify(vendors.backends, ANN, timeout=1.5)

    assert isinstance(report["fullstory"], Unknown)
    assert isinstance(report["logrocket"], Accepted)
    assert report.retryable == {"fullstory"}
    assert time.monotonic() - started < 10


@pytest.mark.slow
def test_returns_by_the_deadline_when_blocked(vendors: Vendors) -> None:
    """An adapter that blocks forever cannot block the router."""
    release = threading.Event()

    def block() -> Outcome:
        release.wait(20)
        return Accepted("acme")

    with Router([Acme(act=block), vendors.logrocket_backend], timeout=1.5) as router:
        report = router.identify(ANN)
    release.set()

    assert report["acme"] == Unknown("acme", "no response before the deadline")
    assert isinstance(report["logrocket"], Accepted)


def test_returns_by_the_deadline_on_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that ignores its timeout cannot block the router."""
    monkeypatch.setattr("replay_identity.router._GRACE_S", 0.05)

    class Stuck:
        async def send(self, _request: object, timeout: float) -> Any:  # noqa: ARG002, ASYNC109
            await asyncio.sleep(20)

        async def aclose(self) -> None:
            pass

    report = identify_awaiting([LogRocket("a:b:c")], ANN, transport=Stuck(), timeout=0.1)

    assert report["logrocket"] == Unknown("logrocket", "no response before the deadline")


def test_retries_only_retryable_backends(vendors: Vendors) -> None:
    """The updated report has the other outcomes, too."""
    vendors.fullstory.faults.add(Fault(status=503))
    with Router(vendors.backends, retry=ONCE) as router:
        first = router.identify(ANN)
        second = router.retry(first, ANN)

    assert first.retryable == {"fullstory"}
    assert isinstance(first["fullstory"], Unavailable)
    assert second.status == "ok"
    assert len(vendors.logrocket.requests) == 1


def test_retries_on_asyncio_too(vendors: Vendors) -> None:
    """The same with an AsyncRouter."""
    vendors.logrocket.faults.add(Fault(drop="after"))

    async def main() -> tuple[IdentifyReport, IdentifyReport]:
        async with AsyncRouter(vendors.backends, retry=ONCE) as router:
            first = await router.identify(ANN)
            return first, await router.retry(first, ANN)

    first, second = asyncio.run(main())

    assert isinstance(first["logrocket"], Unknown)
    assert second.status == "ok"
    assert len(vendors.fullstory.requests) == 1


def test_recovers_from_a_short_fault(identify: Identify, vendors: Vendors) -> None:
    """A few failures of every kind are retried within one call."""
    vendors.fullstory.faults.add(Fault(status=503))
    vendors.fullstory.faults.add(Fault(drop="before"))
    vendors.logrocket.faults.add(Fault(drop="after"))

    report = identify(vendors.backends, ANN, retry=RetryPolicy(wait_initial=0.01))

    assert report.status == "ok"


def test_does_not_create_an_anonymous_user_twice(identify: Identify, vendors: Vendors) -> None:
    """The idempotency key protects an anonymous creation whose response was lost."""
    vendors.fullstory.faults.add(Fault(drop="after"))

    report = identify([vendors.fullstory_backend], UserTraits(name="someone"), retry=RetryPolicy(wait_initial=0.01))

    assert isinstance(report["fullstory"], Accepted)
    assert len(vendors.fullstory.users) == 1


def test_a_lost_anonymous_creation_is_not_retryable(identify: Identify, vendors: Vendors) -> None:
    """Without the key, the same call would create a second user."""
    vendors.fullstory.faults.add(Fault(drop="after", times=None))

    report = identify([vendors.fullstory_backend], UserTraits(name="someone"), retry=ONCE)

    assert isinstance(report["fullstory"], Unknown)
    assert report.retryable == frozenset()


def test_wrong_settings_are_misconfigured(identify: Identify, vendors: Vendors) -> None:
    """A wrong key and a wrong application."""
    wrong_key = attrs.evolve(vendors.fullstory_backend, api_key="na1.wrong")
    wrong_app = attrs.evolve(vendors.logrocket_backend, app="other")

    report = identify([wrong_key, wrong_app], ANN)

    assert all(isinstance(outcome, Misconfigured) for outcome in report.outcomes)
    assert report.status == "failed"


def test_applies_routes(identify: Identify, vendors: Vendors) -> None:
    """A trait kept from one vendor still reaches the other."""
    user = UserTraits("u1", email="a@example.com", traits={"plan": "pro", "revenue": 12})
    route = Route(vendors.logrocket_backend, exclude={"revenue", "email"}, rename={"plan": "tier"})

    report = identify([vendors.fullstory_backend, route], user)

    at_logrocket = vendors.logrocket.users["u1"]
    at_fullstory = vendors.fullstory.by_uid("u1")
    assert report.status == "ok"
    assert at_logrocket.traits == {"tier": "pro"}
    assert at_logrocket.email is None
    assert at_fullstory is not None
    assert at_fullstory.properties == {"plan": "pro", "revenue": 12}


def test_a_route_can_skip_a_user(identify: Identify, vendors: Vendors) -> None:
    """Nothing is sent, which is not a failure."""
    report = identify([Route(vendors.logrocket_backend, when=lambda user: user.user_id != "u1")], ANN)

    assert isinstance(report["logrocket"], Skipped)
    assert report.status == "ok"
    assert len(vendors.logrocket.requests) == 0


def test_a_failing_route_breaks_only_its_backend(identify: Identify, vendors: Vendors) -> None:
    """A bug in the application's own predicate is contained like an adapter's."""
    report = identify([Route(vendors.fullstory_backend, when=lambda _: 1 // 0 > 0), vendors.logrocket_backend], ANN)

    assert isinstance(report["fullstory"], Broken)
    assert isinstance(report["logrocket"], Accepted)


@pytest.mark.parametrize("router", [Router, AsyncRouter])
def test_rejects_two_backends_with_one_name(router: type[Router] | type[AsyncRouter]) -> None:
    """Outcomes are identified by name."""
    with pytest.raises(ConfigurationError, match="two backends are named"):
        router([LogRocket("a:b:c"), LogRocket("d:e:f")])


@pytest.mark.parametrize("router", [Router, AsyncRouter])
def test_rejects_an_empty_list_of_backends(router: type[Router] | type[AsyncRouter]) -> None:
    """Such a router would accept everything and send nothing."""
    with pytest.raises(ConfigurationError, match="backends"):
        router([])


def test_uses_the_callers_client() -> None:
    """All backends share it."""
    with respx.mock, httpx.Client() as client:
        respx.post("https://api.fullstory.com/v2/users").respond(json={"id": "1"})
        respx.put("https://api.logrocket.com/v1/orgs/a/apps/b/users/u1").respond(json={"userID": "u1", "traits": {}})

        report = identify_blocking([Fullstory("key"), LogRocket("a:b:c")], ANN, transport=client)

    assert report.status == "ok"


def test_is_safe_under_threads(vendors: Vendors) -> None:
    """Many threads share one router, and every user arrives."""
    users = [UserTraits(f"u{number}", traits={"number": number}) for number in range(60)]
    statuses: list[str] = []

    with Router(vendors.backends) as router:

        def identify(user: UserTraits) -> None:
            statuses.append(router.identify(user).status)

        threads = [threading.Thread(target=identify, args=(user,)) for user in users]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert statuses == ["ok"] * 60
    assert {f"u{number}" for number in range(60)} == set(vendors.logrocket.users)


def test_works_in_forked_children(vendors: Vendors) -> None:
    """A router used before the fork, as under gunicorn's preload, works in every child and in the parent."""
    with Router(vendors.backends) as router:
        assert router.identify(ANN).status == "ok"

        exits: list[int] = []
        for number in range(3):
            child = os.fork()
            if child == 0:
                report = router.identify(UserTraits(f"child-{number}"))
                os._exit(0 if report.status == "ok" else 1)
            exits.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

        assert exits == [0, 0, 0]
        assert router.identify(ANN).status == "ok"


def test_closing_ends_a_waiting_call(vendors: Vendors) -> None:
    """A call that waits for a retry returns at once."""
    vendors.logrocket.faults.add(Fault(status=429, headers={"Retry-After": "20"}, times=None))
    router = Router([vendors.logrocket_backend])
    threading.Timer(0.3, router.close).start()
    started = time.monotonic()

    report = router.identify(ANN)

    assert isinstance(report["logrocket"], Unavailable)
    assert time.monotonic() - started < 15


def test_a_closed_router_sends_nothing(vendors: Vendors) -> None:
    """The outcome says why."""
    router = Router([vendors.logrocket_backend])
    router.close()

    report = router.identify(ANN)

    assert report["logrocket"] == Unavailable("logrocket", "the transport was closed before the request was sent")


SCRIPT = """
import sys, threading
from replay_identity import LogRocket, Router, UserTraits
router = Router([LogRocket("acme:shop:emulator", base_url=sys.argv[1])], timeout=60)
threading.Thread(target=router.identify, args=(UserTraits("u1", name="x"),), daemon=True).start()
import time; time.sleep(0.5)
print("leaving", flush=True)
"""


@pytest.mark.slow
def test_does_not_delay_process_exit(vendors: Vendors) -> None:
    """The process exits even if a vendor does not respond."""
    vendors.logrocket.faults.add(Fault(hang=True, times=None))
    started = time.monotonic()

    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, vendors.logrocket_backend.base_url or ""],
        timeout=60,
        capture_output=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout == b"leaving\n"
    assert time.monotonic() - started < 50


AT_EXIT = """
import atexit, sys
from replay_identity import LogRocket, Router, UserTraits
router = Router([LogRocket("acme:shop:emulator", base_url=sys.argv[1])])
atexit.register(lambda: print(router.identify(UserTraits("last", name="x")).status, flush=True))
"""


def test_works_during_process_exit(vendors: Vendors) -> None:
    """An atexit hook can identify when no thread can start any more."""
    result = subprocess.run(
        [sys.executable, "-c", AT_EXIT, vendors.logrocket_backend.base_url or ""],
        timeout=60,
        capture_output=True,
        check=False,
    )

    assert result.stdout == b"ok\n", result.stderr
    assert "last" in vendors.logrocket.users


def test_survives_a_signal_while_waiting(vendors: Vendors) -> None:
    """Ctrl-C interrupts the caller, and the router still works afterwards."""
    vendors.logrocket.faults.add(Fault(hang=True))
    with Router([vendors.logrocket_backend], timeout=20) as router:

        def interrupt() -> None:
            while not vendors.logrocket.requests:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            router.identify(ANN)

        assert router.identify(ANN).status == "ok"


def test_both_routers_agree(vendors: Vendors) -> None:
    """The same users get the same outcomes."""
    users = [
        ANN,
        UserTraits("a/../b", traits={"n": 1}),
        UserTraits(name="anonymous"),
        UserTraits("x" * 300),
        UserTraits("u2", traits={"bio": "é" * 5000}),
    ]

    def kinds(report: IdentifyReport) -> list[tuple[type[Outcome], Any]]:
        return [(type(outcome), getattr(outcome, "violations", None)) for outcome in report.outcomes]

    for user in users:
        assert kinds(identify_blocking(vendors.backends, user)) == kinds(identify_awaiting(vendors.backends, user))


def test_rejects_without_sending(identify: Identify, vendors: Vendors) -> None:
    """A user over one vendor's limit is still sent to the other."""
    report = identify(vendors.backends, UserTraits("u1", traits={"bio": "x" * 2000}))

    assert isinstance(report["logrocket"], Rejected)
    assert isinstance(report["fullstory"], Accepted)
    assert len(vendors.logrocket.requests) == 0


def test_a_router_closed_after_use_returns_at_once(vendors: Vendors) -> None:
    """It does not wait for threads that have ended."""
    router = Router(vendors.backends, timeout=20)
    router.identify(ANN)
    time.sleep(0.05)  # Until the threads are idle.
    router.close()
    started = time.monotonic()

    report = router.identify(ANN)

    assert all(isinstance(outcome, Unavailable) for outcome in report.outcomes)
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("router", [Router, AsyncRouter])
@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf")])
def test_rejects_an_invalid_timeout(router: type[Router] | type[AsyncRouter], timeout: float) -> None:
    """With a timeout of zero every call would fail, and an infinite one would be no deadline."""
    with pytest.raises(ConfigurationError, match="timeout"):
        router([LogRocket("a:b:c")], timeout=timeout)


def test_rejects_a_backend_without_a_name() -> None:
    """Its outcomes could not be identified."""
    with pytest.raises(ConfigurationError, match="name"):
        Router([LogRocket("a:b:c", name="")])


def test_takes_an_id_and_fields(identify: Identify, vendors: Vendors) -> None:
    """They mean the same as a UserTraits."""
    fields = {"name": "Ann", "email": "a@example.com", "traits": {"plan": "pro"}}

    report = identify([vendors.logrocket_backend], "u1", fields=fields)

    stored = vendors.logrocket.users["u1"]
    assert report.status == "ok"
    assert (stored.name, stored.email, stored.traits) == ("Ann", "a@example.com", {"plan": "pro"})


def test_takes_an_anonymous_user_without_an_id(identify: Identify) -> None:
    """An id of None is an anonymous user's."""
    assert identify([Acme()], None, fields={"traits": {"plan": "pro"}}).status == "ok"


def test_validates_fields_as_user_traits_does(identify: Identify) -> None:
    """The error names the path of the field."""
    with pytest.raises(InvalidTraitsError) as caught:
        identify([Acme()], "u1", fields={"traits": {"score": float("nan")}})

    assert caught.value.path == "traits.score"


@pytest.mark.parametrize("fields", [{"name": "Ann"}, {"email": "a@example.com"}, {"traits": {}}])
def test_rejects_fields_beside_a_user(identify: Identify, fields: dict[str, Any]) -> None:
    """It would be unclear which value wins."""
    with pytest.raises(TypeError, match="put them into the UserTraits"):
        identify([Acme()], ANN, fields=fields)


def test_rejects_anything_else_as_a_user(identify: Identify) -> None:
    """A dict instead of a user is the caller's mistake, not a vendor's outcome."""
    with pytest.raises(TypeError, match=r"UserTraits\.from_mapping"):
        identify([LogRocket("a:b:c")], {"user_id": "u1"})


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, asyncio.CancelledError, BaseException])
def test_no_exception_hides_another_outcome(identify: Identify, vendors: Vendors, error: type[BaseException]) -> None:
    """This includes exceptions such as the cancellation of an adapter's own task."""

    def fail() -> Outcome:
        raise error

    report = identify([Acme(act=fail), vendors.logrocket_backend], ANN)

    assert isinstance(report["acme"], Broken)
    assert isinstance(report["logrocket"], Accepted)


@pytest.mark.parametrize("result", [None, "accepted", Rejected("logrocket")])
def test_an_invalid_outcome_is_broken(identify: Identify, vendors: Vendors, result: Any) -> None:
    """Another backend's outcome is an adapter's bug, too."""
    report = identify([Acme(act=lambda: result), vendors.logrocket_backend], ANN)

    assert report["acme"] == Broken("acme", "it returned no outcome of this backend")
    assert isinstance(report["logrocket"], Accepted)


def test_a_cancelled_caller_is_cancelled(vendors: Vendors) -> None:
    """Cancelling an identify call works as asyncio promises."""
    vendors.logrocket.faults.add(Fault(latency=5))

    async def main() -> None:
        async with AsyncRouter([vendors.logrocket_backend]) as router:
            task = asyncio.create_task(router.identify(ANN))
            await asyncio.sleep(0.2)
            task.cancel()
            await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_ctrl_c_is_raised(identify: Identify) -> None:
    """It interrupts the program and does not become an outcome."""

    def interrupt() -> Outcome:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        identify([Acme(act=interrupt)], ANN)
