"""Batches of users, and the jobs that import them."""

from collections.abc import Iterable, Sequence
from typing import overload

import attrs

from .._records import fast_frozen
from ..adapters.protocols import BatchEntry
from ..outcomes import Adjustment
from ..traits import fingerprint


@fast_frozen
class JobEntry:
    """One user in a batch.

    Attributes:
        row_id: The user's key in the ledger.
        version: Version of the desired state that was sent.
        user_id: Your own id of the user.
        vendor_id: The vendor's own id that was sent.
        lost: Lossy adjustments to the vendor's limits.
        fields: The user's fields as encoded for the vendor, as packed fingerprints.
        in_doubt: True if the claim was in doubt.
        content: What was sent of a user without an id; no ledger stores it.
    """

    row_id: int
    version: int
    user_id: str | None = attrs.field(repr=fingerprint)
    vendor_id: str | None = attrs.field(default=None, repr=fingerprint)
    lost: tuple[Adjustment, ...] = ()
    fields: bytes = attrs.field(default=b"", repr=False)
    in_doubt: bool = False
    content: bytes | None = attrs.field(default=None, repr=False)


@attrs.define
class JobEntries(Sequence[JobEntry]):
    """The users in a batch, column by column.

    A batch has thousands of users: to make and to store a `JobEntry` for each takes 2.5 µs, and the columns 1
    (`benchmarks/run.py --only fullstory`).

    Attributes:
        row_ids: `JobEntry.row_id` of each user; likewise the others.
        versions: See above.
        user_ids: See above.
        fields: See above.
        vendor_ids: By the index of the user, without those that are None; few users have one.
        lost: By the index of the user, without those that are empty.
        in_doubt: Indexes of the users who were in doubt.
        contents: By the index of the user, without those that are None.
    """

    row_ids: list[int] = attrs.field(factory=list[int])
    versions: list[int] = attrs.field(factory=list[int])
    user_ids: list[str | None] = attrs.field(factory=list["str | None"], repr=False)
    fields: list[bytes] = attrs.field(factory=list[bytes], repr=False)
    vendor_ids: dict[int, str] = attrs.field(factory=dict[int, str], repr=False)
    lost: dict[int, tuple[Adjustment, ...]] = attrs.field(factory=dict[int, tuple[Adjustment, ...]], repr=False)
    in_doubt: set[int] = attrs.field(factory=set[int], repr=False)
    contents: dict[int, bytes] = attrs.field(factory=dict[int, bytes], repr=False)

    @classmethod
    def of(cls, entries: Iterable[JobEntry]) -> "JobEntries":
        """Return *entries* as columns."""
        if isinstance(entries, JobEntries):
            return entries
        columns = cls()
        for each in entries:
            columns.add(
                each.row_id,
                each.version,
                user_id=each.user_id,
                vendor_id=each.vendor_id,
                lost=each.lost,
                fields=each.fields,
                in_doubt=each.in_doubt,
                content=each.content,
            )
        return columns

    def add(
        self,
        row_id: int,
        version: int,
        *,
        user_id: str | None,
        vendor_id: str | None,
        lost: tuple[Adjustment, ...],
        fields: bytes,
        in_doubt: bool,
        content: bytes | None,
    ) -> None:
        """Add one user; the arguments are the attributes of a `JobEntry`."""
        index = len(self.row_ids)
        self.row_ids.append(row_id)
        self.versions.append(version)
        self.user_ids.append(user_id)
        self.fields.append(fields)
        if vendor_id is not None:
            self.vendor_ids[index] = vendor_id
        if lost:
            self.lost[index] = lost
        if in_doubt:
            self.in_doubt.add(index)
        if content is not None:
            self.contents[index] = content

    def batch_entries(self) -> list[BatchEntry]:
        """Return everything by which the vendor's results are matched with users."""
        vendor_id, content = self.vendor_ids.get, self.contents.get
        return [
            BatchEntry(user_id=user_id, vendor_id=vendor_id(index), content=content(index))
            for index, user_id in enumerate(self.user_ids)
        ]

    def __len__(self) -> int:
        return len(self.row_ids)

    @overload
    def __getitem__(self, index: int, /) -> JobEntry: ...

    @overload
    def __getitem__(self, index: slice, /) -> "JobEntries": ...

    def __getitem__(self, index: int | slice, /) -> "JobEntry | JobEntries":
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return JobEntries.of(map(self._entry, numbers))
        return self._entry(numbers)

    def _entry(self, index: int) -> JobEntry:
        return JobEntry(
            self.row_ids[index],
            self.versions[index],
            self.user_ids[index],
            self.vendor_ids.get(index),
            self.lost.get(index, ()),
            self.fields[index],
            index in self.in_doubt,
            self.contents.get(index),
        )


@attrs.frozen
class Batch:
    """Users to send in one import.

    Attributes:
        idempotency_key: Key of the request, the same however often it is sent.
        entries: The users, in the order of the batch's items.
        body: Body of the request.
    """

    idempotency_key: str
    entries: Sequence[JobEntry] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class StoredJob:
    """One import that has not ended; its entries and its body stay where they are stored, since they may be large.

    Attributes:
        id: The job's key in the ledger.
        idempotency_key: Key of the request, the same however often it is sent.
        size: Number of users.
        created_at: When it was stored, in seconds since 1970.
        vendor_job: The vendor's id of the job, or None until it is known.
    """

    id: int
    idempotency_key: str
    size: int
    created_at: int
    vendor_job: str | None = None
