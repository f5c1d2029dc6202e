"""Listing users page by page (2026-11-21, https://developer.fullstory.com/server/users/list-users)."""

import base64
import hashlib
from collections.abc import Mapping, Sequence

import attrs
from starlette.datastructures import QueryParams

from ..rate_limit import Clock
from .refusal import invalid
from .users import FullstoryUser, Users

FILTERS = ("uid", "email", "display_name", "is_identified")
PARAMETERS = {*FILTERS, "page_token", "include_schema"}

# Policy: the documents do not say how long a token lives.
TOKEN_SECONDS = 3600.0

Filters = Mapping[str, str]


@attrs.frozen(kw_only=True)
class Page:
    """One page of users, the number of all that match, and the token of the next page."""

    users: Sequence[FullstoryUser]
    total: int
    next_token: str | None


@attrs.frozen
class _Place:
    filters: Filters = attrs.field(repr=False)
    after: int
    expires: float


@attrs.define(kw_only=True)
class Listing:
    """Pages through users; remembers its tokens."""

    users: Users
    page_size: int
    clock: Clock = attrs.field(repr=False)
    _places: dict[str, _Place] = attrs.field(init=False, factory=dict[str, _Place])

    def page(self, query: QueryParams) -> Page:
        """Return the page that *query* asks for, or refuse it."""
        # Policy: unknown parameters are refused, since made-up ones (limit, cursor) are a common mistake.
        unknown = query.keys() - PARAMETERS
        if unknown:
            raise invalid(f"Unknown parameter {min(unknown)}")

        filters = {name: query[name] for name in FILTERS if name in query}
        matching = self._matching(filters)
        after = self._after(query["page_token"], filters) if "page_token" in query else 0
        rest = [user for user in matching if int(user.id) > after]
        shown = rest[: self.page_size]
        more = len(rest) > len(shown)
        token = self._token(filters, int(shown[-1].id)) if more else None
        return Page(users=shown, total=len(matching), next_token=token)

    def clear(self) -> None:
        """Forget all tokens."""
        self._places.clear()

    def _matching(self, filters: Filters) -> Sequence[FullstoryUser]:
        # Policy: filters are exact, case-sensitive and combined by "and"; no match is an empty list.
        wanted = dict(filters)
        if "is_identified" in wanted:
            identified = read_bool(wanted.pop("is_identified"), "is_identified")
            candidates = [user for user in self.users.all().values() if (user.uid is not None) is identified]
        else:
            candidates = list(self.users.all().values())
        return [user for user in candidates if all(getattr(user, name) == text for name, text in wanted.items())]

    def _after(self, token: str, filters: Filters) -> int:
        place = self._places.get(token)
        # Policy: 400 for a token that is unknown, too old or of another filter; no status is documented.
        if place is None or place.filters != filters or self.clock() >= place.expires:
            raise invalid("The page_token is invalid")
        return place.after

    def _token(self, filters: Filters, after: int) -> str:
        digest = hashlib.sha256(repr((sorted(filters.items()), after)).encode()).digest()
        # The example token ends in "=", so it has to be percent-encoded; ours holds + and / as well.
        token = f"+/{base64.b64encode(digest[:10]).decode()}"
        self._places[token] = _Place(filters, after, self.clock() + TOKEN_SECONDS)
        return token


def read_bool(text: str, name: str) -> bool:
    """Return the boolean of a query parameter, or refuse it."""
    if text not in {"true", "false"}:
        raise invalid(f"{name} must be true or false")
    return text == "true"
