"""Every folder of adapters_contrib is a distribution of its own, unknown to the library."""

import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from support.markdown import ROOT, blocks

from replay_identity.adapters import IdentityBackend
from replay_identity.emulator import running
from replay_identity.testing import BackendConformance

MAX_EXAMPLE_LINES: Final = 18
FOLDERS: Final = sorted(path.parent for path in (ROOT / "adapters_contrib").glob("*/pyproject.toml"))


def name_of(folder: Path) -> str:
    """Return the name for the ids of tests."""
    return folder.name


def is_backend(folder: Path) -> bool:
    """Return True if the distribution in *folder* has a backend."""
    return "replay_identity.backends" in document(folder)["project"].get("entry-points", {})


def document(folder: Path) -> dict[str, Any]:
    """Return the pyproject.toml in *folder*."""
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


BACKENDS: Final = [folder for folder in FOLDERS if is_backend(folder)]


def test_backends_are_found() -> None:
    """Without one, the parametrized tests below would not run."""
    assert BACKENDS


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_distribution_is_named_after_its_vendor(folder: Path) -> None:
    """Its package is typed, and it has a README and tests."""
    project = document(folder)["project"]
    package = folder / f"replay_identity_{folder.name}"

    assert project["name"] == f"replay-identity-{folder.name}"
    assert "replay-identity" in {re.split(r"[\[><= ]", dependency)[0] for dependency in project["dependencies"]}
    assert "testing" in project["optional-dependencies"]  # `make contrib` installs it.
    assert (package / "__init__.py").is_file()
    assert (package / "py.typed").is_file()
    assert (folder / "README.md").is_file()
    assert list(folder.glob("tests/test_*.py"))


@pytest.mark.parametrize("folder", BACKENDS, ids=name_of)
def test_backend_has_an_entry_point(folder: Path) -> None:
    """The entry point has the folder's name; the distribution has example settings and a conformance test."""
    entry_points = document(folder)["project"]["entry-points"]["replay_identity.backends"]

    assert entry_points.keys() == {folder.name}
    assert entry_points[folder.name].startswith(f"replay_identity_{folder.name}:")
    assert document(folder)["tool"]["replay-identity"]["example"]
    assert "BackendConformance" in (folder / "tests" / f"test_{folder.name}_conformance.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_distribution_imports_no_other(folder: Path) -> None:
    """It imports no other contributed distribution, and sends its own version to the vendor."""
    others = "|".join(each.name for each in FOLDERS if each != folder)
    version = document(folder)["project"]["version"]
    for module in folder.rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        assert not re.search(rf"replay_identity_({others})\b", text), module
        assert set(re.findall(rf"replay-identity-{folder.name}/([0-9.]+)", text)) <= {version}, module


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_library_does_not_name_it(folder: Path) -> None:
    """A vendor can be removed by deleting its folder."""
    for module in (ROOT / "replay_identity").rglob("*.py"):
        assert f"replay_identity_{folder.name}" not in module.read_text(encoding="utf-8"), module


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_emulator_shares_no_code_with_its_adapter(folder: Path) -> None:
    """It imports only `replay_identity.emulator`, so that it can contradict the adapter."""
    package = folder / f"replay_identity_{folder.name}"
    modules = [path for path in package.rglob("*.py") if "emulator" in path.relative_to(package).as_posix()]
    for module in modules:
        inside = len(module.relative_to(package).parts) > 1
        for line in re.findall(r"^(?:from|import) .*", module.read_text(encoding="utf-8"), re.MULTILINE):
            imported = line.split()[1]
            assert not imported.startswith(".." if inside else "."), f"{module}: {line}"
            assert not imported.startswith("replay_identity") or imported.startswith("replay_identity.emulator"), line


@pytest.fixture
def suite(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[BackendConformance]:
    """Yield the conformance suite of an adapter, imported from its folder, and unload its modules afterwards."""
    folder: Path = request.param
    monkeypatch.setattr(sys, "path", [str(folder), str(folder / "tests"), *sys.path])
    loaded = set(sys.modules)
    module = importlib.import_module(f"test_{folder.name}_conformance")
    suites = [value for name, value in vars(module).items() if name.startswith("Test")]
    yield suites[0]()
    for name in set(sys.modules) - loaded:
        del sys.modules[name]


def _always(backend: IdentityBackend, *_settings: object, **_more: object) -> IdentityBackend:
    return backend


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "folder"), [(each, each) for each in BACKENDS], indirect=["suite"], ids=map(name_of, BACKENDS)
)
def test_examples_of_its_readme_run(
    suite: BackendConformance, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first example runs against the emulator instead of the vendor; the others start the emulator themselves."""
    example, *others = [block.text for block in blocks(folder / "README.md") if block.language == "python"]
    location = document(folder)["project"]["entry-points"]["replay_identity.backends"][folder.name]
    module, _, name = location.partition(":")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    emulator = suite.make_emulator()

    with running(emulator) as server, monkeypatch.context() as patched:
        backend = suite.make_backend(base_url=server.url, on_violation="adapt")
        patched.setenv(f"{folder.name.upper()}_API_KEY", suite.key)
        patched.setattr(sys.modules[module], name, partial(_always, backend))
        exec(compile(example, "README.md", "exec"), namespace)  # noqa: S102  # The test runs the page.
    namespace[name] = getattr(sys.modules[module], name)
    for other in others:
        exec(compile(other, "README.md", "exec"), namespace)  # noqa: S102  # As above.

    assert namespace["report"].status == "ok"
    assert emulator.total_applied > 0
    assert len(example.splitlines()) <= MAX_EXAMPLE_LINES
    assert others
    assert "Error" not in capsys.readouterr().out
