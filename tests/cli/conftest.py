"""The command, run in this process, with both emulators at its service."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import pytest
from cli.running_commands import Ran, Run, Vendors, Write
from typer.testing import CliRunner

from replay_identity.bulk import DeliveryOptions
from replay_identity.cli.app import app
from replay_identity.emulator import FullstoryEmulator, LogRocketEmulator, running


@pytest.fixture(scope="session")
def _served() -> Iterator[Vendors]:
    fullstory, logrocket = FullstoryEmulator(), LogRocketEmulator()
    with running(fullstory) as fullstory_server, running(logrocket) as logrocket_server:
        yield Vendors(
            fullstory,
            logrocket,
            {
                "FULLSTORY_BASE_URL": fullstory_server.url,
                "FULLSTORY_API_KEY": "na1.emulator",
                "LOGROCKET_BASE_URL": logrocket_server.url,
                "LOGROCKET_API_KEY": "acme:shop:emulator",
            },
        )


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty directory, with no settings and a state folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("REPLAY_IDENTITY_LEDGER", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    # Half a second before a job is first asked after would be most of the time that these tests take.
    monkeypatch.setitem(getattr(DeliveryOptions.__init__, "__kwdefaults__"), "poll_initial", 0.02)  # noqa: B009
    for vendor in ("FULLSTORY", "LOGROCKET"):
        for setting in ("API_KEY", "BASE_URL"):
            monkeypatch.delenv(f"{vendor}_{setting}", raising=False)


@pytest.fixture
def vendors(_served: Vendors, monkeypatch: pytest.MonkeyPatch) -> Vendors:
    """Give both emulators without users, and settings that point at them."""
    _served.fullstory.reset()
    _served.logrocket.reset()
    for name, value in _served.environment.items():
        monkeypatch.setenv(name, value)
    return _served


@pytest.fixture
def run() -> Run:
    """Give a function that runs a command."""

    def run_command(*arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Ran:
        result = CliRunner().invoke(app, list(arguments), input=stdin, env=env, catch_exceptions=False)
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run_command


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Give a function that writes JSON Lines and returns the name of the file."""

    def write_rows(rows: Sequence[object]) -> str:
        path = tmp_path / "users.jsonl"
        path.write_bytes(b"".join(row if isinstance(row, bytes) else orjson.dumps(row) + b"\n" for row in rows))
        return str(path)

    return write_rows
