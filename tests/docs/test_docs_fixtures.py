"""The page about testing shows tests that pass, and that type-check."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.markdown import ROOT, blocks, write

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "howto" / "test-against-the-emulators.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make the tests that the page shows."""
    for block in blocks(PAGE):
        if block.argument.startswith("tests/"):
            write(block, tmp_path)
    return tmp_path


def test_the_tests_on_the_page_pass(folder: Path) -> None:
    """With the plugin found by its entry point, in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]

    done = subprocess.run(command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_tests_on_the_page_are_typed(folder: Path) -> None:
    """Strictly."""
    mypy = pytest.importorskip("mypy.api")

    complaints, errors, code = mypy.run(["--strict", "--config-file=", f"--cache-dir={folder / 'cache'}", str(folder)])

    assert code == 0, complaints + errors
