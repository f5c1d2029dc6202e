"""The users of one Fullstory organisation."""

import functools
from collections.abc import Mapping
from typing import Final

import attrs

from ..http import JsonObject, JsonValue
from ..journal import WriteLog
from ..rate_limit import Clock
from .errors import invalid, user_not_found
from .properties import Oversized, UserFields, check_property_count, merge, read_user

# Ids are strings of digits above 2**53: neighbours become one number when read as a double.
FIRST_ID: Final = 7449164135934483470


@attrs.frozen(kw_only=True)
class FullstoryUser:
    """A snapshot of a user.

    Attributes:
        id: Fullstory's id.
        uid: Your own id of the user.
        display_name: The display name.
        email: The e-mail address.
        properties: The properties.
        types: All types that each property had, oldest first, by dotted path.
        created: When it was created, in seconds since the epoch.
        gone_at: When its deletion will be complete, or None.
    """

    id: str
    uid: str | None = attrs.field(default=None, repr=False)
    display_name: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)
    properties: Mapping[str, JsonValue] = attrs.field(factory=dict[str, JsonValue], repr=False)
    types: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict[str, tuple[str, ...]])
    created: float = 0.0
    gone_at: float | None = None

    @property
    def schema(self) -> Mapping[str, str]:
        """The first type of each property, by dotted path."""
        return {path: types[0] for path, types in self.types.items()}

    @property
    def type_conflicts(self) -> Mapping[str, tuple[str, ...]]:
        """The types of each property that had more than one, by dotted path."""
        return {path: types for path, types in self.types.items() if len(types) > 1}

    @property
    def is_being_deleted(self) -> bool:
        """Whether the deletion of the user was requested."""
        return self.gone_at is not None

    def updated(self, fields: UserFields) -> "FullstoryUser":
        """Return the user with *fields* merged into it.

        Raises:
            FullstoryHttpError: The user would have too many properties (400).
        """
        properties: Mapping[str, JsonValue] = fields.properties.tree
        if self.properties:
            properties = merge(self.properties, properties)
            check_property_count(properties)
        # attrs.evolve would double the time of an update.
        return FullstoryUser(
            id=self.id,
            uid=fields.uid or self.uid,
            display_name=self.display_name if fields.display_name is None else fields.display_name,
            email=self.email if fields.email is None else fields.email,
            properties=properties,
            types=_add_types(self.types, fields.properties.types),
            created=self.created,
            gone_at=self.gone_at,
        )


@attrs.define(kw_only=True)
class FullstoryUsers:
    """The users of one organisation, by Fullstory id and by uid."""

    clock: Clock = attrs.field(repr=False)
    deletion_seconds: float
    _by_id: dict[str, FullstoryUser] = attrs.field(init=False, factory=dict[str, FullstoryUser])
    _id_by_uid: dict[str, str] = attrs.field(init=False, factory=dict[str, str])
    _merged_into: dict[str, str] = attrs.field(init=False, factory=dict[str, str])
    _created: int = attrs.field(init=False, default=0)

    def all(self) -> dict[str, FullstoryUser]:
        """Return all users that are not fully deleted, oldest first."""
        return {user.id: user for user in list(self._by_id.values()) if self._exists(user)}

    def by_uid(self, uid: str) -> FullstoryUser | None:
        """Return the user with this uid, or None if there is none or it is being deleted."""
        user_id = self._id_by_uid.get(uid)
        return None if user_id is None else self._by_id.get(user_id)

    def get(self, user_id: str) -> FullstoryUser:
        """Return the user with this Fullstory id.

        Raises:
            FullstoryHttpError: There is no such user (404).
        """
        user = self.find(user_id)
        if user is None:
            raise user_not_found()
        return user

    def find(self, user_id: str) -> FullstoryUser | None:
        """Return the user with this Fullstory id, or None if there is none or it is fully deleted."""
        user = self._by_id.get(self._merged_into.get(user_id, user_id))
        return user if user is not None and self._exists(user) else None

    def upsert(self, fields: UserFields) -> FullstoryUser:
        """Update or create the user with this uid; without a uid, create an anonymous user."""
        existing = None if fields.uid is None else self.by_uid(fields.uid)
        user = existing or FullstoryUser(id=str(FIRST_ID + self._created), created=self.clock())
        updated = self._store(user.updated(fields))
        self._created += existing is None
        return updated

    def update(self, user_id: str, fields: UserFields) -> FullstoryUser:
        """Update the user with this Fullstory id; *fields* may identify an anonymous user.

        Raises:
            FullstoryHttpError: There is no such user, or the fields are invalid.
        """
        user = self._get_live(user_id)
        if user.uid is None and fields.uid is not None:
            return self._identify(user, fields.uid, fields)

        if fields.uid not in {None, user.uid}:
            # Policy: 400; the documents say "an error". Vendors quote the values that they reject.
            raise invalid(f"uid is immutable and can not become {fields.uid}", code="invalid_parameter")
        return self._store(user.updated(fields))

    def delete(self, user_id: str) -> None:
        """Start the deletion of the user with this Fullstory id.

        Raises:
            FullstoryHttpError: There is no such user (404).
        """
        user = self._get_live(user_id)
        self._by_id[user.id] = attrs.evolve(user, gone_at=self.clock() + self.deletion_seconds)
        if user.uid is not None:
            del self._id_by_uid[user.uid]

    def clear(self) -> None:
        """Delete all users, and start ids from the beginning."""
        for index in (self._by_id, self._id_by_uid, self._merged_into):
            index.clear()
        self._created = 0

    def _identify(self, user: FullstoryUser, uid: str, fields: UserFields) -> FullstoryUser:
        existing = self.by_uid(uid)
        if existing is None:
            return self._store(user.updated(fields))

        # Two users with one uid "become one logical user", and both ids keep working (2026-11-21,
        # https://developer.fullstory.com/server/getting-started/). Policy: at once, under the id of the
        # identified user, whose values win over those of the anonymous one.
        merged = attrs.evolve(
            existing,
            display_name=user.display_name if existing.display_name is None else existing.display_name,
            email=user.email if existing.email is None else existing.email,
            properties=merge(user.properties, existing.properties),
            types=_merge_types(existing.types, user.types),
        )
        updated = self._store(merged.updated(fields))
        self._redirect(user.id, existing.id)
        return updated

    def _redirect(self, old: str, new: str) -> None:
        del self._by_id[old]
        self._merged_into[old] = new

    def _store(self, user: FullstoryUser) -> FullstoryUser:
        self._by_id[user.id] = user
        if user.uid is not None:
            self._id_by_uid[user.uid] = user.id
        return user

    def _get_live(self, user_id: str) -> FullstoryUser:
        user = self.get(user_id)
        # Policy: a user that is being deleted can be read but not written.
        if user.is_being_deleted:
            raise user_not_found()
        return user

    def _exists(self, user: FullstoryUser) -> bool:
        return user.gone_at is None or self.clock() < user.gone_at


def _add_types(types: Mapping[str, tuple[str, ...]], new: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
    if not types:
        return _initial_types(tuple(new.items()))

    unseen = {path: (name,) for path, name in new.items() if name not in types.get(path, ())}
    return _merge_types(types, unseen) if unseen else types


@functools.lru_cache(maxsize=1000)
def _initial_types(types: tuple[tuple[str, str], ...]) -> Mapping[str, tuple[str, ...]]:
    # A million users may have the same properties, so they share one mapping.
    return {path: (name,) for path, name in types}


def _merge_types(
    types: Mapping[str, tuple[str, ...]], new: Mapping[str, tuple[str, ...]]
) -> Mapping[str, tuple[str, ...]]:
    # Policy: types are stored per user, and a number without a declared type is real every time, so declaring
    # int only once is a conflict.
    merged = dict(types)
    for path, names in new.items():
        merged[path] = tuple(dict.fromkeys((*types.get(path, ()), *names)))
    return merged


@attrs.frozen(kw_only=True)
class UserWriter:
    """Reads users from JSON, stores them and records the writes."""

    users: FullstoryUsers
    applied: WriteLog
    oversized: Oversized

    def upsert(self, payload: JsonObject) -> FullstoryUser:
        """Upsert the user with the uid in *payload*, or create an anonymous user."""
        return self._record(self.users.upsert(read_user(payload, oversized=self.oversized)), payload)

    def update(self, user_id: str, payload: JsonObject) -> FullstoryUser:
        """Update the user with this Fullstory id."""
        return self._record(self.users.update(user_id, read_user(payload, oversized=self.oversized)), payload)

    def write_item(self, item: JsonObject) -> str:
        """Apply an item of a batch: update by Fullstory id if it has one, else upsert. Return the Fullstory id."""
        if "id" not in item:
            return self.upsert(item).id

        user_id = item["id"]
        # Policy: an invalid id is rejected; the documents only say that an item may have one.
        if not isinstance(user_id, str) or not user_id:
            raise invalid("id must be a Fullstory id", code="invalid_parameter")
        payload = {name: value for name, value in item.items() if name != "id"}
        return self.update(user_id, payload).id

    def _record(self, user: FullstoryUser, payload: JsonObject) -> FullstoryUser:
        self.applied.record(user.uid or user.id, payload)
        return user
