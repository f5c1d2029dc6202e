"""A mapping compiled for fast per-row application."""

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, datetime, tzinfo
from functools import partial
from typing import Any, Final, Self

import attrs

from .._paths import MISSING, FieldPath
from .._values import is_nested
from ..errors import InvalidTraitsError, printable
from ..traits import EMAIL_KEYS, NAME_KEYS, REMOVE, USER_ID_KEYS, TraitType, UserTraits
from .casts import CAST_TYPES, CastFunction, find_cast, with_timezone
from .rules import FieldRule, RowMapping

_DEFAULT_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "user_id": USER_ID_KEYS,
    "name": NAME_KEYS,
    "email": EMAIL_KEYS,
}


@attrs.frozen
class _FieldStep:
    """Takes one field out of a row and converts it.

    Attributes:
        name: Path of the field, as error messages show it.
        source: Where the field is in a row.
        cast: Converts its values, or None to keep them.
        default: Returns the value of an absent field, or MISSING.
        removes_nulls: Whether a null removes the trait at the vendors.
    """

    name: str
    source: FieldPath
    cast: CastFunction | None
    default: Callable[[], Any]
    removes_nulls: bool

    def pop(self, row: dict[str, Any]) -> Any:  # noqa: ANN401  # Any trait value, or MISSING.
        value = self.source.pop(row) if self.source.parents else row.pop(self.source.key, MISSING)
        if value is MISSING:
            return self.default()
        if value is None:
            return REMOVE if self.removes_nulls else self.default()
        return value if self.cast is None else self.cast(value, self.name)


@attrs.frozen
class CompiledMapping:
    """A `RowMapping` prepared for millions of rows.

    Attributes:
        steps: One step for each field with a rule, nested fields before the objects that hold them.
        targets: Paths among the traits, outer ones first, each with the index of the step that gives its value.
        user_fields: Index of the step that gives ``user_id``, ``name``, ``email`` or ``observed_at``, if the mapping
            names one.
        default_names: Names under which the remaining user fields are looked up.
        types: Declared types by path of the trait.
        id_paths: Paths of the fields that may hold the user id. An empty id is an error, not an anonymous user.
        keeps_unlisted: Whether fields without a rule become traits.
        removes_nulls: Whether a null in such a field removes the trait at the vendors.
        zone_info: Time zone of datetimes that have none.
        has_datetimes: Whether rows hold datetime objects, as rows from DuckDB do.
        unreadable: Number of values that were left out because their cast failed, by field.
        unseen: Paths that the mapping names and no row has had yet.
    """

    steps: tuple[_FieldStep, ...]
    targets: tuple[tuple[FieldPath, int], ...]
    user_fields: Mapping[str, int]
    default_names: Mapping[str, tuple[str, ...]]
    types: Mapping[str, TraitType]
    id_paths: frozenset[str]
    keeps_unlisted: bool
    removes_nulls: bool
    zone_info: tzinfo | None
    has_datetimes: bool
    unreadable: Counter[str] = attrs.field(factory=Counter[str])
    unseen: set[str] = attrs.field(factory=set[str])

    @classmethod
    def compile(cls, mapping: RowMapping, *, has_datetimes: bool = False) -> Self:
        """Return *mapping* compiled for rows that hold datetime objects (*has_datetimes*) or only JSON values."""
        rules = {path: FieldRule() for path in mapping.user_fields.values()} | dict(mapping.fields)
        observed_at = mapping.observed_at
        if observed_at is not None and rules[observed_at].cast == "any":
            rules[observed_at] = attrs.evolve(rules[observed_at], cast="date")
        paths = sorted(rules, key=_depth, reverse=True)
        targets = mapping.targets
        default_names = {field: names for field, names in _DEFAULT_NAMES.items() if field not in mapping.user_fields}
        return cls(
            steps=tuple([_compile_step(path, rules[path], mapping) for path in paths]),
            targets=tuple(
                (FieldPath.parse(target), paths.index(targets[target][0])) for target in sorted(targets, key=_depth)
            ),
            user_fields={field: paths.index(path) for field, path in mapping.user_fields.items()},
            default_names=default_names,
            types={
                target: CAST_TYPES[rule.cast]
                for target, (_, rule) in targets.items()
                if rule.cast in CAST_TYPES and not any(target in names for names in default_names.values())
            },
            id_paths=mapping.id_paths,
            keeps_unlisted=mapping.unlisted == "keep",
            removes_nulls=mapping.null == "remove",
            zone_info=mapping.zone_info,
            has_datetimes=has_datetimes,
        )

    def selects(self, row: dict[str, Any]) -> bool:  # noqa: ARG002  # The filter is yet to come.
        """Return True unless the mapping's filter leaves *row* out."""
        return True

    def to_user(self, row: dict[str, Any]) -> UserTraits:
        """Return the user that *row* describes. The row is consumed.

        Raises:
            InvalidTraitsError: A field cannot be cast, or the user is not valid.
        """
        values = [step.pop(row) for step in self.steps]
        traits = row if self.keeps_unlisted else self._drop_unlisted(row)
        for path, index in self.targets:
            if values[index] is not MISSING:
                path.insert(traits, values[index])

        fields = {field: _pop_first(traits, names) for field, names in self.default_names.items()}
        fields |= {field: _value_or_none(values[index]) for field, index in self.user_fields.items()}
        if self.removes_nulls or self.has_datetimes:
            self._convert_unlisted(traits, "")
        return UserTraits(
            fields["user_id"],
            name=fields["name"],
            email=fields["email"],
            traits=traits,
            types=self.types,
            observed_at=self._checked_observed_at(fields.get("observed_at")),
        )

    def find_user_id(self, row: dict[str, Any]) -> Any:  # noqa: ANN401  # Unchecked.
        """Return the user id in *row* as `to_user` finds it, before it is validated, or None. The row is consumed.

        Raises:
            InvalidTraitsError: A field cannot be cast.
        """
        values = [step.pop(row) for step in self.steps]
        if "user_id" in self.user_fields:
            return _value_or_none(values[self.user_fields["user_id"]])
        for path, index in self.targets:
            if values[index] is not MISSING:
                path.insert(row, values[index])
        return _pop_first(row, self.default_names["user_id"])

    def _checked_observed_at(self, observed_at: date | None) -> datetime | None:
        if observed_at is None or isinstance(observed_at, datetime):
            return observed_at
        raise InvalidTraitsError(
            self.steps[self.user_fields["observed_at"]].name, "expected a date with a time of day, got a date alone"
        )

    def _drop_unlisted(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return what *row* holds of the user fields that are looked up by their default names."""
        found = (
            next((name for name in names if row.get(name) is not None), None) for names in self.default_names.values()
        )
        return {name: row[name] for name in found if name is not None}

    def _convert_unlisted(self, traits: dict[str, Any], prefix: str) -> None:
        """Turn nulls into removals and complete datetimes, in nested dicts too, but not in lists."""
        for name, value in traits.items():
            if value is None:
                if self.removes_nulls:
                    traits[name] = REMOVE
            elif type(value) is datetime:
                traits[name] = with_timezone(value, self.zone_info, printable(prefix + name))
            elif is_nested(value):
                self._convert_unlisted(value, f"{prefix}{name}.")


def _compile_step(path: str, rule: FieldRule, mapping: RowMapping) -> _FieldStep:
    cast = find_cast(rule.cast, mapping.zone_info)
    default = MISSING if rule.default is None else cast(rule.default, path)
    null = mapping.null if rule.null == "inherit" else rule.null
    return _FieldStep(
        name=printable(path),
        source=FieldPath.parse(path),
        cast=None if rule.cast == "any" else cast,
        default=partial(copy.deepcopy, default) if isinstance(default, dict | list) else lambda: default,
        removes_nulls=null == "remove",
    )


def _depth(path: str) -> int:
    return path.count(".")


def _pop_first(traits: dict[str, Any], names: tuple[str, ...]) -> Any:  # noqa: ANN401  # UserTraits checks it.
    """Remove the first of *names* that has a value from *traits* and return it; remove names without a value too."""
    found = None
    for name in names:
        if name in traits:
            value = _value_or_none(traits[name])
            if found is None or value is None:
                del traits[name]
                found = value if found is None else found
    return found


def _value_or_none(value: Any) -> Any:  # noqa: ANN401  # UserTraits checks it.
    """Return *value*, or None for a missing or removed one: user fields cannot be removed."""
    return None if value is MISSING or value is REMOVE else value
