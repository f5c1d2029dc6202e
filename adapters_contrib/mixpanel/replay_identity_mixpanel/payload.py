"""A user in Mixpanel's words: one update that sets properties, and one that removes some."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import attrs

from replay_identity.adapters import REMOVE, Adaptation, Adjustment, UserTraits, Violation, is_list, is_nested

from .limits import MOST_PROPERTIES, PROPERTY_NAME, PROPERTY_VALUE, UPDATE
from .values import dumps, word

# Mixpanel shows these of a person, and they are for applications to set; the others are its own
# (https://help.mixpanel.com/hc/en-us/articles/115004708186-Profile-Properties, read 2026-11-29).
_OPEN: Final = frozenset({"$first_name", "$last_name", "$phone", "$avatar"})
_NAME: Final = "$name"
_EMAIL: Final = "$email"
_PATHS: Final = {_NAME: "name", _EMAIL: "email"}


@attrs.frozen
class Updates:
    """What Mixpanel would be sent for one user.

    Attributes:
        user: The user.
        records: The updates as JSON, in the order in which they are sent; none if there is nothing to say.
        adjustments: How they differ from what was given.
        violations: The rules broken; with any, there are no records.
    """

    user: UserTraits
    records: tuple[bytes, ...] = attrs.field(repr=False)
    adjustments: tuple[Adjustment, ...]
    violations: tuple[Violation, ...]


def word_user(user: UserTraits, token: str, *, adapt: bool) -> Updates:
    """Return the updates that merge *user* into their profile in the project of *token*."""
    adaptation = Adaptation(adapt)
    if user.user_id is None:
        adaptation.reject("user_id", "anonymous-user")
    envelope = {"$token": token, "$distinct_id": user.user_id or ""}
    properties = _properties(user, adaptation)
    removals = _removals(user.traits, adaptation)
    records = [
        record
        for operation, entries in (("$set", properties), ("$unset", removals))
        if (record := _record(envelope, operation, entries, adaptation)) is not None
    ]
    if not records and adaptation.adjustments and not adaptation.violations:
        adaptation.reject("traits", "nothing-left")
    if adaptation.violations:
        records.clear()
    return Updates(user, tuple(records), tuple(adaptation.adjustments), tuple(adaptation.violations))


def _properties(user: UserTraits, adaptation: Adaptation) -> dict[str, Any]:
    """Return the properties to set, name and e-mail first."""
    properties: dict[str, Any] = {}
    if user.name is not None:
        properties[_NAME] = adaptation.truncate("name", user.name, PROPERTY_VALUE)
    if user.email is not None and (email := adaptation.fit_or_drop("email", user.email, PROPERTY_VALUE)) is not None:
        properties[_EMAIL] = email
    for name, value in user.traits.items():
        if value is not REMOVE and _takes(name, adaptation):
            property_value = _value(value, f"traits.{name}", adaptation)
            if property_value is not None:
                properties[name] = property_value
    return _within_count(properties, adaptation)


def _removals(traits: Mapping[str, Any], adaptation: Adaptation) -> dict[str, Any]:
    """Return the names of the properties to remove, in the order given."""
    return {name: None for name, value in traits.items() if value is REMOVE and _takes(name, adaptation)}


def _takes(name: str, adaptation: Adaptation) -> bool:
    """Tell whether *name* can be that of a trait's property."""
    path = f"traits.{name}"
    if not name:
        adaptation.drop(path, "empty-name")
    elif name.startswith("$") and name not in _OPEN:
        adaptation.drop(path, "reserved-name")
    else:
        return adaptation.fit_or_drop(path, name, PROPERTY_NAME) is not None
    return False


def _value(value: Any, path: str, adaptation: Adaptation) -> Any:  # noqa: ANN401  # A trait's value becomes JSON.
    """Return *value* as JSON has it, or None if it cannot be sent."""
    if isinstance(value, str):
        return adaptation.truncate(path, value, PROPERTY_VALUE)
    before = len(adaptation.adjustments)
    words = word(value, path, adaptation)
    if (is_list(value) or is_nested(value)) and len(encoded := dumps(words)) > PROPERTY_VALUE.maximum:
        # What was done to it on the way matters no more.
        del adaptation.adjustments[before:]
        adaptation.fit_or_drop(path, encoded.decode(), PROPERTY_VALUE)
        return None
    return words


def _within_count(properties: dict[str, Any], adaptation: Adaptation) -> dict[str, Any]:
    """Return as many of *properties* as a profile takes; the last ones are dropped."""
    if len(properties) <= MOST_PROPERTIES.maximum:
        return properties
    if not adaptation.adapt:
        adaptation.reject_over("traits", MOST_PROPERTIES, len(properties))
        return properties
    for name in islice(properties, MOST_PROPERTIES.maximum, None):
        adaptation.drop(_path(name), MOST_PROPERTIES.rule)
    return dict(islice(properties.items(), MOST_PROPERTIES.maximum))


def _record(envelope: dict[str, str], operation: str, entries: dict[str, Any], adaptation: Adaptation) -> bytes | None:
    """Return the update, without its largest members where it would be too large; None if it would say nothing."""
    if not entries:
        return None
    record = _encode(envelope, operation, entries)
    excess = len(record) - UPDATE.maximum
    if excess <= 0:
        return record
    if len(_encode(envelope, operation, {})) > UPDATE.maximum:
        adaptation.reject_over("user_id", UPDATE, len(record))
        return None
    sizes = {name: _size(operation, name, value) for name, value in entries.items()}
    largest = sorted(entries, key=lambda name: (-sizes[name], name))
    if not adaptation.adapt:
        adaptation.reject_over(_path(largest[0]), UPDATE, len(record))
        return None
    for name in largest:
        if excess <= 0:
            break
        excess -= sizes[name]
        adaptation.drop(_path(name), UPDATE.rule)
        del entries[name]
    return _encode(envelope, operation, entries) if entries else None


def _encode(envelope: dict[str, str], operation: str, entries: dict[str, Any]) -> bytes:
    return dumps({**envelope, operation: entries if operation == "$set" else list(entries)})


def _size(operation: str, name: str, value: Any) -> int:  # noqa: ANN401  # As above.
    """Return how many bytes a member takes in its update: without the brackets, with the comma."""
    return len(dumps({name: value} if operation == "$set" else [name])) - 1


def _path(name: str) -> str:
    return _PATHS.get(name, f"traits.{name}")
