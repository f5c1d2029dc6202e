"""Fixtures for the command line and both emulators."""

from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from support.commands import RunCommand, WriteRows, run_command
from support.vendors import Vendors

from replay_identity.bulk import DeliveryOptions


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty directory, without settings and with its own state folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("REPLAY_IDENTITY_LEDGER", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    for vendor in ("FULLSTORY", "LOGROCKET"):
        for setting in ("API_KEY", "BASE_URL"):
            monkeypatch.delenv(f"{vendor}_{setting}", raising=False)
    # The default delay before the first poll of a job would dominate the time of these tests.
    monkeypatch.setitem(getattr(DeliveryOptions.__init__, "__kwdefaults__"), "poll_initial", 0.02)  # noqa: B009


@pytest.fixture
def vendors(vendors: Vendors, monkeypatch: pytest.MonkeyPatch) -> Vendors:
    """Return both emulated vendors without users, and set the environment to use them."""
    for name, value in vendors.environment.items():
        monkeypatch.setenv(name, value)
    return vendors


@pytest.fixture
def run() -> RunCommand:
    """Return a function that runs a command."""
    return run_command


@pytest.fixture
def write(tmp_path: Path) -> WriteRows:
    """Return a function that writes JSON Lines and returns the name of the file."""

    def write_rows(rows: Sequence[object]) -> str:
        path = tmp_path / "users.jsonl"
        path.write_bytes(b"".join(row if isinstance(row, bytes) else orjson.dumps(row) + b"\n" for row in rows))
        return str(path)

    return write_rows
