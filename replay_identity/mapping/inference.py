"""The types of fields, found in their values, where a source keeps all of them as texts."""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

import attrs

from .._text import pluralize
from .._values import MAX_DEPTH, is_nested
from ..errors import InvalidTraitsError
from ..traits import EMAIL_KEYS, NAME_KEYS, REMOVE, USER_ID_KEYS, TraitType, UserTraits
from .casts import CastFunction, cast_to
from .rules import Cast, FieldRule, RowMapping

MOST_SHAPE: Final = 16

_DIGITS: Final = re.compile(r"[0-9]+")
_LETTERS: Final = re.compile(r"[A-Za-z]+")
_OTHERS: Final = re.compile(r"[^ -~]+")
_RUN: Final = re.compile(r"(.)\1+")


def shape(value: object) -> str:
    """Return what *value* looks like: letters as ``a``, digits as ``9``, each run once, and no more of it."""
    if isinstance(value, bool):
        return "(truth)"
    if isinstance(value, int | float | Decimal):
        return "(number)"
    if isinstance(value, date):
        return "(date)"
    if not isinstance(value, str):
        return "(list)" if isinstance(value, list) else "(other)"
    # More of a text cannot show, however long its runs are: what stands behind is not looked at.
    text = _OTHERS.sub("·", _LETTERS.sub("a", _DIGITS.sub("9", value[: MOST_SHAPE**2])))
    return _RUN.sub(r"\1", text)[:MOST_SHAPE] or "(empty)"


# The first that fits every value is taken.
PREFERENCE: Final[tuple[Cast, ...]] = (
    *("bool", "int", "real", "date"),
    *("ints", "reals", "bools", "dates", "strs"),
    "str",
)
# Of the values that stand against a type, so many are shown.
MOST_SAMPLES: Final = 3

LONG_DIGITS: Final = "long-digits"
IDENTIFIER_BY_NAME: Final = "identifier-by-name"

_NUMBERS: Final[frozenset[Cast]] = frozenset({"int", "real"})
_CASTS: Final[Mapping[Cast, CastFunction]] = {cast: cast_to(cast, None) for cast in PREFERENCE}
# What the items of a list have to be by themselves: JSON has told numbers and texts apart already.
_ITEMS: Final[Mapping[Cast, frozenset[type[object]]]] = {
    "ints": frozenset({int}),
    "reals": frozenset({int, float, Decimal}),
    "bools": frozenset({bool}),
    "dates": frozenset({str, date, datetime}),
    "strs": frozenset({str, UUID}),
}
_TRUTHS: Final = frozenset({"true", "false"})
# After so many misfits, if they are the most, a type is not asked for again.
_PATIENCE: Final = 1000
_WHOLE: Final = re.compile(r"-?([0-9]+)")
_LONG: Final = 10
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_IDENTIFIERS: Final = frozenset(
    {
        *("phone", "mobile", "cell", "tel", "telephone", "fax", "zip", "zipcode"),
        *("postal", "postcode", "plz", "id", "uid", "uuid", "ssn", "ean", "isbn", "sku", "iban", "code"),
    }
)


@attrs.frozen
class SampleValue:
    """One value: the line of the user who has it, and its shape, never what it says."""

    line: int
    shape: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.shape}"


@attrs.frozen
class CastConflict:
    """The values that stand against a type which fits most others.

    Attributes:
        cast: The cast to that type.
        count: How many values it refuses.
        samples: The first few of them.
    """

    cast: Cast
    count: int
    samples: tuple[SampleValue, ...]

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.samples))
        more = ", …" if self.count > len(self.samples) else ""
        return f"{self.cast} but for {self.count:,} ({shown}{more})"


@attrs.define
class _Mismatches:
    count: int = 0
    samples: list[SampleValue] = attrs.field(factory=list[SampleValue])

    def add(self, value: object, line: int) -> None:
        self.count += 1
        if len(self.samples) < MOST_SAMPLES:
            self.samples.append(SampleValue(line, shape(value)))


def _misfits() -> dict[Cast, _Mismatches]:
    return {cast: _Mismatches() for cast in PREFERENCE}


@attrs.define
class FieldStats:
    """What is known of one field, in bounded memory.

    Attributes:
        users: How many users have it.
    """

    users: int = 0
    _misfits: dict[Cast, _Mismatches] = attrs.field(init=False, factory=_misfits)
    _asked: list[Cast] = attrs.field(init=False, factory=lambda: list(PREFERENCE))
    _declared: set[TraitType | None] = attrs.field(init=False, factory=set["TraitType | None"])
    _declared_fits: bool = attrs.field(init=False, default=True)
    _has_whole: bool = attrs.field(init=False, default=False)
    _has_long: bool = attrs.field(init=False, default=False)
    _has_items: bool = attrs.field(init=False, default=False)

    def add(self, value: Any, line: int, *, declared: TraitType | None) -> None:  # noqa: ANN401  # A trait's value.
        """Take *value* of the user on *line* into account, and the type that it is *declared* to have."""
        if isinstance(value, tuple):
            value = list(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # As in rows.
        self.users += 1
        self._declared.add(declared)
        if declared is not None and self._declared_fits:
            self._declared_fits = _can_be_cast(value, declared)
        if isinstance(value, str) and (whole := _WHOLE.fullmatch(value)) is not None:
            self._has_whole = True
            self._has_long = self._has_long or len(whole[1]) >= _LONG
        self._ask(value, line)

    def choice(self, name: str) -> tuple[Cast, str | None]:
        """Return the cast of the field whose last name is *name*, and the policy that kept it from being a number."""
        if len(self._declared) == 1 and self._declared_fits and (declared := next(iter(self._declared))) is not None:
            return declared, None
        adaptation: list[Cast] = [cast for cast in PREFERENCE if not self._misfits[cast].count]
        if not self._has_items:
            # A list without items is of any type, and of texts as far as is known.
            adaptation = [cast for cast in adaptation if cast == "strs" or cast not in _ITEMS]
        policy = self._policy(name)
        if policy is None or _NUMBERS.isdisjoint(adaptation):
            return (adaptation[0] if adaptation else "any"), None
        return next(cast for cast in adaptation if cast not in _NUMBERS), policy

    def against(self, chosen: Cast) -> tuple[CastConflict, ...]:
        """Return what stands against each type that is better than the *chosen* one, and fits most values."""
        found: list[CastConflict] = []
        fewest = self.users / 2
        for cast in PREFERENCE[: PREFERENCE.index(chosen)] if chosen in PREFERENCE else PREFERENCE:
            misfits = self._misfits[cast]
            if cast in self._asked and 0 < misfits.count < fewest:
                fewest = misfits.count
                found.append(CastConflict(cast, misfits.count, tuple(misfits.samples)))
        return tuple(found)

    def _ask(self, value: Any, line: int) -> None:  # noqa: ANN401  # As above.
        items = _items(value)
        self._has_items = self._has_items or bool(items)
        for cast in tuple(self._asked):
            if _is_plausible(cast, value, items) and _can_be_cast(value, cast):
                continue
            misfits = self._misfits[cast]
            misfits.add(value, line)
            if misfits.count > _PATIENCE and misfits.count > self.users / 2:
                self._asked.remove(cast)

    def _policy(self, name: str) -> str | None:
        if self._has_long:
            return LONG_DIGITS
        words = {word.lower() for word in _WORDS.findall(name)}
        return IDENTIFIER_BY_NAME if self._has_whole and words & _IDENTIFIERS else None


def _items(value: Any) -> list[Any] | None:  # noqa: ANN401  # As above.
    """Return the items of a list, or of a text that is one in JSON, or None where there is no list."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = cast_to("json", None)(value, "")
        except InvalidTraitsError:
            return None
    return value if isinstance(value, list) else None  # pyright: ignore[reportUnknownVariableType]  # Of JSON.


def _is_plausible(cast: Cast, value: object, items: list[Any] | None) -> bool:
    """Tell whether one would take *value* for what *cast* makes of it, which takes more than we may guess."""
    if cast in _ITEMS:
        return items is not None and _ITEMS[cast].issuperset(map(type, items))
    if cast == "bool":
        return isinstance(value, bool) or (isinstance(value, str) and value.lower() in _TRUTHS)
    return cast != "int" or not isinstance(value, float | Decimal)


def _can_be_cast(value: object, cast: Cast) -> bool:
    """Tell whether *cast* takes *value*, and a user what it makes of it."""
    try:
        UserTraits(traits={"value": _CASTS[cast](value, "value")})
    except InvalidTraitsError:
        return False
    return True


# Users bring the names, so there is no end to them: further ones are left as they are.
MOST_PATHS: Final = 1000

OPEN_PARENT: Final = "open-parent"
LEFT_AS_IT_IS: Final = "left-as-it-is"

_OWN: Final = frozenset({*USER_ID_KEYS, *NAME_KEYS, *EMAIL_KEYS})
# A list inside takes one more level.
_DEEPEST: Final = MAX_DEPTH - 2

# A dotted path, the value there, and whether a rule for the path would find it.
_Leaf: TypeAlias = tuple[str, Any, bool]


@attrs.frozen
class PropertyInference:
    """What was found out about one field.

    Attributes:
        users: How many users have it.
        cast: The cast that takes every value; ``"any"`` where none does, or none may be said.
        against: The values that stand against better types, which fit most others.
        policy: Name of the policy that kept a fitting type from being taken, or None.
    """

    users: int
    cast: Cast
    against: tuple[CastConflict, ...] = ()
    policy: str | None = None

    @property
    def doubts(self) -> str:
        """What speaks against another type, in a few words; empty if nothing does."""
        return "; ".join([*([self.policy] if self.policy else []), *map(str, self.against)])

    def __str__(self) -> str:
        users = pluralize(self.users, "user")
        return f"{users}; {self.doubts}" if self.doubts else users


@attrs.define
class Inference:
    """What the users of a source, one after another, tell of the types of their traits, in bounded memory.

    The user's own fields, ``user_id``, ``name`` and ``email``, are texts in any case and none of them.

    Attributes:
        unknown: How many values have names that were too many to be remembered.
    """

    unknown: int = attrs.field(init=False, default=0)
    _evidence: dict[str, FieldStats] = attrs.field(init=False, factory=dict[str, FieldStats])
    _parents: set[str] = attrs.field(init=False, factory=set[str])
    _fixed: set[str] = attrs.field(init=False, factory=set[str])

    def add(self, user: UserTraits, line: int) -> None:
        """Take *user* into account, who stands on *line*."""
        met: set[str] = set()
        for path, value, is_found in _leaves(user.traits, "", is_found=True):
            if path in _OWN:
                continue
            if path in met or not is_found:
                self._fix(path)
            met.add(path)
            evidence = self._known(path)
            if evidence is None:
                self.unknown += 1
            else:
                evidence.add(value, line, declared=user.types.get(path))
        for path in met:
            self._relate(path, met)

    @property
    def properties(self) -> Mapping[str, PropertyInference]:
        """What was found out, by dotted path, in the order in which these were met."""
        return {path: self._property(path, evidence) for path, evidence in self._evidence.items()}

    def mapping(self) -> RowMapping:
        """Return the mapping that gives each field its type, and makes no row of the same source a bad one."""
        return RowMapping(
            fields={
                path: FieldRule(cast=found.cast)
                for path, found in self.properties.items()
                if found.cast != "any" or ("." in path and found.policy != LEFT_AS_IT_IS)
            }
        )

    def _property(self, path: str, evidence: FieldStats) -> PropertyInference:
        if path in self._fixed or not _can_have_rule(path):
            return PropertyInference(evidence.users, "any", policy=LEFT_AS_IT_IS)
        if path in self._parents:
            return PropertyInference(evidence.users, "any", policy=OPEN_PARENT)
        cast, policy = evidence.choice(path.rpartition(".")[2])
        return PropertyInference(evidence.users, cast, evidence.against(cast), policy)

    def _known(self, path: str) -> FieldStats | None:
        if path not in self._evidence:
            if len(self._evidence) >= MOST_PATHS:
                return None
            self._evidence[path] = FieldStats()
        return self._evidence[path]

    def _fix(self, path: str) -> None:
        """Leave *path* and what it is in as they are: a rule would not find what is there, or find it twice."""
        self._known(path)
        self._fixed.update(part for part in (path, *_parents(path)) if self._is_remembered(part, path))

    def _relate(self, path: str, met: set[str]) -> None:
        """Remember what *path* is in; where one user has a value there too, it cannot be put into that."""
        for parent in _parents(path):
            if self._is_remembered(parent, path):
                self._parents.add(parent)
            if parent in met:
                self._fix(path)

    def _is_remembered(self, part: str, path: str) -> bool:
        return part in self._evidence or path in self._evidence


def _leaves(traits: Mapping[str, Any], parents: str, *, is_found: bool) -> Iterator[_Leaf]:
    """Yield the values in *traits* by dotted path, none of which is an object."""
    for name, value in traits.items():
        if is_nested(value):
            yield from _leaves(value, f"{parents}{name}.", is_found=is_found and "." not in name)
        elif value is not REMOVE:
            yield parents + name, value, is_found and not (parents and "." in name)


def _parents(path: str) -> Iterator[str]:
    parts = path.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts)))


def _can_have_rule(path: str) -> bool:
    parts = path.split(".")
    # Nothing is put into the user's own fields.
    return all(parts) and len(parts) <= _DEEPEST and parts[0] not in _OWN
