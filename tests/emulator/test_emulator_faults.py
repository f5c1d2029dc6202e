"""Faults in requests to an emulator."""

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from replay_identity.emulator import Fault, Faults, FullstoryEmulator, LogRocketEmulator, RateLimit

MountFullstory = Callable[[FullstoryEmulator], httpx.Client]
MountLogRocket = Callable[[LogRocketEmulator], httpx.Client]

U1 = "/v1/orgs/acme/apps/shop/users/u1"


def test_status_fault_has_the_vendors_body(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The vendor does not apply the request."""
    fullstory.faults.add(Fault(status=503, headers={"Retry-After": "7"}))

    response = fs.post("/v2/users", json={"uid": "u1"})

    assert (response.status_code, response.headers["retry-after"]) == (503, "7")
    assert response.json() == {"message": "Server error was encountered", "code": "server_error"}
    assert not fullstory.users


def test_logrocket_500_has_the_documented_message(lr: httpx.Client, logrocket: LogRocketEmulator) -> None:
    """Each vendor has its own error bodies."""
    logrocket.faults.add(Fault(status=500))

    assert lr.put(U1, json={}).json() == {"error": "Error processing user data"}


def test_body_fault_replaces_the_body(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A fault can respond with any bytes."""
    fullstory.faults.add(Fault(status=502, body=b"nope"))

    assert fs.get("/me").content == b"nope"


def test_success_status_fault_applies_nothing(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A status below 400 has no body and does not apply the request."""
    fullstory.faults.add(Fault(status=204))

    response = fs.post("/v2/users", json={"uid": "u1"})

    assert (response.status_code, response.content, fullstory.users) == (204, b"", {})


@pytest.mark.parametrize(
    ("garbage", "body"),
    [
        ("html", b"<!DOCTYPE html>"),
        ("empty", b""),
        ("broken", b'{"id":"7449164'),
        ("drip", b'  {"id":"7449164135934483470"}'),
    ],
)
def test_garbage_fault_corrupts_a_success(
    fs: httpx.Client, fullstory: FullstoryEmulator, garbage: Any, body: bytes
) -> None:
    """The vendor applies the request, but its response cannot be read."""
    fullstory.faults.add(Fault(garbage=garbage, size=2, pause=0))

    response = fs.post("/v2/users", json={"uid": "u1"})

    assert response.status_code == 200
    assert response.content[: len(body)] == body
    assert (response.content == b"") == (garbage == "empty")
    assert fullstory.by_uid("u1") is not None


def test_huge_body_is_streamed(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """It is valid JSON without a Content-Length."""
    fullstory.faults.add(Fault(garbage="huge", size=1_000_000))

    response = fs.get("/me")

    assert len(response.content) > 1_000_000
    assert "content-length" not in response.headers
    assert response.json()["role"] == "ADMIN"


def test_client_can_leave_a_huge_body(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The server keeps serving after the client has left."""
    fullstory.faults.add(Fault(garbage="huge"))
    with fs.stream("GET", "/me") as response:
        next(response.iter_raw())

    assert fs.get("/me").status_code == 200


@pytest.mark.parametrize(("drop", "users"), [("before", 0), ("after", 1)])
def test_drop_fault_closes_the_connection(
    fs: httpx.Client, fullstory: FullstoryEmulator, drop: Any, users: int
) -> None:
    """The client gets no response, whether or not the request was applied."""
    fullstory.faults.add(Fault(drop=drop))

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        fs.post("/v2/users", json={"uid": "u1"})

    assert len(fullstory.users) == users
    assert [(request.status, request.applied) for request in fullstory.requests] == [(None, users == 1)]


@pytest.mark.slow
def test_hanging_request_gets_no_response(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The client times out, and nothing was applied."""
    fullstory.faults.add(Fault(hang=True))

    with pytest.raises(httpx.ReadTimeout):
        fs.post("/v2/users", json={"uid": "u1"}, timeout=1.0)

    assert (fullstory.requests[0].status, fullstory.users) == (None, {})


@pytest.mark.slow
def test_latency_delays_the_write(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A client that leaves meanwhile does not stop the vendor."""
    fullstory.faults.add(Fault(latency=1.5))
    with pytest.raises(httpx.ReadTimeout):
        fs.post("/v2/users", json={"uid": "u1"}, timeout=0.5)
    before = dict(fullstory.users)

    until = time.monotonic() + 30
    while not fullstory.users and time.monotonic() < until:
        time.sleep(0.01)

    assert (len(before), len(fullstory.users)) == (0, 1)


def test_latency_delays_a_status_fault(lr: httpx.Client, logrocket: LogRocketEmulator) -> None:
    """A failure can be slow, too."""
    logrocket.faults.add(Fault(status=500, latency=0.05))
    start = time.monotonic()

    lr.put(U1, json={})

    assert time.monotonic() - start >= 0.05


def test_slow_request_does_not_block_others(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Requests are served concurrently."""
    fullstory.faults.add(Fault(latency=0.3, path="/v2"))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(fs.get, "/v2/users")
        while not fullstory.requests:
            time.sleep(0.001)

        fs.get("/me")

        assert not slow.done()


@pytest.mark.parametrize(("times", "hits"), [(1, 1), (2, 2), (None, 3)])
def test_fault_hits_its_number_of_times(
    fs: httpx.Client, fullstory: FullstoryEmulator, times: int | None, hits: int
) -> None:
    """None means always."""
    fullstory.faults.add(Fault(status=500, times=times))

    assert [fs.get("/me").status_code for _ in range(3)].count(500) == hits


def test_faults_happen_in_order(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A script of failures is played from its start."""
    for status in (500, 429):
        fullstory.faults.add(Fault(status=status))

    assert [fs.get("/me").status_code for _ in range(3)] == [500, 429, 200]


def test_clear_removes_faults(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Queued faults do not happen."""
    fullstory.faults.add(Fault(status=500, times=None))

    fullstory.faults.clear()

    assert fs.get("/me").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "matches"),
    [
        (None, None, True),
        ("GET", None, True),
        ("POST", None, False),
        (None, "/v2", True),
        (None, "/v1", False),
        ("GET", "/v2/users", True),
    ],
)
def test_fault_can_match_method_and_path(method: str | None, path: str | None, *, matches: bool) -> None:
    """Requests are matched by method and by the prefix of the path."""
    faults = Faults()
    faults.add(Fault(hang=True, method=method, path=path))

    assert (faults.take("GET", "/v2/users") is not None) is matches


@pytest.mark.parametrize(
    ("route", "path", "matches"),
    [
        ("/v2/users/*", "/v2/users/1", True),
        ("/v2/users/*", "/v2/users/1/2", False),
        ("/v2/users/*", "/v2/users", False),
        ("/v2/*/batch", "/v2/users/batch", True),
        ("/v2/users/batch", "/v2/users/1", False),
    ],
)
def test_fault_can_match_a_route(route: str, path: str, *, matches: bool) -> None:
    """A star matches any one segment."""
    assert Fault(hang=True, route=route).matches("GET", path) is matches


def test_fault_can_skip_requests() -> None:
    """Only matching requests count."""
    faults = Faults()
    faults.add(Fault(hang=True, skip=2, times=2, method="POST"))

    hits = [faults.take(method, "/") is not None for method in ("POST", "GET", "POST", "POST", "POST", "POST")]

    assert hits == [False, False, False, True, True, False]


def test_missed_fault_does_not_count() -> None:
    """A fault with a probability waits for a draw that hits."""
    draws = iter([0.5, 0.9, 0.49])
    faults = Faults(draw=lambda: next(draws))
    faults.add(Fault(hang=True, probability=0.5))

    hits = [faults.take("GET", "/") is not None for _ in range(4)]

    assert hits == [False, False, True, False]


def test_threads_take_each_fault_once() -> None:
    """Faults can be taken from any thread."""
    faults = Faults()
    faults.add(Fault(hang=True, times=1000))

    with ThreadPoolExecutor(8) as pool:
        taken = [pool.submit(faults.take, "GET", "/") for _ in range(2000)]

    assert sum(fault.result() is not None for fault in taken) == 1000


@pytest.mark.parametrize(
    "fields",
    [
        {"status": 99},
        {"status": 600},
        {"status": 500, "drop": "before"},
        {"hang": True, "drop": "after"},
        {"status": 500, "hang": True},
        {"drop": "during"},
        {"garbage": "json"},
        {"latency": -1},
        {"pause": -1},
        {"size": -1},
        {"times": 0},
        {"times": 1.5},
        {"skip": -1},
        {"probability": 1.5},
        {"probability": -0.1},
    ],
)
def test_invalid_fault_is_rejected(fields: dict[str, Any]) -> None:
    """Invalid values raise at construction."""
    with pytest.raises(ValueError, match=next(iter(fields)).replace("hang", "drop and hang") + "|exclude"):
        Fault(**fields)


def test_rate_limit_sends_retry_after(mount_fullstory: MountFullstory, clock: Any) -> None:
    """The 429 has the seconds until the next request is admitted."""
    fs = mount_fullstory(FullstoryEmulator(rate_limit=RateLimit(requests=2, seconds=60), clock=clock))
    fs.get("/me")
    clock.now += 20.5
    fs.get("/me")

    response = fs.get("/me")

    assert (response.status_code, response.headers["retry-after"]) == (429, "40")
    assert response.json() == {
        "message": "Too many requests. Client has exceeded the rate limit for this endpoint.",
        "code": "too_many_requests",
    }


def test_request_after_retry_after_is_admitted(mount_fullstory: MountFullstory, clock: Any) -> None:
    """The window slides, and a rejected request does not count."""
    fs = mount_fullstory(FullstoryEmulator(rate_limit=RateLimit(requests=1, seconds=60), clock=clock))
    fs.get("/me")
    clock.now += 59

    early = fs.get("/me")
    clock.now += int(early.headers["retry-after"])

    assert (early.status_code, fs.get("/me").status_code) == (429, 200)


def test_logrocket_429_has_no_body(mount_logrocket: MountLogRocket) -> None:
    """No body is documented, and Retry-After can be left out."""
    lr = mount_logrocket(LogRocketEmulator(rate_limit=RateLimit(requests=0, sends_retry_after=False)))

    response = lr.put(U1, json={})

    assert (response.status_code, response.content, "retry-after" in response.headers) == (429, b"", False)


def test_reset_clears_the_rate_limit(mount_fullstory: MountFullstory, clock: Any) -> None:
    """A reset emulator has counted no requests."""
    emulator = FullstoryEmulator(rate_limit=RateLimit(requests=1), clock=clock)
    fs = mount_fullstory(emulator)
    fs.get("/me")

    emulator.reset()

    assert fs.get("/me").status_code == 200


def test_too_large_body_is_rejected(mount_fullstory: MountFullstory) -> None:
    """It is read to its end, so that the client sees the 413."""
    emulator = FullstoryEmulator(max_body=1000)
    fs = mount_fullstory(emulator)

    fits = fs.post("/v2/users", content=b"{}".ljust(1000))
    too_large = fs.post("/v2/users", content=b"{}".ljust(5_000_000))

    assert (fits.status_code, too_large.status_code) == (200, 413)
    assert len(emulator.users) == 1


def test_incomplete_request_is_not_recorded(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A client that leaves while sending makes no request."""

    def half() -> Any:
        yield b"{"
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        fs.post("/v2/users", content=half())

    assert fs.get("/me").status_code == 200
    assert [request.path for request in fullstory.requests] == ["/me"]


def test_body_needs_no_content_type(fs: httpx.Client) -> None:
    """Fullstory's own SDK sends none."""
    response = fs.post("/v2/users", content=b'{"uid": "u1"}')

    assert "content-type" not in response.request.headers
    assert response.status_code == 200
