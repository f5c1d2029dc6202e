"""Print the path of the newest release of each other Python >= 3.11 on this machine."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
PROGRAM = (
    "import ensurepip, sys; print(*sys.version_info[:3], sys.implementation.name == 'cpython' and sys.abiflags == '')"
)


def candidates() -> list[str]:
    """Return the possible paths of Pythons: on the PATH, and in the folders of pyenv and uv."""
    on_path = [shutil.which(f"python3.{minor}") for minor in range(OLDEST[1], OLDEST[1] + 10)]
    home = Path.home()
    folders = [Path(os.environ.get("PYENV_ROOT", home / ".pyenv")) / "versions", home / ".local/share/uv/python"]
    managed = [path for folder in folders if folder.is_dir() for path in folder.glob("*/bin/python3")]
    return [path for path in on_path if path] + [str(path) for path in managed]


def version(python: str) -> tuple[int, ...] | None:
    """Return the version of *python*, or None if it does not run or cannot create virtual environments."""
    try:
        process = subprocess.run([python, "-c", PROGRAM], capture_output=True, text=True, timeout=20)
    except OSError:
        return None
    match = re.fullmatch(r"(\d+) (\d+) (\d+) True\n", process.stdout)
    return tuple(int(number) for number in match.groups()) if match else None


def main() -> None:
    """Print one path for each minor version."""
    newest: dict[tuple[int, ...], tuple[tuple[int, ...], str]] = {}
    for python in candidates():
        found = version(python)
        if found and found[:2] >= OLDEST and found[:2] != sys.version_info[:2]:
            newest[found[:2]] = max(newest.get(found[:2], ((), "")), (found, python))
    for _, python in sorted(newest.values()):
        print(python)


main()
