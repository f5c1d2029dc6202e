"""LogRocket's User Identification API."""

import re
from collections.abc import Mapping
from typing import ClassVar, Final
from urllib.parse import quote

import attrs
import orjson

from .._values import checked_string
from ..adapters.adaptation import Adaptation
from ..adapters.exchange import Exchange, Request
from ..adapters.http_adapter import HttpAdapter
from ..adapters.limits import Limits
from ..adapters.protocols import Comparison, Plan
from ..errors import ConfigurationError, InvalidTraitsError
from ..outcomes import Accepted, Failure, Outcome, Rejected, Unknown
from ..traits import UserTraits
from . import responses
from .limits import LIMITS, USER_ID
from .payload import word_user
from .responses import NOTHING, compared

_HOST: Final = "https://api.logrocket.com"
# What percent-encoding leaves as it is, which is nearly every id.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~-]*")


def _slug(setting: str, given: str | None, of_key: str | None) -> str:
    slug = of_key if given is None else given
    if slug and slug not in {".", ".."}:
        return quote(slug, safe="")
    if given is None:
        raise ConfigurationError("api_key", "does not read org:app:secret", f"pass the whole key, or {setting} as well")
    raise ConfigurationError(setting, "cannot stand in an address")


def _slugs(api_key: str) -> tuple[str | None, str | None]:
    """Return the organisation and the application that a key reading ``org:app:secret`` names."""
    parts = api_key.split(":")
    return (parts[0], parts[1]) if len(parts) == 3 and parts[2] else (None, None)  # noqa: PLR2004  # As above.


@attrs.frozen
class LogRocket(HttpAdapter):
    """Identify users at LogRocket.

    Attributes:
        api_key: The whole key, ``org:app:secret``.
        org: The organisation; by default the key's.
        app: The application; by default the key's.
        base_url: Address of the API without ``/v1``; by default LogRocket's own.
        on_violation: ``"reject"`` a user who breaks a limit, or ``"adapt"`` the traits with a recorded loss.
        name: Name that outcomes and settings carry.
        allow_insecure: Allow a plain http address off loopback.

    Raises:
        ConfigurationError: The key or the address cannot be used, or org and app are not known.
    """

    PLACEHOLDER_KEY: ClassVar[str] = "offline:offline:offline"
    KEY_HINT: ClassVar[str] = "pass api_key or set LOGROCKET_API_KEY"
    DEFAULT_BASE_URL: ClassVar[str] = _HOST
    LIMITS: ClassVar[Limits] = LIMITS

    org: str | None = attrs.field(default=None, kw_only=True)
    app: str | None = attrs.field(default=None, kw_only=True)
    name: str = attrs.field(default="logrocket", kw_only=True)

    def plan(self, user: UserTraits, /) -> Plan:
        """Return the PUT that merges *user*; no request when there is nothing to say."""
        adaptation = self._adaptation()
        _check_user_id(user.user_id, adaptation)
        body = word_user(user, adaptation)
        if not body and adaptation.adjustments:
            adaptation.reject("traits", "nothing-left")
        # What LogRocket makes of an empty object is not documented (our policy "empty-body").
        request = self._put("identify", user.user_id or "", orjson.dumps(body)) if body else None
        return self._plan(adaptation, request)

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send *user* unless a rule is broken."""
        plan = self.plan(user)
        if plan.request is None:
            return plan.unsent

        response = yield plan.request
        found = responses.read_user(response)
        if found is None:
            return responses.read_rejection(self.name, response, user, self.api_key)
        verified = responses.shows(found, user.user_id, plan.request.body)
        return Accepted(self.name, adjustments=plan.adjustments, verified=verified)

    @property
    def compare_writes(self) -> bool:
        """Return True: LogRocket shows a user only in reply to a PUT."""
        return True

    def compare(self, user: UserTraits, /) -> Exchange[Comparison | Failure]:
        """Compare the user with what would be sent, by a PUT that names no trait.

        It changes none, but a user whom LogRocket does not know may be created, and last seen may move.
        """
        plan = self.plan(user)
        if plan.violations:
            return Rejected(self.name, plan.violations)

        response = yield self._put("compare", user.user_id or "", NOTHING)
        shown = responses.read_user(response)
        if shown is None:
            return responses.read_rejection(self.name, response, user, self.api_key)
        if shown["userID"] != user.user_id:
            return Unknown(self.name, "the vendor shows another user")
        return compared(self.name, None if plan.request is None else plan.request.body, shown)

    def exclude(self, *, user_id: str | None = None, email: str | None = None) -> Exchange[Outcome]:
        """Have LogRocket delete every session of one user **and never record them again**, until `include`.

        Exactly one of *user_id* and *email* is given (https://docs.logrocket.com/docs/gdpr).
        """
        return (yield from self._gdpr("exclusion", user_id, email))

    def include(self, *, user_id: str | None = None, email: str | None = None) -> Exchange[Outcome]:
        """Have LogRocket record an excluded user again; what was deleted stays deleted."""
        return (yield from self._gdpr("inclusion", user_id, email))

    def _make_url(self) -> str:
        org, app = _slugs(self.api_key)
        org, app = _slug("org", self.org, org), _slug("app", self.app, app)
        return f"{self._checked_base_url()}/v1/orgs/{org}/apps/{app}"

    def _make_headers(self) -> Mapping[str, str]:
        return {**super()._make_headers(), "authorization": f"token {self.api_key}"}

    def _put(self, operation: str, user_id: str, body: bytes) -> Request:
        return Request(operation, "PUT", f"{self._url}/users/{_segment(user_id)}", self._headers, body)

    def _gdpr(self, action: str, user_id: str | None, email: str | None) -> Exchange[Outcome]:
        given = {"user_id": user_id, "email": email}
        named = {name: checked_string(value, name) for name, value in given.items() if value}
        if len(named) != 1:
            raise InvalidTraitsError("user_id", "or email must be given, and not both")
        # The slash at the end, and user_id for userID, are LogRocket's.
        response = yield Request(action, "POST", f"{self._url}/gdpr/{action}/", self._headers, orjson.dumps(named))
        # What a success says is not documented; HTML would be somebody else's.
        if response.is_success and (not response.body or response.json_object() is not None):
            return Accepted(self.name)
        return responses.read_rejection(self.name, response, None, self.api_key, *named.values())


def _segment(text: str) -> str:
    """Return *text* percent-encoded, as one segment of a path."""
    return text if _PLAIN.fullmatch(text) else quote(text, safe="")


def _check_user_id(user_id: str | None, adaptation: Adaptation) -> None:
    if user_id is None:
        adaptation.reject("user_id", "anonymous-user")
    elif user_id in {".", ".."}:
        # Percent-encoding leaves dots alone, and HTTP libraries resolve the segment away.
        adaptation.reject("user_id", "dot-segment")
    else:
        adaptation.check("user_id", user_id, USER_ID)
