"""No value, no id and no key gets out of a delivery, whatever goes wrong."""

import json
import logging
from typing import Any

import attrs
import pytest
from bulk.worlds import FAST, CrashError, World

from replay_identity import Fullstory, LogRocket, UserTraits
from replay_identity.bulk.batches import BatchDispatcher
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
def secretive(world: World) -> World:
    """Give a world whose keys are canaries, too."""
    world.fullstory = FullstoryEmulator(api_keys={"na1.canary": Level.ADMIN})
    world.logrocket = LogRocketEmulator(api_key="acme:shop:canary")
    world.fullstory_line.app, world.logrocket_line.app = world.fullstory, world.logrocket
    world.backends = [
        Fullstory("na1.canary", base_url="http://127.0.0.1:1"),
        LogRocket("acme:shop:canary", base_url="http://127.0.0.1:2"),
    ]
    world.options = {name: attrs.evolve(FAST, batch_users=10) for name in ("fullstory", "logrocket")}
    return world


def silent(*shown: object) -> None:
    """Check that nothing that is shown holds a canary."""
    for one in shown:
        assert "canary" not in str(one).lower()


def faults(world: World) -> None:
    """Let much go wrong, in answers that quote all they can."""
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


def test_logs_and_report_contain_no_values(secretive: World, caplog: pytest.LogCaptureFixture) -> None:
    """At any log level, with faults and rejected users."""
    caplog.set_level(logging.DEBUG)
    faults(secretive)

    report = secretive.sync([*ROWS, BadRow(7, 7, "is no JSON")])

    assert report["logrocket"].rejected >= 8
    silent(caplog.text, report, report.as_dict(), json.dumps(report.as_dict()))
    for name in ("fullstory", "logrocket"):
        silent(*secretive.ledger.rejected(name), *secretive.ledger.counts(), *secretive.ledger.jobs(name))


def test_reprs_contain_no_values(secretive: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of buffered users nor of users in flight."""
    seen: list[str] = []
    dispatch = BatchDispatcher.dispatch

    def look(self: Any, *, is_last: bool) -> None:
        seen.append(repr(self))
        dispatch(self, is_last=is_last)
        seen.append(repr(self))
        self._buffer = self._take_buffer(is_last=False) or self._buffer
        seen.append(repr(self))

    made = DeliveryLoop._make_dispatcher  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def make(self: Any, sender: Any) -> Any:
        dispatcher = made(self, sender)
        seen.extend((repr(self), repr(dispatcher), repr(vars(dispatcher.transport))))
        return dispatcher

    monkeypatch.setattr(BatchDispatcher, "dispatch", look)
    monkeypatch.setattr(DeliveryLoop, "_make_dispatcher", make)
    faults(secretive)
    secretive.sync(ROWS)

    assert len(seen) > 10
    silent(*seen)


def test_exceptions_contain_no_values(secretive: World) -> None:
    """A crashed run does not quote the user."""
    faults(secretive)

    def die(_: int) -> None:
        raise CrashError

    secretive.fullstory_line.after = die
    with pytest.raises(CrashError) as caught:
        secretive.sync(ROWS)

    silent(repr(caught.value), str(caught.value))


def test_disk_contains_no_delivered_values(secretive: World) -> None:
    """Only fingerprints remain."""
    rows = [attrs.evolve(row, traits={"plan": "canary-plan"}) for row in ROWS]
    secretive.sync(rows)
    secretive.ledger.close()

    written = b"".join(path.read_bytes() for path in secretive.path.parent.iterdir())

    assert secretive.fullstory.total_applied == 40
    assert b"canary" not in written
