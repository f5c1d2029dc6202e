"""`replay-identity forget` with several users, a file of users, and e-mail addresses."""

import gzip
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest
from support.commands import RunCommand, WriteRows
from support.vendors import Vendors

from replay_identity import deletion
from replay_identity.deletion import DeletionReceipt
from replay_identity.emulator import Fault
from replay_identity.ledger import Batch, JobEntry, Ledger

IDS: Final = [f"canary-u{number}" for number in range(1, 6)]
USERS: Final[list[dict[str, Any]]] = [{"id": user_id, "plan": "canary-pro"} for user_id in IDS]
EMAIL: Final = "canary-ada@example.com"

pytestmark = pytest.mark.usefixtures("our_ledger")


@pytest.fixture
def synced(run: RunCommand, vendors: Vendors, write: WriteRows) -> Vendors:
    """Return both vendors after a sync of five users."""
    assert run("sync", write(USERS)).code == 0
    return vendors


def left(vendors: Vendors) -> list[str]:
    """Return the ids that Fullstory still has."""
    return sorted(
        user.uid for user in vendors.fullstory.users.values() if user.uid and vendors.fullstory.by_uid(user.uid)
    )


def known(ledger: str = "our.db") -> list[int]:
    """Return the number of users that the ledger knows for each backend."""
    with Ledger(ledger) as opened:
        return [backend.confirmed for backend in opened.counts()]


# Several ids


def test_several_ids_are_forgotten_at_once(forget: RunCommand, synced: Vendors) -> None:
    """By the ledger and by every vendor; the others stay."""
    result = forget(*IDS[:3], "--yes")

    assert result.code == 0
    assert left(synced) == IDS[3:]
    assert synced.logrocket.excluded == {("user_id", user_id) for user_id in IDS[:3]}
    assert known() == [2, 2]
    assert [line.split() for line in result.lines[:1]] == [["3", "users"]]
    assert [line.split() for line in result.lines[3:5]] == [["fullstory", "3"], ["logrocket", "3"]]


@pytest.mark.usefixtures("interactive")
def test_it_asks_once_for_all_of_them(forget: RunCommand, synced: Vendors) -> None:
    """With the number of users, and what happens at each vendor."""
    result = forget(*IDS[:2], "--email", EMAIL, stdin=b"y\n")

    assert result.code == 1
    assert result.err.count("[y/N]") == 1
    stops = "irreversibly, and stops recording them until they are included again"
    assert result.err.splitlines()[:6] == [
        "our.db: deletes everything about 2 users",
        "fullstory: deletes 2 users and all their sessions, irreversibly",
        f"logrocket: deletes all sessions of 2 users, {stops}",
        "our.db: finds users by their ids only, so nobody is deleted by an e-mail address",
        "fullstory: cannot delete users by their e-mail address; nothing is sent",
        f"logrocket: deletes all sessions of everybody with the e-mail address, {stops}",
    ]
    assert left(synced) == IDS[2:]


@pytest.mark.usefixtures("interactive")
def test_another_answer_forgets_nobody(forget: RunCommand, synced: Vendors) -> None:
    """Whatever the number of addresses."""
    result = forget("--email", EMAIL, "--email", f"x{EMAIL}", stdin=b"n\n")

    assert result.code == 1
    assert "one of 2 e-mail addresses" in result.err
    assert not synced.logrocket.excluded


def test_json_has_the_receipts_of_each(forget: RunCommand, synced: Vendors) -> None:
    """With the place of each user in the input, and the counts."""
    del synced

    result = forget(*IDS[:2], "--yes", "--json")

    assert [user["place"] for user in result.document["users"]] == ["argument 1", "argument 2"]
    assert [[each["status"] for each in user["receipts"]] for user in result.document["users"]] == [
        ["requested"] * 2
    ] * 2
    assert result.document["counts"] == {"fullstory": {"requested": 2}, "logrocket": {"requested": 2}}
    assert result.document["ledger"] == str(Path("our.db").resolve())


def test_forgetting_again_is_safe(forget: RunCommand, synced: Vendors) -> None:
    """As with one user."""
    del synced

    assert [forget(*IDS, "--yes").code for _ in range(2)] == [0, 0]


# A file


FILES: Final = {
    "ids.txt": b"canary-u1\ncanary-u2\n",
    "blank.txt": b"\ncanary-u1\n \ncanary-u2\n\n",
    "repeated.txt": b"canary-u1\ncanary-u2\ncanary-u1\n",
    "repeated.csv": b"id,plan\ncanary-u1,pro\ncanary-u1,free\ncanary-u2,pro\n",
    "ids": b"\xef\xbb\xbfcanary-u1\r\ncanary-u2",
    "ids.list": "canary-u1\ncanary-u2\n".encode("utf-16"),
    "ids.txt.gz": gzip.compress(b"canary-u1\ncanary-u2\n"),
    "users.csv": b"User ID,plan\ncanary-u1,pro\ncanary-u2,free\n",
    "users.jsonl": b'{"id": "canary-u1", "plan": "x"}\n{"id": "canary-u2"}\n',
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_names_the_users(forget: RunCommand, synced: Vendors, name: str) -> None:
    """One id on each line, or users in a format that can be read."""
    Path(name).write_bytes(FILES[name])

    assert forget("--from", name, "--yes").code == 0
    assert left(synced) == IDS[2:]


OPTIONS: Final = {
    "--format csv": b"id,plan\ncanary-u1,pro\n",
    "--format csv --mapping m.toml": b"key,plan\ncanary-u1,pro\n",
    "--format csv --delimiter ^": b"id^plan\ncanary-u1^pro\n",
    "--format csv --encoding windows-1252": "id,plan\ncanary-u1,pr\xf6\n".encode("windows-1252"),
    "--encoding utf-16-le": "canary-u1\n".encode("utf-16-le"),
    "--format json --path data.users": b'{"data": {"users": [{"id": "canary-u1"}]}}',
    "--format jsonl --preset segment": b'{"type": "identify", "userId": "canary-u1", "traits": {"plan": "pro"}}\n',
}


@pytest.mark.parametrize("options", OPTIONS)
def test_options_say_how_to_read_a_file(forget: RunCommand, synced: Vendors, options: str) -> None:
    """As for `sync`."""
    Path("m.toml").write_text('user_id = "key"\n', encoding="utf-8")
    Path("users.txt").write_bytes(OPTIONS[options])

    assert forget("--from", "users.txt", *options.split(), "--yes").code == 0
    assert left(synced) == IDS[1:]


def test_it_says_how_the_file_was_read(forget: RunCommand, synced: Vendors) -> None:
    """Before it asks."""
    Path("users.csv").write_text("Id,plan\ncanary-u1,pro\ncanary-u2,free\n", encoding="utf-8")
    Path("m.toml").write_text('where = {plan = "pro"}\n', encoding="utf-8")

    result = forget("--from", "users.csv", "--mapping", "m.toml", "--yes")

    assert result.code == 0
    assert "Note: column Id is read as id" in result.err
    assert "Note: 1 row left out by where" in result.err
    assert left(synced) == IDS[1:]


def test_a_mapping_that_does_not_fit_deletes_nobody(forget: RunCommand, synced: Vendors) -> None:
    """Other users may be meant."""
    Path("users.jsonl").write_text('{"id": "canary-u1"}\n', encoding="utf-8")
    Path("m.toml").write_text("[fields.snn]\ndrop = true\n", encoding="utf-8")

    result = forget("--from", "users.jsonl", "--mapping", "m.toml", "--yes")

    assert result.code == 2
    assert "the mapping names snn, which no row has" in result.err
    assert left(synced) == IDS


def test_a_query_names_the_users(forget: RunCommand, synced: Vendors) -> None:
    """As for `sync`, and with the confirmation for several."""
    query = "SELECT 'canary-u' || number AS id FROM (VALUES (1), (2), (1)) AS ids(number)"

    result = forget("--sql", query, "--yes", "--json")

    assert result.code == 0
    assert [user["place"] for user in result.document["users"]] == ["line 1", "line 2"]
    assert left(synced) == IDS[2:]


@pytest.mark.parametrize("name", ["ids.txt", "ids", "ids.txt.gz", "users.csv"])
def test_a_url_names_the_users(forget: RunCommand, synced: Vendors, name: str) -> None:
    """As a file does, whatever the settings of the URL."""
    memory: Any = import_module("fsspec").filesystem("memory")
    memory.pipe(name, FILES[name])

    assert forget("--from", f"memory://{name}", "--yes").code == 0
    assert left(synced) == IDS[2:]


@pytest.mark.parametrize(
    "url",
    [
        "https://u:canary-7Q@127.0.0.1:1/ids.csv",
        "https://127.0.0.1:1/ids.txt?token=canary-7Q",
        "http:/u:canary-7Q@127.0.0.1:1/ids.txt",
        "postgresql://u:canary/7Q@127.0.0.1:1/app",
        "postgres//u:canary-7Q@127.0.0.1:1/app",
    ],
)
def test_a_secret_in_the_url_is_not_printed(forget: RunCommand, synced: Vendors, url: str) -> None:
    """Nor is anybody deleted."""
    result = forget("--from", url, "--yes")

    assert result.code == 2
    assert "7Q" not in result.out + result.err
    assert left(synced) == IDS


@pytest.mark.parametrize("arguments", [[IDS[0], IDS[1], IDS[0]], ["--email", EMAIL, "--email", EMAIL, IDS[0]]])
def test_a_repeated_user_is_deleted_once(forget: RunCommand, synced: Vendors, arguments: list[str]) -> None:
    """And the repetition is counted."""
    del synced

    result = forget(*arguments, "--yes", "--json")

    assert "1 repetition of a user left out." in result.err
    assert len(result.document["users"]) == 2


def test_standard_input_is_a_list(forget: RunCommand, synced: Vendors) -> None:
    """Beside ids in the arguments."""
    result = forget(IDS[0], "--from", "-", "--yes", "--json", stdin=b"canary-u2\ncanary-u3\n")

    assert [user["place"] for user in result.document["users"]] == ["argument 1", "line 1", "line 2"]
    assert left(synced) == IDS[3:]


def test_standard_input_cannot_also_confirm(forget: RunCommand, synced: Vendors) -> None:
    """The answer would be read as an id."""
    result = forget("--from", "-", stdin=b"canary-u2\n")

    assert result.code == 2
    assert "--yes" in result.err
    assert left(synced) == IDS


BAD_LISTS: Final = {
    "an id with blanks": (b"canary-u1 \n", ["line 1: there are blanks around the id"]),
    "bytes that are not text": (b"canary-u1\n\xff\xfa\n", ["line 2: not valid UTF-8"]),
    "quotes": (b"'canary-u1'\n\"canary-u2\"\ncanary-u3`\n", [f"line {n}: there are quotes" for n in (1, 2, 3)]),
    "other quotes": ("“canary-u1”\n«canary-u2»\n".encode(), [f"line {n}: there are quotes" for n in (1, 2)]),
    "a header": (b"User ID\ncanary-u1\n", ["line 1: this looks like a header"]),
    "a header below a blank line": (b"\ncustomer_id\ncanary-u1\n", ["line 2: this looks like a header"]),
    "a header between lists": (b"canary-u1\nmemberId\ncanary-u2\n", ["line 2: this looks like a header"]),
    "a header in German": (b"Kundennummer\n4711\n", ["line 1: this looks like a header"]),
    "a header in any language": (b"Cliente\nu1\ncu_2\n4711\n", ["line 1: this looks like a header"]),
    "a table": (b"user_id,email\ncanary-u1,a@example.com\n", ["line 1: this is not a single id", "line 2: this is"]),
    "objects": (b'{"id": "canary-u1"}\n# canary-u2\n', ["line 1: this is not a single id", "line 2: this is not"]),
    "several": (b"canary-u1 \nid,a\n", ["line 1: there are blanks", "line 2: this is not a single id"]),
}


@pytest.mark.parametrize(("content", "problems"), BAD_LISTS.values(), ids=list(BAD_LISTS))
def test_a_bad_list_deletes_nobody(forget: RunCommand, synced: Vendors, content: bytes, problems: list[str]) -> None:
    """Each problem is named by its line."""
    Path("ids.txt").write_bytes(content)

    result = forget("--from", "ids.txt", "--yes")

    assert result.code == 2
    assert [line for line, problem in zip(result.err.splitlines(), problems, strict=False) if line.startswith(problem)]
    assert len(result.err.splitlines()) == len(problems) + 1
    assert left(synced) == IDS
    assert known() == [5, 5]


@pytest.mark.parametrize("ids", [["david", "test-user", "O'Brien"], ["alice", "b1", "bob"], ["alice"], ["a1", "b2"]])
def test_an_id_in_words_is_no_header(forget: RunCommand, vendors: Vendors, ids: list[str]) -> None:
    """Unless all others have numbers."""
    del vendors
    Path("ids.txt").write_text("\n".join(ids), encoding="utf-8")

    result = forget("--from", "ids.txt", "--yes", "--json")

    assert result.code == 0
    assert len(result.document["users"]) == len(ids)


def test_a_line_that_is_too_long_is_named(forget: RunCommand, synced: Vendors, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be an id."""
    monkeypatch.setattr("replay_identity.sources.lines.MAX_LINE", 10)
    Path("ids.txt").write_bytes(b"c" * 20)

    result = forget("--from", "ids.txt", "--yes")

    assert result.code == 2
    assert result.err.startswith("line 1: is longer than ")
    assert left(synced) == IDS


def test_a_bad_row_deletes_nobody(forget: RunCommand, synced: Vendors) -> None:
    """The error names its line."""
    Path("users.csv").write_text("id,plan\ncanary-u1,a\n,b\n", encoding="utf-8")

    result = forget("--from", "users.csv", "--yes")

    assert result.code == 2
    assert result.err.startswith("line 3: ")
    assert left(synced) == IDS


def test_many_problems_are_only_counted(forget: RunCommand, vendors: Vendors) -> None:
    """After the first twenty."""
    del vendors
    Path("ids.txt").write_bytes(b"a,b\n" * 25)

    result = forget("--from", "ids.txt", "--yes")

    assert result.err.splitlines()[20:] == ["… and 5 more", "25 problems; nobody was deleted."]


@pytest.mark.usefixtures("vendors")
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "expected an id"),
        (["--from", "empty.txt"], "names no user"),
        (["--from", "missing.txt"], "No such file"),
        (["canary-u1", ""], "argument 2: the id is empty"),
        (["--email", "canary"], "e-mail address 1: no e-mail address"),
    ],
)
def test_wrong_usage_deletes_nobody(forget: RunCommand, arguments: list[str], problem: str) -> None:
    """The error names the place."""
    Path("empty.txt").touch()

    result = forget(*arguments, "--yes")

    assert result.code == 2
    assert problem in " ".join(result.err.split())


# E-mail addresses


def test_an_address_is_excluded_where_possible(forget: RunCommand, synced: Vendors) -> None:
    """LogRocket excludes by address; a vendor that cannot is named."""
    result = forget("--email", EMAIL, "--yes", "--json")

    assert result.code == 1
    assert synced.logrocket.excluded == {("email", EMAIL)}
    (user,) = result.document["users"]
    assert user["place"] == "e-mail address 1"
    assert [receipt["status"] for receipt in user["receipts"]] == ["unsupported", "requested"]
    assert left(synced) == IDS


def test_an_address_beside_an_id_leaves_nothing_unsaid(forget: RunCommand, synced: Vendors) -> None:
    """The table names the users that a vendor could not delete."""
    del synced

    result = forget(IDS[0], "--email", EMAIL, "--yes")

    assert result.code == 1
    assert "not deleted" in result.out
    assert any(line.startswith("e-mail address 1 ") and " unsupported " in line for line in result.lines)


# Failures and interruptions


@pytest.mark.usefixtures("one_attempt")
def test_one_failure_does_not_stop_the_rest(forget: RunCommand, synced: Vendors) -> None:
    """The failure is named by its place, and running the command again asks for it again."""
    Path("ids.txt").write_text("\n".join(IDS), encoding="utf-8")
    synced.logrocket.faults.add(Fault(status=503))

    result = forget("--from", "ids.txt", "--yes")

    assert result.code == 75
    assert any(line.split()[:4] == ["line", "1", "logrocket", "failed"] for line in result.lines)
    assert len(synced.logrocket.excluded) == 4
    assert "Run the command again" in result.err
    assert forget("--from", "ids.txt", "--yes").code == 0
    assert len(synced.logrocket.excluded) == 5


def test_a_user_in_flight_is_postponed_alone(forget: RunCommand, synced: Vendors) -> None:
    """The others are deleted."""
    with Ledger("our.db") as ledger:
        ledger.start_job("fullstory", Batch("key", [JobEntry(1, 1, IDS[0])], b"body"))

    result = forget(*IDS, "--yes")

    assert result.code == 75
    assert left(synced) == IDS[:1]
    assert "Nothing was sent about some users" in result.err


def test_an_interruption_says_how_far_it_got(
    forget: RunCommand, synced: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who were handled are, and the command can be run again."""

    def forget_users(user_ids: list[str], *arguments: Any, on_receipts: Any, **options: Any) -> Any:
        def interrupt(receipts: tuple[DeletionReceipt, ...]) -> None:
            on_receipts(receipts)
            raise KeyboardInterrupt

        return deletion_of_users(user_ids, *arguments, on_receipts=interrupt, **options)

    deletion_of_users = deletion.forget_users
    monkeypatch.setattr("replay_identity.cli.forget.deletion.forget_users", forget_users)

    result = forget(*IDS, "--yes")

    assert result.code == 130
    assert "1 of 5 users were handled" in result.err
    assert left(synced) == IDS[1:]


@pytest.mark.usefixtures("interactive", "only_acme")
def test_the_prompt_names_vendors_that_cannot(forget: RunCommand) -> None:
    """And a ledger that does not exist."""
    result = forget(*IDS[:2], stdin=b"y\n")

    assert result.code == 1
    assert "our.db: does not exist" in result.err
    assert "acme: cannot delete users" in result.err
