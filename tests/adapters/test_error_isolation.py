"""Outcomes are validated, and exceptions of adapters become `Broken`."""

from typing import Any

import pytest
from support.exchanges import run

from replay_identity import Accepted, Broken
from replay_identity.adapters.exchange import Exchange, Request, Response
from replay_identity.adapters.responses import adapter_error, checked_outcome, isolate_errors

REQUEST = Request("identify", "PUT", "https://vendor.example/")


def request_then_return(outcome: Any) -> Exchange[Any]:
    """Send one request and return *outcome*."""
    yield REQUEST
    return outcome


def request_then_raise() -> Exchange[Any]:
    """Send one request and raise an exception."""
    yield REQUEST
    raise ValueError("canary")


def test_passes_on_the_adapters_own_outcome() -> None:
    """Requests and responses are passed on, too."""
    assert run(isolate_errors("acme", request_then_return(Accepted("acme"))), Response(200)) == (
        Accepted("acme"),
        [REQUEST],
    )


@pytest.mark.parametrize("value", [None, "yes", Accepted("other"), Accepted, 7])
def test_anything_else_is_broken(value: Any) -> None:
    """It could overwrite another backend's outcome."""
    outcome, _ = run(isolate_errors("acme", request_then_return(value)), Response(200))

    assert outcome == checked_outcome("acme", value) == Broken("acme", "it returned no outcome of this backend")


def test_an_exception_becomes_its_type_and_place() -> None:
    """Its text may quote what was sent."""
    outcome, _ = run(isolate_errors("acme", request_then_raise()), Response(200))

    assert isinstance(outcome, Broken)
    assert outcome.error.startswith("ValueError at test_error_isolation.py:")


def test_an_exception_never_raised_has_no_place() -> None:
    """Only its type is shown."""
    assert adapter_error("acme", ValueError("canary")) == Broken("acme", "ValueError")


def test_does_not_catch_a_keyboard_interrupt() -> None:
    """Ctrl-C is not an adapter's bug."""

    def interrupted() -> Exchange[Any]:
        yield REQUEST
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(isolate_errors("acme", interrupted()), Response(200))
