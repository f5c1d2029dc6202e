"""Convert seats and groups to SCIM resources, and back."""

from collections.abc import Iterable

import attrs

from .model import Group, Seat
from .resources import Email, GroupResource, Member, Name, UserResource

# Fields of a seat that stay unchanged if they are None.
_OPTIONAL_FIELDS = ("given_name", "family_name", "email")


def seat_of(user: UserResource) -> Seat:
    """Return *user* as a seat."""
    name = user.name or Name()
    email = _primary(user.emails or [])
    return Seat(
        user.user_name,
        given_name=name.given_name,
        family_name=name.family_name,
        email=None if email is None else email.value,
        # A service may leave the attribute out for active users.
        is_active=user.active is not False,
        groups=[group.value for group in user.groups or [] if group.value],
        vendor_id=user.id,
    )


def group_of(group: GroupResource) -> Group:
    """Return *group* as a `Group`."""
    return Group(group.display_name, members=_ids(group.members or []), vendor_id=group.id)


def apply_seat(seat: Seat, user: UserResource) -> UserResource:
    """Change *user* to the values of *seat*, and return it; values that the seat does not have stay."""
    user.user_name = seat.user_name
    user.active = seat.is_active
    if seat.given_name is not None or seat.family_name is not None:
        name = user.name or Name()
        name.given_name = name.given_name if seat.given_name is None else seat.given_name
        name.family_name = name.family_name if seat.family_name is None else seat.family_name
        user.name = name
    if seat.email is not None:
        emails = user.emails or []
        email = _primary(emails)
        if email is None:
            user.emails = [Email(value=seat.email, primary=True)]
        else:
            email.value = seat.email
    return user


def apply_group(group: Group, resource: GroupResource) -> GroupResource:
    """Change *resource* to the values of *group*, and return it; members who stay keep all their attributes."""
    current = {member.value: member for member in resource.members or []}
    resource.display_name = group.display_name
    resource.members = [current.get(vendor_id) or Member(value=vendor_id) for vendor_id in group.members]
    return resource


def shows_seat(user: UserResource, seat: Seat) -> bool:
    """Return True if *user* has all values of *seat*."""
    shown = seat_of(user)
    expected = {name: value for name in _OPTIONAL_FIELDS if (value := getattr(seat, name)) is not None}
    return shown == attrs.evolve(shown, user_name=seat.user_name, is_active=seat.is_active, **expected)


def shows_group(resource: GroupResource, group: Group) -> bool:
    """Return True if *resource* has the name and the members of *group*, in any order."""
    return resource.display_name == group.display_name and set(_ids(resource.members or [])) == set(group.members)


def _ids(members: Iterable[Member]) -> list[str]:
    return [member.value for member in members if member.value]


def _primary(emails: list[Email]) -> Email | None:
    """Return the primary address, else the first, else None."""
    return next((email for email in emails if email.primary), emails[0] if emails else None)
