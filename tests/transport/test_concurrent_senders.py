"""What both concurrent senders have in common."""

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace

import pytest
from support.children import in_children
from support.servers import OK, serving, silent_port

from replay_identity.adapters import NoResponse, Request, Response
from replay_identity.transport import ConcurrentSender, concurrent_sender
from replay_identity.transport.curl_sender import CurlSender
from replay_identity.transport.thread_sender import ThreadSender

Make = Callable[[int], ConcurrentSender]


@pytest.fixture(params=[CurlSender, ThreadSender], ids=["curl", "threads"])
def make_sender(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Return a function that makes a sender with that many connections, and close all of them."""
    made: list[ConcurrentSender] = []

    def make_one(connections: int) -> ConcurrentSender:
        made.append(request.param(connections))
        return made[-1]

    yield make_one
    for sender in made:
        sender.close()


def put(url: str) -> Request:
    """Return a request to *url*."""
    return Request("identify", "PUT", url, {}, b"{}")


def all_responses(sender: ConcurrentSender, count: int, timeout: float = 20.0) -> dict[int, Response]:
    """Return *count* responses by request id."""
    end = time.monotonic() + timeout
    responses: list[tuple[int, Response]] = []
    while len(responses) < count and time.monotonic() < end:
        responses.extend(sender.completed(end - time.monotonic()))
    assert len(responses) == count
    assert len(dict(responses)) == count
    return dict(responses)


def echo(request: bytes) -> bytes:
    """Respond with the path of the request."""
    path = request.split(b" ")[1]
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path)


def test_each_request_id_gets_its_own_response(make_sender: Make) -> None:
    """Responses arrive in any order, each with the id of its request."""
    sender = make_sender(8)

    with serving(echo) as served:
        for request_id in range(200):
            sender.submit(request_id, put(f"{served.url}/users/{request_id}"), 20.0)
        responses = all_responses(sender, 200)

    assert {request_id: response.body for request_id, response in responses.items()} == {
        request_id: b"/users/%d" % request_id for request_id in range(200)
    }
    assert served.connections <= 8


def test_uses_all_connections(make_sender: Make) -> None:
    """The sixty-fourth request is sent while none of the others has a response."""
    barrier = threading.Barrier(64)
    sender = make_sender(64)

    def meet(_: bytes) -> bytes:
        barrier.wait(20.0)
        return OK

    with serving(meet) as served:
        for request_id in range(64):
            sender.submit(request_id, put(served.url), 20.0)
        responses = all_responses(sender, 64)

    assert {response.status for response in responses.values()} == {200}
    assert served.connections == 64


def test_reuses_its_connections(make_sender: Make) -> None:
    """One request after another uses the same connection."""
    sender = make_sender(64)

    with serving() as served:
        for request_id in range(20):
            sender.submit(request_id, put(served.url), 5.0)
            all_responses(sender, 1)

    assert served.connections == 1


@pytest.mark.slow
def test_a_dead_host_does_not_delay_others(make_sender: Make) -> None:
    """While one host does not respond, responses of another arrive."""
    sender = make_sender(4)

    with silent_port() as port, serving() as served:
        sender.submit(0, put(f"http://127.0.0.1:{port}/"), 2.5)
        started = time.monotonic()
        for request_id in range(1, 30):
            sender.submit(request_id, put(served.url), 20.0)
        responses = all_responses(sender, 29)
        took = time.monotonic() - started
        last = all_responses(sender, 1)

    assert {response.status for response in responses.values()} == {200}
    assert took < 2.4
    assert last[0].no_response is NoResponse.TIMED_OUT


@pytest.mark.slow
def test_waiting_for_a_connection_counts(make_sender: Make) -> None:
    """A request that times out before it gets a connection was not sent."""
    sender = make_sender(1)

    with silent_port() as port:
        sender.submit(0, put(f"http://127.0.0.1:{port}/"), 0.8)
        sender.submit(1, put(f"http://127.0.0.1:{port}/"), 0.3)
        sender.submit(2, put(f"http://127.0.0.1:{port}/"), 1.4)
        responses = all_responses(sender, 3, 4.0)

    assert [responses[request_id].no_response for request_id in range(3)] == [
        NoResponse.TIMED_OUT,
        NoResponse.NOT_SENT,
        NoResponse.TIMED_OUT,
    ]


def test_completed_returns_after_its_timeout(make_sender: Make) -> None:
    """The caller gets back control in time."""
    sender = make_sender(1)

    with silent_port() as port:
        sender.submit(0, put(f"http://127.0.0.1:{port}/"), 20.0)
        started = time.monotonic()
        responses = sender.completed(0.2)

    assert list(responses) == []
    assert 0.1 < time.monotonic() - started < 15


def test_completed_returns_at_once_without_requests(make_sender: Make) -> None:
    """With no request in flight there is no response to wait for."""
    sender = make_sender(1)
    started = time.monotonic()

    assert list(sender.completed(20.0)) == []
    assert time.monotonic() - started < 15


def test_closing_does_not_wait_for_a_dead_host(make_sender: Make) -> None:
    """What is submitted after closing is not sent."""
    sender = make_sender(1)

    with silent_port() as port:
        for request_id in range(3):
            sender.submit(request_id, put(f"http://127.0.0.1:{port}/"), 20.0)
        sender.completed(0.1)
        started = time.monotonic()
        sender.close()
        sender.close()
        took = time.monotonic() - started
        sender.submit(7, put(f"http://127.0.0.1:{port}/"), 20.0)

        assert list(sender.completed(5.0)) == [(7, Response(0, no_response=NoResponse.CLOSED))]
    assert took < 15


def test_closing_frees_the_connections(make_sender: Make) -> None:
    """Closing ends kept connections and those with a request in flight."""
    sender = make_sender(2)
    leave = threading.Event()

    def respond(request: bytes) -> bytes:
        if b"/slow" in request:
            leave.wait(20.0)
        return OK

    with serving(respond) as served:
        for request_id, path in enumerate(["slow", "quick"]):
            sender.submit(request_id, put(f"{served.url}/{path}"), 20.0)
        assert list(all_responses(sender, 1)) == [1]
        sender.close()
        leave.set()
        end = time.monotonic() + 30
        while served.ended < 2 and time.monotonic() < end:
            time.sleep(0.01)

    assert served.ended == 2


def test_closing_discards_waiting_requests(make_sender: Make) -> None:
    """A request that waits for a connection is not sent after closing."""
    sender = make_sender(1)
    leave = threading.Event()

    def respond(_: bytes) -> bytes:
        leave.wait(20.0)
        return OK

    with serving(respond) as served:
        for request_id, path in enumerate(["first", "second"]):
            sender.submit(request_id, put(f"{served.url}/{path}"), 20.0)
        while not served.request_lines:
            sender.completed(0.2)
        sender.close()
        leave.set()
        end = time.monotonic() + 30
        while not served.ended and time.monotonic() < end:
            time.sleep(0.01)

    assert served.request_lines == ["PUT /first HTTP/1.1"]


@pytest.mark.parametrize("started", [0, 1])
def test_sends_when_no_thread_can_start(make_sender: Make, monkeypatch: pytest.MonkeyPatch, started: int) -> None:
    """As while the interpreter exits: over the threads there are, or in the caller's."""
    sender = make_sender(8)

    class Unstartable(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't create new thread at interpreter shutdown")

    with serving(echo) as served:
        for request_id in range(5):
            if request_id == started:
                module = SimpleNamespace(Thread=Unstartable)
                monkeypatch.setattr("replay_identity.transport.thread_sender.threading", module)
            sender.submit(request_id, put(f"{served.url}/{request_id}"), 20.0)
        responses = all_responses(sender, 5)

    assert sorted(response.body for response in responses.values()) == [b"/%d" % number for number in range(5)]


def test_a_tiny_timeout_ends_at_once(make_sender: Make) -> None:
    """A request with hardly any time left ends at once."""
    sender = make_sender(1)

    with silent_port() as port:
        sender.submit(0, put(f"http://127.0.0.1:{port}/"), 0.0001)

        assert all_responses(sender, 1, 5.0)[0].no_response in {NoResponse.NOT_SENT, NoResponse.TIMED_OUT}


def test_keeps_connections_between_bursts(make_sender: Make) -> None:
    """Connections stay open while no request is in flight."""
    barrier = threading.Barrier(20)
    sender = make_sender(20)

    def meet(_: bytes) -> bytes:
        time.sleep(barrier.wait(20.0) * 0.01)  # Responses arrive one by one.
        return OK

    with serving(meet) as served:
        for _ in range(2):
            for request_id in range(20):
                sender.submit(request_id, put(served.url), 20.0)
            all_responses(sender, 20)

    assert served.connections == 20


def test_raises_for_an_invalid_request_and_goes_on(make_sender: Make) -> None:
    """Other requests are sent after one that cannot be."""
    sender = make_sender(1)

    with serving() as served:
        with pytest.raises(Exception, match=r"URL|protocol"):  # noqa: PT012  # Either may notice.
            sender.submit(0, put("gopher://127.0.0.1/"), 5.0)
            sender.completed(5.0)
        sender.submit(1, put(served.url), 5.0)

        assert all_responses(sender, 1)[1].status == 200


def test_works_in_a_forked_child(make_sender: Make) -> None:
    """A child opens its own connections and leaves the parent's alone."""
    sender = make_sender(2)

    with serving(echo) as served:

        def send_one() -> int:
            sender.submit(1, put(f"{served.url}/one"), 10.0)
            return all_responses(sender, 1)[1].status

        def send_one_and_close() -> int:
            status = send_one()
            sender.close()
            return status

        assert send_one() == 200
        assert in_children(send_one_and_close, count=2) == [200, 200]
        assert send_one() == 200

    assert served.connections == 3


def test_a_child_gets_no_response_to_its_parents_requests(make_sender: Make) -> None:
    """The parent gets the responses to what it sent."""
    sender = make_sender(2)

    def take_time(_: bytes) -> bytes:
        time.sleep(0.3)
        return OK

    with serving(take_time) as served:
        sender.submit(0, put(served.url), 10.0)
        sender.completed(0.05)

        assert in_children(lambda: len(sender.completed(1.0)), count=1) == [0]
        assert all_responses(sender, 1)[0].status == 200


def test_starts_over_in_a_child(make_sender: Make) -> None:
    """Like a forked child, whose code coverage cannot see, it keeps neither connections nor requests."""
    sender = make_sender(1)

    with serving() as served, silent_port() as port:
        sender.submit(0, put(served.url), 10.0)
        all_responses(sender, 1)
        sender.submit(1, put(f"http://127.0.0.1:{port}/"), 10.0)
        assert isinstance(sender, CurlSender | ThreadSender)
        sender.after_fork(in_child=True)
        sender.submit(2, put(served.url), 10.0)

        assert all_responses(sender, 1)[2].status == 200
        assert list(sender.completed(0.1)) == []
    assert served.connections == 2


def test_a_child_does_not_close_its_parents_connections(make_sender: Make) -> None:
    """Closing in a child that sent nothing leaves the parent's connections open."""
    sender = make_sender(1)

    def close() -> int:
        sender.close()
        return 0

    with serving() as served:
        sender.submit(0, put(served.url), 10.0)
        all_responses(sender, 1)
        in_children(close, count=1)
        sender.submit(1, put(served.url), 10.0)

        assert all_responses(sender, 1)[1].status == 200
    assert served.connections == 1


def test_repr_shows_no_request(make_sender: Make) -> None:
    """No content of a request in flight is in a repr."""
    sender = make_sender(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/canary"
        for request_id in range(2):
            sender.submit(request_id, Request("identify", "PUT", url, {"x": "canary"}, b"canary"), 20.0)
        sender.completed(0.1)

        assert "canary" not in repr(sender)


def test_prefers_libcurl() -> None:
    """Bulk runs use libcurl if pycurl is installed."""
    sender = concurrent_sender(3)

    assert isinstance(sender, CurlSender)
    assert sender.connections == 3


@pytest.mark.parametrize("pycurl", [None, ModuleType("pycurl")], ids=["none", "too old"])
def test_falls_back_to_threads(monkeypatch: pytest.MonkeyPatch, pycurl: ModuleType | None) -> None:
    """Bulk runs use httpx if pycurl is missing or too old to keep libcurl from sending twice."""
    monkeypatch.delitem(sys.modules, "replay_identity.transport.curl_sender")
    monkeypatch.setitem(sys.modules, "pycurl", pycurl)

    sender = concurrent_sender(3)

    assert isinstance(sender, ThreadSender)
    assert sender.connections == 3
