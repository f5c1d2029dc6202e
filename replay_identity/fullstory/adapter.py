"""Fullstory's Users API v2: one user at a time, and many at once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode

import attrs
import orjson

from .._values import checked_id, checked_string
from ..adapters.adaptation import Adaptation
from ..adapters.credentials import check_header
from ..adapters.exchange import Exchange, Request, Response, T
from ..adapters.http_adapter import HttpAdapter
from ..adapters.limits import BatchLimits, Limits
from ..adapters.protocols import (
    BatchEntry,
    BatchTooLarge,
    Comparison,
    EncodedUser,
    JobProgress,
    KeyInfo,
    Page,
    Plan,
    StoredUser,
)
from ..errors import InvalidTraitsError
from ..outcomes import Accepted, Failure, Outcome, Rejected, Skipped, SkipReason, Unknown, Violation
from ..traits import UserTraits
from . import responses
from .batch import BATCH, Job
from .limits import BATCH_LIMITS, LIMITS, SPENT_KEY_STATUSES
from .payload import dumps, word_user
from .responses import compared


def _check_text(_instance: object, attribute: "attrs.Attribute[Any]", text: str | None) -> None:
    if text is not None:
        checked_string(text, attribute.name)


@attrs.frozen(kw_only=True)
class UserFilter:
    """Which users to list; those that match every field given, and all users where none is.

    Attributes:
        uid: The application's id.
        email: The e-mail address.
        display_name: The name.
        is_identified: Whether the user has a uid.
    """

    uid: str | None = attrs.field(default=None, repr=False, validator=_check_text)
    email: str | None = attrs.field(default=None, repr=False, validator=_check_text)
    display_name: str | None = attrs.field(default=None, repr=False, validator=_check_text)
    is_identified: bool | None = None

    def query(self) -> dict[str, str]:
        """Return the query parameters that ask for these users."""
        given = attrs.asdict(self, filter=lambda _, value: value is not None)
        return {name: value if isinstance(value, str) else str(value).lower() for name, value in given.items()}


EVERYONE: Final = UserFilter()


# Keys start with the realm their data is in; keys from before August 2022 may not, and are of na1
# (https://developer.fullstory.com/server/v1/getting-started, read 2026-11-21).
_HOSTS: Final[Mapping[str, str]] = {"eu1": "https://api.eu1.fullstory.com"}
_DEFAULT_HOST: Final = "https://api.fullstory.com"

_USERS: Final = "/v2/users"
_IDEMPOTENCY_KEY: Final = "idempotency-key"


def _check_source(_instance: object, attribute: "attrs.Attribute[Any]", source: str | None) -> None:
    if source is not None:
        check_header(attribute.name, source)


@attrs.frozen
class Fullstory(HttpAdapter):
    """Identify users at Fullstory.

    Attributes:
        api_key: The key as Fullstory shows it; it is sent verbatim, never base64-encoded.
        base_url: Address of the API; by default that of the realm the key names.
        on_violation: ``"reject"`` a user who breaks a limit, or ``"adapt"`` the traits with a recorded loss.
        integration_source: Name of the integration to tell Fullstory, for its partners.
        name: Name that outcomes and settings carry.
        allow_insecure: Allow a plain http address off loopback.

    Raises:
        ConfigurationError: The key or the address cannot be used.
    """

    PLACEHOLDER_KEY: ClassVar[str] = "na1.offline"
    KEY_HINT: ClassVar[str] = "pass api_key or set FULLSTORY_API_KEY"
    LIMITS: ClassVar[Limits] = LIMITS

    integration_source: str | None = attrs.field(default=None, kw_only=True, validator=_check_source)
    name: str = attrs.field(default="fullstory", kw_only=True)

    @property
    def region(self) -> str:
        """Return the realm the key names: ``na1`` or ``eu1``."""
        realm, _, rest = self.api_key.partition(".")
        return realm if rest and realm in _HOSTS else "na1"

    def plan(self, user: UserTraits, /) -> Plan:
        """Return the upsert by uid, the update by Fullstory id, or the creation of an anonymous user."""
        body, vendor_id, adaptation = self._word(user)
        path = _USERS if vendor_id is None else _user_path(vendor_id)
        anonymous = user.user_id is None and vendor_id is None
        return self._plan(adaptation, self._request("identify", "POST", path, body, creates=anonymous))

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send *user* unless a rule is broken."""
        plan = self.plan(user)
        if plan.request is None:
            return plan.unsent

        response = yield plan.request
        vendor_id = responses.read_id(response)
        if vendor_id is not None:
            return Accepted(self.name, vendor_id, plan.adjustments)
        failure = self._failure(response, user=user)
        if response.status == responses.CONFLICT and plan.request.idempotency_header:
            # Only an earlier attempt of our own, still running, can hold the random key.
            failure = responses.conflict(self.name)
        if isinstance(failure, Unknown) and plan.request.creates:
            # Nothing to upsert by: the same call with a new idempotency key would make a second anonymous user.
            return attrs.evolve(failure, retryable=False)
        return failure

    @property
    def batch_limits(self) -> BatchLimits:
        """Return Fullstory's published limits on batch imports."""
        return BATCH_LIMITS

    @property
    def spent_key_statuses(self) -> frozenset[int]:
        """Return the statuses that Fullstory repeats for as long as it keeps an idempotency key."""
        return SPENT_KEY_STATUSES

    def encode_for_batch(self, user: UserTraits, /) -> EncodedUser:
        """Return the item that upserts *user*, with the Fullstory id if there is one."""
        content, _, adaptation = self._word(user, batched=True)
        adjustments = tuple(adaptation.adjustments)
        if adaptation.violations:
            return EncodedUser(self.name, None, adjustments, tuple(adaptation.violations))
        return EncodedUser(self.name, content, adjustments)

    def batch_body(self, contents: Iterable[bytes], /) -> bytes:
        """Return the body that holds *contents*, each of them JSON already."""
        return b'{"requests":[' + b",".join(contents) + b"]}"

    def batch_contents(self, body: bytes, /) -> Sequence[bytes]:
        """Return the items that `batch_body` was given, with the same words in them."""
        return [dumps(item) for item in orjson.loads(body)["requests"]]

    def create_job(self, body: bytes, /, *, idempotency_key: str) -> Exchange[str | BatchTooLarge | Failure]:
        """Send the batch and return the id of its job; the same *body* and key again return the same job.

        Fullstory keeps a key for 24 hours (https://developer.fullstory.com/server/idempotent-requests).
        """
        check_header("idempotency_key", idempotency_key)
        headers = {**self._headers, _IDEMPOTENCY_KEY: idempotency_key}
        url = self._url + BATCH
        response = yield Request("create_job", "POST", url, headers, body, _IDEMPOTENCY_KEY, creates=True)
        return responses.read_job_id(self.name, response, body, self.api_key, idempotency_key)

    def poll_job(self, job_id: str, /) -> Exchange[JobProgress | Failure]:
        """Ask how far the job is; a Standard key may."""
        return self._job(job_id).poll()

    def collect_job(self, job_id: str, entries: Sequence[BatchEntry], /) -> Exchange[tuple[Outcome, ...] | Failure]:
        """Return what became of each of the *entries*; needs an Architect or Admin key if any was refused."""
        return self._job(job_id).collect(entries)

    def get(self, user_id: str, /) -> Exchange[StoredUser | Failure | None]:
        """Return the user of that uid, or None; needs an Architect or Admin key."""
        page = yield from self.list_page(UserFilter(uid=checked_id(user_id)))
        if not isinstance(page, Page):
            return page
        found = [user for user in page.users if user.user_id == user_id]
        # Whoever was deleted and came back is shown twice, as long as the deletion takes.
        return min(found, key=lambda user: user.being_deleted, default=None)

    def get_by_id(self, vendor_id: str, /) -> Exchange[StoredUser | Failure | None]:
        """Return the user of that Fullstory id, or None; needs an Architect or Admin key."""
        response = yield self._request("get", "GET", f"{_user_path(vendor_id)}?include_schema=true")
        if responses.finds_none(response):
            return None
        return responses.read_user(self.name, response) or self._failure(response, vendor_id)

    def list_page(self, matching: UserFilter = EVERYONE, *, page_token: str | None = None) -> Exchange[Page | Failure]:
        """Return one page of the users *matching*; needs an Architect or Admin key."""
        query = {**matching.query(), "include_schema": "true"}
        if page_token is not None:
            query["page_token"] = page_token
        response = yield self._request("list", "GET", f"/v2/users?{urlencode(query, quote_via=quote)}")
        # An unknown token is no end: behind it there may be a million users.
        if page_token is None and responses.finds_none(response):
            return Page(())
        return responses.read_page(self.name, response) or self._failure(response, *matching.query().values())

    def pages(
        self, matching: UserFilter = EVERYONE, *, page_token: str | None = None
    ) -> Iterator[Exchange[Page | Failure]]:
        """Yield one exchange per page of the users *matching*; run each before asking for the next.

        A Failure is the last. To go on from there, pass the last good `Page.next_token` as *page_token*.
        """
        results: list[Page | Failure] = []
        while True:
            yield _kept(self.list_page(matching, page_token=page_token), results)
            if not results:
                raise RuntimeError("run the exchange of one page before asking for that of the next")
            page = results.pop()
            if not isinstance(page, Page) or page.next_token is None:
                return
            if page.next_token == page_token:
                # We would read one page for ever.
                yield _failed(Unknown(self.name, "the vendor names the same page as the next one"))
                return
            page_token = page.next_token

    def delete(self, user_id: str, /) -> Exchange[Outcome]:
        """Ask to delete the user of that uid with all sessions; irreversible, needs Architect or Admin."""
        return (yield from self._delete(f"{_USERS}?uid={quote(checked_id(user_id), safe='')}", user_id))

    def delete_by_id(self, vendor_id: str, /) -> Exchange[Outcome]:
        """Ask to delete the user of that Fullstory id with all sessions; as `delete`."""
        return (yield from self._delete(_user_path(vendor_id), vendor_id))

    @property
    def compare_writes(self) -> bool:
        """Return False: Fullstory shows users without being told anything."""
        return False

    def compare(self, user: UserTraits, /) -> Exchange[Comparison | Failure]:
        """Compare the user of that uid with what would be sent; needs an Architect or Admin key."""
        content, _, adaptation = self._word(user)
        if adaptation.violations:
            return Rejected(self.name, tuple(adaptation.violations))
        if user.user_id is None:
            return Rejected(self.name, (Violation("user_id", "anonymous-user"),))

        stored = yield from self.get(user.user_id)
        if stored is None:
            return Comparison(self.name, missing=True)
        if not isinstance(stored, StoredUser):
            return stored
        return Comparison(self.name, missing=True) if stored.being_deleted else compared(self.name, content, stored)

    def verify(self) -> Exchange[KeyInfo | Failure]:
        """Ask Fullstory whose the key is and what it may do (https://developer.fullstory.com/me/)."""
        response = yield self._request("verify", "GET", "/me")
        return responses.read_key_info(self.name, self.region, response) or self._failure(response)

    def _make_url(self) -> str:
        return self._checked_base_url(_HOSTS.get(self.region, _DEFAULT_HOST))

    def _make_headers(self) -> Mapping[str, str]:
        headers = {**super()._make_headers(), "authorization": f"Basic {self.api_key}"}
        if self.integration_source is not None:
            headers["integration-source"] = self.integration_source
        return headers

    def _word(self, user: UserTraits, *, batched: bool = False) -> tuple[bytes, str | None, Adaptation]:
        """Return *user* as JSON, with their Fullstory id in it if *batched*, that id, and what had to give."""
        vendor_id = user.vendor_ids.get(self.name)
        adapt = self.on_violation == "adapt"
        content, adaptation = word_user(user, adapt=adapt, vendor_id=vendor_id if batched else None)
        if vendor_id in {".", ".."}:
            adaptation.reject(f"vendor_ids.{self.name}", "dot-segment")
        return content, vendor_id, adaptation

    def _job(self, job_id: str) -> Job:
        if not responses.is_segment(checked_string(job_id, "job_id")):
            raise InvalidTraitsError("job_id", _NO_SEGMENT)
        return Job(self.name, job_id, lambda operation, path: self._request(operation, "GET", path), self.api_key)

    def _delete(self, path: str, said: str) -> Exchange[Outcome]:
        response = yield self._request("delete", "DELETE", path)
        if response.is_success and response.json_object() is not None:
            return Accepted(self.name)
        if responses.finds_none(response):
            return Skipped(self.name, SkipReason.NOT_FOUND)
        return self._failure(response, said)

    def _request(
        self, operation: str, method: str, path: str, body: bytes | None = None, *, creates: bool = False
    ) -> Request:
        # The key is documented for the creation only: https://developer.fullstory.com/server/idempotent-requests.
        idempotency_header = _IDEMPOTENCY_KEY if path == _USERS and method == "POST" else None
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

    def _failure(self, response: Response, *said: str, user: UserTraits | None = None) -> Failure:
        return responses.read_rejection(self.name, response, user, self.api_key, *said)


_NO_SEGMENT: Final = "cannot stand in a URL: HTTP libraries would drop the segment"


def _user_path(vendor_id: str) -> str:
    """Return the path of one user, or raise where a path cannot hold the id."""
    if not responses.is_segment(checked_string(vendor_id, "vendor_id")):
        raise InvalidTraitsError("vendor_id", _NO_SEGMENT)
    return f"{_USERS}/{quote(vendor_id, safe='')}"


def _failed(failure: Failure) -> Exchange[Page | Failure]:
    """Return *failure* without asking anybody."""
    yield from ()
    return failure


def _kept(exchange: Exchange[T], results: list[T]) -> Exchange[T]:
    result = yield from exchange
    results.append(result)
    return result
