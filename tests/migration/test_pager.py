"""Reading pages through failures, quotas and expired tokens."""

from collections.abc import Sequence
from typing import Any

import pytest
from support.clock import Clock
from support.paged_vendor import PagedVendor, page, stored
from support.scripted import Script

from replay_identity import DeliveryOptions, Misconfigured, Rejected, SourceError, Unavailable, Unknown
from replay_identity.adapters import Response
from replay_identity.migration.pager import MAX_RESTARTS, PageReader
from replay_identity.retry import RetryPolicy
from replay_identity.transport import Transport

FIRST = page(stored(1), next_token="two")
SECOND = page(stored(2))
EXPIRED = Rejected("acme", code="invalid_argument")


def reader(results: dict[str | None, Sequence[Any]], clock: Clock, **options: Any) -> tuple[PageReader, PagedVendor]:
    """Return a reader of a vendor with scripted results."""
    vendor = PagedVendor(results)
    transport = Transport(Script([Response(200)]), retry=RetryPolicy(attempts=1))
    delivery = DeliveryOptions(wait_initial=1.0, wait_max=4.0, patience=20.0, **options)
    return PageReader(vendor, transport, delivery, clock=clock, sleep=clock.sleep, now=clock), vendor


def ids(pages: Sequence[Any]) -> list[str | None]:
    """Return the ids of the users on *pages*."""
    return [user.user_id for page in pages for user in page.users]


def test_follows_the_tokens_to_the_last_page() -> None:
    """The last page names no next one."""
    pages, vendor = reader({None: [FIRST], "two": [SECOND]}, Clock(0.0))

    assert ids(list(pages.pages(None))) == ["u1", "u2"]
    assert vendor.requested == [None, "two"]


def test_resumes_at_a_token() -> None:
    """Earlier pages are not requested."""
    pages, vendor = reader({"two": [SECOND]}, Clock(0.0))

    assert ids(list(pages.pages("two"))) == ["u2"]
    assert vendor.requested == ["two"]


@pytest.mark.parametrize("failure", [Unavailable("acme", "HTTP 503"), Unknown("acme", "no response in time")])
def test_retries_with_doubling_waits(failure: Any) -> None:
    """The wait doubles up to its maximum, until the page is read."""
    clock = Clock(0.0)
    pages, _ = reader({None: [failure] * 4 + [SECOND]}, clock)

    assert ids(list(pages.pages(None))) == ["u2"]
    assert clock.slept == [1.0, 2.0, 4.0, 4.0]


def test_waits_as_long_as_the_vendor_asks() -> None:
    """A quota that resets in an hour does not end the read."""
    clock = Clock(0.0)
    pages, _ = reader({None: [Unavailable("acme", "HTTP 429", 3600.0), SECOND]}, clock)

    assert ids(list(pages.pages(None))) == ["u2"]
    assert clock.slept == [3600.0]


def test_reports_each_wait() -> None:
    """The callback gets its length and cause."""
    clock, waits = Clock(0.0), list[tuple[float, str]]()
    pages, _ = reader({None: [Unavailable("acme", "HTTP 429", 7.0), SECOND]}, clock)
    pages.on_wait = lambda seconds, cause: waits.append((seconds, cause))

    list(pages.pages(None))

    assert waits == [(7.0, "HTTP 429; retry after 7 s")]


def test_records_when_a_page_was_requested() -> None:
    """The last attempt counts, not the time at which its users are used."""
    clock = Clock(100.0)
    pages, _ = reader({None: [Unavailable("acme", "HTTP 429", 7.0), FIRST], "two": [SECOND]}, clock)
    iterator = pages.pages(None)

    next(iterator)
    first = pages.requested_at
    clock.now += 50.0
    next(iterator)

    assert (first, pages.requested_at) == (107.0, 157.0)


def test_gives_up_once_patience_runs_out() -> None:
    """The failure is kept."""
    clock = Clock(0.0)
    failure = Unavailable("acme", "HTTP 503")
    pages, _ = reader({None: [failure]}, clock)

    with pytest.raises(SourceError, match="acme: cannot be read: HTTP 503"):
        list(pages.pages(None))

    assert pages.failure == failure
    assert 10.0 < clock.now <= 20.0


def test_stops_at_once_for_wrong_settings() -> None:
    """A key without permission is not tried again."""
    clock = Clock(0.0)
    pages, vendor = reader({None: [Misconfigured("acme", "HTTP 403", "Take another key.")]}, clock)

    with pytest.raises(SourceError, match="Take another key"):
        list(pages.pages(None))

    assert (vendor.requested, clock.slept) == ([None], [])


def test_an_expired_token_restarts_reading() -> None:
    """No user is lost; earlier users are read again."""
    pages, vendor = reader({None: [FIRST], "two": [EXPIRED, SECOND]}, Clock(0.0))

    assert ids(list(pages.pages(None))) == ["u1", "u1", "u2"]
    assert (vendor.requested, pages.restarts) == ([None, "two", None, "two"], 1)


def test_limits_the_number_of_restarts() -> None:
    """Reading ends even if tokens always expire."""
    pages, vendor = reader({None: [FIRST], "two": [EXPIRED]}, Clock(0.0))

    with pytest.raises(SourceError):
        list(pages.pages(None))

    assert vendor.requested.count("two") == MAX_RESTARTS + 1


def test_a_rejected_first_page_is_not_an_expired_token() -> None:
    """There is nothing to restart."""
    pages, vendor = reader({None: [EXPIRED]}, Clock(0.0))

    with pytest.raises(SourceError):
        list(pages.pages(None))

    assert vendor.requested == [None]


def test_a_page_that_names_itself_ends_reading() -> None:
    """It does so after the restarts are used up."""
    pages, _ = reader({None: [FIRST], "two": [page(stored(2), next_token="two")]}, Clock(0.0))

    with pytest.raises(SourceError, match="same page"):
        list(pages.pages(None))


def test_keeps_to_a_quota() -> None:
    """Two requests are as far apart as the quota demands."""
    clock = Clock(0.0)
    pages, _ = reader({None: [FIRST], "two": [SECOND]}, clock, requests_per_minute=30)

    list(pages.pages(None))

    assert clock.now == 2.0
