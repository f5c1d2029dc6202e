"""The users of one LogRocket app, and how LogRocket validates them."""

import math
from collections.abc import Mapping
from typing import Final

import attrs

from ..http import JsonObject, JsonValue, parse_json
from ..rate_limit import Clock
from .errors import MISSING_BODY, LogRocketHttpError, malformed, too_large

# The documents say "max 1024 characters" and "less than 1024 characters". Policy: 1024 is allowed, counted in
# UTF-16 units, as LogRocket's own React Native SDK does (2026-11-21, npm @logrocket/react-native 3.4.0).
MAX_UNITS: Final = 1024

FIELDS: Final = {"name", "email", "timestamp", "traits"}

# Number.prototype.toString uses exponents beyond these (ECMA-262, Number::toString).
MAX_DIGITS: Final = 21
MAX_ZEROS: Final = 6

MILLISECONDS: Final = 1000


@attrs.frozen(kw_only=True)
class LogRocketUser:
    """A snapshot of a user; `first_seen` and `last_seen` are milliseconds since the epoch."""

    user_id: str = attrs.field(repr=False)
    name: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)
    traits: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    first_seen: int
    last_seen: int

    def as_json(self) -> dict[str, JsonValue]:
        """Return the user as LogRocket's JSON.

        Policy: a name or e-mail that was never set is omitted.
        """
        optional: dict[str, JsonValue] = {"name": self.name, "email": self.email}
        present = {field: value for field, value in optional.items() if value is not None}
        return {"userID": self.user_id, **present, "traits": dict(self.traits)}


@attrs.define(kw_only=True)
class LogRocketUsers:
    """The users of one app, by your own id."""

    clock: Clock = attrs.field(repr=False)
    by_id: dict[str, LogRocketUser] = attrs.field(init=False, factory=dict[str, LogRocketUser], repr=False)

    def put(self, user_id: str, identity: "IdentityUpdate") -> LogRocketUser:
        """Merge *identity* into the user, or create the user, and return it."""
        # Policy: the default timestamp is the time of arrival.
        seen = int(self.clock() * MILLISECONDS) if identity.timestamp is None else identity.timestamp
        user = self.by_id.get(user_id) or LogRocketUser(user_id=user_id, first_seen=seen, last_seen=seen)

        # Policy: a timestamp only sets first and last seen, as documented; for a trait, the last *arrival* wins.
        self.by_id[user_id] = attrs.evolve(
            user,
            name=user.name if identity.name is None else identity.name,
            email=user.email if identity.email is None else identity.email,
            traits=_merge_traits(user.traits, identity.traits),
            first_seen=min(user.first_seen, seen),
            last_seen=max(user.last_seen, seen),
        )
        return self.by_id[user_id]


def _merge_traits(old: Mapping[str, str], new: Mapping[str, str]) -> Mapping[str, str]:
    # "To remove a trait [...] set to a blank value." Policy: a blank value is the empty string, not spaces.
    return {name: value for name, value in {**old, **new}.items() if value}


@attrs.frozen(kw_only=True)
class IdentityUpdate:
    """The fields of a PUT; None is a field that it does not contain, and `""` removes a trait."""

    name: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)
    timestamp: int | None = None
    traits: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)


def read_identity(value: JsonObject, *, accepts_empty: bool) -> IdentityUpdate:
    """Return the fields in *value*.

    Raises:
        LogRocketHttpError: A field is malformed or too large (400).
    """
    # Policy: unknown fields do not conform to the schema.
    if value.keys() - FIELDS or not (value or accepts_empty):
        raise malformed()

    # All types are checked before any length.
    identity = IdentityUpdate(
        name=_read_string(value, "name"),
        email=_read_string(value, "email"),
        timestamp=_read_timestamp(value),
        traits=_read_traits(value.get("traits", {})),
    )
    _check_lengths(identity)
    return identity


def parse_object(body: bytes) -> JsonObject:
    """Return the JSON object in *body*.

    Raises:
        LogRocketHttpError: The body is missing or not a JSON object (400).
    """
    if not body:
        raise LogRocketHttpError(400, MISSING_BODY)
    try:
        value = parse_json(body)
    except ValueError:
        raise malformed() from None

    if not isinstance(value, dict):
        raise malformed()
    return value


def _read_string(value: Mapping[str, JsonValue], name: str) -> str | None:
    text = value.get(name, "")
    if not isinstance(text, str):
        raise malformed()
    # Policy: an empty name or e-mail is ignored; only traits are documented to be removed by an empty value.
    return text or None


def _read_timestamp(value: Mapping[str, JsonValue]) -> int | None:
    if "timestamp" not in value:
        return None

    timestamp = value["timestamp"]
    # Policy: whole milliseconds only.
    if not isinstance(timestamp, int) or isinstance(timestamp, bool):
        raise malformed()
    return timestamp


def _read_traits(traits: JsonValue) -> Mapping[str, str]:
    # Policy: a trait without a name does not conform to the schema.
    if not isinstance(traits, dict) or "" in traits:
        raise malformed()
    return {name: _read_trait(value) for name, value in traits.items()}


def _read_trait(value: JsonValue) -> str:
    match value:
        case str():
            return value
        case bool() | int() | float():
            # "Integers or booleans will be converted to strings." Policy: floats are, too.
            return js_string(value)
        case _:
            # Policy: null is not an empty value, and lists and objects are not trait values.
            raise malformed()


def _check_lengths(identity: IdentityUpdate) -> None:
    check_length(identity.email or "", "email")
    check_length(identity.name or "", "name")
    for name, value in identity.traits.items():
        if utf16_length(name) > MAX_UNITS:
            # Policy: the documented message has no number here; the description says 1024 for all keys.
            raise LogRocketHttpError(400, "user trait key too large")
        check_length(value, "user trait value")


def check_length(text: str, field: str) -> None:
    """Check that a string has at most 1024 characters.

    Raises:
        LogRocketHttpError: It has more (400).
    """
    if utf16_length(text) > MAX_UNITS:
        raise too_large(field)


def utf16_length(text: str) -> int:
    """Return the length of *text* in UTF-16 units, as JavaScript counts."""
    return len(text.encode("utf-16-le")) // 2


def js_string(value: bool | float) -> str:  # noqa: FBT001 - a bool is one of the values to convert.
    """Return JavaScript's `String(value)`; an int beyond 2**53 loses digits."""
    if isinstance(value, bool):
        return "true" if value else "false"

    number = float(value)
    if number == 0:
        return "0"
    return f"-{_positive_string(-number)}" if math.copysign(1.0, number) < 0 else _positive_string(number)


def _positive_string(number: float) -> str:
    # Python and JavaScript agree on the digits (the fewest that read back as the same double), but not on the format.
    mantissa, _, exponent = f"{number!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = f"{whole}{fraction}".lstrip("0")
    leading = len(whole) if whole.strip("0") else len(digits) - len(fraction)
    return _format(digits.rstrip("0"), leading + int(exponent or 0))


def _format(digits: str, point: int) -> str:
    if len(digits) <= point <= MAX_DIGITS:
        return digits.ljust(point, "0")
    if 0 < point <= MAX_DIGITS:
        return f"{digits[:point]}.{digits[point:]}"
    if -MAX_ZEROS < point <= 0:
        return f"0.{'0' * -point}{digits}"

    fraction = f".{digits[1:]}" if digits[1:] else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"
