"""A SCIM service over scim2-client, which words the requests and reads the answers; no exception of its gets out."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar, cast
from unicodedata import normalize

import attrs
import orjson
from scim2_client import SCIMClientException
from scim2_models import ListResponse, PatchOp, PatchOperation, SCIMException, ScimProvider, ServiceProviderConfig

from replay_identity.adapters import Exchange, Request, Response
from replay_identity.transport import Transport

from .engine import Engine, NoAnswerError
from .resources import GroupResource, UserResource, provider_of

T = TypeVar("T")
AnyResource = TypeVar("AnyResource", UserResource, GroupResource)

# A server is free to send fewer. Fullstory publishes no number; others who list its seats ask for as many.
PAGE_SIZE: Final = 100
_MEDIA_TYPE: Final = "application/scim+json"
_INTERNAL_ERROR: Final = 500


@attrs.frozen
class RefusedError(Exception):
    """Say that a request was not answered as hoped for.

    Attributes:
        response: The answer, or why there is none.
        secrets: The texts that the request held, to be masked in the vendor's words.
        is_read: Whether nothing was to be changed.
        names_one: Whether one seat or group was named by its id.
    """

    response: Response
    secrets: tuple[str, ...] = attrs.field(repr=False)
    is_read: bool
    names_one: bool


@attrs.define(eq=False)
class Scim:
    """A SCIM service, asked one thing at a time; every method raises RefusedError where the answer is another.

    Attributes:
        base_url: Address of the service, without ``/Users``.
        token: The bearer token.
        transport: What sends, tries again and gives up.
    """

    base_url: str
    token: str = attrs.field(repr=False)
    transport: Transport = attrs.field(repr=False)
    _provider: ScimProvider = attrs.field(init=False, repr=False, factory=lambda: provider_of(None))

    def create(self, resource: AnyResource) -> AnyResource:
        """Create *resource* and return it as the service shows it."""
        return self._ask(type(resource), lambda engine: engine.create(resource), _has_id)

    def read(self, kind: type[AnyResource], vendor_id: str) -> AnyResource:
        """Return one resource."""
        return self._ask(kind, lambda engine: engine.query(kind, vendor_id), _has_id)

    def replace(self, resource: AnyResource) -> AnyResource:
        """Put *resource* in place of what it was read from: of no later version, if the service has versions."""
        self._describe()
        return self._ask(type(resource), lambda engine: engine.replace(resource), _has_id)

    def takes_patch(self) -> bool:
        """Tell whether the service says that it takes PATCH."""
        patch = self._describe().patch
        return patch is not None and patch.supported is True

    def deactivate(self, vendor_id: str) -> UserResource | None:
        """Have a PATCH set active to false; return the user if the service shows them."""
        operation = PatchOperation[UserResource].model_validate({"op": "replace", "path": "active", "value": False})
        patch = PatchOp[UserResource](Operations=[operation])
        return self._ask((UserResource, type(None)), lambda engine: engine.modify(UserResource, vendor_id, patch))

    def find(self, kind: type[AnyResource], *, user_name: str | None = None) -> Iterator[AnyResource]:
        """Yield all resources of *kind*, each once, or those that the service finds under *user_name*."""
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
                    # A service that knows no filter sends everybody.
                    if user_name is None or _is_named(resource, user_name):
                        yield resource

    def _page(
        self, kind: type[AnyResource], query: Mapping[str, Any], seen: set[str | None], secrets: tuple[str, ...]
    ) -> tuple[list[AnyResource], int]:
        """Return some resources, and how many there are in all."""

        def is_usable(page: "ListResponse[AnyResource]") -> bool:
            # A page of nothing new would be followed by another, for ever, and an empty one would hide the rest.
            total, resources = page.total_results, page.resources or []
            is_progress = not seen.issuperset(resource.id for resource in resources)
            return total is not None and all(map(_has_id, resources)) and (total < query["startIndex"] or is_progress)

        # Made at run time, ListResponse takes no type variable.
        pages = cast("type[ListResponse[AnyResource]]", ListResponse)
        page = self._ask(pages, lambda engine: engine.query(kind, query_parameters={**query}), is_usable, secrets)
        return page.resources or [], page.total_results or 0

    def _describe(self) -> ServiceProviderConfig:
        """Return what the service says of itself, which it is asked once.

        One that does not say is taken to have neither PATCH nor versions (our policy "no-description").
        """
        config = self._provider.config
        if config is None:
            try:
                config = self._ask(ServiceProviderConfig, lambda engine: engine.query(ServiceProviderConfig))
            except RefusedError as rejected:
                if (
                    rejected.response.no_response is not None
                    or rejected.response.is_retryable
                    or rejected.response.status in {401, 403}
                ):
                    raise
                config = ServiceProviderConfig()
            self._provider = provider_of(config)
        return config

    def _ask(
        self,
        kind: type[T] | tuple[type[T], ...],
        call: Callable[[Engine], object],
        is_usable: Callable[[T], bool] = lambda _: True,
        secrets: tuple[str, ...] = (),
    ) -> T:
        """Return what *call* is answered, if it is of that *kind* and usable, else raise RefusedError."""
        engine = Engine(self._provider, self._send)
        try:
            answer = call(engine)
        except (SCIMException, SCIMClientException, NoAnswerError):
            answer = _NOTHING
        if isinstance(answer, kind) and is_usable(answer):
            return answer
        raise RefusedError(
            engine.response, (self.token, *engine.secrets, *secrets), is_read=engine.is_read, names_one=engine.names_one
        )

    def _send(self, method: str, address: str, headers: Mapping[str, str], body: bytes | None) -> Response:
        request = Request(
            f"scim {method}",
            method,
            f"{self.base_url}{address}",
            {"accept": _MEDIA_TYPE, "authorization": f"Bearer {self.token}", "content-type": _MEDIA_TYPE, **headers},
            body,
            # Any other method may be applied twice.
            retry_on=_is_surely_not_applied if method == "POST" else None,
        )
        return self.transport.run(_exchange(request))


_NOTHING: Final = object()


def _exchange(request: Request) -> Exchange[Response]:
    return (yield request)


def _has_id(resource: UserResource | GroupResource) -> bool:
    return bool(resource.id)


def _is_named(resource: UserResource | GroupResource, user_name: str) -> bool:
    """Tell whether *resource* has that user name, which SCIM compares in one case of letters (RFC 7643, 4.1.1)."""
    return isinstance(resource, UserResource) and _compared(resource.user_name) == _compared(user_name)


def _compared(user_name: str) -> str:
    return normalize("NFC", user_name.casefold())


def _is_surely_not_applied(response: Response) -> bool:
    return response.is_retryable and not response.may_have_applied and response.status != _INTERNAL_ERROR
