"""Scripted services without a network, and SCIM responses."""

from collections.abc import Callable
from typing import Any, TypeAlias

import httpx
from replay_identity_scim import FullstorySeats

from replay_identity import RetryPolicy

USER_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Group"
LIST_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:Error"
CONFIG_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
TOKEN = "canary-token"
ONCE = RetryPolicy(attempts=1)
# Too short to slow down a test.
THRICE = RetryPolicy(attempts=3, wait_initial=1e-9)

ScriptedResponse: TypeAlias = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


def scripted_seats(
    *responses: ScriptedResponse, retry: RetryPolicy = ONCE, requested: list[str] | None = None
) -> FullstorySeats:
    """Return seats whose service sends *responses* in turn, repeats the last one, and records what is *requested*."""
    remaining = list(responses)

    def respond(request: httpx.Request) -> httpx.Response:
        if requested is not None:
            requested.append(f"{request.method} {request.url.path}")
        response = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        if isinstance(response, Exception):
            raise response
        if isinstance(response, httpx.Response):
            return httpx.Response(response.status_code, headers=response.headers, content=response.content)
        return response(request)

    client = httpx.Client(transport=httpx.MockTransport(respond))
    return FullstorySeats(TOKEN, base_url="https://scim.example/scim/v2", transport=client, retry=retry)


def scim(status: int, content: object) -> httpx.Response:
    """Return a SCIM response."""
    return httpx.Response(status, json=content, headers={"content-type": "application/scim+json"})


def error(status: int, detail: str = "no", **rest: Any) -> httpx.Response:
    """Return a SCIM error."""
    return scim(status, {"schemas": [ERROR_SCHEMA], "status": str(status), "detail": detail, **rest})


def user(user_name: str = "canary-name", vendor_id: str = "canary-id", **rest: Any) -> dict[str, Any]:
    """Return a user as a service shows them."""
    return {"schemas": [USER_SCHEMA], "id": vendor_id, "userName": user_name, "active": True, **rest}


def page(*users: dict[str, Any], total: int) -> httpx.Response:
    """Return one page of *total* users."""
    return scim(200, {"schemas": [LIST_SCHEMA], "totalResults": total, "Resources": [*users]})
