"""`replay-identity compare`: what differs, without ids and values, and what is asked first."""

from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from cli.running_commands import Run, Vendors, Write

from replay_identity.bulk.comparison import BackendComparison, ComparisonReport
from replay_identity.cli import tables
from replay_identity.cli.terminal import stdout_console
from replay_identity.emulator import Fault

USERS: Final[list[dict[str, Any]]] = [{"id": "canary-u1", "plan": "canary-pro"}, {"id": "u2", "plan": "canary-pro"}]


@pytest.fixture
def told(run: Run, vendors: Vendors, write: Write) -> Vendors:
    """Give both vendors, who know two users."""
    assert run("identify", write(USERS)).code == 0
    return vendors


@pytest.mark.usefixtures("told")
def test_the_same_is_told_with_0(run: Run, write: Write) -> None:
    """After stderr says what LogRocket is sent."""
    ran = run("compare", write(USERS), "--yes")

    assert ran.code == 0
    assert "fullstory 2 2 0 0 0" in ran.lines
    assert "logrocket 2 2 0 0 0" in ran.lines
    assert "empty PUT for each of 2 sampled users" in ran.err


@pytest.mark.usefixtures("told")
def test_differences_are_told_by_path_and_written_with_ids(run: Run, write: Write) -> None:
    """No value and no id is printed; the file is the owner's alone."""
    changed = [{"id": "canary-u1", "plan": "canary-team"}, {"id": "canary-u3", "plan": "canary-pro"}, "no user"]

    ran = run("compare", write(changed), "--yes", "--output", "differences.jsonl")

    assert ran.code == 1
    assert "traits.plan 1 0 0" in ran.lines
    assert "Not compared, since they are no users: 1 row." in ran.err
    assert "canary" not in ran.out + ran.err
    written = Path("differences.jsonl")
    assert written.stat().st_mode & 0o777 == 0o600
    lines = sorted((orjson.loads(line) for line in written.read_bytes().splitlines()), key=str)
    assert {line["user_id"] for line in lines} == {"canary-u1", "canary-u3"}
    assert b"canary-team" not in written.read_bytes()


@pytest.mark.usefixtures("told")
def test_a_file_that_exists_is_not_written_over(run: Run, write: Write) -> None:
    """It is wrong usage."""
    Path("there.jsonl").touch()

    assert run("compare", write(USERS), "--to", "fullstory", "--output", "there.jsonl").code == 2


@pytest.mark.usefixtures("told")
def test_json_is_one_document(run: Run, write: Write) -> None:
    """Of a sample, which is as large as was asked for."""
    ran = run("compare", write(USERS), "--to", "fullstory", "--sample", "1", "--seed", "7", "--json")

    assert ran.code == 0
    assert ran.document["users"] == 1
    assert ran.document["backends"]["fullstory"]["same"] == 1


def test_nobody_there_is_wrong_usage(run: Run, told: Vendors, write: Write) -> None:
    """The message names the way out, and nothing is sent."""
    before = len(told.logrocket.requests), len(told.fullstory.requests)

    ran = run("compare", write(USERS))

    assert ran.code == 2
    assert "--yes" in ran.err
    assert (len(told.logrocket.requests), len(told.fullstory.requests)) == before


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 1), (b"", 1)])
def test_a_person_is_asked(run: Run, write: Write, monkeypatch: pytest.MonkeyPatch, answer: bytes, code: int) -> None:
    """Only a yes goes on."""
    monkeypatch.setattr("replay_identity.cli.terminal._somebody_is_there", lambda: True)

    ran = run("compare", write(USERS), stdin=answer)

    assert ran.code == code
    assert ("Nothing was done." in ran.err) == bool(code)


@pytest.mark.usefixtures("told")
def test_a_wrong_key_is_told_with_78(run: Run, write: Write) -> None:
    """The vendor is not asked about the rest."""
    ran = run("compare", write(USERS), "--to", "fullstory", env={"FULLSTORY_API_KEY": "na1.wrong"})

    assert ran.code == 78
    assert "fullstory was not asked about the rest" in ran.out


@pytest.mark.usefixtures("vendors")
def test_a_vendor_that_cannot_be_read_is_told_with_75(run: Run, write: Write) -> None:
    """Nobody listens there."""
    settings = "[backends.fullstory]\n[delivery.fullstory]\nwait_initial = 0.001\nwait_max = 0.002\n"
    Path("replay-identity.toml").write_text(settings, encoding="utf-8")
    ran = run("compare", write(USERS), env={"FULLSTORY_BASE_URL": "http://127.0.0.1:9"})

    assert ran.code == 75


@pytest.mark.usefixtures("told")
def test_without_a_source_the_vendor_that_shows_its_users_tells_what_others_should_hold(run: Run) -> None:
    """It is not asked about itself; who is anonymous there is nobody elsewhere."""
    assert run("identify", "--to", "fullstory", "--user-id", "u2", "--trait", "plan=canary-team").code == 0
    assert run("identify", "--to", "fullstory", "--email", "canary@example.com").code == 0

    ran = run("compare", "--sample", "1000", "--yes")

    assert ran.code == 1
    assert "logrocket 2 1 0 1 0" in ran.lines
    assert "traits.plan 1 0 0" in ran.lines
    assert "fullstory" not in ran.out
    assert "Not compared, since they have no id: 1 user." in ran.err
    assert "canary" not in ran.out + ran.err


@pytest.mark.usefixtures("told")
def test_what_a_vendor_holds_beyond_the_source_may_be_no_difference(run: Run, write: Write) -> None:
    """For a file that has only some of the properties."""
    file = write([{"id": "canary-u1"}])

    assert run("compare", file, "--to", "fullstory").code == 1
    assert run("compare", file, "--to", "fullstory", "--ignore-extra").code == 0


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(("status", "code"), [(403, 78), (400, 2)])
def test_a_source_that_cannot_be_read_has_an_exit_code(run: Run, told: Vendors, status: int, code: int) -> None:
    """Nobody is compared."""
    told.fullstory.faults.add(Fault(status=status, method="GET"))

    ran = run("compare", "--yes")

    assert ran.code == code
    assert "fullstory: cannot be read" in ran.err


@pytest.mark.usefixtures("told")
def test_who_is_no_user_or_cannot_be_one_is_told_with_1(run: Run, write: Write) -> None:
    """Although all others are the same."""
    file = write([*USERS, "no user"])
    assert run("compare", file, "--to", "fullstory").code == 1

    file = write([*USERS, {"id": "u3", "bio": "b" * 2000}])
    assert run("compare", file, "--to", "logrocket", "--yes").code == 1


@pytest.mark.usefixtures("vendors")
def test_two_vendors_that_show_their_users_are_told_apart_by_name(run: Run) -> None:
    """Without one it is wrong usage."""
    settings = '[backends.fullstory]\n[backends.new]\nvendor = "fullstory"\n[backends.logrocket]\n'
    Path("replay-identity.toml").write_text(settings, encoding="utf-8")
    keys = {"NEW_API_KEY": "na1.emulator"}

    assert "NAME|FILE" in run("compare", "--yes", env=keys).err
    assert run("compare", "fullstory", "--to", "logrocket", "--yes", env=keys).code == 0


@pytest.mark.usefixtures("vendors")
def test_without_a_source_one_vendor_has_to_show_its_users(run: Run) -> None:
    """It is wrong usage, and the message says what to name."""
    ran = run("compare", "--yes", env={"FULLSTORY_API_KEY": "", "FULLSTORY_BASE_URL": ""})

    assert ran.code == 2
    assert "NAME|FILE" in ran.err


def test_only_the_most_frequent_paths_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The others are counted, and backends that cannot be compared are named."""
    counts = BackendComparison()
    counts.extra.update(f"traits.t{number}" for number in range(12))

    tables.print_comparison(stdout_console(), ComparisonReport({"fullstory": counts}, ("acme",)), 1)

    out = capsys.readouterr().out
    assert "… and 2 more" in out
    assert "acme has no way to be compared." in out


@pytest.mark.usefixtures("vendors")
def test_differences_need_not_be_written(run: Run, write: Write) -> None:
    """They are counted all the same."""
    ran = run("compare", write(USERS), "--to", "fullstory")

    assert ran.code == 1
    assert "fullstory 2 0 2 0 0" in ran.lines
