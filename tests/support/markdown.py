"""The fenced blocks and the links of the documentation's pages."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

ROOT: Final = Path(__file__).parents[2]

# Where the project lives. Pages that a package carries link to it, because nothing else of the project is beside them.
REPOSITORY: Final = "https://github.com/replay-identity/replay-identity"
# Its pages that show no file.
_VIEWS: Final = {"", "/issues", "/commits/main", "/security/advisories/new"}
_FILE: Final = re.compile(r"/(?P<kind>blob|tree)/main/(?P<path>.+)")

_FENCED: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]\n]+\]: (\S+)$", re.MULTILINE)
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


def links(page: Path) -> Iterator[str]:
    """Yield the target of each link on *page*, outside its fenced blocks."""
    for inline, reference in _LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))):
        yield inline or reference


def is_absolute(address: str) -> bool:
    """Return True if *address* means the same wherever it is read."""
    return address.startswith(("https://", "http://"))


def is_ours(address: str) -> bool:
    """Return True if *address* is in our repository, or misspells it."""
    return address.startswith(REPOSITORY.rpartition("/")[0])


def in_tree(address: str) -> Path | None:
    """Return the file or folder that an address in our repository shows, None if it shows another view.

    An address that the repository does not have gives a path that does not exist.
    """
    view = address.removeprefix(REPOSITORY)
    if view in _VIEWS:
        return None
    found = _FILE.fullmatch(view)
    if found is None:
        return ROOT / "no such address"
    path = ROOT / found["path"]
    return path if path.is_dir() == (found["kind"] == "tree") else ROOT / "no such address"


def write(block: Block, place: Path) -> None:
    """Write the file that a block shows."""
    path = place / block.argument
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")
