"""The types of fields, found in their values, where a source keeps all of them as texts."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import attrs

from ..model import EMAIL_NAMES, NAME_NAMES, REMOVE, USER_ID_NAMES, UserTraits
from ..values import MAX_DEPTH, is_nested
from .evidence import Against, Evidence
from .rules import Cast, FieldRule, RowMapping

# Users bring the names, so there is no end to them: further ones are left as they are.
MOST_PATHS: Final = 1000

OPEN_PARENT: Final = "open-parent"
LEFT_AS_IT_IS: Final = "left-as-it-is"

_OWN: Final = frozenset({*USER_ID_NAMES, *NAME_NAMES, *EMAIL_NAMES})
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
    against: tuple[Against, ...] = ()
    policy: str | None = None

    @property
    def doubts(self) -> str:
        """What speaks against another type, in a few words; empty if nothing does."""
        return "; ".join([*([self.policy] if self.policy else []), *map(str, self.against)])

    def __str__(self) -> str:
        users = "1 user" if self.users == 1 else f"{self.users:,} users"
        return f"{users}; {self.doubts}" if self.doubts else users


@attrs.define
class Inference:
    """What the users of a source, one after another, tell of the types of their traits, in bounded memory.

    The user's own fields, ``user_id``, ``name`` and ``email``, are texts in any case and none of them.

    Attributes:
        unknown: How many values have names that were too many to be remembered.
    """

    unknown: int = attrs.field(init=False, default=0)
    _evidence: dict[str, Evidence] = attrs.field(init=False, factory=dict[str, Evidence])
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

    def _property(self, path: str, evidence: Evidence) -> PropertyInference:
        if path in self._fixed or not _can_have_rule(path):
            return PropertyInference(evidence.users, "any", policy=LEFT_AS_IT_IS)
        if path in self._parents:
            return PropertyInference(evidence.users, "any", policy=OPEN_PARENT)
        cast, policy = evidence.choice(path.rpartition(".")[2])
        return PropertyInference(evidence.users, cast, evidence.against(cast), policy)

    def _known(self, path: str) -> Evidence | None:
        if path not in self._evidence:
            if len(self._evidence) >= MOST_PATHS:
                return None
            self._evidence[path] = Evidence()
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
