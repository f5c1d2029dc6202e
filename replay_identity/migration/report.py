"""The report of a migration, and the statistics of what was read."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import attrs
import orjson

from ..adapters.protocols import StoredUser
from ..bulk import Estimate, SyncReport
from ..errors import printable
from ..outcomes import Failure
from ..router import Route
from ..sources import BadRow, Row
from .fidelity import Fidelity

# Property names come from the data and are unbounded: conflicts of further properties are not counted.
_MAX_CONFLICTS: Final = 1000


@attrs.frozen
class MigrationReport:
    """The result of a migration, or of a dry run.

    Attributes:
        source: Name of the backend or file that users were read from.
        listing: What the vendor listed, or None if the source was a file.
        fidelity: What the backends' limits did to each property.
        run: Counts of the run at each backend.
        estimate: In a dry run, the cost of a run by name of the backend; otherwise None.
        failure: The failure that stopped reading a vendor before the last page, or None.
    """

    source: str
    listing: "ListingStats | None"
    fidelity: Fidelity
    run: SyncReport
    estimate: Mapping[str, Estimate] | None = None
    failure: Failure | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            **self.run.as_dict(),
            "source": self.source,
            "notes": self.run.notes.as_dict(),
            "listing": None if self.listing is None else attrs.asdict(self.listing),
            "fidelity": self.fidelity.as_dict(),
            "estimate": None
            if self.estimate is None
            else {name: attrs.asdict(estimate) for name, estimate in self.estimate.items()},
        }


@attrs.frozen
class ListingStats:
    """Counts of the users that a vendor listed, in this run and in the runs that it resumed.

    Attributes:
        users: Users listed.
        usable: Users passed on to the other backends.
        anonymous: Users without an id, who could not be found again at another vendor.
        being_deleted: Users that the vendor is deleting.
        unusable: Users who are not valid, or that the mapping rejects.
        earlier: Users, among all these, who were read by earlier runs.
        restarts: How often this run started again from the first page, because a page token had expired.
        type_conflicts: Users with a property that the vendor has seen with several types, by property.
    """

    users: int = 0
    usable: int = 0
    anonymous: int = 0
    being_deleted: int = 0
    unusable: int = 0
    earlier: int = 0
    restarts: int = 0
    type_conflicts: Mapping[str, int] = attrs.field(factory=dict[str, int])


@attrs.define
class ReadStats:
    """Counts of the users read so far, as stored in a checkpoint.

    Attributes:
        fidelity: What the backends' limits did to each property.
        counts: Users by kind, under the names of `ListingStats`.
        conflicts: Users by path of a property with several types.
    """

    fidelity: Fidelity
    counts: Counter[str] = attrs.field(factory=Counter[str])
    conflicts: Counter[str] = attrs.field(factory=Counter[str])

    @classmethod
    def empty(cls, routes: Sequence[Route]) -> Self:
        """Return the statistics of no users, for backends that *routes* lead to."""
        return cls(Fidelity(routes))

    @classmethod
    def from_json(cls, content: bytes, routes: Sequence[Route]) -> Self:
        """Return the statistics that `to_json` returned as *content*."""
        document: dict[str, Any] = orjson.loads(content)
        fidelity = Fidelity.from_dict(document["fidelity"], routes)
        return cls(fidelity, Counter(document["counts"]), Counter(document["conflicts"]))

    def to_json(self) -> bytes:
        """Return the statistics as JSON."""
        return orjson.dumps({"fidelity": self.fidelity.as_dict(), "counts": self.counts, "conflicts": self.conflicts})

    def add(self, stored: StoredUser, row: Row | BadRow | None) -> None:
        """Count *stored* and the *row* made from it, or None for an anonymous user."""
        self.conflicts.update(
            [path for path in map(printable, stored.type_conflicts) if path in self.conflicts or self._has_room]
        )
        if stored.being_deleted:
            self.counts["being_deleted"] += 1
        elif row is None:
            self.counts["anonymous"] += 1
        elif isinstance(row, BadRow):
            self.counts["unusable"] += 1
        else:
            self.counts["usable"] += 1
            self.fidelity.add(row.user)

    def merge(self, other: "ReadStats") -> None:
        """Add the counts of *other*."""
        self.fidelity.merge(other.fidelity)
        self.counts.update(other.counts)
        self.conflicts.update(other.conflicts)

    def listing(self, *, earlier: int, restarts: int) -> ListingStats:
        """Return the counts for a report."""
        return ListingStats(
            users=self.counts.total(),
            **self.counts,
            earlier=earlier,
            restarts=restarts,
            type_conflicts=dict(self.conflicts.most_common()),
        )

    @property
    def _has_room(self) -> bool:
        return len(self.conflicts) < _MAX_CONFLICTS
