"""A PostgreSQL server of the tests' own, on a socket in a temporary directory."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Final

PROGRAMS: Final = ("initdb", "pg_ctl")
# Any number: the socket's name contains it, and no port is opened.
_PORT: Final = 54321


def is_postgres_installed() -> bool:
    """Return True if the programs that make and start a server are there."""
    return all(map(shutil.which, PROGRAMS))


@contextlib.contextmanager
def running_postgres() -> Generator[str]:
    """Start a server, and yield the URL of its database."""
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        folder, user = Path(name), _server_user()
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        data = folder / "data"
        _run("initdb", f"--pgdata={data}", "--username=app", "--auth=trust", "--no-sync", "--locale=C", user=user)
        settings = f"-c listen_addresses='' -c unix_socket_directories={folder} -c port={_PORT} -c fsync=off"
        _run(
            "pg_ctl",
            f"--pgdata={data}",
            "--wait",
            f"--log={folder / 'log'}",
            f"--options={settings}",
            "start",
            user=user,
        )
        try:
            yield f"postgresql://app:secret7Q@/postgres?host={folder}&port={_PORT}"
        finally:
            _run("pg_ctl", f"--pgdata={data}", "--mode=immediate", "stop", user=user)


def _server_user() -> str | None:
    """Return the user to run the server as, because it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    return next(name for name in ("postgres", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()})


def _run(program: str, *arguments: str, user: str | None) -> None:
    """Run a program; the server that it starts must not keep its output open."""
    subprocess.run([program, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user)
