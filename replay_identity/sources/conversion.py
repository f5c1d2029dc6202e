"""Convert the fields of a row to a user: find the user's own fields, check the id, and apply the mapping."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

import attrs

from .._paths import FieldPath, not_nestable, parents_of
from .._text import pluralize
from ..errors import ConfigurationError, InvalidTraitsError, SourceError, printable
from ..mapping import CompiledMapping, RowMapping
from ..traits import OWN_FIELDS, USER_ID_KEYS, UserTraits, from_validated_row, id_text, own_field, plain_name
from .rows import BadRow, Row, SourceNotes

# Rows of JSON differ in their names. What is known about that many sets of names is remembered.
_MAX_SHAPES: Final = 1000
# Columns that an error lists.
_MAX_LISTED: Final = 20
# What no column is called: an address, a number, a date, a boolean, or a short id.
_VALUE: Final = re.compile(
    r".*@.*|[-+(]?[0-9].*|true|false|yes|no|null|[a-z]{0,3}[-_]?[0-9]+", re.IGNORECASE | re.DOTALL
)
# What is surely a value.
_SURE_VALUE: Final = re.compile(r"[^@\s]+@[^@\s]+|[-+]?[0-9][0-9.,:/-]*|true|false", re.IGNORECASE)
REPEATED_HEADER: Final = "repeats the header; if files were joined, pass them one by one"
# How alike a name must be to be a misspelling, where it need not be one.
_MISTAKEN: Final = 0.8
NAME_COLUMN: Final = "name it in the header"
_RENAME: Final = "rename or remove all but one"
_LABELS: Final = re.compile(r"__index_level_[0-9]{1,3}__")
_SET_USER_ID: Final = 'name it in a mapping: user_id = "…" (--mapping)'


@attrs.frozen
class _Shape:
    """What all rows with the same names share.

    Attributes:
        own_names: The user's own fields under another spelling: the name in the source, and the name of the field.
        renames: Those whose name is to be changed in the row.
        id_key: The field that holds the user id, after the renames, or None.
        is_plain: Whether `UserTraits.from_mapping` finds the own fields, and there is nothing to note about the names.
    """

    own_names: Mapping[str, str]
    renames: tuple[tuple[str, str], ...]
    id_key: str | None
    is_plain: bool = False


@attrs.define
class RowConverter:
    """Converts the fields of the rows of one file.

    Attributes:
        source: Name of the file, for errors.
        mapping: The rules for the fields, or None.
        notes: Collects what a person should know about the source.
        anonymous: Whether to accept rows without an id as anonymous users.
        has_datetimes: Whether rows hold datetime objects, as rows from DuckDB do.
    """

    source: str
    mapping: RowMapping | None
    notes: SourceNotes
    anonymous: bool = attrs.field(default=False, kw_only=True)
    has_datetimes: bool = attrs.field(default=False, kw_only=True)
    _compiled: CompiledMapping | None = attrs.field(init=False)
    # The own fields that are found by their name, and the names that the mapping decides on.
    _own: Mapping[str, tuple[str, ...]] = attrs.field(init=False)
    _ruled: frozenset[str] = attrs.field(init=False)
    # Own fields under another spelling that a rule names, and so gives their names.
    _respelled: Mapping[str, str] = attrs.field(init=False)
    # Where the values that select rows are, and the object that has the fields.
    _outer: frozenset[str] = attrs.field(init=False)
    # If the mapping is strict: the names that it decides on, and their parents, by what `plain_name` makes of them.
    _spellings: defaultdict[str, set[str]] = attrs.field(init=False, factory=lambda: defaultdict(set))
    _shapes: dict[tuple[str, ...], _Shape] = attrs.field(init=False, factory=dict[tuple[str, ...], _Shape])
    _names: set[str] = attrs.field(init=False, factory=set[str])
    # The same of the only set of names that a source with columns has.
    _columns_shape: _Shape | None = attrs.field(init=False, default=None)
    # The columns of the user id, as the source calls them.
    _id_columns: frozenset[str] = attrs.field(init=False, default=frozenset())
    # Whether a row was read that the mapping's filter did not leave out.
    _has_rows: bool = attrs.field(init=False, default=False)
    _has_explained: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        # Callers may not check types.
        if not isinstance(self.mapping, RowMapping | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError("mapping", "expected a RowMapping", "load a file with load_mapping(path)")
        rules = self.mapping or RowMapping()
        needs_mapping = self.mapping is not None or self.has_datetimes
        self._compiled = CompiledMapping.compile(rules, has_datetimes=self.has_datetimes) if needs_mapping else None
        self._own = {setting: keys for setting, keys in OWN_FIELDS.items() if setting not in rules.user_fields}
        self._ruled = rules.paths - rules.where.keys() | rules.field_paths
        self._respelled = rules.respelled
        self._outer = rules.paths - rules.field_paths
        for path in rules.paths if rules.strict else ():
            for name in (path, *parents_of(path)):
                self._spellings[plain_name(name)].add(name)

    @property
    def has_mapping(self) -> bool:
        """Return True if a null means something, so that the readers of CSV must keep empty cells as nulls."""
        return self.mapping is not None

    @property
    def id_paths(self) -> Collection[str]:
        """Return the paths of the fields that may hold the user id."""
        return USER_ID_KEYS if self._compiled is None else self._compiled.id_paths

    def decides_id(self, column: FieldPath) -> bool:
        """Return True if *column* may hold the user id, or what decides whether the row is read at all."""
        own_names: Mapping[str, str] = {} if self._columns_shape is None else self._columns_shape.own_names
        return any(
            column.name == path or path.startswith(f"{column.name}.") or column.name.startswith(f"{path}.")
            for path in (*self.id_paths, *(own_names.get(path, path) for path in self._outer))
        )

    def without_labels(self, names: Sequence[str]) -> list[int]:
        """Return the positions of all columns but those with the labels of a data frame, if the mapping names none.

        These are what pandas makes of an index without a name in Parquet and Arrow.
        """
        labels = {name for name in names if _LABELS.fullmatch(name) and name not in self._ruled}
        self.notes.labels.update(labels)
        return [position for position, name in enumerate(names) if name not in labels]

    def columns(self, names: Sequence[str]) -> tuple[FieldPath, ...]:
        """Return where the value of each column goes in the fields of a row.

        Raises:
            SourceError: A name occurs twice or is the parent of another one, no column or more than one can be the
                user id, or the mapping names a column that there is not.
        """
        self._check_duplicates(names)
        try:
            renames = self._match(names)
            is_flat = self.mapping is not None and self.mapping.dots == "flat"
            paths = tuple(FieldPath.column(renames.get(name, name), is_flat=is_flat) for name in names)
            _check_parents(paths)
        except InvalidTraitsError as error:
            raise SourceError(self.source, str(error)) from None
        targets = {path.name for path in paths}
        self._check_mapping(names, targets)
        for name, path in self._misspelt(names, renames).items():
            problem = f"has the column {printable(name)}, which the mapping does not name, although it names"
            hint = "name both of them, or set strict = false"
            raise SourceError(self.source, f"{problem} {printable(path)}; {hint}")
        may_lack_id = self.anonymous and not any(map(_SURE_VALUE.fullmatch, names))
        if not may_lack_id and not self._has_id(targets):
            labels = f" beside {', '.join(sorted(self.notes.labels))}" if self.notes.labels else ""
            problem = f"has no column for the user id; {_list_columns(names)}{labels}; {_SET_USER_ID}"
            raise SourceError(self.source, problem)
        self._id_columns = frozenset(name for name in names if renames.get(name, name) in self.id_paths)
        self._columns_shape = _Shape(renames, (), _id_key(targets))
        return paths

    def is_header(self, names: Iterable[str]) -> bool:
        """Return True if one of *names* may be the name of the user id."""
        return any(own_field(name) in USER_ID_KEYS or name in self.id_paths for name in names)

    def convert(self, fields: dict[str, Any], line: int, last_line: int | None = None) -> Row | BadRow | None:
        """Return the user or the bad row that *fields* are, or None if the mapping leaves the row out.

        Args:
            fields: The fields of a row, which are consumed.
            line: Number of its first line.
            last_line: Number of its last line, by default the same.
        """
        try:
            user = self._to_user(fields)
        except InvalidTraitsError as error:
            return BadRow(line, last_line or line, str(error))
        if user is None:
            self.notes.left_out += 1
            return None
        if user.user_id in self._id_columns:
            return BadRow(line, last_line or line, REPEATED_HEADER)
        if user.user_id is None and not self.anonymous:
            return BadRow(line, last_line or line, self._no_id())
        return Row(line, user)

    def convert_fast(self, fields: dict[str, Any], line: int, content: bytes) -> Row | None:
        """Return the user whose validated *fields* `parse_traits` returned, or None if `convert` must judge the row.

        Args:
            fields: The fields of a row, which are consumed.
            line: Number of its first line.
            content: The JSON text of the row, which the user keeps if nothing in it had to be changed.
        """
        shape = self._rename(fields)
        if shape.id_key is None:
            return None
        if type(fields[shape.id_key]) is not str:
            fields[shape.id_key] = id_text(fields[shape.id_key], shape.id_key)
            return Row(line, from_validated_row(fields))
        return Row(line, from_validated_row(fields, content.rstrip() if shape.is_plain else None))

    def find_id(self, fields: dict[str, Any]) -> str | None:
        """Return the user id in *fields* as `convert` finds it, or None if there is no valid one."""
        try:
            shape = self._rename(fields)
            if self._compiled is not None:
                is_left_out = not self._compiled.selects(fields, shape.own_names)
                return None if is_left_out else self._compiled.find_user_id(fields)
            return None if shape.id_key is None else id_text(fields[shape.id_key], shape.id_key)
        except InvalidTraitsError:
            return None

    def finish(self) -> None:
        """Add to the notes what is known once all rows are read."""
        if self._compiled is None or self.mapping is None:
            return
        self.notes.unreadable.update(self._compiled.unreadable)
        self._compiled.unreadable.clear()
        lifted = {self.mapping.lift} if self.mapping.unlisted == "lifted" else set[str | None]()
        without = self._compiled.unseen & {*self.mapping.where, *lifted}
        if self._has_rows:
            unused = self._compiled.unseen | self._mistaken_defaults(self._names) if self.mapping.strict else ()
            self.notes.add_unused({path: _similar(path, self._names) for path in sorted(unused)}, without)
        elif self._names or self._columns_shape is not None:
            self.notes.add_unused({}, without)

    def _to_user(self, fields: dict[str, Any]) -> UserTraits | None:
        shape = self._rename(fields)
        if self._compiled is not None and not self._compiled.selects(fields, shape.own_names):
            return None
        self._has_rows = True
        self._explain_object(fields, shape)
        if self._compiled is None:
            if shape.id_key is not None:
                fields[shape.id_key] = id_text(fields[shape.id_key], shape.id_key)
            return UserTraits.from_mapping(fields)
        self.notes.selected += bool(self._compiled.where)
        return self._compiled.to_user(fields)

    def _explain_object(self, fields: Mapping[str, Any], shape: _Shape) -> None:
        """Raise InvalidTraitsError once if the id is an object, as in exports of MongoDB."""
        key = shape.id_key
        if self._has_explained or key is None or type(fields[key]) is not dict or key not in self.id_paths:
            return
        self._has_explained = True
        column = next((name for name, own in shape.renames if own == key), key)
        path = ".".join([column, *(fields[key] if len(fields[key]) == 1 else "…")])
        problem = f'got an object; name the field in it: user_id = "{printable(path)}" (--mapping)'
        raise InvalidTraitsError(key, f"expected an id as text or as a whole number, {problem}")

    def _rename(self, fields: dict[str, Any]) -> _Shape:
        """Give the user's own fields their names, and return the shape of the row."""
        shape = self._columns_shape or self._shapes.get(tuple(fields)) or self._shape(tuple(fields))
        for name, own in shape.renames:
            fields[own] = fields.pop(name)
        return shape

    def _shape(self, names: tuple[str, ...]) -> _Shape:
        if len(self._shapes) >= _MAX_SHAPES:
            self._shapes.clear()
        elif len(self._names) < _MAX_SHAPES:
            self._names.update(names)
        renames = self._match(names)
        self.notes.misspelt.update(self._misspelt(names, renames))
        id_key = _id_key({renames.get(name, name) for name in names})
        is_plain = all(own_field(name) in {name, None} for name in names)
        shape = _Shape(renames, tuple(renames.items()), id_key, is_plain)
        self._shapes[names] = shape
        return shape

    def _match(self, names: Iterable[str]) -> dict[str, str]:
        """Return the columns that are the user's own fields under another spelling, each with the name of the field.

        Raises:
            InvalidTraitsError: Several columns could be the same field.
        """
        renames: dict[str, str] = {}
        for setting, keys in self._own.items():
            spellings = {
                key: [name for name in names if own_field(name) == key and name not in self._ruled] for key in keys
            }
            own = next((key for key in keys if spellings[key]), None)
            if own is None:
                continue
            chosen = own if own in spellings[own] else _only(spellings[own], own, setting)
            if chosen != own:
                renames[chosen] = own
            others = {name for found in spellings.values() for name in found} - {chosen}
            self.notes.look_alikes.update(others if chosen != own else others.difference(keys))
        self.notes.own_fields.update(renames)
        self.notes.own_fields.update({name: self._respelled[name] for name in names if name in self._respelled})
        return renames

    def _misspelt(self, names: Iterable[str], renames: Mapping[str, str]) -> dict[str, str]:
        """Return the names whose spelling alone keeps them from a rule, each with the name that the mapping has."""
        found: dict[str, str] = {}
        for name in names if self._spellings else ():
            similar = self._spellings.get(plain_name(name), ())
            if similar and name not in similar and name not in renames:
                found[name] = min(similar)
        return found

    def _check_duplicates(self, names: Sequence[str]) -> None:
        duplicates = [printable(name) for name, count in Counter(names).items() if count > 1]
        if duplicates:
            raise SourceError(self.source, f"has the column {', '.join(duplicates)} more than once; {_RENAME}")

    def _check_mapping(self, names: Sequence[str], targets: Collection[str]) -> None:
        """Raise if the mapping names a column that there is not; the fields of an object are looked for in the rows."""
        if self._compiled is None or self.mapping is None:
            return
        known = {*names, *targets}
        for path in sorted(self._compiled.unseen | self._mistaken_defaults(names)):
            if path in known or any(name.startswith(f"{path}.") for name in known):
                self._compiled.unseen.discard(path)
            elif self.mapping.strict and not self._is_lifted(path, known) and known.isdisjoint(parents_of(path)):
                similar = _similar(path, names)
                hint = f"did you mean {printable(similar)}?" if similar else _list_columns(names)
                raise SourceError(
                    self.source, f"the mapping names the column {printable(path)}, which it lacks; {hint}"
                )

    def _mistaken_defaults(self, names: Collection[str]) -> set[str]:
        """Return the fields with a default that no row has, although one of *names* is almost the same."""
        mapping = self.mapping or RowMapping()
        others = set(names) - mapping.paths
        absent = [path for path, rule in mapping.fields.items() if rule.default is not None and path not in names]
        return {path for path in absent if _similar(path, others, cutoff=_MISTAKEN) is not None}

    def _has_id(self, targets: set[str]) -> bool:
        return any(
            path in targets
            or not targets.isdisjoint(parents_of(path))
            or (self.mapping is not None and any(name.startswith(f"{path}.") for name in targets))
            or self._is_lifted(path, targets)
            for path in self.id_paths
        )

    def _is_lifted(self, path: str, names: Collection[str]) -> bool:
        """Return True if the field at *path* may be in the object whose fields the mapping lifts."""
        if self.mapping is None or self.mapping.lift in {None, path} or path in self.mapping.where:
            return False
        return any(f"{name}.".startswith(f"{self.mapping.lift}.") for name in names)

    def _no_id(self) -> str:
        if self._has_explained:
            return "has no user id"
        self._has_explained = True
        if self.mapping is not None and self.mapping.user_id is not None:
            return f"has no user id; expected one in {printable(self.mapping.user_id)}"
        expected = f"has no user id; expected one in {', '.join(USER_ID_KEYS)}"
        return (
            expected
            if self._columns_shape is not None
            else f"{expected} ({_list_columns(sorted(self._names))}); {_SET_USER_ID}"
        )


def above_header(line: int) -> str:
    """Return the problem of a file whose header is not its first line but *line*."""
    return f"line {line} looks like the header; remove the lines above it"


def _id_key(names: Collection[str]) -> str | None:
    """Return which of *names* holds the user id."""
    return next((key for key in USER_ID_KEYS if key in names), None)


def _only(spellings: Sequence[str], own: str, setting: str) -> str:
    """Return the only spelling of the field *own*.

    Raises:
        InvalidTraitsError: There are several.
    """
    if len(spellings) == 1:
        return spellings[0]
    both = " and ".join(map(printable, spellings))
    raise InvalidTraitsError(both, f"each could be {own}; set {setting} in a mapping (--mapping)")


def _check_parents(paths: Sequence[FieldPath]) -> None:
    names = {path.name for path in paths}
    for path in paths:
        for parent in parents_of(path.name) if path.parents else ():
            if parent in names:
                raise InvalidTraitsError(f"column {printable(path.name)}", not_nestable(parent))


def _similar(path: str, names: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return which of *names* is most like *path*, and no object that it would be in, or None."""
    by_text = {name.casefold(): name for name in set(names).difference([path, *parents_of(path)])}
    found = get_close_matches(path.casefold(), by_text, n=1, cutoff=cutoff)
    return by_text[found[0]] if found else None


def _list_columns(names: Sequence[str]) -> str:
    """Return which columns there are; if there may be no header, their names are values and are not shown."""
    if any(map(_VALUE.fullmatch, names)):
        return f"found {pluralize(len(names), 'column')}, but the first line looks like a row instead of a header"
    if not names:
        return "found no columns"
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return f"found {', '.join(map(printable, names[:_MAX_LISTED]))}{more}"
