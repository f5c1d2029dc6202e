"""The users of one LogRocket app."""

import math
from collections.abc import Mapping

import attrs

from ..http import JsonObject, JsonValue, parse_json
from ..rate_limit import Clock
from .errors import MISSING_BODY, LogRocketHttpError, malformed, too_large

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


# The documents say "max 1024 characters" and "less than 1024 characters". Policy: 1024 is allowed, counted in
# UTF-16 units, as LogRocket's own React Native SDK does (2026-11-21, npm @logrocket/react-native 3.4.0).
MAX_UNITS = 1024

FIELDS = {"name", "email", "timestamp", "traits"}


@attrs.frozen(kw_only=True)
class IdentityUpdate:
    """What a PUT says about a user; None is a field it does not mention, `""` a trait to remove."""

    name: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)
    timestamp: int | None = None
    traits: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)


def read_identity(value: JsonObject, *, accepts_empty: bool) -> IdentityUpdate:
    """Return what *value* says about a user, or refuse it."""
    # Policy: unknown fields do not conform to the schema.
    if value.keys() - FIELDS or not (value or accepts_empty):
        raise malformed()

    # The schema comes before the lengths: all types are checked before any size is.
    identity = IdentityUpdate(
        name=_read_string(value, "name"),
        email=_read_string(value, "email"),
        timestamp=_read_timestamp(value),
        traits=_read_traits(value.get("traits", {})),
    )
    _check_lengths(identity)
    return identity


def parse_object(body: bytes) -> JsonObject:
    """Return the JSON object in *body*, or refuse it."""
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
    # Policy: a blank name or e-mail changes nothing; removing by a blank is documented for traits alone.
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
            # "Integers or booleans will be converted to strings." Policy: and so are floats.
            return string_of(value)
        case _:
            # Policy: null is no blank value, and lists and objects are no trait values.
            raise malformed()


def _check_lengths(identity: IdentityUpdate) -> None:
    require_short(identity.email or "", "email")
    require_short(identity.name or "", "name")
    for name, value in identity.traits.items():
        if utf16_length(name) > MAX_UNITS:
            # Policy: the documents give no number here; their description says 1024 for all keys.
            raise LogRocketHttpError(400, "user trait key too large")
        require_short(value, "user trait value")


def require_short(text: str, field: str) -> None:
    """Refuse a string over 1024 characters."""
    if utf16_length(text) > MAX_UNITS:
        raise too_large(field)


MILLISECONDS = 1000


@attrs.frozen(kw_only=True)
class LogRocketUser:
    """A user as stored; the times are milliseconds since the epoch."""

    user_id: str = attrs.field(repr=False)
    name: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)
    traits: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    first_seen: int
    last_seen: int

    def as_json(self) -> dict[str, JsonValue]:
        """Return the user as LogRocket answers it.

        Policy: a name or e-mail that was never set is left out.
        """
        named: dict[str, JsonValue] = {"name": self.name, "email": self.email}
        present = {field: value for field, value in named.items() if value is not None}
        return {"userID": self.user_id, **present, "traits": dict(self.traits)}


@attrs.define(kw_only=True)
class LogRocketUsers:
    """Users by the id that the application gave them."""

    clock: Clock = attrs.field(repr=False)
    known: dict[str, LogRocketUser] = attrs.field(init=False, factory=dict[str, LogRocketUser], repr=False)

    def put(self, user_id: str, identity: IdentityUpdate) -> LogRocketUser:
        """Merge what a PUT says into the user, who may be new."""
        # Policy: without a timestamp it is the time of arrival.
        seen = int(self.clock() * MILLISECONDS) if identity.timestamp is None else identity.timestamp
        user = self.known.get(user_id) or LogRocketUser(user_id=user_id, first_seen=seen, last_seen=seen)

        # Policy: a timestamp is for first and last seen, as documented; the newest *arrival* wins a trait.
        self.known[user_id] = attrs.evolve(
            user,
            name=user.name if identity.name is None else identity.name,
            email=user.email if identity.email is None else identity.email,
            traits=_merged(user.traits, identity.traits),
            first_seen=min(user.first_seen, seen),
            last_seen=max(user.last_seen, seen),
        )
        return self.known[user_id]


def _merged(old: Mapping[str, str], new: Mapping[str, str]) -> Mapping[str, str]:
    # "To remove a trait [...] set to a blank value." Policy: blank is the empty string, not spaces.
    return {name: value for name, value in {**old, **new}.items() if value}
