"""Fixtures for the command line and both emulators."""

from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from support.backends import Acme
from support.commands import CommandResult, RunCommand, WriteRows, run_command
from support.vendors import Vendors

from replay_identity.bulk import DeliveryOptions
from replay_identity.config import Settings


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
def our_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands use `our.db`, without an option."""
    monkeypatch.setenv("REPLAY_IDENTITY_LEDGER", "our.db")


@pytest.fixture
def interactive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the standard input of the tests count as a terminal."""
    monkeypatch.setattr("replay_identity.cli.terminal._is_interactive", lambda: True)


@pytest.fixture
def one_attempt(tmp_path: Path) -> None:
    """Write settings by which a failed request is not sent again."""
    text = "[backends.fullstory]\n[backends.logrocket]\n[retry]\nattempts = 1\n"
    (tmp_path / "replay-identity.toml").write_text(text, encoding="utf-8")


@pytest.fixture
def only_acme(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `forget` know only a vendor that cannot delete users."""

    def resolve(*_: object, **__: object) -> Settings:
        return Settings((Acme(),))

    monkeypatch.setattr("replay_identity.cli.forget.resolve_settings", resolve)


@pytest.fixture
def forget(run: RunCommand) -> RunCommand:
    """Return a function that runs `forget`, and checks that it prints no id and no address."""

    def run_forget(*arguments: str, stdin: bytes = b"") -> CommandResult:
        result = run("forget", *arguments, stdin=stdin)
        assert "canary" not in result.out + result.err
        return result

    return run_forget


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
