"""The files around the package: pinned tools, links that work anywhere, workflows with few rights."""

import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from support.markdown import REPOSITORY, ROOT, in_tree, is_absolute, links

PACKAGED: Final = [ROOT / "README.md", *sorted((ROOT / "adapters_contrib").glob("*/README.md"))]
LOCKS: Final = [ROOT / "requirements" / name for name in ("dev.txt", "contrib.txt", "release.txt")]
WORKFLOWS: Final = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CONTRIBUTED: Final = sorted((ROOT / "adapters_contrib").glob("*/pyproject.toml"))
# Written in parts, because no file may contain them, and so not this one either.
INDEX_HOSTS: Final = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"))]

_PIN: Final = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[^ ;]+)"
    r"(?: ; [^\\]+?)?"  # A marker, such as of the operating system.
    r"(?: --hash=sha256:[0-9a-f]{64})+"
)
_USES: Final = re.compile(r"\buses: (\S+)")
_PINNED_ACTION: Final = re.compile(r"\./\S+|[\w-]+/[\w-]+@[0-9a-f]{40}|pypa/gh-action-pypi-publish@release/v1")


def relative(path: Path) -> str:
    """Return the path that a test shows."""
    return path.relative_to(ROOT).as_posix()


@cache
def document(path: Path) -> dict[str, Any]:
    """Return a TOML file."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def project() -> dict[str, Any]:
    """Return the library's own pyproject.toml."""
    return document(ROOT / "pyproject.toml")


@pytest.mark.parametrize("page", PACKAGED, ids=relative)
def test_packaged_page_has_absolute_links(page: Path) -> None:
    """A README that a package shows has no relative links, because the other files are not beside it."""
    assert not [link for link in links(page) if not is_absolute(link)]


def test_project_urls_lead_somewhere() -> None:
    """The addresses in the package's metadata are in the repository, and the files among them exist."""
    urls = project()["project"]["urls"]

    targets = {name: in_tree(url) for name, url in urls.items()}

    assert {"Homepage", "Documentation", "Changelog", "Issues"} <= set(urls)
    assert all(url.startswith(REPOSITORY) for url in urls.values())
    assert all(target is None or target.exists() for target in targets.values())


def test_sdist_files_exist() -> None:
    """Each file and folder that the sdist includes is there."""
    included = project()["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]

    assert not [name for name in included if not (ROOT / name).exists()]


def test_no_file_names_a_package_index() -> None:
    """The tools get packages from the index that the machine is configured for."""
    found = [relative(path) for path in tracked() if any(host in read(path) for host in INDEX_HOSTS)]

    assert not found


def tracked() -> list[Path]:
    """Return the files that git tracks."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S607
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def read(path: Path) -> str:
    """Return the text of a file, whatever its encoding, in lower case."""
    return path.read_text(encoding="utf-8", errors="replace").lower()


@attrs.frozen
class Pin:
    """One package in a lock file."""

    name: str
    version: Version


@cache
def pins(lock: Path) -> dict[str, Pin]:
    """Return the packages in *lock* by name; a line of another form fails the test."""
    return {pin.name: pin for pin in parse(lock.read_text(encoding="utf-8"))}


def parse(text: str) -> Iterator[Pin]:
    """Yield the packages of a lock file."""
    uncommented = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    for line in re.sub(r"\s*\\\n\s*", " ", uncommented).splitlines():
        match = _PIN.fullmatch(line)
        assert match, f"not an exact version with hashes: {line[:80]}"
        yield Pin(match["name"], Version(match["version"]))


@pytest.mark.parametrize("lock", LOCKS, ids=relative)
def test_lock_has_exact_versions_with_hashes(lock: Path) -> None:
    """Each line of a lock file is one exact version and its hashes; none is an option or an address."""
    assert pins(lock)
    assert "://" not in lock.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "line",
    [
        "httpx>=0.28 --hash=sha256:" + 64 * "0",
        "httpx==0.28.1",
        "httpx==0.28.1 --hash=md5:" + 32 * "0",
        "--find-links wheels",
        "-e .",
    ],
)
def test_unpinned_line_is_found(line: str) -> None:
    """The parser of lock files accepts neither a range, nor a missing or weak hash, nor an option."""
    with pytest.raises(AssertionError, match="not an exact version"):
        list(parse(line + "\n"))


@pytest.mark.parametrize(
    ("lock", "needed"),
    [
        (
            "dev.txt",
            lambda: [*library("cli", "emulator", "fast", "files", "postgres", "testing", "warehouse"), *group("dev")],
        ),
        ("contrib.txt", lambda: [*library("testing"), *group("types"), *group("test"), *contributed()]),
        ("release.txt", lambda: list(group("release"))),
    ],
)
def test_lock_satisfies_pyproject(lock: str, needed: Callable[[], list[Requirement]]) -> None:
    """Each requirement in pyproject.toml is locked at a version it allows; if this fails, run `make lock`."""
    locked = pins(ROOT / "requirements" / lock)

    missing = [str(need) for need in needed() if not is_locked(need, locked)]

    assert not missing


def is_locked(need: Requirement, locked: dict[str, Pin]) -> bool:
    """Return True if *locked* has a version that *need* allows; our own packages are installed from the tree."""
    name = canonicalize_name(need.name)
    if name.startswith("replay-identity"):
        return True
    return name in locked and need.specifier.contains(locked[name].version, prereleases=True)


def library(*extras: str) -> Iterator[Requirement]:
    """Yield what the library and some extras require."""
    tables = project()["project"]
    for texts in (tables["dependencies"], *(tables["optional-dependencies"][extra] for extra in extras)):
        yield from map(Requirement, texts)


def group(name: str) -> Iterator[Requirement]:
    """Yield what a dependency group requires, with the groups that it includes."""
    for entry in project()["dependency-groups"][name]:
        if isinstance(entry, str):
            yield Requirement(entry)
        else:
            yield from group(entry["include-group"])


def contributed() -> Iterator[Requirement]:
    """Yield what the contributed adapters and their tests require."""
    for path in CONTRIBUTED:
        tables = document(path)["project"]
        yield from map(Requirement, [*tables["dependencies"], *tables["optional-dependencies"]["testing"]])


def test_every_extra_is_locked() -> None:
    """The development lock covers all extras; a new extra has to be added to the test above."""
    assert set(project()["project"]["optional-dependencies"]) == {
        "cli",
        "emulator",
        "fast",
        "files",
        "postgres",
        "testing",
        "warehouse",
    }


def test_locks_agree() -> None:
    """A package has the same version in each lock file that contains it."""
    versions: dict[str, set[Version]] = {}

    for lock in LOCKS:
        for pin in pins(lock).values():
            versions.setdefault(pin.name, set()).add(pin.version)

    assert not {name: found for name, found in versions.items() if len(found) > 1}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=relative)
def test_workflow_restricts_rights_and_pins_actions(workflow: Path) -> None:
    """A workflow states its permissions at the top and uses each action at one commit."""
    text = workflow.read_text(encoding="utf-8")

    actions = _USES.findall(text)

    assert re.search(r"^permissions:( \{\}|\n  contents: read)$", text, re.MULTILINE)
    assert not [action for action in actions if not _PINNED_ACTION.fullmatch(action)]
