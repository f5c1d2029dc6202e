"""Services that answer what a test tells them to, without a network; and answers as SCIM services give them."""

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
# So short that no test waits.
THRICE = RetryPolicy(attempts=3, wait_initial=1e-9)

Answer: TypeAlias = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


def seats_answered(*answers: Answer, retry: RetryPolicy = ONCE, asked: list[str] | None = None) -> FullstorySeats:
    """Return seats whose service gives those *answers* in turn, the last one for ever, and notes what it is *asked*."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(f"{request.method} {request.url.path}")
        given = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(given, Exception):
            raise given
        if isinstance(given, httpx.Response):
            return httpx.Response(given.status_code, headers=given.headers, content=given.content)
        return given(request)

    client = httpx.Client(transport=httpx.MockTransport(answer))
    return FullstorySeats(TOKEN, base_url="https://scim.example/scim/v2", transport=client, retry=retry)


def scim(status: int, content: object) -> httpx.Response:
    """Return an answer as a SCIM service gives it."""
    return httpx.Response(status, json=content, headers={"content-type": "application/scim+json"})


def error(status: int, detail: str = "no", **rest: Any) -> httpx.Response:
    """Return a SCIM service's own error."""
    return scim(status, {"schemas": [ERROR_SCHEMA], "status": str(status), "detail": detail, **rest})


def user(user_name: str = "canary-name", vendor_id: str = "canary-id", **rest: Any) -> dict[str, Any]:
    """Return a user as a service shows one."""
    return {"schemas": [USER_SCHEMA], "id": vendor_id, "userName": user_name, "active": True, **rest}


def page(*users: dict[str, Any], total: int) -> httpx.Response:
    """Return a page of users, of so many in *total*."""
    return scim(200, {"schemas": [LIST_SCHEMA], "totalResults": total, "Resources": [*users]})
