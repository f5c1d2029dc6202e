"""The tests on the page about testing pass and type-check."""

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
    """Write the tests on the page, and return their folder."""
    for block in blocks(PAGE):
        if block.argument.startswith("tests/"):
            write(block, tmp_path)
    return tmp_path


def test_tests_on_the_page_pass(folder: Path) -> None:
    """They run in a process of their own, which finds the plugin by its entry point."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]

    process = subprocess.run(command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=False)

    assert process.returncode == 0, process.stdout + process.stderr
    assert "2 passed" in process.stdout


def test_tests_on_the_page_are_typed(folder: Path) -> None:
    """They pass mypy in strict mode."""
    mypy = pytest.importorskip("mypy.api")

    report, errors, code = mypy.run(["--strict", "--config-file=", f"--cache-dir={folder / 'cache'}", str(folder)])

    assert code == 0, report + errors
