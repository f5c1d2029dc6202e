"""The public names of each package, and what `import replay_identity` does not load."""

import importlib
import subprocess
import sys
import types
from importlib.metadata import version
from typing import Final

import pytest

import replay_identity

# The packages with public names, which are those on the API page.
PACKAGES: Final = (
    "replay_identity",
    "replay_identity.adapters",
    "replay_identity.bulk",
    "replay_identity.config",
    "replay_identity.emulator",
    "replay_identity.ledger",
    "replay_identity.mapping",
    "replay_identity.migration",
    "replay_identity.sources",
    "replay_identity.testing",
    "replay_identity.transport",
)
# Names that a module imports for its annotations.
TYPING: Final = {"Any", "Final", "TYPE_CHECKING"}


@pytest.mark.parametrize("name", PACKAGES)
def test_lists_each_public_name_once(name: str) -> None:
    """`__all__` has no duplicates; ruff checks that it is sorted."""
    names = importlib.import_module(name).__all__

    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", PACKAGES)
def test_lists_exactly_the_public_names(name: str) -> None:
    """Every name in `__all__` exists, and no other public name does."""
    package = importlib.import_module(name)
    public = {
        attribute
        for attribute, value in vars(package).items()
        if not (attribute.startswith("_") or isinstance(value, types.ModuleType) or attribute in TYPING)
    }

    assert all(getattr(package, attribute) is not None for attribute in package.__all__)
    assert public <= set(package.__all__)


def test_version_is_that_of_the_distribution() -> None:
    """`__version__` is the version of the installed distribution."""
    assert replay_identity.__version__ == version("replay-identity")


def test_unknown_attribute_raises() -> None:
    """The error for an unknown name is the one that Python itself raises."""
    with pytest.raises(AttributeError, match="no attribute 'synch'"):
        replay_identity.__getattr__("synch")


def test_has_the_names_of_the_contract() -> None:
    """The names that users rely on are all there."""
    contract = (
        "UserTraits REMOVE Fullstory LogRocket IdentityBackend Router AsyncRouter Route IdentifyReport Outcome "
        "Accepted Skipped Rejected Misconfigured Unavailable Unknown Broken Adjustment Violation RetryPolicy "
        "ReplayIdentityError ConfigurationError InvalidTraitsError IdentifyError "
        "sync deliver dry_run SyncReport DeliveryOptions Ledger LedgerError DurableRouter read_users SourceError "
        "read_rows forget DeletionReceipt SkipReason"
    )

    assert set(contract.split()) == set(replay_identity.__all__)


def test_importing_loads_no_optional_modules() -> None:
    """The command line, the emulators, the test kit and the HTTP library are loaded on first use."""
    program = "import sys, replay_identity; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout.split()

    unwanted = {"cattrs", "httpx", "pycurl", "sqlite3", "hypothesis", "pytest", "rich", "starlette", "typer", "uvicorn"}
    assert unwanted.isdisjoint(loaded)
    assert not [name for name in loaded if name.startswith(("replay_identity.cli", "replay_identity.emulator"))]


@pytest.mark.parametrize(("package", "dependency"), [("emulator", "starlette"), ("testing", "hypothesis")])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, package: str, dependency: str) -> None:
    """The error says what to install."""
    ours = f"replay_identity.{package}"
    for name in [name for name in sys.modules if f"{name}.".startswith(f"{ours}.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [dependency, *(name for name in sys.modules if name.startswith(f"{dependency}."))]:
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ModuleNotFoundError, match=rf"replay-identity\[{package}\]"):
        importlib.import_module(ours)
