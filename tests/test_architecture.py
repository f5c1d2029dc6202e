"""Imports point downward, and each third-party library lives in the modules that wrap it."""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).parents[1] / "replay_identity"

# Part of the package -> the parts it may import, and with them whatever those may import.
MAY_IMPORT: Final[Mapping[str, set[str]]] = {
    "errors": set(),
    "_records": set(),
    "_text": set(),
    "_forks": set(),
    "emulator": set(),
    "_values": {"errors"},
    "_paths": {"_values"},
    "_toml": {"errors"},
    "traits": {"_values"},
    "_json": {"traits"},
    "outcomes": {"traits", "_records"},
    "adapters": {"_paths", "outcomes"},
    "retry": {"adapters"},
    "_threads": {"_forks", "adapters"},
    "transport": {"_forks", "retry"},
    "fullstory": {"adapters"},
    "logrocket": {"adapters"},
    "router": {"_threads", "transport"},
    "ledger": {"_forks", "adapters"},
    "deletion": {"ledger", "router"},
    "mapping": {"_json", "_paths", "_text", "_toml"},
    "sources": {"_records", "mapping"},
    "bulk": {"ledger", "router", "sources"},
    "migration": {"bulk"},
    "config": {"bulk"},
    "testing": {"emulator", "logrocket", "transport"},
    "pytest_plugin": {"testing"},
    # The public API, and the command line, which may use anything public.
    "__init__": {"bulk", "deletion", "fullstory", "logrocket"},
    "cli": {"__init__", "config", "emulator", "migration"},
}
MAY_USE: Final[Mapping[str, set[str]]] = {
    "_json": {"orjson"},
    "_toml": {"cattrs"},
    "adapters": {"orjson"},
    "cli": {"click", "orjson", "platformdirs", "rich", "typer"},
    "emulator": {"orjson", "starlette", "uvicorn"},
    "fullstory": {"orjson"},
    "ledger": {"orjson"},
    "logrocket": {"orjson"},
    "mapping": {"orjson"},
    "migration": {"markupsafe", "orjson"},
    "pytest_plugin": {"pytest"},
    "sources": {"duckdb"},
    "testing": {"hypothesis", "orjson", "pytest"},
    "transport": {"certifi", "httpx", "pycurl"},
}
ANYWHERE: Final = {"attrs"}


def modules() -> list[Path]:
    """Return every module of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """Return the part of the package that *path* belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def below(name: str) -> set[str]:
    """Return all parts that *name* may import."""
    direct = MAY_IMPORT[name]
    return direct.union(*(below(other) for other in direct))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the level and the module of each import that runs; `if TYPE_CHECKING` does not."""
    tree = ast.parse(path.read_text())
    only_typed = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if id(node) in only_typed:
            continue
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.level, node.module
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, alias.name) for alias in node.names)


def own_part(path: Path, level: int, module: str) -> str | None:
    """Return the part of ours that an import names, or None if it names somebody else's."""
    if level == 0:
        first, _, rest = module.partition(".")
        return (rest.partition(".")[0] or "__init__") if first == PACKAGE.name else None
    parents = path.relative_to(PACKAGE).parts[:-1]
    named = [*parents[: len(parents) - level + 1], *module.split(".")]
    return named[0] if (PACKAGE / named[0]).exists() or (PACKAGE / f"{named[0]}.py").exists() else "__init__"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_downward(path: Path) -> None:
    """A module imports its own part of the package and the parts below it."""
    mine = part(path)

    found = {own_part(path, level, module) for level, module in imports(path)} - {None, mine}

    assert found <= below(mine)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_uses_a_library_only_where_it_is_wrapped(path: Path) -> None:
    """A third-party library can be replaced by changing the modules that may use it."""
    mine = part(path)

    found = {module.partition(".")[0] for level, module in imports(path) if level == 0}

    assert found - sys.stdlib_module_names - {PACKAGE.name} <= MAY_USE.get(mine, set()) | ANYWHERE


@pytest.mark.parametrize(("library", "module"), [("httpx", "httpx_sender.py"), ("pycurl", "curl_sender.py")])
def test_keeps_each_http_library_in_one_module(library: str, module: str) -> None:
    """Another HTTP library takes its place without touching an adapter."""
    users = [path.name for path in modules() if any(name == library for _, name in imports(path))]

    assert users == [module]


def test_the_emulator_imports_nothing_of_ours() -> None:
    """The emulator can disagree with the adapters, since it shares no code with them."""
    assert below("emulator") == set()


def test_vendors_never_import_each_other() -> None:
    """A vendor is removed by deleting its folder."""
    assert "logrocket" not in below("fullstory")
    assert "fullstory" not in below("logrocket")


def test_there_is_no_circle() -> None:
    """No part may import itself through others."""
    assert all(name not in below(name) for name in MAY_IMPORT)


def test_every_part_has_its_place() -> None:
    """A new module is given its place here first."""
    assert {part(path) for path in modules()} <= MAY_IMPORT.keys()
