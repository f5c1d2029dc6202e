"""Only its owner can read a ledger, its log, its locks and its copies; whatever prevents that is said once."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.commands import COMMAND
from support.ledgers import A
from support.users import user

from replay_identity.errors import LedgerError
from replay_identity.ledger import Ledger, files

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the platform has no such permissions")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the ledger."""
    return tmp_path / "ledger.db"


@pytest.fixture(autouse=True)
def _no_warning_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_warned", set[str]())


@pytest.fixture(params=[0o022, 0o000, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set the umask of a usual, of a careless and of a strange system."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    """Return the modes of all files in *folder* by name."""
    return {file.name: oct(file.stat().st_mode & 0o777) for file in sorted(folder.iterdir()) if file.is_file()}


def crashed(path: Path, mode: int) -> Path:
    """Create a ledger whose process was killed, so that its log and its lock are there, all with *mode*."""
    script = (
        "import os, sys; from replay_identity import *; from replay_identity.ledger import Ledger; "
        "ledger = Ledger(sys.argv[1]); ledger.upsert([UserTraits('u1', traits={'plan': 'canary'})], ['acme']); "
        "ledger.lease('acme').__enter__(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    for file in path.parent.iterdir():
        file.chmod(mode)
    return path


def test_creates_all_files_for_the_owner(path: Path, umask: int) -> None:
    """Under any umask, also one that takes everything from the owner."""
    del umask
    with Ledger(path) as ledger, ledger.lease(A):
        ledger.upsert([user()], [A])
        ledger.copy_to(path.with_name("copy.db"))

        found = modes(path.parent)
        assert found.keys() >= {"copy.db", "ledger.db", "ledger.db-1.lock", "ledger.db-shm", "ledger.db-wal"}
        assert set(found.values()) == {"0o600"}


def test_a_temporary_copy_is_for_the_owner(path: Path) -> None:
    """Its log too, and its folder."""
    with Ledger(path) as ledger, Ledger.temporary_copy(ledger) as copy:
        copy.upsert([user()], [A])

        folder = Path(copy.path).parent
        assert set(modes(folder).values()) == {"0o600"}
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o666, 0o755])
def test_restricts_an_existing_ledger(path: Path, mode: int) -> None:
    """Its log, its index and its locks too, before anything else is written."""
    crashed(path, mode)
    assert path.with_name("ledger.db-wal").stat().st_size > 0

    with Ledger(path) as ledger:
        names = ["ledger.db", "ledger.db-1.lock", "ledger.db-shm", "ledger.db-wal"]
        assert modes(path.parent) == dict.fromkeys(names, "0o600")
        assert ledger.pending_count(A) == 1


def test_gives_the_owner_no_permission(path: Path) -> None:
    """Who made a ledger read-only wants it so."""
    Ledger(path).close()
    path.chmod(0o444)

    files.restrict(str(path))

    assert modes(path.parent) == {"ledger.db": "0o400"}


def test_restricts_the_file_behind_a_link(path: Path) -> None:
    """The log is next to that file, not next to the link."""
    crashed(path, 0o644)
    link = path.with_name("link.db")
    link.symlink_to(path)

    with Ledger(link):
        assert set(modes(path.parent).values()) == {"0o600"}


def test_leaves_a_link_beside_the_ledger(path: Path) -> None:
    """Somebody else may have put it there, to a file of ours that others read."""
    public = path.with_name("public")
    public.touch(0o644)
    public.chmod(0o644)
    Ledger(path).close()
    path.with_name("ledger.db-1.lock").symlink_to(public)

    files.restrict(str(path))

    assert modes(path.parent)["public"] == "0o644"


def test_leaves_another_programs_file(path: Path) -> None:
    """A file that is refused is not changed."""
    path.write_bytes(b"text" * 1000)
    path.chmod(0o644)

    with pytest.raises(LedgerError):
        Ledger(path)

    assert modes(path.parent) == {"ledger.db": "0o644"}


def refuse(*_: object) -> None:
    """Refuse to change a mode, as for a file of somebody else."""
    raise PermissionError


def accept(*_: object) -> None:
    """Change nothing, as a file system without modes does."""


@pytest.mark.parametrize("chmod", [refuse, accept])
def test_warns_once_where_that_fails(
    path: Path, chmod: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The ledger works all the same."""
    crashed(path, 0o644)
    monkeypatch.setattr(Path, "chmod", chmod)

    for _ in range(2):
        with Ledger(path) as ledger:
            assert ledger.pending_count(A) == 1

    (record,) = caplog.records
    assert (record.name, record.levelname) == ("replay_identity.ledger", "WARNING")
    assert str(path) in record.getMessage()
    assert "canary" not in record.getMessage()


def test_warns_of_a_file_of_somebody_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Root could change it, but its owner may have given others access on purpose."""
    crashed(path, 0o640)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)

    with Ledger(path):
        assert len(caplog.records) == 1

    assert modes(path.parent)["ledger.db"] == "0o640"


def test_the_command_warns_on_stderr(path: Path) -> None:
    """In one line, and on every run."""
    crashed(path, 0o644)
    script = f"import pathlib; pathlib.Path.chmod = lambda *_: None; {COMMAND[2]}"

    result = subprocess.run(
        [sys.executable, "-c", script, "status", "--ledger", str(path)], capture_output=True, text=True, check=True
    )

    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"{path}: other users of this machine may read the ledger")


def test_does_nothing_without_modes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows a file has the permissions of its folder."""
    crashed(path, 0o644)
    monkeypatch.setattr(files, "_HAS_MODES", False)

    with Ledger(path) as ledger, ledger.lease("bolt"):
        assert modes(path.parent)["ledger.db"] == "0o644"


OPEN_AND_CLOSE = "import sys; from replay_identity.ledger import Ledger; Ledger(sys.argv[1]).close()"
COUNT = "import sys; from replay_identity.ledger import Ledger; print(Ledger(sys.argv[1]).pending_count('acme'))"


def test_opening_twice_keeps_the_locks(path: Path) -> None:
    """The system drops a process's locks on a file as soon as the process closes that file anywhere."""
    with closing(Ledger(path)) as ledger, closing(Ledger(path)):
        subprocess.run([sys.executable, "-c", OPEN_AND_CLOSE, str(path)], check=True)
        ledger.upsert([user()], [A])
        counted = subprocess.run([sys.executable, "-c", COUNT, str(path)], check=True, capture_output=True, text=True)

        assert counted.stdout == "1\n"


def test_a_second_lease_keeps_the_first(path: Path) -> None:
    """Another thread of the process may ask for it in vain."""
    script = (
        "import sys; from replay_identity.ledger import Ledger; print(Ledger(sys.argv[1]).lease('acme').__enter__())"
    )
    with Ledger(path) as ledger, ledger.lease(A) as first, ledger.lease(A) as second:
        other = subprocess.run([sys.executable, "-c", script, str(path)], check=True, capture_output=True, text=True)

        assert (first, second, other.stdout) == (True, False, "False\n")


def test_says_that_a_file_is_forbidden(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator may read every file, so the system's answer is replaced."""
    path.write_bytes(b"")

    def refuse(*_arguments: object, **_options: object) -> bool:
        return False

    monkeypatch.setattr(os, "access", refuse)
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorname = "SQLITE_CANTOPEN"

    assert files.describe(error, str(path))[0] == "the file cannot be read or written"
