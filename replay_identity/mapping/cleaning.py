"""Clean texts before anything else reads them: spaces, case, invisible characters, and texts that mean null."""

import re
import unicodedata
from typing import Any, Final, Self

import attrs

# Spaces of no width, marks of direction, soft hyphens, fillers, and byte order marks.
_INVISIBLE: Final = re.compile(
    "[\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\u3164\ufeff\uffa0]+"
)
# The scripts from Arabic to Mongolian, and emoji, where a joiner between two characters changes what is seen.
_JOINED: Final = "[\u0600-\u109f\u1780-\u18af\u2190-\u2bff\ufb50-\ufdff\ufe0f\ufe70-\ufefc\U0001f000-\U0001faff]"
_JOINERS: Final = re.compile(f"(?<={_JOINED})([\u200c\u200d])[\u200c\u200d]*(?={_JOINED})|[\u200c\u200d]+")

# How people and programs write that a value is missing, in lower case.
_NULLS: Final = frozenset(
    {
        *("", "-", "--", "\u2013", "\u2014", "\\n", "null", "(null)", "<null>", "[null]", "nil", "none", "undefined"),
        *("na", "n/a", "<na>", "#n/a", "n.a.", "nan", "nat"),
        *("0000-00-00", "0000-00-00 00:00:00", "0000-00-00t00:00:00z"),
        *("#null!", "#value!", "#ref!", "#div/0!", "#name?", "#num!"),
    }
)


@attrs.frozen
class TextRules:
    """What to do with the texts of a field.

    Attributes:
        nulls: Texts that mean null.
        trim: Whether to remove spaces at both ends.
        lower: Whether to change upper case to lower case.
        normalise: Whether to write letters with accents in one way (NFC) and to remove invisible characters.
    """

    nulls: frozenset[str] = frozenset()
    trim: bool = False
    lower: bool = False
    normalise: bool = False

    def or_none(self) -> Self | None:
        """Return the rules, or None if they change nothing."""
        return None if self == TextRules() else self

    def clean(self, value: Any) -> Any:  # noqa: ANN401  # A row's value.
        """Return *value* with its texts cleaned, or None for a text that means null."""
        if not isinstance(value, str):
            return self._clean_nested(value)
        text = self._normalise(value)
        text = text.strip() if self.trim else text
        if text in self.nulls:
            return None
        if self.lower:
            text = self._normalise(text.lower())
        return None if text in self.nulls else text

    def clean_fields(self, fields: dict[str, Any]) -> None:
        """Clean the values of *fields*, in nested dicts too."""
        for name, value in fields.items():
            fields[name] = self.clean(value)

    def _clean_nested(self, value: Any) -> Any:  # noqa: ANN401  # As above.
        if isinstance(value, dict):
            self.clean_fields(value)  # pyright: ignore[reportUnknownArgumentType]  # Of JSON.
        elif isinstance(value, list):
            # A null cannot be an item, so no item means null.
            items = attrs.evolve(self, nulls=frozenset())
            return [items.clean(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        return value  # pyright: ignore[reportUnknownVariableType]

    def _normalise(self, text: str) -> str:
        return visible_text(text) if self.normalise else text


def visible_text(text: str) -> str:
    """Return *text* with its accents in one way (NFC), and without invisible characters that mean nothing."""
    if text.isascii():
        return text
    composed = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    return unicodedata.normalize("NFC", _JOINERS.sub(r"\1", composed))


def means_null(text: str) -> bool:
    """Return True if *text* may say that a value is missing."""
    return text.lower() in _NULLS


def text_hint(value: object, hint: str = "") -> str:
    """Return what to set for *value*, which a cast rejected: *hint*, unless the text means null; or an empty string."""
    if isinstance(value, str) and means_null(visible_text(value).strip()):
        return "set nulls if this text means null"
    if not hint and isinstance(value, str) and value != visible_text(value).strip():
        return "set trim and normalise to remove what surrounds the text"
    return hint
