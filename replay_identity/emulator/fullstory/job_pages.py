"""Reading the results of a batch import page by page."""

import base64
import hashlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

import attrs

from ..answer import JsonObject
from .batch_rules import LastPage
from .refusal import invalid

Kind: TypeAlias = Literal["imports", "errors"]

LAST: Mapping[LastPage, JsonObject] = {
    "null": {"next_page_token": None},
    "empty": {"next_page_token": ""},
    "absent": {},
}


@attrs.frozen(kw_only=True)
class JobPage:
    """Which of the results are on a page, and the fields beside them."""

    shown: slice
    fields: JsonObject = attrs.field(repr=False)


@attrs.define(kw_only=True)
class JobPages:
    """Pages through results; remembers its tokens."""

    page_size: int
    last_page: LastPage
    _starts: dict[tuple[str, Kind, str], int] = attrs.field(init=False, factory=dict[tuple[str, Kind, str], int])
    _turns: Iterator[JsonObject] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._turns = itertools.cycle(LAST.values())

    def page(self, job_id: str, kind: Kind, *, total: int, token: str | None) -> JobPage:
        """Return the page that *token* leads to, the first one without it, or refuse the token."""
        # Policy: 400 for a token of another job or of another list; no status is documented.
        start = 0 if token is None else self._starts.get((job_id, kind, token))
        if start is None:
            raise invalid("The page_token is invalid")

        end = start + self.page_size
        following = self._next(job_id, kind, end) if end < total else self._last()
        # Policy: the total is that of the list; for imports the schema says "records in this batch import".
        return JobPage(shown=slice(start, end), fields={"total_records": str(total), **following})

    def clear(self) -> None:
        """Forget all tokens."""
        self._starts.clear()

    def _next(self, job_id: str, kind: Kind, start: int) -> JsonObject:
        digest = hashlib.sha256(f"{job_id} {kind} {start}".encode()).digest()
        # As for lists: it has to be percent-encoded.
        token = f"+/{base64.b64encode(digest[:10]).decode()}"
        self._starts[job_id, kind, token] = start
        return {"next_page_token": token}

    def _last(self) -> JsonObject:
        return next(self._turns) if self.last_page == "vary" else LAST[self.last_page]
