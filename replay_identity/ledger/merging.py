"""Merge the stored state of a user with newer traits."""

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from typing import Any

from .._paths import leaves, parents_of, prefixes
from .._values import REMOVE, is_nested
from ..traits import TraitType, UserTraits, new_unchecked
from .codec import removed_paths, typed_field


def merge_users(older: UserTraits, newer: UserTraits) -> UserTraits:
    """Return *older* updated with *newer*; nested traits are merged name by name."""
    moments = [moment for moment in (older.observed_at, newer.observed_at) if moment is not None]
    return new_unchecked(
        newer.user_id,
        older.name if newer.name is None else newer.name,
        older.email if newer.email is None else newer.email,
        _updated_traits(older.traits, newer.traits),
        {**older.types, **newer.types},
        max(moments, default=None),
        {**older.vendor_ids, **newer.vendor_ids},
    )


def removals_to_keep(older: Mapping[str, Any], newer: Mapping[str, Any]) -> list[str]:
    """Return dotted paths of what *newer* traits removed or set again after a removal, and a merge would forget.

    A removed trait that is set again must not keep what the vendor has below it; what is removed may have been sent
    already.
    """
    outdated, removed = [".".join(names) for names in _outdated_names(older, newer)], removed_paths(newer)
    return [*_overridden_removals(older, newer, ""), *(path for path in outdated if path not in removed)]


def _overridden_removals(older: Mapping[str, Any], newer: Mapping[str, Any], parents: str) -> Iterator[str]:
    for name, after in newer.items():
        before, path = older.get(name), parents + name
        if before is REMOVE and after is not REMOVE:
            yield path
        elif is_nested(before) and is_nested(after):
            yield from _overridden_removals(before, after, f"{path}.")


def still_removed(traits: Mapping[str, Any], removed: Iterable[str]) -> list[str]:
    """Return those of *removed* paths that a vendor still has to remove if *traits* are replaced.

    A vendor may have the value that was set again after a removal, and must keep it.
    """
    return [path for path in removed if traits.get(path, REMOVE) is REMOVE or is_nested(traits[path])]


def replace_user(older: UserTraits, newer: UserTraits, removed: Collection[str]) -> UserTraits:
    """Return *newer* with the vendor ids, types and removals of *older*, which a row of a source cannot express.

    What is nested in a trait of *older* that was *removed* before, and set again since, is also kept: all else in that
    trait is to be removed.
    """
    all_removed = {*removed, *removed_paths(older.traits)}
    again = {
        name: value
        for name, value in older.traits.items()
        if (is_nested(value) and _is_removed(name, removed)) or not all_removed.isdisjoint(parents_of(name))
    }
    kept = {**_removals(older.traits), **again}
    return new_unchecked(
        newer.user_id,
        newer.name,
        newer.email,
        _updated_traits(kept, newer.traits),
        {**older.types, **newer.types},
        newer.observed_at,
        {**older.vendor_ids, **newer.vendor_ids},
    )


def field_names(user: UserTraits) -> list[str]:
    """Return the fields that *user* sets: ``name``, ``email`` and ``traits.<name>`` per trait, nested or not."""
    fields = [name for name in ("name", "email") if getattr(user, name) is not None]
    return [*fields, *(f"traits.{name}" for name in user.traits)]


def drop_fields(user: UserTraits, fields: Container[str]) -> UserTraits:
    """Return *user* without *fields*, as `field_names` names them, and without the types declared for them."""
    traits = {name: value for name, value in user.traits.items() if f"traits.{name}" not in fields}
    types: dict[str, TraitType] = {
        path: trait_type for path, trait_type in user.types.items() if typed_field(path, user.traits) not in fields
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


def _is_removed(name: str, removed: Iterable[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for path in removed)


def _removals(traits: Mapping[str, Any]) -> dict[str, Any]:
    """Return only the traits to remove, nested ones included."""
    kept = {name: _removals(value) if is_nested(value) else value for name, value in traits.items()}
    return {name: value for name, value in kept.items() if value is REMOVE or (is_nested(value) and value)}


def _updated_traits(older: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    """Return *older* updated with *newer*, without what *newer* removes under another spelling of its path."""
    overwritten = {names for names, _ in leaves(newer)}
    respelled = [
        names
        for names in _outdated_names(older, newer)
        if overwritten.isdisjoint(names[:end] for end in range(1, len(names) + 1))
    ]
    return _merge_traits(_without(older, respelled), newer)


def _merge_traits(older: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    traits = dict(older)
    for name, value in newer.items():
        known = traits.get(name)
        traits[name] = _merge_traits(known, value) if is_nested(known) and is_nested(value) else value
    return traits


def _outdated_names(older: Mapping[str, Any], newer: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the names that lead to each value of *older* which *newer* removes, or sets again after a removal.

    A path may be spelled with nested traits, with a dotted name, or with both.
    """
    removed = set(removed_paths(newer))
    if not removed and not removed_paths(older):
        return []
    still_set = {".".join(names) for names, _ in leaves(newer)}
    return [
        names
        for names, value in leaves(older)
        if not removed.isdisjoint(prefixes(".".join(names))) or (value is REMOVE and ".".join(names) in still_set)
    ]


def _without(traits: Mapping[str, Any], names: Collection[tuple[str, ...]]) -> Mapping[str, Any]:
    """Return *traits* without the values to which these *names* lead."""
    if not names:
        return traits
    tops = {path[0] for path in names}
    kept = {
        name: _without(value, [path[1:] for path in names if path[0] == name and len(path) > 1])
        if is_nested(value)
        else value
        for name, value in traits.items()
        if (name,) not in names
    }
    return {name: value for name, value in kept.items() if value or name not in tops}
