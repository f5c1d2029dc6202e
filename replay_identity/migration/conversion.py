"""Convert users as a vendor stores them into rows for other vendors."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast, get_args

import attrs

from .._values import is_nested
from ..adapters.protocols import StoredUser
from ..errors import ConfigurationError, InvalidTraitsError
from ..mapping import CompiledMapping, RowMapping
from ..sources import BadRow, Row
from ..traits import EMAIL_KEYS, NAME_KEYS, USER_ID_KEYS, TraitType, UserTraits

_VENDOR_ID: Final = "vendor_id"
# A mapping treats these names as user fields, so a trait with such a name is given to it with a prefix.
_USER_FIELDS: Final = frozenset({*USER_ID_KEYS, *NAME_KEYS, *EMAIL_KEYS, _VENDOR_ID})
_PREFIX: Final = "traits."
_TRAIT_TYPES: Final[Mapping[str, TraitType]] = {name: name for name in get_args(TraitType)}
_NUMBER_TYPES: Final = frozenset({"int", "ints", "real", "reals"})


def _compile(conversion: "Conversion") -> CompiledMapping | None:
    if conversion.mapping is None:
        return None
    if conversion.mapping.where:
        raise ConfigurationError(
            "where", "cannot be set for users who are read from a vendor", "use the route's filter"
        )
    return CompiledMapping.compile(conversion.mapping)


def _renames(conversion: "Conversion") -> Mapping[str, str]:
    if conversion.mapping is None:
        return {}
    return {path: rule.rename for path, rule in conversion.mapping.fields.items() if rule.rename is not None}


@attrs.frozen
class Conversion:
    """Converts stored users into rows, with or without a mapping.

    In the mapping, ``user_id``, ``name``, ``email`` and ``vendor_id`` are user fields and every other path is a
    trait. ``traits.NAME`` is a trait that has the name of a user field.

    Attributes:
        mapping: Rules for the fields, or None.
    """

    mapping: RowMapping | None = None
    _compiled: CompiledMapping | None = attrs.field(
        init=False, repr=False, default=attrs.Factory(_compile, takes_self=True)
    )
    _renamed: Mapping[str, str] = attrs.field(init=False, repr=False, default=attrs.Factory(_renames, takes_self=True))

    def to_row(self, stored: StoredUser, line: int, observed_at: datetime | None = None) -> Row | BadRow:
        """Return *stored*, which was true at *observed_at*, as the row *line*; a user without an id stays anonymous."""
        try:
            return Row(line, self._to_user(stored, observed_at))
        except InvalidTraitsError as error:
            return BadRow(line, line, str(error))

    @property
    def unused(self) -> frozenset[str]:
        """Return the paths that a strict mapping names, and that no user has had so far."""
        if self._compiled is None or self.mapping is None or not self.mapping.strict:
            return frozenset()
        return frozenset(self._compiled.unseen)

    def user_id(self, stored: StoredUser) -> str | None:
        """Return the id of the user in the row of *stored*, or None if there is none."""
        if self.mapping is None:
            return stored.user_id
        row = self.to_row(stored, 1)
        return row.user.user_id if isinstance(row, Row) else None

    def _to_user(self, stored: StoredUser, observed_at: datetime | None) -> UserTraits:
        types = _unambiguous_types(stored)
        traits = _with_types(stored.traits, types, "")
        if self._compiled is None:
            return UserTraits(
                stored.user_id,
                name=stored.name,
                email=stored.email,
                traits=traits,
                types=types,
                observed_at=observed_at,
            )
        prefixed = {name: f"{_PREFIX}{name}" for name in traits if name in _USER_FIELDS}
        row = {prefixed.get(name, name): value for name, value in traits.items()}
        user = self._compiled.to_user({**row, **self._user_fields(stored)})
        original = {path: name for name, path in prefixed.items()}
        return attrs.evolve(
            user,
            traits={original.get(name, name): value for name, value in user.traits.items()},
            types={**{self._renamed_path(path): type_ for path, type_ in types.items()}, **user.types},
            observed_at=user.observed_at or observed_at,
        )

    def _user_fields(self, stored: StoredUser) -> dict[str, Any]:
        # A null id would be an error, not an absent one.
        own_id = {} if stored.user_id is None else {"user_id": stored.user_id}
        fields = {**own_id, "name": stored.name, "email": stored.email}
        return {**fields, _VENDOR_ID: stored.vendor_id} if self._uses_vendor_id(stored) else fields

    def _uses_vendor_id(self, stored: StoredUser) -> bool:
        # As a user id, the mapping uses it only for users without one.
        if self.mapping is None or _VENDOR_ID not in self.mapping.field_paths:
            return False
        return stored.user_id is None or self._renamed.get(_VENDOR_ID) not in USER_ID_KEYS

    def _renamed_path(self, path: str) -> str:
        """Return *path* after the mapping renamed it, or an object that holds it."""
        for old, new in self._renamed.items():
            if path == old or path.startswith(f"{old}."):
                return new + path[len(old) :]
        return path


def _unambiguous_types(stored: StoredUser) -> dict[str, TraitType]:
    """Return the types that the vendor declares, without unknown ones and those of traits with several types."""
    return {
        path: _TRAIT_TYPES[declared]
        for path, declared in stored.types.items()
        if isinstance(declared, str) and declared in _TRAIT_TYPES and path not in stored.type_conflicts
    }


def _with_types(traits: Mapping[str, Any], types: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """Return *traits* with numbers of the declared types: JSON has only one number type."""
    return {name: _with_type(value, types, prefix + name) for name, value in traits.items()}


def _with_type(value: Any, types: Mapping[str, str], path: str) -> Any:  # noqa: ANN401  # A value of JSON.
    if is_nested(value):
        return _with_types(value, types, f"{path}.")
    declared = types.get(path, "")
    if declared not in _NUMBER_TYPES:
        return value
    if isinstance(value, list):
        return [_to_number(item, declared) for item in cast("list[object]", value)]
    return _to_number(value, declared)


def _to_number(value: object, declared: str) -> object:
    """Return *value* as a number of the *declared* type, or unchanged if the number would differ."""
    if declared.startswith("int"):
        return int(value) if type(value) is float and value.is_integer() else value
    return float(value) if type(value) is int and float(value) == value else value
