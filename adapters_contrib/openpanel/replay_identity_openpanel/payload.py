"""A user in OpenPanel's words: the payload of an `identify`, with first and last name, e-mail and properties.

The server merges it into the profile key by key, and what is blank it leaves out: nothing that was once said can be
cleared (packages/common/src/object.ts in https://github.com/Openpanel-dev/openpanel, read 2026-11-21).
"""

from collections.abc import Mapping
from typing import Any

import attrs

from replay_identity.adapters import REMOVE, Adaptation, UserTraits, is_nested

from .limits import EMAIL, RESERVED_EVERYWHERE, RESERVED_PREFIX, SET_BY_SERVER
from .values import json_of


def word_user(user: UserTraits, adaptation: Adaptation) -> dict[str, Any]:
    """Return what is said of *user* beside their id, and record in *adaptation* what had to give."""
    said: dict[str, Any] = {}
    if user.name is not None:
        said.update(_name(user.name, adaptation))
    if user.email is not None:
        if EMAIL.fullmatch(user.email):
            said["email"] = user.email
        else:
            adaptation.drop("email", "email-form")
    if user.traits:
        properties = Properties(adaptation).word(user.traits, "")
        if properties:
            said["properties"] = properties
    return said


def _name(name: str, adaptation: Adaptation) -> dict[str, str]:
    """Return *name* as first and last name, which joined by one blank are the name again."""
    if not name:
        adaptation.drop("name", "blank-stays")
        return {}
    first, _, last = name.rpartition(" ")
    if first.strip() and last.strip():
        return {"firstName": first, "lastName": last}
    # A last name that the profile already has can be neither cleared nor seen from here.
    adaptation.record("name", "warned", "last-name-stays")
    return {"firstName": name}


@attrs.define
class Properties:
    """The traits of one user while they are being worded.

    Attributes:
        adaptation: Where adjustments and violations go.
        names: Dotted names met so far; the vendor shows a dot in a name as nesting, so two of them would be one.
    """

    adaptation: Adaptation
    names: set[str] = attrs.field(init=False, factory=set[str], repr=False)

    def word(self, traits: Mapping[str, Any], parents: str) -> dict[str, Any]:
        """Return *traits*, whose dotted names begin with *parents*, as properties."""
        worded: dict[str, Any] = {}
        for own_name, value in traits.items():
            name = parents + own_name
            rule = _rule_against(own_name, value, is_first=not parents)
            if rule is not None:
                self.adaptation.drop(f"traits.{name}", rule)
            elif is_nested(value):
                # What it is merged into stays, so that an object of which nothing is left says nothing.
                if nested := self.word(value, f"{name}."):
                    worded[own_name] = nested
            elif name in self.names:
                self.adaptation.reject(f"traits.{name}", "name-collision")
            else:
                self.names.add(name)
                worded[own_name] = json_of(value, f"traits.{name}", self.adaptation)
        return worded


def _rule_against(name: str, value: Any, *, is_first: bool) -> str | None:  # noqa: ANN401  # A trait value.
    """Return the rule by which a trait cannot be sent, or None; *is_first* tells that it is not nested."""
    if name == RESERVED_EVERYWHERE or (is_first and name.startswith(RESERVED_PREFIX)):
        return "reserved-name"
    if is_first and name in SET_BY_SERVER:
        return "set-by-server"
    if value is REMOVE:
        return "cannot-remove"
    # An empty text clears nothing at any depth; an empty list is left out at the first level, and below it replaces.
    if value == "" or (is_first and value == ()):
        return "blank-stays"
    return None
