"""The part that adapters of HTTP APIs share: checked settings, the address, and the headers."""

from collections.abc import Mapping
from typing import ClassVar

import attrs

from ..errors import ConfigurationError
from .adaptation import Adaptation, OnViolation, check_on_violation
from .credentials import check_api_key, check_base_url
from .exchange import Request
from .limits import Limits
from .protocols import Plan


def _no_headers() -> Mapping[str, str]:
    return {}


@attrs.frozen
class HttpAdapter:
    """Base class of adapters whose vendor takes one key over HTTP.

    A subclass sets the class variables, gives `name` a default, adds `plan`, `identify` and whatever else its vendor
    can do, and overrides `_check_settings`, `_make_url` and `_make_headers` where its vendor differs.

    Attributes:
        api_key: The vendor's key.
        base_url: Address of the API, or None for the vendor's own.
        on_violation: ``"reject"`` a user who breaks a limit, or ``"adapt"`` the traits with a recorded loss.
        name: Name of the backend in outcomes and settings.
        allow_insecure: Allow a plain http address that is not loopback.

    Raises:
        ConfigurationError: A setting is missing or cannot work.
    """

    # Used as the key for planning without one.
    PLACEHOLDER_KEY: ClassVar[str] = "offline"
    # Printed where the key is missing.
    KEY_HINT: ClassVar[str] = "pass api_key"
    # Used where base_url is None; an empty one makes base_url a required setting.
    DEFAULT_BASE_URL: ClassVar[str] = ""
    LIMITS: ClassVar[Limits] = Limits()

    api_key: str = attrs.field(repr=False)
    base_url: str | None = attrs.field(default=None, kw_only=True)
    on_violation: OnViolation = attrs.field(default="reject", kw_only=True, validator=check_on_violation)
    name: str = attrs.field(default="", kw_only=True)
    allow_insecure: bool = attrs.field(default=False, kw_only=True)
    _url: str = attrs.field(default="", init=False, repr=False, eq=False)
    _headers: Mapping[str, str] = attrs.field(factory=_no_headers, init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        # Settings that cannot work are reported when the backend is made, not at its first user.
        check_api_key(self.api_key, hint=self.KEY_HINT)
        self._check_settings()
        object.__setattr__(self, "_url", self._make_url())
        object.__setattr__(self, "_headers", self._make_headers())

    @property
    def limits(self) -> Limits:
        """Return the vendor's published limits."""
        return self.LIMITS

    def _check_settings(self) -> None:
        """Raise ConfigurationError for settings that cannot work; the key is checked already."""

    def _make_url(self) -> str:
        """Return the address that requests go to, without a slash at its end."""
        return self._checked_base_url()

    def _make_headers(self) -> Mapping[str, str]:
        """Return the headers of every request, with names in lower case."""
        return {"accept": "application/json", "content-type": "application/json"}

    def _checked_base_url(self, default: str | None = None) -> str:
        """Return `base_url`, or *default*, or the vendor's own address, without a slash at its end."""
        # A blank address is a mistake to report, not a wish for production.
        url = (default or self.DEFAULT_BASE_URL) if self.base_url is None else self.base_url
        if not url:
            raise ConfigurationError(
                "base_url", "the address is missing", f"pass the address of your {self.name} server"
            )
        return check_base_url(url, allow_insecure=self.allow_insecure)

    def _adaptation(self) -> Adaptation:
        """Return an empty log that adapts or rejects as the settings say."""
        return Adaptation(adapt=self.on_violation == "adapt")

    def _plan(self, adaptation: Adaptation, request: Request | None) -> Plan:
        """Return the plan to send *request*, or none if *adaptation* has violations."""
        adjustments = tuple(adaptation.adjustments)
        if adaptation.violations:
            return Plan(self.name, None, adjustments, tuple(adaptation.violations))
        return Plan(self.name, request, adjustments)
