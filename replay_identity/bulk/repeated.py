"""Find the users who have several rows in a source, and merge those rows before anything is sent."""

from array import array
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias

import attrs

from ..ledger.merging import drop_fields, field_names, merge_users, removals_to_keep
from ..sources import BadRow, FrameLike, Row, RowLike, Rows
from ..sources.python_rows import rows_of
from ..traits import UserTraits

# What may describe users: the users, or rows of any kind.
Users: TypeAlias = Iterable[UserTraits | Row | BadRow | RowLike | FrameLike] | FrameLike

# Users whose rows are held in memory, of about 2 KB each. With a ledger they are held on disk.
MAX_HELD: Final = 20_000

# Each bucket is counted alone, so that only its part of the ids is ever in memory as Python objects.
_BUCKETS: Final = 256
_MASK: Final = _BUCKETS - 1
_START_OF_TIME: Final = datetime.min.replace(tzinfo=UTC)


def id_of(user: UserTraits) -> Hashable:
    """Return what tells *user* from all others in a source, or None for an anonymous user."""
    if user.user_id is not None:
        return user.user_id
    return tuple(sorted(user.vendor_ids.items())) or None


def as_rows(users: Users) -> Rows[Row | BadRow]:
    """Return *users* as rows, with the ids in a frame or a collection, which can be read twice."""
    if isinstance(users, Rows):
        return Rows(rows_of(users.rows).rows, users.read_ids, users.notes)
    return rows_of(users, id_of=id_of)


def _new_buckets() -> "list[array[int]]":
    return [array("q") for _ in range(_BUCKETS)]


@attrs.frozen
class IdCounts:
    """Counts how often each id occurs, in 8 bytes for each id that is added.

    Two ids of the same hash count as one. Then a user is held until the last row of both, which does no harm.
    """

    _buckets: "list[array[int]]" = attrs.field(factory=_new_buckets, init=False, repr=False)

    def add(self, ids: Iterable[Hashable]) -> int:
        """Add *ids* and return their number."""
        append = [bucket.append for bucket in self._buckets]
        count = 0
        for count, value in enumerate(map(hash, ids), 1):  # noqa: B007  # The number of ids.
            append[value & _MASK](value)
        return count

    def repeated(self) -> "RepeatedUsers | None":
        """Return the users whose ids occur more than once, or None if there are none. The counts are consumed."""
        buckets: list[_Bucket] = []
        while self._buckets:
            counts = Counter(self._buckets.pop())
            hashes = sorted(value for value, count in counts.items() if count > 1)
            buckets.append(_Bucket(array("q", hashes), array("L", (counts[value] for value in hashes))))
        buckets.reverse()
        return RepeatedUsers(buckets) if any(bucket.hashes for bucket in buckets) else None


@attrs.frozen
class _Bucket:
    """The sorted hashes of ids, and for each the number of rows that are still to come."""

    hashes: "array[int]" = attrs.field(repr=False)
    remaining: "array[int]" = attrs.field(repr=False)


@attrs.frozen
class RepeatedUsers:
    """Users who have several rows in a source, in 16 bytes each."""

    _buckets: Sequence[_Bucket] = attrs.field(repr=False)

    def more_follow(self, user: UserTraits) -> bool:
        """Count one row about *user*; return True if more rows about the same user are to come."""
        value = hash(id_of(user))
        bucket = self._buckets[value & _MASK]
        index = bisect_left(bucket.hashes, value)
        if index == len(bucket.hashes) or bucket.hashes[index] != value or not bucket.remaining[index]:
            return False
        bucket.remaining[index] -= 1
        return bucket.remaining[index] > 0


@attrs.define
class MergedUser:
    """A user merged from several rows or updates; what was observed later wins, field by field.

    Attributes:
        user: The merged user.
        removed: Dotted paths of traits that were removed and that a merge would forget; see `removals_to_keep`.
    """

    user: UserTraits = attrs.field(repr=False)
    removed: tuple[str, ...] = attrs.field(default=(), init=False, repr=False)
    # When each field was observed; a field without a time is replaced by any update.
    _moments: dict[str, datetime] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._moments = {}
        self._record(self.user)

    def merge(self, newer: UserTraits) -> None:
        """Merge the next row or update, *newer*."""
        moment, known = newer.observed_at, self._moments
        if moment is not None and known:
            later = {name for name in field_names(newer) if known.get(name, _START_OF_TIME) > moment}
            newer = drop_fields(newer, later)
        self._record(newer)
        self.removed = (*self.removed, *removals_to_keep(self.user.traits, newer.traits))
        self.user = merge_users(self.user, newer)

    def _record(self, user: UserTraits) -> None:
        if user.observed_at is not None:
            self._moments.update(dict.fromkeys(field_names(user), user.observed_at))
        elif self._moments:
            for name in field_names(user):
                self._moments.pop(name, None)


@attrs.define
class RowMerger:
    """Merges the rows of repeated users in memory, for runs without a ledger.

    Attributes:
        repeated: The repeated users.
        max_held: The most users to hold. Beyond that, the one held for the longest time is let go.
        coalesced: Number of rows that were merged into earlier ones.
    """

    repeated: RepeatedUsers
    max_held: int = MAX_HELD
    coalesced: int = attrs.field(default=0, init=False)
    _held: OrderedDict[Hashable, MergedUser] = attrs.field(
        factory=OrderedDict[Hashable, MergedUser], init=False, repr=False
    )

    def merge(self, users: Iterable[UserTraits]) -> Iterator[UserTraits]:
        """Yield each user once the last of their rows has been read."""
        for user in users:
            user_id = id_of(user)
            if user_id is None:
                yield user
            elif self.repeated.more_follow(user):
                self._hold(user_id, user)
                if len(self._held) > self.max_held:
                    yield self._held.popitem(last=False)[1].user
            else:
                yield self._merge_held(user_id, user)

    def release(self) -> list[UserTraits]:
        """Return all users who are held, and hold them no longer."""
        users = [held.user for held in self._held.values()]
        self._held.clear()
        return users

    def _hold(self, user_id: Hashable, user: UserTraits) -> None:
        held = self._held.get(user_id)
        if held is None:
            self._held[user_id] = MergedUser(user)
        else:
            self.coalesced += 1
            held.merge(user)

    def _merge_held(self, user_id: Hashable, user: UserTraits) -> UserTraits:
        held = self._held.pop(user_id, None)
        if held is None:
            return user
        self.coalesced += 1
        held.merge(user)
        return held.user
