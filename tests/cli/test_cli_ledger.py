"""`replay-identity status`, `rejected`, `retry` and `deliver`."""

import json
import os
import signal
import stat
import threading
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import CommandResult, RunCommand, WriteRows, start_command
from support.servers import silent_port
from support.vendors import Vendors

from replay_identity import REMOVE, UserTraits, read_users
from replay_identity.cli.ledger import RejectedRowsWriter, encode_row, find_prefix, prefix_mapping
from replay_identity.emulator import Fault
from replay_identity.ledger import Ledger, Settlement
from replay_identity.mapping import load_mapping, mapping_text
from replay_identity.outcomes import Broken, Rejected
from replay_identity.sources import Row

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
def rejected(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """Sync three users; LogRocket's limits reject two of them."""
    del vendors
    assert run("sync", write(USERS)).code == 1


def reject(rejection: Rejected | Broken, *users: UserTraits) -> None:
    """Write a ledger in which acme rejected *users*."""
    with Ledger("our.db") as ledger:
        ledger.upsert(users, ["acme"])
        ledger.settle("acme", [Settlement(claim.row_id, claim.version, rejection) for claim in ledger.claim("acme")])


def counts_of(result: CommandResult, backend: str) -> list[int]:
    """Return the counts in the table's row of *backend*."""
    (row,) = [line for line in result.lines if line.startswith(f"{backend} ") and ":" not in line.split()[0]]
    return [int(cell) for cell in row.split()[-5:]]


# All of them


@pytest.mark.parametrize("command", ["status", "rejected", "retry", "deliver"])
def test_a_missing_ledger_is_not_created(run: RunCommand, vendors: Vendors, command: str) -> None:
    """Its name is probably a typing error."""
    del vendors

    result = run(command)

    assert result.code == 2
    assert result.err.startswith("our.db: ")
    assert "--ledger" in result.err
    assert not list(Path().iterdir())


@pytest.mark.parametrize("command", ["rejected", "retry"])
@pytest.mark.usefixtures("rejected")
def test_an_unknown_backend_is_wrong_usage(run: RunCommand, command: str) -> None:
    """The error lists the backends in the ledger."""
    result = run(command, "--to", "acme")

    assert result.code == 2
    assert "fullstory, logrocket" in result.message


# status


@pytest.mark.usefixtures("rejected")
def test_status_counts_users_by_state(run: RunCommand) -> None:
    """It needs no key."""
    result = run("status", env={"FULLSTORY_API_KEY": "", "LOGROCKET_API_KEY": ""})

    assert result.code == 0
    assert result.lines[0] == "our.db"
    assert counts_of(result, "fullstory") == [0, 3, 0, 0, 0]
    assert counts_of(result, "logrocket") == [0, 1, 2, 0, 0]


@pytest.mark.usefixtures("rejected")
def test_a_long_path_is_not_wrapped(run: RunCommand) -> None:
    """It can be copied."""
    path = Path("deep" * 30, "our.db")
    path.parent.mkdir()
    Path("our.db").rename(path)

    assert run("status", "--ledger", str(path)).lines[0] == str(path)


@pytest.mark.usefixtures("rejected")
def test_status_as_json(run: RunCommand) -> None:
    """The counts are grouped by backend, and name its account."""
    result = run("status", "--json")

    assert result.document["ledger"] == "our.db"
    counts = result.document["backends"]["logrocket"]
    assert counts.pop("account").endswith("/acme/shop")
    assert counts == {
        "pending": 0,
        "confirmed": 1,
        "rejected": 2,
        "lossy": 0,
        "jobs": 0,
    }


# rejected


@pytest.mark.usefixtures("rejected")
def test_rejected_shows_reasons_without_ids(run: RunCommand) -> None:
    """A reason has the limit, the largest value found and the number of users."""
    result = run("rejected")

    assert result.code == 0
    assert result.lines[:2] == ["fullstory: 0 users rejected", "logrocket: 2 users rejected"]
    assert "traits.bio trait-value-length 1,024 UTF-16 units 1,800 2" in result.lines
    assert "canary" not in result.out + result.err


@pytest.mark.usefixtures("rejected")
def test_rejected_of_one_backend_as_json(run: RunCommand) -> None:
    """It has the keys of a sync report."""
    result = run("rejected", "--json", "--to", "logrocket")

    assert result.document == {
        "ledger": "our.db",
        "backends": {
            "logrocket": {
                "rejected": 2,
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


def test_rejected_shows_the_vendors_message(run: RunCommand) -> None:
    """For a bug in an adapter, it shows the location."""
    reject(Rejected("acme", code="HTTP 400", message="no such plan"), UserTraits("canary-1"), UserTraits("canary-2"))
    reject(Broken("acme", "KeyError at adapter.py:7"), UserTraits("canary-3"))

    result = run("rejected")

    assert "acme: 3 users rejected" in result.lines
    assert "Rejected HTTP 400: no such plan 2" in result.lines
    assert "Broken KeyError at adapter.py:7 1" in result.lines


def test_rejected_limits_the_lines_of_a_table(run: RunCommand) -> None:
    """The most frequent reasons come first."""
    for index in range(4):
        reject(Rejected("acme", code=f"E{index}"), *(UserTraits(f"u{index}-{user}") for user in range(4 - index)))

    lines = run("rejected", "--limit", "2").lines

    assert [line for line in lines if line.startswith(("Rejected", "…"))] == [
        "Rejected E0 4",
        "Rejected E1 3",
        "… and 2 more",
    ]


@pytest.mark.usefixtures("rejected")
def test_rejected_users_can_be_fixed_and_synced(run: RunCommand, vendors: Vendors) -> None:
    """Only the owner can read the file, which contains the complete users."""
    result = run("rejected", "--output", "rejected.jsonl")
    rows = [json.loads(line) for line in Path("rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["bio"] = row["bio"][:1024]
    Path("fixed.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

    again = run("sync", "fixed.jsonl")

    assert stat.S_IMODE(Path("rejected.jsonl").stat().st_mode) == 0o600
    assert "Wrote 2 users to rejected.jsonl." in result.err
    assert "canary" not in result.out
    assert again.code == 0
    assert "logrocket 2 2 0 0 0 0" in again.lines
    assert vendors.logrocket.users["canary-u1"].email == "canary@example.com"


@pytest.mark.usefixtures("rejected")
def test_rejected_overwrites_no_file(run: RunCommand) -> None:
    """It may contain fixes; a file that cannot be created is wrong usage, too."""
    Path("mine.jsonl").write_text("mine", encoding="utf-8")

    existing, missing = run("rejected", "--output", "mine.jsonl"), run("rejected", "--output", "no/folder.jsonl")

    assert (existing.code, missing.code) == (2, 2)
    assert "the file exists" in existing.message
    assert "cannot be written: No such file" in missing.message
    assert Path("mine.jsonl").read_text(encoding="utf-8") == "mine"


@pytest.mark.usefixtures("rejected")
def test_rejected_writes_to_stdout(run: RunCommand) -> None:
    """Nothing else is printed there."""
    result, both = run("rejected", "--output", "-"), run("rejected", "--output", "-", "--json")

    assert [json.loads(line)["user_id"] for line in result.out.splitlines()] == ["canary-u1", "canary-u3"]
    assert "Wrote 2 users." in result.err
    assert both.code == 2


def test_users_without_an_own_id_are_left_out(run: RunCommand) -> None:
    """A row could not identify them; a note says so."""
    reject(Rejected("acme", code="E"), UserTraits(vendor_ids={"acme": "7"}), UserTraits("u1"))

    result = run("rejected", "--output", "rejected.jsonl")

    assert "Wrote 1 user to rejected.jsonl." in result.err
    assert "Left out 1 user" in result.err


def test_a_user_rejected_twice_is_written_once(tmp_path: Path) -> None:
    """One row brings both backends up to date."""
    with (tmp_path / "rows").open("wb") as stream:
        writer = RejectedRowsWriter(stream)
        for _ in range(2):
            writer.write(UserTraits("u1"))

    assert writer.count == 1
    assert (tmp_path / "rows").read_bytes() == b'{"user_id": "u1"}\n'


def test_a_row_reads_back_as_the_user() -> None:
    """Values without a JSON type become strings, and a removal becomes null."""
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

    row = json.loads(encode_row(UserTraits("u1", name="Ada", email="ada@example.com", traits=traits)))

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


OWN_NAMES = (
    "user_id",
    "uid",
    "id",
    "name",
    "display_name",
    "email",
    "User ID",
    "Name",
    "E-Mail",
    "own_user_id",
    "plan",
)


@given(
    users=st.dictionaries(
        st.sampled_from(["u1", "u2", "u3"]),
        st.builds(
            UserTraits,
            name=st.sampled_from([None, "Ada"]),
            email=st.sampled_from([None, "ada@example.com"]),
            traits=st.dictionaries(st.sampled_from(OWN_NAMES), st.sampled_from(["x", 1, True, ["a"], {"id": "y"}])),
        ),
        min_size=1,
    )
)
def test_written_users_are_read_back(users: dict[str, UserTraits]) -> None:
    """Also those with traits that are named like own fields, in any spelling."""
    users = {user_id: attrs.evolve(user, user_id=user_id) for user_id, user in users.items()}
    prefix = find_prefix({name for user in users.values() for name in user.traits})
    with TemporaryDirectory() as folder:
        path, mapping = Path(folder, "rows.jsonl"), Path(folder, "mapping.toml")
        path.write_bytes(b"".join(encode_row(user, prefix) for user in users.values()))
        mapping.write_text(mapping_text(prefix_mapping(prefix)), encoding="utf-8")

        rows = list(read_users(path, mapping=load_mapping(mapping) if prefix else None))

    assert [row.user for row in rows if isinstance(row, Row)] == list(users.values())


def test_rejected_traits_named_like_own_fields_are_kept(run: RunCommand, tmp_path: Path) -> None:
    """A mapping, which is written beside the rows, tells them from the user's own fields."""
    user = UserTraits("u1", traits={"user_id": "another", "Name": "x"})
    reject(Rejected("acme", code="HTTP 400"), user)

    result, to_stdout = run("rejected", "--output", "rows.jsonl"), run("rejected", "--output", "-")

    assert "--mapping rows.jsonl.mapping.toml" in result.err
    rows = read_users("rows.jsonl", mapping=load_mapping(tmp_path / "rows.jsonl.mapping.toml"))
    assert [row.user for row in rows if isinstance(row, Row)] == [user]
    assert to_stdout.code == 2
    assert "name a file" in to_stdout.err


# retry and deliver


@pytest.mark.usefixtures("rejected")
def test_retry_makes_rejected_users_pending(run: RunCommand, vendors: Vendors) -> None:
    """`deliver --adapt` then sends them with a loss."""
    retried, status = run("retry", "--to", "logrocket"), run("status")
    delivered = run("deliver", "--adapt")

    assert retried.code == 0
    assert retried.out == "logrocket: 2 users pending again\n"
    assert "replay-identity deliver --ledger our.db\n" in retried.err
    assert counts_of(status, "logrocket") == [2, 1, 0, 0, 0]
    assert delivered.code == 0
    assert "logrocket 2 2 2 0 0 0" in delivered.lines
    assert "logrocket: 2 users carried over from earlier runs" in delivered.lines
    assert vendors.logrocket.users["canary-u3"].traits["bio"] == ("canary" * 300)[:1024]


@pytest.mark.usefixtures("rejected")
def test_retry_without_rejected_users_gives_no_advice(run: RunCommand) -> None:
    """There is nothing to send."""
    result = run("retry", "--json", "--to", "fullstory")

    assert (result.document, result.err) == ({"ledger": "our.db", "retried": {"fullstory": 0}}, "")


def test_deliver_sends_users_pending_after_an_outage(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """The report and the exit codes are those of sync."""
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
def test_watch_delivers_until_a_signal(
    run: RunCommand, vendors: Vendors, option: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends users that another process upserts, and prints counts when they change."""
    monkeypatch.setattr("replay_identity.cli.sync.PROGRESS_INTERVAL_S", 0.05)
    reads: list[object] = []
    counts = Ledger.counts

    def observed_counts(ledger: Ledger) -> Any:
        reads.append(None)
        return counts(ledger)

    monkeypatch.setattr(Ledger, "counts", observed_counts)

    def upsert() -> None:
        try:
            with Ledger("our.db") as ledger:
                ledger.upsert([UserTraits("canary-u1", traits={"plan": "canary"})], ["fullstory", "logrocket"])
                while any(backend.pending for backend in counts(ledger)):
                    time.sleep(0.01)
            # The next read returns the new counts, and by the one after that they are printed.
            before = len(reads)
            while len(reads) < before + 2:
                time.sleep(0.01)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    app = threading.Timer(0.3, upsert)
    app.start()

    result = run("deliver", "--watch", *option)

    app.join()
    assert result.code == 143
    assert vendors.logrocket.users["canary-u1"].traits == {"plan": "canary"}
    assert result.err.count("logrocket: 0 pending, 1 confirmed, 0 rejected\n") == 1
    assert result.err.endswith("replay-identity deliver --ledger our.db --watch\n")
    if option:
        assert result.document["backends"]["logrocket"]["confirmed"] == 1
    else:
        assert counts_of(result, "logrocket") == [0, 1, 0, 0, 0]
    assert "canary" not in result.out + result.err


@pytest.mark.slow
def test_watch_survives_an_outage(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """Ctrl-C ends it with a summary, here in a separate process."""
    assert run("sync", write(USERS[1:2]), "--to", "fullstory").code == 0
    with Ledger("our.db") as ledger:
        ledger.upsert([UserTraits("canary-u9", traits={"plan": "pro"})], ["logrocket"])
    vendors.logrocket.faults.add(Fault(status=503, times=3))
    with start_command("deliver", "--watch") as process:
        while "canary-u9" not in vendors.logrocket.users:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "our.db" in out
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize("signals", [1, 2])
@pytest.mark.usefixtures("vendors")
def test_watch_ends_without_a_response(monkeypatch: pytest.MonkeyPatch, signals: int) -> None:
    """The first Ctrl-C waits ten seconds for the vendor, the second not at all; both say what is left."""
    settings = "[backends.logrocket]\n[delivery.logrocket]\ntimeout = 300\n"
    Path("replay-identity.toml").write_text(settings, encoding="utf-8")
    with Ledger("our.db") as ledger:
        ledger.upsert([UserTraits("canary-u9", traits={"plan": "pro"})], ["logrocket"])
    with silent_port() as port:
        monkeypatch.setenv("LOGROCKET_BASE_URL", f"http://127.0.0.1:{port}")
        with start_command("deliver", "--watch") as process:
            assert process.stderr is not None
            while "1 pending" not in process.stderr.readline():
                assert process.poll() is None
            time.sleep(0.5)  # Usually the request is in flight by now.
            for _ in range(signals):
                process.send_signal(signal.SIGINT)
                time.sleep(0.2)
            out, err = process.communicate(timeout=120)

    assert process.returncode == 130
    assert "logrocket 1 0 0 0 0" in " ".join(out.split())
    assert "Stopped; pending users: 1." in err
    assert "Traceback" not in err
    assert "canary" not in out + err
