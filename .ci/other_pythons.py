"""Print the path of each Python from 3.11 on that this machine has, beside the one that runs this, newest of each."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
ASK = "import sys; print(*sys.version_info[:3], sys.implementation.name == 'cpython' and sys.abiflags == '')"


def candidates() -> list[str]:
    """Return what may be a Python: on the PATH, and where pyenv and uv keep theirs."""
    on_path = [shutil.which(f"python3.{minor}") for minor in range(OLDEST[1], OLDEST[1] + 10)]
    home = Path.home()
    folders = [Path(os.environ.get("PYENV_ROOT", home / ".pyenv")) / "versions", home / ".local/share/uv/python"]
    kept = [path for folder in folders if folder.is_dir() for path in folder.glob("*/bin/python3")]
    return [path for path in on_path if path] + [str(path) for path in kept]


def version(python: str) -> tuple[int, ...] | None:
    """Return the version of a Python that runs and can make environments, or None."""
    try:
        asked = subprocess.run([python, "-c", f"import ensurepip; {ASK}"], capture_output=True, text=True, timeout=20)
    except OSError:
        return None
    found = re.fullmatch(r"(\d+) (\d+) (\d+) True\n", asked.stdout)
    return tuple(int(number) for number in found.groups()) if found else None


def main() -> None:
    """Print one path per minor version."""
    newest: dict[tuple[int, ...], tuple[tuple[int, ...], str]] = {}
    for python in candidates():
        found = version(python)
        if found and found[:2] >= OLDEST and found[:2] != sys.version_info[:2]:
            newest[found[:2]] = max(newest.get(found[:2], ((), "")), (found, python))
    for _, python in sorted(newest.values()):
        print(python)


main()
