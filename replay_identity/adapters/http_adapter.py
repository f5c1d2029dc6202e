"""The base class that adapters of HTTP APIs share: validated settings, URL and headers."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from typing import Any, ClassVar, Final, cast

import attrs

from ..errors import ConfigurationError
from ..traits import UserTraits
from .adaptation import Adaptation, OnViolation, check_on_violation
from .credentials import account_name, check_api_key, check_base_url
from .exchange import Request
from .id_rules import IdRule, as_id_rules, check_allow_ids, id_violations
from .limits import Limits
from .protocols import Plan

# Settings that do not change what is sent, but where.
_NOT_ENCODING: Final = frozenset({"api_key", "base_url", "name", "allow_insecure"})


def _no_headers() -> Mapping[str, str]:
    return {}


@attrs.frozen
class HttpAdapter:
    """Base class of adapters whose vendor has an HTTP API with one key.

    A subclass sets the class variables, gives `name` a default, adds `plan`, `identify` and the optional protocols
    that its vendor supports, and overrides `account`, `_check_settings`, `_make_url` and `_make_headers` where its
    vendor differs.

    Attributes:
        api_key: The vendor's key.
        base_url: URL of the API, or None for the vendor's own.
        on_violation: ``"reject"`` a user who breaks a limit, or ``"adapt"`` the traits with a recorded loss.
        allow_ids: Rules about ids that do not apply: ``"placeholder-id"``, ``"id-in-scientific-notation"`` or both.
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
    # What is appended to base_url, such as "/v2/users" or "/v1/orgs/{org}", where braces mean any text: a base_url that
    # ends in the beginning of it is refused. If it is empty, nothing is refused.
    API_PATH: ClassVar[str] = ""
    LIMITS: ClassVar[Limits] = Limits()
    # True if the vendor stores each leaf of a nested trait under its dotted name.
    FLAT_TRAITS: ClassVar[bool] = False

    api_key: str = attrs.field(repr=False)
    base_url: str | None = attrs.field(default=None, kw_only=True)
    on_violation: OnViolation = attrs.field(default="reject", kw_only=True, validator=check_on_violation)
    allow_ids: frozenset[IdRule] = attrs.field(
        default=frozenset[IdRule](), kw_only=True, converter=as_id_rules, validator=check_allow_ids
    )
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

    @property
    def account(self) -> str:
        """Return the host and the path of the URL and a fingerprint of the key, which is to tell accounts apart."""
        return account_name(self._checked_base_url(), api_key=self.api_key)

    @property
    def encoding(self) -> str:
        """Return a text of the class, its version, its limits and the settings that decide what is sent."""
        return encoding_name(type(self), self.limits, self._encoding_settings())

    def _encoding_settings(self) -> Mapping[str, object]:
        """Return the settings that decide what is sent: by default all that are compared and shown in the repr."""
        fields = (field for field in attrs.fields(type(self)) if field.eq and field.repr)
        return {field.name: getattr(self, field.name) for field in fields if field.name not in _NOT_ENCODING}

    def _check_settings(self) -> None:
        """Raise ConfigurationError for invalid settings; the key is already checked."""

    def _make_url(self) -> str:
        """Return the URL that requests go to, without a trailing slash."""
        return self._checked_base_url()

    def _make_headers(self) -> Mapping[str, str]:
        """Return the headers of every request, with names in lower case."""
        return {"accept": "application/json", "content-type": "application/json"}

    def _default_base_url(self) -> str:
        """Return the vendor's own URL."""
        return self.DEFAULT_BASE_URL

    def _checked_base_url(self) -> str:
        """Return `base_url` or the vendor's own URL, without a trailing slash."""
        # An empty base_url is a mistake to report, not a request for the vendor's production URL.
        url = self._default_base_url() if self.base_url is None else self.base_url
        if not url:
            raise ConfigurationError("base_url", "the URL is missing", f"pass the URL of your {self.name} server")
        return check_base_url(url, allow_insecure=self.allow_insecure, api_path=self.API_PATH)

    def _adaptation(self, user: UserTraits | None = None) -> Adaptation:
        """Return an `Adaptation` that adapts or rejects according to `on_violation`; it rejects an id of many people.

        Pass the *user*. Without, their id is checked only if a router, or a bulk run, sends them.
        """
        adaptation = Adaptation(adapt=self.on_violation == "adapt")
        if user is not None:
            adaptation.violations += id_violations(user.user_id, self.allow_ids)
        return adaptation

    def _plan(self, adaptation: Adaptation, request: Request | None, fields: Mapping[str, Any] | None = None) -> Plan:
        """Return a plan that sends *request*, or sends nothing if *adaptation* has violations."""
        adjustments = tuple(adaptation.adjustments)
        if adaptation.violations:
            return Plan(self.name, None, adjustments, tuple(adaptation.violations))
        return Plan(self.name, request, adjustments, (), fields)


def encoding_name(kind: type, limits: Limits, settings: Mapping[str, object]) -> str:
    """Return a text of the class of a backend, the version of its package, its *limits* and its *settings*."""
    package = kind.__module__.partition(".")[0]
    numbers = [f"{name} {limit.maximum} {limit.unit}" for name, limit in limits]
    values = [f"{name}={stable_repr(value)}" for name, value in settings.items()]
    versions = f"{package} {_version(package)}, replay-identity {_version('replay-identity')}"
    return "; ".join((kind.__qualname__, versions, *values, *numbers, limits.trait_name_pattern or ""))


def stable_repr(value: object) -> str:
    """Return the repr of *value*, with what a set or a mapping holds in an order that is the same in every process."""
    if isinstance(value, Mapping):
        return repr(sorted(cast("Mapping[object, object]", value).items(), key=repr))
    return repr(sorted(cast("AbstractSet[object]", value), key=repr)) if isinstance(value, AbstractSet) else repr(value)


@cache
def _version(package: str) -> str:
    """Return the version of the distribution named as *package*, or an empty string if there is none."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  # Slow to import.

    try:
        return version(package)
    except PackageNotFoundError:
        return ""
