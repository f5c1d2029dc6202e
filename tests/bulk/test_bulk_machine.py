"""Whatever happens on the way, in whatever order: in the end both vendors hold what they should."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from bulk.worlds import FAST, Clock, World, assert_closed
from effort import examples
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from replay_identity import REMOVE, UserTraits
from replay_identity.emulator import BatchRules, Fault, FullstoryEmulator, JobFault, LogRocketEmulator

pytestmark = pytest.mark.slow

# The last one is longer than the ids that Fullstory takes.
IDS = ["u0", "u1", "u2", "u3", "x" * 300]
# Longer than the values that LogRocket takes.
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
    """A user is a dict of texts; each put has a number of its own, which all traits of that put carry."""

    @initialize(polls=st.integers(0, 2), batch=st.sampled_from([2, 3, 50_000]))
    def start(self, polls: int, batch: int) -> None:
        """Begin with empty vendors and an empty ledger."""
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
        self.puts = 0

    @rule(ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=4), data=st.data(), through_sync=st.booleans())
    def put(self, ids: list[str], data: st.DataObject, *, through_sync: bool) -> None:
        """Say something new of some users, in the ledger alone or in a run that is stopped."""
        rows: list[UserTraits] = []
        for user_id in ids:
            texts = st.sampled_from(["free", "pro", "free", "pro", LONG, REMOVE])
            traits = data.draw(st.dictionaries(st.sampled_from(["plan", "role"]), texts, max_size=2))
            # A row of a source says all that is wanted of a user.
            known = self.desired.get(user_id, {}) if through_sync else {}
            rows.append(self.row(user_id, {**known, **traits}))
        if through_sync:
            assert_closed(self.world.sync_until(data.draw(st.integers(1, 8)), rows))
        else:
            self.world.ledger.upsert(rows, ["fullstory", "logrocket"])

    def row(self, user_id: str, traits: Mapping[str, Any]) -> UserTraits:
        """Return a user with a number, and remember what they should be."""
        self.puts += 1
        numbered = {**traits, "number": f"{self.puts:06}"}
        self.desired.setdefault(user_id, {}).update(numbered)
        return UserTraits(user_id, traits=numbered)

    def say(self, said: Mapping[str, Mapping[str, Any]]) -> None:
        """Put some users."""
        rows = [self.row(user_id, traits) for user_id, traits in said.items()]
        self.world.ledger.upsert(rows, ["fullstory", "logrocket"])

    @rule(fault=st.sampled_from(FAULTS), times=st.integers(1, 3), skip=st.integers(0, 3), at_fullstory=st.booleans())
    def let_a_request_fail(self, fault: Fault, times: int, skip: int, *, at_fullstory: bool) -> None:
        """Have something go wrong with the next requests."""
        faults = self.world.fullstory.faults if at_fullstory else self.world.logrocket.faults
        faults.add(attrs.evolve(fault, times=times, skip=skip))

    @rule(fault=st.sampled_from(JOB_FAULTS))
    def let_a_job_fail(self, fault: JobFault) -> None:
        """Have something go wrong with the next job."""
        self.world.fullstory.job_faults.add(fault)

    @rule(seconds=st.integers(1, 40))
    def let_time_pass(self, seconds: int) -> None:
        """Let slow jobs go on."""
        self.clock.now += seconds

    @precondition(lambda self: self.desired)
    @rule(requests=st.integers(1, 25))
    def deliver(self, requests: int) -> None:
        """Deliver for a while."""
        carried = {name: self.world.ledger.pending_count(name) for name in ("fullstory", "logrocket")}
        report = self.world.sync_until(requests)
        assert_closed(report)
        assert {counts.backend: counts.carried for counts in report.backends} == carried

    @precondition(lambda self: self.desired)
    @rule(requests=st.integers(1, 6), text=st.sampled_from(["free", "pro"]))
    def deliver_unheard(self, requests: int, text: str) -> None:
        """Change everyone, deliver so that the vendors act and none of their answers arrives, and change it back."""
        before = {user_id: traits.get("plan") for user_id, traits in self.desired.items()}
        self.say({user_id: {"plan": text} for user_id in before})
        for emulator in (self.world.fullstory, self.world.logrocket):
            emulator.faults.add(Fault(drop="after", times=requests))
        assert_closed(self.world.sync_until(requests))
        self.say({user_id: {"plan": plan} for user_id, plan in before.items() if plan is not None})

    @precondition(lambda self: self.desired)
    @rule(request=st.integers(1, 8), acted=st.booleans(), at_fullstory=st.booleans())
    def crash(self, request: int, *, acted: bool, at_fullstory: bool) -> None:
        """Die at a request, before or after the vendor acted on it, and start again."""
        line = self.world.fullstory_line if at_fullstory else self.world.logrocket_line
        self.world.crash_at(request, line, acted=acted)

    @rule()
    def restart(self) -> None:
        """Be another process."""
        self.world.restart()

    @invariant()
    def nothing_overtakes(self) -> None:
        """No vendor was ever told something older than it was told before."""
        for user_id in self.desired:
            for emulator in (self.world.fullstory, self.world.logrocket):
                numbers = [_number(said) for said in emulator.history(user_id)]
                assert numbers == sorted(numbers)

    @invariant()
    def no_batch_is_applied_twice(self) -> None:
        """Each version of a user reaches Fullstory once, however often it had to be sent."""
        for user_id in self.desired:
            numbers = [_number(said) for said in self.world.fullstory.history(user_id)]
            assert len(numbers) == len(set(numbers))

    def teardown(self) -> None:
        """When nothing goes wrong any more, both vendors come to hold what they can."""
        if not hasattr(self, "world"):
            return
        try:
            self.come_to_the_end()
        finally:
            self.world.close()
            self.folder.cleanup()

    def come_to_the_end(self) -> None:
        """End the faults, deliver and compare."""
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


def _number(said: Any) -> str:
    number: str = (said.get("properties") or said.get("traits"))["number"]
    return number


def _fits_fullstory(user_id: str, traits: Mapping[str, Any]) -> bool:
    """Tell whether Fullstory can hold the user: it has short ids, and no way to remove a property."""
    return len(user_id) <= 256 and REMOVE not in traits.values()


def _fits_logrocket(traits: Mapping[str, Any]) -> bool:
    return LONG not in traits.values()


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(
    max_examples=examples(60),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # Threads make a failure hard to repeat, so that shrinking would only take long.
    phases=[Phase.explicit, Phase.generate],
    database=None,
)
