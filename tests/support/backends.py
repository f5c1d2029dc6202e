"""Fake backends without a network whose results the test sets."""

from collections.abc import Callable, Container, Iterable, Sequence
from datetime import date
from typing import Any

import attrs

from replay_identity import Accepted, Outcome, UserTraits
from replay_identity.adapters import (
    BatchEntry,
    BatchLimits,
    EncodedUser,
    Exchange,
    JobProgress,
    Limit,
    Limits,
    Plan,
    Unit,
)
from replay_identity.logrocket import LIMITS


def _limit(maximum: int, unit: Unit) -> Limit:
    return Limit(maximum=maximum, unit=unit, source="a test", read_on=date(2026, 11, 21), rule="a-test")


def batch_limits(users: int = 50, jobs: int = 100, open_users: int = 10_000) -> BatchLimits:
    """Return limits for batches."""
    return BatchLimits(
        users=_limit(users, Unit.USERS),
        running_jobs=_limit(jobs, Unit.JOBS),
        open_jobs=_limit(jobs, Unit.JOBS),
        open_users=_limit(open_users, Unit.USERS),
        key_lifetime=_limit(24, Unit.HOURS),
    )


@attrs.define
class Acme:
    """A backend without a network, one user at a time."""

    name: str = "acme"
    act: Callable[[UserTraits], Any] = lambda _: Accepted("acme")
    limits: Limits = LIMITS
    identified: list[UserTraits] = attrs.field(factory=list[UserTraits])
    account: str = "acme.example"
    encoding: str = "1"

    def plan(self, _user: UserTraits, /) -> Plan:
        """Return an empty plan."""
        return Plan(self.name, None)

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Return the outcome that the test wants."""
        self.identified.append(user)
        outcome: Outcome = self.act(user)
        return outcome
        yield  # Makes it a generator.


@attrs.define
class AcmeBatch(Acme):
    """A backend without a network that takes batches; each method can be replaced."""

    batch_limits: BatchLimits = attrs.field(factory=batch_limits)
    encode: Callable[[UserTraits], Any] = lambda user: EncodedUser("acme", (user.user_id or "").encode())
    body: Callable[[Iterable[bytes]], Any] = b",".join
    contents: Callable[[bytes], Any] = lambda body: body.split(b",")
    create: Callable[[bytes, str], Any] = lambda _body, key: f"job-{key}"
    poll: Callable[[str], Any] = lambda _: JobProgress(running=False)
    collect: Callable[[Sequence[BatchEntry]], Any] = lambda entries: (Accepted("acme"),) * len(entries)

    def encode_for_batch(self, user: UserTraits, /, *, only: Container[str] | None = None) -> EncodedUser:  # noqa: ARG002
        """Encode one user."""
        encoded: EncodedUser = self.encode(user)
        return encoded

    @property
    def spent_key_statuses(self) -> frozenset[int]:
        """Return no status."""
        return frozenset()

    def batch_body(self, contents: Iterable[bytes], /) -> bytes:
        """Join *contents*."""
        body: bytes = self.body(contents)
        return body

    def batch_contents(self, body: bytes, /) -> Sequence[bytes]:
        """Split *body*."""
        contents: Sequence[bytes] = self.contents(body)
        return contents

    def create_job(self, body: bytes, /, *, idempotency_key: str) -> Exchange[Any]:
        """Create a job."""
        return self.create(body, idempotency_key)
        yield

    def poll_job(self, job_id: str, /) -> Exchange[Any]:
        """Poll a job."""
        return self.poll(job_id)
        yield

    def collect_job(self, _job_id: str, entries: Sequence[BatchEntry], /) -> Exchange[Any]:
        """Collect the results of a job."""
        return self.collect(entries)
        yield
