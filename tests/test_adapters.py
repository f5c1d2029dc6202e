"""`replay_identity.adapters`, from which adapter authors import everything."""

import inspect
import re
from pathlib import Path
from typing import Final

import pytest

from replay_identity import adapters

ROOT: Final = Path(__file__).parents[1]
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
