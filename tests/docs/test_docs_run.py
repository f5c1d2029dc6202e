"""Run what the pages show, page by page, in order, in a directory of the page's own.

By the language of a fenced block:

* ``python``: run, in one namespace per page;
* ``text output``: what the block before printed, to the letter;
* ``console``: each ``$ replay-identity ...`` is run; it prints the lines that follow, if there are any, and exits with
  what a following ``$ echo $?`` tells, else with 0;
* any with a file name after the language: written to that file.

Other blocks are only shown. The environment holds keys and addresses of both emulators, as `replay-identity demo`
would have them: FULLSTORY_API_KEY, FULLSTORY_BASE_URL, LOGROCKET_API_KEY and LOGROCKET_BASE_URL.
"""

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from support.markdown import ROOT, Block, blocks, write
from typer.testing import CliRunner

from replay_identity.cli.app import app
from replay_identity.emulator import FullstoryEmulator, LogRocketEmulator, running

pytestmark = pytest.mark.slow

PAGES: Final = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "adapters_contrib" / "README.md",
]
PROMPT: Final = "$ replay-identity "
ECHO: Final = "$ echo $?"
MOST_EXAMPLE_LINES: Final = 12


@pytest.fixture(scope="module")
def emulators() -> Iterator[tuple[FullstoryEmulator, LogRocketEmulator, dict[str, str]]]:
    """Give both emulators, and the environment that leads to them."""
    fullstory, logrocket = FullstoryEmulator(), LogRocketEmulator()
    with running(fullstory) as at_fullstory, running(logrocket) as at_logrocket:
        environment = {
            "FULLSTORY_API_KEY": "na1.emulator",
            "FULLSTORY_BASE_URL": at_fullstory.url,
            "LOGROCKET_API_KEY": "acme:shop:emulator",
            "LOGROCKET_BASE_URL": at_logrocket.url,
        }
        yield fullstory, logrocket, environment


@pytest.fixture
def place(
    emulators: tuple[FullstoryEmulator, LogRocketEmulator, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Go to an empty directory, with emulators that know nobody and an environment that leads to them."""
    fullstory, logrocket, environment = emulators
    fullstory.reset()
    logrocket.reset()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_shows_runs(page: Path, place: Path) -> None:
    """Every block of a page does what the page says, one after another."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed = ""

    for block in blocks(page):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        match block:
            case Block("python", ""):
                printed = run(block, where, namespace)
            case Block("text", "output"):
                assert printed.splitlines() == block.text.splitlines(), where
            case Block("console", ""):
                run_commands(block, where)
            case Block(argument=name) if name:
                write(block, place)
            case _:
                pass


def test_what_the_pages_show_type_checks(tmp_path: Path) -> None:
    """A reader who copies from a page and runs mypy hears no complaint."""
    mypy = pytest.importorskip("mypy.api")
    for page in PAGES:
        name = re.sub(r"\W", "_", page.relative_to(ROOT).as_posix())
        (tmp_path / f"{name}.py").write_text(program(page), encoding="utf-8")

    complaints, errors, code = mypy.run(
        [
            "--strict",
            "--config-file=",
            f"--cache-dir={ROOT / '.mypy_cache' / 'pages'}",
            *map(str, tmp_path.glob("*.py")),
        ]
    )

    assert code == 0, complaints + errors


def program(page: Path) -> str:
    """Return all Python of *page* as one program, every line on its own line of the page."""
    lines = [""] * len(page.read_text(encoding="utf-8").splitlines())
    for block in blocks(page):
        if block.language == "python" and not block.argument:
            code = block.text.splitlines()
            lines[block.line - 1 : block.line - 1 + len(code)] = code
    return "\n".join(lines)


def run(block: Block, where: str, namespace: dict[str, Any]) -> str:
    """Run a block of Python and return what it printed."""
    # As many empty lines before it as the page has, so that a traceback names the page's own line.
    code = compile("\n" * (block.line - 1) + block.text, where, "exec", dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, namespace)  # noqa: S102  # That is what the test is for.
    return printed.getvalue()


def run_commands(block: Block, where: str) -> None:
    """Run the commands of a console block and compare what they print and exit with."""
    for command, shown, expected in commands(block):
        result = CliRunner().invoke(app, shlex.split(command))
        printed = [line.rstrip() for line in result.output.strip().splitlines()]
        assert result.exit_code == expected, f"{where}: {command}\n{result.output}"
        assert not shown or printed == shown, f"{where}: {command}"


def commands(block: Block) -> Iterator[tuple[str, list[str], int]]:
    """Yield each command of a console block, the lines shown after it, and the exit code it is said to have."""
    for part in block.text.split(PROMPT)[1:]:
        text, *rest = part.strip().split(ECHO)
        command, *shown = text.strip().splitlines()
        yield command, shown, int(rest[0]) if rest else 0


def test_the_example_in_the_readme_is_short() -> None:
    """The first example a visitor sees has at most twelve lines."""
    example = next(block for block in blocks(ROOT / "README.md") if block.language == "python")

    assert len(example.text.splitlines()) <= MOST_EXAMPLE_LINES
