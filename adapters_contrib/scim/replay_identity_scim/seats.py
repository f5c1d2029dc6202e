"""The seats of a Fullstory organisation."""

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeGuard, TypeVar

import attrs

from replay_identity import ReplayIdentityError, RetryPolicy
from replay_identity.adapters import (
    Accepted,
    Failure,
    InvalidTraitsError,
    Outcome,
    Rejected,
    Violation,
    check_api_key,
    check_base_url,
)
from replay_identity.errors import check_positive
from replay_identity.outcomes import explain
from replay_identity.transport import Sender, Transport

from .client import FailedRequestError, ScimClient
from .model import Group, Seat, checked_user_name, checked_vendor_id
from .payload import apply_group, apply_seat, group_of, seat_of, shows_group, shows_seat
from .resources import GroupResource, UserResource
from .responses import read_failure

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

# Documented by a third party only (stitchflow.com/user-management/fullstory/api, read 2026-11-29); another one uses
# app.fullstory.com. Fullstory itself documents that its settings show the URL.
DEFAULT_BASE_URL: Final = "https://api.fullstory.com/scim/v2"


def _checked_key(api_key: str) -> str:
    check_api_key(api_key, hint="pass the SCIM token that Settings > Account Management > SSO shows")
    return api_key


@attrs.frozen
class ListingError(ReplayIdentityError):
    """Seats or groups could not be listed, or not all of them.

    Attributes:
        outcome: The reason, as the outcome that a write would have.
    """

    outcome: Failure

    def __str__(self) -> str:
        return f"{self.outcome.backend}: {type(self.outcome).__name__}: {explain(self.outcome)}"


@attrs.define(eq=False)
class FullstorySeats:
    """Create, replace, deactivate and list the seats of one Fullstory organisation. Thread-safe.

    Attributes:
        api_key: The SCIM token, which is not a Fullstory API key.
        base_url: The SCIM connector base URL, as Fullstory's settings show it.
        transport: An `httpx.Client`, which you close yourself, or another `Sender`.
        retry: How often and when to retry.
        timeout: Maximum duration of one attempt in seconds.
        name: Name of the backend in outcomes.
        allow_insecure: Allow a plain http URL that is not loopback.

    Raises:
        ConfigurationError: The key or the URL is invalid.
    """

    api_key: str = attrs.field(repr=False, converter=_checked_key)
    base_url: str = attrs.field(default=DEFAULT_BASE_URL, kw_only=True)
    transport: "httpx.Client | Sender | None" = attrs.field(default=None, kw_only=True, repr=False)
    retry: RetryPolicy = attrs.field(factory=RetryPolicy, kw_only=True)
    timeout: float = attrs.field(default=30.0, kw_only=True, validator=check_positive)
    name: str = attrs.field(default="fullstory-seats", kw_only=True)
    allow_insecure: bool = attrs.field(default=False, kw_only=True)
    _client: ScimClient = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        url = check_base_url(self.base_url, allow_insecure=self.allow_insecure)
        self._client = ScimClient(url, self.api_key, Transport(self.transport, retry=self.retry, timeout=self.timeout))

    def create(self, new: Seat | Group, /) -> Outcome:
        """Create a seat or a group. Retried only if the first attempt cannot have been applied."""
        if violations := _violations_of_new(new):
            return Rejected(self.name, violations)
        try:
            if isinstance(new, Seat):
                user = self._client.create(apply_seat(new, UserResource(user_name=new.user_name)))
                return Accepted(self.name, user.id, verified=shows_seat(user, new))
            group = self._client.create(apply_group(new, GroupResource(display_name=new.display_name)))
            return Accepted(self.name, group.id, verified=shows_group(group, new))
        except FailedRequestError as error:
            return read_failure(self.name, error)

    def replace(self, changed: Seat | Group, /) -> Outcome:
        """Change a seat or a group to the values of *changed*, and keep all its other attributes.

        The stored resource is read first and sent back whole. A seat without a vendor id is found by its user name.
        """
        try:
            return self._replace_seat(changed) if isinstance(changed, Seat) else self._replace_group(changed)
        except FailedRequestError as error:
            return read_failure(self.name, error)

    def deactivate(self, vendor_id: str | None = None, *, user_name: str | None = None) -> Outcome:
        """Deactivate the seat of one colleague, who can no longer log in; nothing is deleted.

        Pass exactly one of *vendor_id* and *user_name*.

        Raises:
            InvalidTraitsError: Neither or both are given, or one is invalid.
        """
        if (vendor_id is None) == (user_name is None):
            raise InvalidTraitsError("vendor_id", "expected exactly one of vendor_id and user_name")
        try:
            stored = self._stored(vendor_id, user_name)
            return stored if isinstance(stored, Rejected) else self._deactivate(stored)
        except FailedRequestError as error:
            return read_failure(self.name, error)

    def users(self, *, user_name: str | None = None) -> Iterator[Seat]:
        """Yield every seat, active or not, or the one with *user_name*. Pages are requested as they are reached.

        Raises:
            ListingError: During iteration: the seats could not be listed, or not all of them.
            InvalidTraitsError: *user_name* is invalid.
        """
        name = None if user_name is None else checked_user_name(user_name)
        return self._listed(map(seat_of, self._client.find(UserResource, user_name=name)))

    def groups(self) -> Iterator[Group]:
        """Yield every group. Pages are requested as they are reached.

        Raises:
            ListingError: During iteration: the groups could not be listed, or not all of them.
        """
        return self._listed(map(group_of, self._client.find(GroupResource)))

    def close(self) -> None:
        """Close the connections."""
        self._client.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _replace_seat(self, changed: Seat) -> Outcome:
        stored = self._stored(changed.vendor_id, changed.user_name)
        if isinstance(stored, Rejected):
            return stored
        if changed.groups and set(changed.groups) != set(seat_of(stored).groups):
            return self._rejected("groups", "groups-are-read-only")

        user = self._client.replace(apply_seat(changed, stored))
        return Accepted(self.name, user.id, verified=shows_seat(user, changed))

    def _replace_group(self, changed: Group) -> Outcome:
        if not _is_valid_in_url(changed.vendor_id):
            return self._rejected("vendor_id", "id-in-address")

        stored = self._client.read(GroupResource, changed.vendor_id)
        group = self._client.replace(apply_group(changed, stored))
        return Accepted(self.name, group.id, verified=shows_group(group, changed))

    def _deactivate(self, stored: UserResource) -> Outcome:
        if self._client.supports_patch():
            user = self._client.deactivate(stored.id or "")
        else:
            stored.active = False
            user = self._client.replace(stored)
        return Accepted(self.name, stored.id, verified=user is not None and user.active is False)

    def _stored(self, vendor_id: str | None, user_name: str | None) -> UserResource | Rejected:
        """Return the seat with that id, or else the only one with that user name."""
        if vendor_id is not None:
            if not _is_valid_in_url(checked_vendor_id(vendor_id)):
                return self._rejected("vendor_id", "id-in-address")
            return self._client.read(UserResource, vendor_id)
        matches = list(self._client.find(UserResource, user_name=checked_user_name(user_name or "")))
        if len(matches) == 1:
            return matches[0]
        return self._rejected("user_name", "ambiguous-user-name" if matches else "no-such-seat")

    def _rejected(self, path: str, rule: str) -> Rejected:
        return Rejected(self.name, (Violation(path, rule),))

    def _listed(self, entries: Iterator[T]) -> Iterator[T]:
        try:
            yield from entries
        except FailedRequestError as error:
            failure = read_failure(self.name, error)
        else:
            return
        # Raised outside of the except block: its context would contain what was sent.
        raise ListingError(failure)


def _violations_of_new(new: Seat | Group) -> tuple[Violation, ...]:
    """Return the rules that a seat or group breaks if it is to be created."""
    violations = [Violation("vendor_id", "id-is-assigned")] if new.vendor_id is not None else []
    if isinstance(new, Seat) and new.groups:
        violations.append(Violation("groups", "groups-are-read-only"))
    return tuple(violations)


def _is_valid_in_url(vendor_id: str | None) -> TypeGuard[str]:
    # HTTP clients resolve dots away, and without an id the URL is that of the whole list.
    return vendor_id not in {None, "", ".", ".."}
