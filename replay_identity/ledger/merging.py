"""What is known of one user, put together from what was said at different times."""

from collections.abc import Container, Mapping
from typing import Any

from .._values import REMOVE, is_nested
from ..traits import TraitType, UserTraits, new_unchecked
from .codec import typed_field


def merged(older: UserTraits, newer: UserTraits) -> UserTraits:
    """Return *older* with all that *newer* says; nested traits are merged name by name."""
    moments = [moment for moment in (older.observed_at, newer.observed_at) if moment is not None]
    return new_unchecked(
        newer.user_id,
        older.name if newer.name is None else newer.name,
        older.email if newer.email is None else newer.email,
        _merged_traits(older.traits, newer.traits),
        {**older.types, **newer.types},
        max(moments, default=None),
        {**older.vendor_ids, **newer.vendor_ids},
    )


def replaced(older: UserTraits, newer: UserTraits) -> UserTraits:
    """Return *newer*, with what only *older* tells and no row can: the vendors' ids, types, and traits to clear."""
    return new_unchecked(
        newer.user_id,
        newer.name,
        newer.email,
        _merged_traits(_removals(older.traits), newer.traits),
        {**older.types, **newer.types},
        newer.observed_at,
        {**older.vendor_ids, **newer.vendor_ids},
    )


def field_names(user: UserTraits) -> list[str]:
    """Return the names of what *user* says: name, e-mail address and the outermost name of each trait."""
    own = [name for name in ("name", "email") if getattr(user, name) is not None]
    return [*own, *(f"traits.{name}" for name in user.traits)]


def without(user: UserTraits, fields: Container[str]) -> UserTraits:
    """Return *user* without the *fields* named as `field_names` names them, and their types."""
    traits = {name: value for name, value in user.traits.items() if f"traits.{name}" not in fields}
    types: dict[str, TraitType] = {
        path: declared for path, declared in user.types.items() if typed_field(path, user.traits) not in fields
    }
    return new_unchecked(
        user.user_id,
        None if "name" in fields else user.name,
        None if "email" in fields else user.email,
        traits,
        types,
        user.observed_at,
        user.vendor_ids,
    )


def _removals(traits: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is to be cleared of *traits*, nested or not."""
    found = {name: _removals(value) if is_nested(value) else value for name, value in traits.items()}
    return {name: value for name, value in found.items() if value is REMOVE or (is_nested(value) and value)}


def _merged_traits(older: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    traits = dict(older)
    for name, value in newer.items():
        known = traits.get(name)
        traits[name] = _merged_traits(known, value) if is_nested(known) and is_nested(value) else value
    return traits
