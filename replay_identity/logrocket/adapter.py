"""The LogRocket backend: its User Identification API."""

import re
from collections.abc import Container, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import quote

import attrs
import orjson

from .._values import checked_string
from ..adapters.adaptation import Adaptation
from ..adapters.credentials import account_name
from ..adapters.exchange import Exchange, Request
from ..adapters.http_adapter import HttpAdapter
from ..adapters.limits import Limits
from ..adapters.protocols import Comparison, Plan
from ..errors import ConfigurationError, InvalidTraitsError
from ..outcomes import Accepted, Failure, Outcome, Rejected, Unknown
from ..traits import UserTraits
from . import responses
from .limits import LIMITS, USER_ID
from .payload import encode_user, field_values, select_fields

# LogRocket shows a user only in response to a PUT. This one names no trait, and "if a trait is not present in the
# request, it will maintain its previous value" (our policy "read-by-empty-put"; user-identification-api, 2026-11-21).
_NO_CHANGES: Final = orjson.dumps({"traits": {}})
# Percent-encoding leaves nearly every id unchanged.
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9_.~-]*")


@attrs.frozen
class LogRocket(HttpAdapter):
    """Identify users at LogRocket.

    Attributes:
        api_key: The whole key, ``org:app:secret``.
        org: The organisation; by default the key's.
        app: The application; by default the key's.
        base_url: Address of the API without ``/v1``; by default LogRocket's own.
        on_violation: ``"reject"`` a user who breaks a limit, or ``"adapt"`` the traits with a recorded loss.
        allow_ids: Rules about ids that do not apply: ``"placeholder-id"``, ``"id-in-scientific-notation"`` or both.
        name: Name of the backend in outcomes and settings.
        allow_insecure: Allow a plain http address that is not loopback.

    Raises:
        ConfigurationError: The key or the address is invalid, or org and app are unknown.
    """

    PLACEHOLDER_KEY: ClassVar[str] = "offline:offline:offline"
    KEY_HINT: ClassVar[str] = "pass api_key or set LOGROCKET_API_KEY"
    DEFAULT_BASE_URL: ClassVar[str] = "https://api.logrocket.com"
    API_PATH: ClassVar[str] = "/v1/orgs/{org}/apps/{app}"
    LIMITS: ClassVar[Limits] = LIMITS
    FLAT_TRAITS: ClassVar[bool] = True

    org: str | None = attrs.field(default=None, kw_only=True)
    app: str | None = attrs.field(default=None, kw_only=True)
    name: str = attrs.field(default="logrocket", kw_only=True)

    @property
    def account(self) -> str:
        """Return the host, the organisation and the application."""
        return "/".join((account_name(self._checked_base_url()), *self._slugs()))

    def plan(self, user: UserTraits, /, *, only: Container[str] | None = None) -> Plan:
        """Return the PUT that merges *user*, or their fields in *only*; no request if there is nothing to send."""
        adaptation = self._adaptation(user)
        _check_user_id(user.user_id, adaptation)
        body = encode_user(user, adaptation)
        if not body and adaptation.adjustments:
            adaptation.reject("traits", "nothing-left")
        fields = field_values(body)
        if only is not None:
            body = select_fields(body, only)
        # LogRocket does not document what an empty object does (our policy "empty-body").
        request = self._put("identify", user.user_id or "", orjson.dumps(body)) if body else None
        return self._plan(adaptation, request, fields)

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send *user* unless it breaks a limit."""
        return (yield from self.send(user, self.plan(user)))

    def send(self, user: UserTraits, plan: Plan, /) -> Exchange[Outcome]:
        """Send a *plan* of *user*, if it has a request."""
        if plan.request is None:
            return plan.unsent

        response = yield plan.request
        stored = responses.read_success(response)
        if stored is None:
            return responses.read_failure(self.name, response, user=user, secrets=(self.api_key,))
        sent: dict[str, Any] = orjson.loads(plan.request.body or b"{}")
        fields = plan.fields or {}
        if left := responses.left_of_removed(stored, user.user_id, sent, fields):
            result = yield from self._remove(left, user.user_id or "", sent)
            if isinstance(result, Unknown):
                return result
            stored = result
            left = responses.left_of_removed(stored, user.user_id, sent, fields)
        verified = not left and responses.shows_user(stored, user.user_id, sent)
        return Accepted(self.name, adjustments=plan.adjustments, verified=verified)

    @property
    def compare_writes(self) -> bool:
        """Return True: LogRocket shows a user only in response to a PUT."""
        return True

    def compare(self, user: UserTraits, /) -> Exchange[Comparison | Failure]:
        """Compare the stored user with what would be sent, by means of a PUT that names no trait.

        No trait changes, but LogRocket may create a user it does not know, and may update when the user was last seen.
        """
        plan = self.plan(user)
        if plan.violations:
            return Rejected(self.name, plan.violations)

        response = yield self._put("compare", user.user_id or "", _NO_CHANGES)
        stored = responses.read_user(response)
        if stored is None:
            return responses.read_failure(self.name, response, user=user, secrets=(self.api_key,))
        if stored["userID"] != user.user_id:
            return Unknown(self.name, "the vendor shows another user")
        return responses.compare_user(self.name, None if plan.request is None else plan.request.body, stored)

    def exclude(self, *, user_id: str | None = None, email: str | None = None) -> Exchange[Outcome]:
        """Ask LogRocket to delete every session of one user **and never to record them again**, until `include`.

        Pass exactly one of *user_id* and *email* (https://docs.logrocket.com/docs/gdpr).
        """
        return (yield from self._gdpr("exclusion", user_id, email))

    def include(self, *, user_id: str | None = None, email: str | None = None) -> Exchange[Outcome]:
        """Ask LogRocket to record an excluded user again; deleted sessions stay deleted."""
        return (yield from self._gdpr("inclusion", user_id, email))

    def _make_url(self) -> str:
        org, app = self._slugs()
        return f"{self._checked_base_url()}/v1/orgs/{org}/apps/{app}"

    def _slugs(self) -> tuple[str, str]:
        """Return the organisation and the application, percent-encoded."""
        org, app = _org_and_app(self.api_key)
        return _slug("org", self.org, org), _slug("app", self.app, app)

    def _make_headers(self) -> Mapping[str, str]:
        return {**super()._make_headers(), "authorization": f"token {self.api_key}"}

    def _remove(
        self, names: Sequence[str], user_id: str, sent: Mapping[str, Any]
    ) -> Exchange[Mapping[str, Any] | Unknown]:
        """Remove the traits *names*, beside what was *sent*, and return what LogRocket then shows of the user."""
        body = {**sent, "traits": dict.fromkeys(names, "")}  # With the time, or the user would be seen now.
        response = yield self._put("identify", user_id, orjson.dumps(body))
        stored = responses.read_success(response)
        if stored is not None:
            return stored
        # Whatever the response says, the first request was applied, so the user is neither as before nor as wanted.
        cause = f"{response.cause}, traits nested in a removed one may be left"
        return Unknown(self.name, cause, status=response.status or None)

    def _put(self, operation: str, user_id: str, body: bytes) -> Request:
        return Request(operation, "PUT", f"{self._url}/users/{_segment(user_id)}", self._headers, body)

    def _gdpr(self, action: str, user_id: str | None, email: str | None) -> Exchange[Outcome]:
        arguments = {"user_id": user_id, "email": email}
        content = {name: checked_string(value, name) for name, value in arguments.items() if value}
        if len(content) != 1:
            raise InvalidTraitsError("user_id", "expected exactly one of user_id and email")
        # The slash at the end, and user_id instead of userID, are LogRocket's.
        response = yield Request(action, "POST", f"{self._url}/gdpr/{action}/", self._headers, orjson.dumps(content))
        # The body of a success is not documented.
        if responses.read_success(response) is not None:
            return Accepted(self.name)
        return responses.read_failure(self.name, response, secrets=(self.api_key, *content.values()))


def _org_and_app(api_key: str) -> tuple[str | None, str | None]:
    match api_key.split(":"):
        case [org, app, secret] if secret:
            return org, app
        case _:
            return None, None


def _slug(setting: str, value: str | None, from_key: str | None) -> str:
    slug = from_key if value is None else value
    if slug and slug not in {".", ".."}:
        return quote(slug, safe="")
    if value is None:
        raise ConfigurationError("api_key", 'expected "org:app:secret"', "pass the whole key or set org and app")
    raise ConfigurationError(setting, 'expected a name other than "", "." and ".."')


def _segment(text: str) -> str:
    """Return *text* percent-encoded as one segment of a path."""
    return text if _UNRESERVED.fullmatch(text) else quote(text, safe="")


def _check_user_id(user_id: str | None, adaptation: Adaptation) -> None:
    if user_id is None:
        adaptation.reject("user_id", "anonymous-user")
    elif user_id in {".", ".."}:
        # Percent-encoding does not change dots, and HTTP clients resolve the segment away.
        adaptation.reject("user_id", "dot-segment")
    else:
        adaptation.check("user_id", user_id, USER_ID)
