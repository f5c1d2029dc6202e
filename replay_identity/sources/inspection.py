"""Inspect the rows of a source for what is valid and still likely to be a mistake, in bounded memory."""

import re
from array import array
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

import attrs

from .._paths import leaves
from .._text import pluralize
from ..errors import printable
from ..mapping import Cast, Inference
from ..mapping.cleaning import visible_text
from ..traits import UserTraits, new_unchecked
from .rows import BadRow, Row, Rows

T = TypeVar("T", Row, BadRow, Row | BadRow)

# Rows whose values are looked at for their types.
_TYPED_ROWS: Final = 1_000
# Rows after which only columns that still look like another type are looked at: to try all casts on a row takes 300 µs,
# fifty times as long as to read it (`benchmarks/run.py --only peers`).
_SURVEYED_ROWS: Final = 50
# Rows whose ids are compared, in 8 bytes each, or 16 for an id that is not in lower case.
_MAX_IDS: Final = 10_000_000
_MAX_LISTED: Final = 20
# Each bucket is counted alone, so that only its part of the ids is ever in memory as Python objects.
_BUCKETS: Final = 256
_MASK: Final = _BUCKETS - 1

_WHOLE_FLOAT: Final = re.compile(r"-?[0-9]+\.0+")
_WORDS: Final[dict[Cast, str]] = {
    "bool": "boolean",
    "int": "integer",
    "real": "number",
    **dict.fromkeys(("date", "epoch", "excel-date"), "date"),
    **dict.fromkeys(("strs", "ints", "reals", "bools", "dates"), "list"),
}


def with_warnings(rows: Rows[Row | BadRow]) -> Rows[Row | BadRow]:
    """Return *rows*, whose notes have the warnings of a `SourceInspection` once all of them are read."""
    inspection = SourceInspection()

    def track(iterator: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
        yield from inspection.track(iterator)
        rows.notes.warnings.extend(inspection.warnings())

    return rows.through(track)


@attrs.frozen
class SimilarIds:
    """Ids that are the same once case, blanks and characters of no width are ignored.

    Attributes:
        ids: Number of such ids.
        users: Number of users that they may be.
    """

    ids: int = 0
    users: int = 0


def _new_buckets() -> "list[array[int]]":
    return [array("q") for _ in range(_BUCKETS)]


@attrs.define
class _IdSpellings:
    """The hashes of ids, by which the spellings of one id are counted.

    Two ids of the same hash count as one, which is too rare to matter for a warning.
    """

    _count: int = attrs.field(default=0, init=False)
    # Ids that are spelled as they are compared.
    _plain: "list[array[int]]" = attrs.field(factory=_new_buckets, init=False)
    # The other ids: the hash of the compared spelling, then that of the id.
    _other: "list[array[int]]" = attrs.field(factory=_new_buckets, init=False)
    _result: SimilarIds | None = attrs.field(default=None, init=False)

    def add(self, user_id: str) -> None:
        if self._count >= _MAX_IDS:
            return
        self._count += 1
        self._result = None
        spelling = _comparable(user_id)
        value = hash(spelling)
        if spelling == user_id:
            self._plain[value & _MASK].append(value)
        else:
            self._other[value & _MASK].extend((value, hash(user_id)))

    def count(self) -> SimilarIds:
        if self._result is None:
            counts = [_count_similar(plain, other) for plain, other in zip(self._plain, self._other, strict=True)]
            self._result = SimilarIds(sum(each.ids for each in counts), sum(each.users for each in counts))
        return self._result


def _comparable(user_id: str) -> str:
    """Return *user_id* without differences in case, blanks and characters of no width."""
    if user_id.isascii():
        return (user_id if user_id.isalnum() else "".join(user_id.split())).lower()
    return "".join(visible_text(user_id).casefold().split())


def _count_similar(plain: "array[int]", other: "array[int]") -> SimilarIds:
    if not other:
        return SimilarIds()
    spellings: dict[int, set[int]] = {}
    for index in range(0, len(other), 2):
        spellings.setdefault(other[index], set()).add(other[index + 1])
    for value in spellings.keys() & set(plain):
        spellings[value].add(value)
    repeated = [len(found) for found in spellings.values() if len(found) > 1]
    return SimilarIds(sum(repeated), len(repeated))


@attrs.define
class _TextColumns:
    """Which columns hold nothing but text, and what types their values look like."""

    _inference: Inference = attrs.field(factory=Inference, init=False)
    # Columns with a value that is not text, or whose type is declared.
    _typed: set[str] = attrs.field(factory=set[str], init=False)
    # The trait that each column is in, and the traits that need no further look.
    _traits: dict[str, str] = attrs.field(factory=dict[str, str], init=False)
    _decided: set[str] = attrs.field(factory=set[str], init=False)
    _rows: int = attrs.field(default=0, init=False)

    def add(self, user: UserTraits, line: int) -> None:
        self._rows += 1
        if self._rows == _SURVEYED_ROWS:
            self._decided = {*self._traits.values()} - {self._traits[path] for path in self.casts()}
        undecided = {name: value for name, value in user.traits.items() if name not in self._decided}
        if not undecided:
            return
        self._inference.add(new_unchecked(None, None, None, undecided, user.types), line)
        for names, value in leaves(undecided):
            path = ".".join(names)
            self._traits[path] = names[0]
            if not isinstance(value, str) or path in user.types:
                self._typed.add(path)

    def casts(self) -> dict[str, Cast]:
        looks = {path: each.looks_like for path, each in self._inference.properties.items()}
        return {path: cast for path, cast in looks.items() if cast in _WORDS and path not in self._typed}


@attrs.define
class SourceInspection:
    """Collects what a person should look at before the rows of a source are sent for the first time.

    Attributes:
        rows: Number of rows with a user.
        ids_with_blanks: Number of rows whose id begins or ends with a blank.
        ids_with_invisible: Number of rows whose id has invisible characters, or accents apart from their letters.
        ids_like_floats: Number of rows whose id is a whole number with a zero fraction, such as ``17.0``.
        emails_with_blanks: Number of rows whose e-mail address has a blank.
        emails_with_invisible: Number of rows whose e-mail address has such a character.
    """

    rows: int = attrs.field(default=0, init=False)
    ids_with_blanks: int = attrs.field(default=0, init=False)
    ids_with_invisible: int = attrs.field(default=0, init=False)
    ids_like_floats: int = attrs.field(default=0, init=False)
    emails_with_blanks: int = attrs.field(default=0, init=False)
    emails_with_invisible: int = attrs.field(default=0, init=False)
    _ids: _IdSpellings = attrs.field(factory=_IdSpellings, init=False, repr=False)
    _columns: _TextColumns = attrs.field(factory=_TextColumns, init=False, repr=False)

    def track(self, rows: Iterable[T]) -> Iterator[T]:
        """Yield *rows*, and add each."""
        for row in rows:
            self.add(row)
            yield row

    def add(self, row: Row | BadRow) -> None:
        """Look at one row; a bad row has no user."""
        if isinstance(row, BadRow):
            return
        user = row.user
        if self.rows < _TYPED_ROWS:
            self._columns.add(user, row.line)
        self.rows += 1
        if user.user_id is not None:
            self._add_id(user.user_id)
        if user.email is not None:
            self._add_email(user.email)

    @property
    def similar_ids(self) -> SimilarIds:
        """Count the ids that are spelled in several ways, among the first ten million."""
        return self._ids.count()

    @property
    def text_columns(self) -> dict[str, Cast]:
        """Return the columns whose values are all text and look like another type to `Inference`, with a cast to it."""
        return self._columns.casts()

    def warnings(self) -> list[str]:
        """Return a sentence for each kind of finding, with counts and names of columns, but no value."""
        counts = {
            "with a blank before or after the id": self.ids_with_blanks,
            "with invisible characters or separate accents in the id": self.ids_with_invisible,
            "with an id like 17.0, where a data frame had empty ids (cast it to int)": self.ids_like_floats,
            "with a blank in the e-mail address": self.emails_with_blanks,
            "with invisible characters or separate accents in the e-mail address": self.emails_with_invisible,
        }
        rows = [f"{pluralize(count, 'row')} {what}" for what, count in counts.items() if count]
        return [*self._id_warnings(), *rows, *self._type_warnings()]

    def as_dict(self) -> dict[str, Any]:
        """Return the findings for JSON."""
        return {
            "similar_ids": attrs.asdict(self.similar_ids),
            "ids_with_blanks": self.ids_with_blanks,
            "ids_with_invisible": self.ids_with_invisible,
            "ids_like_floats": self.ids_like_floats,
            "emails_with_blanks": self.emails_with_blanks,
            "emails_with_invisible": self.emails_with_invisible,
            "text_columns": {printable(path): cast for path, cast in self.text_columns.items()},
        }

    def _add_id(self, user_id: str) -> None:
        self._ids.add(user_id)
        # Most ids have none of these, and this is looked at for each row.
        if user_id.isascii() and user_id.isprintable() and " " not in user_id and "." not in user_id:
            return
        self.ids_with_blanks += user_id != user_id.strip()
        self.ids_with_invisible += visible_text(user_id) != user_id
        self.ids_like_floats += _WHOLE_FLOAT.fullmatch(user_id) is not None

    def _add_email(self, email: str) -> None:
        if email.isascii() and email.isprintable() and " " not in email:
            return
        self.emails_with_blanks += len(email.split(maxsplit=1)) != 1 or email != email.strip()
        self.emails_with_invisible += visible_text(email) != email

    def _id_warnings(self) -> list[str]:
        similar = self.similar_ids
        if not similar.ids:
            return []
        ids, users = pluralize(similar.ids, "id"), pluralize(similar.users, "user")
        return [f"{ids} may be only {users}: nothing but case, blanks or characters of no width tells them apart"]

    def _type_warnings(self) -> list[str]:
        columns = self.text_columns
        if not columns:
            return []
        shown = [f"{printable(path)} ({_WORDS[cast]})" for path, cast in list(columns.items())[:_MAX_LISTED]]
        more = f" and {len(columns) - _MAX_LISTED:,} more" if len(columns) > _MAX_LISTED else ""
        one, several = "column of text that looks like another type", "columns of text that look like other types"
        return [f"{pluralize(len(columns), one, several)}: {', '.join(shown)}{more}; run infer first"]
