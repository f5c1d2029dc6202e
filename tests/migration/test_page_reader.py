"""Reading a vendor's pages through whatever happens on the way."""

from collections.abc import Sequence
from typing import Any

import pytest
from migration.vendors import Nobody, ScriptedVendor, Time, page, stored

from replay_identity import DeliveryOptions, Misconfigured, Rejected, SourceError, Unavailable, Unknown
from replay_identity.migration.pager import MAX_RESTARTS, PageReader
from replay_identity.retry import RetryPolicy
from replay_identity.transport import Transport

FIRST = page(stored(1), next_token="two")
SECOND = page(stored(2))
EXPIRED = Rejected("acme", code="invalid_argument")


def reader(answers: dict[str | None, Sequence[Any]], time: Time, **options: Any) -> tuple[PageReader, ScriptedVendor]:
    """Return a reader of a vendor that answers so."""
    vendor = ScriptedVendor(answers)
    transport = Transport(Nobody(), retry=RetryPolicy(attempts=1))
    delivery = DeliveryOptions(wait_initial=1.0, wait_max=4.0, patience=20.0, **options)
    return PageReader(vendor, transport, delivery, clock=time, sleep=time.sleep, now=time), vendor


def ids(pages: Sequence[Any]) -> list[str | None]:
    """Return the ids of the users on *pages*."""
    return [user.user_id for one in pages for user in one.users]


def test_reads_every_page_by_the_token_of_the_one_before() -> None:
    """The last page names no next one."""
    pages, vendor = reader({None: [FIRST], "two": [SECOND]}, Time())

    assert ids(list(pages.pages(None))) == ["u1", "u2"]
    assert vendor.asked == [None, "two"]


def test_goes_on_from_a_token() -> None:
    """Pages that were read before are not asked for."""
    pages, vendor = reader({"two": [SECOND]}, Time())

    assert ids(list(pages.pages("two"))) == ["u2"]
    assert vendor.asked == ["two"]


@pytest.mark.parametrize("failure", [Unavailable("acme", "HTTP 503"), Unknown("acme", "no response in time")])
def test_a_failure_is_waited_out(failure: Any) -> None:
    """The waits double up to the longest, and the page is read in the end."""
    time = Time()
    pages, _ = reader({None: [failure] * 4 + [SECOND]}, time)

    assert ids(list(pages.pages(None))) == ["u2"]
    assert time.slept == [1.0, 2.0, 4.0, 4.0]


def test_waits_as_long_as_the_vendor_asks_however_long() -> None:
    """A quota that opens in an hour is no reason to give up."""
    time = Time()
    pages, _ = reader({None: [Unavailable("acme", "HTTP 429", 3600.0), SECOND]}, time)

    assert ids(list(pages.pages(None))) == ["u2"]
    assert time.slept == [3600.0]


def test_tells_of_each_wait() -> None:
    """Whoever watches hears how long it takes, and why."""
    time, told = Time(), list[tuple[float, str]]()
    pages, _ = reader({None: [Unavailable("acme", "HTTP 429", 7.0), SECOND]}, time)
    pages.on_wait = lambda seconds, cause: told.append((seconds, cause))

    list(pages.pages(None))

    assert told == [(7.0, "HTTP 429; retry after 7 s")]


def test_says_when_a_page_was_asked_for() -> None:
    """The last time it was, where a failure had to be waited out; not when its users are looked at."""
    time = Time(now=100.0)
    pages, _ = reader({None: [Unavailable("acme", "HTTP 429", 7.0), FIRST], "two": [SECOND]}, time)
    found = pages.pages(None)

    next(found)
    first = pages.requested_at
    time.now += 50.0
    next(found)

    assert (first, pages.requested_at) == (107.0, 157.0)


def test_patience_ends() -> None:
    """A vendor that gives nothing but failures for so long is given up on, and the failure is kept."""
    time = Time()
    failure = Unavailable("acme", "HTTP 503")
    pages, _ = reader({None: [failure]}, time)

    with pytest.raises(SourceError, match="acme: cannot be read: HTTP 503"):
        list(pages.pages(None))

    assert pages.failure == failure
    assert 10.0 < time.now <= 20.0


def test_wrong_settings_end_the_reading_at_once() -> None:
    """A key that may not read is not tried again."""
    time = Time()
    pages, vendor = reader({None: [Misconfigured("acme", "HTTP 403", "Take another key.")]}, time)

    with pytest.raises(SourceError, match="Take another key"):
        list(pages.pages(None))

    assert (vendor.asked, time.slept) == ([None], [])


def test_an_expired_token_begins_anew() -> None:
    """Nobody behind it is lost; who was read before is read again."""
    pages, vendor = reader({None: [FIRST], "two": [EXPIRED, SECOND]}, Time())

    assert ids(list(pages.pages(None))) == ["u1", "u1", "u2"]
    assert (vendor.asked, pages.restarts) == ([None, "two", None, "two"], 1)


def test_tokens_that_always_expire_end_the_reading() -> None:
    """It does not go round for ever."""
    pages, vendor = reader({None: [FIRST], "two": [EXPIRED]}, Time())

    with pytest.raises(SourceError):
        list(pages.pages(None))

    assert vendor.asked.count("two") == MAX_RESTARTS + 1


def test_a_refused_first_page_is_no_expired_token() -> None:
    """There is nothing to begin anew."""
    pages, vendor = reader({None: [EXPIRED]}, Time())

    with pytest.raises(SourceError):
        list(pages.pages(None))

    assert vendor.asked == [None]


def test_a_page_that_names_itself_is_not_read_for_ever() -> None:
    """The same token again begins anew, and ends after a few times."""
    pages, _ = reader({None: [FIRST], "two": [page(stored(2), next_token="two")]}, Time())

    with pytest.raises(SourceError, match="same page"):
        list(pages.pages(None))


def test_keeps_to_a_quota() -> None:
    """Two pages are as far apart as the quota asks."""
    time = Time()
    pages, _ = reader({None: [FIRST], "two": [SECOND]}, time, requests_per_minute=30)

    list(pages.pages(None))

    assert time.now == 2.0
