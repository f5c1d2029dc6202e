"""Imports point downward, and each third-party library is used only where it is wrapped."""

import ast
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).parents[1] / "replay_identity"

# The parts that each part of the package may import, besides the parts that those may import.
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
    "ledger": {"_forks", "_json", "adapters"},
    "deletion": {"ledger", "router"},
    "mapping": {"_json", "_paths", "_text", "_toml"},
    "sources": {"_records", "mapping"},
    "bulk": {"deletion", "sources"},
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
    "sources": {"duckdb", "psycopg", "openpyxl"},
    "testing": {"hypothesis", "orjson", "pytest"},
    "transport": {"certifi", "httpcore", "httpx", "pycurl"},
}
ANYWHERE: Final = {"attrs"}

MAX_MODULES: Final = 203
MAX_ROOT_MODULES: Final = 17


def modules() -> list[Path]:
    """Return every module of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """Return the part of the package that *path* belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def below(name: str) -> set[str]:
    """Return all parts that *name* may import, directly or not."""
    direct = MAY_IMPORT[name]
    return direct.union(*(below(other) for other in direct))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the level and the module of each import, except those under `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.level, node.module
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, alias.name) for alias in node.names)


def own_part(path: Path, level: int, module: str) -> str | None:
    """Return the part of the package that an import names, or None for another package."""
    if level == 0:
        first, _, rest = module.partition(".")
        return (rest.partition(".")[0] or "__init__") if first == PACKAGE.name else None
    parents = path.relative_to(PACKAGE).parts[:-1]
    first = [*parents[: len(parents) - level + 1], *module.split(".")][0]
    return first if (PACKAGE / first).exists() or (PACKAGE / f"{first}.py").exists() else "__init__"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_downward(path: Path) -> None:
    """A module imports its own part of the package and the parts below it."""
    importer = part(path)

    imported = {own_part(path, level, module) for level, module in imports(path)} - {None, importer}

    assert imported <= below(importer)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_uses_a_library_only_where_it_is_wrapped(path: Path) -> None:
    """A third-party library can be replaced by changing the modules that may use it."""
    libraries = {module.partition(".")[0] for level, module in imports(path) if level == 0}

    assert libraries - sys.stdlib_module_names - {PACKAGE.name} <= MAY_USE.get(part(path), set()) | ANYWHERE


@pytest.mark.parametrize(
    ("library", "module"), [("httpx", "httpx_sender.py"), ("httpcore", "network.py"), ("pycurl", "curl_sender.py")]
)
def test_one_module_imports_each_http_library(library: str, module: str) -> None:
    """An HTTP library can be replaced without changing an adapter."""
    users = [path.name for path in modules() if any(name == library for _, name in imports(path))]

    assert users == [module]


def test_emulator_imports_no_other_part() -> None:
    """The emulator can contradict the adapters, because it shares no code with them."""
    assert below("emulator") == set()


def test_vendors_never_import_each_other() -> None:
    """A vendor can be removed by deleting its folder."""
    assert "logrocket" not in below("fullstory")
    assert "fullstory" not in below("logrocket")


def test_imports_have_no_cycle() -> None:
    """No part may import itself through other parts."""
    assert all(name not in below(name) for name in MAY_IMPORT)


def test_every_part_is_in_the_table() -> None:
    """A new part of the package is added to the table above first."""
    assert {part(path) for path in modules()} <= MAY_IMPORT.keys()


def definitions(path: Path, kind: type[ast.ClassDef] | type[ast.FunctionDef]) -> Iterator[str]:
    """Yield the names of the public classes or functions at the top of a module."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, kind) and not node.name.startswith("_"):
            yield node.name


def test_no_two_classes_have_one_name() -> None:
    """The name of a class says which class it is, without its module."""
    counts = Counter(name for path in modules() for name in definitions(path, ast.ClassDef))

    assert not [name for name, count in counts.items() if count > 1]


def test_no_module_has_the_name_of_a_public_function() -> None:
    """An import from a package gives the function or the module, whichever is meant."""
    modules_by_package = {(path.parent, path.stem) for path in modules()}
    exported = {
        (path.parent, alias.asname or alias.name)
        for path in modules()
        if path.name == "__init__.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert not modules_by_package & exported


def test_the_package_stays_small() -> None:
    """A module under 60 lines, or another file in the root, needs a reason."""
    assert len(modules()) <= MAX_MODULES
    assert len(list(PACKAGE.glob("*.py"))) <= MAX_ROOT_MODULES
