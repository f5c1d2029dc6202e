"""The OpenPanel backend: the `identify` calls of its track API (https://openpanel.dev/docs/api/track)."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import attrs
import orjson

from replay_identity.adapters import (
    ConfigurationError,
    Exchange,
    HttpAdapter,
    Limits,
    Outcome,
    Plan,
    Request,
    UserTraits,
    account_name,
)

from .limits import LIMITS
from .payload import encode_user
from .responses import read_outcome

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# OpenPanel takes a User-Agent of one name and one version for a server's. It would store a browser's as the user's
# device.
_USER_AGENT: Final = "replay-identity-openpanel/0.1.0"


def _check_client_id(_instance: object, attribute: "attrs.Attribute[str]", value: object) -> None:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        hint = "copy it from the project's settings, under Clients"
        raise ConfigurationError(attribute.name, "expected a UUID in lower case", hint)


@attrs.frozen
class OpenPanel(HttpAdapter):
    """Identify users at OpenPanel.

    Attributes:
        api_key: The client's secret.
        client_id: The client's id, a UUID. A client with write access is enough.
        base_url: URL of the API of a self-hosted server, without ``/track``; by default OpenPanel's cloud.
        on_violation: ``"reject"`` a user who breaks a rule, or ``"adapt"`` the traits with a recorded loss.
        allow_ids: Rules about ids that do not apply: ``"placeholder-id"``, ``"id-in-scientific-notation"`` or both.
        name: Name of the backend in outcomes and settings.
        allow_insecure: Allow a plain http URL that is not loopback.

    Raises:
        ConfigurationError: The secret, the id or the URL is invalid.
    """

    KEY_HINT: ClassVar[str] = "pass api_key or set OPENPANEL_API_KEY"
    DEFAULT_BASE_URL: ClassVar[str] = "https://api.openpanel.dev"
    API_PATH: ClassVar[str] = "/track"
    LIMITS: ClassVar[Limits] = LIMITS

    client_id: str = attrs.field(kw_only=True, validator=_check_client_id)
    name: str = attrs.field(default="openpanel", kw_only=True)

    @property
    def account(self) -> str:
        """Return the host and the id of the client, which belongs to one project."""
        return f"{account_name(self._checked_base_url())}/{self.client_id}"

    def plan(self, user: UserTraits, /) -> Plan:
        """Return the request that merges *user*, or no request if there is nothing to send."""
        adaptation = self._adaptation(user)
        if user.user_id is None:
            adaptation.reject("user_id", "anonymous-user")
        fields = encode_user(user, adaptation)
        if not fields and adaptation.adjustments:
            adaptation.reject("traits", "nothing-left")
        # A request without fields would create a profile without a name.
        request = self._identify({"profileId": user.user_id, **fields}) if fields else None
        return self._plan(adaptation, request)

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send *user* unless they break a rule."""
        plan = self.plan(user)
        if plan.request is None:
            return plan.unsent

        response = yield plan.request
        return read_outcome(self.name, response, user, plan.adjustments, secrets=(self.api_key, self.client_id))

    def _make_url(self) -> str:
        return f"{self._checked_base_url()}/track"

    def _make_headers(self) -> Mapping[str, str]:
        # No Origin, which would turn on OpenPanel's search for duplicates, and no x-client-ip, which is for the address
        # of a user's device.
        return {
            **super()._make_headers(),
            "openpanel-client-id": self.client_id,
            "openpanel-client-secret": self.api_key,
            "user-agent": _USER_AGENT,
        }

    def _identify(self, payload: Mapping[str, Any]) -> Request:
        body = orjson.dumps({"type": "identify", "payload": payload})
        return Request("identify", "POST", self._url, self._headers, body)
