"""The Umami backend: its collection endpoint, with users instead of page views."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs
import orjson

from replay_identity.adapters import (
    Accepted,
    Adaptation,
    Adjustment,
    ConfigurationError,
    Exchange,
    HttpAdapter,
    Limit,
    Limits,
    Outcome,
    Plan,
    Rejected,
    Request,
    UserTraits,
    account_name,
)

from . import responses
from .limits import LIMITS, MAX_USERS, USER_ID
from .payload import encode_timestamp, encode_user

# Names this library and does not look like a bot's: Umami responds to bots with 200 and stores nothing.
_USER_AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64) replay-identity/0.1"
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@attrs.frozen
class Umami(HttpAdapter):
    """Identify users at an Umami server, version 3.1 or newer.

    Attributes:
        api_key: The website's id, a UUID. Umami has no other credential, and this one is public.
        base_url: URL of the Umami server without ``/api``; required.
        on_violation: ``"reject"`` a user who breaks a limit, or ``"adapt"`` the traits with a recorded loss.
        allow_ids: Rules about ids that do not apply: ``"placeholder-id"``, ``"id-in-scientific-notation"`` or both.
        name: Name of the backend in outcomes and settings.
        allow_insecure: Allow a plain http URL that is not loopback.

    Raises:
        ConfigurationError: The website's id or the URL is missing or invalid.
    """

    PLACEHOLDER_KEY: ClassVar[str] = "00000000-0000-0000-0000-000000000000"
    KEY_HINT: ClassVar[str] = "pass the website's id as api_key or set UMAMI_API_KEY"
    API_PATH: ClassVar[str] = "/api/send"
    LIMITS: ClassVar[Limits] = LIMITS

    name: str = attrs.field(default="umami", kw_only=True)

    @property
    def account(self) -> str:
        """Return the host and the id of the website, which every visitor of the website can see."""
        return f"{account_name(self._checked_base_url())}/{self.api_key.lower()}"

    @property
    def max_users(self) -> Limit:
        """Return the maximum number of users in one request, which is our policy."""
        return MAX_USERS

    def plan(self, user: UserTraits, /) -> Plan:
        """Return the request that merges *user*, or no request if there is nothing to send."""
        adaptation = self._adaptation(user)
        _check_user_id(user.user_id, adaptation)
        data = encode_user(user, adaptation)
        timestamp = {} if user.observed_at is None else {"timestamp": encode_timestamp(user.observed_at, adaptation)}
        if not data and any(adjustment.lossy for adjustment in adaptation.adjustments):
            adaptation.reject("traits", "nothing-left")
        if not data:
            # Umami would store nothing, and respond as if it had.
            return self._plan(adaptation, None)

        # The User-Agent is sent twice, since a proxy may replace the header; the one in the payload wins.
        payload = {"website": self.api_key, "id": user.user_id, "data": data, "userAgent": _USER_AGENT, **timestamp}
        return self._plan(adaptation, self._send(payload))

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send *user* unless they break a rule."""
        plan = self.plan(user)
        if plan.request is None:
            return plan.unsent

        response = yield plan.request
        if responses.is_for_bot(response):
            return responses.taken_for_bot(self.name)
        session_id = responses.read_session_id(response)
        if session_id is not None or (response.confirms and not response.refuses):
            return Accepted(self.name, session_id, plan.adjustments)
        return responses.read_failure(self.name, response, user, self.api_key)

    def identify_many(self, users: Sequence[UserTraits], /) -> Exchange[tuple[Outcome, ...]]:
        """Send *users* in one request, or in several if it is rejected as a whole.

        Umami writes the users in sequence, so the last of several updates of one user wins.
        """
        plans = [self.plan(user) for user in users]
        items = [
            _BatchItem(user, plan.request.body or b"", plan.adjustments)
            for user, plan in zip(users, plans, strict=True)
            if plan.request is not None
        ]
        outcomes = iter((yield from self._send_items(items)))
        return tuple(plan.unsent if plan.request is None else next(outcomes) for plan in plans)

    def _send_items(self, items: Sequence["_BatchItem"]) -> Exchange[tuple[Outcome, ...]]:
        if not items:
            return ()
        body = b",".join(item.body for item in items)
        response = yield Request("identify_many", "POST", f"{self._url}/batch", self._headers, b"[%b]" % body)
        result = responses.read_batch(response, len(items))
        if result is None:
            failure = responses.read_batch_failure(self.name, response)
            if len(items) == 1 or not isinstance(failure, Rejected):
                return (failure,) * len(items)
            # Umami itself reports each user; a proxy may reject the request for its size, or for one user.
            middle = len(items) // 2
            first = yield from self._send_items(items[:middle])
            return first + (yield from self._send_items(items[middle:]))
        return tuple(self._read_item(index, item, result) for index, item in enumerate(items))

    def _read_item(self, index: int, item: "_BatchItem", result: responses.BatchResult) -> Outcome:
        if index in result.errors:
            return responses.read_item_failure(self.name, result.errors[index], item.user, self.api_key)
        if not result.has_accepted:
            return responses.taken_for_bot(self.name)
        return Accepted(self.name, adjustments=item.adjustments)

    def _check_settings(self) -> None:
        if not _UUID.fullmatch(self.api_key):
            hint = "copy it from the website's settings in Umami, or from data-website-id in its script"
            raise ConfigurationError("api_key", "expected the id of a website, a UUID", hint)
        if not self.base_url:
            hint = "pass the URL of your Umami server, for example https://umami.example.com, or set UMAMI_BASE_URL"
            raise ConfigurationError("base_url", "the URL is missing", hint)

    def _make_url(self) -> str:
        return f"{self._checked_base_url()}/api"

    def _make_headers(self) -> Mapping[str, str]:
        return {**super()._make_headers(), "user-agent": _USER_AGENT}

    def _send(self, payload: Mapping[str, Any]) -> Request:
        body = orjson.dumps({"type": "identify", "payload": payload})
        url = f"{self._url}/send"
        return Request("identify", "POST", url, self._headers, body, retry_on=responses.is_retryable)


@attrs.frozen
class _BatchItem:
    """One user of a batch, encoded."""

    user: UserTraits
    body: bytes = attrs.field(repr=False)
    adjustments: tuple[Adjustment, ...]


def _check_user_id(user_id: str | None, adaptation: Adaptation) -> None:
    if user_id is None:
        # Umami would store all such users as one, by our IP address and User-Agent.
        adaptation.reject("user_id", "anonymous-user")
    elif "\0" in user_id:
        adaptation.reject("user_id", "nul-byte")
    else:
        adaptation.check("user_id", user_id, USER_ID)
