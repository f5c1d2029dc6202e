"""One adapter's bug is told by type and place, and hides nobody's answer."""

from typing import Any

import pytest
from exchanges import run

from replay_identity import Accepted, Broken
from replay_identity.adapters.exchange import Exchange, Request, Response
from replay_identity.adapters.responses import adapter_error, checked_outcome, isolate_errors

REQUEST = Request("identify", "PUT", "https://vendor.example/")


def asking(outcome: Any) -> Exchange[Any]:
    """Ask once and answer *outcome*."""
    yield REQUEST
    return outcome


def failing() -> Exchange[Any]:
    """Ask once and have a bug."""
    yield REQUEST
    raise ValueError("canary")


def test_an_outcome_of_its_own_is_passed_on() -> None:
    """And so are its requests and the replies to them."""
    assert run(isolate_errors("acme", asking(Accepted("acme"))), Response(200)) == (Accepted("acme"), [REQUEST])


@pytest.mark.parametrize("answer", [None, "yes", Accepted("other"), Accepted, 7])
def test_what_is_no_outcome_of_its_own_is_broken(answer: Any) -> None:
    """It would hide somebody's answer."""
    outcome, _ = run(isolate_errors("acme", asking(answer)), Response(200))

    assert outcome == checked_outcome("acme", answer) == Broken("acme", "the adapter returned no outcome of its own")


def test_an_exception_is_told_by_type_and_place() -> None:
    """Its text may quote what was sent."""
    outcome, _ = run(isolate_errors("acme", failing()), Response(200))

    assert isinstance(outcome, Broken)
    assert outcome.error.startswith("ValueError at test_guarding.py:")


def test_an_exception_that_was_never_raised_has_no_place() -> None:
    """Its type is enough."""
    assert adapter_error("acme", ValueError("canary")) == Broken("acme", "ValueError")


def test_what_ends_the_process_is_not_caught() -> None:
    """Ctrl-C is nobody's bug."""

    def interrupted() -> Exchange[Any]:
        yield REQUEST
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(isolate_errors("acme", interrupted()), Response(200))
