"""The fenced blocks of the documentation's pages."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

ROOT: Final = Path(__file__).parents[1]

_BLOCK: Final = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@attrs.frozen
class Block:
    """A fenced block of a page."""

    language: str
    argument: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of *page* in order."""
    content = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(content):
        language, _, argument = match["info"].partition(" ")
        yield Block(language, argument, match["text"], content.count("\n", 0, match.start("text")) + 1)


def write(block: Block, place: Path) -> None:
    """Write the file that a block shows."""
    path = place / block.argument
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")
