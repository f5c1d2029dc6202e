"""The base class that adapters of HTTP APIs share: validated settings, URL and headers."""

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
    """Base class of adapters whose vendor has an HTTP API with one key.

    A subclass sets the class variables, gives `name` a default, adds `plan`, `identify` and the optional protocols
    that its vendor supports, and overrides `_check_settings`, `_make_url` and `_make_headers` where its vendor differs.

    Attributes:
        api_key: The vendor's key.
        base_url: URL of the API, or None for the vendor's own.
        on_violation: ``"reject"`` a user who breaks a limit, or ``"adapt"`` the traits with a recorded loss.
        name: Name of the backend in outcomes and settings.
        allow_insecure: Allow a plain http URL that is not loopback.

    Raises:
        ConfigurationError: A setting is missing or invalid.
    """

    # The key of a backend that only plans, for example in a dry run without keys.
    PLACEHOLDER_KEY: ClassVar[str] = "offline"
    # Printed if the key is missing; an imperative.
    KEY_HINT: ClassVar[str] = "pass api_key"
    # Used if base_url is None; an empty one makes base_url a required setting.
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
        # Invalid settings are reported when the backend is created, not when it sends its first user.
        check_api_key(self.api_key, hint=self.KEY_HINT)
        self._check_settings()
        object.__setattr__(self, "_url", self._make_url())
        object.__setattr__(self, "_headers", self._make_headers())

    @property
    def limits(self) -> Limits:
        """Return the vendor's published limits."""
        return self.LIMITS

    def _check_settings(self) -> None:
        """Raise ConfigurationError for invalid settings; the key is already checked."""

    def _make_url(self) -> str:
        """Return the URL that requests go to, without a trailing slash."""
        return self._checked_base_url()

    def _make_headers(self) -> Mapping[str, str]:
        """Return the headers of every request, with names in lower case."""
        return {"accept": "application/json", "content-type": "application/json"}

    def _checked_base_url(self, default: str | None = None) -> str:
        """Return `base_url`, or *default*, or the vendor's own URL, without a trailing slash."""
        # An empty base_url is a mistake to report, not a request for the vendor's production URL.
        url = (default or self.DEFAULT_BASE_URL) if self.base_url is None else self.base_url
        if not url:
            raise ConfigurationError("base_url", "the URL is missing", f"pass the URL of your {self.name} server")
        return check_base_url(url, allow_insecure=self.allow_insecure)

    def _adaptation(self) -> Adaptation:
        """Return an empty `Adaptation` that adapts or rejects according to `on_violation`."""
        return Adaptation(adapt=self.on_violation == "adapt")

    def _plan(self, adaptation: Adaptation, request: Request | None) -> Plan:
        """Return a plan that sends *request*, or sends nothing if *adaptation* has violations."""
        adjustments = tuple(adaptation.adjustments)
        if adaptation.violations:
            return Plan(self.name, None, adjustments, tuple(adaptation.violations))
        return Plan(self.name, request, adjustments)
