"""Numbers as people write them: with a decimal comma, thousands separators, or a currency."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

import attrs

from ..errors import ConfigurationError

# The characters that each setting of `thousands` accepts. Spreadsheets write several kinds of spaces.
_SEPARATORS: Final[Mapping[str, str]] = {",": ",", ".": r"\.", " ": "[ \u00a0\u202f]", "'": "['\u2019]"}
_DECIMALS: Final[Mapping[str, str]] = {".": r"\.", ",": ","}

# To remove these would make another number: digits, a minus, the parentheses of negative amounts, a decimal sign alone.
# In "5.-", as the Swiss write it, the hyphen is not a minus.
_PART_OF_NUMBER: Final = re.compile(r"\d|^\s*[-\u2212(]|(?<![.,])[-\u2212)]\s*$|^[.,\s]+$")
# The settings of `decimal` and `thousands` that texts are tried with, those that are expected most first.
_WAYS: Final = (
    *((".", None), (",", None), (".", ","), (",", ".")),
    *((".", " "), (",", " "), (".", "'"), (",", "'")),
)
# What may be stripped from a number, besides the signs of currencies.
_UNITS: Final = frozenset(
    {
        *("%", "US$", "A$", "C$", "R$", "Fr.", "kr", "kr.", "K\u010d", "z\u0142", "Ft", "lei"),
        *("AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR"),
        *("GBP", "HKD", "HUF", "IDR", "ILS", "INR", "JPY", "KRW"),
        *("MXN", "MYR", "NOK", "NZD", "PHP", "PLN", "RON", "RUB", "SEK", "SGD", "THB", "TRY", "UAH", "USD", "ZAR"),
    }
)
_PARTS: Final = re.compile(r"-?(?P<before>[^\d\s-]*)\s*-?[0-9](?:.*[0-9])?\s*(?P<after>[^\d\s]*)")
# Other numbers of that many digits have separators only if they are identifiers.
_LONG_NUMBER: Final = 10
_MAX_UNITS: Final = 10
_DIGITS: Final = re.compile(r"[1-9][0-9]{0,14}")
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


@lru_cache(maxsize=256)
def _format(decimal: str, thousands: str | None, unit: str) -> NumberFormat:
    return NumberFormat(decimal, thousands, (unit,) if unit else ())


def _find_unit(text: str) -> str | None:
    """Return the currency or percent sign at either end of the number *text*, or None if it has another text."""
    match = _PARTS.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if match is None or (match["before"] and match["after"]):
        return None
    unit: str = match["before"] or match["after"]
    is_known = unit in _UNITS or (len(unit) == 1 and unicodedata.category(unit) == "Sc")
    return unit if is_known or not unit else None


@attrs.define
class NumberForms:
    """The ways in which all texts of a field can be read as numbers.

    Attributes:
        units: Currencies and percent signs beside the numbers.
    """

    units: set[str] = attrs.field(init=False, factory=set[str])
    # Two ways that read all texts as the same numbers are of one class.
    _classes: dict[tuple[str, str | None], int] = attrs.field(init=False, factory=lambda: dict.fromkeys(_WAYS, 0))
    # The ways in which a number has a fraction.
    _fractions: set[tuple[str, str | None]] = attrs.field(init=False, factory=set[tuple[str, str | None]])

    @property
    def formats(self) -> dict[NumberFormat, bool]:
        """One format for each class, with True if it reads only whole numbers; a person must choose among several."""
        firsts: dict[int, tuple[str, str | None]] = {}
        for way, number in self._classes.items():
            firsts.setdefault(number, way)
        units = tuple(sorted(self.units))
        return {NumberFormat(*way, units): way not in self._fractions for way in firsts.values()}

    def add(self, text: str, is_number: Callable[[str], bool]) -> None:
        """Keep the ways that also read *text*, as a number that *is_number* accepts."""
        if _DIGITS.fullmatch(text):
            return  # All ways read the same number.
        unit = _find_unit(text) if self._classes else None
        if unit is None or len(self.units) > _MAX_UNITS:
            self._classes = {}
            return
        if unit:
            self.units.add(unit)
        read = {way: _format(*way, unit).read(text) for way in self._classes}
        numbers = {number for number in read.values() if number is not None and is_number(number)}
        classes: dict[tuple[int, str], int] = {}
        self._classes = {
            way: classes.setdefault((self._classes[way], number), len(classes))
            for way, number in read.items()
            if number in numbers and not (way[1] in {" ", "'"} and _is_long(number))
        }
        self._fractions |= {way for way in self._classes if not (read[way] or "").lstrip("-").isdigit()}


def _is_long(number: str) -> bool:
    return len(number.lstrip("-")) >= _LONG_NUMBER and "." not in number


def number_hint(text: str) -> str:
    """Return the settings with which *text* can be read as a number, or an empty string."""
    forms = NumberForms()
    forms.add(text, lambda _: True)
    choices = [*filter(None, map(_marks, forms.formats))]
    unit = "strip to remove the currency or the percent sign" if forms.formats and forms.units else ""
    settings = " and ".join(filter(None, [unit, " or ".join(choices)]))
    return f"set {settings}" if settings else ""


def _marks(numbers: NumberFormat) -> str:
    decimal = f'decimal = "{numbers.decimal}"' if numbers.decimal != "." else ""
    thousands = f'thousands = "{numbers.thousands}"' if numbers.thousands else ""
    return " with ".join(filter(None, [decimal, thousands]))


def _quoted(choices: Mapping[str, str]) -> str:
    return " ".join(f'"{choice}"' for choice in choices)
