"""What a migration tells at its end."""

from collections.abc import Mapping
from typing import Any

import attrs

from ..bulk import Effort, SyncReport
from ..outcome import Failure
from .fidelity import Fidelity
from .record import Listed


@attrs.frozen
class MigrationReport:
    """What a migration came to, or would come to.

    Attributes:
        source: Name of the backend or the file that users were read from.
        listed: What the vendor has shown, or None where the source was a file.
        fidelity: What the vendors' limits made of each property.
        run: The closed books.
        effort: Of a rehearsal, what the run would take by name of the backend; None once it has happened.
        failure: What ended the reading of a vendor before its end, or None.
    """

    source: str
    listed: Listed | None
    fidelity: Fidelity
    run: SyncReport
    effort: Mapping[str, Effort] | None = None
    failure: Failure | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {
            "source": self.source,
            "listed": None if self.listed is None else attrs.asdict(self.listed),
            **self.run.as_dict(),
            "fidelity": self.fidelity.as_dict(),
            "effort": None if self.effort is None else {name: attrs.asdict(one) for name, one in self.effort.items()},
        }
