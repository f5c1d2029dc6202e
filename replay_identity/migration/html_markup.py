"""HTML that cannot be broken out of: whatever is not made here is text, and is escaped."""

from html import escape
from typing import Final

# Elements without content and without an end.
_VOID: Final = frozenset({"meta"})


class Markup(str):
    """HTML as it is; every other text is escaped before it comes into a page."""

    __slots__ = ()


def element(tag: str, *content: str, **attributes: object) -> Markup:
    """Return an element; of names of attributes, ``aria_label`` is ``aria-label`` and ``class_`` is ``class``."""
    named = "".join(f' {_name(key)}="{escape(str(value))}"' for key, value in attributes.items())
    return Markup(f"<{tag}{named}>" if tag in _VOID else f"<{tag}{named}>{joined(*content)}</{tag}>")


def joined(*content: str) -> Markup:
    """Return the pieces of *content* one after the other, those that are no markup escaped."""
    return Markup("".join(piece if isinstance(piece, Markup) else escape(piece) for piece in content))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
