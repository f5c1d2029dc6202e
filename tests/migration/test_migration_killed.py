"""Migrations by processes that are killed, while both vendors fail now and then."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import orjson
import pytest
from support.vendors import running_vendors

from replay_identity.emulator import BatchRules, Fault, FullstoryEmulator, LogRocketEmulator

pytestmark = pytest.mark.slow

# How it was shown on 100,000: REPLAY_IDENTITY_MIGRATION_USERS=100000 pytest tests/migration/test_migration_killed.py
USERS: Final = int(os.environ.get("REPLAY_IDENTITY_MIGRATION_USERS", "12000"))
KILLS: Final = 2
CHILD: Final = Path(__file__).parents[1] / "support" / "migrate_in_child.py"
HEADERS: Final = {"authorization": "Basic na1.emulator"}


def item(number: int) -> dict[str, Any]:
    """Return user *number*: some are anonymous, some have no properties, the others nested ones."""
    body: dict[str, Any] = {} if number % 50 == 7 else {"uid": f"u{number}"}
    if number % 10 == 3:
        return {**body, "display_name": f"User {number}"}
    company = {"size": number, "since": "2026-11-21", "public": number % 2 == 0}
    schema = {"properties": {"company.size": "int", "company.since": "date"}}
    return {**body, "properties": {"plan": f"p{number % 7}", "score": number / 4, "company": company}, "schema": schema}


def traits(number: int) -> dict[str, str]:
    """Return the traits that LogRocket should have for user *number*."""
    if number % 10 == 3:
        return {}
    score = f"{number / 4:g}" if number < 1000 else repr(number / 4).removesuffix(".0")
    company = {"size": str(number), "since": "2026-11-21", "public": "true" if number % 2 == 0 else "false"}
    plan = "7" if number % 100 == 1 else f"p{number % 7}"
    return {"plan": plan, "score": score, **{f"company.{name}": value for name, value in company.items()}}


def populate(url: str) -> None:
    """Add all users to Fullstory; every hundredth has a plan that was a string and is now a number."""
    with httpx.Client(base_url=url, headers=HEADERS, timeout=120.0) as client:
        for start in range(0, USERS, 10_000):
            items = [item(number) for number in range(start, min(start + 10_000, USERS))]
            job = client.post("/v2/users/batch", json={"requests": items}).raise_for_status().json()["job"]["id"]
            job = quote(job, safe="")
            while client.get(f"/v2/users/batch/{job}").json()["job"]["status"] == "PROCESSING":
                time.sleep(0.05)
        for number in range(1, USERS, 100):
            body = {"uid": f"u{number}", "properties": {"plan": 7}, "schema": {"properties": {"plan": "int"}}}
            client.post("/v2/users", json=body).raise_for_status()


def run(arguments: list[str], is_time: Callable[[], bool] = lambda: False) -> tuple[bool, bytes]:
    """Migrate in a process that is killed once *is_time* returns True; return whether it was killed, and its output."""
    with subprocess.Popen([sys.executable, str(CHILD), *arguments], stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            if is_time():
                process.kill()
                return True, process.communicate()[0]
            time.sleep(0.002)
        assert process.returncode == 0
        return False, process.communicate()[0]


def test_two_kills_lose_and_duplicate_no_user(tmp_path: Path) -> None:
    """LogRocket has exactly the users that Fullstory listed, and the statistics count each of them once."""
    seed = random.SystemRandom().randrange(10**6)
    dice = random.Random(seed)  # noqa: S311  # Moments of death.
    fullstory = FullstoryEmulator(page_size=500, batch=BatchRules(job_seconds=0.0))
    logrocket = LogRocketEmulator()
    with running_vendors(fullstory, logrocket) as vendors:
        urls = [backend.base_url or "" for backend in vendors.backends]
        populate(urls[0])
        fullstory.faults.add(Fault(status=429, headers={"retry-after": "0.05"}, times=None, probability=0.05))
        fullstory.faults.add(Fault(drop="after", times=None, probability=0.02))
        logrocket.faults.add(Fault(status=503, times=None, probability=0.001))
        arguments = [str(tmp_path / "ledger.db"), *urls]
        kills = sum(run(arguments, _after(dice.randrange(1, USERS // 5), logrocket))[0] for _ in range(KILLS))
        _, out = run(arguments)

    known = [number for number in range(USERS) if number % 50 != 7]
    report = orjson.loads(out)
    assert {user.user_id: user.traits for user in logrocket.users.values()} == {f"u{n}": traits(n) for n in known}, seed
    listing = report["listing"]
    assert (listing["users"], listing["usable"], listing["anonymous"]) == (USERS, len(known), USERS - len(known)), seed
    assert listing["type_conflicts"] == {"plan": len(range(1, USERS, 100))}, seed
    assert (report["backends"]["logrocket"]["pending"], report["backends"]["logrocket"]["rejected"]) == (0, 0), seed
    # The same PUT, which makes no other user. After a kill, a user may be sent as the killed process stored them, and
    # again as listed meanwhile: with a later moment that is a newer state, and the first answer says nothing about it.
    assert max(logrocket.applied.values()) <= 1 + 2 * KILLS, seed
    assert kills == KILLS, seed


def _after(count: int, vendor: LogRocketEmulator) -> Callable[[], bool]:
    """Return a function that returns True once *count* more users have arrived at *vendor*."""
    wanted = vendor.total_applied + count
    return lambda: vendor.total_applied >= wanted
