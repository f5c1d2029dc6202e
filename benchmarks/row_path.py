"""List the modules whose functions run for each row of a file on its way to a vendor."""

import os
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

import replay_identity
from replay_identity import Fullstory, IdentityBackend, Ledger, LogRocket, read_users, sync
from replay_identity.emulator import FullstoryEmulator, LogRocketEmulator, running

PACKAGE: Final = Path(replay_identity.__file__).parent
ROW_COUNT: Final = 50


def calls_by_module(backend: IdentityBackend, folder: Path) -> Counter[str]:
    """Return how many functions of each module ran while rows were sent to *backend*; the emulator's do not count."""
    source = folder / "users.jsonl"
    row = '{"user_id": "u%d", "email": "ada%d@example.com", "plan": "pro", "seats": %d}'
    rows = [row % (number, number, number) for number in range(ROW_COUNT)]
    source.write_text("\n".join(rows))
    calls: Counter[str] = Counter()

    def trace(frame: FrameType, _event: str, _argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE) and frame.f_code.co_name not in {"<module>", "<lambda>"}:
            calls[os.fspath(path.relative_to(PACKAGE))] += 1

    for name in ("imports.db", "traced.db"):  # The first run imports everything.
        calls.clear()
        with Ledger(folder / name) as ledger:
            sys.settrace(trace)
            threading.settrace(trace)
            try:
                sync(read_users(source), [backend], ledger=ledger)
            finally:
                sys.settrace(None)
                threading.settrace(None)
    return Counter({name: count for name, count in calls.items() if not name.startswith("emulator")})


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
            calls = calls_by_module(backend, path)
            per_row = sorted(name for name, count in calls.items() if count >= ROW_COUNT)
            others = sorted(calls.keys() - set(per_row))
            print(f"{backend.name}: {len(per_row)} modules for each row: {' '.join(per_row)}")
            print(f"{backend.name}: {len(others)} modules once or per batch: {' '.join(others)}")


if __name__ == "__main__":
    main()
