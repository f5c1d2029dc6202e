"""What holds for every way to send many requests at once."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace

import pytest
from transport.children import in_children
from transport.servers import OK, serving, silent

from replay_identity.adapters.exchange import NoResponse, Request, Response
from replay_identity.transport import ConcurrentSender, concurrent_sender, curl_sender, thread_sender
from replay_identity.transport.curl_sender import CurlSender
from replay_identity.transport.thread_sender import ThreadSender

Make = Callable[[int], ConcurrentSender]


@pytest.fixture(params=[CurlSender, ThreadSender], ids=["curl", "threads"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Return what makes a sender with so many connections, and close them all."""
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


def all_replies(sender: ConcurrentSender, count: int, timeout: float = 20.0) -> dict[int, Response]:
    """Return *count* replies by ticket."""
    until = time.monotonic() + timeout
    found: list[tuple[int, Response]] = []
    while len(found) < count and time.monotonic() < until:
        found.extend(sender.completed(until - time.monotonic()))
    assert len(found) == count
    assert len(dict(found)) == count
    return dict(found)


def echo(request: bytes) -> bytes:
    """Answer with the path that was asked for."""
    path = request.split(b" ")[1]
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path)


def test_gives_each_ticket_its_own_reply(make: Make) -> None:
    """Replies come back as they come in, each under the ticket of its request."""
    sender = make(8)

    with serving(echo) as served:
        for request_id in range(200):
            sender.submit(request_id, put(f"{served.url}/users/{request_id}"), 20.0)
        responses = all_replies(sender, 200)

    assert {request_id: response.body for request_id, response in responses.items()} == {
        request_id: b"/users/%d" % request_id for request_id in range(200)
    }
    assert served.connections <= 8


def test_has_as_many_in_flight_as_it_may(make: Make) -> None:
    """The sixty-fourth request is sent though none of the others was answered."""
    barrier = threading.Barrier(64)
    sender = make(64)

    def meet(_: bytes) -> bytes:
        barrier.wait(20.0)
        return OK

    with serving(meet) as served:
        for request_id in range(64):
            sender.submit(request_id, put(served.url), 20.0)
        responses = all_replies(sender, 64)

    assert {response.status for response in responses.values()} == {200}
    assert served.connections == 64


def test_keeps_its_connections(make: Make) -> None:
    """One request after another goes over the same connection."""
    sender = make(64)

    with serving() as served:
        for request_id in range(20):
            sender.submit(request_id, put(served.url), 5.0)
            all_replies(sender, 1)

    assert served.connections == 1


def test_is_not_held_up_by_a_dead_host(make: Make) -> None:
    """While one host says nothing, the answers of another come in."""
    sender = make(4)

    with silent() as port, serving() as served:
        sender.submit(0, put(f"http://127.0.0.1:{port}/"), 2.5)
        started = time.monotonic()
        for request_id in range(1, 30):
            sender.submit(request_id, put(served.url), 20.0)
        responses = all_replies(sender, 29)
        took = time.monotonic() - started
        last = all_replies(sender, 1)

    assert {response.status for response in responses.values()} == {200}
    assert took < 2.4
    assert last[0].no_response is NoResponse.TIMED_OUT


def test_counts_the_waiting_for_a_connection(make: Make) -> None:
    """A request whose time is over before it had a connection was not sent, and says so in time."""
    sender = make(1)

    with silent() as port:
        sender.submit(0, put(f"http://127.0.0.1:{port}/"), 0.8)
        sender.submit(1, put(f"http://127.0.0.1:{port}/"), 0.3)
        sender.submit(2, put(f"http://127.0.0.1:{port}/"), 1.4)
        responses = all_replies(sender, 3, 4.0)

    assert [responses[request_id].no_response for request_id in range(3)] == [
        NoResponse.TIMED_OUT,
        NoResponse.NOT_SENT,
        NoResponse.TIMED_OUT,
    ]


def test_waits_no_longer_than_it_may(make: Make) -> None:
    """The caller comes back in time to do something else."""
    sender = make(1)

    with silent() as port:
        sender.submit(0, put(f"http://127.0.0.1:{port}/"), 20.0)
        started = time.monotonic()
        responses = sender.completed(0.2)

    assert list(responses) == []
    assert 0.1 < time.monotonic() - started < 2


def test_does_not_wait_for_what_was_not_asked(make: Make) -> None:
    """With no request under way there is no reply to wait for."""
    sender = make(1)
    started = time.monotonic()

    assert list(sender.completed(20.0)) == []
    assert time.monotonic() - started < 2


def test_waits_no_time_to_close_on_a_dead_host(make: Make) -> None:
    """Closing takes no account of who may still answer; what is started afterwards is not sent."""
    sender = make(1)

    with silent() as port:
        for request_id in range(3):
            sender.submit(request_id, put(f"http://127.0.0.1:{port}/"), 2.0)
        sender.completed(0.1)
        started = time.monotonic()
        sender.close()
        sender.close()
        took = time.monotonic() - started
        sender.submit(7, put(f"http://127.0.0.1:{port}/"), 20.0)

        assert list(sender.completed(5.0)) == [(7, Response(0, no_response=NoResponse.CLOSED))]
    assert took < 1


def test_frees_its_connections(make: Make) -> None:
    """Closing ends the connections, those that are kept and those with a request under way."""
    sender = make(2)
    leave = threading.Event()

    def answer(request: bytes) -> bytes:
        if b"/slow" in request:
            leave.wait(20.0)
        return OK

    with serving(answer) as served:
        for request_id, path in enumerate(["slow", "quick"]):
            sender.submit(request_id, put(f"{served.url}/{path}"), 20.0)
        assert list(all_replies(sender, 1)) == [1]
        sender.close()
        leave.set()
        until = time.monotonic() + 5
        while served.ended < 2 and time.monotonic() < until:
            time.sleep(0.01)

    assert served.ended == 2


def test_sends_nothing_more_once_closed(make: Make) -> None:
    """A request that still waits for a connection when the sender is closed is not sent."""
    sender = make(1)
    leave = threading.Event()

    def answer(_: bytes) -> bytes:
        leave.wait(20.0)
        return OK

    with serving(answer) as served:
        for request_id, path in enumerate(["first", "second"]):
            sender.submit(request_id, put(f"{served.url}/{path}"), 20.0)
        sender.completed(0.2)
        sender.close()
        leave.set()
        until = time.monotonic() + 5
        while not served.ended and time.monotonic() < until:
            time.sleep(0.01)

    assert served.first_lines == ["PUT /first HTTP/1.1"]


def test_takes_no_time_for_no_timeout(make: Make) -> None:
    """A request with next to no time left ends at once."""
    sender = make(1)

    with silent() as port:
        sender.submit(0, put(f"http://127.0.0.1:{port}/"), 0.0001)

        assert all_replies(sender, 1, 5.0)[0].no_response in {NoResponse.NOT_SENT, NoResponse.TIMED_OUT}


def test_keeps_its_connections_between_bursts(make: Make) -> None:
    """Connections outlive a moment in which nothing is under way."""
    barrier = threading.Barrier(20)
    sender = make(20)

    def meet(_: bytes) -> bytes:
        time.sleep(barrier.wait(20.0) * 0.01)  # One answer after another, until the last is alone.
        return OK

    with serving(meet) as served:
        for _ in range(2):
            for request_id in range(20):
                sender.submit(request_id, put(served.url), 20.0)
            all_replies(sender, 20)

    assert served.connections == 20


def test_raises_a_mistake_and_goes_on(make: Make) -> None:
    """After a request that could not be sent, the others are."""
    sender = make(1)

    with serving() as served:
        with pytest.raises(Exception, match=r"URL|protocol"):  # noqa: PT012  # Either may notice.
            sender.submit(0, put("gopher://127.0.0.1/"), 5.0)
            sender.completed(5.0)
        sender.submit(1, put(served.url), 5.0)

        assert all_replies(sender, 1)[1].status == 200


def test_works_in_a_forked_child(make: Make) -> None:
    """A child makes connections of its own and leaves the parent's alone."""
    sender = make(2)

    with serving(echo) as served:

        def send_one() -> int:
            sender.submit(1, put(f"{served.url}/one"), 10.0)
            return all_replies(sender, 1)[1].status

        def send_one_and_close() -> int:
            status = send_one()
            sender.close()
            return status

        assert send_one() == 200
        assert in_children(send_one_and_close, count=2) == [200, 200]
        assert send_one() == 200

    assert served.connections == 3


def test_a_child_hears_nothing_of_its_parents_requests(make: Make) -> None:
    """The answer to what the parent sent is the parent's."""
    sender = make(2)

    def take_time(_: bytes) -> bytes:
        time.sleep(0.3)
        return OK

    with serving(take_time) as served:
        sender.submit(0, put(served.url), 10.0)
        sender.completed(0.05)

        assert in_children(lambda: len(sender.completed(1.0)), count=1) == [0]
        assert all_replies(sender, 1)[0].status == 200


def test_begins_anew_under_another_process_id(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a forked child, where nobody measures what ran: neither a connection nor a request is taken along."""
    sender = make(1)

    with serving() as served, silent() as port:
        sender.submit(0, put(served.url), 10.0)
        all_replies(sender, 1)
        sender.submit(1, put(f"http://127.0.0.1:{port}/"), 10.0)
        for module in (curl_sender, thread_sender):
            monkeypatch.setattr(module, "os", SimpleNamespace(getpid=lambda: -1, environ=os.environ))
        if isinstance(sender, curl_sender.CurlSender):
            sender.after_fork()
        sender.submit(2, put(served.url), 10.0)

        assert all_replies(sender, 1)[2].status == 200
        assert list(sender.completed(0.1)) == []
    assert served.connections == 2


def test_a_child_closes_nothing_of_its_parents(make: Make) -> None:
    """Closing in a child that never sent anything leaves the parent's connections open."""
    sender = make(1)

    def close_and_tell() -> int:
        sender.close()
        return 0

    with serving() as served:
        sender.submit(0, put(served.url), 10.0)
        all_replies(sender, 1)
        in_children(close_and_tell, count=1)
        sender.submit(1, put(served.url), 10.0)

        assert all_replies(sender, 1)[1].status == 200
    assert served.connections == 1


def test_shows_nothing_of_a_request(make: Make) -> None:
    """What is under way does not show in a repr."""
    sender = make(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/canary"
        for request_id in range(2):
            sender.submit(request_id, Request("identify", "PUT", url, {"x": "canary"}, b"canary"), 20.0)
        sender.completed(0.1)

        assert "canary" not in repr(sender)


def test_prefers_libcurl() -> None:
    """Where pycurl is installed, bulk goes over it."""
    sender = concurrent_sender(3)

    assert isinstance(sender, CurlSender)
    assert sender.connections == 3


@pytest.mark.parametrize("pycurl", [None, ModuleType("pycurl")], ids=["none", "too old"])
def test_does_without_libcurl(monkeypatch: pytest.MonkeyPatch, pycurl: ModuleType | None) -> None:
    """Where pycurl is not installed, or one that cannot keep libcurl from sending twice, bulk goes over httpx."""
    monkeypatch.delitem(sys.modules, "replay_identity.transport.curl_sender")
    monkeypatch.setitem(sys.modules, "pycurl", pycurl)

    sender = concurrent_sender(3)

    assert isinstance(sender, ThreadSender)
    assert sender.connections == 3
