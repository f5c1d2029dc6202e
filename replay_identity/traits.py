"""A user and their traits, free of any vendor's words."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, Self, TypeAlias, cast, get_args

import attrs

from ._values import (
    REMOVE,
    TraitValue,
    checked_id,
    checked_key,
    checked_mapping_type,
    checked_moment,
    checked_string,
    checked_traits,
    is_nested,
    strict,
)
from .errors import InvalidTraitsError, printable

__all__ = ["REMOVE", "TraitType", "TraitValue", "UserTraits", "fingerprint"]

TraitType: TypeAlias = Literal["str", "int", "real", "bool", "date", "strs", "ints", "reals", "bools", "dates"]

TRAIT_TYPES: Final[frozenset[str]] = frozenset(get_args(TraitType))
# What `UserTraits.from_mapping` reads as the user's own fields; the first name present wins.
USER_ID_NAMES: Final = ("user_id", "uid", "id")
NAME_NAMES: Final = ("name", "display_name")
EMAIL_NAMES: Final = ("email",)


def _checked_user_id(user_id: str | None) -> str | None:
    return None if user_id is None else checked_id(user_id)


def _checked_name(name: str | None) -> str | None:
    return None if name is None else checked_string(name, "name")


def _checked_email(email: str | None) -> str | None:
    return None if email is None else checked_string(email, "email")


def _checked_observed_at(moment: datetime | None) -> datetime | None:
    return None if moment is None else checked_moment(moment)


def _checked_traits(traits: Mapping[str, TraitValue]) -> dict[str, Any]:
    return checked_traits(traits)


def _checked_types(types: Mapping[str, TraitType]) -> dict[str, TraitType]:
    if is_nested(types) and _are_types(types):
        return dict(types)
    for path, declared in checked_mapping_type(types, "types").items():
        name = checked_key(path, "types")
        if not isinstance(declared, str) or declared not in TRAIT_TYPES:
            problem = f"is not a trait type; the types are {', '.join(sorted(TRAIT_TYPES))}"
            raise InvalidTraitsError(f"types.{printable(name)}", problem)
    return dict(types)


def _are_types(types: Mapping[str, TraitType]) -> bool:
    """Tell whether *types* are some, as they nearly always are; otherwise each is asked what is wrong with it."""
    try:
        return TRAIT_TYPES.issuperset(types.values()) and "".join(types).isascii()
    except TypeError:
        return False


def _checked_vendor_ids(vendor_ids: Mapping[str, str]) -> dict[str, str]:
    checked: dict[str, str] = {}
    if is_nested(vendor_ids) and not vendor_ids:
        return checked
    for vendor, vendor_id in checked_mapping_type(vendor_ids, "vendor_ids").items():
        name = checked_key(vendor, "vendor_ids")
        path = f"vendor_ids.{printable(name)}"
        checked[name] = checked_string(vendor_id, path)
        if not vendor_id:
            raise InvalidTraitsError(path, "is empty; leave it out")
    return checked


@attrs.frozen(repr=False)
class UserTraits:
    """One user, and what is known of them.

    Immutable and hashable; mappings and lists given are copied. Equality is strict about types: ``1``,
    ``1.0`` and ``True`` are three different trait values, as they are to a vendor.

    Attributes:
        user_id: The application's own id, non-empty, or None for an anonymous user.
        name: The name to show, or None to say nothing about it.
        email: The e-mail address, or None to say nothing about it.
        traits: Trait names to values: ``str int float bool datetime date Decimal UUID``, nested mappings and
            lists of these. ``None``, and a mapping that says nothing, are left out. `REMOVE` clears a trait.
        types: Declared types (`TraitType`) by dotted path, for vendors that keep types.
        observed_at: Aware moment at which this was true; newer wins.
        vendor_ids: Ids that vendors gave to this user, by backend name.

    Raises:
        InvalidTraitsError: A field cannot be used; it names the path and quotes no value.
    """

    user_id: str | None = attrs.field(default=None, converter=_checked_user_id)
    name: str | None = attrs.field(default=None, kw_only=True, converter=_checked_name)
    email: str | None = attrs.field(default=None, kw_only=True, converter=_checked_email)
    traits: Mapping[str, TraitValue] = attrs.field(
        factory=dict[str, TraitValue], kw_only=True, converter=_checked_traits, eq=strict
    )
    types: Mapping[str, TraitType] = attrs.field(
        factory=dict[str, TraitType], kw_only=True, converter=_checked_types, eq=strict
    )
    observed_at: datetime | None = attrs.field(default=None, kw_only=True, converter=_checked_observed_at)
    vendor_ids: Mapping[str, str] = attrs.field(
        factory=dict[str, str], kw_only=True, converter=_checked_vendor_ids, eq=strict
    )

    @classmethod
    def from_mapping(cls, row: Mapping[str, Any], /) -> Self:
        """Make a user of a flat row, as an `identify` call or an export writes it.

        The first of ``user_id``, ``uid``, ``id``, of ``name``, ``display_name``, and ``email`` become the user's
        own fields; every other key becomes a trait.

        Raises:
            InvalidTraitsError: A field cannot be used.
        """
        traits = _plain_copy(checked_mapping_type(row, "row"))
        user_id, name, email = _lift_own(traits)
        if cls is not UserTraits:  # It may have fields of its own.
            return cls(user_id, name=name, email=email, traits=traits)
        # Without asking the fields that no row has: a bulk load makes millions of users.
        return cast(
            "Self",
            new_unchecked(
                _checked_user_id(user_id), _checked_name(name), _checked_email(email), checked_traits(traits)
            ),
        )

    def __repr__(self) -> str:
        """Show which user this is and what is known, by fingerprint and trait names, never by value."""
        names = ", ".join(printable(name) for name in self.traits)
        return f"UserTraits(user_id={fingerprint(self.user_id)}, traits=[{names}])"


# What sets a field of a frozen class, looked up once: a bulk load sets millions.
_put_user_id, _put_name, _put_email, _put_traits, _put_types, _put_observed_at, _put_vendor_ids = (
    vars(UserTraits)[field.name].__set__ for field in attrs.fields(UserTraits)
)


def new_unchecked(  # The fields, in their order.
    user_id: str | None,
    name: str | None,
    email: str | None,
    traits: Mapping[str, Any],
    types: Mapping[str, TraitType] | None = None,
    observed_at: datetime | None = None,
    vendor_ids: Mapping[str, str] | None = None,
) -> UserTraits:
    """Return a user whose fields have all been checked before, several times as fast as the constructor does."""
    user = object.__new__(UserTraits)
    _put_user_id(user, user_id)
    _put_name(user, name)
    _put_email(user, email)
    _put_traits(user, traits)
    _put_types(user, {} if types is None else types)
    _put_observed_at(user, observed_at)
    _put_vendor_ids(user, {} if vendor_ids is None else vendor_ids)
    return user


def from_validated_row(row: dict[str, Any]) -> UserTraits:
    """Return the user that `UserTraits.from_mapping` makes of *row*, which is checked already, and used up.

    Raises:
        InvalidTraitsError: One of the user's own fields cannot be used.
    """
    user_id, name, email = _lift_own(row)
    return new_unchecked(_checked_user_id(user_id), _checked_name(name), _checked_email(email), row)


def fingerprint(user_id: str | None) -> str:
    """Return eight hex digits that tell users apart in a repr, and mean nothing outside this process.

    Python's own string hash is keyed with a random secret per process, so an id cannot be found by trying ids.
    """
    return "anonymous" if user_id is None else f"<{hash(user_id) & 0xFFFFFFFF:08x}>"


def _plain_copy(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a copy of *row* in which every name is a string of valid Unicode, or raise InvalidTraitsError."""
    try:
        plain = "".join(row).isascii()
    except TypeError:
        plain = False
    return dict(row) if plain else {checked_key(key, "row"): value for key, value in row.items()}


def _lift_own(traits: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Remove from *traits* what is the user's own, the id, the name and the e-mail address, and return it."""
    return _lift(traits, USER_ID_NAMES), _lift(traits, NAME_NAMES), _lift(traits, EMAIL_NAMES)


def _lift(traits: dict[str, Any], names: tuple[str, ...]) -> Any:  # noqa: ANN401  # Checked by the caller.
    for name in names:
        value = traits.pop(name, None)
        if value is not None:
            return value
    return None
