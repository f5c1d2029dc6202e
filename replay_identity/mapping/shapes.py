"""What a value looks like, without what it says."""

import re
from datetime import date
from decimal import Decimal
from typing import Final

MOST_SHAPE: Final = 16

_DIGITS: Final = re.compile(r"[0-9]+")
_LETTERS: Final = re.compile(r"[A-Za-z]+")
_OTHERS: Final = re.compile(r"[^ -~]+")
_RUN: Final = re.compile(r"(.)\1+")


def shape(value: object) -> str:
    """Return what *value* looks like: letters as ``a``, digits as ``9``, each run once, and no more of it."""
    if isinstance(value, bool):
        return "(truth)"
    if isinstance(value, int | float | Decimal):
        return "(number)"
    if isinstance(value, date):
        return "(date)"
    if not isinstance(value, str):
        return "(list)" if isinstance(value, list) else "(other)"
    # More of a text cannot show, however long its runs are: what stands behind is not looked at.
    text = _OTHERS.sub("·", _LETTERS.sub("a", _DIGITS.sub("9", value[: MOST_SHAPE**2])))
    return _RUN.sub(r"\1", text)[:MOST_SHAPE] or "(empty)"
