"""Finding backends by name."""

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from replay_identity import ConfigurationError, Fullstory, LogRocket
from replay_identity.config import backends

CONTRIBUTED = EntryPoint("acme", "acme_replay:Acme", backends.GROUP)


def _fail(_entry: EntryPoint) -> type:
    raise ZeroDivisionError


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> "Install":
    """Give what installs entry points."""
    return Install(monkeypatch)


class Install:
    """Makes entry points be found instead of those of the installed packages."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, *entries: EntryPoint) -> None:
        """Install *entries*."""
        found = EntryPoints(entries)
        self._monkeypatch.setattr(backends, "entry_points", found.select)


def test_the_built_in_vendors_are_found_as_any_other() -> None:
    """They have entry points."""
    assert {"fullstory", "logrocket"} <= set(backends.names())
    assert backends.load("fullstory") is Fullstory
    assert backends.load("logrocket") is LogRocket


def test_only_the_vendor_asked_for_is_imported() -> None:
    """One that cannot be imported stands in nobody else's way, and costs nobody time."""
    code = (
        "import sys; from replay_identity.config.backends import names, load;"
        "from importlib.metadata import EntryPoint;"
        "before = set(sys.modules); names();"
        "assert not {m for m in set(sys.modules) - before if m.startswith('replay_identity')}"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_are_in_order_and_once_each(install: Install) -> None:
    """However often a package is installed."""
    install(CONTRIBUTED, EntryPoint("aaa", "x:Y", backends.GROUP), CONTRIBUTED)

    assert backends.names() == ["aaa", "acme"]


def test_an_unknown_vendor_is_told_with_the_known_ones() -> None:
    """The name may be anything, and is shown so that it cannot harm a terminal."""
    with pytest.raises(ConfigurationError) as caught:
        backends.load("full\x1bstory")

    assert caught.value.setting == "full\\u001bstory"
    assert "fullstory" in caught.value.hint
    assert "logrocket" in caught.value.hint


def test_a_vendor_that_cannot_be_imported_is_told(install: Install) -> None:
    """The error names what to look at."""
    install(CONTRIBUTED)

    with pytest.raises(ConfigurationError) as caught:
        backends.load("acme")

    assert str(caught.value) == ("acme_replay:Acme: cannot be imported: ModuleNotFoundError (it is the vendor acme)")


def test_a_vendor_that_is_no_class_is_told(install: Install) -> None:
    """It could not be given settings."""
    install(EntryPoint("acme", "json:dumps", backends.GROUP))

    with pytest.raises(ConfigurationError, match="json:dumps: is not a class"):
        backends.load("acme")


def test_a_name_claimed_twice_is_told(install: Install) -> None:
    """Which one would win would be chance."""
    install(CONTRIBUTED, EntryPoint("acme", "other:Acme", backends.GROUP))

    with pytest.raises(ConfigurationError, match=r"claimed by several packages .*acme_replay:Acme, other:Acme"):
        backends.load("acme")


def test_the_hint_names_the_package_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reinstalling it is the first thing to try."""
    monkeypatch.setattr(EntryPoint, "load", _fail)

    with pytest.raises(ConfigurationError, match=r"ZeroDivisionError .reinstall replay-identity"):
        backends.load("fullstory")
