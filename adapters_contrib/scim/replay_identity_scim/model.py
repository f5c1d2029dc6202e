"""Seats and groups, free of SCIM's words."""

from collections.abc import Iterable

import attrs

from replay_identity.adapters import InvalidTraitsError, checked_string
from replay_identity.traits import fingerprint


def checked_user_name(user_name: str) -> str:
    """Return *user_name*, or raise InvalidTraitsError if it cannot be one."""
    if not checked_string(user_name, "user_name"):
        raise InvalidTraitsError("user_name", "is empty")
    return user_name


def checked_vendor_id(vendor_id: str) -> str:
    """Return *vendor_id*, or raise InvalidTraitsError if it cannot be one."""
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
        raise InvalidTraitsError(path, "is one string; pass a list of ids")
    return tuple(checked_string(vendor_id, path) for vendor_id in ids)


def _shown(vendor_id: str | None) -> str:
    return "None" if vendor_id is None else fingerprint(vendor_id)


def _count(ids: tuple[str, ...]) -> str:
    return f"<{len(ids)}>"


@attrs.frozen
class Seat:
    """A colleague's seat in Fullstory.

    Attributes:
        user_name: The name they log in with, by which Fullstory tells seats apart; usually their e-mail address.
        given_name: First name, or None to say nothing about it.
        family_name: Last name, or None to say nothing about it.
        email: Primary e-mail address, or None to say nothing about it.
        is_active: Whether they can log in.
        groups: Vendor ids of the groups they are in. Read only: `Group.members` is where this is changed.
        vendor_id: Fullstory's own id of the seat, or None before there is one.

    Raises:
        InvalidTraitsError: A field cannot be used; it names the field and quotes no value.
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
    groups: tuple[str, ...] = attrs.field(default=(), kw_only=True, repr=_count, converter=_checked_groups)
    vendor_id: str | None = attrs.field(
        default=None, kw_only=True, repr=_shown, converter=attrs.converters.optional(checked_vendor_id)
    )


@attrs.frozen
class Group:
    """A group of seats, which Fullstory maps to what its members may do.

    Attributes:
        display_name: The name shown.
        members: Vendor ids of the seats in it.
        vendor_id: Fullstory's own id of the group, or None before there is one.

    Raises:
        InvalidTraitsError: A field cannot be used; it names the field and quotes no value.
    """

    display_name: str = attrs.field(repr=fingerprint, converter=_checked_display_name)
    members: tuple[str, ...] = attrs.field(default=(), kw_only=True, repr=_count, converter=_checked_members)
    vendor_id: str | None = attrs.field(
        default=None, kw_only=True, repr=_shown, converter=attrs.converters.optional(checked_vendor_id)
    )
