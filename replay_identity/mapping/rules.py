"""The rules of a mapping, and which of them contradict each other."""

from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any, Final, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo

import attrs

from .._paths import EMPTY_PART, is_well_formed, not_nestable, parents_of
from ..errors import ConfigurationError, InvalidTraitsError, printable
from ..traits import USER_ID_KEYS, UserTraits
from .casts import find_cast

Cast: TypeAlias = Literal[
    "any",
    "str",
    "int",
    "real",
    "bool",
    "date",
    "epoch",
    "epoch-ms",
    "json",
    "strs",
    "ints",
    "reals",
    "bools",
    "dates",
]
Null: TypeAlias = Literal["absent", "remove"]
FieldNull: TypeAlias = Literal["inherit", "absent", "remove"]
Unlisted: TypeAlias = Literal["keep", "drop"]

# Casts whose result may be an object.
_OBJECT_CASTS: Final = frozenset({"any", "json"})
_DATETIME_CASTS: Final = frozenset({"any", "date", "epoch", "epoch-ms"})


def _one_of(choices: object) -> Any:  # noqa: ANN401  # A validator of attrs.
    def check(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if value not in get_args(choices):
            raise ConfigurationError(attribute.name, f"expected one of {', '.join(get_args(choices))}")

    return check


def _is_path(_instance: object, attribute: "attrs.Attribute[Any]", value: str | None) -> None:
    if value is not None:
        _check_path(value, attribute.name)


def _check_path(path: str, setting: str) -> None:
    if not is_well_formed(path):
        raise ConfigurationError(setting, EMPTY_PART if path else "is empty")


@attrs.frozen
class FieldRule:
    """How one field becomes a trait.

    Attributes:
        rename: Name of the trait, dotted if it is nested; by default the name of the field.
        cast: Type that values are converted to; ``"any"`` keeps them as they are.
        drop: Whether to ignore the field.
        default: Value of an absent field, cast like any other value; None for no value.
        null: What a null in this field means; ``"inherit"`` takes the mapping's setting.
    """

    rename: str | None = attrs.field(default=None, validator=_is_path)
    cast: Cast = attrs.field(default="any", validator=_one_of(Cast))
    drop: bool = False
    default: Any = attrs.field(default=None, repr=False)
    null: FieldNull = attrs.field(default="inherit", validator=_one_of(FieldNull))

    def __attrs_post_init__(self) -> None:
        """Check that a dropped field has no other setting."""
        if self.drop and attrs.evolve(self, drop=False) != FieldRule():
            raise ConfigurationError(
                "drop", "the field is dropped, so no other setting can apply to it", "remove drop or the other settings"
            )


def _copy(fields: Mapping[str, FieldRule]) -> Mapping[str, FieldRule]:
    return dict(fields)


@attrs.frozen
class RowMapping:
    """How the fields of a row become the fields of a user.

    A dotted path names a nested field, or a field whose name has dots.

    Attributes:
        user_id: Path of the user id; by default the first of ``user_id``, ``uid``, ``id``.
        name: Path of the name; by default the first of ``name``, ``display_name``.
        email: Path of the email address; by default ``email``.
        observed_at: Path of the time at which the row was true; by default there is none.
        null: Whether a null, or an empty cell of CSV, is ignored (``"absent"``) or removes the trait (``"remove"``).
        unlisted: Whether fields that no setting names become traits (``"keep"``) or are ignored (``"drop"``).
        timezone: Name of the time zone of datetimes that have none; by default such datetimes are errors.
        fields: Rules by path.

    Raises:
        ConfigurationError: A setting is not valid, or two settings contradict each other.
    """

    user_id: str | None = attrs.field(default=None, validator=_is_path)
    name: str | None = attrs.field(default=None, validator=_is_path)
    email: str | None = attrs.field(default=None, validator=_is_path)
    observed_at: str | None = attrs.field(default=None, validator=_is_path)
    null: Null = attrs.field(default="absent", validator=_one_of(Null))
    unlisted: Unlisted = attrs.field(default="keep", validator=_one_of(Unlisted))
    timezone: str | None = None
    fields: Mapping[str, FieldRule] = attrs.field(factory=dict[str, FieldRule], converter=_copy)

    def __attrs_post_init__(self) -> None:
        """Raise what is wrong before any row is read."""
        zone = self.zone_info
        for path, rule in self.fields.items():
            _check_path(path, f"fields.{printable(path)}")
            _check_default(path, rule, zone)
        for setting, path in self.user_fields.items():
            _check_user_field(setting, path, self.fields.get(path, FieldRule()))
        for path in sorted(self.id_paths & self.fields.keys()):
            if self.fields[path].default is not None:
                problem = "would give all users without an id the same id"
                raise ConfigurationError(f"fields.{printable(path)}.default", problem)
        _check_targets(self.targets)

    @property
    def zone_info(self) -> tzinfo | None:
        """The time zone of datetimes that have none."""
        if self.timezone is None:
            return None
        try:
            return UTC if self.timezone == "UTC" else ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError):
            hint = "on Windows, install the package tzdata"
            raise ConfigurationError("timezone", "expected a name such as UTC or Europe/Berlin", hint) from None

    @property
    def user_fields(self) -> Mapping[str, str]:
        """The paths of the id, name, email address and time, by setting, for those that are set."""
        paths = {
            "user_id": self.user_id,
            "name": self.name,
            "email": self.email,
            "observed_at": self.observed_at,
        }
        return {setting: path for setting, path in paths.items() if path is not None}

    @property
    def id_paths(self) -> frozenset[str]:
        """The paths of fields that may hold the user id."""
        if self.user_id is not None:
            return frozenset({self.user_id})
        renamed = {path for target, (path, _) in self.targets.items() if target in USER_ID_KEYS}
        return frozenset(renamed | ({*USER_ID_KEYS} - self.fields.keys()))

    @property
    def id_rules(self) -> "RowMapping":
        """The part of the mapping that decides on the user id."""
        fields = {path: rule for path, rule in self.fields.items() if path in self.id_paths or path in USER_ID_KEYS}
        return RowMapping(user_id=self.user_id, null=self.null, timezone=self.timezone, fields=fields)

    @property
    def targets(self) -> Mapping[str, tuple[str, FieldRule]]:
        """The path and the rule of each field that becomes a trait, by name of the trait.

        Raises:
            ConfigurationError: Two fields become the same trait.
        """
        targets: dict[str, tuple[str, FieldRule]] = {}
        for path, rule in self.fields.items():
            if rule.drop or path in self.user_fields.values():
                continue
            target = rule.rename or path
            if target in targets:
                problem = f"is also the name of {printable(targets[target][0])}"
                raise ConfigurationError(f"fields.{printable(path)}.rename", problem)
            targets[target] = path, rule
        return targets


def _check_default(path: str, rule: FieldRule, zone: tzinfo | None) -> None:
    if rule.default is None:
        return
    try:
        UserTraits(traits={"default": find_cast(rule.cast, zone)(rule.default, "default")})
    except InvalidTraitsError as error:
        raise ConfigurationError(f"fields.{printable(path)}.default", error.problem) from None


def _check_user_field(setting: str, path: str, rule: FieldRule) -> None:
    where = f"fields.{printable(path)}"
    for option in ("rename", "drop"):
        if getattr(rule, option):
            raise ConfigurationError(f"{where}.{option}", f"cannot be set for the field that gives {setting}")
    if rule.null == "remove":
        raise ConfigurationError(f"{where}.null", f"cannot be remove for {setting}, which is not a trait")
    if setting == "observed_at" and rule.cast not in _DATETIME_CASTS:
        choices = ", ".join(sorted(_DATETIME_CASTS))
        raise ConfigurationError(f"{where}.cast", f"expected one of {choices} for the field that gives observed_at")


def _check_targets(targets: Mapping[str, tuple[str, FieldRule]]) -> None:
    """Raise if a trait would be nested in one that is not an object."""
    scalars = {target for target, (_, rule) in targets.items() if rule.cast not in _OBJECT_CASTS}
    for target, (path, _) in targets.items():
        for parent in parents_of(target):
            if parent in scalars:
                raise ConfigurationError(f"fields.{printable(path)}", not_nestable(parent))
