"""The page about adding a vendor: from an empty folder to a passing run, and every way to get it wrong is caught."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from pages import ROOT, blocks, write

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]

PAGE: Final = ROOT / "docs" / "howto" / "add-a-vendor.md"
ADAPTER: Final = "replay_identity_acme/__init__.py"
MOST_LINES: Final = 150


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make the folder that the page shows, file by file."""
    folder = tmp_path / "acme"
    for block in blocks(PAGE):
        if block.argument not in {"", "output"}:
            write(block, folder)
    (folder / "replay_identity_acme" / "py.typed").touch()
    return folder


def test_what_the_page_builds_passes_the_suite(folder: Path, tmp_path: Path) -> None:
    """Installed as a distribution, it is found by its name, type-checks and passes with reasons for what it skips."""
    site = tmp_path / "site"
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def python(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    python("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(site), ".")
    code = "from replay_identity.config import backends; print(backends.load_backend_class('acme'))"
    found = python("-c", code)
    result = python("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests")

    assert found == "<class 'replay_identity_acme.Acme'>\n"
    assert "there is no emulator of Acme yet" in result
    assert "acme only identifies" in result
    assert len((folder / ADAPTER).read_text().splitlines()) < MOST_LINES


def test_what_the_page_builds_is_typed(folder: Path) -> None:
    """Strictly."""
    mypy = pytest.importorskip("mypy.api")

    complaints, errors, code = mypy.run(["--strict", "--config-file=", f"--cache-dir={folder / 'cache'}", str(folder)])

    assert code == 0, complaints + errors
