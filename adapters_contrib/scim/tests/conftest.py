"""A real SCIM service on loopback: the scim2-server package and the standard library's HTTP server."""

import threading
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import attrs
import pytest
from replay_identity_scim import FullstorySeats
from scim2_models import ScimProvider, ServiceProviderConfig
from scim2_server.memory import InMemoryStorage
from scim2_server.testserver.application import BearerTokenApplication
from scim2_server.utils import load_default_provider, load_default_resource_types, load_default_schemas

TOKEN = "scim-token-of-the-tests"


@attrs.define
class Service:
    """A running service, its storage, and the requests it received."""

    url: str
    storage: InMemoryStorage
    requests: list[str] = attrs.field(factory=list[str])

    def seats(self, token: str = TOKEN) -> FullstorySeats:
        """Return a client of the service."""
        return FullstorySeats(token, base_url=self.url)


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # The base class's name.
        """Log nothing."""


def _provider(config: ServiceProviderConfig | None) -> ScimProvider:
    if config is None:
        return load_default_provider()
    schemas, kinds = load_default_schemas().values(), load_default_resource_types().values()
    return ScimProvider.from_discovery(schemas, kinds, config=config)


@pytest.fixture
def start_service() -> Iterator[Callable[..., Service]]:
    """Return a function that starts a service, optionally with a description of itself."""
    stops: list[Callable[[], None]] = []

    def start(config: ServiceProviderConfig | None = None) -> Service:
        storage = InMemoryStorage()
        application = BearerTokenApplication(storage, _provider(config), bearer_tokens=[TOKEN])
        service = Service("", storage)

        def recorded(environ: Any, start_response: Any) -> Any:
            service.requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
            return application(environ, start_response)

        server: WSGIServer = make_server("127.0.0.1", 0, recorded, handler_class=_QuietHandler)
        service.url = f"http://127.0.0.1:{server.server_port}/v2"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        stops.extend([thread.join, server.server_close, server.shutdown])
        return service

    yield start
    for stop in reversed(stops):
        stop()


@pytest.fixture
def service(start_service: Callable[..., Service]) -> Service:
    """Return a running service without users."""
    return start_service()


@pytest.fixture
def seats(service: Service) -> Iterator[FullstorySeats]:
    """Return a client of the service."""
    with service.seats() as seats:
        yield seats
