"""A run of thousands of users that is killed ten times, while both vendors fail now and then."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.profiles import is_nightly
from support.vendors import running_vendors

from replay_identity.emulator import BatchRules, Fault, FullstoryEmulator, LogRocketEmulator

pytestmark = pytest.mark.slow

USERS = 20_000 if is_nightly() else 5_000
KILLS = 10
CHILD = Path(__file__).parents[1] / "support" / "deliver_in_child.py"


def add_faults(emulator: FullstoryEmulator | LogRocketEmulator, probability: float) -> None:
    """Let each request fail with this *probability*, in every way that is quick."""
    for fault in (
        Fault(status=429, headers={"retry-after": "0.05"}, times=None, probability=probability),
        Fault(status=503, times=None, probability=probability),
        Fault(drop="before", times=None, probability=probability),
        Fault(drop="after", times=None, probability=probability),
    ):
        emulator.faults.add(fault)


@contextmanager
def child(*arguments: str) -> Generator[subprocess.Popen[bytes]]:
    """Run the delivery in a child process."""
    with subprocess.Popen([sys.executable, str(CHILD), *arguments]) as process:
        yield process


def is_at_work(process: subprocess.Popen[bytes], vendor: LogRocketEmulator, count: int) -> bool:
    """Wait until *count* more users were applied; return False if the process ended before."""
    target = vendor.total_applied + count
    while process.poll() is None:
        if vendor.total_applied >= target:
            return True
        time.sleep(0.002)
    return False


def test_ten_kills_lose_no_user(tmp_path: Path) -> None:
    """No user is lost or stale, and none is applied twice at Fullstory."""
    seed = random.SystemRandom().randrange(10**6)
    rng = random.Random(seed)  # noqa: S311  # Not for security.
    source = tmp_path / "users.jsonl"
    rows = [{"id": f"u{number}", "plan": f"p{number % 7}"} for number in range(USERS)]
    source.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    fullstory, logrocket = FullstoryEmulator(batch=BatchRules(job_seconds=0.3)), LogRocketEmulator()
    add_faults(fullstory, 0.05)
    add_faults(logrocket, 0.0005)
    kills = 0
    with running_vendors(fullstory, logrocket) as vendors:
        urls = [backend.base_url or "" for backend in vendors.backends]
        arguments = [str(tmp_path / "ledger.db"), str(source), *urls]
        for _ in range(KILLS):
            with child(*arguments) as process:
                kills += is_at_work(process, logrocket, rng.randrange(USERS // KILLS * 3 // 4))
                process.kill()
        with child(*arguments) as process:
            exit_code = process.wait(300)

    expected = {f"u{number}": {"plan": f"p{number % 7}"} for number in range(USERS)}
    assert exit_code == 0, seed
    assert {user.uid: user.properties for user in fullstory.users.values()} == expected, seed
    assert {user.user_id: user.traits for user in logrocket.users.values()} == expected, seed
    assert set(fullstory.applied.values()) == {1}, seed
    assert kills >= KILLS // 2, seed
