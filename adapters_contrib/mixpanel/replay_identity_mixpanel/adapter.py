"""Mixpanel's profile updates (https://docs.mixpanel.com/reference/profile-set)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import attrs

from replay_identity.adapters import (
    Exchange,
    HttpAdapter,
    Limit,
    Limits,
    Outcome,
    Plan,
    Rejected,
    Request,
    Skipped,
    SkipReason,
    UserTraits,
)

from .batches import batches, encode
from .limits import LIMITS, MOST_USERS
from .payload import Updates, word_user
from .responses import is_retryable, read_reply, tells_of_each

_HOST: Final = "https://api.mixpanel.com"
# Without ip=0 the profile would be placed where our server stands; without verbose=1 and strict=1 the answer is a bare
# 1 as soon as one record of a request is valid.
_PATH: Final = "/engage?ip=0&verbose=1&strict=1"
_HEADERS: Final[Mapping[str, str]] = {
    "accept": "application/json, text/plain",
    "content-type": "application/json",
}


@attrs.frozen
class Mixpanel(HttpAdapter):
    """Identify users at Mixpanel.

    **A wrong token goes unnoticed**: Mixpanel answers a success to any, so that no outcome is ever ``verified``. Look
    for the first user in Mixpanel before you trust the rest.

    Attributes:
        api_key: The token of the project. It is no secret: every browser that Mixpanel records has it.
        base_url: Address of the API; by default ``https://api.mixpanel.com``. Projects kept in the EU need
            ``https://api-eu.mixpanel.com``, and those in India ``https://api-in.mixpanel.com``.
        on_violation: ``"reject"`` a user who breaks a limit, or ``"adapt"`` the traits with a recorded loss.
        name: Name that outcomes and settings carry.
        allow_insecure: Allow a plain http address off loopback.

    Raises:
        ConfigurationError: The token or the address cannot be used.
    """

    KEY_HINT: ClassVar[str] = "pass api_key, the token of a project, or set MIXPANEL_API_KEY"
    DEFAULT_BASE_URL: ClassVar[str] = _HOST
    LIMITS: ClassVar[Limits] = LIMITS

    name: str = attrs.field(default="mixpanel", kw_only=True)

    @property
    def max_users(self) -> Limit:
        """Return how many users one request takes."""
        return MOST_USERS

    def plan(self, user: UserTraits, /) -> Plan:
        """Return the request that merges *user* into their profile; none when there is nothing to say."""
        updates = self._word(user)
        request = self._request([updates]) if updates.records else None
        return Plan(self.name, request, updates.adjustments, updates.violations)

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send *user* unless a rule is broken."""
        (outcome,) = yield from self.identify_many([user])
        return outcome

    def identify_many(self, users: Sequence[UserTraits], /) -> Exchange[tuple[Outcome, ...]]:
        """Send *users* in as few requests as their updates take, and return what became of each, in their order."""
        everybody = [self._word(user) for user in users]
        answered: list[Outcome] = []
        for batch in batches(updates for updates in everybody if updates.records):
            answered += yield from self._send(batch)
        answers = iter(answered)
        return tuple(next(answers) if updates.records else self._unsent(updates) for updates in everybody)

    def _send(self, batch: list[Updates]) -> Exchange[list[Outcome]]:
        """Send *batch*, and its halves where the answer does not tell of each: one bad user is found in 2 log2 n."""
        response = yield self._request(batch)
        if len(batch) > 1 and not tells_of_each(response, sum(len(updates.records) for updates in batch)):
            # Sent again in their order, so that of two updates of one user the later one still wins.
            middle = len(batch) // 2
            first = yield from self._send(batch[:middle])
            return first + (yield from self._send(batch[middle:]))
        return [read_reply(self.name, response, updates, self.api_key) for updates in batch]

    def _make_url(self) -> str:
        return self._checked_base_url() + _PATH

    def _word(self, user: UserTraits) -> Updates:
        return word_user(user, self.api_key, adapt=self.on_violation == "adapt")

    def _unsent(self, updates: Updates) -> Outcome:
        if updates.violations:
            return Rejected(self.name, updates.violations)
        return Skipped(self.name, SkipReason.NOTHING_TO_SEND)

    def _request(self, batch: list[Updates]) -> Request:
        return Request("identify", "POST", self._url, _HEADERS, encode(batch), retry_on=is_retryable)
