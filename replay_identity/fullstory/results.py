"""What became of each member of a batch: Fullstory's result rows matched to the users that were sent.

No row says which item it answers, so it is matched by uid, by Fullstory id and, for users who have neither, by content.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final, cast

import attrs
import orjson

from ..backend import Member
from ..outcome import Accepted, Outcome, Rejected, Unknown
from .replies import REFUSED, read_row_refusal

# Policy "vendor-trouble-in-a-row": codes that say nothing against the user.
_TROUBLE: Final = frozenset({"server_error", "too_many_requests"})
_TROUBLED: Final = "the vendor had trouble of its own with this user"
_UNSHOWN: Final = "the results of the job do not show this user"
# Traits nest no deeper than 32; what does is no content of ours.
_MOST_NESTED: Final = 40


@attrs.define(repr=False)
class Results:
    """Settle the members of one batch, row by row: first the rows of `/imports`, then those of `/errors`.

    Attributes:
        backend: Name of the backend.
        members: The users of the batch.
        secrets: What no message may show, beside what was sent.
    """

    backend: str
    members: Sequence[Member]
    secrets: Sequence[str]
    _outcomes: list[Outcome | None] = attrs.field(init=False)
    _by_uid: dict[str, list[int]] = attrs.field(init=False)
    _by_id: dict[str, list[int]] = attrs.field(init=False)
    _by_content: dict[Hashable, "_Alike"] = attrs.field(init=False)
    # Fullstory ids of imported users whom no member's own id names.
    _new_ids: set[str] = attrs.field(init=False, factory=set[str])
    _stray_imports: int = attrs.field(init=False, default=0)
    _stray_refusals: Counter[Rejected] = attrs.field(init=False, factory=Counter[Rejected])
    _stray_trouble: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._outcomes = [None] * len(self.members)
        self._by_uid = self._places(lambda member: member.user_id)
        self._by_id = self._places(lambda member: member.vendor_id)
        by_content = self._places(_own_content)
        self._by_content = {key: _Alike(waiting) for key, waiting in by_content.items()}

    def take_import(self, row: Mapping[str, Any]) -> None:
        """Settle the members whom *row* says are imported."""
        vendor_id = _text(row, "id")
        places = self._named_by(row)
        if not places:
            if vendor_id in self._new_ids:
                return  # The same row has been on another page.
            if vendor_id is not None:
                self._new_ids.add(vendor_id)
            alike = self._alike(row)
            places = alike.take_imported() if alike else []
        self._stray_imports += not places
        for place in places:
            self._outcomes[place] = Accepted(self.backend, vendor_id)

    def take_error(self, row: Mapping[str, Any]) -> None:
        """Settle the members whom *row* says are refused, even those who are imported as well.

        Where the vendor had trouble of its own, nobody knows how far it got with them.
        """
        user = row.get("user")
        item = cast("dict[str, Any]", user) if isinstance(user, dict) else {}
        places = self._named_by(item)
        if not places:
            alike = self._alike(item)
            places = alike.take_refused() if alike else []
        if row.get("code") in _TROUBLE:
            self._stray_trouble += not places
            for place in places:
                self._outcomes[place] = _unknown(self.backend, self.members[place], _TROUBLED)
            return
        refusal = self._refusal(row, item, places)
        self._stray_refusals[refusal] += not places
        for place in places:
            # A user may be taken and one of the properties refused, and that has to be on record.
            self._outcomes[place] = refusal

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return what became of each member, in their order."""
        eliminated = self._by_elimination()
        found = zip(self._outcomes, self.members, strict=True)
        return tuple(outcome or eliminated or _unknown(self.backend, member, _UNSHOWN) for outcome, member in found)

    def _by_elimination(self) -> Outcome | None:
        """Return what became of the members whom no row names, if the rows that name no member leave one reading."""
        unsettled, refused = self._outcomes.count(None), self._stray_refusals.total()
        if self._stray_trouble:
            return None
        if self._stray_imports == unsettled and not refused:
            # Without the row's id: it might be that of another user, whom a later update would then overwrite.
            return Accepted(self.backend)
        if refused == unsettled and not self._stray_imports:
            refusals = set(+self._stray_refusals)
            return refusals.pop() if len(refusals) == 1 else Rejected(self.backend, code=REFUSED)
        return None

    def _places(self, name: Callable[[Member], Any]) -> dict[Any, list[int]]:
        """Return the places of the members by what *name* says of them, without those of whom it says None."""
        places: dict[Any, list[int]] = {}
        for place, member in enumerate(self.members):
            key = name(member)
            if key is not None:
                places.setdefault(key, []).append(place)
        return places

    def _named_by(self, user: Mapping[str, Any]) -> list[int]:
        """Return the places of the members whom *user* names by an id."""
        uid, vendor_id = _text(user, "uid"), _text(user, "id")
        by_uid = self._by_uid.get(uid, []) if uid else []
        by_id = self._by_id.get(vendor_id, []) if vendor_id else []
        # One uid that differs from another is another user, whatever the id.
        return by_uid + [place for place in by_id if uid is None or self.members[place].user_id is None]

    def _alike(self, user: Mapping[str, Any]) -> "_Alike | None":
        if not self._by_content or _text(user, "uid"):
            return None
        return self._by_content.get(_content(user))

    def _refusal(self, row: Mapping[str, Any], item: dict[str, Any], places: list[int]) -> Rejected:
        members = [self.members[place] for place in places]
        ids = [each for member in members for each in (member.user_id, member.vendor_id) if each]
        sent = [orjson.loads(member.content) for member in members if member.content]
        return read_row_refusal(self.backend, row, [item, *sent], *self.secrets, *ids)


@attrs.define
class _Alike:
    """The places of anonymous users of the same content, for whom it makes no difference which a row is about."""

    waiting: list[int]
    imported: list[int] = attrs.field(factory=list[int])

    def take_imported(self) -> list[int]:
        taken = [self.waiting.pop()] if self.waiting else []
        self.imported += taken
        return taken

    def take_refused(self) -> list[int]:
        left = self.waiting or self.imported
        return [left.pop()] if left else []


def _unknown(backend: str, member: Member, cause: str) -> Unknown:
    # There is nothing to upsert an anonymous user by: sent again, they could become two.
    return Unknown(backend, cause, retryable=not _is_anonymous(member))


def _is_anonymous(member: Member) -> bool:
    return member.user_id is None and member.vendor_id is None


def _own_content(member: Member) -> Hashable | None:
    return _content(orjson.loads(member.content)) if _is_anonymous(member) and member.content else None


def _content(user: Mapping[str, Any]) -> Hashable:
    """Return what tells users without an id apart; what is absent, null or empty is the same."""
    return _text(user, "display_name"), _text(user, "email"), _frozen(user.get("properties") or {})


def _frozen(value: Any, depth: int = 0) -> Hashable:  # noqa: ANN401  # JSON.
    """Return a hashable stand-in for *value* in which 2 and 2.0 are equal, as in JSON, but 1 and true are not."""
    if depth > _MOST_NESTED:
        return object()
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return frozenset((name, _frozen(item, depth + 1)) for name, item in items if item is not None)
    if isinstance(value, list):
        return tuple(_frozen(item, depth + 1) for item in cast("list[object]", value))
    return (bool, value) if isinstance(value, bool) else cast("Hashable", value)


def _text(user: Mapping[str, Any], name: str) -> str | None:
    text = user.get(name)
    return text if isinstance(text, str) and text else None
