"""`replay-identity compare`."""

from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from support.commands import RunCommand, WriteRows
from support.vendors import Vendors

from replay_identity.bulk.comparison import BackendComparison, ComparisonReport
from replay_identity.cli import tables
from replay_identity.cli.terminal import stdout_console
from replay_identity.emulator import Fault

USERS: Final[list[dict[str, Any]]] = [{"id": "canary-u1", "plan": "canary-pro"}, {"id": "u2", "plan": "canary-pro"}]


@pytest.fixture
def identified(run: RunCommand, vendors: Vendors, write: WriteRows) -> Vendors:
    """Return both vendors after they received two users."""
    assert run("identify", write(USERS)).code == 0
    return vendors


@pytest.mark.usefixtures("identified")
def test_equal_users_exit_with_0(run: RunCommand, write: WriteRows) -> None:
    """The note on stderr says that LogRocket is read with a PUT."""
    result = run("compare", write(USERS), "--yes")

    assert result.code == 0
    assert "fullstory 2 2 0 0 0" in result.lines
    assert "logrocket 2 2 0 0 0" in result.lines
    assert "empty PUT for each of 2 users" in result.message


@pytest.mark.usefixtures("identified")
def test_differences_are_written_with_ids(run: RunCommand, write: WriteRows) -> None:
    """Only the file contains ids, and nobody else can read it; values appear nowhere."""
    changed = [{"id": "canary-u1", "plan": "canary-team"}, {"id": "canary-u3", "plan": "canary-pro"}, "no user"]

    result = run("compare", write(changed), "--yes", "--output", "differences.jsonl")

    assert result.code == 1
    assert "traits.plan 1 0 0" in result.lines
    assert "Not compared: 1 invalid row." in result.err
    assert "canary" not in result.out + result.err
    output = Path("differences.jsonl")
    assert output.stat().st_mode & 0o777 == 0o600
    assert {orjson.loads(line)["user_id"] for line in output.read_bytes().splitlines()} == {"canary-u1", "canary-u3"}
    assert b"canary-team" not in output.read_bytes()


@pytest.mark.usefixtures("identified")
def test_an_existing_file_is_not_overwritten(run: RunCommand, write: WriteRows) -> None:
    """Naming it is wrong usage."""
    Path("there.jsonl").touch()

    assert run("compare", write(USERS), "--to", "fullstory", "--output", "there.jsonl").code == 2


@pytest.mark.usefixtures("identified")
def test_json_is_one_document(run: RunCommand, write: WriteRows) -> None:
    """It contains the size of the sample and the counts of each backend."""
    result = run("compare", write(USERS), "--to", "fullstory", "--sample", "1", "--seed", "7", "--json")

    assert result.code == 0
    assert result.document["users"] == 1
    assert result.document["backends"]["fullstory"]["same"] == 1


def test_without_a_terminal_it_needs_yes(run: RunCommand, identified: Vendors, write: WriteRows) -> None:
    """The error mentions the option, and nothing is sent."""
    before = len(identified.logrocket.requests), len(identified.fullstory.requests)

    result = run("compare", write(USERS))

    assert result.code == 2
    assert "--yes" in result.err
    assert (len(identified.logrocket.requests), len(identified.fullstory.requests)) == before


@pytest.mark.usefixtures("identified", "interactive")
@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 1), (b"", 1)])
def test_it_asks_for_confirmation(run: RunCommand, write: WriteRows, answer: bytes, code: int) -> None:
    """It continues only after a yes."""
    result = run("compare", write(USERS), stdin=answer)

    assert result.code == code
    assert ("Nothing was done." in result.err) == bool(code)


@pytest.mark.usefixtures("identified")
def test_a_wrong_key_exits_with_78(run: RunCommand, write: WriteRows) -> None:
    """The comparison with that vendor stops."""
    result = run("compare", write(USERS), "--to", "fullstory", env={"FULLSTORY_API_KEY": "na1.wrong"})

    assert result.code == 78
    assert any(line.startswith("fullstory: ") and "HTTP 401" in line for line in result.lines)


@pytest.mark.usefixtures("vendors")
def test_an_unreachable_vendor_exits_with_75(run: RunCommand, write: WriteRows) -> None:
    """No server listens on the port."""
    settings = "[backends.fullstory]\n[delivery.fullstory]\nwait_initial = 0.001\nwait_max = 0.002\n"
    Path("replay-identity.toml").write_text(settings, encoding="utf-8")
    result = run("compare", write(USERS), env={"FULLSTORY_BASE_URL": "http://127.0.0.1:9"})

    assert result.code == 75


@pytest.mark.usefixtures("identified")
def test_the_default_source_is_the_readable_vendor(run: RunCommand) -> None:
    """It is not compared with itself, and its anonymous users are left out."""
    assert run("identify", "--to", "fullstory", "--user-id", "u2", "--trait", "plan=canary-team").code == 0
    assert run("identify", "--to", "fullstory", "--email", "canary@example.com").code == 0

    result = run("compare", "--sample", "1000", "--yes")

    assert result.code == 1
    assert "logrocket 2 1 0 1 0" in result.lines
    assert "traits.plan 1 0 0" in result.lines
    assert "fullstory" not in result.out
    assert "Not compared: 1 user without an id." in result.err
    assert "canary" not in result.out + result.err


@pytest.mark.usefixtures("identified")
def test_extra_traits_can_be_ignored(run: RunCommand, write: WriteRows) -> None:
    """The option is for files with only some of the traits."""
    file = write([{"id": "canary-u1"}])

    assert run("compare", file, "--to", "fullstory").code == 1
    assert run("compare", file, "--to", "fullstory", "--ignore-extra").code == 0


@pytest.mark.usefixtures("identified")
@pytest.mark.parametrize(("status", "code"), [(403, 78), (400, 2)])
def test_an_unreadable_source_has_an_exit_code(run: RunCommand, identified: Vendors, status: int, code: int) -> None:
    """No user is compared."""
    identified.fullstory.faults.add(Fault(status=status, method="GET"))

    result = run("compare", "--yes")

    assert result.code == code
    assert "fullstory: cannot be read" in result.err


@pytest.mark.usefixtures("identified")
def test_invalid_rows_and_rejected_users_exit_with_1(run: RunCommand, write: WriteRows) -> None:
    """All other users are equal."""
    file = write([*USERS, "no user"])
    assert run("compare", file, "--to", "fullstory").code == 1

    file = write([*USERS, {"id": "u3", "bio": "b" * 2000}])
    assert run("compare", file, "--to", "logrocket", "--yes").code == 1


@pytest.mark.usefixtures("vendors")
def test_of_two_readable_vendors_one_must_be_named(run: RunCommand) -> None:
    """Without a name it is wrong usage."""
    settings = '[backends.fullstory]\n[backends.new]\nvendor = "fullstory"\n[backends.logrocket]\n'
    Path("replay-identity.toml").write_text(settings, encoding="utf-8")
    keys = {"NEW_API_KEY": "na1.emulator"}

    assert "NAME|FILE" in run("compare", "--yes", env=keys).err
    assert run("compare", "fullstory", "--to", "logrocket", "--yes", env=keys).code == 0


@pytest.mark.usefixtures("vendors")
def test_without_a_readable_vendor_it_needs_a_source(run: RunCommand) -> None:
    """It is wrong usage, and the error says what to name."""
    result = run("compare", "--yes", env={"FULLSTORY_API_KEY": "", "FULLSTORY_BASE_URL": ""})

    assert result.code == 2
    assert "NAME|FILE" in result.err


def test_only_the_most_frequent_fields_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The rest is counted, and backends without a comparison are listed."""
    comparison = BackendComparison()
    comparison.extra.update(f"traits.t{number}" for number in range(12))

    tables.print_comparison(stdout_console(), ComparisonReport({"fullstory": comparison}, ("acme",)), 1)

    out = capsys.readouterr().out
    assert "… and 2 more" in out
    assert "acme: " in out


@pytest.mark.usefixtures("vendors")
def test_differences_are_counted_without_a_file(run: RunCommand, write: WriteRows) -> None:
    """The file is optional."""
    result = run("compare", write(USERS), "--to", "fullstory")

    assert result.code == 1
    assert "fullstory 2 0 2 0 0" in result.lines


@pytest.mark.usefixtures("identified")
def test_it_says_how_the_source_was_read(run: RunCommand, write: WriteRows) -> None:
    """A filter that leaves out every row compares nobody, which is not a success."""
    Path("m.toml").write_text('where = {plan = "canary-none"}\n', encoding="utf-8")

    result = run("compare", write(USERS), "--to", "fullstory", "--mapping", "m.toml", "--json")

    assert result.code == 1
    assert "Note: where leaves out every row" in result.err
    assert result.document["notes"]["left_out"] == 2
