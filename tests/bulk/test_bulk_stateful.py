"""Whatever happens, in whatever order: in the end both vendors store the desired state."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.clock import Clock
from support.in_process import FAST, World, assert_closed
from support.profiles import examples

from replay_identity import REMOVE, UserTraits
from replay_identity.emulator import BatchRules, Fault, FullstoryEmulator, JobFault, LogRocketEmulator

pytestmark = pytest.mark.slow

# The last one is longer than the ids that Fullstory accepts.
IDS = ["u0", "u1", "u2", "u3", "x" * 300]
# Longer than the values that LogRocket accepts.
LONG = "l" * 2000

FAULTS = [
    Fault(status=429, headers={"retry-after": "0.01"}),
    Fault(status=429),
    Fault(status=500),
    Fault(status=502),
    Fault(status=503, headers={"retry-after": "0.005"}),
    Fault(status=408),
    Fault(drop="before"),
    Fault(drop="after"),
    Fault(hang=True),
    Fault(garbage="html"),
    Fault(garbage="empty"),
    Fault(garbage="broken"),
]
JOB_FAULTS = [
    JobFault(seconds=50),
    JobFault(reported_status="UNKNOWN", reported_polls=2),
    JobFault(max_applied=0, lists_unapplied=False),
    JobFault(max_applied=1, lists_unapplied=False),
]


class Deliveries(RuleBasedStateMachine):
    """Users are dicts of strings; each upsert has a number of its own, which is one of its traits."""

    @initialize(polls=st.integers(0, 2), batch=st.sampled_from([2, 3, 50_000]))
    def start(self, polls: int, batch: int) -> None:
        """Start with empty vendors and an empty ledger."""
        self.folder = tempfile.TemporaryDirectory(prefix="replay-identity-machine-")
        self.clock = Clock()
        rules = BatchRules(job_polls=polls)
        self.world = World(
            Path(self.folder.name) / "ledger.db",
            FullstoryEmulator(keeps_history=True, clock=self.clock, batch=rules),
            LogRocketEmulator(keeps_history=True, clock=self.clock),
            options={"fullstory": attrs.evolve(FAST, batch_users=batch), "logrocket": FAST},
        )
        self.desired: dict[str, dict[str, Any]] = {}
        self.upserts = 0

    @rule(ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=4), data=st.data(), through_sync=st.booleans())
    def upsert(self, ids: list[str], data: st.DataObject, *, through_sync: bool) -> None:
        """Change some users, in the ledger only or in a run that is stopped."""
        rows: list[UserTraits] = []
        for user_id in ids:
            texts = st.sampled_from(["free", "pro", "free", "pro", LONG, REMOVE])
            traits = data.draw(st.dictionaries(st.sampled_from(["plan", "role"]), texts, max_size=2))
            # A row of a source contains the full desired state of a user.
            known = self.desired.get(user_id, {}) if through_sync else {}
            rows.append(self.row(user_id, {**known, **traits}))
        if through_sync:
            assert_closed(self.world.sync_until(data.draw(st.integers(1, 8)), rows))
        else:
            self.world.ledger.upsert(rows, ["fullstory", "logrocket"])

    def row(self, user_id: str, traits: Mapping[str, Any]) -> UserTraits:
        """Return a user with a number, and record the desired state."""
        self.upserts += 1
        numbered = {**traits, "number": f"{self.upserts:06}"}
        self.desired.setdefault(user_id, {}).update(numbered)
        return UserTraits(user_id, traits=numbered)

    def upsert_all(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Upsert some users."""
        rows = [self.row(user_id, traits) for user_id, traits in changes.items()]
        self.world.ledger.upsert(rows, ["fullstory", "logrocket"])

    @rule(fault=st.sampled_from(FAULTS), times=st.integers(1, 3), skip=st.integers(0, 3), at_fullstory=st.booleans())
    def let_a_request_fail(self, fault: Fault, times: int, skip: int, *, at_fullstory: bool) -> None:
        """Let the next requests fail."""
        faults = self.world.fullstory.faults if at_fullstory else self.world.logrocket.faults
        faults.add(attrs.evolve(fault, times=times, skip=skip))

    @rule(fault=st.sampled_from(JOB_FAULTS))
    def let_a_job_fail(self, fault: JobFault) -> None:
        """Let the next job fail."""
        self.world.fullstory.job_faults.add(fault)

    @rule(seconds=st.integers(1, 40))
    def let_time_pass(self, seconds: int) -> None:
        """Let slow jobs continue."""
        self.clock.now += seconds

    @precondition(lambda self: self.desired)
    @rule(requests=st.integers(1, 25))
    def deliver(self, requests: int) -> None:
        """Deliver until a number of requests was sent."""
        carried = {name: self.world.ledger.pending_count(name) for name in ("fullstory", "logrocket")}
        report = self.world.sync_until(requests)
        assert_closed(report)
        assert {backend.backend: backend.carried for backend in report.backends} == carried

    @precondition(lambda self: self.desired)
    @rule(requests=st.integers(1, 6), text=st.sampled_from(["free", "pro"]))
    def deliver_without_responses(self, requests: int, text: str) -> None:
        """Change all users, deliver without receiving the responses, and change the users back."""
        before = {user_id: traits.get("plan") for user_id, traits in self.desired.items()}
        self.upsert_all({user_id: {"plan": text} for user_id in before})
        for emulator in (self.world.fullstory, self.world.logrocket):
            emulator.faults.add(Fault(drop="after", times=requests))
        assert_closed(self.world.sync_until(requests))
        self.upsert_all({user_id: {"plan": plan} for user_id, plan in before.items() if plan is not None})

    @precondition(lambda self: self.desired)
    @rule(request=st.integers(1, 8), applied=st.booleans(), at_fullstory=st.booleans())
    def crash(self, request: int, *, applied: bool, at_fullstory: bool) -> None:
        """Crash at a request, before or after it is applied, and restart."""
        line = self.world.fullstory_line if at_fullstory else self.world.logrocket_line
        self.world.crash_at(request, line, applied=applied)

    @rule()
    def restart(self) -> None:
        """Open the ledger again, as a new process does."""
        self.world.restart()

    @invariant()
    def nothing_overtakes(self) -> None:
        """No vendor ever gets an older state after a newer one."""
        for user_id in self.desired:
            for emulator in (self.world.fullstory, self.world.logrocket):
                numbers = [_number(item) for item in emulator.history(user_id)]
                assert numbers == sorted(numbers)

    @invariant()
    def no_batch_is_applied_twice(self) -> None:
        """Each version of a user is applied once at Fullstory, however often it was sent."""
        for user_id in self.desired:
            numbers = [_number(item) for item in self.world.fullstory.history(user_id)]
            assert len(numbers) == len(set(numbers))

    def teardown(self) -> None:
        """Without further faults, both vendors end in the desired state."""
        if not hasattr(self, "world"):
            return
        try:
            self.finish()
        finally:
            self.world.close()
            self.folder.cleanup()

    def finish(self) -> None:
        """Remove the faults, deliver and compare."""
        for emulator in (self.world.fullstory, self.world.logrocket):
            emulator.faults.clear()
        self.world.fullstory.job_faults.clear()
        self.clock.now += 1000
        report = self.world.sync()
        assert_closed(report)
        assert report.pending == 0
        self.nothing_overtakes()
        self.no_batch_is_applied_twice()
        for user_id, traits in self.desired.items():
            if _fits_fullstory(user_id, traits):
                assert self.world.properties(user_id) == traits
            if _fits_logrocket(traits):
                assert self.world.traits(user_id) == {name: text for name, text in traits.items() if text is not REMOVE}
        rejected = {name: len(list(self.world.ledger.rejected(name))) for name in ("fullstory", "logrocket")}
        assert rejected == {
            "fullstory": sum(not _fits_fullstory(user_id, traits) for user_id, traits in self.desired.items()),
            "logrocket": sum(not _fits_logrocket(traits) for traits in self.desired.values()),
        }


def _number(item: Any) -> str:
    number: str = (item.get("properties") or item.get("traits"))["number"]
    return number


def _fits_fullstory(user_id: str, traits: Mapping[str, Any]) -> bool:
    """Return True if Fullstory can store the user: ids are short, and properties cannot be removed."""
    return len(user_id) <= 256 and REMOVE not in traits.values()


def _fits_logrocket(traits: Mapping[str, Any]) -> bool:
    return LONG not in traits.values()


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(
    max_examples=examples(60),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # Threads make failures hard to reproduce, so shrinking would only take time.
    phases=[Phase.explicit, Phase.generate],
    database=None,
)
