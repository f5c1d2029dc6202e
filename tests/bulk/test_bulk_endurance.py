"""Several processes upsert, sync and deliver while they are killed and both vendors fail."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from support.profiles import is_nightly

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
# For longer: PYTHONPATH=tests python -m support.endurance --minutes 10
KILLS = 200 if is_nightly() else 25


def test_kills_leave_nothing_lost_or_stale() -> None:
    """In the end each vendor has the newest acknowledged value of every field, and nobody is pending."""
    # In a process without threads, since it forks.
    command = [sys.executable, "-m", "support.endurance", "--users", "60", "--kills", str(KILLS)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}

    finished = subprocess.run(command, env=environment, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    result = orjson.loads(finished.stdout)

    assert result["is_good"], (finished.stdout, finished.stderr)
    assert sum(result["kills"].values()) >= KILLS
    assert result["calls"] > KILLS
    assert all(count > 0 for count in result["requests"].values())
