"""A user and their traits, independent of any vendor."""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any, Final, Literal, Self, TypeAlias, cast, get_args
from uuid import UUID

import attrs

from ._values import (
    REMOVE,
    TraitValue,
    checked_datetime,
    checked_id,
    checked_key,
    checked_mapping_type,
    checked_string,
    checked_traits,
    hash_key,
    is_nested,
)
from .errors import InvalidTraitsError, printable

__all__ = ["REMOVE", "TraitType", "TraitValue", "UserTraits", "fingerprint"]

TraitType: TypeAlias = Literal["str", "int", "real", "bool", "date", "strs", "ints", "reals", "bools", "dates"]

TRAIT_TYPES: Final[frozenset[str]] = frozenset(get_args(TraitType))
# The keys of a row that `UserTraits.from_mapping` reads as the user's own fields; the first one present wins.
USER_ID_KEYS: Final = ("user_id", "uid", "id")
NAME_KEYS: Final = ("name", "display_name")
EMAIL_KEYS: Final = ("email",)
OWN_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {"user_id": USER_ID_KEYS, "name": NAME_KEYS, "email": EMAIL_KEYS}

# Also spaces that do not break, and characters of no width.
_SEPARATORS: Final = re.compile(r"[\s_\-\u200b-\u200d\u2060\ufeff]+")
_OWN_FIELD_BY_SPELLING: Final[Mapping[str, str]] = {
    _SEPARATORS.sub("", key): key for keys in OWN_FIELDS.values() for key in keys
}


@lru_cache(maxsize=4096)
def own_field(name: str) -> str | None:
    """Return which of the user's own fields *name* spells, without regard to case, spaces, ``_`` and ``-``, or None."""
    return _OWN_FIELD_BY_SPELLING.get(plain_name(name))


def plain_name(name: str) -> str:
    """Return *name* without what may differ between two spellings of it: case, spaces, ``_`` and ``-``."""
    return _SEPARATORS.sub("", name).casefold()


def id_text(value: object, path: str) -> str:
    """Return an id from a row as text: a string as it is, a whole number as its digits.

    Args:
        value: The value of the field that holds the id.
        path: Name of that field, for the error.

    Raises:
        InvalidTraitsError: The value is null, empty or of another type, such as a boolean or a number with a fraction.
    """
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, UUID) or (isinstance(value, Decimal) and value.as_tuple().exponent == 0):
        return str(value)
    raise InvalidTraitsError(path, _id_problem(value))


def _id_problem(value: object) -> str:
    if value is None:
        return "the id is null"
    if isinstance(value, str):
        return "the id is empty"
    if not (value.is_finite() if isinstance(value, Decimal) else not isinstance(value, float) or isfinite(value)):
        return "expected an id as text or as a whole number, got NaN or an infinity"
    if isinstance(value, float | Decimal):
        return 'expected an id as text or as a whole number; if its numbers are whole, set cast = "int" for the field'
    return "expected an id as text or as a whole number"


def _checked_user_id(user_id: str | None) -> str | None:
    return None if user_id is None else checked_id(user_id)


def _checked_name(name: str | None) -> str | None:
    return None if name is None else checked_string(name, "name")


def _checked_email(email: str | None) -> str | None:
    return None if email is None else checked_string(email, "email")


def _checked_observed_at(moment: datetime | None) -> datetime | None:
    return None if moment is None else checked_datetime(moment, "observed_at")


def _checked_traits(traits: Mapping[str, TraitValue]) -> dict[str, Any]:
    return checked_traits(traits)


def _checked_types(types: Mapping[str, TraitType]) -> dict[str, TraitType]:
    if is_nested(types) and _are_valid_types(types):
        return dict(types)
    for path, trait_type in checked_mapping_type(types, "types").items():
        name = checked_key(path, "types")
        if not isinstance(trait_type, str) or trait_type not in TRAIT_TYPES:
            raise InvalidTraitsError(f"types.{printable(name)}", f"expected one of {', '.join(sorted(TRAIT_TYPES))}")
    return dict(types)


def _are_valid_types(types: Mapping[str, TraitType]) -> bool:
    """Return True if *types* are certainly valid, which is faster than checking one by one."""
    try:
        return TRAIT_TYPES.issuperset(types.values()) and "".join(types).isascii()
    except TypeError:
        return False


def _checked_vendor_ids(vendor_ids: Mapping[str, str]) -> dict[str, str]:
    checked: dict[str, str] = {}
    if is_nested(vendor_ids) and not vendor_ids:
        return checked
    for backend, vendor_id in checked_mapping_type(vendor_ids, "vendor_ids").items():
        name = checked_key(backend, "vendor_ids")
        path = f"vendor_ids.{printable(name)}"
        checked[name] = checked_string(vendor_id, path)
        if not vendor_id:
            raise InvalidTraitsError(path, "the id is empty; leave it out")
    return checked


class _LineSlot:
    """The JSON text of a user. It is not a field, so that a user who is copied or changed has none."""

    __slots__ = ("_as_read",)


@attrs.frozen(repr=False)
class UserTraits(_LineSlot):
    """One user and their traits.

    Immutable and hashable; mappings and lists are copied. Equality is strict about types: ``1``, ``1.0`` and ``True``
    are three different trait values, as they are to a vendor.

    Attributes:
        user_id: Your own id of the user, non-empty, or None for an anonymous user.
        name: Display name, or None to leave it as it is.
        email: E-mail address, or None to leave it as it is.
        traits: Trait names to values: ``str int float bool datetime date Decimal UUID``, and nested mappings and
            lists of these. ``None`` and empty mappings are left out. `REMOVE` clears a trait.
        types: Declared types (`TraitType`) by dotted path, for vendors that store types.
        observed_at: Time at which the traits were true, as an aware datetime; the newer one wins.
        vendor_ids: The vendors' own ids of this user, by backend name.

    Raises:
        InvalidTraitsError: A field is invalid. The error names its path and never quotes a value.
    """

    user_id: str | None = attrs.field(default=None, converter=_checked_user_id)
    name: str | None = attrs.field(default=None, kw_only=True, converter=_checked_name)
    email: str | None = attrs.field(default=None, kw_only=True, converter=_checked_email)
    traits: Mapping[str, TraitValue] = attrs.field(
        factory=dict[str, TraitValue], kw_only=True, converter=_checked_traits, eq=hash_key
    )
    types: Mapping[str, TraitType] = attrs.field(
        factory=dict[str, TraitType], kw_only=True, converter=_checked_types, eq=hash_key
    )
    observed_at: datetime | None = attrs.field(default=None, kw_only=True, converter=_checked_observed_at)
    vendor_ids: Mapping[str, str] = attrs.field(
        factory=dict[str, str], kw_only=True, converter=_checked_vendor_ids, eq=hash_key
    )

    @classmethod
    def from_mapping(cls, row: Mapping[str, Any], /) -> Self:
        """Return the user in a flat *row*, such as the arguments of an `identify` call or a row of an export.

        The first of ``user_id``, ``uid`` and ``id``, the first of ``name`` and ``display_name``, and ``email`` become
        the user's own fields. Every other key becomes a trait.

        Raises:
            InvalidTraitsError: A field is invalid.
        """
        traits = _copy_row(checked_mapping_type(row, "row"))
        user_id, name, email = _pop_own_fields(traits)
        if cls is not UserTraits:  # A subclass may have fields of its own.
            return cls(user_id, name=name, email=email, traits=traits)
        # Skips the fields that a row never has, since bulk loads create millions of users.
        return cast(
            "Self",
            new_unchecked(
                _checked_user_id(user_id), _checked_name(name), _checked_email(email), checked_traits(traits)
            ),
        )

    def __repr__(self) -> str:
        """Show a fingerprint of the id and the trait names, never a value."""
        names = ", ".join(printable(name) for name in self.traits)
        return f"UserTraits(user_id={fingerprint(self.user_id)}, traits=[{names}])"


# The setters of a frozen class's fields, looked up only once, since bulk loads set millions of fields.
_set_user_id, _set_name, _set_email, _set_traits, _set_types, _set_observed_at, _set_vendor_ids = (
    vars(UserTraits)[field.name].__set__ for field in attrs.fields(UserTraits)
)
_set_as_read: Final = vars(_LineSlot)["_as_read"].__set__


def new_unchecked(  # The fields in their order.
    user_id: str | None,
    name: str | None,
    email: str | None,
    traits: Mapping[str, Any],
    types: Mapping[str, TraitType] | None = None,
    observed_at: datetime | None = None,
    vendor_ids: Mapping[str, str] | None = None,
) -> UserTraits:
    """Return a user from fields that are already validated; several times as fast as the constructor."""
    user = object.__new__(UserTraits)
    _set_user_id(user, user_id)
    _set_name(user, name)
    _set_email(user, email)
    _set_traits(user, traits)
    _set_types(user, {} if types is None else types)
    _set_observed_at(user, observed_at)
    _set_vendor_ids(user, {} if vendor_ids is None else vendor_ids)
    return user


def from_validated_row(row: dict[str, Any], as_read: bytes | None = None) -> UserTraits:
    """Return what `UserTraits.from_mapping` returns, for a *row* whose values are validated; consumes *row*.

    Args:
        row: The fields.
        as_read: The JSON text of the row, if the user can be read from it again without a converter.

    Raises:
        InvalidTraitsError: The user's id, name or e-mail address is invalid.
    """
    user_id, name, email = _pop_own_fields(row)
    user = new_unchecked(_checked_user_id(user_id), _checked_name(name), _checked_email(email), row)
    if as_read is not None:
        _set_as_read(user, as_read)
    return user


def json_as_read(user: UserTraits) -> bytes | None:
    """Return the JSON text that *user* was read from and can be read from again, or None if there is none."""
    return getattr(user, "_as_read", None)


def fingerprint(user_id: str | None) -> str:
    """Return eight hex digits that distinguish users in a repr; they mean nothing outside this process.

    Python's string hash is keyed with a random secret per process, so an id cannot be found by trying ids.
    """
    return "anonymous" if user_id is None else f"<{hash(user_id) & 0xFFFFFFFF:08x}>"


def _copy_row(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a copy of *row* with plain string keys, or raise InvalidTraitsError."""
    try:
        is_plain = "".join(row).isascii()
    except TypeError:
        is_plain = False
    return dict(row) if is_plain else {checked_key(key, "row"): value for key, value in row.items()}


def _pop_own_fields(row: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Remove the user's own fields from *row* and return the id, the name and the e-mail address."""
    return _pop_user_id(row), _pop_first(row, NAME_KEYS), _pop_first(row, EMAIL_KEYS)


def _pop_user_id(row: dict[str, Any]) -> Any:  # noqa: ANN401  # Checked by the caller.
    null: str | None = None
    for key in USER_ID_KEYS:
        if key not in row:
            continue
        user_id = row.pop(key)
        if user_id is None:
            null = null or key
        elif null is None:
            return user_id
        else:
            raise InvalidTraitsError(null, f"the id is null, although {key} has a value; leave one of them out")
    return None


def _pop_first(row: dict[str, Any], keys: tuple[str, ...]) -> Any:  # noqa: ANN401  # Checked by the caller.
    for key in keys:
        value = row.pop(key, None)
        if value is not None:
            return value
    return None
