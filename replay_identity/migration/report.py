"""What a migration tells at its end."""

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

# Users bring the names of properties, so there is no end to them: conflicts of further ones are not counted.
_MOST_CONFLICTS: Final = 1000


@attrs.frozen
class ListingStats:
    """What a vendor has shown of its users, in this run and in those that it goes on from.

    Attributes:
        users: Users who were shown.
        given: Users of those who were taken in.
        anonymous: Users without an id, whom nobody could find again anywhere else.
        being_deleted: Users whom the vendor is deleting.
        unusable: Users who cannot be, or whom the mapping refuses.
        earlier: Users of all these whom earlier runs have read.
        restarts: How often this run had to begin anew, since the vendor no longer knew a page.
        type_conflicts: How many users had a property that the vendor has seen with several types, by its name.
    """

    users: int = 0
    given: int = 0
    anonymous: int = 0
    being_deleted: int = 0
    unusable: int = 0
    earlier: int = 0
    restarts: int = 0
    type_conflicts: Mapping[str, int] = attrs.field(factory=dict[str, int])


@attrs.define
class ReadStats:
    """Counts of users who were read.

    Attributes:
        fidelity: What the vendors' limits make of each property.
        counts: Users by what they are, under the names that `ListingStats` has.
        conflicts: Users by the path of a property with several types.
    """

    fidelity: Fidelity
    counts: Counter[str] = attrs.field(factory=Counter[str])
    conflicts: Counter[str] = attrs.field(factory=Counter[str])

    @classmethod
    def to(cls, routes: Sequence[Route]) -> Self:
        """Return an empty record of users for these *routes*."""
        return cls(Fidelity(routes))

    @classmethod
    def of_json(cls, content: bytes, routes: Sequence[Route]) -> Self:
        """Return the record that `as_json` was asked for."""
        stored: dict[str, Any] = orjson.loads(content)
        fidelity = Fidelity.from_dict(stored["fidelity"], routes)
        return cls(fidelity, Counter(stored["counts"]), Counter(stored["conflicts"]))

    def as_json(self) -> bytes:
        """Return the record as JSON."""
        return orjson.dumps({"fidelity": self.fidelity.as_dict(), "counts": self.counts, "conflicts": self.conflicts})

    def count(self, stored: StoredUser, row: Row | BadRow | None) -> None:
        """Count a user as the vendor shows them, and the *row* that became of them, if one did."""
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
            self.counts["given"] += 1
            self.fidelity.add(row.user)

    def merge(self, other: "ReadStats") -> None:
        """Count all that *other* counted."""
        self.fidelity.merge(other.fidelity)
        self.counts.update(other.counts)
        self.conflicts.update(other.conflicts)

    def listing(self, *, earlier: int, restarts: int) -> ListingStats:
        """Return who was read, of whom so many *earlier*."""
        return ListingStats(
            users=self.counts.total(),
            **self.counts,
            earlier=earlier,
            restarts=restarts,
            type_conflicts=dict(self.conflicts.most_common()),
        )

    @property
    def _has_room(self) -> bool:
        return len(self.conflicts) < _MOST_CONFLICTS


@attrs.frozen
class MigrationReport:
    """What a migration came to, or would come to.

    Attributes:
        source: Name of the backend or the file that users were read from.
        listing: What the vendor has shown, or None where the source was a file.
        fidelity: What the vendors' limits made of each property.
        run: The closed books.
        estimate: Of a rehearsal, what the run would take by name of the backend; None once it has happened.
        failure: What ended the reading of a vendor before its end, or None.
    """

    source: str
    listing: ListingStats | None
    fidelity: Fidelity
    run: SyncReport
    estimate: Mapping[str, Estimate] | None = None
    failure: Failure | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {
            "source": self.source,
            "listed": None if self.listing is None else attrs.asdict(self.listing),
            **self.run.as_dict(),
            "fidelity": self.fidelity.as_dict(),
            "estimate": None
            if self.estimate is None
            else {name: attrs.asdict(one) for name, one in self.estimate.items()},
        }
