"""Clean texts before anything else reads them: spaces, case, invisible characters, and texts that mean null."""

import unicodedata
from typing import Any, Final, Self

import attrs

# Characters of no width: spaces, joiners, marks of direction, and byte order marks.
_INVISIBLE: Final = dict.fromkeys(
    [0x180E, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065), *range(0x2066, 0x206A)]
)


@attrs.frozen
class TextRules:
    """What to do with the texts of a field.

    Attributes:
        nulls: Texts that mean null.
        trim: Whether to remove spaces at both ends.
        lower: Whether to change upper case to lower case.
        normalise: Whether to compose characters (NFC) and to remove those of no width.
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
    """Return *text* with its characters composed (NFC), and without those of no width."""
    return text if text.isascii() else unicodedata.normalize("NFC", text.translate(_INVISIBLE))
