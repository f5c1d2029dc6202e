"""A user in Umami's words: flat data by dotted names, the name and the e-mail address among them."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias

import attrs

from replay_identity.adapters import REMOVE, Adaptation, UserTraits, is_list, is_nested

from .limits import EMAIL, NAME, TRAIT_NAME, TRAIT_VALUE
from .texts import is_date, is_kept_exactly, list_text, looks_like_date, moment_text, number_text

Word: TypeAlias = str | int | float | bool

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Names that no trait can have: what Umami makes of the first is not known, and the second means something of its own in
# JavaScript, so that validators written in it leave it out without a word.
_UNFIT_NAMES: Final[Mapping[str, str]] = {"": "empty-name", "__proto__": "reserved-name"}
_NUL: Final = "\0"


def word_user(user: UserTraits, adaptation: Adaptation) -> dict[str, Word]:
    """Return the data that Umami is to hold of *user*, and record in *adaptation* what had to give."""
    data = Data(adaptation)
    if user.name is not None and data.takes("name", user.name):
        data.put("name", "name", adaptation.truncate("name", user.name, NAME))
    if user.email is not None and data.takes("email", user.email):
        data.put(
            "email", "email", adaptation.fit_or_drop("email", user.email, EMAIL)
        )  # Half an address is another address.
    data.add(user.traits)
    return data.words


def word_moment(moment: datetime, adaptation: Adaptation) -> int:
    """Return *moment* in whole seconds since the epoch: Umami takes milliseconds for a year beyond 50,000."""
    if moment.microsecond:
        adaptation.record("observed_at", "coerced", "timestamp-in-seconds")
    return (moment - _EPOCH) // timedelta(seconds=1)


@attrs.define
class Data:
    """The data of one user while it is being worded.

    Attributes:
        adaptation: Where adjustments and violations go.
        words: What Umami is to hold, by dotted names.
    """

    adaptation: Adaptation
    words: dict[str, Word] = attrs.field(init=False, factory=dict[str, Word], repr=False)

    def add(self, traits: Mapping[str, Any], parents: str = "") -> None:
        """Add *traits*, whose dotted names begin with *parents*."""
        for own_name, value in traits.items():
            name = parents + own_name
            path = f"traits.{name}"
            if is_nested(value):
                self.add(value, f"{name}.")
            elif name in _UNFIT_NAMES:
                self.adaptation.drop(path, _UNFIT_NAMES[name])
            elif _NUL in name:
                self.adaptation.drop(path, "nul-byte")
            elif self.adaptation.fit_or_drop(path, name, TRAIT_NAME) is not None:
                if parents:
                    self.adaptation.record(path, "flattened", "flat-data", name)
                self.put(path, name, self._word(path, value))

    def put(self, path: str, name: str, word: Word | None) -> None:
        """Put *word* under *name*, unless there is none, or another one already, which nothing can mend."""
        if word is None:
            return
        if name in self.words:
            self.adaptation.reject(path, "name-collision")
        else:
            self.words[name] = word

    def takes(self, path: str, text: str) -> bool:
        """Tell whether *text* can be sent, and warn where Umami stores it as a date."""
        if _NUL in text:
            self.adaptation.drop(path, "nul-byte")
        elif not looks_like_date(text):
            return True
        elif not is_date(text):
            self.adaptation.drop(path, "impossible-date")
        else:
            self.adaptation.record(path, "warned", "date-like-text")
            return True
        return False

    def _word(self, path: str, value: Any) -> Word | None:  # noqa: ANN401  # As `UserTraits` has it.
        """Return *value* as it can be sent, or None if it cannot."""
        if value is REMOVE:
            self.adaptation.drop(path, "cannot-remove")
            return None
        if isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.adaptation.truncate(path, value, TRAIT_VALUE) if self.takes(path, value) else None
        if isinstance(value, int | float | Decimal):
            return self._number(path, value)
        if is_list(value):
            return self._whole(path, list_text(value), "list-as-json")
        if isinstance(value, date):
            return self._whole(path, moment_text(value), "moment-as-iso8601")
        return self._whole(path, str(value), "uuid-as-text")

    def _number(self, path: str, number: float | Decimal) -> Word | None:
        if not is_kept_exactly(number):
            # As a number it would be rounded, or refused with a 500.
            return self._whole(path, number_text(number), "number-as-text")
        if not isinstance(number, Decimal):
            return number
        self.adaptation.record(path, "coerced", "decimal-as-number")
        return float(number)

    def _whole(self, path: str, text: str, rule: str) -> str | None:
        """Return *text* for a value that is none; half of it would be another value, so it is whole or not sent."""
        if self.adaptation.fit_or_drop(path, text, TRAIT_VALUE) is None:
            return None
        self.adaptation.record(path, "coerced", rule)
        return text
