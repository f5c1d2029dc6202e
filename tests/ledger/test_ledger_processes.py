"""Several processes, forks and threads share one ledger."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from support.ledgers import A, B, deliver, settle
from support.users import user

from replay_identity import Accepted
from replay_identity.errors import LedgerError
from replay_identity.ledger import Ledger, database
from replay_identity.ledger.lease import take_lease

# Python warns of forks while threads run, and other tests may have left threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the ledger."""
    return tmp_path / "ledger.db"


@contextmanager
def process(script: str, *arguments: object) -> Generator["subprocess.Popen[str]"]:
    """Run *script* in another Python with the same path, and kill it at the end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def line_of(running: "subprocess.Popen[str]") -> str:
    """Return the next line that a process prints."""
    assert running.stdout is not None
    return running.stdout.readline().strip()


def send_line(running: "subprocess.Popen[str]") -> None:
    """Write a line to a waiting process."""
    assert running.stdin is not None
    running.stdin.write("\n")
    running.stdin.flush()


# Several processes.

UPSERT_MANY = """
import sys
from support.ledgers import A
from support.users import user
from replay_identity.ledger import Ledger

path, mine = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
with Ledger(path) as ledger:
    for number in range(40):
        ledger.upsert([user(f"{mine}-{number}"), user("shared", **{f"by_{mine}": number})], [A])
print("done", flush=True)
"""


def test_concurrent_processes_lose_nothing(path: Path) -> None:
    """All of them may create the file and upsert the same user."""
    with (
        process(UPSERT_MANY, path, 1) as one,
        process(UPSERT_MANY, path, 2) as two,
        process(UPSERT_MANY, path, 3) as three,
    ):
        everyone = (one, two, three)
        assert [line_of(each) for each in everyone] == ["ready"] * 3
        for each in everyone:
            send_line(each)
        assert [line_of(each) for each in everyone] == ["done"] * 3

    with Ledger(path) as ledger:
        users = {claim.user.user_id: claim.user for claim in ledger.claim(A)}
    assert len(users) == 121
    assert users["shared"] == user("shared", by_1=39, by_2=39, by_3=39)


OPEN_MANY = """
import sys, time
from pathlib import Path
from support.ledgers import A
from support.users import user
from replay_identity.ledger import Ledger

path, mine = sys.argv[1:]
print("ready", flush=True)
for number in range(25):
    while not Path(f"{path}.{number}.go").exists():
        time.sleep(0.0002)
    with Ledger(f"{path}.{number}") as ledger:
        ledger.upsert([user(mine)], [A])
    print("done", flush=True)
"""


@pytest.mark.slow
def test_processes_may_create_a_ledger_together(path: Path) -> None:
    """One creates the tables, and the other never takes a half-made file for another program's."""
    with process(OPEN_MANY, path, 1) as one, process(OPEN_MANY, path, 2) as two:
        assert line_of(one) == line_of(two) == "ready"
        for number in range(25):
            Path(f"{path}.{number}.go").touch()
            assert line_of(one) == line_of(two) == "done"
            with Ledger(f"{path}.{number}") as ledger:
                assert ledger.pending_count(A) == 2


KILLED = """
import os, signal, sys
from support.ledgers import A
from support.users import user
from replay_identity.ledger import Ledger

ledger = Ledger(sys.argv[1])
ledger.upsert([user("stored")], [A])
with ledger._store._database.transaction() as db:
    db.execute("DELETE FROM pending")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@needs_fork
def test_a_killed_process_keeps_what_it_stored(path: Path) -> None:
    """Its open transaction is rolled back, and no other process is kept waiting."""
    with process(KILLED, path) as killed:
        assert killed.wait(60) != 0

    with Ledger(path) as ledger:
        assert [sent.user_id for sent in deliver(ledger)] == ["stored"]


SETTLE = """
import sys
from support.ledgers import A, claim_one, settle
from replay_identity import Accepted
from replay_identity.ledger import Ledger, settlements

confirms = settlements._confirms

def confirms_when_told(settlement):
    settlements._confirms = confirms
    print("looked", flush=True)
    sys.stdin.readline()
    return confirms(settlement)

settlements._confirms = confirms_when_told
with Ledger(sys.argv[1]) as ledger:
    print(settle(ledger, claim_one(ledger), Accepted(A)), flush=True)
"""


def test_an_upsert_waits_for_another_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one has looked at the version, and has not settled the user yet: the newer state stays pending."""
    has_tried = threading.Event()
    monkeypatch.setattr(database, "_sleep_briefly", has_tried.set)
    with Ledger(path) as ledger, ThreadPoolExecutor(1) as pool:
        ledger.upsert([user(plan="older")], [A])
        with process(SETTLE, path) as settling:
            assert line_of(settling) == "looked"
            upserting = pool.submit(ledger.upsert, [user(plan="newer")], [A])
            upserting.add_done_callback(lambda _: has_tried.set())
            assert has_tried.wait(60)
            send_line(settling)
            assert settling.wait(60) == 0

        assert upserting.result(60)[A].pending == 1
        assert [sent.traits for sent in deliver(ledger)] == [{"plan": "newer"}]


# Leases.

HOLD_LEASE = """
import sys
from replay_identity.ledger import Ledger

with Ledger(sys.argv[1]) as ledger, ledger.lease("acme") as is_ours:
    print(is_ours, flush=True)
    sys.stdin.readline()
"""


def gets_lease(ledger: Ledger, backend: str = A) -> bool:
    """Return whether this process gets the lease."""
    with ledger.lease(backend) as is_ours:
        return is_ours


def test_one_process_holds_the_lease(path: Path) -> None:
    """Another backend has its own lease."""
    with Ledger(path) as ledger, process(HOLD_LEASE, path) as other:
        assert line_of(other) == "True"
        assert (gets_lease(ledger), gets_lease(ledger, B)) == (False, True)
        send_line(other)
        assert other.wait(60) == 0

        assert gets_lease(ledger)


def test_a_killed_process_releases_its_lease(path: Path) -> None:
    """Nobody has to clean up."""
    with Ledger(path) as ledger:
        with process(HOLD_LEASE, path) as other:
            assert line_of(other) == "True"
            other.kill()
            other.wait(60)

        assert gets_lease(ledger)


def test_one_thread_holds_the_lease(path: Path) -> None:
    """A second one in the same process could reorder requests as well."""
    with Ledger(path) as ledger:
        with ledger.lease(A) as mine:
            assert (mine, gets_lease(ledger)) == (True, False)

        assert gets_lease(ledger)


def test_an_exception_releases_the_lease(path: Path) -> None:
    """Any exception may be raised while it is held."""
    with Ledger(path) as ledger:
        with pytest.raises(ZeroDivisionError), ledger.lease(A):
            raise ZeroDivisionError

        assert gets_lease(ledger)


def test_every_backend_has_its_own_lock(path: Path) -> None:
    """This includes names that no file can have, and names that differ only in unsafe characters."""
    names = ["acme", "a/b", "ab", "a b", "..", "ä", "x" * 300, "x" * 301, ""]
    with Ledger(path) as ledger:
        leases = [ledger.lease(name) for name in names]
        assert [lease.__enter__() for lease in leases] == [True] * len(names)
        assert [gets_lease(ledger, name) for name in names] == [False] * len(names)
        for lease in leases:
            lease.__exit__(None, None, None)

    assert all(file.parent == path.parent for file in path.parent.rglob("*"))


def test_reports_an_unusable_lock_file(tmp_path: Path) -> None:
    """Its folder is missing, or the file is something else."""
    (tmp_path / "ledger.db-1.lock").write_bytes(b"something else" * 1000)
    with pytest.raises(LedgerError, match="the lock file"), take_lease(str(tmp_path / "ledger.db"), 1):
        pass
    missing = tmp_path / "missing" / "ledger.db"
    with pytest.raises(LedgerError, match="the folder does not exist"), take_lease(str(missing), 1):
        pass


def test_a_link_shares_the_lease(path: Path) -> None:
    """A symbolic link is the file it leads to."""
    path.with_name("link.db").symlink_to(path)
    with Ledger(path) as ledger, Ledger(path.with_name("link.db")) as link, ledger.lease(A):
        assert not gets_lease(link)


# Forks.


def fork(act: Callable[[], object]) -> int:
    """Fork a child that runs *act* and exits with 7 without cleaning up; return its id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 7
        finally:
            os._exit(code)
    return child


def exit_code(child: int) -> int:
    """Return the exit code of a child once it ends."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@needs_fork
def test_a_child_loses_nothing_when_its_parent_ends(path: Path) -> None:
    """SQLite would believe in locks that the child lacks, and the parent would delete the log."""
    ledger = Ledger(path)
    ledger.upsert([user("before")], [A])
    from_child, to_parent = os.pipe()
    from_parent, to_child = os.pipe()

    def upsert_before_and_after_the_parent_ends() -> None:
        ledger.upsert([user("child")], [A])
        os.write(to_parent, b".")
        os.read(from_parent, 1)
        ledger.upsert([user("late child")], [A])

    child = fork(upsert_before_and_after_the_parent_ends)
    os.read(from_child, 1)
    ledger.upsert([user("parent")], [A])
    ledger.close()
    os.write(to_child, b".")

    assert exit_code(child) == 7
    with Ledger(path) as ledger:
        assert {sent.user_id for sent in deliver(ledger)} == {"before", "child", "parent", "late child"}
    for pipe in (from_child, to_parent, from_parent, to_child):
        os.close(pipe)


@needs_fork
def test_forks_while_threads_work_are_safe(path: Path) -> None:
    """No child inherits a lock that nobody releases."""
    with Ledger(path) as ledger, ThreadPoolExecutor(2) as threads:
        stop = threading.Event()
        working = [threads.submit(upsert_until, ledger, stop, name) for name in ("x", "y")]
        children = [fork(partial(ledger.upsert, [user(f"child-{number}")], [A])) for number in range(8)]
        assert [exit_code(child) for child in children] == [7] * 8
        stop.set()
        upserted = sum(each.result() for each in working)

        assert ledger.pending_count(A) == upserted + 8


def upsert_until(ledger: Ledger, stop: threading.Event, name: str) -> int:
    """Upsert users until *stop* is set, and return how many."""
    number = 0
    while not stop.is_set():
        ledger.upsert([user(f"{name}-{number}")], [A])
        number += 1
    return number


@needs_fork
def test_a_fork_copies_a_ledger_in_memory() -> None:
    """Each process goes on with its own."""
    with Ledger(":memory:") as ledger:
        ledger.upsert([user("before")], [A])

        def upsert_and_count() -> None:
            ledger.upsert([user("child")], [A])
            assert ledger.pending_count(A) == 2

        assert exit_code(fork(upsert_and_count)) == 7
        assert ledger.pending_count(A) == 1


@needs_fork
def test_a_closed_ledger_stays_closed_after_a_fork(path: Path) -> None:
    """This holds in the parent and in the child."""
    ledger = Ledger(path)
    ledger.close()

    def check() -> None:
        assert is_closed(ledger)

    assert exit_code(fork(check)) == 7
    assert is_closed(ledger)


def is_closed(ledger: Ledger) -> bool:
    """Return True if the ledger reports that it is closed."""
    try:
        ledger.pending_count(A)
    except LedgerError as error:
        return error.problem == "the ledger is closed"
    return False


@needs_fork
def test_a_ledger_may_be_closed_after_a_fork(path: Path) -> None:
    """It need not have been used since the fork."""
    ledger = Ledger(path)
    ledger.upsert([user()], [A])

    assert exit_code(fork(ledger.close)) == 7
    ledger.close()

    with Ledger(path) as ledger:
        assert ledger.pending_count(A) == 1


def test_erases_values_used_by_several_connections(path: Path) -> None:
    """The last one to close truncates the log."""
    one, other = Ledger(path), Ledger(path)
    one.upsert([user("canary")], [A])
    deliver(other)
    one.close()
    other.close()

    assert not any(b"canary" in file.read_bytes() for file in path.parent.iterdir())


# Threads.


def test_concurrent_threads_lose_nothing(path: Path) -> None:
    """All of them use one ledger to upsert, claim and settle."""
    with Ledger(path) as ledger, ThreadPoolExecutor(4) as threads:
        for upsert in [threads.submit(ledger.upsert, [user(f"u{n}", n=n), user("all")], [A, B]) for n in range(60)]:
            upsert.result()
        sent = [len(each.result()) for each in [threads.submit(deliver, ledger, B) for _ in range(3)]]
        assert ledger.pending_count(A) == 61
        assert (ledger.pending_count(B), max(sent)) == (0, 61)

        claims = ledger.claim(A)
        settled = [threads.submit(settle, ledger, claim, Accepted(A)) for claim in claims]
        assert [each.result() for each in settled] == [True] * 61
        assert ledger.pending_count(A) == 0


def test_ledgers_of_one_process_share_a_file(path: Path) -> None:
    """For example, one web worker has several routers."""
    with Ledger(path) as one, Ledger(path) as other:
        with ThreadPoolExecutor(2) as threads:
            upserts = [threads.submit(each.upsert, [user(f"u{n}")], [A]) for n in range(40) for each in (one, other)]
        assert sum(upsert.result()[A].pending for upsert in upserts) == 40

        assert one.pending_count(A) == other.pending_count(A) == 40
