"""Format text for people."""

import re
from typing import Final

# What a terminal obeys or does not show: C0, C1 and DEL, marks of direction, of no width and of lines, and halves of
# characters, which stand for bytes in the names of files. Line feeds and tabs are not among them.
_CONTROLS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def escape_controls(text: str) -> str:
    """Return *text* with the characters that a terminal obeys escaped as JSON and TOML read them back."""
    return text if text.isprintable() else _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def pluralize(count: int, noun: str, plural: str | None = None) -> str:
    """Return *count* with its noun: ``1 user``, ``2,000 users``; *plural* is *noun* with an ``s`` unless given."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
