"""Fullstory's own seats."""

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeGuard, TypeVar

import attrs

from replay_identity import RetryPolicy
from replay_identity.adapters import (
    Accepted,
    InvalidTraitsError,
    Outcome,
    Rejected,
    Violation,
    check_api_key,
    check_base_url,
)
from replay_identity.errors import check_positive
from replay_identity.transport import Sender, Transport

from .errors import ListingError
from .model import Group, Seat, checked_user_name, checked_vendor_id
from .payload import group_of, lay_group, lay_seat, seat_of, shows_group, shows_seat
from .resources import GroupResource, UserResource
from .responses import read_rejection
from .scim import RefusedError, Scim

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

# Told by a third party alone (stitchflow.com/user-management/fullstory/api, read 2026-11-29), and another one has
# app.fullstory.com. Fullstory itself says that its settings show the address.
DEFAULT_BASE_URL: Final = "https://api.fullstory.com/scim/v2"


def _checked_key(api_key: str) -> str:
    check_api_key(api_key, hint="pass the SCIM token that Settings > Account Management > SSO shows")
    return api_key


@attrs.define(eq=False)
class FullstorySeats:
    """Create, change, deactivate and list the seats of one Fullstory organisation. Safe to share between threads.

    Attributes:
        api_key: The SCIM token, which is no API key of Fullstory's.
        base_url: The SCIM connector base URL, as Fullstory's settings show it.
        transport: An `httpx.Client` of your own, which stays yours to close, or any other `Sender`.
        retry: How often and how soon to try again.
        timeout: Seconds that one attempt may take.
        name: Name that outcomes carry.
        allow_insecure: Allow a plain http address off loopback.

    Raises:
        ConfigurationError: The key or the address cannot be used.
    """

    api_key: str = attrs.field(repr=False, converter=_checked_key)
    base_url: str = attrs.field(default=DEFAULT_BASE_URL, kw_only=True)
    transport: "httpx.Client | Sender | None" = attrs.field(default=None, kw_only=True, repr=False)
    retry: RetryPolicy = attrs.field(factory=RetryPolicy, kw_only=True)
    timeout: float = attrs.field(default=30.0, kw_only=True, validator=check_positive)
    name: str = attrs.field(default="fullstory-seats", kw_only=True)
    allow_insecure: bool = attrs.field(default=False, kw_only=True)
    _scim: Scim = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        url = check_base_url(self.base_url, allow_insecure=self.allow_insecure)
        self._scim = Scim(url, self.api_key, Transport(self.transport, retry=self.retry, timeout=self.timeout))

    def create(self, new: Seat | Group, /) -> Outcome:
        """Create a seat or a group; it is sent again only where it was surely not applied."""
        if violations := _violations_of_new(new):
            return Rejected(self.name, violations)
        try:
            if isinstance(new, Seat):
                user = self._scim.create(lay_seat(new, UserResource(user_name=new.user_name)))
                return Accepted(self.name, user.id, verified=shows_seat(user, new))
            group = self._scim.create(lay_group(new, GroupResource(display_name=new.display_name)))
            return Accepted(self.name, group.id, verified=shows_group(group, new))
        except RefusedError as rejected:
            return read_rejection(self.name, rejected)

    def replace(self, wanted: Seat | Group, /) -> Outcome:
        """Change a seat or a group to what *wanted* says of it, and leave everything else that is held of it.

        It is read first, and put back whole. A seat without a vendor id is found by its user name.
        """
        try:
            return self._replace_seat(wanted) if isinstance(wanted, Seat) else self._replace_group(wanted)
        except RefusedError as rejected:
            return read_rejection(self.name, rejected)

    def deactivate(self, vendor_id: str | None = None, *, user_name: str | None = None) -> Outcome:
        """Have one colleague, named by exactly one of the two, log in no more; nothing of theirs is deleted.

        Raises:
            InvalidTraitsError: None or both are given, or one cannot be used.
        """
        if (vendor_id is None) == (user_name is None):
            raise InvalidTraitsError("vendor_id", "or user_name must be given, and not both")
        try:
            held = self._held(vendor_id, user_name)
            return held if isinstance(held, Rejected) else self._deactivate(held)
        except RefusedError as rejected:
            return read_rejection(self.name, rejected)

    def users(self, *, user_name: str | None = None) -> Iterator[Seat]:
        """Yield every seat, active or not, or the one of that *user_name*; each page is asked for when it is reached.

        Raises:
            ListingError: While it is read: they could not be read, or not to the end.
            InvalidTraitsError: *user_name* cannot be one.
        """
        wanted = None if user_name is None else checked_user_name(user_name)
        return self._listed(map(seat_of, self._scim.find(UserResource, user_name=wanted)))

    def groups(self) -> Iterator[Group]:
        """Yield every group; as `users`."""
        return self._listed(map(group_of, self._scim.find(GroupResource)))

    def close(self) -> None:
        """Free the connections."""
        self._scim.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _replace_seat(self, wanted: Seat) -> Outcome:
        held = self._held(wanted.vendor_id, wanted.user_name)
        if isinstance(held, Rejected):
            return held
        if wanted.groups and set(wanted.groups) != set(seat_of(held).groups):
            return self._rejected("groups", "groups-are-read-only")

        user = self._scim.replace(lay_seat(wanted, held))
        return Accepted(self.name, user.id, verified=shows_seat(user, wanted))

    def _replace_group(self, wanted: Group) -> Outcome:
        if not _can_stand_in_an_address(wanted.vendor_id):
            return self._rejected("vendor_id", "id-in-address")

        held = self._scim.read(GroupResource, wanted.vendor_id)
        group = self._scim.replace(lay_group(wanted, held))
        return Accepted(self.name, group.id, verified=shows_group(group, wanted))

    def _deactivate(self, held: UserResource) -> Outcome:
        if self._scim.takes_patch():
            user = self._scim.deactivate(held.id or "")
        else:
            held.active = False
            user = self._scim.replace(held)
        return Accepted(self.name, held.id, verified=user is not None and user.active is False)

    def _held(self, vendor_id: str | None, user_name: str | None) -> UserResource | Rejected:
        """Return the seat of that id, or else the only one of that user name."""
        if vendor_id is not None:
            if not _can_stand_in_an_address(checked_vendor_id(vendor_id)):
                return self._rejected("vendor_id", "id-in-address")
            return self._scim.read(UserResource, vendor_id)
        found = list(self._scim.find(UserResource, user_name=checked_user_name(user_name or "")))
        if len(found) == 1:
            return found[0]
        return self._rejected("user_name", "ambiguous-user-name" if found else "no-such-seat")

    def _rejected(self, path: str, rule: str) -> Rejected:
        return Rejected(self.name, (Violation(path, rule),))

    def _listed(self, found: Iterator[T]) -> Iterator[T]:
        try:
            yield from found
        except RefusedError as rejected:
            failure = read_rejection(self.name, rejected)
        else:
            return
        # Raised out here, since a context would hold what was sent.
        raise ListingError(failure)


def _violations_of_new(new: Seat | Group) -> tuple[Violation, ...]:
    """Return what cannot be said of something that is not there yet."""
    violations = [Violation("vendor_id", "id-is-assigned")] if new.vendor_id is not None else []
    if isinstance(new, Seat) and new.groups:
        violations.append(Violation("groups", "groups-are-read-only"))
    return tuple(violations)


def _can_stand_in_an_address(vendor_id: str | None) -> TypeGuard[str]:
    # HTTP libraries resolve dots away, and without an id the address is that of the whole list.
    return vendor_id not in {None, "", ".", ".."}
