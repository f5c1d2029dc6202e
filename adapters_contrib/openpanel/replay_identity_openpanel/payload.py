"""Encode a user as the payload of an OpenPanel `identify`: first and last name, e-mail and properties.

The server merges the payload into the profile key by key and ignores blank values, so nothing that is stored can be
cleared (packages/common/src/object.ts in https://github.com/Openpanel-dev/openpanel, read 2026-11-21).
"""

from collections.abc import Mapping
from typing import Any

import attrs

from replay_identity.adapters import REMOVE, Adaptation, UserTraits, is_nested

from .limits import EMAIL, RESERVED_EVERYWHERE, RESERVED_PREFIX, SET_BY_SERVER
from .values import encode_value


def encode_user(user: UserTraits, adaptation: Adaptation) -> dict[str, Any]:
    """Return the payload for *user* without their id, and record in *adaptation* what changed."""
    payload: dict[str, Any] = {}
    if user.name is not None:
        payload.update(_names(user.name, adaptation))
    if user.email is not None:
        if EMAIL.fullmatch(user.email):
            payload["email"] = user.email
        else:
            adaptation.drop("email", "email-form")
    if user.traits:
        properties = PropertyEncoder(adaptation).encode(user.traits, "")
        if properties:
            payload["properties"] = properties
    return payload


def _names(name: str, adaptation: Adaptation) -> dict[str, str]:
    """Return *name* split at its last blank, so that first and last name joined by a blank are *name* again."""
    if not name:
        adaptation.drop("name", "blank-stays")
        return {}
    first, _, last = name.rpartition(" ")
    if first.strip() and last.strip():
        return {"firstName": first, "lastName": last}
    # A stored last name can be neither cleared nor read.
    adaptation.record("name", "warned", "last-name-stays")
    return {"firstName": name}


@attrs.define
class PropertyEncoder:
    """Encodes the traits of one user.

    Attributes:
        adaptation: Records the adjustments and violations.
        names: Dotted names so far. OpenPanel shows a dot in a name as nesting, so two equal ones would be one.
    """

    adaptation: Adaptation
    names: set[str] = attrs.field(init=False, factory=set[str], repr=False)

    def encode(self, traits: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        """Return *traits*, whose dotted names begin with *prefix*, as properties."""
        properties: dict[str, Any] = {}
        for own_name, value in traits.items():
            name = prefix + own_name
            rule = _broken_rule(own_name, value, is_nested_trait=bool(prefix))
            if rule is not None:
                self.adaptation.drop(f"traits.{name}", rule)
            elif is_nested(value):
                # The server merges objects, so an empty one would have no effect.
                if nested := self.encode(value, f"{name}."):
                    properties[own_name] = nested
            elif name in self.names:
                self.adaptation.reject(f"traits.{name}", "name-collision")
            else:
                self.names.add(name)
                properties[own_name] = encode_value(value, f"traits.{name}", self.adaptation)
        return properties


def _broken_rule(name: str, value: Any, *, is_nested_trait: bool) -> str | None:  # noqa: ANN401  # A trait's value.
    """Return the rule that a trait breaks, or None."""
    if name == RESERVED_EVERYWHERE or (not is_nested_trait and name.startswith(RESERVED_PREFIX)):
        return "reserved-name"
    if not is_nested_trait and name in SET_BY_SERVER:
        return "set-by-server"
    if value is REMOVE:
        return "cannot-remove"
    # An empty text clears nothing at any depth; an empty list is ignored at the first level and replaces below it.
    if value == "" or (not is_nested_trait and value == ()):
        return "blank-stays"
    return None
