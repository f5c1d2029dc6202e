"""Which users share a request."""

from collections.abc import Iterable, Iterator

from .limits import MOST_USERS, REQUEST
from .payload import Updates


def batches(everybody: Iterable[Updates]) -> Iterator[list[Updates]]:
    """Yield the updates of *everybody* in their order, as many as one request takes at a time, never half a user's."""
    batch: list[Updates] = []
    records = size = 0
    for updates in everybody:
        more = sum(len(record) + 1 for record in updates.records)
        if batch and (records + len(updates.records) > MOST_USERS.maximum or size + more > REQUEST.maximum):
            yield batch
            batch, records, size = [], 0, 0
        batch.append(updates)
        records += len(updates.records)
        size += more
    if batch:
        yield batch


def encode(batch: Iterable[Updates]) -> bytes:
    """Return the body of the request that holds *batch*."""
    return b"[" + b",".join(record for updates in batch for record in updates.records) + b"]"
