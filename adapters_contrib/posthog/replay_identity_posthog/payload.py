"""Encode a user as the properties of one PostHog ``$set`` event."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import orjson

from replay_identity.adapters import REMOVE, Adaptation, UserTraits

from .limits import EVENT
from .values import broken_name_rule, encode_value

# Names to JSON values, and to REMOVE if the property is to be unset.
Properties: TypeAlias = dict[str, Any]

# The colon and the comma; the quotes count with the name and the value.
_PUNCTUATION_BYTES: Final = 2


def encode_user(user: UserTraits, adaptation: Adaptation) -> Properties:
    """Return the properties of *user*, and record in *adaptation* what changed."""
    # PostHog has no fields for these; by convention, they are properties with these names.
    own = {name: text for name, text in (("name", user.name), ("email", user.email)) if text is not None}
    properties = {name: encode_value(text, name, adaptation) for name, text in own.items()}
    for name, value in user.traits.items():
        path = f"traits.{name}"
        if (rule := _broken_property_rule(name)) is not None:
            adaptation.drop(path, rule)
        elif name in own:
            # The same value twice is not a collision.
            if value != own[name]:
                adaptation.reject(path, "name-collision")
        else:
            properties[name] = value if value is REMOVE else encode_value(value, path, adaptation)
    # The items of a list share one path, so each adjustment and violation is recorded once.
    adaptation.adjustments[:] = dict.fromkeys(adaptation.adjustments)
    adaptation.violations[:] = dict.fromkeys(adaptation.violations)
    return {name: value for name, value in properties.items() if value is not None}


def event_properties(properties: Properties) -> Mapping[str, Any]:
    """Return the event's own properties, which set and unset *properties* of the person."""
    to_set = {name: value for name, value in properties.items() if value is not REMOVE}
    to_unset = [name for name, value in properties.items() if value is REMOVE]
    return {
        # Otherwise PostHog takes the location of this request's sender for the user's
        # (https://posthog.com/docs/cdp/geoip-enrichment, and PyPI posthog 7.91.1, client.py, read 2026-11-21).
        "$geoip_disable": True,
        **({"$set": to_set} if to_set else {}),
        **({"$unset": to_unset} if to_unset else {}),
    }


def without_largest(properties: Properties, size: int, user: UserTraits, adaptation: Adaptation) -> Properties:
    """Return *properties* without the largest, as few as possible, so that their event fits the limit.

    Args:
        properties: The properties of *user*.
        size: Bytes of an event with all *properties*; over the limit.
        user: The user.
        adaptation: Records what is left out: as dropped if adapting, else as a violation.
    """
    kept, remaining = dict(properties), size
    sizes = {name: _size(name, value) for name, value in properties.items()}
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if remaining <= EVENT.maximum:
            break
        path = name if name in {"name", "email"} and getattr(user, name) is not None else f"traits.{name}"
        if adaptation.adapt:
            adaptation.record(path, "dropped", EVENT.rule)
        else:
            adaptation.reject_over(path, EVENT, size)
        del kept[name]
        remaining -= sizes[name]
    return kept


def _broken_property_rule(name: str) -> str | None:
    """Return the rule that *name* breaks as the name of a property, or None."""
    if not name:
        return "empty-name"  # PostHog does not document what it does with it.
    if name.startswith("$"):
        return "reserved-name"  # PostHog's own properties.
    return broken_name_rule(name)


def _size(name: str, value: Any) -> int:  # noqa: ANN401  # JSON.
    """Return the bytes that an event is smaller without *name*, at least."""
    if value is REMOVE:
        return len(orjson.dumps(name)) + 1
    return len(orjson.dumps(name)) + len(orjson.dumps(value)) + _PUNCTUATION_BYTES
