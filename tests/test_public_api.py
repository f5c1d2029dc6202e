"""The front door: what is public, and what is not loaded by opening it."""

import subprocess
import sys
import types

import pytest

import replay_identity


def test_lists_what_is_public_sorted() -> None:
    """`__all__` is sorted as ruff sorts it and has no name twice."""
    names = replay_identity.__all__

    assert len(set(names)) == len(names)
    assert sorted(names) == sorted(set(names))


def test_lists_exactly_what_can_be_imported() -> None:
    """Every name in `__all__` exists, and no other public name does."""
    names = set(replay_identity.__all__)
    public = {
        name
        for name, value in vars(replay_identity).items()
        if not (name.startswith("_") or isinstance(value, types.ModuleType) or name in {"Any", "TYPE_CHECKING"})
    }

    assert all(getattr(replay_identity, name) is not None for name in names)
    assert public <= names


def test_has_no_other_attribute() -> None:
    """A name that is not there is told as Python tells it."""
    with pytest.raises(AttributeError, match="no attribute 'synch'"):
        replay_identity.__getattr__("synch")


def test_has_the_names_of_the_contract() -> None:
    """The names that users rely on are all there."""
    contract = (
        "UserTraits REMOVE Fullstory LogRocket IdentityBackend Router AsyncRouter Route IdentifyReport Outcome "
        "Accepted Skipped Rejected Misconfigured Unavailable Unknown Broken Adjustment Violation RetryPolicy "
        "ReplayIdentityError ConfigurationError InvalidTraitsError IdentifyError "
        "sync deliver rehearse SyncReport DeliveryOptions Ledger LedgerError DurableRouter read_users SourceError "
        "forget Receipt"
    )

    assert set(contract.split()) == set(replay_identity.__all__)


def test_importing_it_loads_no_more_than_is_needed() -> None:
    """The command line, the emulators, the test kit and the HTTP library are loaded by whoever uses them."""
    program = "import sys, replay_identity; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout.split()

    unwanted = {"cattrs", "httpx", "pycurl", "sqlite3", "hypothesis", "pytest", "rich", "starlette", "typer", "uvicorn"}
    assert unwanted.isdisjoint(loaded)
    assert not [name for name in loaded if name.startswith(("replay_identity.cli", "replay_identity.emulator"))]
