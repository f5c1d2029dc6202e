"""What is in a ledger: told, taken out to be mended, made due again and delivered."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cli.running_commands import Run, Vendors, Write

from replay_identity import REMOVE, UserTraits
from replay_identity.cli.ledger import RejectedRowsWriter, row_line
from replay_identity.emulator import Fault
from replay_identity.ledger import Ledger, Settlement
from replay_identity.outcomes import Broken, Rejected

MAIN = "import sys; from replay_identity.cli import main; sys.exit(main())"
IMPATIENT = "patience = 0.3\nwait_initial = 0.05\nwait_max = 0.1\n"
USERS: list[dict[str, Any]] = [
    {"id": "canary-u1", "email": "canary@example.com", "bio": "canary" * 200},
    {"id": "canary-u2", "plan": "canary-pro"},
    {"id": "canary-u3", "bio": "canary" * 300},
]


@pytest.fixture(autouse=True)
def _our_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLAY_IDENTITY_LEDGER", "our.db")


@pytest.fixture
def rejected(run: Run, vendors: Vendors, write: Write) -> None:
    """Have LogRocket refuse two of three users for a text that is too long."""
    del vendors
    assert run("sync", write(USERS)).code == 1


def refuse(rejection: Rejected | Broken, *users: UserTraits) -> None:
    """Write a ledger in which *users* were refused at acme."""
    with Ledger("our.db") as ledger:
        ledger.upsert(users, ["acme"])
        ledger.settle("acme", [Settlement(claim.row_id, claim.version, rejection) for claim in ledger.claim("acme")])


# All of them


@pytest.mark.parametrize("command", ["status", "rejected", "retry", "deliver"])
def test_a_ledger_that_does_not_exist_is_not_made(run: Run, vendors: Vendors, command: str) -> None:
    """Its name is probably mistyped."""
    del vendors

    ran = run(command)

    assert ran.code == 2
    assert ran.err == "our.db: does not exist; `replay-identity sync` makes it; --ledger names another one\n"
    assert not list(Path().iterdir())


@pytest.mark.parametrize("command", ["rejected", "retry"])
@pytest.mark.usefixtures("rejected")
def test_a_backend_that_the_ledger_does_not_know_is_told(run: Run, command: str) -> None:
    """With those that it knows."""
    ran = run(command, "--to", "acme")

    assert ran.code == 2
    assert "there are fullstory, logrocket" in " ".join(ran.err.replace("│", " ").split())


# status


@pytest.mark.usefixtures("rejected")
def test_status_tells_how_users_stand(run: Run) -> None:
    """At each backend that they were ever put for; no key is needed."""
    ran = run("status", env={"FULLSTORY_API_KEY": "", "LOGROCKET_API_KEY": ""})

    assert ran.code == 0
    assert ran.lines[0] == "our.db"
    assert "fullstory 0 3 0 0 0" in ran.lines
    assert "logrocket 0 1 2 0 0" in ran.lines


@pytest.mark.usefixtures("rejected")
def test_a_long_path_is_not_broken_into_lines(run: Run) -> None:
    """So that it can be copied."""
    path = Path("deep" * 30, "our.db")
    path.parent.mkdir()
    Path("our.db").rename(path)

    assert run("status", "--ledger", str(path)).lines[0] == str(path)


@pytest.mark.usefixtures("rejected")
def test_status_as_json(run: Run) -> None:
    """By backend."""
    ran = run("status", "--json")

    assert ran.document["ledger"] == "our.db"
    assert ran.document["backends"]["logrocket"] == {"due": 0, "held": 1, "refused": 2, "lossy": 0, "jobs": 0}


# rejected


@pytest.mark.usefixtures("rejected")
def test_rejected_tells_why_and_never_who(run: Run) -> None:
    """With the limit, the largest measure found, and how many users."""
    ran = run("rejected")

    assert ran.code == 0
    assert ran.lines[:2] == ["fullstory refused 0 users", "logrocket refused 2 users"]
    assert "traits.bio trait-value-length 1,024 UTF-16 units 1,800 2" in ran.lines
    assert "canary" not in ran.out + ran.err


@pytest.mark.usefixtures("rejected")
def test_rejected_as_json_of_one_backend(run: Run) -> None:
    """As the books have it."""
    ran = run("rejected", "--json", "--to", "logrocket")

    assert ran.document == {
        "ledger": "our.db",
        "backends": {
            "logrocket": {
                "refused": 2,
                "violations": [
                    {
                        "path": "traits.bio",
                        "rule": "trait-value-length",
                        "limit": 1024,
                        "unit": "UTF-16 units",
                        "largest": 1800,
                        "count": 2,
                    }
                ],
                "causes": [],
            }
        },
    }


def test_rejected_tells_the_vendors_words(run: Run) -> None:
    """In which what was sent is masked; of a bug of an adapter's its place."""
    refuse(Rejected("acme", code="HTTP 400", message="no such plan"), UserTraits("canary-1"), UserTraits("canary-2"))
    refuse(Broken("acme", "KeyError at adapter.py:7"), UserTraits("canary-3"))

    ran = run("rejected")

    assert "acme refused 3 users" in ran.lines
    assert "Rejected HTTP 400: no such plan 2" in ran.lines
    assert "Broken KeyError at adapter.py:7 1" in ran.lines


def test_rejected_shows_so_many_lines_as_wished(run: Run) -> None:
    """The most frequent first."""
    for index in range(4):
        refuse(Rejected("acme", code=f"E{index}"), *(UserTraits(f"u{index}-{user}") for user in range(4 - index)))

    lines = run("rejected", "--limit", "2").lines

    assert [line for line in lines if line.startswith(("Rejected", "…"))] == [
        "Rejected E0 4",
        "Rejected E1 3",
        "… and 2 more",
    ]


@pytest.mark.usefixtures("rejected")
def test_refused_users_are_mended_in_a_file_and_synced_again(run: Run, vendors: Vendors) -> None:
    """The file is for its owner alone, and holds all that the vendor should get."""
    ran = run("rejected", "--output", "refused.jsonl")
    rows = [json.loads(line) for line in Path("refused.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["bio"] = row["bio"][:1024]
    Path("mended.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

    again = run("sync", "mended.jsonl")

    assert stat.S_IMODE(Path("refused.jsonl").stat().st_mode) == 0o600
    assert ran.err == "2 users written to refused.jsonl. Mend the file, and sync it.\n"
    assert "canary" not in ran.out
    assert again.code == 0
    assert "logrocket 2 2 0 0 0 0" in again.lines
    assert vendors.logrocket.users["canary-u1"].email == "canary@example.com"


@pytest.mark.usefixtures("rejected")
def test_rejected_writes_over_no_file(run: Run) -> None:
    """It may be half mended."""
    Path("mine.jsonl").write_text("mine", encoding="utf-8")

    ran, nowhere = run("rejected", "--output", "mine.jsonl"), run("rejected", "--output", "no/folder.jsonl")

    assert (ran.code, nowhere.code) == (2, 2)
    assert "the file exists" in ran.err
    assert "cannot be written: No such file" in nowhere.err
    assert Path("mine.jsonl").read_text(encoding="utf-8") == "mine"


@pytest.mark.usefixtures("rejected")
def test_rejected_writes_to_stdout(run: Run) -> None:
    """Nothing else goes there then."""
    ran, both = run("rejected", "--output", "-"), run("rejected", "--output", "-", "--json")

    assert [json.loads(line)["user_id"] for line in ran.out.splitlines()] == ["canary-u1", "canary-u3"]
    assert ran.err == "2 users written. Mend the file, and sync it.\n"
    assert both.code == 2


def test_users_without_an_id_of_the_applications_own_are_left_out(run: Run) -> None:
    """A row could not name them; that is told."""
    refuse(Rejected("acme", code="E"), UserTraits(vendor_ids={"acme": "7"}), UserTraits("u1"))

    ran = run("rejected", "--output", "refused.jsonl")

    assert ran.err.splitlines() == [
        "1 user written to refused.jsonl. Mend the file, and sync it.",
        "Left out, since they have no id of the application's own: 1 user.",
    ]


def test_a_user_whom_two_backends_refused_is_written_once(tmp_path: Path) -> None:
    """Both are brought up to date by the same row."""
    with (tmp_path / "rows").open("wb") as stream:
        file = RejectedRowsWriter(stream)
        for _ in range(2):
            file.write(UserTraits("u1"))

    assert file.count == 1
    assert (tmp_path / "rows").read_bytes() == b'{"user_id": "u1"}\n'


def test_a_row_reads_back_as_the_user() -> None:
    """As far as JSON has types for the values; a null says nothing against a removal that the ledger has."""
    traits: dict[str, Any] = {
        "id": "another",
        "at": datetime(2026, 11, 21, 8, 30, tzinfo=UTC),
        "on": date(2026, 11, 21),
        "price": Decimal("19.90"),
        "exact": Decimal("0.1234567890123456789"),
        "key": UUID(int=5),
        "large": 2**70,
        "company": {"name": "Größe", "gone": REMOVE},
        "tags": ["a", "b"],
        "gone": REMOVE,
    }

    row = json.loads(row_line(UserTraits("u1", name="Ada", email="ada@example.com", traits=traits)))

    assert row == {
        "user_id": "u1",
        "name": "Ada",
        "email": "ada@example.com",
        "id": "another",
        "at": "2026-11-21T08:30:00Z",
        "on": "2026-11-21",
        "price": 19.9,
        "exact": "0.1234567890123456789",
        "key": "00000000-0000-0000-0000-000000000005",
        "large": 2**70,
        "company": {"name": "Größe", "gone": None},
        "tags": ["a", "b"],
        "gone": None,
    }
    assert UserTraits.from_mapping(row).user_id == "u1"


def test_a_trait_called_as_the_users_own_field_does_not_hide_it() -> None:
    """A mapping can make one."""
    row = json.loads(row_line(UserTraits("u1", traits={"user_id": "another"})))

    assert row == {"user_id": "u1"}


# retry and deliver


@pytest.mark.usefixtures("rejected")
def test_retry_makes_refused_users_due_again_and_deliver_sends_them(run: Run, vendors: Vendors) -> None:
    """With --adapt they go through, with the loss in the books."""
    retried, status = run("retry", "--to", "logrocket"), run("status")
    delivered = run("deliver", "--adapt")

    assert retried.code == 0
    assert retried.out == "logrocket: 2 users due again\n"
    assert retried.err == "To send them: replay-identity deliver --ledger our.db\n"
    assert "logrocket 2 1 0 0 0" in status.lines
    assert delivered.code == 0
    assert "logrocket 2 2 2 0 0 0" in delivered.lines
    assert "logrocket: 2 carried over from earlier runs" in delivered.lines
    assert vendors.logrocket.users["canary-u3"].traits["bio"] == ("canary" * 300)[:1024]


@pytest.mark.usefixtures("rejected")
def test_retry_as_json_says_nothing_more_where_nobody_is_refused(run: Run) -> None:
    """There is nothing to deliver."""
    ran = run("retry", "--json", "--to", "fullstory")

    assert (ran.document, ran.err) == ({"ledger": "our.db", "retried": {"fullstory": 0}}, "")


def test_deliver_sends_what_an_outage_left(run: Run, vendors: Vendors, write: Write) -> None:
    """The same books, the same exit codes."""
    Path("replay-identity.toml").write_text(
        f"[backends.fullstory]\n[backends.logrocket]\n[delivery.logrocket]\n{IMPATIENT}", encoding="utf-8"
    )
    vendors.logrocket.faults.add(Fault(status=503, times=None))
    codes = [run("sync", write(USERS[1:2])).code, run("deliver").code]
    vendors.logrocket.faults.clear()

    delivered = run("deliver", "--json", "--to", "logrocket")

    assert codes == [75, 75]
    assert delivered.code == 0
    assert delivered.document["backends"]["logrocket"]["accepted"] == 1
    assert delivered.document["backends"]["logrocket"]["carried"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_watch_goes_on_until_a_signal(
    run: Run, vendors: Vendors, option: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends what another process puts meanwhile, and says so when that changes how users stand."""
    monkeypatch.setattr("replay_identity.cli.sync.EVERY", 0.05)

    looks: list[object] = []
    counts = Ledger.counts

    def look(ledger: Ledger) -> Any:
        looks.append(None)
        return counts(ledger)

    monkeypatch.setattr(Ledger, "counts", look)

    def put() -> None:
        try:
            with Ledger("our.db") as ledger:
                ledger.upsert([UserTraits("canary-u1", traits={"plan": "canary"})], ["fullstory", "logrocket"])
                while any(standing.pending for standing in counts(ledger)):
                    time.sleep(0.01)
            # The next look shows it, and the one after that comes when it is told.
            before = len(looks)
            while len(looks) < before + 2:
                time.sleep(0.01)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    app = threading.Timer(0.3, put)
    app.start()

    ran = run("deliver", "--watch", *option)

    app.join()
    assert ran.code == 143
    assert vendors.logrocket.users["canary-u1"].traits == {"plan": "canary"}
    assert ran.err.startswith("Delivering what is due in our.db, until Ctrl-C.\n")
    assert ran.err.count("logrocket: 0 due, 1 held, 0 refused\n") == 1
    assert ran.err.endswith("Stopped. Nothing is lost; to go on: replay-identity deliver --ledger our.db --watch\n")
    if option:
        assert ran.document["backends"]["logrocket"]["held"] == 1
    else:
        assert "logrocket 0 1 0 0 0" in ran.lines
    assert "canary" not in ran.out + ran.err


@pytest.mark.slow
def test_watch_outlives_an_outage_in_a_process_of_its_own(run: Run, vendors: Vendors, write: Write) -> None:
    """Ctrl-C ends it in good order."""
    assert run("sync", write(USERS[1:2]), "--to", "fullstory").code == 0
    with Ledger("our.db") as ledger:
        ledger.upsert([UserTraits("canary-u9", traits={"plan": "pro"})], ["logrocket"])
    vendors.logrocket.faults.add(Fault(status=503, times=3))
    command = [sys.executable, "-c", MAIN, "deliver", "--watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while "canary-u9" not in vendors.logrocket.users:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "our.db" in out
    assert "Traceback" not in err
