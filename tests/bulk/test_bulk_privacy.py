"""No value, id or key leaks from a delivery, whatever goes wrong."""

import json
import logging
from typing import Any

import attrs
import pytest
from support.in_process import FAST, CrashError, World

from replay_identity import Fullstory, LogRocket, UserTraits
from replay_identity.bulk.dispatch import BatchDispatcher
from replay_identity.bulk.worker import DeliveryLoop
from replay_identity.emulator import Fault, FullstoryEmulator, JobFault, Level, LogRocketEmulator
from replay_identity.sources import BadRow

ROWS = [
    UserTraits(
        f"canary-{number}",
        name="Canary Ann",
        email=f"canary{number}@example.com",
        traits={"plan": "canary-plan", "long": "canary" * 500 if number % 5 == 0 else "canary"},
        vendor_ids={"other": "canary-id"},
    )
    for number in range(40)
]


@pytest.fixture
def canary(world: World) -> World:
    """Return a world whose API keys are canaries, too."""
    world.fullstory = FullstoryEmulator(api_keys={"na1.canary": Level.ADMIN})
    world.logrocket = LogRocketEmulator(api_key="acme:shop:canary")
    world.fullstory_line.app, world.logrocket_line.app = world.fullstory, world.logrocket
    world.backends = [
        Fullstory("na1.canary", base_url="http://127.0.0.1:1"),
        LogRocket("acme:shop:canary", base_url="http://127.0.0.1:2"),
    ]
    world.options = {name: attrs.evolve(FAST, batch_users=10) for name in ("fullstory", "logrocket")}
    return world


def assert_no_canary(*shown: object) -> None:
    """Check that no canary is in any of these texts."""
    for text in shown:
        assert "canary" not in str(text).lower()


def add_faults(world: World) -> None:
    """Add many faults, with responses that quote values."""
    quote = json.dumps({"code": "canary", "message": "canary-plan", "error": "canary@example.com"}).encode()
    for emulator in (world.fullstory, world.logrocket):
        for fault in (
            Fault(status=503, body=quote),
            Fault(status=400, body=quote, skip=1),
            Fault(drop="after"),
            Fault(status=200, body=quote),
            Fault(status=429, headers={"retry-after": "0.01"}),
        ):
            emulator.faults.add(fault)
    world.fullstory.job_faults.add(JobFault(max_applied=3, lists_unapplied=True))


def test_logs_and_report_contain_no_values(canary: World, caplog: pytest.LogCaptureFixture) -> None:
    """This holds at any log level, with faults and rejected users."""
    caplog.set_level(logging.DEBUG)
    add_faults(canary)

    report = canary.sync([*ROWS, BadRow(7, 7, "not a JSON object")])

    assert report["logrocket"].rejected >= 8
    assert_no_canary(caplog.text, report, report.as_dict(), json.dumps(report.as_dict()))
    for name in ("fullstory", "logrocket"):
        assert_no_canary(*canary.ledger.rejected(name), *canary.ledger.counts(), *canary.ledger.jobs(name))


def test_reprs_contain_no_values(canary: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds for buffered users and for users in flight."""
    seen: list[str] = []
    dispatch = BatchDispatcher.dispatch

    def record(self: Any, *, is_last: bool) -> None:
        seen.append(repr(self))
        dispatch(self, is_last=is_last)
        seen.append(repr(self))
        self._buffer = self._take_buffer(is_last=False) or self._buffer
        seen.append(repr(self))

    original = DeliveryLoop._make_dispatcher  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def make(self: Any, sender: Any) -> Any:
        dispatcher = original(self, sender)
        seen.extend((repr(self), repr(dispatcher), repr(vars(dispatcher.transport))))
        return dispatcher

    monkeypatch.setattr(BatchDispatcher, "dispatch", record)
    monkeypatch.setattr(DeliveryLoop, "_make_dispatcher", make)
    add_faults(canary)
    canary.sync(ROWS)

    assert len(seen) > 10
    assert_no_canary(*seen)


def test_exceptions_contain_no_values(canary: World) -> None:
    """A crashed run does not quote the user."""
    add_faults(canary)

    def crash(_: int) -> None:
        raise CrashError

    canary.fullstory_line.after = crash
    with pytest.raises(CrashError) as caught:
        canary.sync(ROWS)

    assert_no_canary(repr(caught.value), str(caught.value))


def test_disk_contains_no_delivered_values(canary: World) -> None:
    """Only fingerprints remain."""
    rows = [attrs.evolve(row, traits={"plan": "canary-plan"}) for row in ROWS]
    canary.sync(rows)
    canary.ledger.close()

    written = b"".join(path.read_bytes() for path in canary.path.parent.iterdir())

    assert canary.fullstory.total_applied == 40
    assert b"canary" not in written
