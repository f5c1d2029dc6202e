"""Pytest fixtures: emulators over real HTTP, a scripted transport, and the mark `reconciled`.

Pytest finds the plugin by its entry point in every project, so it imports the rest only in tests that use it.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .emulator import FullstoryEmulator, LogRocketEmulator
    from .emulator.base import Emulator
    from .testing import ScriptedTransport

pytest.register_assert_rewrite("replay_identity.testing.conformance")

_MARK = "reconciled"


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line(
        "markers", f"{_MARK}: fail the test if fullstory_emulator and logrocket_emulator have different users after it"
    )


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Fail a marked test that leaves different users in the two emulators."""
    result = yield
    if pyfuncitem.get_closest_marker(_MARK) is not None:
        _check_reconciled(pyfuncitem)
    return result


@pytest.fixture(scope="session")
def _fullstory_server() -> Iterator["tuple[FullstoryEmulator, str]"]:
    from .emulator import FullstoryEmulator  # noqa: PLC0415  # See the module docstring.

    with _served(emulator := FullstoryEmulator()) as url:
        yield emulator, url


@pytest.fixture(scope="session")
def _logrocket_server() -> Iterator["tuple[LogRocketEmulator, str]"]:
    from .emulator import LogRocketEmulator  # noqa: PLC0415  # See the module docstring.

    with _served(emulator := LogRocketEmulator()) as url:
        yield emulator, url


@pytest.fixture
def fullstory_emulator(_fullstory_server: "tuple[FullstoryEmulator, str]") -> "FullstoryEmulator":
    """Return an empty Fullstory emulator; it listens at `fullstory_url` and accepts the key ``na1.emulator``."""
    emulator, _ = _fullstory_server
    emulator.reset()
    return emulator


@pytest.fixture
def logrocket_emulator(_logrocket_server: "tuple[LogRocketEmulator, str]") -> "LogRocketEmulator":
    """Return an empty LogRocket emulator; it listens at `logrocket_url` and accepts the key ``acme:shop:emulator``."""
    emulator, _ = _logrocket_server
    emulator.reset()
    return emulator


@pytest.fixture
def fullstory_url(_fullstory_server: "tuple[FullstoryEmulator, str]") -> str:
    """Return the ``base_url`` of `fullstory_emulator`."""
    return _fullstory_server[1]


@pytest.fixture
def logrocket_url(_logrocket_server: "tuple[LogRocketEmulator, str]") -> str:
    """Return the ``base_url`` of `logrocket_emulator`."""
    return _logrocket_server[1]


@pytest.fixture
def scripted_transport() -> "ScriptedTransport":
    """Return a `ScriptedTransport` with an empty script; append responses with its `add`."""
    from .testing import ScriptedTransport  # noqa: PLC0415  # See the module docstring.

    return ScriptedTransport()


@contextmanager
def _served(emulator: "Emulator") -> Generator[str]:
    from .emulator import running  # noqa: PLC0415  # See the module docstring.

    with running(emulator) as server:
        yield server.url


def _check_reconciled(test: pytest.Function) -> None:
    from .testing import find_differences  # noqa: PLC0415  # See the module docstring.

    fixtures: dict[str, Any] = test.funcargs
    missing = [name for name in ("fullstory_emulator", "logrocket_emulator") if name not in fixtures]
    if missing:
        pytest.fail(f"{_MARK}: the test needs both emulators; add {' and '.join(missing)}", pytrace=False)
    differences = find_differences(fixtures["fullstory_emulator"], fixtures["logrocket_emulator"])
    if differences:
        pytest.fail("\n".join(["the emulators have different users:", *differences]), pytrace=False)
