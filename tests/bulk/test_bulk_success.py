"""What a success is in bulk: with an empty body or any object everyone is accepted, with a page nobody is."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from support.deliveries import Delivery

from replay_identity import LogRocket
from replay_identity.adapters import Request, Response
from replay_identity.ledger import Ledger

LOGROCKET: Final = LogRocket("org:app:secret")
HTML: Final = Response(200, {"content-type": "text/html"}, b"<html>Log in</html>")


@attrs.define
class SameResponse:
    """A concurrent sender that responds to every request alike."""

    response: Response
    requests: list[Request] = attrs.field(factory=list[Request])
    _in_flight: list[int] = attrs.field(factory=list[int])

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Record the request."""
        assert timeout > 0
        self.requests.append(request)
        self._in_flight.append(request_id)

    def completed(self, _timeout: float) -> Sequence[tuple[int, Response]]:
        """Return the response to every request in flight."""
        ids, self._in_flight = self._in_flight, []
        return [(request_id, self.response) for request_id in ids]

    def close(self) -> None:
        """Forget the requests in flight."""
        self._in_flight.clear()


@pytest.fixture(params=["ledger", "no ledger"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger | None]:
    """Yield a ledger, or None."""
    with Ledger(tmp_path / "ledger.db") if request.param == "ledger" else contextlib.nullcontext() as ledger:
        yield ledger


@pytest.fixture(autouse=True)
def _no_real_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only the fake clock pass."""
    monkeypatch.setattr("replay_identity.bulk.worker._POLL_INTERVAL_S", 0.0)


@pytest.mark.parametrize("response", [Response(200, body=b"{}"), Response(204), Response(200, body=b'{"userID": 7}')])
def test_one_request_each_is_enough(ledger: Ledger | None, response: Response) -> None:
    """Whatever a success shows, nobody is sent twice."""
    vendor = SameResponse(response)

    report = Delivery(ledger, LOGROCKET, vendor).run(50, plan="pro")

    assert (report.accepted, report.pending, report.problem, len(vendor.requests)) == (50, 0, None, 50)


@pytest.mark.parametrize("response", [HTML, Response(200, body=b'{"userID": "u'), Response(200, body=b"[]")])
def test_pages_of_another_server_end_the_run(ledger: Ledger | None, response: Response) -> None:
    """After few requests, with the cause in the report, and everyone pending."""
    vendor = SameResponse(response)

    report = Delivery(ledger, LOGROCKET, vendor).run(50, plan="pro")

    assert (report.accepted, report.pending) == (0, 50)
    assert len(vendor.requests) < 100
    assert report.problem == "no successful response for 300 s; last failure: HTTP 200 with an unexpected body"
    causes: list[dict[str, Any]] = report.as_dict()["causes"]
    assert {cause["cause"] for cause in causes} == {"HTTP 200 with an unexpected body"}


def test_refusal_in_a_success_is_final(ledger: Ledger | None) -> None:
    """The same traits would be refused again."""
    vendor = SameResponse(Response(200, body=b'{"success": false, "error": "no such field"}'))

    report = Delivery(ledger, LOGROCKET, vendor).run(50, plan="pro")

    assert (report.rejected, report.pending, len(vendor.requests)) == (50, 0, 50)
