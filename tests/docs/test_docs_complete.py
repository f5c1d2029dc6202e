"""The pages are complete: links work, tables are up to date, and every public name is documented."""

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
# The modules that name the rules of adjustments and violations.
RULE_MODULES: Final = [
    *(PACKAGE / "fullstory").glob("*.py"),
    *(PACKAGE / "logrocket").glob("*.py"),
    PACKAGE / "router.py",
    PACKAGE / "adapters" / "id_rules.py",
]

_FENCED: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^#+ (.*)$", re.MULTILINE)
_RULE: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_RULE_IN_TABLE: Final = re.compile(r"^\| `([a-z0-9-]+)` \|", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_work(page: Path) -> None:
    """Every link to a file of the repository names an existing file, and an existing heading if it has an anchor."""
    broken = [link for link in links(page) if not link_works(page, link)]

    assert not broken


def link_works(page: Path, link: str) -> bool:
    """Return True if *link* on *page* leaves the repository or names an existing file and heading."""
    address, _, anchor = link.partition("#")
    if is_ours(address):
        target = in_tree(address)
        return target is None or exists(target, anchor)
    if is_absolute(address):
        return True
    return exists((page.parent / address).resolve() if address else page, anchor)


def exists(target: Path, anchor: str) -> bool:
    """Return True if *target* exists and has the heading *anchor*."""
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
    """The check above rejects links to missing files and headings."""
    assert not link_works(ROOT / "README.md", link)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of *page*."""
    headings = _HEADING.findall(_FENCED.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_generated_tables_are_up_to_date() -> None:
    """The generated tables match the code."""
    script = str(ROOT / "docs" / "_generate.py")
    result = subprocess.run([sys.executable, script, "--check"], check=False, capture_output=True, text=True)

    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", replay_identity.__all__)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    """Every public name appears in the reference, as code."""
    mention = re.compile(rf"`[^`\n]*\b{name}\b[^`\n]*`")

    assert any(mention.search(_FENCED.sub("", page.read_text(encoding="utf-8"))) for page in REFERENCE.glob("*.md"))


def test_exactly_the_rules_are_documented() -> None:
    """The first columns in policies.md list the rules that adjustments and violations can name."""
    documented = set(_RULE_IN_TABLE.findall((REFERENCE / "policies.md").read_text(encoding="utf-8")))

    assert documented == {rule for path in RULE_MODULES for rule in rules(path)}


def test_every_rule_is_tested() -> None:
    """Each documented rule appears in a test."""
    documented = _RULE_IN_TABLE.findall((REFERENCE / "policies.md").read_text(encoding="utf-8"))
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))

    assert not [rule for rule in documented if f'"{rule}"' not in tests]


def rules(path: Path) -> Iterator[str]:
    """Yield the rules that the module at *path* can put into an adjustment or a violation."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            for constant in (inner for argument in rule_arguments(node) for inner in ast.walk(argument)):
                if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                    assert _RULE.fullmatch(constant.value), constant.value
                    yield constant.value


# The index of the rule among the positional arguments of each function that takes one.
RULE_INDEX: Final = {"record": 2, "cached_adjustment": 1, "drop": 1, "reject": 1, "Adjustment": 2, "Violation": 1}


def rule_arguments(call: ast.Call) -> list[ast.expr]:
    """Return the arguments of *call* that name a rule."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    index = RULE_INDEX.get(name, len(call.args))
    return [*call.args[index : index + 1], *(keyword.value for keyword in call.keywords if keyword.arg == "rule")]


def test_every_command_is_documented() -> None:
    """Each command has its own heading."""
    commands: dict[str, object] = getattr(get_command(app), "commands")  # noqa: B009  # It is a group.
    headings = _HEADING.findall((REFERENCE / "command-line.md").read_text(encoding="utf-8"))

    assert commands
    assert {f"`{name}`" for name in commands} <= set(headings)
