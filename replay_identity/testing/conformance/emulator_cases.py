"""What holds against the vendor's emulator, over real HTTP: what is sent is taken, held, and held only once."""

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
# A vendor who is asked again so often has recovered from every fault here.
_ENOUGH: Final = 5


@attrs.frozen
class World:
    """A backend, the emulator it talks to, and what carries their words."""

    backend: IdentityBackend
    emulator: Emulator
    transport: Transport

    def run(self, exchange: Exchange[T]) -> T:
        """Return what comes of *exchange*."""
        return self.transport.run(exchange)

    def identify(self, user: UserTraits) -> Outcome:
        """Return what becomes of *user*, asked again for as long as it is worth it."""
        outcome = self.run(self.backend.identify(user))
        for _ in range(_ENOUGH):
            if outcome.retryable:
                outcome = self.run(self.backend.identify(user))
        return outcome


class EmulatorCases(AdapterHooks):
    """Cases about what arrives at the vendor; `AdapterHooks.make_emulator` says who that is."""

    def test_emulator_accepts_every_sent_user(self) -> None:
        """What the adapter lets through, adapted or not, the vendor's rules let through as well."""
        with self._world("adapt") as world:
            # Nobody was given an id by this vendor yet.
            @for_all(user_traits(vendor_ids=st.just({})) | valid_users(self.limits))
            def law(user: UserTraits) -> None:
                world.emulator.reset()
                if world.backend.plan(user).request is None:
                    return
                assert isinstance(world.identify(user), Accepted)

            law()

    def test_emulator_accepts_users_at_a_limit(self) -> None:
        """And what was cut to a limit."""
        with self._world("adapt") as world:

            @for_all(users_at(self.some_limits()) | users_over(self.some_limits()))
            def law(boundary: Boundary) -> None:
                world.emulator.reset()
                if world.backend.plan(boundary.user).request is None:
                    return
                assert isinstance(world.identify(boundary.user), Accepted)

            law()

    def test_sending_twice_changes_nothing(self) -> None:
        """What the vendor holds after the second time is what it held after the first."""
        with self._world() as world:

            @for_all(valid_users(self.limits))
            def law(user: UserTraits) -> None:
                if not self.satisfies_other_rules(user):
                    return
                world.emulator.reset()
                states: list[object] = []
                for _ in range(2):
                    assert isinstance(world.identify(user), Accepted)
                    states.append(self.stored_user(world.emulator, user.user_id or ""))
                assert states[0] is not None
                assert states[0] == states[1]

            law()

    @pytest.mark.parametrize("fault", _FAULTS)
    def test_newest_traits_win_after_a_fault(self, fault: str) -> None:
        """As if there had been none: nothing is lost, and nothing older comes back."""
        with self._world() as world:
            for user in (_OLD, _ADA):
                assert isinstance(world.identify(user), Accepted)
            wanted = self.stored_user(world.emulator, "u1")
            world.emulator.reset()
            assert isinstance(world.identify(_OLD), Accepted)
            assert self.stored_user(world.emulator, "u1") != wanted
            world.emulator.faults.add(_FAULTS[fault])
            assert isinstance(world.identify(_ADA), Accepted)
            assert self.stored_user(world.emulator, "u1") == wanted

    def test_users_do_not_affect_each_other(self) -> None:
        """What is sent of one leaves the other as they were."""
        with self._world() as world:
            world.identify(_ADA)
            before = self.stored_user(world.emulator, "u1")
            world.identify(_GRACE)
            assert self.stored_user(world.emulator, "u1") == before
            assert self.stored_user(world.emulator, "u2") not in (None, before)

    def test_removal_clears_the_trait(self) -> None:
        """The vendor holds the user as one who never had the trait; where it cannot clear one, nothing changes."""
        with self._world("adapt") as world:
            world.identify(UserTraits("u1", name="Ada", traits={"seats": 7}))
            without = self.stored_user(world.emulator, "u1")
            world.emulator.reset()
            world.identify(UserTraits("u1", name="Ada", traits={"seats": 7, "plan": "pro"}))
            before = self.stored_user(world.emulator, "u1")
            assert before != without
            outcome = world.identify(UserTraits("u1", traits={"plan": REMOVE, "seats": 7}))
            adjustments = outcome.adjustments if isinstance(outcome, Accepted) else ()
            is_dropped = not isinstance(outcome, Accepted) or any(each.lossy for each in adjustments)
            assert self.stored_user(world.emulator, "u1") == (before if is_dropped else without)

    def test_read_returns_what_was_sent(self) -> None:
        """By the application's id and on a page; of somebody unknown there is nothing."""
        with self._world() as world:
            backend = world.backend
            if not isinstance(backend, SupportsRead):
                pytest.skip(f"{backend.name} shows no users back")
            world.identify(_ADA)
            found = world.run(backend.get("u1"))
            page = world.run(next(backend.pages()))
            assert isinstance(found, StoredUser)
            assert (found.user_id, found.name, found.email) == ("u1", _ADA.name, _ADA.email)
            assert found.traits == _ADA.traits
            assert isinstance(page, Page)
            assert [user.user_id for user in page.users] == ["u1"]
            assert world.run(backend.get("nobody")) is None

    def test_delete_removes_only_that_user(self) -> None:
        """And no other."""
        with self._world() as world:
            backend = world.backend
            if not isinstance(backend, SupportsDelete):
                pytest.skip(f"{backend.name} deletes nobody")
            for user in (_ADA, _GRACE):
                world.identify(user)
            grace = self.stored_user(world.emulator, "u2")
            assert isinstance(world.run(backend.delete("u1")), Accepted)
            assert self.stored_user(world.emulator, "u1") is None
            assert self.stored_user(world.emulator, "u2") == grace

    def test_exclude_is_accepted(self) -> None:
        """By the application's id."""
        with self._world() as world:
            backend = world.backend
            if not isinstance(backend, SupportsExclude):
                pytest.skip(f"{backend.name} excludes nobody")
            world.identify(_ADA)
            assert isinstance(world.run(backend.exclude(user_id="u1")), Accepted)

    def test_compare_finds_differences(self) -> None:
        """None after sending, and by its path once there is one."""
        with self._world() as world:
            backend = world.backend
            if not isinstance(backend, SupportsCompare):
                pytest.skip(f"{backend.name} compares nothing")
            missing = world.run(backend.compare(_ADA))
            world.emulator.reset()
            world.identify(_ADA)
            same, differing = (world.run(backend.compare(user)) for user in (_ADA, _OLD))
            assert isinstance(missing, Comparison)
            assert missing.missing
            assert isinstance(same, Comparison)
            assert same.is_same
            assert isinstance(differing, Comparison)
            assert {"traits.plan", "traits.seats"} <= set(differing.differing)

    def test_good_key_is_verified(self) -> None:
        """The vendor says whose it is."""
        with self._world() as world:
            backend = world.backend
            if not isinstance(backend, SupportsVerify):
                pytest.skip(f"{backend.name} verifies no key")
            assert isinstance(world.run(backend.verify()), KeyInfo)

    def test_multi_identify_stores_the_same_users(self) -> None:
        """In one exchange, the same state."""
        with self._world() as world:
            backend = world.backend
            if not isinstance(backend, SupportsMultiIdentify):
                pytest.skip(f"{backend.name} takes one user a request")
            for user in (_ADA, _GRACE):
                world.identify(user)
            wanted = [self.stored_user(world.emulator, user_id) for user_id in ("u1", "u2")]
            world.emulator.reset()
            outcomes = world.run(backend.identify_many((_ADA, _GRACE)))
            assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted]
            assert [self.stored_user(world.emulator, user_id) for user_id in ("u1", "u2")] == wanted

    def test_batch_stores_the_same_users(self) -> None:
        """As a job that is created, polled and collected."""
        with self._world() as world:
            backend = world.backend
            if not isinstance(backend, SupportsBatch):
                pytest.skip(f"{backend.name} takes no batches")
            contents = [backend.encode_for_batch(user).content or b"" for user in (_ADA, _GRACE)]
            job = world.run(backend.create_job(backend.batch_body(contents), idempotency_key="key-1"))
            assert isinstance(job, str)
            while isinstance(progress := world.run(backend.poll_job(job)), JobProgress) and progress.running:
                pass
            outcomes = world.run(backend.collect_job(job, (BatchEntry(user_id="u1"), BatchEntry(user_id="u2"))))
            assert isinstance(outcomes, tuple)
            assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted]
            batched = [self.stored_user(world.emulator, user_id) for user_id in ("u1", "u2")]
            world.emulator.reset()
            for user in (_ADA, _GRACE):
                world.identify(user)
            assert batched == [self.stored_user(world.emulator, user_id) for user_id in ("u1", "u2")]

    @contextmanager
    def _world(self, on_violation: OnViolation = "reject") -> Generator[World]:
        """Run the emulator for the length of a `with` block; nothing waits between two tries."""
        emulator = self.make_emulator()
        attempts = Attempts(RetryPolicy(wait_initial=0.001), budget=RetryBudget(size=1e9))
        with running(emulator) as server, Transport(attempts=attempts, sleep=lambda _: None) as transport:
            yield World(self.make_backend(base_url=server.url, on_violation=on_violation), emulator, transport)
