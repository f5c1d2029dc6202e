"""`replay-identity migrate --from-logrocket-export`."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from support.commands import RunCommand
from support.vendors import Vendors

EXPORT = ("migrate", "--from-logrocket-export", "--ledger", "l.db")


@pytest.fixture(autouse=True)
def _events() -> None:
    """Write two files of events: an old and a new row of one user, and one of an anonymous visitor."""
    for name, plan, time in (("a.jsonl", "pro", 2), ("b.jsonl", "free", 1)):
        row = {"user_id": "u1", "user_identity_status": "Identified", "user_traits": f'{{"plan": "{plan}", "n": "4"}}'}
        anonymous = {"user_id": "x", "user_identity_status": "Anonymous", "updated_at": time}
        Path(name).write_bytes(orjson.dumps({**row, "updated_at": time}) + b"\n" + orjson.dumps(anonymous))


def test_an_export_is_moved(vendors: Vendors, run: RunCommand) -> None:
    """From several files, to the vendors that it does not come from."""
    result = run(*EXPORT, "a.jsonl", "b.jsonl")

    assert result.code == 0, result.err
    assert "4 events read; left out 1 older, 2 anonymous and 0 unknown" in result.err
    assert not vendors.logrocket.requests
    user: Any = vendors.fullstory.by_uid("u1")
    assert user.properties == {"plan": "pro", "n": "4"}


def test_a_query_reads_an_export(vendors: Vendors, run: RunCommand) -> None:
    """The target can be LogRocket, if it is another app."""
    result = run(*EXPORT, "--to", "logrocket", "--sql", "SELECT * FROM 'b.jsonl'", "--json")

    assert result.code == 0, result.err
    assert vendors.logrocket.users["u1"].traits == {"plan": "free", "n": "4"}
    assert result.document["notes"]["events"] == {
        "rows": 2,
        "older": 0,
        "anonymous": 1,
        "unknown": 0,
        "time": "updated_at",
    }


def test_a_mapping_gives_types_back(vendors: Vendors, run: RunCommand) -> None:
    """It names the traits; a dry run sends nothing."""
    Path("m.toml").write_text('[fields.n]\ncast = "int"\n', encoding="utf-8")

    assert run(*EXPORT, "a.jsonl", "--mapping", "m.toml", "--dry-run").code == 0
    assert not vendors.fullstory.requests
    assert run(*EXPORT, "a.jsonl", "--mapping", "m.toml").code == 0

    user: Any = vendors.fullstory.by_uid("u1")
    assert user.properties == {"plan": "pro", "n": 4}


def test_a_bad_row_exits_with_1(vendors: Vendors, run: RunCommand) -> None:
    """Its line is named."""
    del vendors
    Path("a.jsonl").write_text('{"user_id": "u1", "user_identity_status": "?", "updated_at": 1}\n', encoding="utf-8")

    result = run(*EXPORT, "a.jsonl")

    assert result.code == 1
    assert "1 user_identity_status: expected Identified" in " ".join(result.lines)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--from", "a.jsonl", "b.jsonl"),
        ("--from", "a.jsonl", "--from-logrocket-export"),
        ("--from-logrocket-export",),
        ("--from-logrocket-export", "a.jsonl", "b.jsonl", "--sql", "SELECT 1"),
        ("--from-logrocket-export", "a.jsonl", "--sql", "SELECT 1", "--format", "csv"),
        ("--from-logrocket-export", "missing.jsonl"),
    ],
)
def test_wrong_sources_are_refused(vendors: Vendors, run: RunCommand, arguments: tuple[str, ...]) -> None:
    """Before a ledger is created."""
    result = run("migrate", *arguments, "--ledger", "l.db")

    assert result.code == 2
    assert not vendors.fullstory.requests
    assert not Path("l.db").exists()


def test_several_apps_are_all_targets(vendors: Vendors, run: RunCommand) -> None:
    """Which of them the export comes from is not known."""
    app = 'vendor = "logrocket"\napi_key = "acme:shop:emulator"\n'
    url = f'base_url = "{vendors.environment["LOGROCKET_BASE_URL"]}"\n'
    Path("s.toml").write_text(f"[backends.old]\n{app}{url}[backends.new]\n{app}{url}", encoding="utf-8")

    result = run(*EXPORT, "a.jsonl", "--settings", "s.toml", "--dry-run")

    assert result.code == 0, result.err
    assert any(line.startswith("old 1") for line in result.lines)
    assert any(line.startswith("new 1") for line in result.lines)


def test_a_backend_that_lists_nobody_is_explained(vendors: Vendors, run: RunCommand) -> None:
    """The error says how users leave LogRocket."""
    del vendors

    result = run("migrate", "--from", "logrocket", "--ledger", "l.db")

    assert result.code == 2
    assert "--from-logrocket-export" in result.err
