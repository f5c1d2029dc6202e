"""`replay_identity.adapters`, from which adapter authors import everything."""

import inspect
import re
from pathlib import Path
from typing import Final

import attrs
import pytest

from replay_identity import ConfigurationError, Fullstory, LogRocket, adapters
from replay_identity.adapters import HttpAdapter

ROOT: Final = Path(__file__).parents[2]
CONTRIBUTED: Final = sorted((ROOT / "adapters_contrib").glob("*/replay_identity_*/*.py"))


@pytest.mark.parametrize("name", adapters.__all__)
def test_every_class_and_function_has_a_docstring(name: str) -> None:
    """An author reads it in an editor."""
    exported = getattr(adapters, name)

    if inspect.isclass(exported) or inspect.isfunction(exported):
        assert inspect.getdoc(exported)


@pytest.mark.parametrize("path", CONTRIBUTED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_contributed_adapters_import_no_submodule(path: Path) -> None:
    """The submodules are for the core itself."""
    assert re.findall(r"replay_identity\.(?:adapters\.\w+|_\w+)", path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("address", ["https://x.example/v1/", "https://x.example/v2", "https://x.example/V2beta"])
@pytest.mark.parametrize("kind", [Fullstory, LogRocket], ids=["fullstory", "logrocket"])
def test_no_url_may_end_in_a_version(kind: type[HttpAdapter], address: str) -> None:
    """The adapter appends it; with two of them, every user would be rejected."""
    with pytest.raises(ConfigurationError) as caught:
        kind(kind.PLACEHOLDER_KEY, base_url=address)

    assert (caught.value.setting, caught.value.hint) == ("base_url", "write https://x.example")


@attrs.frozen
class SelfHosted(HttpAdapter):
    """An adapter whose vendor has no URL of its own."""

    name: str = attrs.field(default="acme", kw_only=True)

    def plan_url(self) -> str:
        """Return the URL that requests go to."""
        return self._url


def test_an_adapter_without_a_default_url_requires_one() -> None:
    """The hint names the vendor."""
    with pytest.raises(ConfigurationError) as caught:
        SelfHosted("key")

    assert caught.value.setting == "base_url"
    assert "acme" in caught.value.hint


def test_an_adapter_uses_its_base_url() -> None:
    """A trailing slash is removed."""
    assert SelfHosted("key", base_url="https://acme.example/").plan_url() == "https://acme.example"
