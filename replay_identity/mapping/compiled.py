"""A mapping made ready for millions of rows."""

import copy
from collections.abc import Callable, Mapping
from datetime import date, datetime, tzinfo
from enum import Enum
from functools import partial
from typing import Any, Final, Self

import attrs

from .._values import is_nested
from ..errors import InvalidTraitsError, printable
from ..traits import EMAIL_KEYS, NAME_KEYS, REMOVE, USER_ID_KEYS, TraitType, UserTraits
from .casts import TYPE_OF, CastFunction, cast_to, in_zone
from .rules import FieldRule, RowMapping


class Missing(Enum):
    """The one value that stands for a field that is not there."""

    MISSING = "MISSING"


MISSING: Final = Missing.MISSING

OWN_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "user_id": USER_ID_KEYS,
    "name": NAME_KEYS,
    "email": EMAIL_KEYS,
}


@attrs.frozen
class Place:
    """Where a dotted path leads in a row.

    Attributes:
        path: The dotted path.
        parents: Names of the objects it is in, the outermost first.
        key: Its name inside the innermost one.
    """

    path: str
    parents: tuple[str, ...]
    key: str

    @classmethod
    def at(cls, path: str) -> Self:
        """Return the place that *path* leads to."""
        *parents, key = path.split(".")
        return cls(path, tuple(parents), key)

    def take(self, row: dict[str, Any]) -> Any:  # noqa: ANN401  # What a row can hold.
        """Remove from *row* what is here, in an object or under the whole path as a name, and return it, or MISSING."""
        flat = row.pop(self.path, MISSING)
        inner = row
        for parent in self.parents:
            value = inner.get(parent)
            if not is_nested(value):
                return flat
            inner = value
        found: Any = inner.pop(self.key, MISSING)
        if flat is MISSING or found is MISSING:
            return found if flat is MISSING else flat
        raise InvalidTraitsError(printable(self.path), "is there twice: as one name, and as a name inside another")

    def put(self, row: dict[str, Any], value: object) -> None:
        """Put *value* into *row*, where nothing is lost by that."""
        for parent in self.parents:
            row = row.setdefault(parent, {})
            if not is_nested(row):
                problem = f"cannot be put into {printable(parent)}, which has a value of its own"
                raise InvalidTraitsError(printable(self.path), problem)
        if row.get(self.key) is not None:
            raise InvalidTraitsError(printable(self.path), "is there twice: another field is renamed to it")
        row[self.key] = value


@attrs.frozen
class _FieldStep:
    """What becomes of one field.

    Attributes:
        name: Its path, as a problem names it.
        source: Where it is in the row.
        cast: What its values are made by, or None where they stay as they are.
        absent: Gives what it is where it is absent.
        removes: Whether a null clears the trait.
    """

    name: str
    source: Place
    cast: CastFunction | None
    absent: Callable[[], Any]
    removes: bool

    def settle(self, row: dict[str, Any]) -> Any:  # noqa: ANN401  # What a trait can be, or MISSING.
        """Remove the field from *row* and return what it becomes, or MISSING where it says nothing."""
        value = self.source.take(row) if self.source.parents else row.pop(self.source.key, MISSING)
        if value is MISSING:
            return self.absent()
        if value is None:
            return REMOVE if self.removes else self.absent()
        return value if self.cast is None else self.cast(value, self.name)


@attrs.frozen
class CompiledMapping:
    """What a mapping does to each row, worked out once.

    Attributes:
        steps: What becomes of each field it names, inner fields before the objects that they are in.
        puts: The places in the traits, outer ones first, and the positions among *steps* of what goes there.
        own: The positions among *steps* of the user's own fields, as far as there are settings for these.
        lifted: The names that the user's other own fields have among the traits.
        types: Types to declare.
        ids: Paths of fields that may hold the id; where one is empty, the row is bad and no anonymous user.
        keeps: Whether fields without a step become traits.
        removes: Whether nulls in these clear the trait.
        zone: The time zone of moments that name none.
        typed: Whether rows may hold such moments, as those of a warehouse do.
    """

    steps: tuple[_FieldStep, ...]
    puts: tuple[tuple[Place, int], ...]
    own: Mapping[str, int]
    lifted: Mapping[str, tuple[str, ...]]
    types: Mapping[str, TraitType]
    ids: frozenset[str]
    keeps: bool
    removes: bool
    zone: tzinfo | None
    typed: bool

    @classmethod
    def of(cls, mapping: RowMapping, *, typed: bool = False) -> Self:
        """Return the plan of *mapping* for rows that are *typed* by where they come from, or not."""
        rules = {path: FieldRule() for path in mapping.own.values()} | dict(mapping.fields)
        observed_at = mapping.observed_at
        if observed_at is not None and rules[observed_at].cast == "any":
            rules[observed_at] = attrs.evolve(rules[observed_at], cast="date")
        paths = sorted(rules, key=_depth, reverse=True)
        lifted = {setting: names for setting, names in OWN_NAMES.items() if setting not in mapping.own}
        return cls(
            steps=tuple([_step(path, rules[path], mapping) for path in paths]),
            puts=tuple(
                (Place.at(target), paths.index(mapping.targets[target][0]))
                for target in sorted(mapping.targets, key=_depth)
            ),
            own={setting: paths.index(path) for setting, path in mapping.own.items()},
            lifted=lifted,
            types={
                target: TYPE_OF[rule.cast]
                for target, (_, rule) in mapping.targets.items()
                if rule.cast in TYPE_OF and not any(target in names for names in lifted.values())
            },
            ids=mapping.ids,
            keeps=mapping.unlisted == "keep",
            removes=mapping.null == "remove",
            zone=mapping.zone,
            typed=typed,
        )

    def user(self, row: dict[str, Any]) -> UserTraits:
        """Return the user that *row* describes. The row is used up.

        Raises:
            InvalidTraitsError: A field cannot be what the mapping says, or the user cannot be.
        """
        values = [step.settle(row) for step in self.steps]
        traits = row if self.keeps else self._without_unlisted(row)
        for place, position in self.puts:
            if values[position] is not MISSING:
                place.put(traits, values[position])

        own = {setting: _lift(traits, names) for setting, names in self.lifted.items()}
        own |= {setting: _said(values[position]) for setting, position in self.own.items()}
        if self.removes or self.typed:
            self._settle_rest(traits, "")
        return UserTraits(
            own["user_id"],
            name=own["name"],
            email=own["email"],
            traits=traits,
            types=self.types,
            observed_at=self._moment(own.get("observed_at")),
        )

    def _moment(self, observed_at: date | None) -> datetime | None:
        if observed_at is None or isinstance(observed_at, datetime):
            return observed_at
        raise InvalidTraitsError(
            self.steps[self.own["observed_at"]].name, "is a date without a time of day, which observed_at has to have"
        )

    def _without_unlisted(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return what is left of *row* that is the user's own."""
        found = (next((name for name in names if row.get(name) is not None), None) for names in self.lifted.values())
        return {name: row[name] for name in found if name is not None}

    def _settle_rest(self, traits: dict[str, Any], prefix: str) -> None:
        """Make nulls removals and give moments their zone, where that is wanted, at every depth but inside lists."""
        for name, value in traits.items():
            if value is None:
                if self.removes:
                    traits[name] = REMOVE
            elif type(value) is datetime:
                traits[name] = in_zone(value, self.zone, printable(prefix + name))
            elif is_nested(value):
                self._settle_rest(value, f"{prefix}{name}.")


def _step(path: str, rule: FieldRule, mapping: RowMapping) -> _FieldStep:
    cast = cast_to(rule.cast, mapping.zone)
    default = MISSING if rule.default is None else cast(rule.default, path)
    null = mapping.null if rule.null == "inherit" else rule.null
    return _FieldStep(
        name=printable(path),
        source=Place.at(path),
        cast=None if rule.cast == "any" else cast,
        absent=partial(copy.deepcopy, default) if isinstance(default, dict | list) else lambda: default,
        removes=null == "remove",
    )


def _depth(path: str) -> int:
    return path.count(".")


def _lift(traits: dict[str, Any], names: tuple[str, ...]) -> Any:  # noqa: ANN401  # The model checks it.
    """Remove the first of *names* that says something from *traits* and return it; what says nothing is removed too."""
    found = None
    for name in names:
        if name in traits:
            said = _said(traits[name])
            if found is None or said is None:
                del traits[name]
                found = said if found is None else found
    return found


def _said(value: Any) -> Any:  # noqa: ANN401  # The model checks it.
    """Return what *value* says of a field that cannot be removed."""
    return None if value is MISSING or value is REMOVE else value
