"""A mapping compiled for fast per-row application."""

import copy
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime, tzinfo
from decimal import Decimal
from functools import partial
from typing import Any, Final, Self

import attrs

from .._paths import MISSING, FieldPath, parents_of
from .._values import is_nested
from ..errors import InvalidTraitsError, printable
from ..traits import EMAIL_KEYS, NAME_KEYS, REMOVE, USER_ID_KEYS, TraitType, UserTraits, id_text
from .casts import CAST_TYPES, CastFunction, find_cast
from .cleaning import TextRules
from .date_casts import with_timezone
from .rules import FieldRule, RowMapping, Unlisted

# The id is looked up by itself: a null id is an error, and a null name is none.
_DEFAULT_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "name": NAME_KEYS,
    "email": EMAIL_KEYS,
}

# Beyond it, several integers become one float.
_MAX_EXACT: Final = 2**53 - 1


@attrs.frozen
class _FieldStep:
    """Takes one field out of a row and converts it.

    Attributes:
        name: Path of the field, as error messages show it.
        source: Where the field is in a row.
        cast: Converts its values, or None to keep them.
        default: Returns the value of an absent field, or MISSING.
        null: The value of a field that is null, or MISSING to treat it as an absent field.
        hint: What to set for a value that its cast rejects, if there is nothing better.
    """

    name: str
    source: FieldPath
    cast: CastFunction | None
    default: Callable[[], Any]
    null: Any
    hint: str

    def pop(self, row: dict[str, Any]) -> Any:  # noqa: ANN401  # Any trait value, or MISSING.
        value = self.source.pop(row) if self.source.parents else row.pop(self.source.key, MISSING)
        if value is MISSING:
            return self.default()
        if value is None:
            return self.default() if self.null is MISSING else self.null
        if self.cast is None:
            return value
        try:
            return self.cast(value, self.name)
        except InvalidTraitsError as error:
            raise InvalidTraitsError(error.path, error.problem, error.hint or self.hint) from None


@attrs.frozen
class _CarefulStep:
    """Takes one field out of a row as `_FieldStep` does, with settings that few fields have.

    Attributes:
        step: What to do with the value.
        texts: How to clean its texts, or None.
        unreadable: Counts the values that cannot be cast and are left out, or None if they are errors.
        is_dropped: Whether the value must not stay in a list, which a row keeps.
    """

    step: _FieldStep
    texts: TextRules | None
    unreadable: Counter[str] | None
    is_dropped: bool

    @property
    def name(self) -> str:
        return self.step.name

    @property
    def source(self) -> FieldPath:
        return self.step.source

    def pop(self, row: dict[str, Any]) -> Any:  # noqa: ANN401  # As above.
        value = self.source.pop(row)
        if self.is_dropped and self.source.get(row) is not MISSING:
            raise InvalidTraitsError(self.name, "is in a list, from which nothing can be dropped; drop the whole list")
        if value is not MISSING and self.texts is not None:
            value = self.texts.clean(value)
        try:
            return self.step.pop({} if value is MISSING else {self.source.name: value})
        except InvalidTraitsError:
            if self.unreadable is None:
                raise
            self.unreadable[self.source.name] += 1
            return self.step.default()


@attrs.frozen
class CompiledMapping:
    """A `RowMapping` prepared for millions of rows.

    Attributes:
        steps: One step for each field with a rule, nested fields before the objects that hold them.
        targets: Paths among the traits, outer ones first, each with the index of the step that gives its value.
        id_steps: Indexes of the steps that decide on the user id.
        id_names: Names of the fields that are renamed to a default name of the user id, by that name.
        id_index: Index of the step that gives the user id, or None if the mapping does not name it.
        user_fields: Indexes of the steps that give ``name``, ``email`` or ``observed_at``, for those that the mapping
            names.
        default_names: Names under which the name and the email address are looked up, for those that the mapping does
            not name.
        default_ids: Names under which the user id is looked up; none if the mapping names it.
        types: Declared types by path of the trait.
        id_paths: Paths of the fields that may hold the user id. An empty id is an error, not an anonymous user.
        unlisted: What happens to fields without a rule.
        lift: Path of the object whose fields become fields of the row, or None.
        outer_names: Names of fields beside that object that the mapping names, or that may be the user id.
        fallback_names: Other names of fields beside it that may be the name or the email address.
        json_objects: Paths of the texts with JSON in which the mapping names fields, and how errors show them.
        where: Paths of the values that a row must have, and these values.
        texts: How to clean the texts of fields without a rule, or None.
        removes_nulls: Whether a null in such a field removes the trait at the vendors.
        zone_info: Time zone of datetimes that have none.
        has_datetimes: Whether rows hold datetime objects, as rows from DuckDB do.
        field_paths: Paths of fields that the mapping names, without those of fields with a default.
        unreadable: Number of values that were left out because they could not be cast, by path.
        unseen: Paths that the mapping names, without those of fields with a default, and that no row has had yet.
    """

    steps: tuple[_FieldStep | _CarefulStep, ...]
    targets: tuple[tuple[FieldPath, int], ...]
    id_steps: frozenset[int]
    id_names: Mapping[str, str]
    id_index: int | None
    user_fields: Mapping[str, tuple[int, ...]]
    default_names: Mapping[str, tuple[str, ...]]
    default_ids: tuple[str, ...]
    types: Mapping[str, TraitType]
    id_paths: frozenset[str]
    unlisted: Unlisted
    lift: FieldPath | None
    outer_names: frozenset[str]
    fallback_names: frozenset[str]
    json_objects: tuple[tuple[FieldPath, str], ...]
    where: tuple[tuple[FieldPath, frozenset[object]], ...]
    texts: TextRules | None
    removes_nulls: bool
    zone_info: tzinfo | None
    has_datetimes: bool
    field_paths: tuple[FieldPath, ...]
    unreadable: Counter[str]
    unseen: set[str]

    @classmethod
    def compile(cls, mapping: RowMapping, *, has_datetimes: bool = False) -> Self:
        """Return *mapping* compiled for rows that hold datetime objects (*has_datetimes*) or only JSON values."""
        rules = _rules(mapping)
        paths = sorted(rules, key=_depth, reverse=True)
        targets = mapping.targets
        default_names = {field: names for field, names in _DEFAULT_NAMES.items() if field not in mapping.user_fields}
        default_ids = USER_ID_KEYS if mapping.user_id is None else ()
        own_names = {*default_ids, *(name for names in default_names.values() for name in names)}
        unreadable = Counter[str]()
        unseen = {path for path in paths if rules[path].default is None}
        return cls(
            steps=tuple([_compile_step(path, rules[path], mapping, unreadable) for path in paths]),
            targets=tuple(
                (mapping.target_path(target), paths.index(targets[target][0])) for target in sorted(targets, key=_depth)
            ),
            id_steps=_id_steps(paths, mapping),
            id_names={name: printable(targets[name][0]) for name in USER_ID_KEYS if name in targets},
            id_index=None if mapping.user_id is None else paths.index(mapping.user_id),
            user_fields={
                field: tuple(map(paths.index, field_paths))
                for field, field_paths in mapping.user_fields.items()
                if field != "user_id"
            },
            default_names=default_names,
            default_ids=default_ids,
            types=_declared_types(mapping, own_names),
            id_paths=mapping.id_paths,
            unlisted=mapping.unlisted,
            lift=None if mapping.lift is None else FieldPath.parse(mapping.lift),
            outer_names=_first_names([*paths, *default_ids]),
            fallback_names=frozenset(own_names) - _first_names([*paths, *default_ids]),
            json_objects=_json_objects(rules),
            where=_where(mapping),
            texts=mapping.text_rules(),
            removes_nulls=mapping.null == "remove",
            zone_info=mapping.zone_info,
            has_datetimes=has_datetimes,
            field_paths=tuple(map(FieldPath.parse, sorted(unseen))),
            unreadable=unreadable,
            unseen={*unseen, *mapping.where, *([] if mapping.lift is None else [mapping.lift])},
        )

    def selects(self, row: Mapping[str, Any], own_names: Mapping[str, str] | None = None) -> bool:
        """Return True if *row* has the values that the mapping requires; other rows are left out.

        Args:
            row: A row.
            own_names: The names of the user's own fields in it that differ from those in the source, by the latter.
        """
        if not self.where:
            return True
        names = own_names or {}
        found = [
            (path, values, row.get(names[path.name]) if path.name in names else path.get(row))
            for path, values in self.where
        ]
        if self.unseen:
            self.unseen.difference_update([path.name for path, _, value in found if value is not MISSING])
        return all(_comparable(value) in values for _, values, value in found)

    def to_user(self, row: dict[str, Any]) -> UserTraits:
        """Return the user that *row* describes. The row is consumed.

        Raises:
            InvalidTraitsError: A field cannot be cast, or the user is not valid.
        """
        outer = () if self.lift is None else self._lift_fields(row, self.lift)
        self._parse_objects(row)
        if self.unseen:
            self._mark_seen(row)
        values = [step.pop(row) for step in self.steps]
        traits = self._to_traits(row, outer, values)
        user_id = self._pop_user_id(traits, values)
        fields = {field: _pop_first(traits, names) for field, names in self.default_names.items()}
        for field, (index, *others) in self.user_fields.items():
            fields[field] = self._join((index, *others), values) if others else _value_or_none(values[index])
        if self.removes_nulls or self.has_datetimes:
            self._convert_unlisted(traits, "")
        return UserTraits(
            user_id,
            name=fields["name"],
            email=fields["email"],
            traits=traits,
            types=self.types,
            observed_at=self._checked_observed_at(fields.get("observed_at")),
        )

    def find_user_id(self, row: dict[str, Any]) -> str | None:
        """Return the user id in *row* as `to_user` finds it, or None. The row is consumed.

        Raises:
            InvalidTraitsError: A field cannot be cast, or the id is not valid.
        """
        outer = () if self.lift is None else self._lift_fields(row, self.lift)
        self._parse_objects(row)
        values = [step.pop(row) if index in self.id_steps else MISSING for index, step in enumerate(self.steps)]
        return self._pop_user_id(self._to_traits(row, outer, values), values)

    def _to_traits(self, row: dict[str, Any], outer: Collection[str], values: Sequence[Any]) -> dict[str, Any]:
        """Return what is left of *row* with the *values* of the steps under their new names.

        Args:
            row: The fields that are left after those with a rule.
            outer: Names of fields that are not lifted.
            values: The value of each step, or MISSING.
        """
        if self.texts is not None:
            self.texts.clean_fields(row)
        traits = row if self.unlisted == "keep" else self._drop_unlisted(row, outer)
        for path, index in self.targets:
            if values[index] is not MISSING:
                path.insert(traits, values[index])
        return traits

    def _lift_fields(self, row: dict[str, Any], lift: FieldPath) -> Collection[str]:
        """Move the fields of the object at *lift* into *row*, and return the names of the other fields."""
        lifted = lift.pop(row)
        if lifted is not MISSING:
            self.unseen.discard(lift.name)
        fields = _as_object(lifted, printable(lift.name))
        if self.unlisted == "lifted":
            # The name and the email address in the object win; the id is never in doubt.
            kept = self.outer_names | self.fallback_names.difference(fields)
            for name in [name for name in row if name not in kept]:
                del row[name]
        outer = tuple(row)
        for name, value in fields.items():
            if name in row:
                both = f"is given twice: beside {printable(lift.name)}, and in it"
                raise InvalidTraitsError(printable(name), both)
            row[name] = value
        return outer

    def _parse_objects(self, row: dict[str, Any]) -> None:
        """Parse the texts with JSON in which the mapping names fields."""
        for path, name in self.json_objects:
            value = path.get(row)
            if isinstance(value, str):
                path.pop(row)
                path.set(row, find_cast("json", None)(value, name))

    def _mark_seen(self, row: dict[str, Any]) -> None:
        seen = [path.name for path in self.field_paths if path.name in self.unseen and path.get(row) is not MISSING]
        self.unseen.difference_update(seen)

    def _pop_user_id(self, traits: dict[str, Any], values: Sequence[Any]) -> str | None:
        """Remove the user id from *traits*, unless the mapping names its field, and return it."""
        if self.id_index is not None:
            value = values[self.id_index]
            return None if value is MISSING else id_text(value, self.steps[self.id_index].name)
        user_id = None
        for name in self.default_ids:
            if name not in traits:
                continue
            if user_id is None:
                user_id = id_text(traits.pop(name), self.id_names.get(name, name))
            elif traits[name] is None:
                del traits[name]
        return user_id

    def _join(self, indexes: Sequence[int], values: Sequence[Any]) -> str | None:
        """Return the values at *indexes* as one text, or None if there is no value."""
        parts: list[str] = []
        for index in indexes:
            value = _value_or_none(values[index])
            if value is None:
                continue
            if not isinstance(value, str):
                raise InvalidTraitsError(self.steps[index].name, "expected a string; set the cast to str")
            parts.append(value)
        return " ".join(part for part in parts if part.strip()) or None

    def _checked_observed_at(self, observed_at: date | None) -> datetime | None:
        if observed_at is None or isinstance(observed_at, datetime):
            return observed_at
        name = self.steps[self.user_fields["observed_at"][0]].name
        raise InvalidTraitsError(name, "expected a date with a time of day, got a date alone")

    def _drop_unlisted(self, row: dict[str, Any], outer: Collection[str]) -> dict[str, Any]:
        """Return *row* without fields that no setting names, but with user fields under their default names.

        Args:
            row: The fields that are left after those with a rule.
            outer: Names of fields that are not lifted.
        """
        found = {
            next((name for name in self.default_ids if name in row), None),
            *(
                next((name for name in names if row.get(name) is not None), None)
                for names in self.default_names.values()
            ),
        }
        if self.unlisted == "drop":
            return {name: row[name] for name in found if name is not None}
        for name in outer:
            if name not in found:
                row.pop(name, None)
        return row

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


def _rules(mapping: RowMapping) -> dict[str, FieldRule]:
    """Return the rules of all fields that the mapping names, with the cast of the time at which a row was true."""
    paths = (path for paths in mapping.user_fields.values() for path in paths)
    rules = {path: FieldRule() for path in paths} | dict(mapping.fields)
    observed_at = mapping.observed_at
    if observed_at is not None and rules[observed_at].cast == "any":
        rules[observed_at] = attrs.evolve(rules[observed_at], cast="date")
    return rules


def _declared_types(mapping: RowMapping, own_names: Collection[str]) -> dict[str, TraitType]:
    """Return the types of the traits that have a cast; *own_names* are not traits."""
    return {
        target: CAST_TYPES[rule.cast]
        for target, (_, rule) in mapping.targets.items()
        if rule.cast in CAST_TYPES and target not in own_names
    }


def _where(mapping: RowMapping) -> tuple[tuple[FieldPath, frozenset[object]], ...]:
    """Return the paths of the values that a row must have, and these values."""
    return tuple((FieldPath.parse(path), frozenset(map(_comparable, values))) for path, values in mapping.where.items())


def _compile_step(
    path: str, rule: FieldRule, mapping: RowMapping, unreadable: Counter[str]
) -> _FieldStep | _CarefulStep:
    cast = rule.find_cast(mapping.zone_info)
    if path in mapping.id_paths:
        cast = partial(_cast_id, cast=cast)
    default = MISSING if rule.default is None else cast(rule.default, path)
    removes = (mapping.null if rule.null == "inherit" else rule.null) == "remove" and rule.cast != "none"
    step = _FieldStep(
        name=printable(path),
        source=FieldPath.parse(path),
        cast=None if rule.cast == "any" else cast,
        default=partial(copy.deepcopy, default) if isinstance(default, dict | list) else lambda: default,
        # A null id is an error for the one who looks it up.
        null=None if path in mapping.id_paths else REMOVE if removes else MISSING,
        hint="" if path in mapping.id_paths or rule.cast == "none" else 'set on_error = "absent" to leave it out',
    )
    careful = _CarefulStep(
        step,
        texts=mapping.text_rules(rule),
        unreadable=unreadable if rule.on_error == "absent" else None,
        is_dropped=rule.drop and step.source.has_index,
    )
    return step if careful == _CarefulStep(step, None, None, is_dropped=False) else careful


def _cast_id(value: object, path: str, cast: CastFunction) -> object:
    """Return an id as *cast* does, but reject a number that may have been another one before it became a float.

    What is empty is left as it is, for the one who looks the id up.
    """
    if value == "":
        return value
    if isinstance(value, float) and abs(value) > _MAX_EXACT:
        raise InvalidTraitsError(path, "is a number that a 64-bit float cannot hold exactly; store it as text")
    return cast(value, path)


def _id_steps(paths: Sequence[str], mapping: RowMapping) -> frozenset[int]:
    """Return the indexes of *paths* that may be, or be inside, a field that holds the user id."""
    outer = _first_names([*mapping.id_paths, *USER_ID_KEYS])
    return frozenset(index for index, path in enumerate(paths) if not outer.isdisjoint(_first_names([path])))


def _json_objects(rules: Mapping[str, FieldRule]) -> tuple[tuple[FieldPath, str], ...]:
    """Return the paths of texts with JSON in which other rules name fields, the outer ones first, and their names."""
    parents = {parent for path in rules for parent in parents_of(path)}
    paths = sorted((path for path in parents if path in rules and rules[path].cast == "json"), key=_depth)
    return tuple((FieldPath.parse(path), printable(path)) for path in paths)


def _first_names(paths: Sequence[str]) -> frozenset[str]:
    """Return the names in a row under which *paths* may be found: the first part of each, or the whole."""
    return frozenset({*paths, *(path.partition(".")[0] for path in paths)})


def _comparable(value: object) -> object:
    """Return what equals the same for another value only if both are of one kind and equal, or None.

    Null, an absent value and an empty text are one: CSV cannot tell them apart.
    """
    if value is None or value is MISSING:
        value = ""
    if isinstance(value, bool):
        return bool, value
    if isinstance(value, int | float) or (isinstance(value, Decimal) and value.is_finite()):
        return Decimal, value
    return (type(value), value) if isinstance(value, str | date) else None


def _as_object(value: Any, path: str) -> dict[str, Any]:  # noqa: ANN401  # A row's value.
    """Return the object *value*, which may be written as JSON; an absent one has no fields."""
    if value is MISSING or value is None:
        return {}
    if isinstance(value, str):
        value = find_cast("json", None)(value, path)
    if not is_nested(value):
        raise InvalidTraitsError(path, "expected an object whose fields to lift")
    return value


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
