"""The Mixpanel backend: profile updates (https://docs.mixpanel.com/reference/profile-set)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import attrs

from replay_identity.adapters import Exchange, HttpAdapter, Limit, Limits, Outcome, Plan, Request, UserTraits

from .limits import LIMITS, MAX_USERS
from .payload import UserUpdates, encode_batch, encode_user, split_into_batches
from .responses import covers_all_updates, is_retryable, read_outcome

# Without ip=0, Mixpanel sets the profile's location to our server's. Without verbose=1 and strict=1, the response is a
# bare 1 as soon as one update of a request is valid.
_PATH: Final = "/engage?ip=0&verbose=1&strict=1"


@attrs.frozen
class Mixpanel(HttpAdapter):
    """Identify users at Mixpanel.

    **A wrong token goes unnoticed**: Mixpanel responds to any token with a success, so no outcome is ever ``verified``.
    Check that the first user appears in Mixpanel before you trust the others.

    Attributes:
        api_key: The token of the project. It is not secret: every browser that Mixpanel records has it.
        base_url: URL of the API; by default ``https://api.mixpanel.com``. Projects stored in the EU need
            ``https://api-eu.mixpanel.com``, and those in India ``https://api-in.mixpanel.com``.
        on_violation: ``"reject"`` a user who breaks a limit, or ``"adapt"`` the traits with a recorded loss.
        allow_ids: Rules about ids that do not apply: ``"placeholder-id"``, ``"id-in-scientific-notation"`` or both.
        name: Name of the backend in outcomes and settings.
        allow_insecure: Allow a plain http URL that is not loopback.

    Raises:
        ConfigurationError: The token or the URL is invalid.
    """

    KEY_HINT: ClassVar[str] = "pass api_key, the token of a project, or set MIXPANEL_API_KEY"
    DEFAULT_BASE_URL: ClassVar[str] = "https://api.mixpanel.com"
    API_PATH: ClassVar[str] = "/engage"
    LIMITS: ClassVar[Limits] = LIMITS

    name: str = attrs.field(default="mixpanel", kw_only=True)

    @property
    def max_users(self) -> Limit:
        """Return the maximum number of users in one request."""
        return MAX_USERS

    def plan(self, user: UserTraits, /) -> Plan:
        """Return the request that merges *user* into their profile, or no request if there is nothing to send."""
        return self._plan_of(self._encode(user))

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send *user* unless they break a limit."""
        (outcome,) = yield from self.identify_many([user])
        return outcome

    def identify_many(self, users: Sequence[UserTraits], /) -> Exchange[tuple[Outcome, ...]]:
        """Send *users* in as few requests as possible, and return their outcomes in the same order."""
        encoded = [self._encode(user) for user in users]
        sent: list[Outcome] = []
        for batch in split_into_batches(user for user in encoded if user.updates):
            sent += yield from self._send(batch)
        outcomes = iter(sent)
        return tuple(next(outcomes) if user.updates else self._plan_of(user).unsent for user in encoded)

    def _send(self, batch: list[UserUpdates]) -> Exchange[list[Outcome]]:
        """Send *batch*, and again in halves if the response is not about each user: finds a bad one in 2 log2 n."""
        response = yield self._request(batch)
        if len(batch) > 1 and not covers_all_updates(response, sum(len(user.updates) for user in batch)):
            # The halves keep the order, so that of two updates of one user the later one still wins.
            middle = len(batch) // 2
            first = yield from self._send(batch[:middle])
            return first + (yield from self._send(batch[middle:]))
        return [read_outcome(self.name, response, user, self.api_key) for user in batch]

    def _make_url(self) -> str:
        return self._checked_base_url() + _PATH

    def _make_headers(self) -> Mapping[str, str]:
        return {**super()._make_headers(), "accept": "application/json, text/plain"}

    def _encode(self, user: UserTraits) -> UserUpdates:
        return encode_user(user, self.api_key, self._adaptation(user))

    def _plan_of(self, user: UserUpdates) -> Plan:
        return Plan(self.name, self._request([user]) if user.updates else None, user.adjustments, user.violations)

    def _request(self, batch: list[UserUpdates]) -> Request:
        return Request("identify", "POST", self._url, self._headers, encode_batch(batch), retry_on=is_retryable)
