"""The guide to adding a vendor builds an adapter that passes the conformance suite."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from support.markdown import ROOT, blocks, write

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]

PAGE: Final = ROOT / "docs" / "howto" / "add-a-vendor.md"
ADAPTER: Final = "replay_identity_acme/__init__.py"
MAX_LINES: Final = 125


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write the files of the page, and return their folder."""
    folder = tmp_path / "acme"
    for block in blocks(PAGE):
        if block.argument not in {"", "output"}:
            write(block, folder)
    (folder / "replay_identity_acme" / "py.typed").touch()
    return folder


def test_adapter_on_the_page_passes_the_suite(folder: Path, tmp_path: Path) -> None:
    """The installed adapter is found by its name; each skipped case gives a reason."""
    site = tmp_path / "site"
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def python(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout

    python("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(site), ".")
    code = "from replay_identity.config import backends; print(backends.load_backend_class('acme'))"
    loaded = python("-c", code)
    result = python("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests")

    assert loaded == "<class 'replay_identity_acme.Acme'>\n"
    assert "there is no emulator of Acme yet" in result
    assert "acme only identifies" in result
    assert len((folder / ADAPTER).read_text().splitlines()) < MAX_LINES


def test_adapter_on_the_page_is_typed(folder: Path) -> None:
    """The files of the page pass mypy in strict mode."""
    mypy = pytest.importorskip("mypy.api")

    report, errors, code = mypy.run(["--strict", "--config-file=", f"--cache-dir={folder / 'cache'}", str(folder)])

    assert code == 0, report + errors
