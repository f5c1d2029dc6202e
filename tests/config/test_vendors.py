"""Backend classes are found by the name of their vendor."""

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from replay_identity import ConfigurationError, Fullstory, LogRocket
from replay_identity.config import backends

CONTRIBUTED = EntryPoint("acme", "acme_replay:Acme", backends.ENTRY_POINT_GROUP)


def _fail(_entry: EntryPoint) -> type:
    raise ZeroDivisionError


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> "Install":
    """Return a function that replaces the installed entry points."""
    return Install(monkeypatch)


class Install:
    """Replaces the installed entry points."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, *entries: EntryPoint) -> None:
        """Make *entries* the only entry points."""
        found = EntryPoints(entries)
        self._monkeypatch.setattr(backends, "entry_points", found.select)


def test_built_in_vendors_have_entry_points() -> None:
    """They are found like any contributed vendor."""
    assert {"fullstory", "logrocket"} <= set(backends.installed_vendors())
    assert backends.load_backend_class("fullstory") is Fullstory
    assert backends.load_backend_class("logrocket") is LogRocket


def test_listing_vendors_imports_none() -> None:
    """A vendor that cannot be imported does not affect the others."""
    code = (
        "import sys; from replay_identity.config.backends import installed_vendors;"
        "from importlib.metadata import EntryPoint;"
        "before = set(sys.modules); installed_vendors();"
        "assert not {m for m in set(sys.modules) - before if m.startswith('replay_identity')}"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_vendors_are_sorted_and_unique(install: Install) -> None:
    """A package installed twice is listed once."""
    install(CONTRIBUTED, EntryPoint("aaa", "x:Y", backends.ENTRY_POINT_GROUP), CONTRIBUTED)

    assert backends.installed_vendors() == ["aaa", "acme"]


def test_an_unknown_vendor_lists_the_installed_ones() -> None:
    """Control characters in the name are escaped."""
    with pytest.raises(ConfigurationError) as caught:
        backends.load_backend_class("full\x1bstory")

    assert caught.value.setting == "full\\u001bstory"
    assert "fullstory" in caught.value.hint
    assert "logrocket" in caught.value.hint


def test_an_import_error_names_the_vendor(install: Install) -> None:
    """The error contains the entry point and the type of the exception."""
    install(CONTRIBUTED)

    with pytest.raises(ConfigurationError) as caught:
        backends.load_backend_class("acme")

    assert caught.value.setting == "acme_replay:Acme"
    assert "ModuleNotFoundError" in caught.value.problem
    assert "acme" in caught.value.hint


def test_an_entry_point_must_be_a_class(install: Install) -> None:
    """Settings are passed to a class."""
    install(EntryPoint("acme", "json:dumps", backends.ENTRY_POINT_GROUP))

    with pytest.raises(ConfigurationError, match="json:dumps: expected a class"):
        backends.load_backend_class("acme")


def test_two_packages_for_one_vendor_are_an_error(install: Install) -> None:
    """Choosing one of them would be arbitrary."""
    install(CONTRIBUTED, EntryPoint("acme", "other:Acme", backends.ENTRY_POINT_GROUP))

    with pytest.raises(ConfigurationError) as caught:
        backends.load_backend_class("acme")

    assert "acme_replay:Acme, other:Acme" in caught.value.hint


def test_the_hint_names_the_package_to_reinstall(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the first thing to try."""
    monkeypatch.setattr(EntryPoint, "load", _fail)

    with pytest.raises(ConfigurationError, match="ZeroDivisionError; reinstall replay-identity"):
        backends.load_backend_class("fullstory")
