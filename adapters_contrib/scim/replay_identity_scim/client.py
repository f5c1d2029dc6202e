"""A SCIM client over scim2-client, which encodes requests and parses responses; its exceptions stay in here."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar, cast
from unicodedata import normalize

import attrs
import orjson
from scim2_client import SCIMClientException
from scim2_models import ListResponse, PatchOp, PatchOperation, SCIMException, ScimProvider, ServiceProviderConfig

from replay_identity.adapters import Exchange, Request, Response
from replay_identity.transport import Transport

from .engine import Engine, NoResponseError
from .resources import GroupResource, UserResource, provider_of

T = TypeVar("T")
AnyResource = TypeVar("AnyResource", UserResource, GroupResource)

# A server may send fewer. Fullstory publishes no number; other clients ask it for 100.
PAGE_SIZE: Final = 100
_MEDIA_TYPE: Final = "application/scim+json"
_INTERNAL_ERROR: Final = 500


@attrs.frozen
class FailedRequestError(Exception):
    """A request without a usable response.

    Attributes:
        response: The response, or the reason why there is none.
        secrets: The texts in the request, to redact from the vendor's message.
        is_read: True if the request changes nothing.
        has_id: True if the request names one seat or group by its id.
    """

    response: Response
    secrets: tuple[str, ...] = attrs.field(repr=False)
    is_read: bool
    has_id: bool


@attrs.define(eq=False)
class ScimClient:
    """A client of a SCIM service; every method raises FailedRequestError if it gets no usable response.

    Attributes:
        base_url: URL of the service, without ``/Users``.
        token: The bearer token.
        transport: Sends and retries the requests.
    """

    base_url: str
    token: str = attrs.field(repr=False)
    transport: Transport = attrs.field(repr=False)
    _provider: ScimProvider = attrs.field(init=False, repr=False, factory=lambda: provider_of(None))

    def create(self, resource: AnyResource) -> AnyResource:
        """Create *resource* and return it as the service shows it."""
        return self._call(type(resource), lambda engine: engine.create(resource), _has_id)

    def read(self, kind: type[AnyResource], vendor_id: str) -> AnyResource:
        """Return one resource."""
        return self._call(kind, lambda engine: engine.query(kind, vendor_id), _has_id)

    def replace(self, resource: AnyResource) -> AnyResource:
        """Replace the stored resource with *resource*; if the service has versions, only the version that was read."""
        self._config()
        return self._call(type(resource), lambda engine: engine.replace(resource), _has_id)

    def supports_patch(self) -> bool:
        """Return True if the service says that it supports PATCH."""
        patch = self._config().patch
        return patch is not None and patch.supported is True

    def deactivate(self, vendor_id: str) -> UserResource | None:
        """Set active to false with a PATCH, and return the user if the service shows them."""
        operation = PatchOperation[UserResource].model_validate({"op": "replace", "path": "active", "value": False})
        patch = PatchOp[UserResource](Operations=[operation])
        return self._call((UserResource, type(None)), lambda engine: engine.modify(UserResource, vendor_id, patch))

    def find(self, kind: type[AnyResource], *, user_name: str | None = None) -> Iterator[AnyResource]:
        """Yield all resources of *kind*, or those with *user_name*, each once."""
        query: dict[str, Any] = {"count": PAGE_SIZE}
        if user_name is not None:
            query["filter"] = f"userName eq {orjson.dumps(user_name).decode()}"
        secrets = () if user_name is None else (user_name,)
        seen: set[str | None] = set()
        start = total = 1
        while start <= total:
            resources, total = self._page(kind, {**query, "startIndex": start}, seen, secrets)
            start += len(resources)
            for resource in resources:
                if resource.id not in seen:
                    seen.add(resource.id)
                    # A service without filters sends all users.
                    if user_name is None or _is_named(resource, user_name):
                        yield resource

    def _page(
        self, kind: type[AnyResource], query: Mapping[str, Any], seen: set[str | None], secrets: tuple[str, ...]
    ) -> tuple[list[AnyResource], int]:
        """Return one page of resources, and their total number."""

        def is_usable(page: "ListResponse[AnyResource]") -> bool:
            # Pages without new resources would never end, and an empty page would hide the others.
            total, resources = page.total_results, page.resources or []
            has_new = not seen.issuperset(resource.id for resource in resources)
            return total is not None and all(map(_has_id, resources)) and (total < query["startIndex"] or has_new)

        # scim2-models creates ListResponse at run time, without a type variable.
        pages = cast("type[ListResponse[AnyResource]]", ListResponse)
        page = self._call(pages, lambda engine: engine.query(kind, query_parameters={**query}), is_usable, secrets)
        return page.resources or [], page.total_results or 0

    def _config(self) -> ServiceProviderConfig:
        """Return the service's description of itself, which is requested once.

        A service without one is assumed to have neither PATCH nor versions (our policy "no-description").
        """
        config = self._provider.config
        if config is None:
            try:
                config = self._call(ServiceProviderConfig, lambda engine: engine.query(ServiceProviderConfig))
            except FailedRequestError as error:
                response = error.response
                if response.no_response is not None or response.is_retryable or response.status in {401, 403}:
                    raise
                config = ServiceProviderConfig()
            self._provider = provider_of(config)
        return config

    def _call(
        self,
        kind: type[T] | tuple[type[T], ...],
        call: Callable[[Engine], object],
        is_usable: Callable[[T], bool] = lambda _: True,
        secrets: tuple[str, ...] = (),
    ) -> T:
        """Return the result of *call* if it is a usable *kind*, else raise FailedRequestError."""
        engine = Engine(self._provider, self._send)
        try:
            result = call(engine)
        except (SCIMException, SCIMClientException, NoResponseError):
            result = _NO_RESULT
        if isinstance(result, kind) and is_usable(result):
            return result
        raise FailedRequestError(
            engine.response, (self.token, *engine.secrets, *secrets), is_read=engine.is_read, has_id=engine.has_id
        )

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Response:
        request = Request(
            f"scim {method}",
            method,
            f"{self.base_url}{url}",
            {"accept": _MEDIA_TYPE, "authorization": f"Bearer {self.token}", "content-type": _MEDIA_TYPE, **headers},
            body,
            # The other methods are idempotent.
            retry_on=_cannot_have_applied if method == "POST" else None,
        )
        return self.transport.run(_exchange(request))


_NO_RESULT: Final = object()


def _exchange(request: Request) -> Exchange[Response]:
    return (yield request)


def _has_id(resource: UserResource | GroupResource) -> bool:
    return bool(resource.id)


def _is_named(resource: UserResource | GroupResource, user_name: str) -> bool:
    """Return True if *resource* has that user name, which SCIM compares without case (RFC 7643, 4.1.1)."""
    return isinstance(resource, UserResource) and _folded(resource.user_name) == _folded(user_name)


def _folded(user_name: str) -> str:
    return normalize("NFC", user_name.casefold())


def _cannot_have_applied(response: Response) -> bool:
    return response.is_retryable and not response.may_have_applied and response.status != _INTERNAL_ERROR
