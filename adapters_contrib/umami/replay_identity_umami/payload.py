"""Encode a user as Umami's flat data: properties with dotted names, the name and the e-mail address among them."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias

import attrs

from replay_identity.adapters import REMOVE, Adaptation, UserTraits, is_list, is_nested

from .limits import EMAIL, NAME, TRAIT_NAME, TRAIT_VALUE
from .values import date_text, is_date, is_stored_exactly, list_text, looks_like_date, number_text

JsonScalar: TypeAlias = str | int | float | bool

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Names that no trait can have. What Umami does with an empty name is not known. The other has a meaning in JavaScript,
# so validators silently leave it out.
_UNUSABLE_NAMES: Final[Mapping[str, str]] = {"": "empty-name", "__proto__": "reserved-name"}
_NUL: Final = "\0"


def encode_user(user: UserTraits, adaptation: Adaptation) -> dict[str, JsonScalar]:
    """Return the data of *user*, and record in *adaptation* what changed."""
    encoder = DataEncoder(adaptation)
    if user.name is not None and encoder.accepts_text("name", user.name):
        encoder.put("name", "name", adaptation.truncate("name", user.name, NAME))
    if user.email is not None and encoder.accepts_text("email", user.email):
        # Never truncated: half an address is another address.
        encoder.put("email", "email", adaptation.fit_or_drop("email", user.email, EMAIL))
    encoder.add(user.traits)
    return encoder.data


def encode_timestamp(moment: datetime, adaptation: Adaptation) -> int:
    """Return *moment* in whole seconds since the epoch: Umami takes milliseconds for a year beyond 50,000."""
    if moment.microsecond:
        adaptation.record("observed_at", "coerced", "timestamp-in-seconds")
    return (moment - _EPOCH) // timedelta(seconds=1)


@attrs.define
class DataEncoder:
    """Encodes the data of one user.

    Attributes:
        adaptation: Records the adjustments and violations.
        data: The encoded values by dotted name.
    """

    adaptation: Adaptation
    data: dict[str, JsonScalar] = attrs.field(init=False, factory=dict[str, JsonScalar], repr=False)

    def add(self, traits: Mapping[str, Any], prefix: str = "") -> None:
        """Add *traits*, whose dotted names begin with *prefix*."""
        for own_name, value in traits.items():
            name = prefix + own_name
            path = f"traits.{name}"
            if is_nested(value):
                self.add(value, f"{name}.")
            elif name in _UNUSABLE_NAMES:
                self.adaptation.drop(path, _UNUSABLE_NAMES[name])
            elif _NUL in name:
                self.adaptation.drop(path, "nul-byte")
            elif self.adaptation.fit_or_drop(path, name, TRAIT_NAME) is not None:
                if prefix:
                    self.adaptation.record(path, "flattened", "flat-data", name)
                self.put(path, name, self._encode(path, value))

    def put(self, path: str, name: str, value: JsonScalar | None) -> None:
        """Add *value* as *name* unless it is None; record a violation if the name is taken."""
        if value is None:
            return
        if name in self.data:
            self.adaptation.reject(path, "name-collision")
        else:
            self.data[name] = value

    def accepts_text(self, path: str, text: str) -> bool:
        """Return True if *text* can be sent, and record a warning if Umami stores it as a date."""
        if _NUL in text:
            self.adaptation.drop(path, "nul-byte")
            return False
        if not looks_like_date(text):
            return True
        if not is_date(text):
            self.adaptation.drop(path, "impossible-date")
            return False
        self.adaptation.record(path, "warned", "date-like-text")
        return True

    def _encode(self, path: str, value: Any) -> JsonScalar | None:  # noqa: ANN401  # A trait's value.
        """Return *value* as it is sent, or None if it cannot be sent."""
        if value is REMOVE:
            self.adaptation.drop(path, "cannot-remove")
            return None
        if isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.adaptation.truncate(path, value, TRAIT_VALUE) if self.accepts_text(path, value) else None
        if isinstance(value, int | float | Decimal):
            return self._number(path, value)
        if is_list(value):
            return self._as_text(path, list_text(value), "list-as-json")
        if isinstance(value, date):
            return self._as_text(path, date_text(value), "date-as-iso8601")
        return self._as_text(path, str(value), "uuid-as-text")

    def _number(self, path: str, number: float | Decimal) -> JsonScalar | None:
        if not is_stored_exactly(number):
            # As a number it would be rounded, or rejected with a 500.
            return self._as_text(path, number_text(number), "number-as-text")
        if not isinstance(number, Decimal):
            return number
        self.adaptation.record(path, "coerced", "decimal-as-number")
        return float(number)

    def _as_text(self, path: str, text: str, rule: str) -> str | None:
        """Return *text*, which stands for a value of another type; None if it is too long, since it cannot be cut."""
        if self.adaptation.fit_or_drop(path, text, TRAIT_VALUE) is None:
            return None
        self.adaptation.record(path, "coerced", rule)
        return text
