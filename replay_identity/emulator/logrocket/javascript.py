"""How JavaScript writes and measures values."""

import math

# Number.prototype.toString turns to exponents outside these (ECMA-262, Number::toString).
MOST_DIGITS = 21
MOST_ZEROS = 6


def utf16_length(text: str) -> int:
    """Return what JavaScript calls the length of *text*."""
    return len(text.encode("utf-16-le")) // 2


def string_of(value: bool | float) -> str:  # noqa: FBT001 - the subject is what a bool becomes.
    """Return `String(value)`; an int beyond 2**53 loses digits, as it does in JavaScript."""
    if isinstance(value, bool):
        return "true" if value else "false"

    number = float(value)
    if number == 0:
        return "0"
    return f"-{_positive(-number)}" if math.copysign(1.0, number) < 0 else _positive(number)


def _positive(number: float) -> str:
    # Python and JavaScript agree on the digits (the fewest that read back as the same double), not on layout.
    mantissa, _, exponent = f"{number!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = f"{whole}{fraction}".lstrip("0")
    leading = len(whole) if whole.strip("0") else len(digits) - len(fraction)
    return _lay_out(digits.rstrip("0"), leading + int(exponent or 0))


def _lay_out(digits: str, point: int) -> str:
    if len(digits) <= point <= MOST_DIGITS:
        return digits.ljust(point, "0")
    if 0 < point <= MOST_DIGITS:
        return f"{digits[:point]}.{digits[point:]}"
    if -MOST_ZEROS < point <= 0:
        return f"0.{'0' * -point}{digits}"

    fraction = f".{digits[1:]}" if digits[1:] else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"
