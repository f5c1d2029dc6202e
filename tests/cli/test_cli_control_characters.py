"""No command prints a character that a terminal obeys, wherever it comes from."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from rich.table import Table
from rich.text import Text
from support.commands import RunCommand, WriteRows
from support.vendors import Vendors

from replay_identity import UserTraits
from replay_identity.adapters import KeyInfo
from replay_identity.cli.ledger import encode_row
from replay_identity.cli.terminal import print_json, stderr_console, stdout_console
from replay_identity.ledger import Ledger, Settlement
from replay_identity.outcomes import Rejected

NASTY: Final = "\x1b]0;title\x07\x1b[31m\r\x9b2J\x7f\u202e\u2066\u2028\u200b\udc80"
_ALLOWED: Final = {"\n"}


def unsafe(text: str) -> set[str]:
    """Return the characters of *text* that a terminal obeys or does not show."""
    return {char for char in text if not char.isprintable() and char not in _ALLOWED}


def test_consoles_escape_control_characters(capfd: pytest.CaptureFixture[str]) -> None:
    """In strings, in text with a style, and in cells and titles of tables."""
    table = Table(NASTY, title=NASTY)
    table.add_row(NASTY, style="red")
    table.add_row(Text(NASTY, style="cyan"))

    for console in (stdout_console(), stderr_console()):
        console.print(NASTY, Text(NASTY), table, soft_wrap=True)
        console.print(NASTY, style="red")

    out, err = capfd.readouterr()
    assert unsafe(out) | unsafe(err) == set()
    assert "\\u001b" in out
    assert "\\u202e" in err


def test_json_escapes_control_characters(capfd: pytest.CaptureFixture[str]) -> None:
    """It stays the same JSON."""
    text = NASTY.removesuffix("\udc80")

    print_json({text: text})

    out = capfd.readouterr().out
    assert unsafe(out) == set()
    assert json.loads(out) == {text: text}


def test_written_rows_escape_control_characters() -> None:
    """They are read back as they were."""
    user = UserTraits("u1", traits={"t": NASTY.removesuffix("\udc80")})

    row = encode_row(user).decode()

    assert unsafe(row) == set()
    assert UserTraits.from_mapping(json.loads(row)) == user


@pytest.mark.parametrize("text", [NASTY, "", " ", " STANDARD", "x" * 101, "größe", "a\nb"])
def test_facts_about_a_key_are_tokens(text: str) -> None:
    """What is none is left out."""
    assert KeyInfo("a", level=text, organisation=text) == KeyInfo("a")
    assert KeyInfo("a", level="STANDARD", organisation="o-1 x").organisation == "o-1 x"


@pytest.mark.parametrize("command", ["status", "rejected", "retry"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_ledgers_show_no_control_characters(
    command: str, options: tuple[str, ...], run: RunCommand, tmp_path: Path
) -> None:
    """Neither in the name of the file nor in messages and codes."""
    name = "\x1b]0;x\x07\r\u202e.db"
    with Ledger(tmp_path / name) as ledger:
        ledger.upsert([UserTraits("u1", traits={"t": 1})], ["acme"])
        rejection = Rejected("acme", code=NASTY[:-1], message=NASTY[:-1])
        ledger.settle("acme", [Settlement(each.row_id, each.version, rejection) for each in ledger.claim("acme")])

    result = run(command, "--ledger", str(tmp_path / name), *options)

    assert unsafe(result.out) | unsafe(result.err) == set()


@pytest.mark.parametrize("command", ["check", "sync", "identify", "infer", "migrate"])
def test_files_show_no_control_characters(
    command: str, run: RunCommand, vendors: Vendors, write: WriteRows, tmp_path: Path
) -> None:
    """Neither in the name of the file nor in names of traits, in errors or results."""
    del vendors
    path = tmp_path / "\x1b]0;x\x07\r\u202e.jsonl"
    rows: list[dict[str, Any]] = [{"id": "u1", "a\x1b\u202e\x9b": "x" * 2000}, {"id": None}, {"\x9b": 1}]
    Path(write(rows)).rename(path)

    for arguments in ((str(path),), (str(path), "--json"), (f"{path}x",)):
        result = run(command, *arguments)

        assert unsafe(result.out) | unsafe(result.err) == set()


def test_errors_of_usage_show_no_control_characters(run: RunCommand) -> None:
    """Typer prints them, not a console of ours."""
    result = run("check", "x.jsonl", "--mapping", "\x1b]0;x\x07\u202e.toml")

    assert result.code != 0
    assert unsafe(result.out) | unsafe(result.err) == set()
