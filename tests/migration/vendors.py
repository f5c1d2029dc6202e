"""A vendor that shows its users, and answers as a script says."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from replay_identity.adapters.exchange import Exchange, Request, Response
from replay_identity.adapters.protocols import Page, StoredUser
from replay_identity.outcomes import Failure

Answer = Page | Failure


@attrs.define
class ScriptedVendor:
    """Shows the pages by their tokens; each answers its list in turn, and the last of them from then on.

    Attributes:
        answers: What each token is answered with.
        asked: The tokens that were asked for.
    """

    answers: Mapping[str | None, Sequence[Answer]]
    asked: list[str | None] = attrs.field(factory=list[str | None])
    name: str = "acme"

    def get(self, user_id: str, /) -> Exchange[StoredUser | Failure | None]:
        """Show nobody."""
        raise NotImplementedError

    def pages(self, *, page_token: str | None = None) -> Iterator[Exchange[Answer]]:
        """Yield the page of the token."""
        yield self._page(page_token)

    def _page(self, token: str | None) -> Exchange[Answer]:
        yield Request("list", "GET", "http://127.0.0.1:1/")
        before = self.asked.count(token)
        self.asked.append(token)
        answers = self.answers[token]
        return answers[min(before, len(answers) - 1)]


@attrs.define
class Nobody:
    """A sender whose replies no scripted vendor looks at."""

    def send(self, request: Request, timeout: float) -> Response:
        """Answer anything."""
        assert request.url
        assert timeout
        return Response(200)

    def close(self) -> None:
        """Free nothing."""


@attrs.define
class Time:
    """A clock that only sleeping moves.

    Attributes:
        now: The moment.
        slept: How long each sleep was.
    """

    now: float = 0.0
    slept: list[float] = attrs.field(factory=list[float])

    def __call__(self) -> float:
        """Return the moment."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let so many *seconds* pass."""
        self.slept.append(seconds)
        self.now += seconds


def stored(number: int, **fields: Any) -> StoredUser:
    """Return the user of that *number* as a vendor holds them."""
    known: dict[str, Any] = {"vendor_id": f"{2**60 + number}", "user_id": f"u{number}"}
    return StoredUser(backend="acme", **{**known, **fields})


def page(*users: StoredUser, next_token: str | None = None) -> Page:
    """Return a page of *users*."""
    return Page(users, next_token)
