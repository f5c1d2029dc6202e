"""Fenced blocks and links of Markdown pages."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

ROOT: Final = Path(__file__).parents[2]

# The address of the repository. Pages that are part of a package link to it, because the package has no other pages.
REPOSITORY: Final = "https://github.com/replay-identity/replay-identity"
# Paths in the repository's web interface that show no file.
_VIEWS: Final = {"", "/issues", "/commits/main", "/security/advisories/new"}
_FILE: Final = re.compile(r"/(?P<kind>blob|tree)/main/(?P<path>.+)")

_FENCED: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]\n]+\]: (\S+)$", re.MULTILINE)
_BLOCK: Final = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@attrs.frozen
class Block:
    """A fenced block of a page.

    Attributes:
        language: First word of the info string.
        argument: Rest of the info string.
        text: Content of the block.
        line: Line of the page on which the content starts.
    """

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
    """Return True if *address* is an absolute URL."""
    return address.startswith(("https://", "http://"))


def is_ours(address: str) -> bool:
    """Return True if *address* starts like one of the repository, even if the rest is misspelled."""
    return address.startswith(REPOSITORY.rpartition("/")[0])


def in_tree(address: str) -> Path | None:
    """Return the file or folder that an address in the repository shows, or None for a view such as the issues.

    For an address that the repository does not have, return a path that does not exist.
    """
    view = address.removeprefix(REPOSITORY)
    if view in _VIEWS:
        return None
    match = _FILE.fullmatch(view)
    if match is None:
        return ROOT / "no such address"
    path = ROOT / match["path"]
    return path if path.is_dir() == (match["kind"] == "tree") else ROOT / "no such address"


def write(block: Block, folder: Path) -> None:
    """Write the file that *block* shows to *folder*."""
    path = folder / block.argument
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")
