"""Encode a user as Mixpanel JSON: one update that sets properties, and one that removes some."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import attrs
import orjson

from replay_identity.adapters import REMOVE, Adaptation, Adjustment, UserTraits, Violation, is_list, is_nested

from .limits import MAX_PROPERTIES, MAX_USERS, PROPERTY_NAME, PROPERTY_VALUE, REQUEST, TEXT, UPDATE
from .values import encode_value

# The names with a dollar sign that applications may set; the others are Mixpanel's own. `$created` is "not
# auto-populated" (https://github.com/mixpanel/docs/blob/ba22906, reserved-properties.mdx, read 2026-11-30).
_SETTABLE: Final = frozenset({"$first_name", "$last_name", "$phone", "$avatar", "$created"})
_NAME: Final = "$name"
_EMAIL: Final = "$email"
_PATHS: Final = {_NAME: "name", _EMAIL: "email"}


@attrs.frozen
class UserUpdates:
    """The updates that would be sent for one user.

    Attributes:
        user: The user.
        updates: The updates as JSON, in the order in which they are sent; empty if there is nothing to send.
        adjustments: How the updates differ from the user's traits.
        violations: The rules broken; with any, there are no updates.
    """

    user: UserTraits
    updates: tuple[bytes, ...] = attrs.field(repr=False)
    adjustments: tuple[Adjustment, ...]
    violations: tuple[Violation, ...]


def encode_user(user: UserTraits, token: str, adaptation: Adaptation) -> UserUpdates:
    """Return the updates that merge *user* into their profile in the project of *token*."""
    if user.user_id is None:
        adaptation.reject("user_id", "anonymous-user")
    envelope = {"$token": token, "$distinct_id": user.user_id or ""}
    to_set = _properties(user, adaptation)
    to_unset = _removals(user.traits, adaptation)
    updates = [
        update
        for operation, content in (("$set", to_set), ("$unset", to_unset))
        if (update := _update(envelope, operation, content, adaptation)) is not None
    ]
    if not updates and adaptation.adjustments and not adaptation.violations:
        adaptation.reject("traits", "nothing-left")
    if adaptation.violations:
        updates.clear()
    return UserUpdates(user, tuple(updates), tuple(adaptation.adjustments), tuple(adaptation.violations))


def split_into_batches(users: Iterable[UserUpdates]) -> Iterator[list[UserUpdates]]:
    """Yield *users* in their order, as many at a time as fit into one request, and all updates of a user together."""
    batch: list[UserUpdates] = []
    count = size = 0
    for user in users:
        # One byte for the comma or bracket.
        added = sum(len(update) + 1 for update in user.updates)
        if batch and (count + len(user.updates) > MAX_USERS.maximum or size + added > REQUEST.maximum):
            yield batch
            batch, count, size = [], 0, 0
        batch.append(user)
        count += len(user.updates)
        size += added
    if batch:
        yield batch


def encode_batch(batch: Iterable[UserUpdates]) -> bytes:
    """Return the body of the request that sends *batch*."""
    return b"[" + b",".join(update for user in batch for update in user.updates) + b"]"


def _properties(user: UserTraits, adaptation: Adaptation) -> dict[str, Any]:
    """Return the properties to set, name and e-mail first."""
    properties: dict[str, Any] = {}
    if user.name is not None:
        properties[_NAME] = adaptation.truncate("name", user.name, TEXT)
    if user.email is not None and (email := adaptation.fit_or_drop("email", user.email, TEXT)) is not None:
        properties[_EMAIL] = email
    for name, value in user.traits.items():
        if value is not REMOVE and _check_name(name, adaptation):
            property_value = _value(value, f"traits.{name}", adaptation)
            if property_value is not None:
                properties[name] = property_value
    return _within_count(properties, adaptation)


def _removals(traits: Mapping[str, Any], adaptation: Adaptation) -> dict[str, Any]:
    """Return the names of the properties to remove, in the order of the traits; the values are None."""
    return {name: None for name, value in traits.items() if value is REMOVE and _check_name(name, adaptation)}


def _check_name(name: str, adaptation: Adaptation) -> bool:
    """Return True if a trait's property can be named *name*, else record why not."""
    path = f"traits.{name}"
    if not name:
        adaptation.drop(path, "empty-name")
    elif name.startswith("$") and name not in _SETTABLE:
        adaptation.drop(path, "reserved-name")
    else:
        return adaptation.fit_or_drop(path, name, PROPERTY_NAME) is not None
    return False


def _value(value: Any, path: str, adaptation: Adaptation) -> Any:  # noqa: ANN401  # A trait's value becomes JSON.
    before = len(adaptation.adjustments)
    encoded = encode_value(value, path, adaptation)
    if (is_list(value) or is_nested(value)) and len(content := orjson.dumps(encoded)) > PROPERTY_VALUE.maximum:
        # The value is not sent, so the adjustments inside it do not matter any more.
        del adaptation.adjustments[before:]
        adaptation.fit_or_drop(path, content.decode(), PROPERTY_VALUE)
        return None
    return encoded


def _within_count(properties: dict[str, Any], adaptation: Adaptation) -> dict[str, Any]:
    """Return *properties* without the last ones that exceed the limit of a profile."""
    if len(properties) <= MAX_PROPERTIES.maximum:
        return properties
    if not adaptation.adapt:
        adaptation.reject_over("traits", MAX_PROPERTIES, len(properties))
        return properties
    for name in islice(properties, MAX_PROPERTIES.maximum, None):
        adaptation.drop(_path(name), MAX_PROPERTIES.rule)
    return dict(islice(properties.items(), MAX_PROPERTIES.maximum))


def _update(envelope: dict[str, str], operation: str, content: dict[str, Any], adaptation: Adaptation) -> bytes | None:
    """Return the update, without its largest properties if it is too large; None if nothing is left of it."""
    if not content:
        return None
    update = _encode(envelope, operation, content)
    excess = len(update) - UPDATE.maximum
    if excess <= 0:
        return update
    if len(_encode(envelope, operation, {})) > UPDATE.maximum:
        adaptation.reject_over("user_id", UPDATE, len(update))
        return None

    sizes = {name: _size(operation, name, value) for name, value in content.items()}
    largest = sorted(content, key=lambda name: (-sizes[name], name))
    if not adaptation.adapt:
        adaptation.reject_over(_path(largest[0]), UPDATE, len(update))
        return None
    for name in largest:
        if excess <= 0:
            break
        excess -= sizes[name]
        adaptation.drop(_path(name), UPDATE.rule)
        del content[name]
    return _encode(envelope, operation, content) if content else None


def _encode(envelope: dict[str, str], operation: str, content: dict[str, Any]) -> bytes:
    return orjson.dumps({**envelope, operation: content if operation == "$set" else list(content)})


def _size(operation: str, name: str, value: Any) -> int:  # noqa: ANN401  # As above.
    """Return the bytes that a property takes in its update, with its comma."""
    # Two brackets less, one comma more.
    return len(orjson.dumps({name: value} if operation == "$set" else [name])) - 1


def _path(name: str) -> str:
    return _PATHS.get(name, f"traits.{name}")
