"""Infer the types of fields from their values, for sources that store every value as a string."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import attrs

from .._paths import leaves, parents_of, split_path
from .._text import pluralize
from .._values import MAX_DEPTH
from ..errors import InvalidTraitsError
from ..traits import EMAIL_KEYS, NAME_KEYS, REMOVE, USER_ID_KEYS, TraitType, UserTraits
from .casts import CastFunction, find_cast
from .rules import Cast, FieldRule, RowMapping

# Field names come from the data and are unbounded: fields beyond these are not inspected.
MAX_PATHS: Final = 1000
# Values shown of those that conflict with a type.
MAX_SAMPLES: Final = 3
MAX_SHAPE_LENGTH: Final = 16

# The first cast that accepts every value is chosen.
CAST_PREFERENCE: Final[tuple[Cast, ...]] = (
    *("bool", "int", "real", "date"),
    *("ints", "reals", "bools", "dates", "strs"),
    "str",
)

_USER_FIELDS: Final = frozenset({*USER_ID_KEYS, *NAME_KEYS, *EMAIL_KEYS})
# A list inside the field takes one more level.
_MAX_PARTS: Final = MAX_DEPTH - 2

_CASTS: Final[Mapping[Cast, CastFunction]] = {cast: find_cast(cast, None) for cast in CAST_PREFERENCE}
_NUMBER_CASTS: Final[frozenset[Cast]] = frozenset({"int", "real"})
# Types that list items must have before any cast: JSON distinguishes numbers from strings already.
_ITEM_TYPES: Final[Mapping[Cast, frozenset[type[object]]]] = {
    "ints": frozenset({int}),
    "reals": frozenset({int, float, Decimal}),
    "bools": frozenset({bool}),
    "dates": frozenset({str, date, datetime}),
    "strs": frozenset({str, UUID}),
}
_BOOLEANS: Final = frozenset({"true", "false"})
# A cast is no longer tried after this many mismatches, if most values mismatch.
_MAX_MISMATCHES: Final = 1000
_INTEGER: Final = re.compile(r"-?([0-9]+)")
_LONG_INTEGER: Final = 10
_NAME_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_IDENTIFIER_WORDS: Final = frozenset(
    {
        *("phone", "mobile", "cell", "tel", "telephone", "fax", "zip", "zipcode"),
        *("postal", "postcode", "plz", "id", "uid", "uuid", "ssn", "ean", "isbn", "sku", "iban", "code"),
    }
)

_DIGITS: Final = re.compile(r"[0-9]+")
_LETTERS: Final = re.compile(r"[A-Za-z]+")
_NOT_ASCII: Final = re.compile(r"[^ -~]+")
_REPEATED: Final = re.compile(r"(.)\1+")


class InferencePolicy(StrEnum):
    """Why a field did not get the type that fits its values."""

    LONG_DIGITS = "long-digits"
    IDENTIFIER_BY_NAME = "identifier-by-name"
    HAS_NESTED_FIELDS = "has-nested-fields"
    NOT_ADDRESSABLE = "not-addressable"


@attrs.frozen
class SampleValue:
    """The line and the shape of one value, but never the value."""

    line: int
    shape: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.shape}"


@attrs.frozen
class CastConflict:
    """A cast that accepts most values of a field, and the values that it rejects.

    Attributes:
        cast: The cast.
        count: Number of values that it rejects.
        samples: The first few of these values.
    """

    cast: Cast
    count: int
    samples: tuple[SampleValue, ...]

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.samples))
        more = ", …" if self.count > len(self.samples) else ""
        return f"{self.cast} except {self.count:,} ({shown}{more})"


@attrs.frozen
class PropertyInference:
    """The inferred type of one field.

    Attributes:
        users: Number of users who have the field.
        cast: The cast that accepts every value; ``"any"`` if none does or a rule cannot apply.
        conflicts: More specific casts that accept most values, and the values that they reject.
        policy: Why a more specific type was not chosen although it fits, or None.
    """

    users: int
    cast: Cast
    conflicts: tuple[CastConflict, ...] = ()
    policy: InferencePolicy | None = None

    @property
    def caveats(self) -> str:
        """The policy and the conflicts as text; empty if there are none."""
        return "; ".join([*([self.policy] if self.policy else []), *map(str, self.conflicts)])

    def __str__(self) -> str:
        users = pluralize(self.users, "user")
        return f"{users}; {self.caveats}" if self.caveats else users


@attrs.define
class Inference:
    """Infers the types of traits from a stream of users, in bounded memory.

    The fields ``user_id``, ``name`` and ``email`` are always strings and are not inspected.

    Attributes:
        uninspected: Number of values in fields beyond the first 1,000.
    """

    uninspected: int = attrs.field(init=False, default=0)
    _stats: dict[str, "FieldStats"] = attrs.field(init=False, factory=dict[str, "FieldStats"])
    _parents: set[str] = attrs.field(init=False, factory=set[str])
    _not_addressable: set[str] = attrs.field(init=False, factory=set[str])

    def add(self, user: UserTraits, line: int) -> None:
        """Include *user*, who is on *line* of the source."""
        paths: set[str] = set()
        for names, value in leaves(user.traits):
            path = ".".join(names)
            if value is REMOVE or path in _USER_FIELDS:
                continue
            if path in paths or not _is_addressable(names):
                self._exclude(path)
            paths.add(path)
            stats = self._stats_of(path)
            if stats is None:
                self.uninspected += 1
            else:
                stats.add(value, line, declared=user.types.get(path))
        for path in paths:
            self._add_parents(path, paths)

    @property
    def properties(self) -> Mapping[str, PropertyInference]:
        """The inferred types by dotted path, in the order in which the fields first occurred."""
        return {path: self._property(path, stats) for path, stats in self._stats.items()}

    def mapping(self) -> RowMapping:
        """Return a mapping that gives each field its type and accepts every row seen."""
        return RowMapping(
            fields={
                path: FieldRule(cast=inferred.cast)
                for path, inferred in self.properties.items()
                if inferred.cast != "any" or ("." in path and inferred.policy is not InferencePolicy.NOT_ADDRESSABLE)
            }
        )

    def _property(self, path: str, stats: "FieldStats") -> PropertyInference:
        if path in self._not_addressable or not _can_have_rule(path):
            return PropertyInference(stats.users, "any", policy=InferencePolicy.NOT_ADDRESSABLE)
        if path in self._parents:
            return PropertyInference(stats.users, "any", policy=InferencePolicy.HAS_NESTED_FIELDS)
        cast, policy = stats.choose_cast(path.rpartition(".")[2])
        return PropertyInference(stats.users, cast, stats.conflicts(cast), policy)

    def _stats_of(self, path: str) -> "FieldStats | None":
        if path not in self._stats:
            if len(self._stats) >= MAX_PATHS:
                return None
            self._stats[path] = FieldStats()
        return self._stats[path]

    def _exclude(self, path: str) -> None:
        """Give *path* and its parents no rule: it would miss the value, or find two."""
        self._stats_of(path)
        self._not_addressable.update(part for part in (path, *parents_of(path)) if self._is_inspected(part, path))

    def _add_parents(self, path: str, paths: set[str]) -> None:
        for parent in parents_of(path):
            if self._is_inspected(parent, path):
                self._parents.add(parent)
            # This user has a value at the parent too, so the field cannot be nested in it.
            if parent in paths:
                self._exclude(path)

    def _is_inspected(self, parent: str, path: str) -> bool:
        return parent in self._stats or path in self._stats


def _is_addressable(names: tuple[str, ...]) -> bool:
    """Return True if a rule for the joined *names* finds the value: a nested name must not have dots."""
    return len(names) == 1 or list(names) == split_path(".".join(names))


def _can_have_rule(path: str) -> bool:
    parts = split_path(path)
    # Nothing can be nested in a user field.
    return path != "" and len(parts) <= _MAX_PARTS and parts[0] not in _USER_FIELDS


@attrs.define
class _Mismatches:
    count: int = 0
    samples: list[SampleValue] = attrs.field(factory=list[SampleValue])

    def add(self, value: object, line: int) -> None:
        self.count += 1
        if len(self.samples) < MAX_SAMPLES:
            self.samples.append(SampleValue(line, shape(value)))


def _no_mismatches() -> dict[Cast, _Mismatches]:
    return {cast: _Mismatches() for cast in CAST_PREFERENCE}


@attrs.define
class FieldStats:
    """Which casts accept the values of one field, in bounded memory.

    Attributes:
        users: Number of users who have the field.
    """

    users: int = 0
    _mismatches: dict[Cast, _Mismatches] = attrs.field(init=False, factory=_no_mismatches)
    _tried: list[Cast] = attrs.field(init=False, factory=lambda: list(CAST_PREFERENCE))
    _declared: set[TraitType | None] = attrs.field(init=False, factory=set["TraitType | None"])
    _fits_declared: bool = attrs.field(init=False, default=True)
    _has_integer: bool = attrs.field(init=False, default=False)
    _has_long_integer: bool = attrs.field(init=False, default=False)
    _has_items: bool = attrs.field(init=False, default=False)

    def add(self, value: Any, line: int, *, declared: TraitType | None) -> None:  # noqa: ANN401  # A trait's value.
        """Include the *value* of the user on *line*, and the type that its source declares."""
        if isinstance(value, tuple):
            value = list(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # As in rows.
        self.users += 1
        self._declared.add(declared)
        if declared is not None and self._fits_declared:
            self._fits_declared = _can_be_cast(value, declared)
        if isinstance(value, str) and (integer := _INTEGER.fullmatch(value)) is not None:
            self._has_integer = True
            self._has_long_integer = self._has_long_integer or len(integer[1]) >= _LONG_INTEGER
        self._try_casts(value, line)

    def choose_cast(self, name: str) -> tuple[Cast, InferencePolicy | None]:
        """Return the cast of the field called *name*, and the policy that kept it from being a number."""
        if len(self._declared) == 1 and self._fits_declared and (declared := next(iter(self._declared))) is not None:
            return declared, None
        casts: list[Cast] = [cast for cast in CAST_PREFERENCE if not self._mismatches[cast].count]
        if not self._has_items:
            # Empty lists fit every list type; call them lists of strings.
            casts = [cast for cast in casts if cast == "strs" or cast not in _ITEM_TYPES]
        policy = self._policy(name)
        if policy is None or _NUMBER_CASTS.isdisjoint(casts):
            return (casts[0] if casts else "any"), None
        return next(cast for cast in casts if cast not in _NUMBER_CASTS), policy

    def conflicts(self, chosen: Cast) -> tuple[CastConflict, ...]:
        """Return the casts preferred over *chosen* that accept most values."""
        conflicts: list[CastConflict] = []
        fewest = self.users / 2
        preferred = CAST_PREFERENCE[: CAST_PREFERENCE.index(chosen)] if chosen in CAST_PREFERENCE else CAST_PREFERENCE
        for cast in preferred:
            mismatches = self._mismatches[cast]
            if cast in self._tried and 0 < mismatches.count < fewest:
                fewest = mismatches.count
                conflicts.append(CastConflict(cast, mismatches.count, tuple(mismatches.samples)))
        return tuple(conflicts)

    def _try_casts(self, value: Any, line: int) -> None:  # noqa: ANN401  # As above.
        items = _items(value)
        self._has_items = self._has_items or bool(items)
        for cast in tuple(self._tried):
            if _is_plausible(cast, value, items) and _can_be_cast(value, cast):
                continue
            mismatches = self._mismatches[cast]
            mismatches.add(value, line)
            if mismatches.count > _MAX_MISMATCHES and mismatches.count > self.users / 2:
                self._tried.remove(cast)

    def _policy(self, name: str) -> InferencePolicy | None:
        if self._has_long_integer:
            return InferencePolicy.LONG_DIGITS
        words = {word.lower() for word in _NAME_WORDS.findall(name)}
        return InferencePolicy.IDENTIFIER_BY_NAME if self._has_integer and words & _IDENTIFIER_WORDS else None


def _items(value: Any) -> list[Any] | None:  # noqa: ANN401  # As above.
    """Return the items of a list, or of a string that holds a JSON list, or None if *value* is neither."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = find_cast("json", None)(value, "")
        except InvalidTraitsError:
            return None
    return value if isinstance(value, list) else None  # pyright: ignore[reportUnknownVariableType]  # Of JSON.


def _is_plausible(cast: Cast, value: object, items: list[Any] | None) -> bool:
    """Return True if *value* looks like what *cast* makes of it; casts accept more than a guess may."""
    if cast in _ITEM_TYPES:
        return items is not None and _ITEM_TYPES[cast].issuperset(map(type, items))
    if cast == "bool":
        return isinstance(value, bool) or (isinstance(value, str) and value.lower() in _BOOLEANS)
    if cast == "int":
        return not isinstance(value, float | Decimal) and not (isinstance(value, str) and "." in value)
    return True


def _can_be_cast(value: object, cast: Cast) -> bool:
    """Return True if *cast* accepts *value*, and the result is a valid trait."""
    try:
        UserTraits(traits={"value": _CASTS[cast](value, "value")})
    except InvalidTraitsError:
        return False
    return True


def shape(value: object) -> str:
    """Return a pattern of *value*: ``a`` for letters, ``9`` for digits, each run once, cut to 16 characters."""
    if isinstance(value, bool):
        return "(boolean)"
    if isinstance(value, int | float | Decimal):
        return "(number)"
    if isinstance(value, date):
        return "(date)"
    if not isinstance(value, str):
        return "(list)" if isinstance(value, list) else "(other)"
    # Later characters can hardly show, so do not scan all of a long text.
    text = _NOT_ASCII.sub("·", _LETTERS.sub("a", _DIGITS.sub("9", value[: MAX_SHAPE_LENGTH**2])))
    return _REPEATED.sub(r"\1", text)[:MAX_SHAPE_LENGTH] or "(empty)"
