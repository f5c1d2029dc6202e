"""Uses of the library for the type checkers: mypy and pyright read this, nothing runs it."""

import sqlite3
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, assert_never, assert_type
from uuid import uuid4

import httpx
import polars as pl
import sqlalchemy

from replay_identity import (
    REMOVE,
    Accepted,
    AsyncRouter,
    Broken,
    Fullstory,
    IdentifyReport,
    IdentityBackend,
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
    dry_run,
    read_rows,
    sync,
)
from replay_identity.adapters import KeyInfo, Page, Plan, StoredUser, SupportsDelete, SupportsRead, SupportsVerify
from replay_identity.migration import FileSource
from replay_identity.outcomes import Failure
from replay_identity.sources import BadRow, Row, Rows
from replay_identity.transport import AsyncTransport, Transport

user = UserTraits(
    "u1",
    name="Ann",
    email="ann@example.com",
    traits={
        "plan": "pro",
        "seats": 3,
        "rate": 9.5,
        "admin": True,
        "since": date(2026, 11, 21),
        "seen": datetime.now(UTC),
        "revenue": Decimal("9.99"),
        "session": uuid4(),
        "company": {"id": 3, "deep": {"er": [1, 2]}},
        "tags": ["a", "b"],
        "nothing": None,
        "gone": REMOVE,
    },
    types={"seats": "int", "tags": "strs"},
    observed_at=datetime.now(UTC),
    vendor_ids={"fullstory": "7449164135934483470"},
)
UserTraits(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # A user id is a string.
UserTraits("u1", types={"seats": "number"})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]

fullstory = Fullstory("na1.key", on_violation="adapt")
logrocket = LogRocket("org:app:secret")
backends: list[IdentityBackend] = [fullstory, logrocket]
reads: SupportsRead = fullstory
deletes: SupportsDelete = fullstory
verifies: SupportsVerify = fullstory
assert_type(fullstory.plan(user), Plan)


def blocking() -> None:
    """Use the blocking API."""
    with Router(
        [fullstory, Route(logrocket, exclude={"revenue"})], transport=httpx.Client(), retry=RetryPolicy()
    ) as router:
        report = router.identify(user)
        assert_type(report, IdentifyReport)
        assert_type(router.retry(report, user), IdentifyReport)
        assert_type(
            router.identify("u1", name="Ann", email="a@example.com", traits={"plan": "pro", "seats": 3}), IdentifyReport
        )
        router.identify(None, traits={"plan": "pro"})
        router.identify(user, name="Ann")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
        router.identify(7)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    with Transport() as transport:
        assert_type(transport.run(fullstory.identify(user)), Outcome)
        assert_type(transport.run(fullstory.get("u1")), StoredUser | Failure | None)
        assert_type(transport.run(fullstory.verify()), KeyInfo | Failure)
        for exchange in fullstory.pages():
            assert_type(transport.run(exchange), Page | Failure)
        transport.run(logrocket.exclude(user_id="u1"))


async def awaiting() -> None:
    """Use the asyncio API."""
    async with AsyncRouter(backends, transport=httpx.AsyncClient()) as router:
        assert_type(await router.identify(user), IdentifyReport)
        assert_type(await router.identify("u1", traits={"plan": "pro"}), IdentifyReport)
    async with AsyncTransport() as transport:
        assert_type(await transport.run(fullstory.delete("u1")), Outcome)


class Account(NamedTuple):
    """A row as a named tuple."""

    user_id: str


def rows(frame: pl.DataFrame, result: sqlalchemy.Result[tuple[str]], selected: sqlite3.Cursor, unknown: Any) -> None:
    """Pass rows of every kind."""
    assert_type(read_rows([{"id": "u1"}, {"id": "u2", "seats": 3}]), Rows[Row | BadRow])
    read_rows(Account(name) for name in "ab")
    read_rows(frame)
    read_rows([frame, frame])
    read_rows(result)
    read_rows(result.mappings())
    read_rows(selected)
    read_rows(unknown)
    read_rows(["u1"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    read_rows("users.csv")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    mixed: list[UserTraits | Row | dict[str, str] | Account] = [user, {"id": "u2"}, Account("u3"), Row(1, user)]
    sync(frame, backends, ledger=None)
    sync(result, backends, ledger=None)
    sync(mixed, backends, ledger=None)
    sync(read_rows(frame), backends, ledger=None)
    dry_run(frame, backends, ledger=None)
    FileSource("users", frame)
    FileSource("users", mixed)


def exhaustive(outcome: Outcome) -> bool:
    """Match every outcome."""
    match outcome:
        case Accepted() | Skipped():
            return True
        case Rejected(violations=violations):
            return not violations
        case Misconfigured() | Unavailable() | Unknown() | Broken():
            return False
        case _:
            assert_never(outcome)
