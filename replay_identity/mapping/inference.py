"""Infer the types of fields from their values, for sources that store every value as a string."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Any, Final
from uuid import UUID

import attrs

from .._paths import leaves, parents_of, split_path
from .._text import pluralize
from .._values import MAX_DEPTH
from ..errors import InvalidTraitsError
from ..traits import EMAIL_KEYS, NAME_KEYS, REMOVE, USER_ID_KEYS, TraitType, UserTraits
from .casts import BOOLEANS, CastFunction, array_items, find_cast
from .cleaning import means_null, visible_text
from .date_casts import DateFormat, DateForms, lacks_zone
from .number_format import NumberForms
from .rules import Cast, FieldRule, OnError, RowMapping
from .toml import rule_settings

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

# A missing time zone is found apart.
_CASTS: Final[Mapping[Cast, CastFunction]] = {cast: find_cast(cast, UTC) for cast in CAST_PREFERENCE}
_NUMBER_CASTS: Final[frozenset[Cast]] = frozenset({"int", "real", "ints", "reals"})
_DATE_CASTS: Final[frozenset[Cast]] = frozenset({"date", "dates"})
# Types that list items must have before any cast: JSON distinguishes numbers from strings already.
_ITEM_TYPES: Final[Mapping[Cast, frozenset[type[object]]]] = {
    "ints": frozenset({int}),
    "reals": frozenset({int, float, Decimal}),
    "bools": frozenset({bool}),
    "dates": frozenset({str, date, datetime}),
    "strs": frozenset({str, UUID}),
}
_BOOLEANS: Final = frozenset({"true", "false"})
# Both words of a pair show that a field is a boolean; one alone may be the code of a country.
_BOOLEAN_PAIRS: Final = ({"t", "f"}, {"true", "false"}, {"y", "n"}, {"yes", "no"}, {"on", "off"})
_PLAIN_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")
# Seconds since 1970 and days of Excel, from 2000 to 2049, and from 1927 to 2069 in a field that is called like a date.
_EPOCH: Final = (946_684_800, 2_524_608_000)
_EXCEL: Final = (36_526, 54_789)
_ANY_EXCEL: Final = (10_000, 62_000)
_MAX_PLAIN_LENGTH: Final = 30
_COMPACT: Final = DateFormat.parse("%Y%m%d")
_COMPACT_LENGTH: Final = 8
_COMPACT_YEARS: Final = range(1900, 2100)
# A cast is no longer tried after this many mismatches, if most values mismatch.
_MAX_MISMATCHES: Final = 1000
_INTEGER: Final = re.compile(r"-?([0-9]+)")
_LONG_INTEGER: Final = 10
_STARTS: Final[Mapping[Cast, re.Pattern[str]]] = {
    "int": re.compile(r"-?[0-9]+$"),
    "real": re.compile(r"-?[0-9][0-9.eE+-]*$"),
    "date": re.compile(r"[0-9]{4}-[0-9]"),
}
_NAME_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_IDENTIFIER_WORDS: Final = frozenset(
    {
        *("phone", "mobile", "cell", "tel", "telephone", "fax", "zip", "zipcode"),
        *("postal", "postcode", "plz", "id", "uid", "uuid", "ssn", "ean", "isbn", "sku", "iban", "code"),
    }
)
_DATE_WORDS: Final = frozenset(
    {
        *("date", "day", "at", "on", "since", "until", "time", "timestamp", "born", "birthday", "birthdate", "dob"),
        *(
            "created",
            "updated",
            "joined",
            "signup",
            "login",
            "seen",
            "expires",
            "start",
            "end",
            "renewal",
            "registered",
        ),
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
    DAY_OR_MONTH = "day-or-month"
    MIXED_DAY_AND_MONTH = "mixed-day-and-month"
    TWO_DIGIT_YEAR = "two-digit-year"
    NO_TIME_ZONE = "no-time-zone"
    NUMBER_OR_DATE = "number-or-date"
    DECIMAL_OR_THOUSANDS = "decimal-or-thousands"
    CURRENCY_OR_PERCENT = "currency-or-percent"
    ONE_BOOLEAN = "one-boolean"
    LIST_OR_TEXT = "list-or-text"
    NULL_TEXTS = "null-texts"


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
        rule: The rule that accepts every value. It has no cast if none does, a rule cannot apply, or a person must
            choose.
        conflicts: More specific casts that accept most values, and the values that they reject.
        policy: Why a more specific type was not chosen although it fits, or None.
        choices: Rules of which a person must choose one, if the values do not tell.
        needs_time_zone: Whether the choices need the time zone of the mapping.
    """

    users: int
    rule: FieldRule = attrs.field(factory=FieldRule)
    conflicts: tuple[CastConflict, ...] = ()
    policy: InferencePolicy | None = None
    choices: tuple[FieldRule, ...] = ()
    needs_time_zone: bool = False

    @property
    def cast(self) -> Cast:
        """The cast that accepts every value, or ``"any"``."""
        return self.rule.cast

    @property
    def looks_like(self) -> Cast:
        """The cast, or the first of the casts to choose from."""
        if self.policy is InferencePolicy.TWO_DIGIT_YEAR:
            return "date"
        return self.choices[0].cast if self.choices else self.cast

    @property
    def is_undecided(self) -> bool:
        """Whether a person must decide on the type."""
        return self.cast == "any" and self.looks_like != "any"

    def in_time_zone(self) -> "PropertyInference":
        """Return what is inferred for a mapping that has a time zone."""
        is_decided = self.policy is InferencePolicy.NO_TIME_ZONE
        return PropertyInference(self.users, self.choices[0], self.conflicts) if is_decided else self

    @property
    def caveats(self) -> str:
        """The policy, the choices and the conflicts as text; empty if there are none."""
        choices = " or ".join(map(rule_settings, self.choices))
        zone = ", and timezone for the mapping" if self.needs_time_zone else ""
        policy = f"{self.policy}: set {choices}{zone}" if choices else self.policy
        return "; ".join([*([policy] if policy else []), *map(str, self.conflicts)])

    def __str__(self) -> str:
        users = pluralize(self.users, "user")
        return f"{users}; {self.caveats}" if self.caveats else users


@attrs.define
class Inference:
    """Infers the types of traits from a stream of users, in bounded memory.

    The fields ``user_id``, ``name`` and ``email`` are always strings and are not inspected.

    Attributes:
        given: The mapping with which the users were read, which the inferred one extends.
        uninspected: Number of values in fields beyond the first 1,000.
    """

    given: RowMapping = attrs.field(factory=RowMapping)
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
        found = {path: self._property(path, stats) for path, stats in self._stats.items()}
        return found if self.given.timezone is None else {path: each.in_time_zone() for path, each in found.items()}

    def mapping(self) -> RowMapping:
        """Return the given mapping with a type for each field; it accepts every row seen."""
        rules = {
            path: inferred.rule
            for path, inferred in self.properties.items()
            if inferred.cast != "any"
            or inferred.is_undecided
            or ("." in path and inferred.policy is not InferencePolicy.NOT_ADDRESSABLE)
        }
        return self.given.with_rules(rules)

    def _property(self, path: str, stats: "FieldStats") -> PropertyInference:
        if path in self._not_addressable or not _can_have_rule(path):
            return PropertyInference(stats.users, policy=InferencePolicy.NOT_ADDRESSABLE)
        if path in self._parents:
            return PropertyInference(stats.users, policy=InferencePolicy.HAS_NESTED_FIELDS)
        return stats.infer(path.rpartition(".")[2])

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
class _TextForms:
    """What the texts of one field may be, if all of its values are texts.

    Attributes:
        words: The texts in lower case while all of them are words for booleans, else empty.
        dates: The formats in which they are dates.
        numbers: The ways in which they are numbers.
        has_date_numbers: Whether all of them are numbers that may also stand for dates, by cast.
    """

    words: set[str] = attrs.field(factory=set[str])
    dates: DateForms = attrs.field(factory=DateForms)
    numbers: NumberForms = attrs.field(factory=NumberForms)
    date_numbers: dict[FieldRule, Callable[[str], bool]] = attrs.field(factory=lambda: dict(_DATE_NUMBERS))
    _are_words: bool = True

    def add(self, text: str) -> None:
        word = text.lower()
        self._are_words = self._are_words and word in BOOLEANS
        self.words = {*self.words, word} if self._are_words else set()
        self.dates.add(text)
        self.numbers.add(text, partial(_can_be_cast, cast="real"))
        self.date_numbers = {rule: fits for rule, fits in self.date_numbers.items() if fits(text)}


def _is_between(text: str, *limits: tuple[int, int]) -> bool:
    is_short = len(text) <= _MAX_PLAIN_LENGTH and _PLAIN_NUMBER.fullmatch(text) is not None
    return is_short and any(low <= Decimal(text) < high for low, high in limits)


def _is_compact_date(text: str) -> bool:
    moment = _COMPACT.read(text) if len(text) == _COMPACT_LENGTH and text.isdecimal() else None
    return moment is not None and moment.year in _COMPACT_YEARS


_EXCEL_DATE: Final = FieldRule(cast="excel-date")
_DATE_NUMBERS: Final[Mapping[FieldRule, Callable[[str], bool]]] = {
    FieldRule(cast="epoch"): lambda text: _is_between(text, _EPOCH, (_EPOCH[0] * 1000, _EPOCH[1] * 1000)),
    _EXCEL_DATE: lambda text: _is_between(text, _ANY_EXCEL),
    FieldRule(cast="date", format="%Y%m%d"): _is_compact_date,
}


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
    # Number of values that do not mean null, and the texts that do.
    _values: int = attrs.field(init=False, default=0)
    _nulls: set[str] = attrs.field(init=False, factory=set[str])
    _needs_trim: bool = attrs.field(init=False, default=False)
    _needs_normalise: bool = attrs.field(init=False, default=False)
    # What the texts look like; None once there is a value that is not a text.
    _texts: _TextForms | None = attrs.field(init=False, factory=_TextForms)
    _is_excel: bool = attrs.field(init=False, default=True)
    _has_integer: bool = attrs.field(init=False, default=False)
    _has_long_integer: bool = attrs.field(init=False, default=False)
    _lacks_zone: bool = attrs.field(init=False, default=False)
    _has_items: bool = attrs.field(init=False, default=False)
    _has_array: bool = attrs.field(init=False, default=False)
    _has_several_items: bool = attrs.field(init=False, default=False)

    def add(self, value: Any, line: int, *, declared: TraitType | None) -> None:  # noqa: ANN401  # A trait's value.
        """Include the *value* of the user on *line*, and the type that its source declares."""
        if isinstance(value, tuple):
            value = list(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # As in rows.
        self.users += 1
        self._declared.add(declared)
        if declared is not None and self._fits_declared:
            self._fits_declared = _can_be_cast(value, declared)
        if isinstance(value, str):
            value = self._clean(value)
            if means_null(value):
                self._nulls.add(value)
                return
        self._values += 1
        self._look_at_text(value)
        self._try_casts(value, line)

    def infer(self, name: str) -> PropertyInference:
        """Return the type of the field called *name*."""
        if len(self._declared) == 1 and self._fits_declared and (declared := next(iter(self._declared))) is not None:
            return PropertyInference(self.users, FieldRule(cast=declared), self._conflicts(declared))
        casts = self._fitting_casts()
        cast: Cast = casts[0] if casts else "any"
        words = {word.lower() for word in _NAME_WORDS.findall(name)}
        if cast in _NUMBER_CASTS:
            return self._infer_number(cast, casts, words)
        if cast in _DATE_CASTS and self._lacks_zone:
            return self._undecided(InferencePolicy.NO_TIME_ZONE, [FieldRule(cast=cast)], needs_time_zone=True)
        if self._is_one_item(cast):
            return self._undecided(InferencePolicy.LIST_OR_TEXT, [FieldRule(cast=cast)])
        if cast == "str" and self._texts is not None and self._values:
            return self._infer_text(self._texts, words)
        return self._decided(FieldRule(cast=cast))

    def _infer_number(self, cast: Cast, casts: list[Cast], words: set[str]) -> PropertyInference:
        is_identifier = bool(self._has_integer and words & _IDENTIFIER_WORDS)
        dates = [] if self._texts is None or is_identifier else self._date_numbers(self._texts, words)
        if dates:
            zone = _EXCEL_DATE in dates and cast == "real"
            return self._undecided(InferencePolicy.NUMBER_OR_DATE, [*dates, FieldRule(cast=cast)], needs_time_zone=zone)
        if self._has_long_integer or is_identifier:
            policy = InferencePolicy.LONG_DIGITS if self._has_long_integer else InferencePolicy.IDENTIFIER_BY_NAME
            others: list[Cast] = [*(other for other in casts if other not in _NUMBER_CASTS), "any"]
            return self._decided(FieldRule(cast=others[0]), policy)
        if self._is_one_item(cast):
            return self._undecided(InferencePolicy.LIST_OR_TEXT, [FieldRule(cast=cast)])
        rules = [] if self._texts is None else _number_rules(self._texts.numbers)
        if len(rules) > 1:
            return self._undecided(InferencePolicy.DECIMAL_OR_THOUSANDS, rules)
        return self._decided(FieldRule(cast=cast))

    def _infer_text(self, texts: _TextForms, words: set[str]) -> PropertyInference:
        if texts.words:
            is_pair = any(pair <= texts.words for pair in _BOOLEAN_PAIRS)
            rule = FieldRule(cast="bool")
            return self._decided(rule) if is_pair else self._undecided(InferencePolicy.ONE_BOOLEAN, [rule])
        if texts.dates.are_short:
            return PropertyInference(self.users, policy=InferencePolicy.TWO_DIGIT_YEAR)
        if texts.dates.are_dates:
            return self._infer_date(texts.dates)
        rules = _number_rules(texts.numbers)
        if rules and words & _IDENTIFIER_WORDS:
            return self._decided(FieldRule(cast="str"), InferencePolicy.IDENTIFIER_BY_NAME)
        if len(rules) > 1:
            return self._undecided(InferencePolicy.DECIMAL_OR_THOUSANDS, rules)
        if texts.numbers.units and rules:
            return self._undecided(InferencePolicy.CURRENCY_OR_PERCENT, rules)
        return self._decided(rules[0] if rules else FieldRule(cast="str"))

    def _infer_date(self, dates: DateForms) -> PropertyInference:
        on_error: OnError = "absent" if dates.are_mixed else "reject"
        rules = [FieldRule(cast="date", format=formats, on_error=on_error) for formats in dates.choices]
        zone = any(lacks_zone(rule.format) for rule in rules)
        if dates.are_mixed:
            return self._undecided(InferencePolicy.MIXED_DAY_AND_MONTH, rules, needs_time_zone=zone)
        if len(rules) > 1:
            return self._undecided(InferencePolicy.DAY_OR_MONTH, rules, needs_time_zone=zone)
        if zone:
            return self._undecided(InferencePolicy.NO_TIME_ZONE, rules, needs_time_zone=True)
        return self._decided(rules[0])

    def _decided(self, rule: FieldRule, policy: InferencePolicy | None = None) -> PropertyInference:
        choices: tuple[FieldRule, ...] = ()
        if rule.cast == "str":
            # Nothing says that a text among others is a null.
            nulls = self._nulls - {""}
            if policy is None and nulls:
                policy, choices = InferencePolicy.NULL_TEXTS, (FieldRule(cast="str", nulls=sorted(nulls)),)
        elif rule.cast != "any":
            rule = self._with_cleaning(rule)
        return PropertyInference(self.users, rule, self._conflicts(rule.cast), policy, choices)

    def _undecided(
        self, policy: InferencePolicy, rules: list[FieldRule], *, needs_time_zone: bool = False
    ) -> PropertyInference:
        choices = tuple(map(self._with_cleaning, rules))
        return PropertyInference(self.users, policy=policy, choices=choices, needs_time_zone=needs_time_zone)

    def _with_cleaning(self, rule: FieldRule) -> FieldRule:
        """Return *rule* for values with the spaces and nulls around them."""
        return attrs.evolve(
            rule,
            nulls=sorted(self._nulls) or None,
            trim=self._needs_trim or None,
            normalise=self._needs_normalise or None,
        )

    def _clean(self, text: str) -> str:
        """Return *text* without the spaces and invisible characters around it; a list has none that matter."""
        if text.startswith(("[", "{")):
            return text
        visible = visible_text(text)
        cleaned = visible.strip()
        self._needs_normalise = self._needs_normalise or visible != text
        self._needs_trim = self._needs_trim or cleaned != visible
        return cleaned

    def _look_at_text(self, value: object) -> None:
        if not isinstance(value, str):
            self._texts = None
        elif self._texts is not None:
            self._texts.add(value)
            self._is_excel = self._is_excel and _is_between(value, _EXCEL)

    def _date_numbers(self, texts: _TextForms, words: set[str]) -> list[FieldRule]:
        """Return the rules by which the numbers are dates; a small number only in a field that is called like one."""
        is_excel = self._is_excel or not words.isdisjoint(_DATE_WORDS)
        return [rule for rule in texts.date_numbers if rule is not _EXCEL_DATE or is_excel]

    def _fitting_casts(self) -> list[Cast]:
        if not self._values:
            return ["str"]
        casts: list[Cast] = [cast for cast in CAST_PREFERENCE if not self._mismatches[cast].count]
        if self._has_items:
            return casts
        # Empty lists fit every list type; call them lists of strings.
        return [cast for cast in casts if cast == "strs" or cast not in _ITEM_TYPES]

    def _is_one_item(self, cast: Cast) -> bool:
        """Return True if the lists may be texts in braces: arrays of PostgreSQL with one item or none."""
        return cast in _ITEM_TYPES and self._has_array and not self._has_several_items

    def _conflicts(self, chosen: Cast) -> tuple[CastConflict, ...]:
        """Return the casts preferred over *chosen* that accept most values."""
        conflicts: list[CastConflict] = []
        fewest = self._values / 2
        preferred = CAST_PREFERENCE[: CAST_PREFERENCE.index(chosen)] if chosen in CAST_PREFERENCE else CAST_PREFERENCE
        for cast in preferred:
            mismatches = self._mismatches[cast]
            if cast in self._tried and 0 < mismatches.count < fewest:
                fewest = mismatches.count
                conflicts.append(CastConflict(cast, mismatches.count, tuple(mismatches.samples)))
        return tuple(conflicts)

    def _try_casts(self, value: Any, line: int) -> None:  # noqa: ANN401  # As above.
        items = self._read_items(value)
        for cast in tuple(self._tried):
            if _is_plausible(cast, value, items) and _can_be_cast(value, cast):
                self._lacks_zone = self._lacks_zone or (cast in _DATE_CASTS and _lacks_zone(value, cast))
                continue
            mismatches = self._mismatches[cast]
            mismatches.add(value, line)
            if mismatches.count > _MAX_MISMATCHES and mismatches.count > self._values / 2:
                self._tried.remove(cast)

    def _read_items(self, value: Any) -> list[Any] | None:  # noqa: ANN401  # As above.
        """Return the items of a list, or of a text that holds one, or None if *value* is neither."""
        is_array = isinstance(value, str) and value.startswith("{")
        items = _array(value) if is_array else _items(value)
        for text in items or [] if is_array else [value]:
            integer = _INTEGER.fullmatch(text) if isinstance(text, str) else None
            self._has_integer = self._has_integer or integer is not None
            self._has_long_integer = self._has_long_integer or (
                integer is not None and len(integer[1]) >= _LONG_INTEGER
            )
        self._has_items = self._has_items or bool(items)
        self._has_array = self._has_array or (is_array and items is not None)
        self._has_several_items = self._has_several_items or len(items or ()) > 1
        return items


def _number_rules(numbers: NumberForms) -> list[FieldRule]:
    return [
        FieldRule(
            cast="int" if is_whole else "real",
            decimal=numbers_format.decimal,
            thousands=numbers_format.thousands,
            strip=numbers_format.strip,
        )
        for numbers_format, is_whole in numbers.formats.items()
    ]


def _array(text: str) -> list[str | None] | None:
    """Return the items of an array of PostgreSQL, or None if *text* is none."""
    try:
        return array_items(text, "")
    except InvalidTraitsError:
        return None


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
    if cast in _ITEM_TYPES and isinstance(value, str) and value.startswith("{"):
        return items is not None and all(_is_plausible_text(cast, item or "") for item in items)
    if cast in _ITEM_TYPES:
        return items is not None and _ITEM_TYPES[cast].issuperset(map(type, items))
    if cast == "bool":
        return isinstance(value, bool) or (isinstance(value, str) and value.lower() in _BOOLEANS)
    if cast == "int" and (isinstance(value, float | Decimal) or (isinstance(value, str) and "." in value)):
        return False
    # Most texts are neither, and a cast that fails is slow.
    return not isinstance(value, str) or cast not in _STARTS or _STARTS[cast].match(value) is not None


def _is_plausible_text(cast: Cast, item: str) -> bool:
    """Return True if *item* of an array of PostgreSQL, which has no types, looks like an item of *cast*."""
    return item.lower() in {*_BOOLEANS, "t", "f"} if cast == "bools" else cast != "ints" or "." not in item


def _lacks_zone(value: object, cast: Cast) -> bool:
    try:
        find_cast(cast, None)(value, "value")
    except InvalidTraitsError:
        return True
    return False


def _can_be_cast(value: object, cast: Cast) -> bool:
    """Return True if *cast* accepts *value*, and the result is a valid trait."""
    try:
        result = _CASTS[cast](value, "value")
        # A date may be none in UTC, and a list may have invalid items; to check is slow.
        if not isinstance(result, str | int | float):
            UserTraits(traits={"value": result})
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
