"""The pages leave nothing out: links lead somewhere, tables are fresh, everything public is described."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from support.markdown import REPOSITORY, ROOT, in_tree, is_absolute, is_ours, links
from typer.main import get_command

import replay_identity
from replay_identity.cli.app import app

PACKAGE: Final = ROOT / "replay_identity"
REFERENCE: Final = ROOT / "docs" / "reference"
PAGES: Final = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "adapters_contrib").glob("**/README.md")),
]
# Where the rules are named that adjustments and violations carry.
RULED: Final = [*(PACKAGE / "fullstory").glob("*.py"), *(PACKAGE / "logrocket").glob("*.py"), PACKAGE / "router.py"]

_FENCED: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^#+ (.*)$", re.MULTILINE)
_RULE: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_RULE_IN_TABLE: Final = re.compile(r"^\| `([a-z0-9-]+)` \|", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of ours names one that is there, and a heading that is in it."""
    broken = [link for link in links(page) if not leads_somewhere(page, link)]

    assert not broken


def leads_somewhere(page: Path, link: str) -> bool:
    """Return True if *link* on *page* leaves the project, or names a file and, if it has an anchor, a heading in it."""
    address, _, anchor = link.partition("#")
    if is_ours(address):
        target = in_tree(address)
        return target is None or exists(target, anchor)
    if is_absolute(address):
        return True
    return exists((page.parent / address).resolve() if address else page, anchor)


def exists(target: Path, anchor: str) -> bool:
    """Return True if *target* is there and has the heading *anchor*."""
    return target.exists() and (not anchor or anchor in anchors(target))


@pytest.mark.parametrize(
    "link",
    [
        "no-such-page.md",
        "README.md#no-such-heading",
        "#no-such-heading",
        f"{REPOSITORY}/blob/main/no-such-page.md",
        f"{REPOSITORY}/blob/main/README.md#no-such-heading",
        f"{REPOSITORY}/blob/main/docs",
        f"{REPOSITORY}/tree/main/README.md",
        f"{REPOSITORY}/blob/master/README.md",
        f"{REPOSITORY}/no-such-page",
        f"{REPOSITORY}-typo/blob/main/README.md",
    ],
)
def test_a_broken_link_is_found(link: str) -> None:
    """The check above accepts no link to a file or heading that does not exist."""
    assert not leads_somewhere(ROOT / "README.md", link)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of *page*."""
    headings = _HEADING.findall(_FENCED.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_generated_tables_are_up_to_date() -> None:
    """The tables made from the code say what the code says now."""
    script = str(ROOT / "docs" / "_generate.py")
    result = subprocess.run([sys.executable, script, "--check"], check=False, capture_output=True, text=True)

    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", replay_identity.__all__)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    """Whoever looks a public name up in the reference finds it, as code."""
    mention = re.compile(rf"`[^`\n]*\b{name}\b[^`\n]*`")

    assert any(mention.search(_FENCED.sub("", page.read_text(encoding="utf-8"))) for page in REFERENCE.glob("*.md"))


def test_every_rule_is_documented_and_no_other() -> None:
    """The rules that adjustments and violations can name are those in the first columns of policies.md."""
    documented = set(_RULE_IN_TABLE.findall((REFERENCE / "policies.md").read_text(encoding="utf-8")))

    assert documented == {rule for path in RULED for rule in rules(path)}


def test_every_rule_is_tested() -> None:
    """Some test expects each rule that the reference documents, as it says."""
    documented = _RULE_IN_TABLE.findall((REFERENCE / "policies.md").read_text(encoding="utf-8"))
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))

    assert not [rule for rule in documented if f'"{rule}"' not in tests]


def rules(path: Path) -> Iterator[str]:
    """Yield the rules that the code at *path* can put into an adjustment or a violation."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            for constant in (inner for argument in rule_arguments(node) for inner in ast.walk(argument)):
                if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                    assert _RULE.fullmatch(constant.value), constant.value
                    yield constant.value


# The place of the rule among the positional arguments of each function that takes one.
PLACES: Final = {"record": 2, "cached_adjustment": 1, "drop": 1, "reject": 1, "Adjustment": 2, "Violation": 1}


def rule_arguments(call: ast.Call) -> list[ast.expr]:
    """Return the arguments of *call* that name a rule."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    place = PLACES.get(name, len(call.args))
    return [*call.args[place : place + 1], *(keyword.value for keyword in call.keywords if keyword.arg == "rule")]


def test_every_command_is_documented() -> None:
    """Each command of the command line has a heading of its own."""
    commands: dict[str, object] = getattr(get_command(app), "commands")  # noqa: B009  # A group has them.
    headings = _HEADING.findall((REFERENCE / "command-line.md").read_text(encoding="utf-8"))

    assert commands
    assert {f"`{name}`" for name in commands} <= set(headings)
