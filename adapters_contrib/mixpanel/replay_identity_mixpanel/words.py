"""A user in Mixpanel's words: one update that sets properties, and one that removes some."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import attrs

from replay_identity._values import REMOVE, is_list, is_nested
from replay_identity.adapters.adaptation import Fitting
from replay_identity.outcomes import Adjustment, Violation
from replay_identity.traits import UserTraits

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
    fitting = Fitting(adapt)
    if user.user_id is None:
        fitting.refuse("user_id", "anonymous-user")
    envelope = {"$token": token, "$distinct_id": user.user_id or ""}
    properties = _properties(user, fitting)
    removals = _removals(user.traits, fitting)
    records = [
        record
        for operation, members in (("$set", properties), ("$unset", removals))
        if (record := _record(envelope, operation, members, fitting)) is not None
    ]
    if not records and fitting.adjustments and not fitting.violations:
        fitting.refuse("traits", "nothing-left")
    if fitting.violations:
        records.clear()
    return Updates(user, tuple(records), tuple(fitting.adjustments), tuple(fitting.violations))


def _properties(user: UserTraits, fitting: Fitting) -> dict[str, Any]:
    """Return the properties to set, name and e-mail first."""
    properties: dict[str, Any] = {}
    if user.name is not None:
        properties[_NAME] = fitting.shorten("name", user.name, PROPERTY_VALUE)
    if user.email is not None and (email := fitting.keep("email", user.email, PROPERTY_VALUE)) is not None:
        properties[_EMAIL] = email
    for name, value in user.traits.items():
        if value is not REMOVE and _takes(name, fitting):
            property_value = _value(value, f"traits.{name}", fitting)
            if property_value is not None:
                properties[name] = property_value
    return _within_count(properties, fitting)


def _removals(traits: Mapping[str, Any], fitting: Fitting) -> dict[str, Any]:
    """Return the names of the properties to remove, in the order given."""
    return {name: None for name, value in traits.items() if value is REMOVE and _takes(name, fitting)}


def _takes(name: str, fitting: Fitting) -> bool:
    """Tell whether *name* can be that of a trait's property."""
    path = f"traits.{name}"
    if not name:
        fitting.drop(path, "empty-name")
    elif name.startswith("$") and name not in _OPEN:
        fitting.drop(path, "reserved-name")
    else:
        return fitting.keep(path, name, PROPERTY_NAME) is not None
    return False


def _value(value: Any, path: str, fitting: Fitting) -> Any:  # noqa: ANN401  # A trait's value becomes JSON.
    """Return *value* as JSON has it, or None if it cannot be sent."""
    if isinstance(value, str):
        return fitting.shorten(path, value, PROPERTY_VALUE)
    before = len(fitting.adjustments)
    words = word(value, path, fitting)
    if (is_list(value) or is_nested(value)) and len(encoded := dumps(words)) > PROPERTY_VALUE.maximum:
        # What was done to it on the way matters no more.
        del fitting.adjustments[before:]
        fitting.keep(path, encoded.decode(), PROPERTY_VALUE)
        return None
    return words


def _within_count(properties: dict[str, Any], fitting: Fitting) -> dict[str, Any]:
    """Return as many of *properties* as a profile takes; the last ones are dropped."""
    if len(properties) <= MOST_PROPERTIES.maximum:
        return properties
    if not fitting.adapt:
        fitting.exceed("traits", MOST_PROPERTIES, len(properties))
        return properties
    for name in islice(properties, MOST_PROPERTIES.maximum, None):
        fitting.drop(_path(name), MOST_PROPERTIES.rule)
    return dict(islice(properties.items(), MOST_PROPERTIES.maximum))


def _record(envelope: dict[str, str], operation: str, members: dict[str, Any], fitting: Fitting) -> bytes | None:
    """Return the update, without its largest members where it would be too large; None if it would say nothing."""
    if not members:
        return None
    record = _encode(envelope, operation, members)
    excess = len(record) - UPDATE.maximum
    if excess <= 0:
        return record
    if len(_encode(envelope, operation, {})) > UPDATE.maximum:
        fitting.exceed("user_id", UPDATE, len(record))
        return None
    sizes = {name: _size(operation, name, value) for name, value in members.items()}
    largest = sorted(members, key=lambda name: (-sizes[name], name))
    if not fitting.adapt:
        fitting.exceed(_path(largest[0]), UPDATE, len(record))
        return None
    for name in largest:
        if excess <= 0:
            break
        excess -= sizes[name]
        fitting.drop(_path(name), UPDATE.rule)
        del members[name]
    return _encode(envelope, operation, members) if members else None


def _encode(envelope: dict[str, str], operation: str, members: dict[str, Any]) -> bytes:
    return dumps({**envelope, operation: members if operation == "$set" else list(members)})


def _size(operation: str, name: str, value: Any) -> int:  # noqa: ANN401  # As above.
    """Return how many bytes a member takes in its update: without the brackets, with the comma."""
    return len(dumps({name: value} if operation == "$set" else [name])) - 1


def _path(name: str) -> str:
    return _PATHS.get(name, f"traits.{name}")
