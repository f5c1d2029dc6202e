"""Cases against the vendor's emulator over real HTTP: users are accepted, stored, and stored once."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final

import attrs
import pytest
from hypothesis import strategies as st

from ..._values import REMOVE
from ...adapters.adaptation import OnViolation
from ...adapters.exchange import Exchange, T
from ...adapters.protocols import (
    BatchEntry,
    Comparison,
    IdentityBackend,
    JobProgress,
    KeyInfo,
    Page,
    StoredUser,
    SupportsBatch,
    SupportsCompare,
    SupportsDelete,
    SupportsExclude,
    SupportsMultiIdentify,
    SupportsRead,
    SupportsVerify,
)
from ...emulator import running
from ...emulator.base import Emulator
from ...emulator.faults import Fault
from ...outcomes import Accepted, Outcome
from ...retry import RetryBudget, RetryPolicy
from ...traits import UserTraits
from ...transport import Attempts, Transport
from ..boundaries import Boundary, users_at, users_over
from ..strategies import user_traits, valid_users
from .base import AdapterHooks
from .support import for_all

_ADA: Final = UserTraits("u1", name="Ada", email="ada@example.com", traits={"plan": "pro", "seats": 7})
_OLD: Final = UserTraits("u1", name="Ada", traits={"plan": "free", "seats": 1})
_GRACE: Final = UserTraits("u2", name="Grace", traits={"plan": "free"})
_FAULTS: Final[Mapping[str, Fault]] = {
    "503": Fault(status=503),
    "500": Fault(status=500),
    "429": Fault(status=429, headers={"retry-after": "1"}),
    "dropped before": Fault(drop="before"),
    "dropped after": Fault(drop="after"),
    "html": Fault(garbage="html"),
    "broken": Fault(garbage="broken"),
    "empty": Fault(garbage="empty"),
}
# More attempts than any of the faults above lasts.
_MAX_ATTEMPTS: Final = 5


@attrs.frozen
class EmulatorSession:
    """A backend, the emulator that it is connected to, and the transport between them."""

    backend: IdentityBackend
    emulator: Emulator
    transport: Transport

    def run(self, exchange: Exchange[T]) -> T:
        """Return the result of *exchange*."""
        return self.transport.run(exchange)

    def identify(self, user: UserTraits) -> Outcome:
        """Return the outcome for *user*, after retries if it is retryable."""
        outcome = self.run(self.backend.identify(user))
        for _ in range(_MAX_ATTEMPTS):
            if outcome.retryable:
                outcome = self.run(self.backend.identify(user))
        return outcome


class EmulatorCases(AdapterHooks):
    """Cases about what arrives at the emulator that `AdapterHooks.make_emulator` returns."""

    def test_emulator_accepts_every_sent_user(self) -> None:
        """The emulator accepts every user that the adapter sends, adapted or not."""
        with self._session("adapt") as session:
            # The emulator has no users yet, so it knows no vendor ids.
            @for_all(user_traits(vendor_ids=st.just({})) | valid_users(self.limits))
            def check(user: UserTraits) -> None:
                session.emulator.reset()
                if session.backend.plan(user).request is None:
                    return
                assert isinstance(session.identify(user), Accepted)

            check()

    def test_emulator_accepts_users_at_a_limit(self) -> None:
        """The emulator accepts values at a limit and values truncated to it."""
        with self._session("adapt") as session:

            @for_all(users_at(self.limits_or_skip()) | users_over(self.limits_or_skip()))
            def check(boundary: Boundary) -> None:
                session.emulator.reset()
                if session.backend.plan(boundary.user).request is None:
                    return
                assert isinstance(session.identify(boundary.user), Accepted)

            check()

    def test_sending_twice_changes_nothing(self) -> None:
        """Sending a user again does not change what the vendor stores."""
        with self._session() as session:

            @for_all(valid_users(self.limits))
            def check(user: UserTraits) -> None:
                if not self.satisfies_other_rules(user):
                    return
                session.emulator.reset()
                states: list[object] = []
                for _ in range(2):
                    assert isinstance(session.identify(user), Accepted)
                    states.append(self.stored_user(session.emulator, user.user_id or ""))
                assert states[0] is not None
                assert states[0] == states[1]

            check()

    @pytest.mark.parametrize("fault", _FAULTS)
    def test_newest_traits_win_after_a_fault(self, fault: str) -> None:
        """After retries the vendor stores what it would have stored without the fault."""
        with self._session() as session:
            for user in (_OLD, _ADA):
                assert isinstance(session.identify(user), Accepted)
            expected = self.stored_user(session.emulator, "u1")
            session.emulator.reset()
            assert isinstance(session.identify(_OLD), Accepted)
            assert self.stored_user(session.emulator, "u1") != expected
            session.emulator.faults.add(_FAULTS[fault])
            assert isinstance(session.identify(_ADA), Accepted)
            assert self.stored_user(session.emulator, "u1") == expected

    def test_users_do_not_affect_each_other(self) -> None:
        """Sending one user does not change another."""
        with self._session() as session:
            session.identify(_ADA)
            before = self.stored_user(session.emulator, "u1")
            session.identify(_GRACE)
            assert self.stored_user(session.emulator, "u1") == before
            assert self.stored_user(session.emulator, "u2") not in (None, before)

    def test_removal_clears_the_trait(self) -> None:
        """The user is stored as if the trait was never sent, or unchanged if the vendor cannot clear traits."""
        with self._session("adapt") as session:
            session.identify(UserTraits("u1", name="Ada", traits={"seats": 7}))
            without = self.stored_user(session.emulator, "u1")
            session.emulator.reset()
            session.identify(UserTraits("u1", name="Ada", traits={"seats": 7, "plan": "pro"}))
            before = self.stored_user(session.emulator, "u1")
            assert before != without
            outcome = session.identify(UserTraits("u1", traits={"plan": REMOVE, "seats": 7}))
            adjustments = outcome.adjustments if isinstance(outcome, Accepted) else ()
            is_lost = not isinstance(outcome, Accepted) or any(adjustment.lossy for adjustment in adjustments)
            assert self.stored_user(session.emulator, "u1") == (before if is_lost else without)

    def test_read_returns_what_was_sent(self) -> None:
        """A sent user can be read by id and is on a page; an unknown user is None."""
        with self._session() as session:
            backend = session.backend
            if not isinstance(backend, SupportsRead):
                pytest.skip(f"{backend.name} cannot read users")
            session.identify(_ADA)
            user = session.run(backend.get("u1"))
            page = session.run(next(backend.pages()))
            assert isinstance(user, StoredUser)
            assert (user.user_id, user.name, user.email) == ("u1", _ADA.name, _ADA.email)
            assert user.traits == _ADA.traits
            assert isinstance(page, Page)
            assert [stored.user_id for stored in page.users] == ["u1"]
            assert session.run(backend.get("nobody")) is None

    def test_delete_removes_only_that_user(self) -> None:
        """Deleting one user leaves the other unchanged."""
        with self._session() as session:
            backend = session.backend
            if not isinstance(backend, SupportsDelete):
                pytest.skip(f"{backend.name} cannot delete users")
            for user in (_ADA, _GRACE):
                session.identify(user)
            grace = self.stored_user(session.emulator, "u2")
            assert isinstance(session.run(backend.delete("u1")), Accepted)
            assert self.stored_user(session.emulator, "u1") is None
            assert self.stored_user(session.emulator, "u2") == grace

    def test_exclude_is_accepted(self) -> None:
        """A user can be excluded by your own id of the user."""
        with self._session() as session:
            backend = session.backend
            if not isinstance(backend, SupportsExclude):
                pytest.skip(f"{backend.name} cannot exclude users")
            session.identify(_ADA)
            assert isinstance(session.run(backend.exclude(user_id="u1")), Accepted)

    def test_compare_finds_differences(self) -> None:
        """Comparing finds no difference after sending, and the paths of traits that differ."""
        with self._session() as session:
            backend = session.backend
            if not isinstance(backend, SupportsCompare):
                pytest.skip(f"{backend.name} cannot compare users")
            missing = session.run(backend.compare(_ADA))
            session.emulator.reset()
            session.identify(_ADA)
            same, differing = (session.run(backend.compare(user)) for user in (_ADA, _OLD))
            assert isinstance(missing, Comparison)
            assert missing.missing
            assert isinstance(same, Comparison)
            assert same.is_same
            assert isinstance(differing, Comparison)
            assert {"traits.plan", "traits.seats"} <= set(differing.differing)

    def test_good_key_is_verified(self) -> None:
        """Verifying the right key returns its info."""
        with self._session() as session:
            backend = session.backend
            if not isinstance(backend, SupportsVerify):
                pytest.skip(f"{backend.name} cannot verify a key")
            assert isinstance(session.run(backend.verify()), KeyInfo)

    def test_multi_identify_stores_the_same_users(self) -> None:
        """Users sent in one request are stored like users sent one by one."""
        with self._session() as session:
            backend = session.backend
            if not isinstance(backend, SupportsMultiIdentify):
                pytest.skip(f"{backend.name} takes one user per request")
            for user in (_ADA, _GRACE):
                session.identify(user)
            expected = [self.stored_user(session.emulator, user_id) for user_id in ("u1", "u2")]
            session.emulator.reset()
            outcomes = session.run(backend.identify_many((_ADA, _GRACE)))
            assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted]
            assert [self.stored_user(session.emulator, user_id) for user_id in ("u1", "u2")] == expected

    def test_batch_stores_the_same_users(self) -> None:
        """Users imported by a job are stored like users sent one by one."""
        with self._session() as session:
            backend = session.backend
            if not isinstance(backend, SupportsBatch):
                pytest.skip(f"{backend.name} has no batches")
            contents = [backend.encode_for_batch(user).content or b"" for user in (_ADA, _GRACE)]
            job = session.run(backend.create_job(backend.batch_body(contents), idempotency_key="key-1"))
            assert isinstance(job, str)
            while isinstance(progress := session.run(backend.poll_job(job)), JobProgress) and progress.running:
                pass
            outcomes = session.run(backend.collect_job(job, (BatchEntry(user_id="u1"), BatchEntry(user_id="u2"))))
            assert isinstance(outcomes, tuple)
            assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted]
            batched = [self.stored_user(session.emulator, user_id) for user_id in ("u1", "u2")]
            session.emulator.reset()
            for user in (_ADA, _GRACE):
                session.identify(user)
            assert batched == [self.stored_user(session.emulator, user_id) for user_id in ("u1", "u2")]

    @contextmanager
    def _session(self, on_violation: OnViolation = "reject") -> Generator[EmulatorSession]:
        """Run the emulator for the duration of a `with` block; retries do not wait."""
        emulator = self.make_emulator()
        attempts = Attempts(RetryPolicy(wait_initial=0.001), budget=RetryBudget(size=1e9))
        with running(emulator) as server, Transport(attempts=attempts, sleep=lambda _: None) as transport:
            yield EmulatorSession(
                self.make_backend(base_url=server.url, on_violation=on_violation), emulator, transport
            )
