"""Run the blocks on the pages: page by page, in order, each page in a directory of its own.

The language of a fenced block decides what happens:

* ``python``: it is run, in one namespace per page;
* ``text output``: it must be exactly what the previous block printed;
* ``console``: each ``$ replay-identity ...`` is run. It must print the lines that follow, if there are any, and exit
  with the number after a following ``$ echo $?``, else with 0;
* any language with a file name after it: it is written to that file.

Other blocks are not run. The environment has the keys and URLs of both emulators, as in `replay-identity demo`:
FULLSTORY_API_KEY, FULLSTORY_BASE_URL, LOGROCKET_API_KEY and LOGROCKET_BASE_URL.
"""

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from support.commands import run_command
from support.markdown import ROOT, Block, blocks, write
from support.vendors import Vendors

pytestmark = pytest.mark.slow

PAGES: Final = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "adapters_contrib" / "README.md",
]
PROMPT: Final = "$ replay-identity "
ECHO: Final = "$ echo $?"
MAX_EXAMPLE_LINES: Final = 12


@pytest.fixture
def folder(vendors: Vendors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to an empty directory, and set the environment to use emulators without users."""
    for name, value in vendors.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_blocks_of_a_page_run(page: Path, folder: Path) -> None:
    """Every block does what the page says, in order."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed = ""

    for block in blocks(page):
        location = f"{page.relative_to(ROOT)}:{block.line}"
        match block:
            case Block("python", ""):
                printed = run(block, location, namespace)
            case Block("text", "output"):
                assert printed.splitlines() == block.text.splitlines(), location
            case Block("console", ""):
                run_commands(block, location)
            case Block(argument=name) if name:
                write(block, folder)
            case _:
                pass


def test_python_on_the_pages_is_typed(tmp_path: Path) -> None:
    """The Python of every page passes mypy in strict mode."""
    mypy = pytest.importorskip("mypy.api")
    for page in PAGES:
        name = re.sub(r"\W", "_", page.relative_to(ROOT).as_posix())
        (tmp_path / f"{name}.py").write_text(program(page), encoding="utf-8")

    report, errors, code = mypy.run(
        [
            "--strict",
            "--config-file=",
            "--disable-error-code=import-untyped",  # Frames come from libraries without types.
            f"--cache-dir={ROOT / '.mypy_cache' / 'pages'}",
            *map(str, tmp_path.glob("*.py")),
        ]
    )

    assert code == 0, report + errors


def program(page: Path) -> str:
    """Return all Python of *page* as one program with the line numbers of the page."""
    lines = [""] * len(page.read_text(encoding="utf-8").splitlines())
    for block in blocks(page):
        if block.language == "python" and not block.argument:
            code = block.text.splitlines()
            lines[block.line - 1 : block.line - 1 + len(code)] = code
    return "\n".join(lines)


def run(block: Block, location: str, namespace: dict[str, Any]) -> str:
    """Run a block of Python and return its output."""
    # Empty lines before the code, so that tracebacks have the line numbers of the page.
    code = compile("\n" * (block.line - 1) + block.text, location, "exec", dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, namespace)  # noqa: S102  # The test runs the pages.
    return printed.getvalue()


def run_commands(block: Block, location: str) -> None:
    """Run the commands of a console block, and compare their output and exit codes."""
    for command, expected_output, expected_code in commands(block):
        result = run_command(*shlex.split(command))
        printed = [line.rstrip() for line in result.output.strip().splitlines()]
        assert result.code == expected_code, f"{location}: {command}\n{result.output}"
        assert not expected_output or printed == expected_output, f"{location}: {command}"


def commands(block: Block) -> Iterator[tuple[str, list[str], int]]:
    """Yield each command of a console block, the output that the page shows, and the expected exit code."""
    for part in block.text.split(PROMPT)[1:]:
        text, *rest = part.strip().split(ECHO)
        command, *output = text.strip().splitlines()
        yield command, output, int(rest[0]) if rest else 0


def test_the_first_example_is_short() -> None:
    """The first example in the README has at most twelve lines."""
    example = next(block for block in blocks(ROOT / "README.md") if block.language == "python")

    assert len(example.text.splitlines()) <= MAX_EXAMPLE_LINES
