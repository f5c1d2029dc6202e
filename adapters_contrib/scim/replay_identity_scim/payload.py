"""Seats and groups in SCIM's words, and back."""

from collections.abc import Iterable

import attrs

from .model import Group, Seat
from .resources import Email, GroupResource, Member, Name, UserResource

# What a seat says nothing about when it is None.
_OPTIONAL = ("given_name", "family_name", "email")


def seat_of(user: UserResource) -> Seat:
    """Return *user* as a seat."""
    name = user.name or Name()
    email = _primary(user.emails or [])
    return Seat(
        user.user_name,
        given_name=name.given_name,
        family_name=name.family_name,
        email=None if email is None else email.value,
        # A server need not say so of those who can log in.
        is_active=user.active is not False,
        groups=[group.value for group in user.groups or [] if group.value],
        vendor_id=user.id,
    )


def group_of(group: GroupResource) -> Group:
    """Return *group* as one of ours."""
    return Group(group.display_name, members=_ids(group.members or []), vendor_id=group.id)


def lay_seat(seat: Seat, user: UserResource) -> UserResource:
    """Change *user* to what *seat* says of them, and return it; what it does not say stays as it is."""
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


def lay_group(group: Group, resource: GroupResource) -> GroupResource:
    """Change *resource* to what *group* says of it, and return it; a member who stays keeps their entry as it is."""
    held = {member.value: member for member in resource.members or []}
    resource.display_name = group.display_name
    resource.members = [held.get(vendor_id) or Member(value=vendor_id) for vendor_id in group.members]
    return resource


def shows_seat(user: UserResource, seat: Seat) -> bool:
    """Tell whether *user* is everything that *seat* says."""
    shown = seat_of(user)
    said = {name: value for name in _OPTIONAL if (value := getattr(seat, name)) is not None}
    return shown == attrs.evolve(shown, user_name=seat.user_name, is_active=seat.is_active, **said)


def shows_group(resource: GroupResource, group: Group) -> bool:
    """Tell whether *resource* has the name and the members of *group*, in whatever order."""
    return resource.display_name == group.display_name and set(_ids(resource.members or [])) == set(group.members)


def _ids(members: Iterable[Member]) -> list[str]:
    return [member.value for member in members if member.value]


def _primary(emails: list[Email]) -> Email | None:
    """Return the address that is marked as primary, else the first, else None."""
    return next((email for email in emails if email.primary), emails[0] if emails else None)
