"""scim2-client over a function that sends, in place of an HTTP library of its own."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeGuard
from urllib.parse import quote, unquote, urlencode

import attrs
import orjson
from scim2_client import BaseSyncSCIMClient
from scim2_client.client import RawResponse
from scim2_models import ScimProvider

from replay_identity.adapters import NoResponse, Response, is_nested

# Sends one request, given its method, its address below the base URL, its headers and its body.
Send: TypeAlias = Callable[[str, str, Mapping[str, str], bytes | None], Response]

# What is the protocol's in a body, and tells nothing of anybody.
_PROTOCOL: Final = frozenset({"schemas", "op", "path", "type"})


class NoAnswerError(Exception):
    """End a call of scim2-client's whose request has no answer."""


class Engine(BaseSyncSCIMClient):
    """scim2-client for one call; it keeps what was sent and what was answered.

    Attributes:
        response: The answer, or why there is none.
        secrets: The texts that the request held.
        is_read: Whether the request was to change nothing.
        names_one: Whether the request named one resource by its id.
    """

    def __init__(self, provider: ScimProvider, send: Send) -> None:
        super().__init__(provider=provider)
        self._send_on = send
        self.response = Response(0, no_response=NoResponse.NOT_SENT)
        self.secrets: tuple[str, ...] = ()
        self.is_read = self.names_one = False

    def request(self, method: str, url: str, **kwargs: Any) -> RawResponse:  # noqa: ANN401  # As in the base class.
        """Send one request, as scim2-client asks of its engine."""
        params, body = kwargs.get("params"), kwargs.get("json")
        _, _, *vendor_ids = url.split("/")
        self.is_read, self.names_one = method == "GET", bool(vendor_ids)
        self.secrets = (*map(unquote, vendor_ids), *_texts(body))
        address = f"{url}?{urlencode(params, quote_via=quote)}" if params else url
        content = None if body is None else orjson.dumps(body)
        self.response = self._send_on(method, address, kwargs.get("headers", {}), content)
        if self.response.no_response is not None:
            raise NoAnswerError
        return _Response(self.response)

    def _parse_json(self, response: RawResponse) -> Any:  # noqa: ANN401  # JSON enters here.
        # Unlike the standard library's parser, orjson refuses lone surrogates, which no text of ours may hold.
        return orjson.loads(response.text)


@attrs.frozen
class _Response:
    """A reply, as scim2-client reads one."""

    _reply: Response

    @property
    def status_code(self) -> int:
        return self._reply.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._reply.headers

    @property
    def text(self) -> str:
        return self._reply.body.decode()


def _texts(content: Any) -> Iterator[str]:  # noqa: ANN401  # JSON.
    """Yield every text in *content*, but for the protocol's own."""
    if isinstance(content, str):
        yield content
    elif is_nested(content):
        for name, value in content.items():
            if name not in _PROTOCOL:
                yield from _texts(value)
    elif _is_array(content):
        for value in content:
            yield from _texts(value)


def _is_array(content: object) -> TypeGuard[list[Any]]:
    return isinstance(content, list)
