"""An engine for scim2-client that sends through a function instead of an HTTP library."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeGuard
from urllib.parse import quote, unquote, urlencode

import attrs
import orjson
from scim2_client import BaseSyncSCIMClient
from scim2_client.client import RawResponse
from scim2_models import ScimProvider

from replay_identity.adapters import NoResponse, Response, is_nested

# Sends one request, given its method, its URL below the base URL, its headers and its body.
Send: TypeAlias = Callable[[str, str, Mapping[str, str], bytes | None], Response]

# Names in a body whose values belong to the protocol and are not personal.
_PROTOCOL_NAMES: Final = frozenset({"schemas", "op", "path", "type"})


class NoResponseError(Exception):
    """Ends a call of scim2-client whose request got no response."""


class Engine(BaseSyncSCIMClient):
    """scim2-client for one call, which keeps the response and the values that were sent.

    Attributes:
        response: The response, or the reason why there is none.
        secrets: The texts in the request.
        is_read: True if the request changes nothing.
        has_id: True if the request names one resource by its id.
    """

    def __init__(self, provider: ScimProvider, send: Send) -> None:
        super().__init__(provider=provider)
        self._send_request = send
        self.response = Response(0, no_response=NoResponse.NOT_SENT)
        self.secrets: tuple[str, ...] = ()
        self.is_read = self.has_id = False

    def request(self, method: str, url: str, **kwargs: Any) -> RawResponse:  # noqa: ANN401  # As in the base class.
        """Send one request for scim2-client."""
        params, body = kwargs.get("params"), kwargs.get("json")
        _, _, *vendor_ids = url.split("/")
        self.is_read, self.has_id = method == "GET", bool(vendor_ids)
        self.secrets = (*map(unquote, vendor_ids), *_texts(body))
        full_url = f"{url}?{urlencode(params, quote_via=quote)}" if params else url
        content = None if body is None else orjson.dumps(body)
        self.response = self._send_request(method, full_url, kwargs.get("headers", {}), content)
        if self.response.no_response is not None:
            raise NoResponseError
        return _Response(self.response)

    def _parse_json(self, response: RawResponse) -> Any:  # noqa: ANN401  # JSON enters here.
        # Unlike the standard library's parser, orjson rejects lone surrogates, which could not be sent back.
        return orjson.loads(response.text)


@attrs.frozen
class _Response:
    """A response in the form that scim2-client reads."""

    _response: Response

    @property
    def status_code(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    @property
    def text(self) -> str:
        return self._response.body.decode()


def _texts(content: Any) -> Iterator[str]:  # noqa: ANN401  # JSON.
    """Yield every text in *content* that does not belong to the protocol."""
    if isinstance(content, str):
        yield content
    elif is_nested(content):
        for name, value in content.items():
            if name not in _PROTOCOL_NAMES:
                yield from _texts(value)
    elif _is_array(content):
        for value in content:
            yield from _texts(value)


def _is_array(content: object) -> TypeGuard[list[Any]]:
    return isinstance(content, list)
