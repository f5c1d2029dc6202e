"""OpenPanel's track API, of which `identify` is one type (https://openpanel.dev/docs/api/track)."""

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
)

from .limits import LIMITS
from .payload import word_user
from .responses import read_reply

_HOST: Final = "https://api.openpanel.dev"
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# One name and one version are a server's to OpenPanel. Taken for a browser's, they would give the user a device.
_USER_AGENT: Final = "replay-identity-openpanel/0.1.0"


def _check_client_id(_instance: object, attribute: "attrs.Attribute[str]", value: object) -> None:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        hint = "copy it from the project's settings, under Clients"
        raise ConfigurationError(attribute.name, "is not a UUID in lower case", hint)


@attrs.frozen
class OpenPanel(HttpAdapter):
    """Identify users at OpenPanel.

    Attributes:
        api_key: The client's secret.
        client_id: The client's id, a UUID; a client that may only write is enough.
        base_url: Address of the API without ``/track``, of a server of one's own; by default OpenPanel's cloud.
        on_violation: ``"reject"`` a user who breaks a rule, or ``"adapt"`` the traits with a recorded loss.
        name: Name that outcomes and settings carry.
        allow_insecure: Allow a plain http address off loopback.

    Raises:
        ConfigurationError: The secret, the id or the address cannot be used.
    """

    KEY_HINT: ClassVar[str] = "pass api_key or set OPENPANEL_API_KEY"
    DEFAULT_BASE_URL: ClassVar[str] = _HOST
    LIMITS: ClassVar[Limits] = LIMITS

    client_id: str = attrs.field(kw_only=True, validator=_check_client_id)
    name: str = attrs.field(default="openpanel", kw_only=True)

    def plan(self, user: UserTraits, /) -> Plan:
        """Return the request that merges *user*; no request when there is nothing to say."""
        adaptation = self._adaptation()
        if user.user_id is None:
            adaptation.reject("user_id", "anonymous-user")
        said = word_user(user, adaptation)
        if not said and adaptation.adjustments:
            adaptation.reject("traits", "nothing-left")
        # An empty request would create a profile without a name.
        request = self._identify({"profileId": user.user_id, **said}) if said else None
        return self._plan(adaptation, request)

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send *user* unless a rule is broken."""
        plan = self.plan(user)
        if plan.request is None:
            return plan.unsent

        response = yield plan.request
        return read_reply(self.name, response, user, plan.adjustments, self.api_key, self.client_id)

    def _make_url(self) -> str:
        return f"{self._checked_base_url()}/track"

    def _make_headers(self) -> Mapping[str, str]:
        # Without an Origin, by which OpenPanel would look for duplicates, and without the address of a user's
        # computer, which is not this one's.
        return {
            **super()._make_headers(),
            "openpanel-client-id": self.client_id,
            "openpanel-client-secret": self.api_key,
            "user-agent": _USER_AGENT,
        }

    def _identify(self, payload: Mapping[str, Any]) -> Request:
        body = orjson.dumps({"type": "identify", "payload": payload})
        return Request("identify", "POST", self._url, self._headers, body)
