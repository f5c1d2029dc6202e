"""List the modules whose functions run while one row of a file becomes a request: `python benchmarks/row_path.py`."""

import os
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Final

import replay_identity
from replay_identity import Fullstory, IdentityBackend, Ledger, LogRocket, read_users, sync
from replay_identity.emulator import FullstoryEmulator, LogRocketEmulator, running

PACKAGE: Final = Path(replay_identity.__file__).parent
ROW: Final = '{"user_id": "u1", "email": "ada@example.com", "plan": "pro", "seats": 43}\n'


def modules_of_a_row(backend: IdentityBackend, folder: Path) -> list[str]:
    """Return the modules that one row passes on its way to *backend*; the emulator's and imports do not count."""
    source = folder / "users.jsonl"
    source.write_text(ROW)
    seen: set[str] = set()

    def trace(frame: FrameType, _event: str, _argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE) and frame.f_code.co_name not in {"<module>", "<lambda>"}:
            seen.add(os.fspath(path.relative_to(PACKAGE)))

    for name in ("imports.db", "traced.db"):  # The first run imports everything.
        seen.clear()
        with Ledger(folder / name) as ledger:
            sys.settrace(trace)
            threading.settrace(trace)
            try:
                sync(read_users(source), [backend], ledger=ledger)
            finally:
                sys.settrace(None)
                threading.settrace(None)
    return sorted(name for name in seen if not name.startswith("emulator"))


def main() -> None:
    """Print the modules for each vendor."""
    with (
        running(FullstoryEmulator()) as fullstory,
        running(LogRocketEmulator()) as logrocket,
        tempfile.TemporaryDirectory() as folder,
    ):
        backends: tuple[IdentityBackend, ...] = (
            Fullstory("na1.emulator", base_url=fullstory.url),
            LogRocket("acme:shop:emulator", base_url=logrocket.url),
        )
        for backend in backends:
            path = Path(folder, backend.name)
            path.mkdir()
            found = modules_of_a_row(backend, path)
            print(f"{backend.name}: {len(found)} modules: {' '.join(found)}")


if __name__ == "__main__":
    main()
