"""OpenPanel's track API, of which `identify` is one type (https://openpanel.dev/docs/api/track)."""

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs
import orjson

from replay_identity.adapters.adaptation import Adaptation, OnViolation, check_on_violation
from replay_identity.adapters.credentials import check_api_key, check_base_url
from replay_identity.adapters.exchange import Exchange, Request
from replay_identity.adapters.limits import Limits
from replay_identity.adapters.protocols import Plan
from replay_identity.errors import ConfigurationError
from replay_identity.outcomes import Outcome, Rejected, Skipped, SkipReason
from replay_identity.traits import UserTraits

from .limits import LIMITS
from .payload import word_user
from .responses import read_reply

_HOST: Final = "https://api.openpanel.dev"
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# One name and one version are a server's to OpenPanel. Taken for a browser's, they would give the user a device.
_USER_AGENT: Final = "replay-identity-openpanel/0.1.0"


def _check_api_key(_instance: object, _attribute: "attrs.Attribute[str]", value: str) -> None:
    check_api_key(value, hint="pass api_key or set OPENPANEL_API_KEY")


def _check_client_id(_instance: object, attribute: "attrs.Attribute[str]", value: object) -> None:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        hint = "copy it from the project's settings, under Clients"
        raise ConfigurationError(attribute.name, "is not a UUID in lower case", hint)


def _url(backend: "OpenPanel") -> str:
    base_url = _HOST if backend.base_url is None else backend.base_url
    return f"{check_base_url(base_url, allow_insecure=backend.allow_insecure)}/track"


def _headers(backend: "OpenPanel") -> Mapping[str, str]:
    # Without an Origin, by which the vendor would look for duplicates, and without the address of a user's computer,
    # which is not this one's.
    return {
        "accept": "application/json",
        "content-type": "application/json",
        "openpanel-client-id": backend.client_id,
        "openpanel-client-secret": backend.api_key,
        "user-agent": _USER_AGENT,
    }


@attrs.frozen
class OpenPanel:
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

    api_key: str = attrs.field(repr=False, validator=_check_api_key)
    client_id: str = attrs.field(kw_only=True, validator=_check_client_id)
    base_url: str | None = attrs.field(default=None, kw_only=True)
    on_violation: OnViolation = attrs.field(default="reject", kw_only=True, validator=check_on_violation)
    name: str = attrs.field(default="openpanel", kw_only=True)
    allow_insecure: bool = attrs.field(default=False, kw_only=True)
    _url: str = attrs.field(init=False, repr=False, default=attrs.Factory(_url, takes_self=True))
    _headers: Mapping[str, str] = attrs.field(
        init=False, repr=False, eq=False, default=attrs.Factory(_headers, takes_self=True)
    )

    @property
    def limits(self) -> Limits:
        """Return OpenPanel's published limits, of which there is none."""
        return LIMITS

    def plan(self, user: UserTraits, /) -> Plan:
        """Return the request that merges *user*; no request when there is nothing to say."""
        adaptation = Adaptation(adapt=self.on_violation == "adapt")
        if user.user_id is None:
            adaptation.reject("user_id", "anonymous-user")
        said = word_user(user, adaptation)
        if not said and adaptation.adjustments:
            adaptation.reject("traits", "nothing-left")
        adjustments = tuple(adaptation.adjustments)
        if adaptation.violations:
            return Plan(self.name, None, adjustments, tuple(adaptation.violations))
        if not said:
            # It would make a profile without a name.
            return Plan(self.name, None)
        return Plan(self.name, self._identify({"profileId": user.user_id, **said}), adjustments)

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send *user* unless a rule is broken."""
        plan = self.plan(user)
        if plan.violations:
            return Rejected(self.name, plan.violations)
        if plan.request is None:
            return Skipped(self.name, SkipReason.NOTHING_TO_SEND)

        response = yield plan.request
        return read_reply(self.name, response, user, plan.adjustments, self.api_key, self.client_id)

    def _identify(self, payload: Mapping[str, Any]) -> Request:
        body = orjson.dumps({"type": "identify", "payload": payload})
        return Request("identify", "POST", self._url, self._headers, body)
