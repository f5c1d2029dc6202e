"""The Fullstory backend: its users API v2, for single users and for batches."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, TypeAlias, get_args
from urllib.parse import quote, urlencode

import attrs
import orjson

from .._values import checked_id, checked_string
from ..adapters.credentials import check_header
from ..adapters.exchange import Exchange, Request, Response, T
from ..adapters.http_adapter import HttpAdapter
from ..adapters.id_rules import id_violations
from ..adapters.limits import BatchLimits, Limits
from ..adapters.protocols import (
    BatchEntry,
    BatchTooLarge,
    Comparison,
    EncodedUser,
    ExportLink,
    ExportProgress,
    JobProgress,
    KeyInfo,
    Page,
    Plan,
    StoredUser,
)
from ..errors import ConfigurationError, InvalidTraitsError
from ..outcomes import Accepted, Failure, Outcome, Rejected, Skipped, SkipReason, Unknown, Violation
from ..traits import UserTraits
from . import responses
from .batch import BATCH_PATH, FullstoryJob
from .export import FullstoryExport, read_individual
from .limits import BATCH_LIMITS, LIMITS, SPENT_KEY_STATUSES
from .payload import Payload, dumps, encode_user

# Keys start with their realm; keys from before August 2022 may not, and belong to na1
# (https://developer.fullstory.com/server/v1/getting-started, read 2026-11-21; the hosts are also in the contracts of
# 2026-09, github.com/fullstorydev/sekizui at 8f3699a, read 2026-11-30).
_HOSTS: Final[Mapping[str, str]] = {"eu1": "https://api.eu1.fullstory.com"}
_DEFAULT_HOST: Final = "https://api.fullstory.com"

# The calls and the level of the key that each of them takes are those of the contracts of 2026-09
# (github.com/fullstorydev/sekizui at 8f3699a, read 2026-11-30).
_USERS_PATH: Final = "/v2/users"
_STREAM_PATH: Final = f"{_USERS_PATH}/stream"
# The calls that may take an idempotency key, in addition to batches; an update by Fullstory id takes none.
_KEYED_PATHS: Final = frozenset({_USERS_PATH, _STREAM_PATH})
_IDEMPOTENCY_HEADER: Final = "idempotency-key"
_NOT_A_SEGMENT: Final = 'expected an id other than "", "." and "..", which HTTP clients drop from a URL'


def _check_text(_instance: object, attribute: "attrs.Attribute[Any]", text: str | None) -> None:
    if text is not None:
        checked_string(text, attribute.name)


def _check_write(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value not in get_args(WriteMode):
        raise ConfigurationError(attribute.name, 'expected "upsert" or "stream"')


def _check_source(_instance: object, attribute: "attrs.Attribute[Any]", source: str | None) -> None:
    if source is not None:
        check_header(attribute.name, source)


# "stream" queues a user, and responds before the user is stored.
WriteMode: TypeAlias = Literal["upsert", "stream"]


@attrs.frozen(kw_only=True)
class UserFilter:
    """Which users to list: those that match every field that is not None.

    Attributes:
        uid: Your own id of the user.
        email: E-mail address.
        display_name: Display name.
        is_identified: True for users with a uid, False for anonymous users.
    """

    uid: str | None = attrs.field(default=None, repr=False, validator=_check_text)
    email: str | None = attrs.field(default=None, repr=False, validator=_check_text)
    display_name: str | None = attrs.field(default=None, repr=False, validator=_check_text)
    is_identified: bool | None = None

    def query(self) -> dict[str, str]:
        """Return the filter as query parameters."""
        fields = attrs.asdict(self, filter=lambda _, value: value is not None)
        return {name: value if isinstance(value, str) else str(value).lower() for name, value in fields.items()}


ALL_USERS: Final = UserFilter()


@attrs.frozen
class Fullstory(HttpAdapter):
    """Identify users at Fullstory.

    Attributes:
        api_key: The key exactly as Fullstory shows it; it is not base64-encoded.
        base_url: Address of the API; by default that of the key's realm.
        on_violation: ``"reject"`` a user who breaks a limit, or ``"adapt"`` the traits with a recorded loss.
        allow_ids: Rules about ids that do not apply: ``"placeholder-id"``, ``"id-in-scientific-notation"`` or both.
        write: ``"upsert"`` a user, or ``"stream"`` the user, who is then stored a little later: the outcome has a
            ``request_id`` for `stream_result`. A user whose Fullstory id is known is updated in either case.
        integration_source: Name of a partner's integration, sent to Fullstory with each request.
        name: Name of the backend in outcomes and settings.
        allow_insecure: Allow a plain http address that is not loopback.

    Raises:
        ConfigurationError: The key or the address is invalid.
    """

    PLACEHOLDER_KEY: ClassVar[str] = "na1.offline"
    KEY_HINT: ClassVar[str] = "pass api_key or set FULLSTORY_API_KEY"
    API_PATH: ClassVar[str] = _USERS_PATH
    LIMITS: ClassVar[Limits] = LIMITS

    write: WriteMode = attrs.field(default="upsert", kw_only=True, validator=_check_write)
    integration_source: str | None = attrs.field(default=None, kw_only=True, validator=_check_source)
    name: str = attrs.field(default="fullstory", kw_only=True)

    @property
    def region(self) -> str:
        """Return the realm in the key: ``na1`` or ``eu1``."""
        realm, _, rest = self.api_key.partition(".")
        return realm if rest and realm in _HOSTS else "na1"

    # Identify users

    def plan(self, user: UserTraits, /, *, only: Container[str] | None = None) -> Plan:
        """Return the upsert by uid, the update by Fullstory id, or the creation of an anonymous user; see `write`.

        With *only*, the request holds the ids and the fields in *only*.
        """
        payload = self._encode(user, only=only)
        if payload.adaptation.violations:
            return self._plan(payload.adaptation, None)

        vendor_id = user.vendor_ids.get(self.name)
        path = self._write_path if vendor_id is None else _user_path(vendor_id)
        anonymous = user.user_id is None and vendor_id is None
        request = self._request("identify", "POST", path, payload.content, creates=anonymous)
        return self._plan(payload.adaptation, request, payload.fields)

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send *user* unless it breaks a limit."""
        return (yield from self.send(user, self.plan(user)))

    def send(self, user: UserTraits, plan: Plan, /) -> Exchange[Outcome]:
        """Send a *plan* of *user*, if it has a request."""
        if plan.request is None:
            return plan.unsent

        response = yield plan.request
        accepted = responses.read_accepted(self.name, response, plan.adjustments)
        if accepted is not None:
            return accepted
        failure = self._failure(response, user=user)
        if response.status == responses.CONFLICT and plan.request.idempotency_header:
            # The key is random, so only an earlier attempt of this exchange that still runs can hold it.
            failure = responses.conflict(self.name)
        if isinstance(failure, Unknown) and plan.request.creates:
            # Without an id to upsert by, another call with a new key could create a second anonymous user.
            return attrs.evolve(failure, retryable=False)
        return failure

    def stream_result(self, request_id: str, /) -> Exchange[str | Failure | None]:
        """Return the Fullstory id of a streamed user by `Accepted.request_id`, or None while the user is not stored.

        Needs an Architect or Admin key.
        """
        segment = quote(_checked_segment(request_id, "request_id"), safe="")
        response = yield self._request("stream_result", "GET", f"{_STREAM_PATH}/{segment}")
        vendor_id = responses.read_streamed_id(response)
        return self._failure(response, request_id) if vendor_id is None else vendor_id or None

    # Batches

    @property
    def batch_limits(self) -> BatchLimits:
        """Return Fullstory's published limits on batch imports."""
        return BATCH_LIMITS

    @property
    def spent_key_statuses(self) -> frozenset[int]:
        """Return the statuses that Fullstory repeats for as long as it keeps an idempotency key."""
        return SPENT_KEY_STATUSES

    def encode_for_batch(self, user: UserTraits, /, *, only: Container[str] | None = None) -> EncodedUser:
        """Return the item that upserts *user*, or their fields in *only*, with their Fullstory id if there is one."""
        payload = self._encode(user, batched=True, only=only)
        adjustments = tuple(payload.adaptation.adjustments)
        if payload.adaptation.violations:
            return EncodedUser(self.name, None, adjustments, tuple(payload.adaptation.violations))
        return EncodedUser(self.name, payload.content, adjustments, (), payload.fields)

    def batch_body(self, contents: Iterable[bytes], /) -> bytes:
        """Return the body of a batch of encoded users."""
        items = [*contents] or [b""]
        # Not added to the joined items, since that would copy megabytes.
        items[0] = b'{"requests":[' + items[0]
        items[-1] += b"]}"
        return b",".join(items)

    def batch_contents(self, body: bytes, /) -> Sequence[bytes]:
        """Return the encoded users in *body*, in their order, as the same or equivalent JSON."""
        return [dumps(item) for item in orjson.loads(body)["requests"]]

    def create_job(self, body: bytes, /, *, idempotency_key: str) -> Exchange[str | BatchTooLarge | Failure]:
        """Send a batch and return the id of its job; the same *body* and key again return the same job.

        Fullstory keeps a key for 24 hours (https://developer.fullstory.com/server/idempotent-requests).
        """
        check_header("idempotency_key", idempotency_key)
        headers = {**self._headers, _IDEMPOTENCY_HEADER: idempotency_key}
        url = self._url + BATCH_PATH
        response = yield Request("create_job", "POST", url, headers, body, _IDEMPOTENCY_HEADER, creates=True)
        return responses.read_job_id(self.name, response, body, secrets=(self.api_key, idempotency_key))

    def poll_job(self, job_id: str, /) -> Exchange[JobProgress | Failure]:
        """Request the progress of a job; a Standard key is enough."""
        return self._job(job_id).poll()

    def collect_job(self, job_id: str, entries: Sequence[BatchEntry], /) -> Exchange[tuple[Outcome, ...] | Failure]:
        """Return the outcome of each of the *entries*; needs an Architect or Admin key if any was rejected."""
        return self._job(job_id).collect(entries)

    # Read users

    def get(self, user_id: str, /) -> Exchange[StoredUser | Failure | None]:
        """Return the user with that uid, or None; needs an Architect or Admin key."""
        page = yield from self.list_page(UserFilter(uid=checked_id(user_id)))
        if not isinstance(page, Page):
            return page
        matches = [user for user in page.users if user.user_id == user_id]
        # A user who was deleted and created again is listed twice until the deletion is complete.
        return min(matches, key=lambda user: user.being_deleted, default=None)

    def get_by_id(self, vendor_id: str, /) -> Exchange[StoredUser | Failure | None]:
        """Return the user with that Fullstory id, or None; needs an Architect or Admin key."""
        response = yield self._request("get", "GET", f"{_user_path(vendor_id)}?include_schema=true")
        if responses.is_not_found(response):
            return None
        return responses.read_user(self.name, response) or self._failure(response, vendor_id)

    def list_page(
        self, user_filter: UserFilter = ALL_USERS, *, page_token: str | None = None
    ) -> Exchange[Page | Failure]:
        """Return one page of the users that match *user_filter*; needs an Architect or Admin key."""
        query = {**user_filter.query(), "include_schema": "true"}
        if page_token is not None:
            query["page_token"] = page_token
        response = yield self._request("list", "GET", f"{_USERS_PATH}?{urlencode(query, quote_via=quote)}")
        # With a page token, 404 means an unknown token, not the end of the list.
        if page_token is None and responses.is_not_found(response):
            return Page(())
        return responses.read_page(self.name, response) or self._failure(response, *user_filter.query().values())

    def pages(
        self, user_filter: UserFilter = ALL_USERS, *, page_token: str | None = None
    ) -> Iterator[Exchange[Page | Failure]]:
        """Yield one exchange per page of matching users; run each one before asking for the next.

        A Failure ends the iteration. To resume, pass the last good `Page.next_token` as *page_token*.
        """
        results: list[Page | Failure] = []
        while True:
            yield _store_result(self.list_page(user_filter, page_token=page_token), results)
            if not results:
                raise RuntimeError("the exchange of a page was not run; run it before asking for the next one")
            page = results.pop()
            if not isinstance(page, Page) or page.next_token is None:
                return
            if page.next_token == page_token:
                # Otherwise the same page would be read forever.
                yield _return_failure(Unknown(self.name, "the vendor names the same page as the next one"))
                return
            page_token = page.next_token

    @property
    def compare_writes(self) -> bool:
        """Return False: Fullstory shows users without a write."""
        return False

    def compare(self, user: UserTraits, /) -> Exchange[Comparison | Failure]:
        """Compare the stored user with what would be sent; needs an Architect or Admin key."""
        payload = self._encode(user)
        if payload.adaptation.violations:
            return Rejected(self.name, tuple(payload.adaptation.violations))
        if user.user_id is None:
            return Rejected(self.name, (Violation("user_id", "anonymous-user"),))

        stored = yield from self.get(user.user_id)
        if stored is None:
            return Comparison(self.name, missing=True)
        if not isinstance(stored, StoredUser):
            return stored
        if stored.being_deleted:
            return Comparison(self.name, missing=True)
        return responses.compare_user(self.name, payload.content, stored)

    def verify(self) -> Exchange[KeyInfo | Failure]:
        """Return whose key it is and what it permits; a Standard key is enough (https://developer.fullstory.com/me/)."""
        response = yield self._request("verify", "GET", "/me")
        return responses.read_key_info(self.name, self.region, response) or self._failure(response)

    # Export users

    def start_export(self) -> Exchange[str | Failure]:
        """Start an export of all individuals and return the id of its operation; needs an Architect or Admin key."""
        return self._export.start()

    def poll_export(self, operation: str, /) -> Exchange[ExportProgress | Failure]:
        """Return the progress of an *operation*; a Standard key is enough."""
        return self._export.poll(_checked_segment(operation, "operation"))

    def link_export(self, file_id: str, /) -> Exchange[ExportLink | Failure]:
        """Return a new link to the file of an export; needs an Architect or Admin key."""
        return self._export.link(_checked_segment(file_id, "file_id"))

    def read_exported(self, line: bytes, /) -> StoredUser | None:
        """Return the individual in one *line* of an export, or None if there is none."""
        return read_individual(self.name, line)

    @property
    def _export(self) -> FullstoryExport:
        return FullstoryExport(self.name, self._request, self.api_key, self.allow_insecure)

    # Delete users

    def delete(self, user_id: str, /) -> Exchange[Outcome]:
        """Request the deletion of a user with all sessions by uid; irreversible, needs an Architect or Admin key."""
        return (yield from self._delete(f"{_USERS_PATH}?uid={quote(checked_id(user_id), safe='')}", user_id))

    def delete_by_id(self, vendor_id: str, /) -> Exchange[Outcome]:
        """Request the deletion of a user with all sessions by Fullstory id; see `delete`."""
        return (yield from self._delete(_user_path(vendor_id), vendor_id))

    def _delete(self, path: str, user_id: str) -> Exchange[Outcome]:
        response = yield self._request("delete", "DELETE", path)
        if responses.is_accepted(response):
            return Accepted(self.name)
        if responses.is_not_found(response):
            return Skipped(self.name, SkipReason.NOT_FOUND)
        return self._failure(response, user_id)

    @property
    def _write_path(self) -> str:
        return _STREAM_PATH if self.write == "stream" else _USERS_PATH

    def _encoding_settings(self) -> Mapping[str, object]:
        # Both ways to write send the same.
        return {name: value for name, value in super()._encoding_settings().items() if name != "write"}

    def _default_base_url(self) -> str:
        return _HOSTS.get(self.region, _DEFAULT_HOST)

    def _make_headers(self) -> Mapping[str, str]:
        headers = {**super()._make_headers(), "authorization": f"Basic {self.api_key}"}
        if self.integration_source is not None:
            headers["integration-source"] = self.integration_source
        return headers

    def _encode(self, user: UserTraits, *, batched: bool = False, only: Container[str] | None = None) -> Payload:
        """Return *user* as JSON, which contains the Fullstory id of a *batched* user."""
        vendor_id = user.vendor_ids.get(self.name)
        adapt = self.on_violation == "adapt"
        payload = encode_user(user, adapt=adapt, vendor_id=vendor_id if batched else None, only=only)
        payload.adaptation.violations += id_violations(user.user_id, self.allow_ids)
        if vendor_id in {".", ".."}:
            payload.adaptation.reject(f"vendor_ids.{self.name}", "dot-segment")
        return payload

    def _job(self, job_id: str) -> FullstoryJob:
        return FullstoryJob(
            self.name,
            _checked_segment(job_id, "job_id"),
            lambda operation, path: self._request(operation, "GET", path),
            self.api_key,
        )

    def _request(
        self, operation: str, method: str, path: str, body: bytes | None = None, *, creates: bool = False
    ) -> Request:
        idempotency_header = _IDEMPOTENCY_HEADER if path in _KEYED_PATHS and method == "POST" else None
        return Request(
            operation,
            method,
            self._url + path,
            self._headers,
            body,
            idempotency_header,
            creates,
            SPENT_KEY_STATUSES,
        )

    def _failure(self, response: Response, *secrets: str, user: UserTraits | None = None) -> Failure:
        return responses.read_failure(self.name, response, user=user, secrets=(self.api_key, *secrets))


def _user_path(vendor_id: str) -> str:
    return f"{_USERS_PATH}/{quote(_checked_segment(vendor_id, 'vendor_id'), safe='')}"


def _checked_segment(text: str, name: str) -> str:
    if not responses.is_path_segment(checked_string(text, name)):
        raise InvalidTraitsError(name, _NOT_A_SEGMENT)
    return text


def _return_failure(failure: Failure) -> Exchange[Page | Failure]:
    """Return *failure* without sending anything."""
    yield from ()
    return failure


def _store_result(exchange: Exchange[T], results: list[T]) -> Exchange[T]:
    result = yield from exchange
    results.append(result)
    return result
