"""What every user should be and what each vendor confirmed of it, kept on disk."""

from .claims import Claim
from .jobs import Batch, Job, JobEntry
from .ledger import BackendCounts, Checkpoint, Ledger, RejectedUser
from .settlements import Settlement
from .upserts import UpsertCounts

__all__ = [
    "BackendCounts",
    "Batch",
    "Checkpoint",
    "Claim",
    "Job",
    "JobEntry",
    "Ledger",
    "RejectedUser",
    "Settlement",
    "UpsertCounts",
]
