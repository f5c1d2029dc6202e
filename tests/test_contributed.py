"""Every folder of adapters_contrib is a distribution of its own, which the library does not know."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[1]
FOLDERS: Final = sorted(path.parent for path in (ROOT / "adapters_contrib").glob("*/pyproject.toml"))


def name_of(folder: Path) -> str:
    """Return the name that a test shows."""
    return folder.name


def document(folder: Path) -> dict[str, Any]:
    """Return the folder's pyproject.toml."""
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def test_there_are_some() -> None:
    """Otherwise the tests below would ask nothing."""
    assert {"mixpanel", "openpanel", "posthog", "scim", "umami"} <= {folder.name for folder in FOLDERS}


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


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_vendor_is_found_by_its_entry_point(folder: Path) -> None:
    """Under the folder's name, with settings that the feature matrix makes it with, and a test that it conforms."""
    entry_points = document(folder)["project"].get("entry-points", {}).get("replay_identity.backends", {})
    if not entry_points:
        pytest.skip(f"{folder.name} is no backend")

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
