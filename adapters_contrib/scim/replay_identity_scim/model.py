"""Seats and groups, independent of SCIM."""

from collections.abc import Iterable

import attrs

from replay_identity.adapters import InvalidTraitsError, checked_string
from replay_identity.traits import fingerprint


def checked_user_name(user_name: str) -> str:
    """Return *user_name*, or raise InvalidTraitsError if it is invalid."""
    if not checked_string(user_name, "user_name"):
        raise InvalidTraitsError("user_name", "expected a name, got an empty string")
    return user_name


def checked_vendor_id(vendor_id: str) -> str:
    """Return *vendor_id*, or raise InvalidTraitsError if it is invalid."""
    return checked_string(vendor_id, "vendor_id")


def _checked_display_name(display_name: str) -> str:
    return checked_string(display_name, "display_name")


def _checked_given_name(given_name: str) -> str:
    return checked_string(given_name, "given_name")


def _checked_family_name(family_name: str) -> str:
    return checked_string(family_name, "family_name")


def _checked_email(email: str) -> str:
    return checked_string(email, "email")


def _checked_groups(groups: Iterable[str]) -> tuple[str, ...]:
    return _checked_ids(groups, "groups")


def _checked_members(members: Iterable[str]) -> tuple[str, ...]:
    return _checked_ids(members, "members")


def _checked_ids(ids: Iterable[str], path: str) -> tuple[str, ...]:
    if isinstance(ids, str):
        raise InvalidTraitsError(path, "expected a list of ids, got a string")
    return tuple(checked_string(vendor_id, path) for vendor_id in ids)


def _id_repr(vendor_id: str | None) -> str:
    return "None" if vendor_id is None else fingerprint(vendor_id)


def _count_repr(ids: tuple[str, ...]) -> str:
    return f"<{len(ids)}>"


@attrs.frozen
class Seat:
    """A colleague's seat in Fullstory.

    Attributes:
        user_name: The name they log in with, unique at Fullstory; usually their e-mail address.
        given_name: First name, or None to leave it unchanged.
        family_name: Last name, or None to leave it unchanged.
        email: Primary e-mail address, or None to leave it unchanged.
        is_active: True if they can log in.
        groups: Vendor ids of the groups they are in. Read-only; change `Group.members` instead.
        vendor_id: Fullstory's own id of the seat, or None if it is not created yet.

    Raises:
        InvalidTraitsError: A field is invalid; the error names it, without its value.
    """

    user_name: str = attrs.field(repr=fingerprint, converter=checked_user_name)
    given_name: str | None = attrs.field(
        default=None, kw_only=True, repr=False, converter=attrs.converters.optional(_checked_given_name)
    )
    family_name: str | None = attrs.field(
        default=None, kw_only=True, repr=False, converter=attrs.converters.optional(_checked_family_name)
    )
    email: str | None = attrs.field(
        default=None, kw_only=True, repr=False, converter=attrs.converters.optional(_checked_email)
    )
    is_active: bool = attrs.field(default=True, kw_only=True)
    groups: tuple[str, ...] = attrs.field(default=(), kw_only=True, repr=_count_repr, converter=_checked_groups)
    vendor_id: str | None = attrs.field(
        default=None, kw_only=True, repr=_id_repr, converter=attrs.converters.optional(checked_vendor_id)
    )


@attrs.frozen
class Group:
    """A group of seats, which Fullstory maps to a role.

    Attributes:
        display_name: The name that Fullstory shows.
        members: Vendor ids of the seats in the group.
        vendor_id: Fullstory's own id of the group, or None if it is not created yet.

    Raises:
        InvalidTraitsError: A field is invalid; the error names it, without its value.
    """

    display_name: str = attrs.field(repr=fingerprint, converter=_checked_display_name)
    members: tuple[str, ...] = attrs.field(default=(), kw_only=True, repr=_count_repr, converter=_checked_members)
    vendor_id: str | None = attrs.field(
        default=None, kw_only=True, repr=_id_repr, converter=attrs.converters.optional(checked_vendor_id)
    )
