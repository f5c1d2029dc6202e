"""A vendor with scripted pages of stored users."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from replay_identity.adapters import Exchange, Page, Request, StoredUser
from replay_identity.outcomes import Failure

Result = Page | Failure


@attrs.define
class PagedVendor:
    """Returns pages by token: for each token the scripted results in turn, then the last one again.

    Attributes:
        results: Results by token.
        requested: Tokens requested so far.
    """

    results: Mapping[str | None, Sequence[Result]]
    requested: list[str | None] = attrs.field(factory=list[str | None])
    name: str = "acme"

    def get(self, user_id: str, /) -> Exchange[StoredUser | Failure | None]:
        """Raise: single users are not scripted."""
        raise NotImplementedError

    def pages(self, *, page_token: str | None = None) -> Iterator[Exchange[Result]]:
        """Yield the page of the token."""
        yield self._page(page_token)

    def _page(self, token: str | None) -> Exchange[Result]:
        yield Request("list", "GET", "http://127.0.0.1:1/")
        before = self.requested.count(token)
        self.requested.append(token)
        results = self.results[token]
        return results[min(before, len(results) - 1)]


def stored(number: int, **fields: Any) -> StoredUser:
    """Return stored user *number*."""
    known: dict[str, Any] = {"vendor_id": f"{2**60 + number}", "user_id": f"u{number}"}
    return StoredUser(backend="acme", **{**known, **fields})


def page(*users: StoredUser, next_token: str | None = None) -> Page:
    """Return a page of *users*."""
    return Page(users, next_token)
