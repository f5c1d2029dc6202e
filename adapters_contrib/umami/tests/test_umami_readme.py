"""The README names only tests that exist."""

import re
from pathlib import Path

HERE = Path(__file__).parent
README = (HERE.parent / "README.md").read_text(encoding="utf-8")


def test_every_named_test_exists() -> None:
    """With that name."""
    named = set(re.findall(r"`(test_\w+)`", README))
    defined = {
        name for file in HERE.glob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text("utf-8"))
    }

    assert named
    assert named <= defined
