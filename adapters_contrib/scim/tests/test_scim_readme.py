"""The README's example runs, and the tests that it names exist."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from .conftest import TOKEN

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def test_the_example_runs(service: Any) -> None:
    """With an empty service, each of its four writes is accepted."""
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    environment = {"FULLSTORY_SCIM_TOKEN": TOKEN, "FULLSTORY_SCIM_URL": service.url}

    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", example], env=environment, capture_output=True, text=True, check=False
    )

    assert ran.stderr == ""
    assert [line.partition("(")[0] for line in ran.stdout.splitlines()] == ["Accepted"] * 4
    assert len(example.splitlines()) <= 12


def test_every_named_test_exists() -> None:
    """A trap without a test is only a promise."""
    named = set(re.findall(r"`(test_\w+)`", README))
    source = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))

    assert named
    assert [name for name in named if f"def {name}(" not in source] == []


def test_every_rule_is_in_the_readme() -> None:
    """So callers can look up the rule of a violation."""
    package = Path(__file__).parents[1] / "replay_identity_scim"
    source = "".join(path.read_text("utf-8") for path in package.glob("*.py"))
    rules = set(re.findall(r'"((?:[a-z]+-){1,3}[a-z]+)"', source)) - {"fullstory-seats", "content-type"}

    assert {"groups-are-read-only", "id-is-assigned", "no-such-seat"} <= rules
    assert [rule for rule in rules if f"`{rule}`" not in README] == []
