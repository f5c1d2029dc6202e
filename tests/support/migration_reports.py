"""Migration reports built by hand."""

from collections import Counter
from datetime import date
from typing import Any

from replay_identity import Fullstory, LogRocket, Route
from replay_identity.adapters import Limit, Unit
from replay_identity.bulk import Estimate, SyncReport
from replay_identity.bulk.report import BackendReport
from replay_identity.bulk.stats import BackendStats
from replay_identity.ledger import UpsertCounts
from replay_identity.migration import ListingStats, MigrationReport
from replay_identity.migration.fidelity import BackendFidelity, Fidelity, PropertyFidelity

MAX_NAMES = Limit(
    maximum=500, unit=Unit.TRAITS, source="https://acme.example/limits", read_on=date(2026, 11, 21), rule="names"
)
ESTIMATE = {"acme": Estimate(1200, 30, 7300.0)}
SCRIPT = "<script>alert(1)</script>"


def counted(**changes: Any) -> BackendFidelity:
    """Return what happens to properties at one backend."""
    properties = {
        "traits.plan": PropertyFidelity(users=99_000, as_is=98_412, held_back=588),
        "traits.bio": PropertyFidelity(users=5000, as_is=4000, lossy=412, rejected=588, truncated=412, coerced=3),
        "traits.company.size": PropertyFidelity(users=9000, lossless=9000, flattened=9000, coerced=9000),
        f"traits.{SCRIPT}": PropertyFidelity(users=7, lossy=7, dropped=7),
    }
    defaults: dict[str, Any] = {
        "users": 99_000,
        "sent": 98_412,
        "rejected": 588,
        "properties": properties,
        "collisions": Counter({"traits.size_int": 4, "traits.b": 9}),
        "sent_names": {f"n{number}" for number in range(450)},
        "max_unique_names": MAX_NAMES,
    }
    return BackendFidelity(**{**defaults, **changes})


def report(fidelity: BackendFidelity | None = None, **changes: Any) -> MigrationReport:
    """Return the report of a migration to acme."""
    fidelity = fidelity or counted()
    is_limited = fidelity.max_unique_names is not None
    acme = Fullstory("na1.test", name="acme") if is_limited else LogRocket("a:b:c", name="acme")
    counts_by_backend = Fidelity.from_dict({"acme": fidelity.as_dict()}, [Route(acme)])
    stats = BackendStats(outcomes=Counter(Accepted=98_000, Rejected=500))
    counts = BackendReport(
        "acme", upserts=UpsertCounts(pending=98_600, unchanged=312, rejected=88), stats=stats, pending=100
    )
    listing = ListingStats(
        users=100_000, usable=99_000, anonymous=700, being_deleted=200, unusable=100, type_conflicts={"a": 2}
    )
    defaults: dict[str, Any] = {"listing": listing, "run": SyncReport(rows=99_000, backends=(counts,))}
    return MigrationReport("old", fidelity=counts_by_backend, **{**defaults, **changes})
