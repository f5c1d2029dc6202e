"""Store the desired state of users, and what each vendor confirmed of it, in one SQLite file."""

from .claims import Claim
from .jobs import Batch, JobEntry, StoredJob
from .ledger import BackendCounts, Checkpoint, Ledger, RejectedUser
from .settlements import Settlement
from .upserts import UpsertCounts

__all__ = [
    "BackendCounts",
    "Batch",
    "Checkpoint",
    "Claim",
    "JobEntry",
    "Ledger",
    "RejectedUser",
    "Settlement",
    "StoredJob",
    "UpsertCounts",
]
