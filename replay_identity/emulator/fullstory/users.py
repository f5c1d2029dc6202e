"""The users of one Fullstory organisation."""

import functools
from collections.abc import Mapping

import attrs

from ..http import JsonObject, JsonValue
from ..journal import WriteLog
from ..rate_limit import Clock
from .errors import invalid, user_not_found
from .properties import Oversized, UserFields, merge, read_user, require_room

# Ids are strings of digits above 2**53: neighbours become one number when read as a double.
FIRST_ID = 7449164135934483470


@attrs.frozen(kw_only=True)
class FullstoryUser:
    """A user as stored."""

    id: str
    uid: str | None = attrs.field(default=None, repr=False)
    display_name: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)
    properties: Mapping[str, JsonValue] = attrs.field(factory=dict[str, JsonValue], repr=False)
    types: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict[str, tuple[str, ...]])
    """Every type that each property was seen with, oldest first, by dotted path."""
    gone_at: float | None = None
    """When its deletion will be done."""

    @property
    def schema(self) -> Mapping[str, str]:
        """The type of each property by dotted path: the first it was seen with."""
        return {path: types[0] for path, types in self.types.items()}

    @property
    def type_conflicts(self) -> Mapping[str, tuple[str, ...]]:
        """The types of each property that was seen with more than one."""
        return {path: types for path, types in self.types.items() if len(types) > 1}

    @property
    def is_being_deleted(self) -> bool:
        """Whether it is in the process of being removed."""
        return self.gone_at is not None

    def updated(self, fields: UserFields) -> "FullstoryUser":
        """Return the user with *fields* over it, or refuse them."""
        properties: Mapping[str, JsonValue] = fields.properties.tree
        if self.properties:
            properties = merge(self.properties, properties)
            require_room(properties)
        # attrs.evolve would take as long as all the rest.
        return FullstoryUser(
            id=self.id,
            uid=fields.uid or self.uid,
            display_name=self.display_name if fields.display_name is None else fields.display_name,
            email=self.email if fields.email is None else fields.email,
            properties=properties,
            types=_seen(self.types, fields.properties.types),
            gone_at=self.gone_at,
        )


@attrs.define(kw_only=True)
class FullstoryUsers:
    """Users by Fullstory id and by uid."""

    clock: Clock = attrs.field(repr=False)
    deletion_seconds: float
    _by_id: dict[str, FullstoryUser] = attrs.field(init=False, factory=dict[str, FullstoryUser])
    _ids: dict[str, str] = attrs.field(init=False, factory=dict[str, str])
    _joined: dict[str, str] = attrs.field(init=False, factory=dict[str, str])
    _created: int = attrs.field(init=False, default=0)

    def all(self) -> dict[str, FullstoryUser]:
        """Return every user that is not quite gone, oldest first."""
        return {user.id: user for user in list(self._by_id.values()) if self._exists(user)}

    def by_uid(self, uid: str) -> FullstoryUser | None:
        """Return the user with that uid, unless it is being deleted."""
        user_id = self._ids.get(uid)
        return None if user_id is None else self._by_id.get(user_id)

    def get(self, user_id: str) -> FullstoryUser:
        """Return the user with that Fullstory id, or refuse with 404."""
        user = self.find(user_id)
        if user is None:
            raise user_not_found()
        return user

    def find(self, user_id: str) -> FullstoryUser | None:
        """Return the user with that Fullstory id, unless it is gone."""
        user = self._by_id.get(self._joined.get(user_id, user_id))
        return user if user is not None and self._exists(user) else None

    def upsert(self, fields: UserFields) -> FullstoryUser:
        """Update the user with that uid, or make one; without a uid, make an anonymous one."""
        known = None if fields.uid is None else self.by_uid(fields.uid)
        user = known or FullstoryUser(id=str(FIRST_ID + self._created))
        updated = self._store(user.updated(fields))
        self._created += known is None
        return updated

    def update(self, user_id: str, fields: UserFields) -> FullstoryUser:
        """Update the user with that Fullstory id; an anonymous one may be identified."""
        user = self._living(user_id)
        if user.uid is None and fields.uid is not None:
            return self._identify(user, fields.uid, fields)

        if fields.uid not in {None, user.uid}:
            # Policy: 400; the documents say "an error". Vendors quote what they refuse.
            raise invalid(f"uid is immutable and can not become {fields.uid}", code="invalid_parameter")
        return self._store(user.updated(fields))

    def delete(self, user_id: str) -> None:
        """Start to remove the user with that Fullstory id."""
        user = self._living(user_id)
        self._by_id[user.id] = attrs.evolve(user, gone_at=self.clock() + self.deletion_seconds)
        if user.uid is not None:
            del self._ids[user.uid]

    def clear(self) -> None:
        """Forget all users; ids start anew."""
        for known in (self._by_id, self._ids, self._joined):
            known.clear()
        self._created = 0

    def _identify(self, user: FullstoryUser, uid: str, fields: UserFields) -> FullstoryUser:
        known = self.by_uid(uid)
        if known is None:
            return self._store(user.updated(fields))

        # Two users with one uid "become one logical user", and both ids keep working (2026-11-21,
        # https://developer.fullstory.com/server/getting-started/). Policy: at once, under the id of the
        # identified one, and what that one had wins over what the anonymous one had.
        joined = attrs.evolve(
            known,
            display_name=user.display_name if known.display_name is None else known.display_name,
            email=user.email if known.email is None else known.email,
            properties=merge(user.properties, known.properties),
            types=_all_seen(known.types, user.types),
        )
        updated = self._store(joined.updated(fields))
        self._join(user.id, known.id)
        return updated

    def _join(self, old: str, new: str) -> None:
        del self._by_id[old]
        self._joined[old] = new

    def _store(self, user: FullstoryUser) -> FullstoryUser:
        self._by_id[user.id] = user
        if user.uid is not None:
            self._ids[user.uid] = user.id
        return user

    def _living(self, user_id: str) -> FullstoryUser:
        user = self.get(user_id)
        # Policy: a user that is being deleted can be read, but is unknown to every write.
        if user.is_being_deleted:
            raise user_not_found()
        return user

    def _exists(self, user: FullstoryUser) -> bool:
        return user.gone_at is None or self.clock() < user.gone_at


def _seen(types: Mapping[str, tuple[str, ...]], new: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
    if not types:
        return _once(tuple(new.items()))

    unseen = {path: (name,) for path, name in new.items() if name not in types.get(path, ())}
    return _all_seen(types, unseen) if unseen else types


@functools.lru_cache(maxsize=1000)
def _once(types: tuple[tuple[str, str], ...]) -> Mapping[str, tuple[str, ...]]:
    # Users of one shape share one mapping: there may be a million of them.
    return {path: (name,) for path, name in types}


def _all_seen(
    types: Mapping[str, tuple[str, ...]], new: Mapping[str, tuple[str, ...]]
) -> Mapping[str, tuple[str, ...]]:
    # Policy: a type is remembered per user, and a number without a declared type is real each time, so that
    # declaring int once and not again is a conflict.
    merged = dict(types)
    for path, names in new.items():
        merged[path] = tuple(dict.fromkeys((*types.get(path, ()), *names)))
    return merged


@attrs.frozen(kw_only=True)
class UserWriter:
    """Reads, stores and counts."""

    users: FullstoryUsers
    applied: WriteLog
    oversized: Oversized

    def upsert(self, said: JsonObject) -> FullstoryUser:
        """Upsert by uid, or create an anonymous user, or refuse."""
        return self._noted(self.users.upsert(read_user(said, oversized=self.oversized)), said)

    def update(self, user_id: str, said: JsonObject) -> FullstoryUser:
        """Update the user with that Fullstory id, or refuse."""
        return self._noted(self.users.update(user_id, read_user(said, oversized=self.oversized)), said)

    def write_item(self, item: JsonObject) -> str:
        """Update the user with the item's Fullstory id, or upsert where it has none, or refuse; return the id."""
        if "id" not in item:
            return self.upsert(item).id

        user_id = item["id"]
        # Policy: an id that is no Fullstory id is refused; the documents say no more than that there may be one.
        if not isinstance(user_id, str) or not user_id:
            raise invalid("id must be a Fullstory id", code="invalid_parameter")
        said = {name: value for name, value in item.items() if name != "id"}
        return self.update(user_id, said).id

    def _noted(self, user: FullstoryUser, said: JsonObject) -> FullstoryUser:
        self.applied.record(user.uid or user.id, said)
        return user
