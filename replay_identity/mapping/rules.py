"""The rules of a mapping, and which of them contradict each other."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, tzinfo
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias, get_args
from zoneinfo import ZoneInfo

import attrs

from .._paths import FieldPath, not_nestable, prefixes
from .._toml import read_toml, structure
from ..errors import ConfigurationError, InvalidTraitsError, printable
from ..traits import OWN_FIELDS, USER_ID_KEYS, UserTraits, own_field
from .casts import CastFunction, find_cast
from .cleaning import TextRules
from .date_casts import DateFormat
from .number_format import NumberFormat

Cast: TypeAlias = Literal[
    "any",
    "str",
    "int",
    "real",
    "bool",
    "date",
    "epoch",
    "epoch-s",
    "epoch-ms",
    "excel-date",
    "json",
    "strs",
    "ints",
    "reals",
    "bools",
    "dates",
    "user-id",
    "none",
]
Null: TypeAlias = Literal["absent", "remove"]
FieldNull: TypeAlias = Literal["inherit", "absent", "remove"]
Unlisted: TypeAlias = Literal["keep", "drop", "lifted"]
OnError: TypeAlias = Literal["reject", "absent"]
Dots: TypeAlias = Literal["nest", "flat"]

# Mappings that come with the package, for the exports of other products.
PRESETS: Final = ("airbyte", "hubspot", "intercom", "mixpanel", "posthog", "segment", "singer")
_PRESETS: Final = Path(__file__).with_name("presets")

# Files beside those of the zones: the machine's own zone, and none.
_NO_ZONES: Final = dict.fromkeys(["localtime", "Factory", "posixrules"], "")
# Casts whose result may be an object.
_OBJECT_CASTS: Final = frozenset({"any", "json"})
# Casts whose result may be the user's own field.
_TEXT_CASTS: Final = frozenset({"any", "json", "str"})
_USER_CASTS: Final[Mapping[str, frozenset[str]]] = {
    "user_id": _TEXT_CASTS | {"int", "user-id"},
    "name": _TEXT_CASTS,
    "email": _TEXT_CASTS,
    "observed_at": frozenset({"any", "date", "epoch", "epoch-s", "epoch-ms", "excel-date"}),
}
_FORMAT_CASTS: Final = frozenset({"date", "dates"})
_NUMBER_CASTS: Final = frozenset({"int", "real", "ints", "reals"})


def _one_of(choices: object) -> Any:  # noqa: ANN401  # A validator of attrs.
    def check(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if value not in get_args(choices):
            raise ConfigurationError(attribute.name, f"expected one of {', '.join(get_args(choices))}")

    return check


def _is_path(_instance: object, attribute: "attrs.Attribute[Any]", value: str | tuple[str, ...] | None) -> None:
    paths = _as_paths(value)
    if value is not None and not (paths and all(map(str.strip, paths))):
        raise ConfigurationError(attribute.name, "is empty")
    if len(set(paths)) < len(paths):
        raise ConfigurationError(attribute.name, "has a path twice", "remove one of them")


def _is_boolean(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if type(value) is not bool and value is not attribute.default:
        raise ConfigurationError(attribute.name, "expected true or false")


def _check_path(path: str, setting: str) -> None:
    if not path:
        raise ConfigurationError(setting, "is empty")


def _as_paths(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if value is None else _as_texts(value)


def _as_name(value: str | Sequence[str] | None) -> str | tuple[str, ...] | None:
    return value if value is None or isinstance(value, str) else tuple(value)


def _as_choices(values: Mapping[str, Any]) -> Mapping[str, tuple[Any, ...]]:
    return {path: tuple(value) if type(value) in {list, tuple} else (value,) for path, value in values.items()}


def _as_texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _as_optional_texts(value: str | Sequence[str] | None) -> tuple[str, ...] | None:
    return None if value is None else _as_texts(value)


@attrs.frozen
class FieldRule:
    """How one field becomes a trait.

    Attributes:
        rename: Name of the trait, dotted if it is nested; by default the name of the field.
        cast: Type that values are converted to; ``"any"`` keeps them as they are.
        drop: Whether to ignore the field.
        default: Value of an absent field, cast like any other value; None for no value.
        null: What a null in this field means; ``"inherit"`` takes the mapping's setting.
        nulls: Texts that mean null; None takes the mapping's setting, and so for the next three.
        trim: Whether to remove spaces at both ends of texts.
        lower: Whether to change texts to lower case.
        normalise: Whether to write letters with accents in one way (NFC) and remove invisible characters.
        on_error: Whether a value that cannot be cast makes the row a bad row (``"reject"``) or is left out and counted
            (``"absent"``).
        format: Formats of dates in strings, as `datetime.strptime` reads them, instead of ISO 8601.
        decimal: Decimal sign of numbers in strings, a point or a comma.
        thousands: Separator of thousands in such numbers, or None if there is none.
        strip: Texts to remove at either end of such numbers, such as a currency.
    """

    rename: str | None = attrs.field(default=None, validator=_is_path)
    cast: Cast = attrs.field(default="any", validator=_one_of(Cast))
    drop: bool = attrs.field(default=False, validator=_is_boolean)
    default: Any = attrs.field(default=None, repr=False)
    null: FieldNull = attrs.field(default="inherit", validator=_one_of(FieldNull))
    nulls: tuple[str, ...] | None = attrs.field(default=None, converter=_as_optional_texts)
    trim: bool | None = attrs.field(default=None, validator=_is_boolean)
    lower: bool | None = attrs.field(default=None, validator=_is_boolean)
    normalise: bool | None = attrs.field(default=None, validator=_is_boolean)
    on_error: OnError = attrs.field(default="reject", validator=_one_of(OnError))
    format: tuple[str, ...] = attrs.field(default=(), converter=_as_texts)
    decimal: str = "."
    thousands: str | None = None
    strip: tuple[str, ...] = attrs.field(default=(), converter=_as_texts)

    def __attrs_post_init__(self) -> None:
        """Check that the settings fit together."""
        if self.drop and attrs.evolve(self, drop=False) != FieldRule():
            raise ConfigurationError(
                "drop", "the field is dropped, so no other setting can apply to it", "remove drop or the other settings"
            )
        for setting in ("rename", "default", "on_error") if self.cast == "none" else ():
            if setting in self.settings:
                raise ConfigurationError(setting, "cannot be set with the cast none, which leaves no value")
        if self.on_error == "absent" and self.cast == "any":
            raise ConfigurationError("on_error", "needs a cast", "set cast, which tells what the value should be")
        self._check_casts("format", _FORMAT_CASTS)
        for setting in ("decimal", "thousands", "strip"):
            self._check_casts(setting, _NUMBER_CASTS)
        self.find_cast(None)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that are not the default."""
        defaults = {field.name: field.default for field in attrs.fields(FieldRule)}
        return {name: value for name, default in defaults.items() if (value := getattr(self, name)) != default}

    def find_cast(self, zone: tzinfo | None) -> CastFunction:
        """Return the function that casts the field's values; *zone* applies to datetimes without a time zone.

        Raises:
            ConfigurationError: A format is not valid.
        """
        formats = tuple(map(DateFormat.parse, self.format))
        numbers = NumberFormat(self.decimal, self.thousands, self.strip)
        return find_cast(self.cast, zone, formats=formats, numbers=None if numbers == NumberFormat() else numbers)

    def _check_casts(self, setting: str, casts: frozenset[str]) -> None:
        if setting in self.settings and self.cast not in casts:
            raise ConfigurationError(setting, f"is only for the casts {', '.join(sorted(casts))}", "set cast")


def _copy(fields: Mapping[str, FieldRule]) -> Mapping[str, FieldRule]:
    return dict(fields)


@attrs.frozen
class RowMapping:
    """How the fields of a row become the fields of a user.

    A dotted path names a nested field, or a field whose name has dots.

    Attributes:
        user_id: Path of the user id; by default the first of ``user_id``, ``uid``, ``id``.
        name: Path of the name, or several whose texts are joined by a space; by default the first of ``name``,
            ``display_name``.
        email: Path of the email address; by default ``email``.
        observed_at: Path of the time at which the row was true; by default there is none.
        null: Whether a null, or an empty cell of CSV, is ignored (``"absent"``) or removes the trait (``"remove"``).
        unlisted: Whether fields that no setting names become traits (``"keep"``) or are ignored (``"drop"``), or only
            those that are lifted become traits (``"lifted"``).
        lift: Path of an object whose fields become fields of the row, or None.
        where: Values that a row must have, by path: one value or several of which it must have one. An empty text is
            also a null or an absent value. Other rows are left out.
        timezone: Name of the time zone of datetimes that have none; by default such datetimes are errors.
        nulls: Texts that mean null, in every field that has no setting of its own; and so for the next three.
        trim: Whether to remove spaces at both ends of texts.
        lower: Whether to change texts to lower case.
        normalise: Whether to write letters with accents in one way (NFC) and remove invisible characters.
        strict: Whether a path that the mapping names and no row has is an error.
        dots: Whether a dotted name of a column is a path (``"nest"``) or a name with dots (``"flat"``).
        fields: Rules by path.

    Raises:
        ConfigurationError: A setting is not valid, or two settings contradict each other.
    """

    user_id: str | None = attrs.field(default=None, validator=_is_path)
    name: str | tuple[str, ...] | None = attrs.field(default=None, converter=_as_name, validator=_is_path)
    email: str | None = attrs.field(default=None, validator=_is_path)
    observed_at: str | None = attrs.field(default=None, validator=_is_path)
    null: Null = attrs.field(default="absent", validator=_one_of(Null))
    unlisted: Unlisted = attrs.field(default="keep", validator=_one_of(Unlisted))
    lift: str | None = attrs.field(default=None, validator=_is_path)
    where: Mapping[str, Any] = attrs.field(factory=dict[str, Any], converter=_as_choices, repr=False)
    timezone: str | None = None
    nulls: tuple[str, ...] = attrs.field(default=(), converter=_as_texts)
    trim: bool = attrs.field(default=False, validator=_is_boolean)
    lower: bool = attrs.field(default=False, validator=_is_boolean)
    normalise: bool = attrs.field(default=False, validator=_is_boolean)
    strict: bool = attrs.field(default=True, validator=_is_boolean)
    dots: Dots = attrs.field(default="nest", validator=_one_of(Dots))
    fields: Mapping[str, FieldRule] = attrs.field(factory=dict[str, FieldRule], converter=_copy)

    def __attrs_post_init__(self) -> None:
        """Raise what is wrong before any row is read."""
        zone = self.zone_info
        for path, rule in self.fields.items():
            _check_path(path, f"fields.{printable(path)}")
            _check_default(path, rule, zone)
            if rule.cast == "user-id" and path not in self.id_paths:
                raise ConfigurationError(f"fields.{printable(path)}.cast", "is user-id, but user_id is another field")
        for setting, paths in self.user_fields.items():
            for path in paths:
                _check_user_field(setting, path, self.fields.get(path, FieldRule()))
        for path in sorted(self.id_paths & self.fields.keys()):
            _check_id_rule(path, self.fields[path])
        self._check_targets()
        self._check_lift()
        for path, values in self.where.items():
            _check_where(path, values)

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return the ready mapping for the exports of a product, such as ``"segment"``.

        Raises:
            ConfigurationError: There is no such preset.
        """
        if name not in PRESETS:
            near = get_close_matches(str(name).casefold(), PRESETS, n=1)
            hint = f"did you mean {near[0]}?" if near else ""
            raise ConfigurationError("preset", f"expected one of {', '.join(PRESETS)}", hint)
        return structure(read_toml(_PRESETS / f"{name}.toml"), cls, f"preset {name}: ")

    @property
    def zone_info(self) -> tzinfo | None:
        """The time zone of datetimes that have none."""
        if self.timezone is None:
            return None
        try:
            return UTC if self.timezone == "UTC" else ZoneInfo(_NO_ZONES.get(self.timezone, self.timezone))
        except (KeyError, ValueError, OSError):
            hint = "on Windows, install the package tzdata"
            raise ConfigurationError("timezone", "expected a name such as UTC or Europe/Berlin", hint) from None

    @property
    def user_fields(self) -> Mapping[str, tuple[str, ...]]:
        """The paths of the id, name, email address and time, by setting, for those that are set."""
        paths = {
            "user_id": self.user_id,
            "name": self.name,
            "email": self.email,
            "observed_at": self.observed_at,
        }
        return {setting: _as_paths(path) for setting, path in paths.items() if path is not None}

    @property
    def id_paths(self) -> frozenset[str]:
        """The paths of fields that may hold the user id."""
        if self.user_id is not None:
            return frozenset({self.user_id})
        renamed = {path for target, (path, _) in self.targets.items() if target in USER_ID_KEYS}
        return frozenset(renamed | ({*USER_ID_KEYS} - self.fields.keys()))

    @property
    def paths(self) -> frozenset[str]:
        """All paths that the mapping names in a row."""
        lift = [] if self.lift is None else [self.lift]
        return frozenset({*self.field_paths, *self.where, *lift})

    @property
    def field_paths(self) -> frozenset[str]:
        """The paths of fields that the mapping names, in a row whose fields are lifted."""
        return frozenset({*self.fields, *(path for paths in self.user_fields.values() for path in paths)})

    def text_rules(self, rule: FieldRule | None = None) -> TextRules | None:
        """Return how to clean the texts of a field with *rule*, or of one without a rule; None if nothing changes."""
        nulls, trim, lower, normalise = (
            getattr(self, name) if rule is None or getattr(rule, name) is None else getattr(rule, name)
            for name in ("nulls", "trim", "lower", "normalise")
        )
        return TextRules(frozenset(nulls), trim=trim, lower=lower, normalise=normalise).or_none()

    @property
    def targets(self) -> Mapping[str, tuple[str, FieldRule]]:
        """The path and the rule of each field that becomes a trait, by name of the trait.

        Raises:
            ConfigurationError: Two fields become the same trait.
        """
        targets: dict[str, tuple[str, FieldRule]] = {}
        user_paths = {path for paths in self.user_fields.values() for path in paths}
        for path, rule in self.fields.items():
            if rule.drop or path in user_paths:
                continue
            target = rule.rename or self._own_name(path)
            if target in targets:
                problem = f"is also the name of {printable(targets[target][0])}"
                raise ConfigurationError(f"fields.{printable(path)}.rename", problem)
            targets[target] = path, rule
        return targets

    def source_path(self, trait: str) -> str:
        """Return the path in a row of the field that becomes *trait*, or is in the object that becomes its parent."""
        for target in reversed(prefixes(trait)):
            if target in self.targets:
                return self.targets[target][0] + trait.removeprefix(target)
        return trait

    def with_rules(self, rules: Mapping[str, FieldRule]) -> Self:
        """Return the mapping with *rules* for traits that it gives; a field that has a cast keeps its rule."""
        fields = dict(self.fields)
        for trait, rule in rules.items():
            path = self.source_path(trait)
            given = fields.get(path, FieldRule())
            if given.cast == "any":
                fields[path] = attrs.evolve(rule, **{**given.settings, "nulls": self._all_nulls(given, rule)})
        return attrs.evolve(self, fields=fields)

    def _all_nulls(self, given: FieldRule, added: FieldRule) -> tuple[str, ...] | None:
        """Return the texts that mean null by the rule *given*, or by the mapping if it has none, or by another rule."""
        if added.nulls is None:
            return given.nulls
        return tuple(sorted({*(self.nulls if given.nulls is None else given.nulls), *added.nulls}))

    @property
    def respelled(self) -> Mapping[str, str]:
        """The user's own fields that have a rule under another spelling: the path, and the field."""
        return {path: target for target, (path, rule) in self.targets.items() if rule.rename is None and target != path}

    def _own_name(self, path: str) -> str:
        """Return the name of the user's own field that *path* spells, unless another setting says where that is."""
        own = own_field(path)
        is_set = any(own in keys for setting, keys in OWN_FIELDS.items() if setting in self.user_fields)
        return path if own is None or is_set else own

    def target_path(self, target: str) -> FieldPath:
        """Return where the trait called *target* goes; with flat dots, only a new name can be a path."""
        is_flat = self.dots == "flat" and self.targets[target][1].rename is None
        return FieldPath.column(target, is_flat=is_flat)

    def _check_targets(self) -> None:
        """Raise if a trait would be nested in one that is not an object."""
        targets = self.targets
        scalars = {target for target, (_, rule) in targets.items() if rule.cast not in _OBJECT_CASTS}
        for target, (path, _) in targets.items():
            for parent in prefixes(target)[:-1] if self.target_path(target).parents else ():
                if parent in scalars:
                    raise ConfigurationError(f"fields.{printable(path)}", not_nestable(parent))

    def _check_lift(self) -> None:
        """Raise if there is nothing to lift, or a path leads to where a field is no longer."""
        if self.lift is None:
            if self.unlisted == "lifted":
                raise ConfigurationError(
                    "unlisted", "is lifted, but lift is not set", "set lift to the path of an object"
                )
            return
        for path in sorted(self.field_paths):
            if path == self.lift:
                raise ConfigurationError("lift", "is also the path of a field", "remove the other setting")
            if path.startswith(f"{self.lift}."):
                hint = f"call it {printable(path.removeprefix(f'{self.lift}.'))}"
                raise ConfigurationError(f"fields.{printable(path)}", "is lifted out of its object", hint)


def _check_default(path: str, rule: FieldRule, zone: tzinfo | None) -> None:
    if rule.default is None:
        return
    try:
        UserTraits(traits={"default": rule.find_cast(zone)(rule.default, "default")})
    except InvalidTraitsError as error:
        raise ConfigurationError(f"fields.{printable(path)}.default", error.problem, error.hint) from None


def _check_id_rule(path: str, rule: FieldRule) -> None:
    where = f"fields.{printable(path)}"
    if rule.default is not None:
        raise ConfigurationError(f"{where}.default", "would give all users without an id the same id")
    if rule.on_error == "absent":
        raise ConfigurationError(f"{where}.on_error", "cannot be absent for the id: a row without it is another user")


def _check_user_field(setting: str, path: str, rule: FieldRule) -> None:
    where = f"fields.{printable(path)}"
    for option in ("rename", "drop"):
        if getattr(rule, option):
            raise ConfigurationError(f"{where}.{option}", f"cannot be set for the field that gives {setting}")
    if rule.null == "remove":
        raise ConfigurationError(f"{where}.null", f"cannot be remove for {setting}, which is not a trait")
    if rule.cast not in _USER_CASTS[setting]:
        choices = ", ".join(sorted(_USER_CASTS[setting]))
        raise ConfigurationError(f"{where}.cast", f"expected one of {choices} for the field that gives {setting}")


def _check_where(path: str, values: Sequence[object]) -> None:
    where = f"where.{printable(path)}"
    _check_path(path, where)
    if not values:
        raise ConfigurationError(where, "has no value, so no row would be read")
    if not all(isinstance(value, str | int | float | date) and value == value for value in values):  # noqa: PLR0124  # NaN.
        raise ConfigurationError(where, "expected a string, number, boolean or date, or a list of these")
