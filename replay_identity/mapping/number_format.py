"""Numbers as people write them: with a decimal comma, thousands separators, or a currency."""

import re
from collections.abc import Mapping
from typing import Final

import attrs

from ..errors import ConfigurationError

# The characters that each setting of `thousands` accepts. Spreadsheets write several kinds of spaces.
_SEPARATORS: Final[Mapping[str, str]] = {",": ",", ".": r"\.", " ": "[ \u00a0\u202f]", "'": "['\u2019]"}
_DECIMALS: Final[Mapping[str, str]] = {".": r"\.", ",": ","}

_HAS_COMMA: Final = re.compile(r"-?[0-9.' \u00a0\u202f\u2019]*,[0-9.,' \u00a0\u202f\u2019]*")
_UNIT: Final = r"(?:[^\w\s.,'+-]|[A-Z]{3})"
_HAS_UNIT: Final = re.compile(rf"-?{_UNIT}\s?-?[0-9][0-9.,]*|-?[0-9][0-9.,]*\s?{_UNIT}")
# To remove these would make another number: digits, a minus, the parentheses of negative amounts, a decimal sign alone.
# In "5.-", as the Swiss write it, the hyphen is not a minus.
_PART_OF_NUMBER: Final = re.compile(r"\d|^\s*[-\u2212(]|(?<![.,])[-\u2212)]\s*$|^[.,\s]+$")
# No number is longer, and searching more would be slow.
_MAX_LENGTH: Final = 100


@attrs.frozen
class NumberFormat:
    """How the numbers in the strings of a field are written.

    Attributes:
        decimal: The decimal sign.
        thousands: The separator of groups of three digits, or None if there is none.
        strip: Texts to remove at either end.
    """

    decimal: str = "."
    thousands: str | None = None
    strip: tuple[str, ...] = ()
    _pattern: re.Pattern[str] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        """Check that the settings fit together."""
        if self.decimal not in _DECIMALS:
            raise ConfigurationError("decimal", f"expected one of {_quoted(_DECIMALS)}")
        if self.thousands is not None and self.thousands not in _SEPARATORS:
            raise ConfigurationError("thousands", f"expected one of {_quoted(_SEPARATORS)}")
        if self.thousands == self.decimal:
            raise ConfigurationError("thousands", "is also the decimal sign", "set decimal to the other one")
        if not all(map(str.strip, self.strip)):
            raise ConfigurationError("strip", "has an empty text")
        if any(map(_PART_OF_NUMBER.search, self.strip)):
            problem = "has a text that may be part of a number: a digit, a minus, a parenthesis or a decimal sign"
            raise ConfigurationError("strip", problem, 'list units, such as "€" or "%"')
        grouped = "" if self.thousands is None else rf"|[1-9][0-9]{{0,2}}(?:{_SEPARATORS[self.thousands]}[0-9]{{3}})+"
        object.__setattr__(
            self,
            "_pattern",
            re.compile(
                rf"(?P<whole>-?(?:0|[1-9][0-9]*{grouped}))"
                rf"(?:{_DECIMALS[self.decimal]}(?P<fraction>[0-9]+))?"
                r"(?P<exponent>[eE][+-]?[0-9]{1,5})?"
            ),
        )

    def read(self, text: str) -> str | None:
        """Return the number in *text* as JSON writes it, or None if it is written in another way."""
        match = self._pattern.fullmatch(self._strip(text))
        if match is None:
            return None
        whole = "".join(character for character in match["whole"] if character.isdigit() or character == "-")
        fraction = f".{match['fraction']}" if match["fraction"] else ""
        return f"{whole}{fraction}{match['exponent'] or ''}"

    def _strip(self, text: str) -> str:
        """Return *text* without the texts to remove, which may also stand between a minus sign and the number."""
        sign, rest = ("-", text[1:]) if text.startswith("-") else ("", text)
        stripped = self._strip_ends(rest)
        if sign and stripped.startswith("-"):
            return text
        return text if stripped == rest else sign + stripped

    def _strip_ends(self, text: str) -> str:
        """Return *text* without the texts to remove, each at most once at either end, and the spaces next to them."""
        for part in sorted(self.strip, key=len, reverse=True):
            if text.startswith(part):
                text = text.removeprefix(part).lstrip()
            if text.endswith(part):
                text = text.removesuffix(part).rstrip()
        return text


def number_hint(text: object) -> str:
    """Return what to set so that *text* can be read as a number, or an empty string."""
    if not isinstance(text, str) or len(text) > _MAX_LENGTH:
        return ""
    if _HAS_COMMA.fullmatch(text):
        return "; set decimal or thousands to say what its comma means"
    return "; set strip to remove a currency or a percent sign" if _HAS_UNIT.fullmatch(text) else ""


def _quoted(choices: Mapping[str, str]) -> str:
    return " ".join(f'"{choice}"' for choice in choices)
