"""What a mapping may say, and what it may not."""

from collections.abc import Iterator, Mapping
from datetime import UTC, tzinfo
from typing import Any, Final, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo

import attrs

from ..errors import ConfigurationError, InvalidTraitsError, printable
from ..traits import USER_ID_KEYS, UserTraits
from .casts import cast_to

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

# Casts whose result may hold further fields.
_OPEN: Final = frozenset({"any", "json"})
_MOMENTS: Final = frozenset({"any", "date", "epoch", "epoch-ms"})


def _one_of(choices: object) -> Any:  # noqa: ANN401  # A validator, as attrs has it.
    def check(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if value not in get_args(choices):
            raise ConfigurationError(attribute.name, f"is none of {', '.join(get_args(choices))}")

    return check


def _is_path(_instance: object, attribute: "attrs.Attribute[Any]", value: str | None) -> None:
    if value is not None:
        _check_path(value, attribute.name)


def _check_path(path: str, setting: str) -> None:
    if not all(path.split(".")):
        raise ConfigurationError(setting, "has a dot with nothing before or after it" if path else "is empty")


@attrs.frozen
class FieldRule:
    """What becomes of one field.

    Attributes:
        rename: The name of the trait, dotted where it is nested; by default that of the field.
        cast: What its values are made; ``"any"`` leaves them as they are.
        drop: Whether it is left out.
        default: What it is where it is absent, cast as a value would be; None for nothing.
        null: What a null means here, where that is not what it means in the rest of the row.
    """

    rename: str | None = attrs.field(default=None, validator=_is_path)
    cast: Cast = attrs.field(default="any", validator=_one_of(Cast))
    drop: bool = False
    default: Any = attrs.field(default=None, repr=False)
    null: FieldNull = attrs.field(default="inherit", validator=_one_of(FieldNull))

    def __attrs_post_init__(self) -> None:
        """Refuse to do anything with a field that is left out."""
        if self.drop and attrs.evolve(self, drop=False) != FieldRule():
            raise ConfigurationError("drop", "leaves the field out, so nothing else can be said of it")


def _copy(fields: Mapping[str, FieldRule]) -> Mapping[str, FieldRule]:
    return dict(fields)


@attrs.frozen
class RowMapping:
    """How the fields of a row become those of a user.

    A dotted path names a field inside an object, or one whose name holds dots.

    Attributes:
        user_id: Path of the field that holds the id; by default the first of ``user_id``, ``uid``, ``id``.
        name: Path of the name; by default the first of ``name``, ``display_name``.
        email: Path of the e-mail address; by default ``email``.
        observed_at: Path of the moment at which the row was true; by default there is none.
        null: Whether a null, or an empty cell of CSV, says nothing (``"absent"``) or clears the trait (``"remove"``).
        unlisted: Whether fields that no setting names are traits (``"keep"``) or left out (``"drop"``).
        timezone: Name of the time zone of dates with a time of day that name none; by default these are refused.
        fields: Rules by path.

    Raises:
        ConfigurationError: Two settings contradict each other, or one cannot be used.
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
        """Refuse what can be known to fail before there is any row."""
        zone = self.zone
        for path, rule in self.fields.items():
            _check_path(path, f"fields.{printable(path)}")
            _check_default(path, rule, zone)
        for setting, path in self.own.items():
            _check_own(setting, path, self.fields.get(path, FieldRule()))
        for path in sorted(self.ids & self.fields.keys()):
            if self.fields[path].default is not None:
                problem = "would make one user of all who have no id"
                raise ConfigurationError(f"fields.{printable(path)}.default", problem)
        _check_targets(self.targets)

    @property
    def zone(self) -> tzinfo | None:
        """The time zone of moments that name none."""
        if self.timezone is None:
            return None
        try:
            return UTC if self.timezone == "UTC" else ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError):
            hint = "there are UTC, Europe/Berlin and the like; on Windows they come with the package tzdata"
            raise ConfigurationError("timezone", "is no time zone", hint) from None

    @property
    def own(self) -> Mapping[str, str]:
        """The paths of the user's own fields by setting, as far as there are settings."""
        paths = {
            "user_id": self.user_id,
            "name": self.name,
            "email": self.email,
            "observed_at": self.observed_at,
        }
        return {setting: path for setting, path in paths.items() if path is not None}

    @property
    def ids(self) -> frozenset[str]:
        """The paths of fields that may hold the user's id."""
        if self.user_id is not None:
            return frozenset({self.user_id})
        listed = {path for target, (path, _) in self.targets.items() if target in USER_ID_KEYS}
        return frozenset(listed | ({*USER_ID_KEYS} - self.fields.keys()))

    @property
    def targets(self) -> Mapping[str, tuple[str, FieldRule]]:
        """The path and the rule of every field that becomes a trait, by the name of the trait.

        Raises:
            ConfigurationError: Two fields have one name.
        """
        targets: dict[str, tuple[str, FieldRule]] = {}
        for path, rule in self.fields.items():
            if rule.drop or path in self.own.values():
                continue
            target = rule.rename or path
            if target in targets:
                problem = f"is the name of {printable(targets[target][0])} too"
                raise ConfigurationError(f"fields.{printable(path)}.rename", problem)
            targets[target] = path, rule
        return targets


def _check_default(path: str, rule: FieldRule, zone: tzinfo | None) -> None:
    if rule.default is None:
        return
    try:
        UserTraits(traits={"default": cast_to(rule.cast, zone)(rule.default, "default")})
    except InvalidTraitsError as error:
        raise ConfigurationError(f"fields.{printable(path)}.default", error.problem) from None


def _check_own(setting: str, path: str, rule: FieldRule) -> None:
    place = f"fields.{printable(path)}"
    for refused in ("rename", "drop"):
        if getattr(rule, refused):
            raise ConfigurationError(f"{place}.{refused}", f"cannot be said of what {setting} is taken from")
    if rule.null == "remove":
        raise ConfigurationError(f"{place}.null", f"cannot be remove: {setting} is no trait")
    if setting == "observed_at" and rule.cast not in _MOMENTS:
        raise ConfigurationError(f"{place}.cast", "makes no moment, which observed_at must be")


def _check_targets(targets: Mapping[str, tuple[str, FieldRule]]) -> None:
    """Refuse a trait inside another one that is no object."""
    closed = {target for target, (_, rule) in targets.items() if rule.cast not in _OPEN}
    for target, (path, _) in targets.items():
        for parent in _parents(target):
            if parent in closed:
                problem = f"puts it into {printable(parent)}, which has a value of its own"
                raise ConfigurationError(f"fields.{printable(path)}", problem)


def _parents(path: str) -> Iterator[str]:
    parts = path.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts)))
