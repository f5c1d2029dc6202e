"""Every folder of adapters_contrib is a distribution of its own, which the library does not know."""

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

from replay_identity.adapters.protocols import IdentityBackend
from replay_identity.emulator import running
from replay_identity.testing import BackendConformance

MOST_EXAMPLE_LINES: Final = 18
FOLDERS: Final = sorted(path.parent for path in (ROOT / "adapters_contrib").glob("*/pyproject.toml"))


def name_of(folder: Path) -> str:
    """Return the name that a test shows."""
    return folder.name


def is_backend(folder: Path) -> bool:
    """Tell whether the folder is an adapter."""
    return "replay_identity.backends" in document(folder)["project"].get("entry-points", {})


def document(folder: Path) -> dict[str, Any]:
    """Return the folder's pyproject.toml."""
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


BACKENDS: Final = [folder for folder in FOLDERS if is_backend(folder)]


def test_there_are_some() -> None:
    """Otherwise the tests below would ask nothing."""
    assert BACKENDS


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_folder_is_a_distribution_named_for_its_vendor(folder: Path) -> None:
    """Its package is typed, and its page is there."""
    project = document(folder)["project"]
    package = folder / f"replay_identity_{folder.name}"

    assert project["name"] == f"replay-identity-{folder.name}"
    assert "replay-identity" in {re.split(r"[\[><= ]", need)[0] for need in project["dependencies"]}
    assert "testing" in project["optional-dependencies"]  # As `make contrib` installs it.
    assert (package / "__init__.py").is_file()
    assert (package / "py.typed").is_file()
    assert (folder / "README.md").is_file()
    assert list(folder.glob("tests/test_*.py"))


@pytest.mark.parametrize("folder", BACKENDS, ids=name_of)
def test_a_vendor_is_found_by_its_entry_point(folder: Path) -> None:
    """Under the folder's name, with settings that the feature matrix makes it with, and a test that it conforms."""
    entry_points = document(folder)["project"]["entry-points"]["replay_identity.backends"]

    assert entry_points.keys() == {folder.name}
    assert entry_points[folder.name].startswith(f"replay_identity_{folder.name}:")
    assert document(folder)["tool"]["replay-identity"]["example"]
    assert "BackendConformance" in (folder / "tests" / f"test_{folder.name}_conformance.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_distribution_stands_alone(folder: Path) -> None:
    """It imports none of the others, and what it calls itself to the vendor is its own version."""
    others = "|".join(each.name for each in FOLDERS if each != folder)
    version = document(folder)["project"]["version"]
    for module in folder.rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        assert not re.search(rf"replay_identity_({others})\b", text), module
        assert set(re.findall(rf"replay-identity-{folder.name}/([0-9.]+)", text)) <= {version}, module


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_the_library_does_not_know_it(folder: Path) -> None:
    """Removing a vendor is deleting its folder."""
    for module in (ROOT / "replay_identity").rglob("*.py"):
        assert f"replay_identity_{folder.name}" not in module.read_text(encoding="utf-8"), module


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_fake_vendor_shares_no_code_with_its_adapter(folder: Path) -> None:
    """Or it could not disagree with it: it imports the kit of fake vendors, and nothing of the rest."""
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
    """Give the conformance suite of an adapter, imported from its folder and forgotten afterwards."""
    folder: Path = request.param
    monkeypatch.setattr(sys, "path", [str(folder), str(folder / "tests"), *sys.path])
    known = set(sys.modules)
    module = importlib.import_module(f"test_{folder.name}_conformance")
    suites = [value for name, value in vars(module).items() if name.startswith("Test")]
    yield suites[0]()
    for name in set(sys.modules) - known:
        del sys.modules[name]


def _always(backend: IdentityBackend, *_settings: object, **_more: object) -> IdentityBackend:
    return backend


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "folder"), [(each, each) for each in BACKENDS], indirect=["suite"], ids=map(name_of, BACKENDS)
)
def test_the_examples_of_its_page_run(
    suite: BackendConformance, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first one with the fake vendor in the place of the vendor; it is short. The others use it themselves."""
    example, *others = [block.text for block in blocks(folder / "README.md") if block.language == "python"]
    place = document(folder)["project"]["entry-points"]["replay_identity.backends"][folder.name]
    module, _, name = place.partition(":")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    emulator = suite.make_emulator()

    with running(emulator) as server, monkeypatch.context() as patched:
        backend = suite.make_backend(base_url=server.url, on_violation="adapt")
        patched.setenv(f"{folder.name.upper()}_API_KEY", suite.key)
        patched.setattr(sys.modules[module], name, partial(_always, backend))
        exec(compile(example, "README.md", "exec"), namespace)  # noqa: S102  # That is what the test is for.
    namespace[name] = getattr(sys.modules[module], name)
    for other in others:
        exec(compile(other, "README.md", "exec"), namespace)  # noqa: S102  # As above.

    assert namespace["report"].status == "ok"
    assert emulator.total_applied > 0
    assert len(example.splitlines()) <= MOST_EXAMPLE_LINES
    assert others
    assert "Error" not in capsys.readouterr().out
